package replay

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// squeezed is how far into the schedule each time is, in tape time: gaps between the
// greatest times so far count at most a given length. left is what they lack.
func squeezed(times []wire.Nanos, most wire.Nanos) (at []wire.Nanos, left wire.Nanos) {
	seen, sum := times[0], wire.Nanos(0)
	for _, t := range times {
		back := wire.Nanos(0)
		if gap := t - seen; gap <= 0 {
			back = gap
		} else {
			sum += min(gap, most)
			left += max(gap-most, 0)
			seen = t
		}
		at = append(at, max(sum+back, 0))
	}
	return at, left
}

// TestSqueezedPacer: over days of bursts and idle stretches, each record is due within
// a nanosecond of where the exact schedule has it, and never before the one before it.
func TestSqueezedPacer(t *testing.T) {
	for _, speed := range []float64{0.25, 1, 10, 1000} {
		for _, most := range []wire.Nanos{1, 1000, wire.Nanos(time.Second), wire.Nanos(time.Hour)} {
			rng := rand.New(rand.NewPCG(uint64(most), uint64(speed*4)))
			times := []wire.Nanos{1_703_462_400_000_000_000}
			for len(times) < 3000 {
				gap := wire.Nanos(math.Exp(rng.Float64() * math.Log(float64(6*time.Hour)))) // of all sizes
				if rng.IntN(5) == 0 {
					gap = -gap / 100
				}
				times = append(times, times[len(times)-1]+gap)
			}
			p := newPacer(Speed(speed))
			p.squeeze = most
			const mono = 1_000_000
			p.anchor(times[0], mono)
			want, left := squeezed(times, most)
			latest := new(big.Rat)
			for i, at := range times {
				exact := new(big.Rat).Quo(new(big.Rat).SetInt64(int64(want[i])), new(big.Rat).SetFloat64(speed))
				if exact.Cmp(latest) > 0 {
					latest = exact
				}
				due := new(big.Rat).SetInt64(p.due(at) - mono)
				if diff := due.Sub(due, latest); diff.Abs(diff).Cmp(big.NewRat(1, 1)) > 0 {
					t.Fatalf("speed %v, %v at most: record %d at %v is off by %v ns", speed, time.Duration(most), i, at, diff.FloatString(3))
				}
			}
			if got := p.left.Load(); got != int64(left) {
				t.Errorf("speed %v, %v at most: %v were left out, want %v", speed, time.Duration(most), time.Duration(got), time.Duration(left))
			}
		}
	}
}

// TestSqueezedPacerGoesOn: where play is broken off in the middle of what is left of an
// idle stretch, the rest of that is still to come, and no more is left out.
func TestSqueezedPacerGoesOn(t *testing.T) {
	p := newPacer(2)
	p.squeeze = 1000
	p.anchor(5000, 0)
	if due := p.due(905_000); due != 500 || p.left.Load() != 899_000 {
		t.Fatalf("due at %d, %d left out", due, p.left.Load())
	}
	at := p.timeAt(300) // 200 ns before it is due, 400 of tape time
	p.anchor(at, 10_000)
	if due := p.due(905_000); due != 10_200 || p.left.Load() != 899_000 {
		t.Errorf("due at %d, %d left out", due, p.left.Load())
	}
	if due := p.due(906_000); due != 10_700 {
		t.Errorf("what follows soon is due at %d", due)
	}
}

// TestSqueezedExtremes: times that lie too far apart for the clock are no further apart
// than others.
func TestSqueezedExtremes(t *testing.T) {
	p := newPacer(1)
	p.squeeze = 100
	p.anchor(wire.NanosMin, 0)
	for i, tc := range []struct {
		at   wire.Nanos
		want int64
	}{{wire.NanosMin, 0}, {0, 100}, {wire.NanosMax - 50, 200}, {wire.NanosMin, 200}, {wire.NanosMax, 250}} {
		if got := p.due(tc.at); got-tc.want > 1 || got < tc.want { // what does not fit may be a nanosecond off
			t.Errorf("record %d at %d is due at %d, want %d", i, tc.at, got, tc.want)
		}
	}
}

// burstTimes are bursts of records a microsecond apart, and idle hours between them.
func burstTimes(n int) []wire.Nanos {
	var times []wire.Nanos
	at := firstTime
	for i := range n {
		times = append(times, at)
		at += 1000
		if i%50 == 49 {
			at += wire.Nanos(time.Hour)
		}
	}
	return times
}

// TestSqueeze: hours of idle time are played in no time, bursts keep their pace, and the
// batches say when they were due; what happens to the filter, and commands in the
// middle, do not change what is left out.
func TestSqueeze(t *testing.T) {
	times := burstTimes(1000)
	tp := tapeOf(t, 2, times)
	for _, topics := range [][]string{nil, {"T00"}} {
		f := newFakeDeck(t, 2)
		cfg := Config{Tape: tp, Speed: 1, Squeeze: 20 * time.Microsecond, Topics: topics, BatchBytes: batchBytesMin, Paused: true}
		s := start(t, f, f, cfg)
		f.awaitTicks(1)
		must(t, s.p.Resume(t.Context()))
		s.end(t, nil)
		m := newModel(t, s.p.cfg)
		m.check(t, f.epochs[0], 0, 1, true, false)
		var played []wire.Nanos
		at := map[wire.Nanos]int{}
		for _, x := range m.all {
			if passes(x.rec, topics) {
				at[wire.Record(x.rec).Receive()] = len(played)
				played = append(played, wire.Record(x.rec).Receive())
			}
		}
		want, left := squeezed(played, wire.Nanos(cfg.Squeeze))
		var base wire.Nanos
		n := 0
		for sh := range f.shards {
			for _, b := range f.epochs[0].batches[sh] {
				w := b.Records()
				w.Next()
				due := b.Due - want[at[w.Record().Receive()]]
				if n++; n == 1 {
					base = due
				}
				if due != base {
					t.Fatalf("topics %v: a batch that begins at %v was due %v from where it should be", topics, w.Record().Receive(), time.Duration(due-base))
				}
			}
		}
		rep := s.p.report
		if n < 2 || rep.Squeezed != time.Duration(left) || s.p.State().Squeezed != rep.Squeezed || rep.Elapsed > time.Hour {
			t.Errorf("topics %v: %d batches, report %+v, want %v left out", topics, n, rep, time.Duration(left))
		}
	}
}

// TestSetSqueeze: idle time that play is in the middle of is left out from then on.
func TestSetSqueeze(t *testing.T) {
	tp := tapeOf(t, 1, []wire.Nanos{firstTime, firstTime + 1000, firstTime + wire.Nanos(100*time.Hour)})
	f := newFakeDeck(t, 1)
	s := start(t, f, f, Config{Tape: tp, Speed: 1})
	for s.p.State().Records < 2 {
		f.awaitTicks(1)
	}
	if err := s.p.SetSqueeze(t.Context(), -1); err == nil {
		t.Error("idle stretches of less than nothing")
	}
	must(t, s.p.SetSqueeze(t.Context(), time.Millisecond))
	if st := s.p.State(); st.Squeeze != time.Millisecond {
		t.Errorf("%+v", st)
	}
	s.end(t, nil)
	if left := s.p.report.Squeezed; left > 100*time.Hour || left < 99*time.Hour {
		t.Errorf("%v were left out", left)
	}
	if _, err := New(Config{Tape: tp, Squeeze: -1}); err == nil {
		t.Error("a player with idle stretches of less than nothing")
	}
}
