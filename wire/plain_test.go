package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const plainVectorDir = "../testkit/plain"

// plainVector is one golden vector of the plain stream: three frames and what a
// reader must make of them.
type plainVector struct {
	name, expect, about string
	topic, header, body []byte
	values              string
}

var plainFields = []field{
	{"signature", "bytes", 0, 0, 4, 0x564c5054},
	{"version", "u8", plainVersionOff, 4, 1, 1},
	{"header size", "u8", plainSizeOff, 5, 1, 64},
	{"flags", "u8", plainFlagsOff, 6, 1, 0x0d},
	{"kind", "u8", plainKindOff, 7, 1, 0x91},
	{"record flags", "u8", plainRecordFlagsOff, 8, 1, 0x07},
	{"zero", "u8", plainZeroOff, 9, 1, 0},
	{"shard", "u16", plainShardOff, 10, 2, 0x1112},
	{"shards", "u16", plainShardsOff, 12, 2, 0x2122},
	{"zero", "u16", plainZero2Off, 14, 2, 0},
	{"epoch", "u64", plainEpochOff, 16, 8, 0x4142434445464748},
	{"sequence", "u64", plainSeqOff, 24, 8, 0x5152535455565758},
	{"topic sequence", "u32", plainTopicSeqOff, 32, 4, 0x61626364},
	{"place", "u32", plainPlaceOff, 36, 4, 0x71727374},
	{"event time", "i64", plainEventOff, 40, 8, 0x0182838485868788},
	{"receive time", "i64", plainReceiveOff, 48, 8, 0x0192939495969798},
	{"send time", "i64", plainSendOff, 56, 8, 0x01a2a3a4a5a6a7a8},
}

// TestPlainLayout pins the offsets and what is written at each of them.
func TestPlainLayout(t *testing.T) {
	p := Plain{
		Flags: 0x0d, Kind: 0x91, RecordFlags: 0x07, Shard: 0x1112, Shards: 0x2122, Epoch: 0x4142434445464748,
		Seq: 0x5152535455565758, TopicSeq: 0x61626364, Place: 0x71727374,
		Event: 0x0182838485868788, Receive: 0x0192939495969798, Send: 0x01a2a3a4a5a6a7a8,
	}
	b := bytes.Repeat([]byte{0xff}, PlainHeaderSize)
	PutPlain(b, &p)
	end := 0
	for _, f := range plainFields {
		if f.got != f.off || f.off != end {
			t.Errorf("%s is at %d, want %d, after %d", f.name, f.got, f.off, end)
		}
		var word [8]byte
		copy(word[:], b[f.off:f.off+f.size])
		if got := binary.LittleEndian.Uint64(word[:]); got != f.pattern {
			t.Errorf("%s: wrote %#x, want %#x", f.name, got, f.pattern)
		}
		end = f.off + f.size
	}
	if end != PlainHeaderSize {
		t.Errorf("the fields have %d bytes, want %d", end, PlainHeaderSize)
	}
	got, err := ParsePlain(b)
	if err != nil || got != p {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestPlainLayoutInDocs holds the offset table in docs/WIRE.md to the code.
func TestPlainLayoutInDocs(t *testing.T) {
	doc, err := os.ReadFile("../docs/WIRE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "## 12. The plain stream")
	for _, f := range plainFields {
		if row := fmt.Sprintf("| %d | %d | %s | %s |", f.off, f.size, f.typ, f.name); !strings.Contains(section, row) {
			t.Errorf("docs/WIRE.md, section 12, has no row %q", row)
		}
	}
}

func plainRecord() Plain {
	return Plain{
		Kind: KindTrade, Shard: 1, Shards: 2, Epoch: 7, Seq: 100, TopicSeq: 41,
		Event: vectorTime, Receive: vectorTime + 1500, Send: vectorTime + 2_000_000,
	}
}

func plainVectors() []plainVector {
	var list []plainVector
	topic, body := []byte("XNAS.AAPL"), []byte("buy 100")
	ok := func(name, about string, topic, body []byte, change func(p *Plain)) {
		p := plainRecord()
		change(&p)
		v := plainVector{name: "ok-" + name, expect: "ok", about: about, topic: topic, header: AppendPlain(nil, &p), body: body}
		v.values = plainValues(topic, body, &p)
		list = append(list, v)
	}
	ok("live", "A record of the live stream.", topic, body, func(*Plain) {})
	ok("snapshot-first", "The first entry of a snapshot; more follow in the same message.", topic, body, func(p *Plain) { p.Flags = PlainSnapshot })
	ok("snapshot-last", "The last of three entries.", topic, body, func(p *Plain) { p.Flags, p.Place = PlainSnapshot|PlainLast, 2 })
	ok("snapshot-incomplete", "The only entry of a snapshot in which topics may be missing.", topic, body, func(p *Plain) {
		p.Flags = PlainSnapshot | PlainLast | PlainIncomplete
	})
	ok("empty", "Nothing matches the subscription, which is the first frame.", []byte("XNAS.ZZ"), nil, func(p *Plain) {
		*p = Plain{Flags: PlainSnapshot | PlainEmpty | PlainLast, Kind: KindNotice, Send: vectorTime}
	})
	ok("empty-everything", "The answer to an empty subscription where there are no last values yet.", nil, nil, func(p *Plain) {
		*p = Plain{Flags: PlainSnapshot | PlainEmpty | PlainLast, Kind: KindNotice, Send: vectorTime}
	})
	ok("delete", "A topic that has no last value any more.", topic, nil, func(p *Plain) { p.Kind = KindDelete })
	ok("delete-seek", "A topic that had no value at the place a replay went to.", topic, nil, func(p *Plain) {
		p.Kind, p.Flags, p.TopicSeq, p.Event, p.Receive = KindDelete, PlainSnapshot, 0, 0, 0
	})
	ok("heartbeat", "The proxy is alive.", []byte(HeartbeatTopic), []byte(`{"topics":2}`), func(p *Plain) {
		*p = Plain{Kind: KindNotice, Event: vectorTime, Receive: vectorTime, Send: vectorTime}
	})
	ok("largest", "The largest value of every number.", bytes.Repeat([]byte{0xff}, TopicSizeMax), body, func(p *Plain) {
		*p = Plain{
			Flags: PlainSnapshot | PlainLast | PlainIncomplete, Kind: 255, RecordFlags: FlagNoEventTime | FlagNoReceiveTime | FlagSnapshot,
			Shard: math.MaxUint16 - 1, Shards: math.MaxUint16, Epoch: math.MaxUint64, Seq: math.MaxUint64,
			TopicSeq: math.MaxUint32, Place: math.MaxUint32, Event: NanosMax, Receive: NanosMin, Send: NanosMax,
		}
	})

	bad := func(name, expect, about string, edit func(h []byte) []byte) {
		p := plainRecord()
		list = append(list, plainVector{name: "bad-" + name, expect: expect, about: about, topic: topic, header: edit(AppendPlain(nil, &p)), body: body})
	}
	size := func(n int) func([]byte) []byte {
		return func(h []byte) []byte { return append(h, 0)[:n] }
	}
	put8 := func(off int, x byte) func([]byte) []byte { return func(h []byte) []byte { h[off] = x; return h } }
	bad("signature", reasonPlainSignature, "Another signature: that of the shard stream.", func(h []byte) []byte { copy(h, Signature); return h })
	bad("header-empty", reasonPlainSignature, "An empty header frame.", size(0))
	bad("header-signature-only", reasonVersion, "A header frame that ends before the version.", size(4))
	bad("version-newer", reasonVersion, "Version 2.", put8(4, 2))
	bad("header-short", reasonHeaderSize, "A header frame of 63 bytes.", size(63))
	bad("header-long", reasonHeaderSize, "A header frame of 65 bytes.", size(65))
	bad("header-size-field", reasonHeaderSize, "The size field says 72.", put8(5, 72))
	bad("reserved", reasonReserved, "The byte at 9 is 1.", put8(9, 1))
	bad("reserved-second", reasonReserved, "The field at 14 is 256.", put8(15, 1))
	bad("flags-unknown", reasonPlainFlags, "Flag bit 4.", put8(6, 1<<4))
	bad("flags-last-live", reasonPlainFlags, "Last, and no snapshot.", put8(6, 4))
	bad("flags-empty-live", reasonPlainFlags, "Empty, and no snapshot.", put8(6, 2))
	bad("flags-empty-not-last", reasonPlainFlags, "An empty snapshot that goes on.", put8(6, 3))
	bad("flags-incomplete-not-last", reasonPlainFlags, "Incomplete, and not the last entry.", put8(6, 9))
	bad("record-flags", reasonRecordFlags, "Record flag bit 3.", put8(8, 1<<3))
	bad("record-flag-wide", reasonRecordFlags, "The record flag wide, which says how a record was encoded.", put8(8, 1<<7))
	bad("shard-outside", reasonShard, "Shard 2 of 2.", put16(plainShardOff, 2))
	bad("shard-of-none", reasonShard, "Shard 1 of no stream.", func(h []byte) []byte {
		return put64(plainEpochOff, 0)(put16(plainShardsOff, 0)(h))
	})
	bad("epoch-zero", reasonPlainStream, "Epoch 0 of a stream.", put64(plainEpochOff, 0))
	bad("stream-missing", reasonPlainStream, "A trade of no stream.", func(h []byte) []byte {
		return put64(plainEpochOff, 0)(put16(plainShardOff, 0)(put16(plainShardsOff, 0)(h)))
	})
	bad("place-live", reasonPlainPlace, "A place in a snapshot, and no snapshot.", put32(plainPlaceOff, 1))
	return list
}

func plainValues(topic, body []byte, p *Plain) string {
	return mustJSON(struct {
		Topic       string      `json:"topic_hex"`
		Flags       PlainFlags  `json:"flags"`
		Kind        Kind        `json:"kind"`
		RecordFlags RecordFlags `json:"record_flags"`
		Shard       uint16      `json:"shard"`
		Shards      uint16      `json:"shards"`
		Epoch       Epoch       `json:"epoch"`
		Seq         Seq         `json:"seq"`
		TopicSeq    uint32      `json:"topic_seq"`
		Place       uint32      `json:"place"`
		Event       int64       `json:"event_ns"`
		Receive     int64       `json:"receive_ns"`
		Send        int64       `json:"send_ns"`
		Body        string      `json:"body_hex"`
	}{hex.EncodeToString(topic), p.Flags, p.Kind, p.RecordFlags, p.Shard, p.Shards, p.Epoch, p.Seq, p.TopicSeq,
		p.Place, int64(p.Event), int64(p.Receive), int64(p.Send), hex.EncodeToString(body)})
}

func (v *plainVector) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "expect: %s\nabout: %s\n", v.expect, v.about)
	for _, f := range []struct {
		name  string
		bytes []byte
	}{{"topic", v.topic}, {"header", v.header}, {"body", v.body}} {
		fmt.Fprintf(&b, "\nframe: %s, %d bytes\n", f.name, len(f.bytes))
		for line := range slices.Chunk(f.bytes, 32) {
			fmt.Fprintf(&b, "%x\n", line)
		}
	}
	if v.values != "" {
		fmt.Fprintf(&b, "\nvalues:\n%s\n", v.values)
	}
	return b.Bytes()
}

// readPlainVector reads a file without using anything of this package.
func readPlainVector(t testing.TB, path string) plainVector {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v := plainVector{name: strings.TrimSuffix(filepath.Base(path), ".txt")}
	frames := map[string]*[]byte{"topic": &v.topic, "header": &v.header, "body": &v.body}
	var into *[]byte
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		key, rest, _ := strings.Cut(line, ": ")
		switch {
		case line == "", line == "values:":
			into = nil
		case key == "expect":
			v.expect = rest
		case key == "about":
			v.about = rest
		case key == "frame":
			name, _, _ := strings.Cut(rest, ",")
			into = frames[name]
		case into != nil:
			b, err := hex.DecodeString(line)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			*into = append(*into, b...)
		default:
			v.values = line
		}
	}
	return v
}

// TestPlainVectorsAreCurrent compares the files with what this package writes, or
// with -update writes them.
func TestPlainVectorsAreCurrent(t *testing.T) {
	want := map[string]bool{}
	for _, v := range plainVectors() {
		path := filepath.Join(plainVectorDir, v.name+".txt")
		if want[path] {
			t.Fatalf("two vectors are named %s", v.name)
		}
		want[path] = true
		if *update {
			if err := os.WriteFile(path, v.text(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, v.text()) {
			t.Errorf("%s differs from what the encoder gives (%v); if the format was meant to change, run with -update", path, err)
		}
	}
	files, _ := filepath.Glob(filepath.Join(plainVectorDir, "*.txt"))
	for _, path := range files {
		if !want[path] {
			t.Errorf("%s is no vector of this test", path)
		}
	}
}

// TestPlainVectors reads every file as another implementation would, and holds
// that every reason of plain.go has one.
func TestPlainVectors(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(plainVectorDir, "*.txt"))
	seen := map[string]bool{}
	for _, path := range files {
		v := readPlainVector(t, path)
		seen[v.expect] = true
		p, err := ParsePlain(v.header)
		if v.expect == "ok" {
			if got := plainValues(v.topic, v.body, &p); err != nil || got != v.values {
				t.Errorf("%s: got %s, %v\nwant %s", v.name, got, err, v.values)
			}
			continue
		}
		var bad *FormatError
		if !errors.As(err, &bad) || bad.Reason != v.expect {
			t.Errorf("%s: got %v, want %s", v.name, err, v.expect)
		}
	}
	source, err := os.ReadFile("plain.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\treasonPlain\w+ += "(.*)"$`).FindAllSubmatch(source, -1)
	if len(found) < 4 {
		t.Fatalf("found %d reasons in plain.go", len(found))
	}
	for _, m := range found {
		if !seen[string(m[1])] {
			t.Errorf("no vector expects %q", m[1])
		}
	}
}

func TestPlainAlloc(t *testing.T) {
	p, b := plainRecord(), make([]byte, 0, PlainHeaderSize)
	allocs := testing.AllocsPerRun(1000, func() {
		b = AppendPlain(b[:0], &p)
		if got, err := ParsePlain(b); err != nil || got.Seq != p.Seq {
			t.Fatal(got, err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations, want 0", allocs)
	}
}

func BenchmarkPlain(b *testing.B) {
	p, h := plainRecord(), make([]byte, PlainHeaderSize)
	b.ReportAllocs()
	b.SetBytes(PlainHeaderSize)
	for b.Loop() {
		p.Seq++
		PutPlain(h, &p)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// FuzzParsePlain: never panics, and what it accepts has one encoding.
func FuzzParsePlain(f *testing.F) {
	for _, v := range plainVectors() {
		f.Add(v.header)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePlain(b)
		if err != nil {
			return
		}
		if got := AppendPlain(nil, &p); !bytes.Equal(got, b) {
			t.Fatalf("%x is encoded again as %x", b, got)
		}
	})
}
