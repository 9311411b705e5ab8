package replay

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// follower knows what every epoch must have, after commands that are given one
// after the other. Rounds of loops begin by themselves, at any time.
type follower struct {
	t      testing.TB
	s      *session
	m      *model
	epochs func() []*fakeEpoch // that have begun so far
	wants  []epochWant
	starts []wire.Ordinal // places, through all passes
	topics []string       // at hand
	loop   *loopWant      // at hand
	loops  int            // that were begun
	seeks  int
	sets   int // of the filter
}

// loopWant is a loop as the model has it: [from, end) of all. Its rounds say the
// same time.
type loopWant struct {
	from, end int
	start     wire.Ordinal // place, through all passes
	at        wire.Nanos
}

func newFollower(t testing.TB, s *session, m *model, epochs func() []*fakeEpoch) *follower {
	f := &follower{t: t, s: s, m: m, epochs: epochs, topics: m.cfg.Topics}
	f.add(0, epochWant{asOf: -1, topics: f.topics, passes: f.passes(0)})
	return f
}

func (f *follower) add(place wire.Ordinal, w epochWant) {
	f.wants, f.starts = append(f.wants, w), append(f.starts, place)
}

// values is the place of last values, where there are any.
func (f *follower) values(asOf int) int {
	if f.m.cfg.NoSnapshot {
		return -1
	}
	return asOf
}

// passes is how many passes are still to come, with that of a place.
func (f *follower) passes(place wire.Ordinal) int {
	if f.m.cfg.Passes < 0 {
		return 1 << 40
	}
	return max(f.m.cfg.Passes, 1) - int(place/f.s.p.ordinals.span)
}

// follow takes in epochs that have begun: one by a command, others as rounds of the
// loop at hand. command says what the first must have; it takes the place where the
// player says that it begins.
func (f *follower) follow(reason string, at wire.Nanos, command func(place wire.Ordinal) epochWant) {
	f.t.Helper()
	epochs := f.epochs()
	for i := len(f.wants); i < len(epochs); i++ {
		start := epochs[i].start
		if start.Snapshot == f.m.cfg.NoSnapshot {
			f.t.Fatalf("epoch %d starts with %+v", epochs[i].epoch, start)
		}
		if command != nil && start.Reason == reason && (reason == "filter" || start.At == at) {
			e, _, err := f.s.p.history.find(epochs[i].epoch)
			must(f.t, err)
			f.add(e.start, command(e.start))
			command = nil
			continue
		}
		before := &f.wants[i-1]
		if f.loop == nil || start.Reason != "loop" || start.At != f.loop.at || before.end != f.loop.end {
			f.t.Fatalf("epoch %d starts with %+v; the loop is %+v, and before it came %+v", epochs[i].epoch, start, f.loop, *before)
		}
		before.whole = true // it came to the loop's end
		f.add(f.loop.start, f.round())
	}
	if command != nil {
		f.t.Fatalf("no epoch begins with %q at %v", reason, at)
	}
}

func (f *follower) round() epochWant {
	return epochWant{from: f.loop.from, end: f.loop.end, asOf: f.values(f.loop.from), topics: f.topics, passes: 1}
}

// begins checks the place where an epoch begins.
func (f *follower) begins(place wire.Ordinal, i int) {
	f.t.Helper()
	if _, rest := f.s.p.ordinals.split(place); rest != f.m.all[i].place {
		f.t.Fatalf("the epoch begins at place %d, want %d", rest, f.m.all[i].place)
	}
}

// seek seeks somewhere and checks that it got there.
func (f *follower) seek(rng *rand.Rand) {
	f.t.Helper()
	m, clock := f.m, tape.Clock(rng.IntN(2))
	i := rng.IntN(len(m.all))
	if f.loop != nil && rng.IntN(2) == 0 {
		i = f.loop.from + rng.IntN(f.loop.end-f.loop.from)
	}
	at := m.time(wire.Record(m.all[i].rec), clock) - wire.Nanos(rng.IntN(2)*rng.IntN(3000))
	if rng.IntN(10) == 0 {
		at = []wire.Nanos{1, firstTime * 2}[rng.IntN(2)]
	}
	want := m.seek(at, clock)
	err := f.s.p.Seek(f.t.Context(), ToTime(at, clock))
	if want < 0 {
		if !errors.Is(err, ErrBeyond) {
			f.t.Fatalf("a seek beyond: %v", err)
		}
		return
	}
	if err != nil {
		f.t.Fatalf("seek to %d: %v", at, err)
	}
	f.seeks++
	f.follow("seek", at, func(place wire.Ordinal) epochWant {
		f.begins(place, want)
		w := epochWant{from: want, asOf: f.values(want), topics: f.topics, passes: f.passes(place)}
		if f.loop != nil && want >= f.loop.from && want < f.loop.end {
			w.end = f.loop.end
		} else {
			f.loop = nil
		}
		return w
	})
}

// begin begins a loop.
func (f *follower) begin(rng *rand.Rand) {
	f.t.Helper()
	m, clock := f.m, tape.Clock(rng.IntN(2))
	i, length := rng.IntN(len(m.all)), 1+rng.IntN(1+rng.IntN(800))
	f.loops++ // a time of its own for every loop tells its rounds from others
	a := m.time(wire.Record(m.all[i].rec), clock) - wire.Nanos(f.loops)
	b := a + wire.Nanos(f.loops) + wire.Nanos(length)*1000
	from := m.seek(a, clock)
	end := from
	for ; from >= 0 && end < len(m.all) && m.time(wire.Record(m.all[end].rec), clock) < b; end++ {
	}
	err := f.s.p.Loop(f.t.Context(), ToTime(a, clock), ToTime(b, clock))
	if from < 0 || from == end {
		if !errors.Is(err, ErrBeyond) {
			f.t.Fatalf("a loop of nothing, [%d, %d): %v", a, b, err)
		}
		return
	}
	if err != nil {
		f.t.Fatalf("loop [%d, %d): %v", a, b, err)
	}
	if st := f.s.p.State(); !st.Looping || st.LoopFrom != m.time(wire.Record(m.all[from].rec), m.cfg.Clock) ||
		end < len(m.all) && clock == m.cfg.Clock && st.LoopTo != b || end == len(m.all) && st.LoopTo != 0 {
		f.t.Fatalf("loop [%d, %d): %+v", a, b, st)
	}
	f.follow("loop", a, func(place wire.Ordinal) epochWant {
		f.begins(place, from)
		f.loop = &loopWant{from, end, place, a}
		return f.round()
	})
}

// leave ends a loop.
func (f *follower) leave() {
	f.t.Helper()
	must(f.t, f.s.p.Unloop(f.t.Context()))
	f.follow("", 0, nil)
	f.loop = nil
	last := len(f.wants) - 1
	if w := &f.wants[last]; w.end > 0 {
		place := f.starts[last]
		_, rest := f.s.p.ordinals.split(place)
		w.from, w.end, w.passes = f.m.find(rest), 0, f.passes(place)
	}
	if st := f.s.p.State(); st.Looping || st.LoopFrom != 0 || st.LoopTo != 0 {
		f.t.Fatalf("out of the loop: %+v", st)
	}
}

// filter plays other topics, and checks from which place on.
func (f *follower) filter(topics []string) {
	f.t.Helper()
	must(f.t, f.s.p.SetTopics(f.t.Context(), topics))
	f.sets++
	f.follow("filter", 0, func(place wire.Ordinal) epochWant {
		f.hadAll(place)
		_, rest := f.s.p.ordinals.split(place)
		f.topics = topics
		i := f.m.find(rest)
		w := epochWant{from: i, asOf: f.values(i), topics: topics, passes: f.passes(place)}
		if rest == 0 && place > 0 {
			w.asOf = f.values(f.m.endOfPass())
		}
		if f.loop != nil {
			if w.end = f.loop.end; place/f.s.p.ordinals.span > f.loop.start/f.s.p.ordinals.span {
				w.from = len(f.m.all) // behind a round to the end of the pass
			}
		}
		return w
	})
}

// hadAll checks that the latest epoch had everything before a place where another
// begins.
func (f *follower) hadAll(place wire.Ordinal) {
	f.t.Helper()
	i, span := len(f.wants)-1, f.s.p.ordinals.span
	e, w, base := f.epochs()[i], f.wants[i], f.starts[i]/f.s.p.ordinals.span
	for s := range f.m.shards {
		sent, wants := e.news[s], 0
		for pass := 0; pass < w.passes && (pass == 0 || w.end == 0) && (base+wire.Ordinal(pass))*span < place; pass++ {
			for n, x := range f.m.all {
				if (pass > 0 || n >= w.from) && x.shard == s && x.in && passes(x.rec, w.topics) && (base+wire.Ordinal(pass))*span+x.place < place {
					wants++
				}
			}
		}
		if sent < wants {
			f.t.Fatalf("epoch %d, shard %d: another begins at place %d, but of %d records before it %d went out", e.epoch, s, place, wants, sent)
		}
	}
}

// check compares all epochs with what they must have; the last one is whole.
func (f *follower) check() {
	f.t.Helper()
	f.follow("", 0, nil)
	epochs := f.epochs()
	f.wants[len(f.wants)-1].whole = true
	for i, e := range epochs {
		f.m.checkEpoch(f.t, e, &f.wants[i])
	}
}
