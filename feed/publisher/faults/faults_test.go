package faults

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

func mustPlan(t testing.TB, text string) *Plan {
	t.Helper()
	spec, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestDecisionsStay: a seed means the same faults in every version, on every machine.
func TestDecisionsStay(t *testing.T) {
	p := mustPlan(t, "drop=10%,corrupt=10%,dup=10%,reorder=10%,delay=10%:1ms,marks,seed=7")
	var got []string
	for shard := range 2 {
		for epoch := range uint64(2) {
			var line strings.Builder
			for seq := range wire.Seq(40) {
				line.WriteByte("-dc2rl"[p.Batch(shard, epoch, seq).Kind])
			}
			got = append(got, line.String())
		}
		var line strings.Builder
		for n := range uint64(40) {
			line.WriteByte("-dc2rl"[p.Mark(shard, n).Kind])
		}
		got = append(got, line.String())
	}
	want := []string{
		"r-----2---ldd-r---lrr-r-2-d-r-rrd-d-dl-r",
		"lc-r--ddd---2c---2---2--lll-l-----2r2cdl",
		"lll-c-2----d-2d----22d--l2r-rr-c-l-22l-2",
		"l--r-cr-dc--r---ldlr----lll-2-r-22lc-ld-",
		"2lrcd----c---dd2-c-rcr---2rr---dr-l-----",
		"d-c-r-r2l--d-dr2-rc-c-l---ldc-----r-2--c",
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d\ngot  %s\nwant %s", i, got[i], want[i])
		}
	}
	if f := p.Batch(0, 0, 11); f.Bits != 0x3abcb483a8aa93f0 {
		t.Errorf("the bits of a damaged message are %#x", f.Bits)
	}
}

// TestRates: each kind is as frequent as it shall be, in every shard and epoch.
func TestRates(t *testing.T) {
	spec := Spec{Drop: 0.02, Corrupt: 0.001, Dup: 0.05, Reorder: 0.3, Delay: 0.01, DelayFor: time.Millisecond, Seed: 42}
	p, err := New(spec)
	if err != nil {
		t.Fatal(err)
	}
	const n = 1 << 20
	for _, c := range []struct {
		shard int
		epoch uint64
	}{{0, 0}, {1, 0}, {0, 1}, {65534, 1 << 40}} {
		var count [6]int
		var bits uint64
		for seq := range wire.Seq(n) {
			f := p.Batch(c.shard, c.epoch, seq*3)
			count[f.Kind]++
			bits |= f.Bits
		}
		for i, rate := range spec.rates() {
			// Five standard deviations: the decisions are fixed, so this cannot flake.
			off := math.Abs(float64(count[i+1])/n - rate)
			if limit := 5 * math.Sqrt(rate*(1-rate)/n); off > limit {
				t.Errorf("shard %d, epoch %d: %v is off by %.2g, limit %.2g", c.shard, c.epoch, Kind(i+1), off, limit)
			}
		}
		if bits != math.MaxUint64 {
			t.Errorf("some bits are never set: %x", bits)
		}
	}
}

// TestExtremes: 0 never happens, and 100% always.
func TestExtremes(t *testing.T) {
	never, always := mustPlan(t, "seed=1"), mustPlan(t, "drop=100%,marks,seed=1")
	for seq := range wire.Seq(10000) {
		if f := never.Batch(0, 0, seq); f != (Fault{}) {
			t.Fatalf("sequence %d: %+v", seq, f)
		}
		if f := never.Mark(0, uint64(seq)); f != (Fault{}) {
			t.Fatalf("mark %d: %+v", seq, f)
		}
		if f := always.Batch(0, 0, seq); f.Kind != Drop {
			t.Fatalf("sequence %d: %+v", seq, f)
		}
		if f := always.Mark(0, uint64(seq)); f.Kind != Drop {
			t.Fatalf("mark %d: %+v", seq, f)
		}
	}
}

// TestMarksAreLeftAlone unless they are named.
func TestMarksAreLeftAlone(t *testing.T) {
	p := mustPlan(t, "drop=100%")
	if f := p.Mark(0, 0); f != (Fault{}) {
		t.Errorf("a mark has %+v", f)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]Spec{
		"drop=0.1%": {Drop: 0.001},
		"drop=0.1%,dup=0.05%,reorder=0.1%,delay=0.5%:20ms,corrupt=0.01%,seed=7,marks": {
			Drop: 0.001, Dup: 0.0005, Reorder: 0.001, Delay: 0.005, DelayFor: 20 * time.Millisecond, Corrupt: 0.0001, Seed: 7, Marks: true,
		},
		"drop=0.25,corrupt=0.75":    {Drop: 0.25, Corrupt: 0.75},
		"seed=18446744073709551615": {Seed: math.MaxUint64},
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%q: %q comes back as %+v, %v", text, got.String(), again, err)
		}
	}
	for _, text := range []string{
		"", "drop", "drop=", "drop=x", "drop=-1%", "drop=101%", "drop=1.1", "drop=NaN", "drop=Inf", "drop=1%,drop=2%", "marks=1", "seed=-1", "seed=",
		"seed", "delay=1%", "delay=1%:", "delay=1%:x", "delay=1%:-5ms", "delay=1%:0s", "delay=1%:2h", "lose=1%", "drop=60%,dup=60%", "drop=1%,", ",", "drop=1%;dup=1%",
	} {
		if got, err := Parse(text); !errors.Is(err, ErrSpec) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("drop=0.1%,dup=0.05%,reorder=0.1%,delay=0.5%:20ms,corrupt=0.01%,seed=7,marks")
	f.Add("delay=0:1ms")
	f.Fuzz(func(t *testing.T, text string) {
		spec, err := Parse(text)
		if err != nil {
			return
		}
		if _, err := New(spec); err != nil {
			t.Fatalf("%q is parsed and refused: %v", text, err)
		}
		if again, err := Parse(spec.String()); err != nil || again != spec {
			t.Fatalf("%q: %q comes back as %+v, %v", text, spec.String(), again, err)
		}
	})
}

func TestCounts(t *testing.T) {
	c := Counts{Dropped: 1, Corrupted: 2, Duplicated: 3, Reordered: 4, Delayed: 5, Marks: 6, Missing: 7, Repeated: 8}
	sum := c
	sum.Add(&c)
	if want := (Counts{2, 4, 6, 8, 10, 12, 14, 16}); sum != want || sum.Total() != 42 {
		t.Errorf("%+v, total %d; want %+v", sum, sum.Total(), want)
	}
}

func TestKindString(t *testing.T) {
	if got := fmt.Sprint(None, Drop, Corrupt, Dup, Reorder, Delay, Kind(9)); got != "none drop corrupt dup reorder delay fault 9" {
		t.Error(got)
	}
}

func BenchmarkBatch(b *testing.B) {
	p := mustPlan(b, "drop=0.1%,dup=0.05%,reorder=0.1%,delay=0.5%:20ms,corrupt=0.01%,seed=7")
	seq, faults := wire.Seq(0), 0
	for b.Loop() {
		if p.Batch(1, 0, seq).Kind != None {
			faults++
		}
		seq++
	}
	b.ReportAllocs()
}
