package tape

import (
	"bytes"
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
// holds, in merged order, for readers in other languages.
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

// writeGolden writes a tape of two shards, two epochs, a gap, and times so far
// apart that a record needs the wide form.
func writeGolden(t *testing.T, dir string, codec Codec) {
	t.Helper()
	w, err := Create(dir, Config{Shards: 2, Codec: codec, BlockSize: 512, SegmentSize: SegmentSizeMin, SyncInterval: -1,
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
	writeGolden(t, dir, CodecPlain)
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

func updateGolden(t *testing.T) {
	for _, codec := range codecs {
		if err := os.RemoveAll(goldenName(codec)); err != nil {
			t.Fatal(err)
		}
		writeGolden(t, goldenName(codec), codec)
	}
	lines := goldenLines(t, open(t, goldenName(CodecPlain)))
	if err := os.WriteFile(filepath.Join(goldenDir, "records.jsonl"), lines, 0o644); err != nil {
		t.Fatal(err)
	}
}
