package replay

import (
	"errors"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// at is the time of record n of a deckTape, by the receive clock.
func at(n int) Target { return ToTime(firstTime+wire.Nanos(n)*1000, tape.ClockReceive) }

// round waits until a loop has come to a round.
func (s *session) round(t testing.TB, n uint64) {
	t.Helper()
	s.until(t, func(st State) bool { return st.Round >= n })
}

// until waits until the player is in a state.
func (s *session) until(t testing.TB, is func(State) bool) {
	t.Helper()
	for st, err := s.p.State(), error(nil); !is(st); {
		if st, err = s.p.Wait(t.Context(), st.Version); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLoop: every round of a loop is an epoch that has the last values before it and
// exactly its records; then play goes on behind it, in the same epoch.
func TestLoop(t *testing.T) {
	eachKind(t, 5000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		cfg.Passes, cfg.Hold = 2, true
		s := start(t, f, pub, cfg)
		follow := newFollower(t, s, newModel(t, cfg), f.list)
		must(t, s.p.Loop(t.Context(), at(1234), at(1300)))
		follow.follow("loop", at(1234).Time, func(place wire.Ordinal) epochWant {
			follow.begins(place, 1234)
			follow.loop = &loopWant{1234, 1300, place, at(1234).Time}
			return follow.round()
		})
		if st := s.p.State(); !st.Looping || st.LoopFrom != at(1234).Time || st.LoopTo != at(1300).Time {
			t.Errorf("in the loop: %+v", st)
		}
		s.round(t, 3)
		follow.leave()
		for s.p.State().Phase != Held {
			f.awaitTicks(1)
		}
		must(t, s.p.Stop(t.Context()))
		readAll(t, s)
		s.end(t, nil)
		follow.check()
		rep := s.p.report
		if rep.Rounds != len(f.epochs)-1 || rep.Rounds < 4 || rep.Seeks != 0 || s.p.State().Round != 0 {
			t.Errorf("%d epochs; report %+v", len(f.epochs), rep)
		}
	})
}

// TestLoopFromTheBeginning: Config.Loop begins before the first record; a seek inside
// stays in the loop, one to outside leaves it.
func TestLoopFromTheBeginning(t *testing.T) {
	eachKind(t, 3000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		cfg.Loop, cfg.Paused = &Range{at(100), at(3000)}, true // to the end of the tape
		s := start(t, f, pub, cfg)
		if st := s.p.State(); !st.Looping || st.LoopFrom != at(100).Time {
			t.Errorf("at first: %+v", st)
		}
		s.until(t, func(st State) bool { return st.Epoch == 101 })
		must(t, s.p.Seek(t.Context(), at(2900)))
		if st := s.p.State(); !st.Looping || st.Ordinal != 2900 || st.LoopTo != 0 {
			t.Errorf("sought in the loop: %+v", st)
		}
		must(t, s.p.Resume(t.Context()))
		s.round(t, 2)
		must(t, s.p.Seek(t.Context(), at(99)))
		if st := s.p.State(); st.Looping || st.Ordinal < 99 {
			t.Errorf("sought out of the loop: %+v", st)
		}
		s.end(t, nil)
		m := newModel(t, cfg)
		last := len(f.epochs) - 1
		for i, e := range f.epochs {
			switch {
			case i == 0 && e.next[0]+e.next[1] != 0:
				t.Error("records before the loop")
			case i == 1:
				m.checkEpoch(t, e, &epochWant{from: 100, end: 3000, asOf: 100, topics: cfg.Topics, passes: 1})
			case i == 2:
				m.checkEpoch(t, e, &epochWant{from: 2900, end: 3000, asOf: 2900, topics: cfg.Topics, passes: 1, whole: true})
			case i == last:
				m.check(t, e, 99, 1, true, true)
			case i > 0:
				m.checkEpoch(t, e, &epochWant{from: 100, end: 3000, asOf: 100, topics: cfg.Topics, passes: 1, whole: i < last-1})
			}
		}
	})
}

// TestStepsGoRound: steps go on in the next round, and what is paused at a loop's end
// stays there until it is resumed.
func TestStepsGoRound(t *testing.T) {
	eachKind(t, 2000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		cfg.Paused = true
		s := start(t, f, pub, cfg)
		must(t, s.p.Loop(t.Context(), at(500), at(510)))
		must(t, s.p.Step(t.Context(), 25))
		if st := s.p.State(); st.Round != 2 || st.Ordinal != 505 || st.Records != 25 || st.Phase != Paused {
			t.Errorf("25 steps in a loop of 10: %+v", st)
		}
		must(t, s.p.Step(t.Context(), 5))
		f.awaitTicks(3)
		if st := s.p.State(); st.Round != 2 || st.Ordinal != 510 {
			t.Errorf("at the end of a round: %+v", st)
		}
		must(t, s.p.Unloop(t.Context()))
		must(t, s.p.Unloop(t.Context()))
		must(t, s.p.Step(t.Context(), 1))
		if st := s.p.State(); st.Looping || st.Ordinal != 511 || len(f.list()) != 4 {
			t.Errorf("out of the loop: %+v", st)
		}
		must(t, s.p.Stop(t.Context()))
		s.end(t, ErrStopped)
		m := newModel(t, cfg)
		for i, e := range f.epochs[1:3] {
			m.checkEpoch(t, e, &epochWant{from: 500, end: 510, asOf: 500, topics: cfg.Topics, passes: 1, whole: true})
			if e.start.Reason != "loop" {
				t.Errorf("round %d: %+v", i, e.start)
			}
		}
		m.check(t, f.epochs[3], 500, 1, false, true)
	})
}

// TestLoopOfNothing: where no topic in a loop is played, the player is held until that
// is otherwise, instead of filling the stream with epochs.
func TestLoopOfNothing(t *testing.T) {
	eachKind(t, 2000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		s := start(t, f, pub, cfg)
		for err := s.p.Pause(t.Context()); err != nil; {
			t.Skip("the tape was through first") // with a fast machine
		}
		must(t, s.p.SetTopics(t.Context(), []string{"none"}))
		must(t, s.p.Loop(t.Context(), at(500), at(600)))
		must(t, s.p.Resume(t.Context()))
		for s.p.State().Phase != Held {
			f.awaitTicks(1)
		}
		f.awaitTicks(2)
		if st := s.p.State(); st.Round != 0 || !st.Looping {
			t.Errorf("held: %+v", st)
		}
		if err := s.p.Step(t.Context(), 1); !errors.Is(err, ErrBeyond) {
			t.Errorf("a step in a loop of nothing: %v", err)
		}
		must(t, s.p.Resume(t.Context()))
		must(t, s.p.SetTopics(t.Context(), nil))
		s.round(t, 2)
		must(t, s.p.Stop(t.Context()))
		s.end(t, ErrStopped)
	})
}

// TestLoopRefused: places that are not there, and publishers that know no epochs.
func TestLoopRefused(t *testing.T) {
	tp := deckTape(t, 100, 1)
	f := newFakeDeck(t, 1)
	s := start(t, f, f, Config{Tape: tp, Paused: true})
	for name, r := range map[string]Range{
		"empty": {at(10), at(10)}, "backwards": {at(20), at(10)}, "between two records": {ToTime(at(10).Time+1, 0), ToTime(at(11).Time, 0)},
		"behind the tape": {at(100), at(200)}, "far behind": {By(1 << 62), By(1<<62 + 1)},
	} {
		if err := s.p.Loop(t.Context(), r.From, r.To); !errors.Is(err, ErrBeyond) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := New(Config{Tape: tp, Loop: &r}); !errors.Is(err, ErrBeyond) {
			t.Errorf("%s, from the beginning: %v", name, err)
		}
	}
	if n := len(f.list()); n != 1 || s.p.State().Looping {
		t.Errorf("%d epochs, %+v", n, s.p.State())
	}
	must(t, s.p.Loop(t.Context(), By(10*time.Microsecond), By(20*time.Microsecond)))
	if st := s.p.State(); st.LoopFrom != at(10).Time || st.LoopTo != at(20).Time {
		t.Errorf("a loop from here: %+v", st)
	}
	must(t, s.p.Stop(t.Context()))
	s.end(t, ErrStopped)
	if err := s.p.Loop(t.Context(), at(1), at(2)); !errors.Is(err, ErrFinished) {
		t.Errorf("after the end: %v", err)
	}

	plain := &fakePublisher{t: t}
	p := newPlayer(t, Config{Tape: tp, Publisher: plain, Loop: &Range{at(1), at(2)}})
	defer p.Close()
	if _, err := p.Run(t.Context()); !errors.Is(err, ErrNoEpochs) || len(plain.batches) > 0 {
		t.Errorf("a loop without epochs: %v", err)
	}
}

// TestRoundsLast: at a pace a round lasts until the loop's end, and one that is over at
// once lasts a while.
func TestRoundsLast(t *testing.T) {
	const idle = 40 * time.Millisecond
	times := []wire.Nanos{firstTime, firstTime + 1000, firstTime + wire.Nanos(time.Hour)}
	for name, tc := range map[string]struct {
		cfg   Config
		to    wire.Nanos
		least time.Duration
	}{
		"paced":      {Config{Speed: 1}, firstTime + wire.Nanos(idle), idle},
		"half speed": {Config{Speed: 0.5}, firstTime + wire.Nanos(idle), 2 * idle},
		"squeezed":   {Config{Speed: 1, Squeeze: idle / 2}, firstTime + wire.Nanos(time.Minute), idle / 2},
		"full speed": {Config{}, firstTime + wire.Nanos(idle), roundMin},
	} {
		t.Run(name, func(t *testing.T) {
			tc.cfg.Tape = tapeOf(t, 1, times)
			tc.cfg.Loop = &Range{ToTime(firstTime, tape.ClockReceive), ToTime(tc.to, tape.ClockReceive)}
			f := newFakeDeck(t, 1)
			var begun []time.Time
			f.onBegin = func() { begun = append(begun, time.Now()) }
			s := start(t, f, f, tc.cfg)
			s.round(t, 3)
			must(t, s.p.Stop(t.Context()))
			s.end(t, ErrStopped)
			for i := 1; i < 4; i++ {
				if took := begun[i].Sub(begun[i-1]); took < tc.least-time.Millisecond || took > time.Minute {
					t.Errorf("round %d took %v, want %v", i-1, took, tc.least)
				}
			}
		})
	}
}

// TestPauseInTheIdleEndOfARound: the rest of it is still to come.
func TestPauseInTheIdleEndOfARound(t *testing.T) {
	f := newFakeDeck(t, 1)
	end := ToTime(firstTime+wire.Nanos(time.Hour), tape.ClockReceive)
	s := start(t, f, f, Config{Tape: tapeOf(t, 1, []wire.Nanos{firstTime, firstTime + 1000, firstTime + wire.Nanos(2*time.Hour)}), Speed: 1, Loop: &Range{at(0), end}})
	for s.p.State().Records < 2 {
		f.awaitTicks(1)
	}
	for range 3 {
		must(t, s.p.Pause(t.Context()))
		f.awaitTicks(2)
		must(t, s.p.Resume(t.Context()))
		f.awaitTicks(2)
	}
	if st := s.p.State(); st.Round != 0 || st.Phase != Playing || st.Records != 2 {
		t.Errorf("an hour before the end of the round: %+v", st)
	}
	must(t, s.p.SetSqueeze(t.Context(), time.Millisecond))
	s.round(t, 2)
	must(t, s.p.Stop(t.Context()))
	s.end(t, ErrStopped)
	newModel(t, s.p.cfg).checkEpoch(t, f.epochs[1], &epochWant{end: 2, passes: 1, whole: true})
}
