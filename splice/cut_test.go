package splice

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

func cut(t testing.TB, in *tape.Tape, cfg CutConfig) (*tape.Tape, Report, string) {
	t.Helper()
	dir := outDir(t)
	rep, err := Cut(context.Background(), in, dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	sound(t, dir)
	return openTape(t, dir), rep, dir
}

func TestCut(t *testing.T) {
	in := makeTape(t, made{shards: 3, records: 3000, seed: 1, back: true})
	from, to := start+1_000_000, start+3_000_000
	within := func(at wire.Nanos) bool { return at >= from && at < to }
	topic := func(r wire.Record) bool {
		return bytes.HasPrefix(r.Topic(), []byte("T1")) || bytes.HasPrefix(r.Topic(), []byte("T05"))
	}
	for _, c := range []struct {
		name   string
		cfg    CutConfig
		keep   func(r wire.Record) bool
		places bool
		shards int
	}{
		{"all", CutConfig{}, func(wire.Record) bool { return true }, true, 3},
		{"receive", CutConfig{From: from, To: to}, func(r wire.Record) bool { return within(r.Receive()) }, true, 3},
		{"event", CutConfig{From: from, To: to, Clock: tape.ClockEvent}, func(r wire.Record) bool { return within(r.Event()) }, true, 3},
		{"from", CutConfig{From: from}, func(r wire.Record) bool { return r.Receive() >= from }, true, 3},
		{"to", CutConfig{To: to}, func(r wire.Record) bool { return r.Receive() < to }, true, 3},
		{"topics", CutConfig{Topics: []string{"T1", "T05"}}, topic, false, 3},
		{"both", CutConfig{From: from, To: to, Topics: []string{"T1", "T05"}},
			func(r wire.Record) bool { return within(r.Receive()) && topic(r) }, false, 3},
		{"shards", CutConfig{To: to, Tape: tape.Config{Shards: 2}}, func(r wire.Record) bool { return r.Receive() < to }, false, 2},
		{"renumber", CutConfig{From: from, Renumber: true}, func(r wire.Record) bool { return r.Receive() >= from }, false, 3},
		{"codec", CutConfig{From: from, To: to, Tape: tape.Config{Codec: tape.CodecZstd}},
			func(r wire.Record) bool { return within(r.Receive()) }, true, 3},
		{"nothing", CutConfig{To: 1}, func(wire.Record) bool { return false }, true, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, rep, _ := cut(t, in, c.cfg)
			want := where(all(t, in), c.keep)
			got := all(t, out)
			if c.places {
				samePlaces(t, got, want)
			} else {
				sameBytes(t, got, want)
				dense(t, got, c.shards)
			}
			info, err := out.Info()
			if err != nil || rep.Records != uint64(len(want)) || info.Shards != c.shards || !slices.Equal(info.Sources, []string{"source"}) {
				t.Errorf("%+v %+v %v", rep, info, err)
			}
		})
	}
}

// Whole blocks keep their stored bytes.
func TestCutKeepsBlocks(t *testing.T) {
	in := makeTape(t, made{shards: 2, records: 2000, seed: 2, codec: tape.CodecZstd, send: true})
	out, rep, _ := cut(t, in, CutConfig{From: start + 100_000, To: start + 2_000_000})
	kept := map[uint32]bool{}
	for n := range in.Blocks() {
		kept[in.Block(n).StoredCRC] = true
	}
	same := 0
	for n := range out.Blocks() {
		if kept[out.Block(n).StoredCRC] {
			same++
		}
	}
	if uint64(same) != rep.BlocksKept || same < out.Blocks()-2*in.Shards() || rep.BlocksCoded != 0 {
		t.Errorf("%d of %d blocks are the same; report %+v", same, out.Blocks(), rep)
	}
	whole, _, _ := cut(t, in, CutConfig{})
	a, _ := in.Info()
	b, _ := whole.Info()
	if a.Digest != b.Digest || a.Totals.StoredBytes != b.Totals.StoredBytes {
		t.Errorf("a cut of everything differs: %+v, %+v", a.Totals, b.Totals)
	}
}

// A cut of a cut is the cut of both ranges: same places, same blocks.
func TestCutOfCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for seed := range uint64(20) {
		in := makeTape(t, made{shards: 1 + int(seed%3), records: 800, seed: seed, back: seed%2 == 0, send: seed%5 == 0})
		times := func() (wire.Nanos, wire.Nanos) {
			a, b := wire.Nanos(rng.IntN(1_200_000)), wire.Nanos(rng.IntN(1_200_000))
			return start + min(a, b), start + max(a, b) + 1
		}
		f1, t1 := times()
		f2, t2 := times()
		clock := tape.Clock(seed % 2)
		once, _, _ := cut(t, in, CutConfig{From: f1, To: t1, Clock: clock})
		twice, _, _ := cut(t, once, CutConfig{From: f2, To: t2, Clock: clock})
		if max(f1, f2) >= min(t1, t2) {
			if n := len(all(t, twice)); n != 0 {
				t.Fatalf("ranges without a common time gave %d records", n)
			}
			continue
		}
		direct, _, _ := cut(t, in, CutConfig{From: max(f1, f2), To: min(t1, t2), Clock: clock})
		samePlaces(t, all(t, twice), all(t, direct))
		a, _ := twice.Info()
		b, _ := direct.Info()
		if a.Digest != b.Digest {
			t.Fatalf("seed %d: the same records in other blocks", seed)
		}
	}
}

func TestCutMarks(t *testing.T) {
	in := makeTape(t, made{records: 1000, seed: 3, back: true})
	dir := outDir(t)
	if _, err := Cut(context.Background(), in, dir, CutConfig{}); err != nil {
		t.Fatal(err)
	}
	first := all(t, in)[500]
	for _, m := range []tape.Mark{
		{Name: "early", Time: start - 1},
		{Name: "inside", Time: first.raw.Receive(), At: &tape.MarkAt{Epoch: 7, Seq: first.at.Seq}},
		{Name: "late", Time: start + 1e9},
		{Name: "event", Clock: tape.ClockEvent, Time: first.raw.Event()},
	} {
		if err := tape.AddMark(dir, m); err != nil {
			t.Fatal(err)
		}
	}
	marked := openTape(t, dir)
	for _, renumber := range []bool{false, true} {
		out, rep, _ := cut(t, marked, CutConfig{From: start, To: start + 1e9, Renumber: renumber})
		list, err := out.Marks()
		names := map[string]bool{}
		for _, m := range list {
			names[m.Name] = true
			if m.Name == "inside" && (m.At == nil) != renumber {
				t.Errorf("renumber %v: the place is %+v", renumber, m.At)
			}
		}
		if err != nil || len(list) != 2 || !names["inside"] || !names["event"] || rep.Marks != 2 || rep.MarksLeftOut != 2 {
			t.Errorf("%+v %+v %v", list, rep, err)
		}
	}
}

// An interrupted or failed cut leaves nothing.
func TestCutLeavesNothing(t *testing.T) {
	in := makeTape(t, made{records: 1000, seed: 4})
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	cancel(why)
	for _, cfg := range []CutConfig{{}, {Renumber: true}} {
		dir := outDir(t)
		if _, err := Cut(ctx, in, dir, cfg); cfg.Renumber == false && !errors.Is(err, why) {
			t.Errorf("%v", err)
		} else if err != nil {
			nothing(t, dir)
		}
	}
	damaged, _, dir := cut(t, in, CutConfig{Tape: tape.Config{Codec: tape.CodecPlain}})
	damaged.Close()
	flip(t, filepath.Join(dir, "00000000.seg"), 3000)
	for _, cfg := range []CutConfig{{}, {Renumber: true}} {
		out := outDir(t)
		var corrupt *tape.CorruptError
		if _, err := Cut(context.Background(), openTape(t, dir), out, cfg); !errors.As(err, &corrupt) {
			t.Errorf("a damaged tape: %v", err)
		}
		nothing(t, out)
	}
}

// flip changes a byte of a file.
func flip(t testing.TB, name string, at int) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 0x40
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
