package splice

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// plainCopy returns the folder of a plain tape with small blocks.
func plainCopy(t *testing.T, m made) (string, *tape.Tape) {
	t.Helper()
	m.codec = tape.CodecPlain
	in := makeTape(t, m)
	_, _, dir := cut(t, in, CutConfig{})
	return dir, in
}

func TestSalvage(t *testing.T) {
	dir, in := plainCopy(t, made{shards: 2, records: 2000, seed: 8})
	before := all(t, in)
	in = openTape(t, dir)
	if err := tape.AddMark(dir, tape.Mark{Name: "m", Time: 5}); err != nil {
		t.Fatal(err)
	}
	bad := map[int]bool{0: true, 5: true, 6: true, in.Blocks() - 1: true}
	var want []rec
	lost := map[int]uint64{}
	for n := range in.Blocks() {
		b := in.Block(n)
		if bad[n] {
			flip(t, filepath.Join(dir, "00000000.seg"), int(b.Offset)+tape.BlockHeaderSize+30)
			lost[int(b.Shard)] += uint64(b.Count)
		}
	}
	for _, r := range before {
		whole := true
		for n := range bad {
			b := in.Block(n)
			whole = whole && (int(b.Shard) != r.at.Shard || r.at.Seq < b.FirstSeq || r.at.Seq >= b.Next())
		}
		if whole {
			want = append(want, r)
		}
	}
	for _, file := range []string{"", "00000000.idx", "manifest.json"} {
		if file != "" {
			if err := os.Remove(filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
		}
		out := outDir(t)
		rep, err := Salvage(context.Background(), dir, out, SalvageConfig{})
		if err != nil {
			t.Fatal(err)
		}
		sound(t, out)
		saved := openTape(t, out)
		samePlaces(t, all(t, saved), want)
		got := map[int]uint64{}
		for _, g := range rep.Lost {
			got[g.Shard] += uint64(g.To - g.From)
		}
		if diff := cmp.Diff(lost, got); diff != "" || rep.Damage.OK() || len(rep.Damage.Gaps) > 0 {
			t.Errorf("without %q: lost: %s; gaps %v", file, diff, rep.Damage.Gaps)
		}
		marks, err := saved.Marks()
		if err != nil || len(marks) != 1 {
			t.Errorf("without %q: marks %v, %v", file, marks, err)
		}
	}
}

// Gaps that the recording has are not called lost.
func TestSalvageKnowsGaps(t *testing.T) {
	in := makeTape(t, made{records: 1000, seed: 9, back: true})
	cutOut, _, dir := cut(t, in, CutConfig{From: start + 100_000, Tape: tape.Config{Codec: tape.CodecPlain}})
	cutOut.Close()
	rep := sound(t, dir)
	if len(rep.Gaps) == 0 {
		t.Fatal("the tape has no gaps: nothing is tested")
	}
	got, err := Salvage(context.Background(), dir, outDir(t), SalvageConfig{})
	if err != nil || len(got.Lost) != 0 || !got.Damage.OK() {
		t.Errorf("lost %v, problems %v, %v", got.Lost, got.Damage.Problems, err)
	}
}

func TestRangesLost(t *testing.T) {
	block := func(from wire.Seq, n uint32) tape.BlockInfo {
		return tape.BlockInfo{Epoch: 1, FirstSeq: from, Count: n}
	}
	problem := func(from wire.Seq, n uint32) tape.Problem {
		b := block(from, n)
		return tape.Problem{Block: &b}
	}
	r := ranges{}
	for _, b := range []tape.BlockInfo{block(10, 10), block(20, 5), block(40, 10)} {
		r.add(&b)
	}
	rep := tape.Report{
		Problems: []tape.Problem{problem(5, 5), problem(50, 3), problem(12, 2), {}},
		Gaps:     []tape.Gap{{Epoch: 1, From: 30, To: 35}},
	}
	want := []tape.Gap{{Epoch: 1, From: 5, To: 10}, {Epoch: 1, From: 25, To: 30}, {Epoch: 1, From: 35, To: 40}, {Epoch: 1, From: 50, To: 53}}
	if diff := cmp.Diff(want, r.lost(&rep, nil)); diff != "" {
		t.Error(diff)
	}
}

func TestSalvageLeavesNothing(t *testing.T) {
	dir, _ := plainCopy(t, made{records: 500, seed: 1})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	out := outDir(t)
	if _, err := Salvage(ctx, dir, out, SalvageConfig{}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	nothing(t, out)
	if _, err := Salvage(context.Background(), t.TempDir(), out, SalvageConfig{}); !errors.Is(err, tape.ErrNotTape) {
		t.Errorf("no tape: %v", err)
	}
	nothing(t, out)
}
