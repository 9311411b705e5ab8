package tape

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// The golden tape with keyframes has lost its first segment to retention.
// keyframes.jsonl has, for some times, every topic's last record on it.
const (
	goldenKeyframes     = goldenDir + "/golden-v1-keyframes.tape"
	goldenKeyframesLast = goldenDir + "/keyframes.jsonl"
)

// goldenLast is one line of keyframes.jsonl.
type goldenLast struct {
	At      wire.Nanos     `json:"at_ns"`
	Clock   string         `json:"clock"`
	Unknown int            `json:"unknown"`
	Last    []goldenRecord `json:"last"`
}

func writeGoldenKeyframes(t *testing.T, dir string) {
	t.Helper()
	writeGolden(t, dir, CodecPlain, 8000)
	r, err := RetainFS(fsys.OS{}, dir, RetainConfig{Size: 1}, 0)
	if err != nil || r.Segments != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
}

func goldenLastLines(t *testing.T, tp *Tape) []byte {
	t.Helper()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	info, err := tp.Info()
	if err != nil {
		t.Fatal(err)
	}
	span := info.Totals.Receive
	for i := range wire.Nanos(9) {
		for _, c := range []Clock{ClockReceive, ClockEvent} {
			line := goldenLast{At: span.Min + (span.Max-span.Min)/6*(i-1), Clock: c.String()}
			l, err := tp.Last(t.Context(), LastConfig{At: line.At, Clock: c})
			if err != nil || l.Stats().Passed != nil {
				t.Fatalf("%+v, %v", l.Stats(), err)
			}
			line.Unknown = l.Stats().Unknown
			for l.Next() {
				at, rec := l.At(), l.Record()
				line.Last = append(line.Last, goldenRecord{at.Shard, at.Epoch, at.Seq, at.Ordinal, rec.Event(), rec.Receive(), rec.TopicSeq(),
					rec.Kind().String(), string(rec.Topic()), hex.EncodeToString(rec.Body())})
			}
			if err := enc.Encode(&line); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out.Bytes()
}

// A tape with keyframes and without its first segment, as any earlier version
// wrote it, opens, verifies, and gives the same last records.
func TestGoldenKeyframes(t *testing.T) {
	if *update {
		if err := os.RemoveAll(goldenKeyframes); err != nil {
			t.Fatal(err)
		}
		writeGoldenKeyframes(t, goldenKeyframes)
		if err := os.WriteFile(goldenKeyframesLast, goldenLastLines(t, open(t, goldenKeyframes)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if r := verify(t, goldenKeyframes); !r.OK() || len(r.Warnings) != 0 {
		t.Errorf("%+v", r)
	}
	tp := open(t, goldenKeyframes)
	list, reason := tp.keyframes(tp.segments[0])
	if tp.base == 0 || len(list) < 2 || list[0].block != 0 || reason != "" {
		t.Errorf("starts at block %d, %d keyframes, %q", tp.base, len(list), reason)
	}
	want, err := os.ReadFile(goldenKeyframesLast)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(goldenLastLines(t, tp), want) {
		t.Error("the last records differ from keyframes.jsonl")
	}
}

// The same records and retention make the same tape; keyframes are compressed,
// and what a compressor makes may change with its version.
func TestGoldenKeyframesAreReproduced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "again.tape")
	writeGoldenKeyframes(t, dir)
	for _, name := range []string{segmentName(1), indexName(1), topicsName} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if want, err := os.ReadFile(filepath.Join(goldenKeyframes, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from the golden tape's, %v", name, err)
		}
	}
	want, err := os.ReadFile(goldenKeyframesLast)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(goldenLastLines(t, open(t, dir)), want) {
		t.Error("the last records differ from keyframes.jsonl")
	}
}
