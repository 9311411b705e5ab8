package resync

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

const vectorDir = "../testkit/resync"

var update = flag.Bool("update", false, "write the golden vectors anew")

// vector is one golden vector: the frames of a message and what must be made of
// them. testkit/resync/README.md describes the files.
type vector struct {
	name, expect, about string
	frames              [][]byte
	values              string // a JSON object
}

// le puts a number into a frame.
func le(at, size int, v uint64) func([]byte) {
	return func(b []byte) {
		var x [8]byte
		binary.LittleEndian.PutUint64(x[:], v)
		copy(b[at:at+size], x[:])
	}
}

// vectors are all vectors, from the examples of protocol_test.go.
func vectors(t testing.TB) []vector {
	var list []vector
	ok := func(name, about string, frames ...[]byte) {
		list = append(list, vector{name: "ok-" + name, expect: "ok", about: about, frames: frames})
	}
	ex := example(t)
	ok("refill", "The records from 100 on of shard 1, to the end of what there is.", ex[CommandRefill]...)
	ok("refill-bounded", "Sequences [5, 6), the smallest credit and deadline, chunks as the server likes.",
		AppendRefill(nil, &RefillRequest{ID: 1<<64 - 1, Span: Span{1, 65535, 5, 6}, Credit: 1, Deadline: time.Millisecond}))
	ok("find", "By event time, before 1970.", ex[CommandFind]...)
	all, _ := AppendFind(nil, &FindRequest{ID: 4, Time: wire.NanosMin, Clock: "receive", Deadline: time.Second})
	ok("find-all", "Everything that there is.", all)
	ok("snapshot", "Last values as of a time, of an epoch, with three prefixes of which one is empty.", ex[CommandSnapshot]...)
	h, p, _ := AppendSnapshot(nil, nil, &SnapshotRequest{ID: 5, Credit: 1 << 40, Deadline: time.Minute})
	ok("snapshot-now", "Last values of every topic, now.", h, append([]byte{}, p...))
	ok("credit", "A mebibyte more.", ex[CommandCredit]...)
	ok("cancel", "Nothing more is wanted.", ex[CommandCancel]...)
	ok("ping", "Is request 1 there?", ex[CommandPing]...)
	ok("ping-nothing", "Is anybody there?", AppendPing(nil, 0))
	ok("chunk", "Three records, with an order frame.", ex[CommandChunk]...)
	b := numbered(7, 0, 1, 12, 2, 16)
	head := make([]byte, ChunkHeadSize)
	PutChunkHead(head, 9, &b.Header)
	ok("chunk-dense", "Two records whose ordinals follow one another: no order frame.", head, b.Payload)
	ok("entries", "Three last values of two shards and two epochs.", ex[CommandEntries]...)
	ok("spans", "Two spans, one empty.", ex[CommandSpans]...)
	h, p = AppendSpans(nil, nil, 2, nil)
	ok("spans-none", "Nothing from that time on.", h, append([]byte{}, p...))
	ok("end", "End with positions, and the end of an epoch.", ex[CommandEnd]...)
	h, p = AppendEnd(nil, nil, &End{ID: 1, Next: 105, Digest: Digest{Records: 5, Bytes: 600, Hash: wire.Hash(0).Roll(3, 1).Roll(2, 9)}})
	ok("end-refill", "End of a refill of two chunks: 3 records with checksum 1, 2 with checksum 9.", h, append([]byte{}, p...))
	ok("error", "What lies before 200 is gone.", ex[CommandError]...)
	h, p = AppendError(nil, nil, &RequestError{Code: CodeVersion, Advice: AdviceOther})
	ok("error-version", "The answer to a message without a readable id.", h, append([]byte{}, p...))
	h, p = AppendError(nil, nil, &RequestError{ID: 3, Code: 999, Advice: 77})
	ok("error-unknown", "Code and advice that are not known are carried.", h, append([]byte{}, p...))
	ok("pong", "The server has the request.", ex[CommandPong]...)
	ok("pong-lost", "The server does not have it.", AppendPong(nil, &Pong{ID: 1, Server: 1<<64 - 1}))
	list = append(list, badVectors(ex)...)
	for i := range list {
		v := &list[i]
		if v.expect == "ok" {
			values, err := valuesOf(v.frames)
			if err != nil {
				t.Fatalf("%s: %v", v.name, err)
			}
			v.values = values
		}
	}
	return list
}

// badVectors are messages with one fault each.
func badVectors(ex map[Command][][]byte) []vector {
	var list []vector
	bad := func(name, expect, about string, c Command, frame int, edit func([]byte)) {
		frames := make([][]byte, len(ex[c]))
		for i, f := range ex[c] {
			frames[i] = slices.Clone(f)
		}
		edit(frames[frame])
		list = append(list, vector{name: "bad-" + name, expect: expect, about: about, frames: frames})
	}
	shape := func(name, expect, about string, frames ...[]byte) {
		list = append(list, vector{name: "bad-" + name, expect: expect, about: about, frames: frames})
	}
	bad("signature", reasonSignature, "The signature of a batch.", CommandPing, 0, func(b []byte) { copy(b, wire.Signature) })
	bad("version", ErrVersion.Error()[len("resync: "):], "Version 2. Its id is to be answered.", CommandPing, 0, le(headVersionOff, 1, 2))
	bad("command", reasonCommand, "A command that does not exist.", CommandPing, 0, le(headCommandOff, 1, 7))
	bad("head-reserved", reasonReserved, "The field at 6.", CommandPing, 0, le(headZeroOff, 2, 1))
	bad("id", reasonID, "A request without an id.", CommandCancel, 0, le(headIDOff, 8, 0))
	shape("head-empty", reasonSignature, "An empty frame.", []byte{})
	shape("head-short", reasonSize, "A head that is cut off.", ex[CommandPing][0][:15])
	shape("head-long", reasonSize, "A byte more than a ping has.", append(slices.Clone(ex[CommandPing][0]), 0))
	shape("frames-few", reasonFrames, "An end without its second frame.", ex[CommandEnd][0])
	shape("frames-many", reasonFrames, "A ping of two frames.", ex[CommandPing][0], []byte{})
	shape("chunk-order-missing", reasonFrames, "An order is announced and not there.", ex[CommandChunk][:2]...)

	bad("refill-epoch", reasonEpoch, "Epoch 0.", CommandRefill, 0, le(16, 8, 0))
	bad("refill-span", reasonSpan, "It ends where it begins.", CommandRefill, 0, le(32, 8, 100))
	bad("refill-credit", reasonCredit, "Nothing may be sent.", CommandRefill, 0, le(40, 8, 0))
	bad("refill-deadline", reasonDeadline, "No deadline.", CommandRefill, 0, le(48, 4, 0))
	bad("refill-reserved", reasonReserved, "The last byte.", CommandRefill, 0, le(63, 1, 1))
	bad("find-clock", reasonClock, "Clock 4.", CommandFind, 0, le(28, 1, 4))
	bad("find-clock-none", reasonClock, "A time by no clock.", CommandFind, 0, le(28, 1, 0))
	bad("find-deadline", reasonDeadline, "No deadline.", CommandFind, 0, le(24, 4, 0))
	bad("find-reserved", reasonReserved, "The last byte.", CommandFind, 0, le(31, 1, 1))
	bad("snapshot-clock", reasonClock, "A time by no clock.", CommandSnapshot, 0, le(52, 1, 0))
	bad("snapshot-credit", reasonCredit, "Nothing may be sent.", CommandSnapshot, 0, le(32, 8, 0))
	bad("snapshot-deadline", reasonDeadline, "No deadline.", CommandSnapshot, 0, le(40, 4, 0))
	bad("snapshot-many", reasonTooMany, "16,385 prefixes are announced.", CommandSnapshot, 0, le(48, 4, PrefixesMax+1))
	bad("snapshot-prefix-missing", reasonPrefix, "One prefix more is announced than is there.", CommandSnapshot, 0, le(48, 4, 4))
	bad("snapshot-prefix-more", reasonPrefix, "One prefix less is announced than is there.", CommandSnapshot, 0, le(48, 4, 2))
	bad("snapshot-prefix-cut", reasonPrefix, "A prefix ends behind its frame.", CommandSnapshot, 1, le(0, 1, 200))
	bad("snapshot-reserved", reasonReserved, "The last byte.", CommandSnapshot, 0, le(55, 1, 1))
	bad("credit-none", reasonCredit, "No byte.", CommandCredit, 0, le(16, 8, 0))

	bad("chunk-checksum", reasonCRC, "A bit of the payload differs.", CommandChunk, 1, func(b []byte) { b[len(b)-1] ^= 1 })
	bad("chunk-heartbeat", "mark with records or payload", "A batch header that is that of a mark.", CommandChunk, 0, le(headSize+6, 2, uint64(wire.FlagHeartbeat)))
	bad("chunk-copy", reasonMark, "A batch header with the flag copy.", CommandChunk, 0, le(headSize+6, 2, uint64(wire.FlagCopy)))
	bad("chunk-batch-version", "unknown version", "A batch header of version 2.", CommandChunk, 0, le(headSize+4, 1, 2))
	bad("entries-none", reasonSize, "No records.", CommandEntries, 0, le(16, 4, 0))
	bad("entries-places", reasonSize, "A place is missing.", CommandEntries, 0, le(16, 4, 4))
	bad("entries-size", reasonSize, "A payload size that is not the frame's.", CommandEntries, 0, le(20, 4, 1))
	bad("entries-checksum", reasonCRC, "A bit of the places differs.", CommandEntries, 2, func(b []byte) { b[8] ^= 1 })
	bad("entries-reserved", reasonReserved, "The field at 28.", CommandEntries, 0, le(28, 4, 1))
	// What is checked behind the checksum needs one that agrees.
	redone := func(name, expect, about string, edit func(payload, places []byte) ([]byte, []byte)) {
		payload, places := edit(slices.Clone(ex[CommandEntries][1]), slices.Clone(ex[CommandEntries][2]))
		shape(name, expect, about, AppendEntriesHead(nil, 3, payload, places), payload, places)
	}
	redone("entries-records-few", reasonRecords, "Two records with three places.", func(p, q []byte) ([]byte, []byte) { return p[:len(p)/3*2], q })
	redone("entries-records-many", reasonRecords, "Three records with two places.", func(p, q []byte) ([]byte, []byte) { return p, q[:2*PlaceSize] })
	redone("entries-epoch", reasonEpoch, "A place of epoch 0.", func(p, q []byte) ([]byte, []byte) { le(PlaceSize, 8, 0)(q); return p, q })
	redone("entries-place-reserved", reasonReserved, "The end of a place.", func(p, q []byte) ([]byte, []byte) { q[PlaceSize-1] = 1; return p, q })

	bad("spans-more", reasonSize, "One span more is announced than is there.", CommandSpans, 0, le(16, 4, 3))
	bad("spans-many", reasonTooMany, "65,537 spans are announced.", CommandSpans, 0, le(16, 4, SpansMax+1))
	bad("spans-reserved", reasonReserved, "The field at 20.", CommandSpans, 0, le(20, 4, 1))
	bad("spans-epoch", reasonEpoch, "A span of epoch 0.", CommandSpans, 1, le(0, 8, 0))
	bad("spans-backwards", reasonSpan, "A span that ends before it begins.", CommandSpans, 1, le(16, 8, 9))
	bad("spans-span-reserved", reasonReserved, "The end of a span.", CommandSpans, 1, le(31, 1, 1))
	bad("end-flags", reasonFlags, "A flag that does not exist.", CommandEnd, 0, le(52, 4, 2))
	bad("end-positions", reasonSize, "Two positions are announced, one is there.", CommandEnd, 0, le(48, 4, 2))
	bad("error-code", reasonCode, "Code 0.", CommandError, 0, le(16, 2, 0))
	bad("error-reserved", reasonReserved, "The field at 19.", CommandError, 0, le(19, 1, 1))
	shape("error-text", reasonText, "1,025 bytes of text.", ex[CommandError][0], bytes.Repeat([]byte("."), TextMax+1))
	bad("pong-flag", reasonFlags, "2 is neither yes nor no.", CommandPong, 0, le(24, 1, 2))
	bad("pong-reserved", reasonReserved, "The last byte.", CommandPong, 0, le(31, 1, 1))
	return list
}

// valuesOf is what a message says, as JSON.
func valuesOf(f [][]byte) (string, error) {
	h, err := ParseHead(f[0], len(f))
	if err != nil {
		return "", err
	}
	type object = map[string]any
	v := object{"command": uint8(h.Command), "id": uint64(h.ID)}
	put := func(o object) {
		for k, x := range o {
			v[k] = x
		}
	}
	span := func(s Span) object {
		return object{"epoch": uint64(s.Epoch), "shard": s.Shard, "from": uint64(s.From), "to": uint64(s.To)}
	}
	spans := func(list []Span) []object {
		out := []object{}
		for _, s := range list {
			out = append(out, span(s))
		}
		return out
	}
	switch h.Command {
	case CommandRefill:
		var r RefillRequest
		if r, err = ParseRefill(f[0]); err == nil {
			put(span(r.Span))
			put(object{"credit": r.Credit, "deadline_ms": r.Deadline.Milliseconds(), "chunk_bytes": r.ChunkBytes})
		}
	case CommandFind:
		var r FindRequest
		r, err = ParseFind(f[0])
		put(object{"time_ns": int64(r.Time), "clock": r.Clock, "deadline_ms": r.Deadline.Milliseconds()})
	case CommandSnapshot:
		var r SnapshotRequest
		r, err = ParseSnapshot(f[0], f[1])
		prefixes := []string{}
		for _, p := range r.Query.Prefixes {
			prefixes = append(prefixes, hex.EncodeToString([]byte(p)))
		}
		put(object{"epoch": uint64(r.Query.Epoch), "time_ns": int64(r.Query.At), "clock": r.Query.Clock, "credit": r.Credit,
			"deadline_ms": r.Deadline.Milliseconds(), "chunk_bytes": r.ChunkBytes, "prefixes_hex": prefixes})
	case CommandCredit:
		var n uint64
		_, n, err = ParseCredit(f[0])
		put(object{"bytes": n})
	case CommandChunk:
		var b wire.Batch
		_, b, err = ParseChunk(f[0], f[1], append(f, nil)[2])
		put(object{"epoch": uint64(b.Epoch), "shard": b.Shard, "shards": b.Shards, "first_seq": uint64(b.FirstSeq), "count": b.Count, "checksum": b.CRC})
	case CommandEntries:
		var e Entries
		e, err = ParseEntries(f[0], f[1], f[2])
		places := []object{}
		for r, at, ok := e.Next(); ok; r, at, ok = e.Next() {
			places = append(places, object{"epoch": uint64(at.Epoch), "shard": at.Shard, "seq": uint64(at.From), "topic_hex": hex.EncodeToString(r.Topic())})
		}
		put(object{"count": e.Count, "checksum": e.CRC, "records": places})
	case CommandSpans:
		var list []Span
		_, list, err = ParseSpans(f[0], f[1])
		put(object{"spans": spans(list)})
	case CommandEnd:
		var e End
		e, err = ParseEnd(f[0], f[1])
		put(object{"records": e.Digest.Records, "bytes": e.Digest.Bytes, "digest": uint64(e.Digest.Hash), "next": uint64(e.Next),
			"ended": e.Ended, "positions": spans(e.Positions)})
	case CommandError:
		var e RequestError
		e, err = ParseError(f[0], f[1])
		put(object{"code": uint16(e.Code), "advice": uint8(e.Advice), "wait_ms": e.Wait.Milliseconds(), "next": uint64(e.Next), "skip": uint64(e.Skip), "text": e.Text})
	case CommandPong:
		var p Pong
		p, err = ParsePong(f[0])
		put(object{"server": p.Server, "has": p.Has})
	}
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// text is the vector as its file has it.
func (v *vector) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "expect: %s\nabout: %s\n", v.expect, v.about)
	for _, f := range v.frames {
		fmt.Fprintf(&b, "\nframe: %d bytes\n", len(f))
		for line := range slices.Chunk(f, 32) {
			fmt.Fprintf(&b, "%x\n", line)
		}
	}
	if v.values != "" {
		fmt.Fprintf(&b, "\nvalues:\n%s\n", v.values)
	}
	return b.Bytes()
}

// readVector reads a file without using anything of this package.
func readVector(path string) (vector, error) {
	b, err := os.ReadFile(path)
	v := vector{name: strings.TrimSuffix(filepath.Base(path), ".txt")}
	if err != nil {
		return v, err
	}
	var sizes []int
	inValues := false
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		key, rest, _ := strings.Cut(s.Text(), ": ")
		switch {
		case inValues:
			v.values = s.Text()
		case key == "expect":
			v.expect = rest
		case key == "about":
			v.about = rest
		case key == "frame":
			n, err := strconv.Atoi(strings.TrimSuffix(rest, " bytes"))
			if err != nil {
				return v, err
			}
			sizes, v.frames = append(sizes, n), append(v.frames, []byte{})
		case key == "values:":
			inValues = true
		case key != "":
			part, err := hex.DecodeString(key)
			if err != nil || len(v.frames) == 0 {
				return v, fmt.Errorf("line %q: %w", s.Text(), errors.Join(err))
			}
			last := len(v.frames) - 1
			v.frames[last] = append(v.frames[last], part...)
		}
	}
	for i, n := range sizes {
		if len(v.frames[i]) != n {
			return v, fmt.Errorf("frame %d has %d bytes, the file says %d", i, len(v.frames[i]), n)
		}
	}
	return v, nil
}

// TestVectors: the files are what this package makes, and it makes of them what
// they say.
func TestVectors(t *testing.T) {
	list := vectors(t)
	names := map[string]bool{}
	for i := range list {
		v := &list[i]
		if names[v.name] {
			t.Errorf("two vectors are called %s", v.name)
		}
		names[v.name] = true
		path := filepath.Join(vectorDir, v.name+".txt")
		if *update {
			if err := os.WriteFile(path, v.text(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, v.text()) {
			t.Errorf("%s is not what -update writes", path)
		}
	}
	files, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil || len(files) != len(list) {
		t.Errorf("%d files for %d vectors: %v", len(files), len(list), err)
	}
	commands := map[Command]bool{}
	for _, path := range files {
		v, err := readVector(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		values, err := valuesOf(v.frames)
		switch {
		case v.expect == "ok" && (err != nil || values != v.values):
			t.Errorf("%s: %v, %s", v.name, err, values)
		case v.expect != "ok" && (err == nil || !strings.HasSuffix(err.Error(), ": "+v.expect)):
			t.Errorf("%s: refused with %v, want %q", v.name, err, v.expect)
		}
		if h, err := ParseHead(v.frames[0], len(v.frames)); err == nil {
			commands[h.Command] = true
		}
	}
	for c := range shapes {
		if !commands[c] {
			t.Errorf("no vector of %v", c)
		}
	}
}

// TestDocExample holds the example in docs/RESYNC.md to its vector.
func TestDocExample(t *testing.T) {
	doc, err := os.ReadFile("../docs/RESYNC.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "<!-- example -->")
	text, _, _ = strings.Cut(text, "<!-- end of example -->")
	var digits strings.Builder
	for line := range strings.Lines(text) {
		code, _, _ := strings.Cut(line, "|")
		digits.WriteString(strings.Join(strings.Fields(code), ""))
	}
	got, err := hex.DecodeString(digits.String())
	want := example(t)[CommandRefill][0]
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the example is\n%x (%v), want\n%x", got, err, want)
	}
}
