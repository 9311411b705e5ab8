package snail

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// TestMeter: what a reader's clocks, its network and its lag do, and what the
// meter says of it.
func TestMeter(t *testing.T) {
	for _, c := range []struct {
		name string
		sim  sim
		run  time.Duration
		want []Verdict
	}{
		{"in time", sim{}, 20 * second, []Verdict{OK}},
		{"far network", sim{network: 300 * ms}, 20 * second, []Verdict{OK}},
		{"reader's clock behind", sim{readerAhead: -5 * second}, 20 * second, []Verdict{OK}},
		{"reader's clock ahead", sim{readerAhead: 5 * second}, 20 * second, []Verdict{OK}},
		{"clocks drift apart, one way", sim{drift: 100, interval: second}, 8 * time.Hour, []Verdict{OK}},
		{"clocks drift apart, the other way", sim{drift: -100, interval: second}, 8 * time.Hour, []Verdict{OK}},
		{"reader's clock set ahead", sim{readerStep: from(10*second, 30*second)}, 30 * second, []Verdict{OK}},
		{"reader's clock set back", sim{readerStep: from(10*second, -30*second)}, 30 * second, []Verdict{OK}},
		{"publisher's clock set ahead", sim{publisherStep: from(10*second, 30*second)}, 30 * second, []Verdict{OK}},
		{"publisher's clock set back", sim{publisherStep: from(10*second, -30*second)}, 30 * second, []Verdict{OK}},
		{"publisher's clock set back, marks alone", sim{interval: second, publisherStep: from(10*second, -30*second)}, 30 * second, []Verdict{OK}},

		{"late", sim{lag: from(10*second, 1200*ms)}, 20 * second, []Verdict{OK, Snail}},
		{"late, reader's clock behind by more", sim{readerAhead: -5 * second, lag: from(10*second, 1200*ms)}, 20 * second, []Verdict{OK, Snail}},
		{"late, reader's clock ahead", sim{readerAhead: 5 * second, lag: from(10*second, 1200*ms)}, 20 * second, []Verdict{OK, Snail}},
		{"late for an hour", sim{interval: 100 * ms, lag: from(10*second, 1200*ms)}, time.Hour, []Verdict{OK, Snail}},
		{"a little late for an hour", sim{interval: 100 * ms, lag: from(10*second, 700*ms)}, time.Hour, []Verdict{OK, Lagging}},
		{"later and later", sim{interval: 100 * ms, lag: func(at time.Duration) time.Duration { return at / 1000 }}, time.Hour, []Verdict{OK, Lagging, Snail}},
		{"publisher's clock set ahead while late", sim{lag: from(10*second, 1500*ms), publisherStep: from(15*second, 400*ms)}, 30 * second, []Verdict{OK, Snail}},
		{"reader's clock set back while late", sim{lag: from(10*second, 1500*ms), readerStep: from(12*second, -10*second)}, 30 * second, []Verdict{OK, Snail}},
		{"publisher's clock set back while late", sim{lag: from(10*second, 1500*ms), publisherStep: from(12*second, -10*second)}, 30 * second, []Verdict{OK, Snail}},

		{"a short hiccup", sim{lag: func(at time.Duration) time.Duration {
			if at > 10*second && at < 11*second {
				return 3*second - (at-10*second)*3 // what piled up is read at once
			}
			return 0
		}}, 20 * second, []Verdict{OK}},
		{"about the limit", sim{lag: func(at time.Duration) time.Duration {
			if at < 10*second {
				return 0
			}
			return 1000*ms + time.Duration(50*math.Sin(at.Seconds()*8)*float64(ms))
		}}, 60 * second, []Verdict{OK, Lagging, Snail}},
		{"well again", sim{lag: func(at time.Duration) time.Duration {
			if at > 10*second && at < 15*second {
				return 2 * second
			}
			return 0
		}}, 60 * second, []Verdict{OK, Snail, OK}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.sim.t = t
			c.sim.run(c.run)
			if !slices.Equal(c.sim.verdicts, c.want) {
				t.Errorf("%v at %v, want %v", c.sim.verdicts, c.sim.at, c.want)
			}
		})
	}
}

// TestMeterNamesInTime: from the moment that the lag is over the limit until the
// verdict it takes what Limits.Rise says, and until it is taken back what
// Limits.Fall says.
func TestMeterNamesInTime(t *testing.T) {
	s := sim{t: t, lag: func(at time.Duration) time.Duration {
		if at > 10*second && at < 15*second {
			return 2 * second
		}
		return 0
	}}
	s.run(40 * second)
	if !slices.Equal(s.verdicts, []Verdict{OK, Snail, OK}) {
		t.Fatal(s.verdicts)
	}
	// The first late message is taken at 12 s, the last at 17 s.
	if entered := s.at[1]; entered < 12*second+100*ms || entered > 12*second+150*ms {
		t.Errorf("a snail at %v", entered)
	}
	if left := s.at[2]; left < 21950*ms || left > 22*second+50*ms {
		t.Errorf("OK at %v", left)
	}
}

// TestMeterSkew: the reported skew is the clocks' difference and the shortest way.
func TestMeterSkew(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, -5 * second, 0, 5 * second, time.Hour} {
		s := sim{t: t, readerAhead: ahead, network: 3 * ms}
		s.run(5 * second)
		if got := s.meter.Status().Skew; got != ahead+3*ms {
			t.Errorf("skew %v, want %v", got, ahead+3*ms)
		}
	}
	s := sim{t: t, readerStep: from(10*second, 2*second)}
	s.run(20 * second)
	if got := s.meter.Status(); got.Skew != 2*second+100*time.Microsecond || got.Steps != 0 {
		t.Errorf("the reader's clock was set: skew %v, %d steps", got.Skew, got.Steps)
	}
	s = sim{t: t, publisherStep: from(10*second, -2*second)}
	s.run(20 * second)
	if got := s.meter.Status(); got.Skew != 2*second+100*time.Microsecond || got.Steps != 1 {
		t.Errorf("the publisher's clock was set: skew %v, %d steps", got.Skew, got.Steps)
	}
}

// TestMeterProperty: with clocks that are off by anything and drift by what
// computers' do, lag that is beyond the limit for long enough makes a snail, and
// no reader that keeps up is ever called anything but OK.
func TestMeterProperty(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := sim{
			t: t, interval: time.Duration(1+r.IntN(300)) * ms, network: time.Duration(r.IntN(50)) * ms,
			readerAhead: time.Duration(r.Int64N(int64(2*time.Hour))) - time.Hour, drift: r.Float64()*200 - 100,
		}
		const end = 5 * time.Minute
		begins, lasts := 30*second+time.Duration(r.Int64N(int64(2*time.Minute))), time.Duration(r.Int64N(int64(40*second)))
		late := time.Duration(r.Int64N(int64(3 * second)))
		noise := rand.New(rand.NewPCG(seed, 2))
		s.lag = func(at time.Duration) time.Duration {
			if at >= begins && at < begins+lasts {
				return late
			}
			return time.Duration(noise.IntN(100)) * ms // up to a tenth of the limit
		}
		s.run(end)
		// What the estimate of the skew may hide: drift within its window, and noise
		// that was never without some milliseconds.
		const margin = 120 * ms
		slow := slices.Contains(s.verdicts, Snail)
		switch {
		case late >= second+margin && lasts >= 500*ms+2*s.interval && !slow:
			t.Errorf("seed %d: late by %v for %v, and %v", seed, late, lasts, s.verdicts)
		case late < second-margin && slow:
			t.Errorf("seed %d: late by %v, and %v", seed, late, s.verdicts)
		case late < 500*ms-margin && !slices.Equal(s.verdicts, []Verdict{OK}):
			t.Errorf("seed %d: late by %v, and %v", seed, late, s.verdicts)
		case s.verdicts[len(s.verdicts)-1] != OK && begins+lasts+late < end-20*second:
			t.Errorf("seed %d: well again, and %v", seed, s.verdicts)
		case len(s.verdicts) > 5:
			t.Errorf("seed %d: it flaps: %v at %v", seed, s.verdicts, s.at)
		}
		for i, lag := range s.lags {
			if d := lag - s.actual[i]; d > margin || d < -margin {
				t.Fatalf("seed %d: lag %v, it is %v", seed, lag, s.actual[i])
			}
		}
	}
}

// TestMeterLoss: a publisher with a short queue drops before it delays: one long
// hole, half its queue or more, and never any lag to speak of.
func TestMeterLoss(t *testing.T) {
	s := sim{t: t, lag: func(time.Duration) time.Duration { return 150 * ms }}
	s.run(10 * second)
	if got := s.meter.Verdict(); got != OK {
		t.Fatal(got)
	}
	if got := s.meter.Lose(s.instant(s.received), 50_000); got != Snail {
		t.Errorf("after a hole: %v", got)
	}
	if got := s.meter.Status(); got.Cause != CauseLost || got.Lost != 50_000 || got.Lag > 200*ms {
		t.Errorf("%+v", got)
	}
	began := s.received
	s.run(14 * second)
	s.meter.Lose(s.instant(s.received), 1)
	again := s.received
	s.run(40 * second)
	if !slices.Equal(s.verdicts, []Verdict{OK, Snail, OK}) {
		t.Fatal(s.verdicts)
	}
	if left := s.at[2]; left < again+5*second || left > again+5*second+50*ms {
		t.Errorf("holes at %v and %v, OK at %v", began, again, left)
	}
}

// TestMeterToleratesLoss: with a limit above 1 it is the sum that counts, until a
// pause.
func TestMeterToleratesLoss(t *testing.T) {
	m := newMeter(t, Limits{Lost: 100})
	at := func(d time.Duration) Instant { return (&sim{}).instant(d) }
	for i, c := range []struct {
		at   time.Duration
		n    uint64
		want Verdict
	}{{0, 60, OK}, {6 * second, 60, OK}, {7 * second, 39, OK}, {8 * second, 1, Snail}, {9 * second, 0, Snail}} {
		if got := m.Lose(at(c.at), c.n); got != c.want {
			t.Errorf("%d: %v, want %v", i, got, c.want)
		}
	}
	if got := m.Status().Lost; got != 160 {
		t.Errorf("%d lost", got)
	}
}

// TestMeterStuck: a handler that does not return is seen while it does not, with
// how late the reader is by now, and what follows is not at once OK.
func TestMeterStuck(t *testing.T) {
	s := sim{t: t}
	s.run(10 * second)
	busy := s.instant(s.received).Mono
	tick := func(after time.Duration, since wire.Nanos) Verdict {
		return s.meter.Tick(s.instant(s.received+after), since)
	}
	var first time.Duration
	for after := time.Duration(0); after <= 2*second; after += 100 * ms {
		if v := tick(after, busy); v == Stuck && first == 0 {
			first = after
		} else if v != OK && v != Stuck {
			t.Fatal(v)
		}
	}
	if first != second {
		t.Errorf("stuck after %v", first)
	}
	if got := s.meter.Status(); got.Verdict != Stuck || got.Cause != CauseHandler || got.Lag != 2*second {
		t.Errorf("%+v", got)
	}
	if got := tick(2100*ms, 0); got != Snail {
		t.Errorf("it returned: %v", got)
	}
	s.verdicts = nil
	s.run(30 * second)
	if !slices.Equal(s.verdicts, []Verdict{Snail, OK}) {
		t.Errorf("afterwards: %v", s.verdicts)
	}
}

// TestMeterBusyIsNotStuck: many short calls are no long one, however seldom they
// are looked at.
func TestMeterBusyIsNotStuck(t *testing.T) {
	m := newMeter(t, Limits{})
	s := sim{}
	for after := time.Duration(0); after < time.Minute; after += 300 * ms {
		if v := m.Tick(s.instant(after), s.instant(after-250*ms).Mono); v != OK {
			t.Fatal(v)
		}
	}
}

// TestMeterAsleep: a process that was stopped is not stuck when it wakes: the
// call that looks old was at work for a moment only.
func TestMeterAsleep(t *testing.T) {
	m := newMeter(t, Limits{})
	s := sim{}
	busy := s.instant(0).Mono
	m.Tick(s.instant(0), 0)
	m.Tick(s.instant(10*ms), busy)
	if v := m.Tick(s.instant(time.Minute), busy); v != OK {
		t.Errorf("at waking: %v", v)
	}
	if v := m.Tick(s.instant(time.Minute+50*ms), 0); v != OK {
		t.Errorf("afterwards: %v", v)
	}
	m.Tick(s.instant(2*time.Minute), busy)
	if v := m.Tick(s.instant(2*time.Minute+150*ms), busy); v != Stuck {
		t.Errorf("still at work: %v", v)
	}
}

// TestMeterEpochs: another publisher's clock is not the first one's, and lag that
// was there stays.
func TestMeterEpochs(t *testing.T) {
	for _, ahead := range []time.Duration{-5 * second, -500 * ms, 0, 5 * second} {
		for _, late := range []time.Duration{0, 1500 * ms} {
			m := newMeter(t, Limits{})
			s := sim{}
			observe := func(at time.Duration, epoch wire.Epoch, ahead time.Duration) {
				m.Observe(s.instant(at), &wire.Header{Epoch: epoch, Send: simWall + wire.Nanos(at-late+ahead)})
			}
			m.Observe(s.instant(0), &wire.Header{Epoch: 1, Send: simWall})
			for at := 2 * second; at < 20*second; at += 100 * ms {
				observe(at, 1, 0)
			}
			for at := 20 * second; at < 40*second; at += 100 * ms {
				observe(at, 2, ahead)
			}
			got := m.Status()
			want := late
			if ahead > 0 {
				want = max(0, late-ahead) // until it catches up, a clock that is ahead hides some
			}
			if d := got.Lag - want; d.Abs() > 200*ms {
				t.Errorf("clock %v ahead, late by %v: lag %v", ahead, late, got.Lag)
			}
			if late == 0 && got.Verdict != OK {
				t.Errorf("clock %v ahead: %v", ahead, got.Verdict)
			}
		}
	}
}

// TestMeterForgive: what was seen before says nothing any more, counts stay.
func TestMeterForgive(t *testing.T) {
	s := sim{t: t, lag: from(2*second, 3*second)}
	s.run(10 * second)
	s.meter.Lose(s.instant(s.received), 7)
	if got := s.meter.Verdict(); got != Snail {
		t.Fatal(got)
	}
	s.meter.Forgive()
	if got := s.meter.Status(); got.Verdict != OK || got.Cause != CauseNone || got.Lost != 7 {
		t.Errorf("%+v", got)
	}
	s.run(11 * second)
	if got := s.meter.Verdict(); got != Snail {
		t.Errorf("it is as late as before: %v", got)
	}
}

// TestMeterHostileTimes: send times come from the network.
func TestMeterHostileTimes(t *testing.T) {
	m := newMeter(t, Limits{})
	s := sim{}
	for i, send := range []wire.Nanos{wire.NanosMin, wire.NanosMax, 0, wire.NanosMin, -1, wire.NanosMax, simWall} {
		m.Observe(s.instant(time.Duration(i)*second), &wire.Header{Epoch: wire.Epoch(1 + i%2), Send: send})
		if got := m.Status().Lag; got < 0 {
			t.Errorf("send time %d: lag %d", int64(send), got)
		}
	}
}

func TestLimits(t *testing.T) {
	for _, l := range []Limits{
		{Lag: -1}, {Rise: -1}, {Fall: -1}, {Stuck: -1}, {LagLeave: 2 * second}, {Warn: 2 * second}, {Warn: ms, WarnLeave: second},
	} {
		if _, err := NewMeter(l); err == nil {
			t.Errorf("%+v was taken", l)
		}
	}
	m := newMeter(t, Limits{Lag: 200 * ms})
	if l := m.limits; l.Warn != 100*ms || l.LagLeave != 100*ms || l.WarnLeave != 50*ms || l.Stuck != 200*ms || l.Rise != 20*ms || l.Fall != second || l.Lost != 1 {
		t.Errorf("%+v", l)
	}
}

func TestAddSub(t *testing.T) {
	const most, least = math.MaxInt64, math.MinInt64
	for _, c := range [][4]int64{ // a, b, a+b, a-b
		{1, 2, 3, -1}, {most, 1, most, most - 1}, {most, -1, most - 1, most}, {least, -1, least, least + 1},
		{least, 1, least + 1, least}, {0, least, least, most}, {-1, least, least, most}, {least, least, least, 0}, {most, most, most, 0},
	} {
		if got := add(c[0], c[1]); got != c[2] {
			t.Errorf("%d + %d = %d, want %d", c[0], c[1], got, c[2])
		}
		if got := sub(c[0], c[1]); got != c[3] {
			t.Errorf("%d - %d = %d, want %d", c[0], c[1], got, c[3])
		}
	}
}

// TestObserveAllocs: watching a shard makes no garbage.
func TestObserveAllocs(t *testing.T) {
	s := sim{}
	m := newMeter(t, Limits{})
	h := wire.Header{Epoch: 1, Count: 10}
	at := time.Duration(0)
	if n := testing.AllocsPerRun(1000, func() {
		at += 100 * ms
		now := s.instant(at)
		h.Send, h.FirstSeq = now.Wall, h.Next()
		m.Observe(now, &h)
		m.Tick(now, now.Mono)
		m.Lose(now, 1)
		_ = m.Status()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkObserve is what a batch costs.
func BenchmarkObserve(b *testing.B) {
	m := newMeter(b, Limits{})
	now := Instant{Wall: simWall, Mono: simMono}
	h := wire.Header{Epoch: 1, Count: 10}
	b.ReportAllocs()
	for b.Loop() {
		now.Wall += 100_000
		now.Mono += 100_000
		h.Send, h.FirstSeq = now.Wall-50_000, h.Next()
		m.Observe(now, &h)
	}
}
