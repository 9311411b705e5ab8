package tape

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

var update = flag.Bool("update", false, "write the golden tapes in testkit/tape anew")

// goldenDir has one tape per codec, and records.jsonl: what every one of them
// holds, in merged order, for readers in other languages. One more tape has
// columns with fields of every kind, and fields.jsonl its records.
const goldenDir = "../testkit/tape"

// goldenRecord is one line of records.jsonl.
type goldenRecord struct {
	Shard    int          `json:"shard"`
	Epoch    wire.Epoch   `json:"epoch"`
	Seq      wire.Seq     `json:"seq"`
	Ordinal  wire.Ordinal `json:"ordinal"`
	Event    wire.Nanos   `json:"event_ns"`
	Receive  wire.Nanos   `json:"receive_ns"`
	TopicSeq uint32       `json:"topic_seq"`
	Kind     string       `json:"kind"`
	Topic    string       `json:"topic"`
	Body     string       `json:"body_hex"`
}

func goldenName(c Codec) string { return filepath.Join(goldenDir, "golden-v1-"+c.String()+".tape") }

const (
	goldenFields        = goldenDir + "/golden-v1-columns-fields.tape"
	goldenFieldsRecords = goldenDir + "/fields.jsonl"
)

// writeGolden writes a tape of two shards, two epochs, a gap, and times so far
// apart that a record needs the wide form.
func writeGolden(t *testing.T, dir string, codec Codec, keyframes int64) {
	t.Helper()
	w, err := Create(dir, Config{Shards: 2, Codec: codec, BlockSize: 512, SegmentSize: SegmentSizeMin, SyncInterval: -1, KeyframeInterval: keyframes,
		Generator: "tapedeck golden", ID: ID{0xde, 0xc4, 1}, Created: 1_700_000_000_123_456_789,
		Encodings: []Encoding{{Format: "synth", Detail: map[string]string{"seed": "1"}}}, Sources: []string{"golden tape, format version 1"}})
	if err != nil {
		t.Fatal(err)
	}
	seq, ordinal, topicSeq := [2]wire.Seq{}, wire.Ordinal(0), map[string]uint32{}
	for i := range 1000 {
		if i == 700 {
			seq, ordinal = [2]wire.Seq{}, 0
		}
		if i == 300 {
			seq[1] += 4
		}
		shard := i * 7 % 5 % 2
		topic := fmt.Sprintf("S%d.%c", shard, 'A'+i%9)
		topicSeq[topic]++
		event := wire.Nanos(1_700_000_000_000_000_000 + int64(i)*1_000_003)
		f := wire.Fields{Topic: []byte(topic), Event: event, Receive: event + wire.Nanos(i%13*1000), TopicSeq: topicSeq[topic],
			Kind: wire.Kind(i % 12), Body: bytes.Repeat([]byte{byte(i), byte(i >> 4)}, i%60)}
		if i == 500 {
			f.Event = 0
		}
		at := At{Shard: shard, Epoch: wire.Epoch(41 + i/700), Seq: seq[shard], Ordinal: ordinal, Send: event + 20_000}
		if err := w.AppendFields(at, &f); err != nil {
			t.Fatal(err)
		}
		seq[shard]++
		ordinal += wire.Ordinal(1 + i%3)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// goldenLines returns a tape's records as records.jsonl has them.
func goldenLines(t *testing.T, tp *Tape) []byte {
	t.Helper()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	r := tp.Records(ReadConfig{})
	defer r.Close()
	for r.Next() {
		at, rec := r.At(), r.Record()
		line := goldenRecord{at.Shard, at.Epoch, at.Seq, at.Ordinal, rec.Event(), rec.Receive(), rec.TopicSeq(),
			rec.Kind().String(), string(rec.Topic()), hex.EncodeToString(rec.Body())}
		if err := enc.Encode(line); err != nil {
			t.Fatal(err)
		}
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return out.Bytes()
}

// A tape that any earlier version wrote opens, verifies, and has its records.
func TestGoldenTapes(t *testing.T) {
	if *update {
		updateGolden(t)
	}
	want, err := os.ReadFile(filepath.Join(goldenDir, "records.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, codec := range codecs {
		dir := goldenName(codec)
		if r := verify(t, dir); !r.OK() || len(r.Warnings) != 0 || len(r.Gaps) != 1 || r.Records != 1000 {
			t.Errorf("%v: %+v", codec, r)
		}
		if got := goldenLines(t, open(t, dir)); !bytes.Equal(got, want) {
			t.Errorf("%v: the records differ from records.jsonl", codec)
		}
	}
}

// The same records make the same plain tape, byte for byte. (What a compressor
// makes of them may change with its version.)
func TestGoldenTapeIsReproduced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "again.tape")
	writeGolden(t, dir, CodecPlain, -1)
	entries, err := os.ReadDir(goldenName(CodecPlain))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		want, err := os.ReadFile(filepath.Join(goldenName(CodecPlain), e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from the golden tape's: %v", e.Name(), err)
		}
	}
}

// writeGoldenFields writes one block of columns in which bodies have fields of
// every kind: a constant, single bytes, the topic, numbers of both byte orders
// against each of the predictors, and bytes at random.
func writeGoldenFields(t *testing.T, dir string) {
	t.Helper()
	w, err := Create(dir, Config{Codec: CodecColumns, SyncInterval: -1, Generator: "tapedeck golden", ID: ID{0xde, 0xc4, 2},
		Created: 1_700_000_000_123_456_789, Sources: []string{"golden tape of columns, format version 1"}})
	if err != nil {
		t.Fatal(err)
	}
	x, topicSeq := uint64(1), map[string]uint32{}
	random := func(n uint64) uint64 {
		x = x*6364136223846793005 + 1442695040888963407
		return x >> 33 % n
	}
	at, order, event := At{Epoch: 9}, uint64(7_000_000_000), wire.Nanos(1_700_000_000_000_000_000)
	prices := map[string]uint64{}
	for i := range 600 {
		symbol := []string{"A", "BB", "CCC.D", "EEEEE"}[random(4)]
		event += wire.Nanos(random(100_000) * 1000)
		receive := event + 50_000 + wire.Nanos(random(9000))
		prices[symbol] += (random(5) + 8) * 250
		order += random(50)
		body := make([]byte, 56)
		body[0], body[1] = 'A', byte(random(2))
		binary.BigEndian.PutUint64(body[2:], uint64(event))
		copy(body[10:18], symbol+"        ")
		binary.LittleEndian.PutUint64(body[18:], prices[symbol]+uint64(symbol[0])*1_000_000)
		binary.BigEndian.PutUint64(body[26:], order)
		binary.LittleEndian.PutUint32(body[34:], uint32(random(200)*100))
		binary.LittleEndian.PutUint64(body[38:], uint64(receive))
		for k := 46; k < 56; k++ {
			body[k] = byte(random(256))
		}
		f := wire.Fields{Topic: []byte("V." + symbol), Event: event, Receive: receive, TopicSeq: topicSeq["V."+symbol], Kind: wire.KindOrder, Body: body}
		switch i {
		case 40, 41, 300:
			f.Kind, f.Body = wire.KindNotice, []byte("a rare shape")
		case 50:
			f.Receive = 0 // wide
		}
		topicSeq["V."+symbol]++
		if err := w.AppendFields(at, &f); err != nil {
			t.Fatal(err)
		}
		at.Seq++
		at.Ordinal += wire.Ordinal(1 + i%2)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestGoldenFields(t *testing.T) {
	want, err := os.ReadFile(goldenFieldsRecords)
	if err != nil {
		t.Fatal(err)
	}
	tp := open(t, goldenFields)
	if b := tp.Block(0); tp.Blocks() != 1 || b.Codec != CodecColumns || b.OrderSize == 0 {
		t.Errorf("%d blocks, the first %v", tp.Blocks(), b.Codec)
	}
	if r := verify(t, goldenFields); !r.OK() || r.Records != 600 {
		t.Errorf("%+v", r)
	}
	if got := goldenLines(t, tp); !bytes.Equal(got, want) {
		t.Error("the records differ from fields.jsonl")
	}
}

func updateGolden(t *testing.T) {
	if err := os.RemoveAll(goldenFields); err != nil {
		t.Fatal(err)
	}
	writeGoldenFields(t, goldenFields)
	if err := os.WriteFile(goldenFieldsRecords, goldenLines(t, open(t, goldenFields)), 0o644); err != nil {
		t.Fatal(err)
	}

	for _, codec := range codecs {
		if err := os.RemoveAll(goldenName(codec)); err != nil {
			t.Fatal(err)
		}
		writeGolden(t, goldenName(codec), codec, -1)
	}
	lines := goldenLines(t, open(t, goldenName(CodecPlain)))
	if err := os.WriteFile(filepath.Join(goldenDir, "records.jsonl"), lines, 0o644); err != nil {
		t.Fatal(err)
	}
}
