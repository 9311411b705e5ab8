package tape

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// appendPart appends the batch of sequences [from, to) of an epoch, as last values or
// as records.
func appendPart(t testing.TB, w *Writer, epoch wire.Epoch, from, to wire.Seq, last bool) {
	t.Helper()
	b := batchOf(t, benchFields(), int(to-from))
	b.Epoch, b.FirstSeq, b.FirstOrdinal = epoch, from, wire.Ordinal(from)
	if last {
		b.Flags = wire.FlagSnapshotBatch
	}
	if err := w.AppendBatch(b); err != nil {
		t.Fatal(err)
	}
}

// TestLastValuesAreNoGap: what was sent as last values is not on the tape, and not
// in its gaps; a loss beside it is.
func TestLastValuesAreNoGap(t *testing.T) {
	type part struct {
		from, to wire.Seq
		last     bool
	}
	at := func(from, to wire.Seq) Gap { return Gap{Epoch: 9, From: from, To: to} }
	for _, tc := range []struct {
		name  string
		parts []part
		last  []Gap
		gaps  []Gap
	}{
		{"at the start", []part{{0, 5, true}, {5, 9, true}, {9, 12, false}}, []Gap{at(0, 9)}, nil},
		{"in the middle", []part{{0, 5, false}, {5, 9, true}, {9, 12, false}}, []Gap{at(5, 9)}, nil},
		{"twice", []part{{0, 5, false}, {5, 9, true}, {9, 12, false}, {12, 14, true}, {14, 15, false}}, []Gap{at(5, 9), at(12, 14)}, nil},
		{"again", []part{{0, 5, false}, {3, 9, true}, {4, 8, true}, {9, 12, false}}, []Gap{at(5, 9)}, nil},
		{"loss before", []part{{0, 5, false}, {6, 9, true}, {9, 12, false}}, nil, []Gap{at(5, 9)}},
		{"loss inside", []part{{0, 5, false}, {5, 7, true}, {8, 9, true}, {9, 12, false}}, nil, []Gap{at(5, 9)}},
		{"loss behind", []part{{0, 5, false}, {5, 7, true}, {9, 12, false}}, nil, []Gap{at(5, 9)}},
		{"joined late", []part{{3, 5, true}, {5, 12, false}}, nil, nil},
		{"nothing but last values", []part{{0, 5, true}}, nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, dir := create(t, Config{SyncInterval: -1})
			appendPart(t, w, 8, 0, 3, false)
			for _, p := range tc.parts {
				appendPart(t, w, 9, p.from, p.to, p.last)
			}
			appendPart(t, w, 8, 50, 60, true) // of an epoch that is over: nothing
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			r := verify(t, dir)
			if !r.OK() || !slices.Equal(r.LastValues, tc.last) || !slices.Equal(r.Gaps, tc.gaps) {
				t.Errorf("last values %v, gaps %v, problems %v", r.LastValues, r.Gaps, r.Problems)
			}
			tp := open(t, dir)
			for _, list := range [][]Gap{tc.last, tc.gaps} {
				for _, g := range list {
					_, _, err := tp.ReadSeq(t.Context(), g.Epoch, 0, g.From, g.To, 0)
					var e *SeqError
					if !errors.As(err, &e) || !errors.Is(err, ErrGone) || e.To != g.To || e.LastValues != slices.Contains(tc.last, g) {
						t.Errorf("%v: %v", g, err)
					}
				}
			}
		})
	}
}

// TestLastValuesAreCopied: blocks that go to another tape take along what they say
// of the jump before them, unless something of what came before is missing there.
func TestLastValuesAreCopied(t *testing.T) {
	w, dir := create(t, Config{SyncInterval: -1})
	appendPart(t, w, 9, 4, 5, true)
	appendPart(t, w, 9, 5, 8, false)
	appendPart(t, w, 9, 8, 10, true)
	appendPart(t, w, 9, 10, 12, false)
	appendPart(t, w, 9, 12, 13, true)
	appendPart(t, w, 9, 13, 15, false)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tp := open(t, dir)
	last := []Gap{{Epoch: 9, From: 8, To: 10}, {Epoch: 9, From: 12, To: 13}}
	for left, want := range map[int]struct{ last, gaps []Gap }{
		-1: {last, nil},
		0:  {last[1:], nil}, // a start is not known to be late
		1:  {nil, []Gap{{Epoch: 9, From: 8, To: 13}}},
		2:  {last[:1], nil},
	} {
		disk := fsys.NewMem()
		w, err := Create(memDir, Config{SyncInterval: -1, FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		for n := range tp.Blocks() {
			if n == left {
				continue
			}
			b, err := tp.ReadBlock(n, false)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.AppendBlock(b, true); err != nil {
				t.Fatal(err)
			}
			b.Release()
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if r := verified(t, disk); !slices.Equal(r.LastValues, want.last) || !slices.Equal(r.Gaps, want.gaps) {
			t.Errorf("without block %d: last values %v, gaps %v", left, r.LastValues, r.Gaps)
		}
	}
}

// After retention it is not known what was before the first block.
func TestLastValuesAtTheStartOfWhatIsLeft(t *testing.T) {
	w, dir := create(t, Config{SyncInterval: -1, SegmentSize: SegmentSizeMin, Codec: CodecPlain, KeyframeInterval: 1})
	for i := range wire.Seq(40) {
		appendPart(t, w, 9, 200*i, 200*i+190, false)
		appendPart(t, w, 9, 200*i+190, 200*i+200, true)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Retain(dir, RetainConfig{Size: 3 * SegmentSizeMin}); err != nil {
		t.Fatal(err)
	}
	tp := open(t, dir)
	first := tp.Block(0)
	if !first.LastValues || first.FirstSeq == 0 {
		t.Fatalf("%+v", first)
	}
	_, _, err := tp.ReadSeq(t.Context(), 9, 0, 0, 1, 0)
	var e *SeqError
	if !errors.As(err, &e) || e.LastValues || e.To != first.FirstSeq {
		t.Errorf("%v", err)
	}
	if r := verify(t, dir); !r.OK() || len(r.Gaps) > 0 || r.LastValues[0].From < first.FirstSeq {
		t.Errorf("%+v", r)
	}
}

var goldenLastValues = filepath.Join(goldenDir, "golden-v1-last-values.tape")

// writeGoldenLastValues writes a tape of a stream with last values at the start of an
// epoch and in the middle of one, and with one real gap.
func writeGoldenLastValues(t *testing.T, dir string) {
	t.Helper()
	w, err := Create(dir, Config{Codec: CodecPlain, SyncInterval: -1, KeyframeInterval: -1, Generator: "tapedeck golden", ID: ID{0xde, 0xc4, 3},
		Created: 1_700_000_000_123_456_789, Sources: []string{"golden tape of last values, format version 1"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct {
		epoch    wire.Epoch
		from, to wire.Seq
		last     bool
	}{{41, 0, 3, false}, {41, 3, 5, true}, {41, 5, 6, false}, {41, 8, 9, false}, {42, 0, 4, true}, {42, 4, 6, false}} {
		appendPart(t, w, p.epoch, p.from, p.to, p.last)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestGoldenLastValues(t *testing.T) {
	if *update {
		if err := os.RemoveAll(goldenLastValues); err != nil {
			t.Fatal(err)
		}
		writeGoldenLastValues(t, goldenLastValues)
	}
	r := verify(t, goldenLastValues)
	if !r.OK() || len(r.Warnings) != 0 || r.Records != 7 ||
		!slices.Equal(r.Gaps, []Gap{{Epoch: 41, From: 6, To: 8}}) || !slices.Equal(r.LastValues, []Gap{{Epoch: 41, From: 3, To: 5}, {Epoch: 42, To: 4}}) {
		t.Errorf("%+v", r)
	}
	dir := filepath.Join(t.TempDir(), "again.tape")
	writeGoldenLastValues(t, dir)
	for _, name := range []string{segmentName(0), indexName(0), manifestName, topicsName} {
		want, err1 := os.ReadFile(filepath.Join(goldenLastValues, name))
		got, err2 := os.ReadFile(filepath.Join(dir, name))
		if err := errors.Join(err1, err2); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s differs from the golden tape's: %v", name, err)
		}
	}
}
