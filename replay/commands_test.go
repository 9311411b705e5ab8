package replay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// deckTape is a tape for commands: records n at firstTime + n*1000 ns.
func deckTape(t testing.TB, records, shards int) *tape.Tape {
	return makeTape(t, tapeSpec{shards: shards, epochs: []int{records}, codec: tape.CodecPlain, topics: 40})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// kinds are the ways in which a player plays.
var kinds = map[string]func(f *fakeDeck) (Publisher, Config){
	"blocks":    func(f *fakeDeck) (Publisher, Config) { return f, Config{} },
	"lanes":     func(f *fakeDeck) (Publisher, Config) { return fakeDeckLanes{f}, Config{} },
	"resharded": func(f *fakeDeck) (Publisher, Config) { return f, Config{Shards: f.shards, BatchBytes: 1 << 10} },
	"filtered":  func(f *fakeDeck) (Publisher, Config) { return f, Config{Topics: []string{"T"}, BatchBytes: 1 << 10} },
	"paced":     func(f *fakeDeck) (Publisher, Config) { return f, Config{Speed: 1e5, BatchBytes: 1 << 10} },
}

// eachKind runs a test with a player of each kind over a tape of two shards.
func eachKind(t *testing.T, records int, run func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config)) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			shards := 2
			if name == "resharded" {
				shards = 3
			}
			f := newFakeDeck(t, shards)
			pub, cfg := kind(f)
			cfg.Tape = deckTape(t, records, 2)
			run(t, f, pub, cfg)
		})
	}
}

// TestPauseWhileReadersStandStill: where the queues are full, commands take effect
// all the same: nothing more goes out, and later everything does, once.
func TestPauseWhileReadersStandStill(t *testing.T) {
	eachKind(t, 20_000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		third := make(chan struct{})
		f.onSend = func(n int) {
			if n == 3 {
				f.full(true)
				close(third)
			}
		}
		s := start(t, f, pub, cfg)
		<-third
		for range 5 {
			must(t, s.p.Pause(t.Context()))
			if st := s.p.State(); st.Phase != Paused || st.Epoch != 100 {
				t.Errorf("paused: %+v", st)
			}
			before := f.count()
			f.full(false)
			f.awaitTicks(2) // readers are looked after
			if n := f.count(); n != before {
				t.Fatalf("%d batches went out in a pause", n-before)
			}
			f.full(true)
			must(t, s.p.Resume(t.Context()))
		}
		f.full(false)
		s.end(t, nil)
		m := newModel(t, cfg)
		m.check(t, f.epochs[0], 0, 1, true, false)
		if st := s.p.State(); st.Phase != Finished || st.Ordinal != 20_000 || st.Pass != 0 {
			t.Errorf("at the end: %+v", st)
		}
	})
}

// TestSeekWhileReadersStandStill: a seek does not wait for full queues. What was
// gathered for the place before it does not go out any more.
func TestSeekWhileReadersStandStill(t *testing.T) {
	eachKind(t, 20_000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		first := make(chan struct{})
		f.onSend = func(n int) {
			if n == 1 {
				f.full(true)
				close(first)
			}
		}
		s := start(t, f, pub, cfg)
		<-first
		to := ToTime(firstTime+15_000_000, tape.ClockReceive)
		must(t, s.p.Seek(t.Context(), to))
		if st := s.p.State(); st.Epoch != 101 || st.Time != firstTime+15_000_000 || st.Ordinal != 15_000 {
			t.Errorf("after the seek: %+v", st)
		}
		must(t, s.p.Seek(t.Context(), to)) // last values are being sent, or wait
		f.full(false)
		s.end(t, nil)
		m := newModel(t, cfg)
		for i, from := range []int{0, 15_000, 15_000} {
			m.check(t, f.epochs[i], from, 1, i == 2, i > 0)
		}
		if len(f.epochs) != 3 || f.beats < 1 {
			t.Errorf("%d epochs, %d heartbeats", len(f.epochs), f.beats)
		}
	})
}

// TestSeekWhilePaused: the last values come, and no record before Resume.
func TestSeekWhilePaused(t *testing.T) {
	eachKind(t, 5000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		cfg.Paused = true
		s := start(t, f, pub, cfg)
		must(t, s.p.Seek(t.Context(), ToTime(firstTime+1_234_000, tape.ClockReceive)))
		f.awaitTicks(2)
		m := newModel(t, cfg)
		m.check(t, f.epochs[1], 1234, 0, true, true) // not one record
		if f.beats != 1 || f.count() == 0 {
			t.Errorf("%d heartbeats, %d batches", f.beats, f.count())
		}
		must(t, s.p.Step(t.Context(), 1))
		if st := s.p.State(); st.Ordinal != 1235 || st.Time != firstTime+1_234_000 || st.Phase != Paused {
			t.Errorf("after one step: %+v", st)
		}
		must(t, s.p.Resume(t.Context()))
		s.end(t, nil)
		m.check(t, f.epochs[1], 1234, 1, true, true)
	})
}

// TestStep: steps are single records in the one order, also behind shards that
// were played by themselves, and whatever is due when.
func TestStep(t *testing.T) {
	eachKind(t, 3000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		half := make(chan struct{})
		f.onSend = func(n int) {
			if n == 5 {
				f.full(true)
				close(half)
			}
		}
		s := start(t, f, pub, cfg)
		<-half
		must(t, s.p.Pause(t.Context()))
		f.full(false)
		out := func() map[string]bool {
			records := map[string]bool{}
			for sh := range f.shards {
				for _, it := range f.epochs[0].items(t, sh) {
					records[it.record] = true
				}
			}
			return records
		}
		m := newModel(t, cfg)
		for _, n := range []int{1, 1, 5, 100, 1} {
			want := out()
			for i, left := 0, n; left > 0; i++ {
				if r := m.all[i].rec; !want[r] {
					want[r] = true
					left--
				}
			}
			must(t, s.p.Step(t.Context(), n))
			if got := out(); !maps.Equal(got, want) {
				t.Fatalf("after %d steps %d records are out, want %d, or others", n, len(got), len(want))
			}
		}
		if err := s.p.Step(t.Context(), 0); err == nil {
			t.Error("no steps were made")
		}
		must(t, s.p.Step(t.Context(), 100_000)) // ends the tape, and the run
		s.end(t, nil)
		m.check(t, f.epochs[0], 0, 1, true, false)
	})
}

// TestSetSpeed: a stream goes from shards by themselves to a schedule and back, and
// has every record once.
func TestSetSpeed(t *testing.T) {
	eachKind(t, 20_000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		turns := make(chan struct{})
		f.onSend = func(n int) {
			if n%7 == 0 {
				select {
				case turns <- struct{}{}:
				case <-t.Context().Done():
				}
			}
		}
		s := start(t, f, pub, cfg)
		for i := 0; ; i++ {
			var err error
			select {
			case <-turns:
				done := make(chan error, 1)
				go func() { done <- s.p.SetSpeed(t.Context(), []Speed{speedMax, Max, 1e6}[i%3]) }()
			wait:
				for {
					select {
					case <-turns:
					case err = <-done:
						break wait
					}
				}
				if err != nil && !errors.Is(err, ErrFinished) {
					t.Fatal(err)
				}
				continue
			case err = <-s.result:
				must(t, err)
			}
			break
		}
		s.p.Close()
		newModel(t, cfg).check(t, f.epochs[0], 0, 1, true, false)
		if err := s.p.SetSpeed(t.Context(), -1); err == nil || errors.Is(err, ErrFinished) {
			t.Errorf("speed -1: %v", err)
		}
	})
}

// TestClockStandsStill: paced, a pause takes nothing away from the time between
// records: the next one is due as long after Resume as it was at the pause.
func TestClockStandsStill(t *testing.T) {
	gap := 400 * time.Millisecond
	for !clockStandsStill(t, gap) {
		gap *= 2
	}
}

// clockStandsStill reports whether the commands came before the second record.
func clockStandsStill(t *testing.T, gap time.Duration) bool {
	tp := makeTape(t, tapeSpec{shards: 1, epochs: []int{2}, step: wire.Nanos(gap)})
	left := make(chan time.Time, 2)
	play := func(command func(p *Player) error) (s *session, sent time.Time, inTime bool) {
		f := newFakeDeck(t, 1)
		f.onSend = func(int) { left <- time.Now() }
		s = start(t, f, f, Config{Tape: tp, Speed: 1})
		sent = <-left
		if err := command(s.p); err != nil && !errors.Is(err, ErrFinished) {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return s, sent, true
		}
		<-left
		_ = s.p.Stop(t.Context())
		if err := <-s.result; err != nil && !errors.Is(err, ErrStopped) {
			t.Fatal(err)
		}
		s.p.Close()
		return s, sent, false
	}
	s, sent, inTime := play(func(p *Player) error { return p.Pause(t.Context()) })
	if !inTime {
		return false
	}
	played := time.Since(sent) // at most: the first had been sent before
	s.f.awaitTicks(4)
	resumed := time.Now()
	must(t, s.p.Resume(t.Context()))
	s.end(t, nil)
	if waited := (<-left).Sub(resumed); waited < gap-played-time.Millisecond {
		t.Errorf("the second record left %v after Resume; %v were left", waited, gap-played)
	}
	// At another speed the rest of the way takes another time.
	s, sent, inTime = play(func(p *Player) error { return p.SetSpeed(t.Context(), 0.5) })
	if !inTime {
		return false
	}
	changed := time.Now()
	s.end(t, nil)
	if waited := (<-left).Sub(changed); waited < 2*(gap-changed.Sub(sent))-time.Millisecond {
		t.Errorf("at half the speed the second record left after %v", waited)
	}
	return true
}

// TestRelativeSeek goes on and back from the latest record; before the start is the
// start.
func TestRelativeSeek(t *testing.T) {
	f := newFakeDeck(t, 2)
	s := start(t, f, f, Config{Tape: deckTape(t, 3000, 2), Paused: true})
	for _, tc := range []struct {
		by   time.Duration
		want wire.Ordinal
	}{{time.Millisecond, 1000}, {1500 * time.Microsecond, 2500}, {-500 * time.Microsecond, 2000}, {-time.Hour, 0}, {1, 1}} {
		must(t, s.p.Seek(t.Context(), By(tc.by)))
		if st := s.p.State(); st.Ordinal != tc.want || st.Time != firstTime+wire.Nanos(tc.want)*1000 {
			t.Errorf("by %v: %+v, want ordinal %d", tc.by, st, tc.want)
		}
	}
	if err := s.p.Seek(t.Context(), By(1<<62)); !errors.Is(err, ErrBeyond) {
		t.Errorf("far ahead: %v", err)
	}
	must(t, s.p.Stop(t.Context()))
	s.end(t, ErrStopped)
}

// TestHeldAtTheEnd: with Hold the end is a place like any other; Stop then ends
// the stream as if it had not been held.
func TestHeldAtTheEnd(t *testing.T) {
	eachKind(t, 1000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		cfg.Hold = true
		s := start(t, f, pub, cfg)
		for range 3 {
			for s.p.State().Phase != Held {
				f.awaitTicks(1)
			}
			if err := s.p.Step(t.Context(), 1); !errors.Is(err, ErrBeyond) {
				t.Errorf("a step beyond the end: %v", err)
			}
			if st := s.p.State(); st.Ordinal != 1000 || st.Phase != Paused {
				t.Errorf("behind the end: %+v", st)
			}
			must(t, s.p.Resume(t.Context()))
			must(t, s.p.Seek(t.Context(), ToTime(firstTime+899_000, tape.ClockEvent)))
		}
		for s.p.State().Phase != Held {
			f.awaitTicks(1)
		}
		must(t, s.p.Stop(t.Context()))
		s.end(t, nil)
		m := newModel(t, cfg)
		for i, e := range f.epochs {
			m.check(t, e, []int{0, 900, 900, 900}[i], 1, true, i > 0)
		}
		if f.ended != 1 || len(f.epochs) != 4 {
			t.Errorf("ended %d times, %d epochs", f.ended, len(f.epochs))
		}
	})
}

// TestStop: play ends at once, without an end mark, and later commands say so.
func TestStop(t *testing.T) {
	eachKind(t, 20_000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		first := make(chan struct{})
		f.onSend = func(n int) {
			if n == 1 {
				f.full(true)
				close(first)
			}
		}
		s := start(t, f, pub, cfg)
		<-first
		must(t, s.p.Stop(t.Context()))
		s.end(t, ErrStopped)
		if f.ended != 0 {
			t.Error("the stream was ended though it is not whole")
		}
		for name, err := range map[string]error{
			"pause": s.p.Pause(t.Context()), "resume": s.p.Resume(t.Context()), "step": s.p.Step(t.Context(), 1),
			"speed": s.p.SetSpeed(t.Context(), 1), "seek": s.p.Seek(t.Context(), By(0)),
		} {
			if !errors.Is(err, ErrFinished) {
				t.Errorf("%s after the end: %v", name, err)
			}
		}
		must(t, s.p.Stop(t.Context()))
	})
}

// TestStopBeforeRun and commands before Run: they are carried out when it comes.
func TestCommandsBeforeRun(t *testing.T) {
	f := newFakeDeck(t, 1)
	p := newPlayer(t, Config{Tape: deckTape(t, 100, 1), Publisher: f})
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	if err := p.Pause(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("after Stop: %v", err)
	}
	if _, err := p.Run(t.Context()); !errors.Is(err, ErrStopped) || f.count() != 0 {
		t.Errorf("the run ended with %v, %d batches", err, f.count())
	}

	f = newFakeDeck(t, 1)
	q := newPlayer(t, Config{Tape: deckTape(t, 100, 1), Publisher: f})
	defer q.Close()
	if err := q.Pause(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	s := &session{p: q, f: f, result: make(chan error, 1)}
	run, paused := t.Context(), make(chan error, 1)
	go func() { paused <- q.Pause(run) }()
	for waiting := 0; waiting == 0; runtime.Gosched() {
		q.orders.mu.Lock()
		waiting = len(q.orders.waiting)
		q.orders.mu.Unlock()
	}
	go func() {
		_, err := q.Run(run)
		s.result <- err
	}()
	must(t, <-paused)
	f.awaitTicks(2)
	if st := q.State(); st.Phase != Paused || f.count() != 0 {
		t.Errorf("%+v, %d batches", st, f.count())
	}
	must(t, q.Resume(t.Context()))
	must(t, <-s.result)
}

// TestOverruled: a step that cannot go on gives way to a later command.
func TestOverruled(t *testing.T) {
	for name, later := range map[string]func(ctx context.Context, p *Player) error{
		"pause": func(ctx context.Context, p *Player) error { return p.Pause(ctx) },
		"seek":  func(ctx context.Context, p *Player) error { return p.Seek(ctx, By(time.Microsecond)) },
		"step":  func(ctx context.Context, p *Player) error { return p.Step(ctx, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeDeck(t, 1)
			s := start(t, f, f, Config{Tape: deckTape(t, 1000, 1), Paused: true, Hold: true})
			f.full(true)
			stepped := make(chan error, 1)
			ctx := t.Context()
			go func() { stepped <- s.p.Step(ctx, 10) }()
			f.awaitStanding()
			through := make(chan error, 1)
			go func() { through <- later(ctx, s.p) }()
			if err := <-stepped; !errors.Is(err, ErrOverruled) {
				t.Errorf("the step: %v", err)
			}
			f.full(false)
			must(t, <-through)
			must(t, s.p.Resume(ctx))
			must(t, s.p.Stop(ctx))
			if err := <-s.result; err != nil && !errors.Is(err, ErrStopped) {
				t.Error(err)
			}
			s.p.Close()
		})
	}
}

// TestSeekNeedsEpochs: a publisher without epochs plays on undisturbed.
func TestSeekNeedsEpochs(t *testing.T) {
	tp := deckTape(t, 5000, 1)
	f := &fakePublisher{t: t}
	p := newPlayer(t, Config{Tape: tp, Publisher: f})
	defer p.Close()
	result := make(chan error, 1)
	once := make(chan struct{})
	var seek error
	given := false
	f.onSend = func(*wire.Batch) {
		if len(f.batches) == 2 && !given {
			given = true
			go func() {
				seek = p.Seek(t.Context(), By(0))
				close(once)
			}()
		}
	}
	go func() {
		_, err := p.Run(t.Context())
		result <- err
	}()
	must(t, <-result)
	<-once
	if !errors.Is(seek, ErrNoEpochs) && !errors.Is(seek, ErrFinished) {
		t.Errorf("the seek: %v", seek)
	}
	same(t, f.merged(), all(t, tp, tape.ReadConfig{}))
}

// TestBatchesTakeCommands: in process, too, a seek is a new epoch with last values.
func TestBatchesTakeCommands(t *testing.T) {
	tp := deckTape(t, 5000, 1)
	p := newPlayer(t, Config{Tape: tp, Speed: speedMax, BatchBytes: 1 << 10})
	var (
		records []string
		last    int
		epoch   wire.Epoch
		sought  = make(chan error, 1)
	)
	for b, err := range p.Batches(t.Context()) {
		must(t, err)
		if epoch == 0 {
			go func() { sought <- p.Seek(t.Context(), ToTime(firstTime+4_000_000, tape.ClockReceive)) }()
			for waiting := 0; waiting == 0; {
				p.orders.mu.Lock()
				waiting = len(p.orders.waiting)
				p.orders.mu.Unlock()
			}
		}
		if b.Epoch != epoch {
			epoch, records, last = b.Epoch, nil, 0
		}
		for w := b.Records(); w.Next(); {
			if b.Flags&wire.FlagSnapshotBatch != 0 {
				last++
				continue
			}
			records = append(records, string(w.Record()))
		}
	}
	must(t, <-sought)
	m := newModel(t, Config{Tape: tp})
	if epoch != 2 || last != len(m.last(4000, nil)) {
		t.Errorf("epoch %d, %d last values, want %d", epoch, last, len(m.last(4000, nil)))
	}
	same(t, records, all(t, tp, tape.ReadConfig{From: firstTime + 4_000_000}))
}

// TestEndlessPlayIsSought: of passes without end a seek goes on with the one at
// hand.
func TestEndlessPlayIsSought(t *testing.T) {
	eachKind(t, 1000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		cfg.Passes = -1
		third := make(chan struct{})
		f.onSend = func(int) {
			f.mu.Lock()
			total := wire.Seq(0)
			for _, n := range f.last().next {
				total += n
			}
			f.mu.Unlock()
			if total > 2500 {
				select {
				case <-third:
				default:
					f.full(true)
					close(third)
				}
			}
		}
		s := start(t, f, pub, cfg)
		<-third
		pass := s.p.State().Pass
		must(t, s.p.Seek(t.Context(), ToTime(firstTime+900_000, tape.ClockReceive)))
		if st := s.p.State(); st.Pass != pass || st.Ordinal != 900 {
			t.Errorf("after the seek in pass %d: %+v", pass, st)
		}
		f.full(false)
		for s.p.State().Pass < pass+3 {
			f.awaitSends(1)
		}
		must(t, s.p.Stop(t.Context()))
		s.end(t, ErrStopped)
		m := newModel(t, cfg)
		m.check(t, f.epochs[0], 0, 1<<40, false, false)
		m.check(t, f.epochs[1], 900, 1<<40, false, true)
	})
}

func TestPhaseNames(t *testing.T) {
	if s := fmt.Sprint(Waiting, Playing, Paused, Held, Finished, Phase(9)); s != "waiting playing paused held finished unknown" {
		t.Error(s)
	}
}
