package replay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/tapedeck/tapedeck/tape"
)

// fakeStep is a fakeDeck whose readers handle what they get when the test lets them,
// or at once.
type fakeStep struct {
	*fakeDeck
	window  int
	handled chan struct{} // nil: at once; else one is taken for each wait

	mu    sync.Mutex
	seen  int   // batches sent when a wait was through last
	whole []int // records sent when waits were through
}

// WaitHandled implements BarrierPublisher. It checks that no window is larger than it
// may be.
func (f *fakeStep) WaitHandled(ctx context.Context) error {
	if f.handled != nil {
		select {
		case <-f.handled:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	} else if ctx.Err() != nil { // what was said to be handled is, whatever comes then
		return context.Cause(ctx)
	}
	f.fakeDeck.mu.Lock()
	sent := f.sent
	e := f.last()
	records := 0
	for _, next := range e.next {
		records += int(next)
	}
	f.fakeDeck.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if sent == f.seen {
		return nil
	}
	if sent-f.seen > f.shards {
		f.t.Errorf("%d batches in a window of %d shards", sent-f.seen, f.shards)
	}
	f.seen = sent
	f.whole = append(f.whole, records)
	return nil
}

// cuts is how an epoch's records were cut into batches, in the order in which they
// went out, with what their rolling hashes are made of.
func (e *fakeEpoch) cuts() []string {
	var list []string
	at := make([]int, len(e.batches))
	for _, s := range e.order {
		b := &e.batches[s][at[s]]
		at[s]++
		list = append(list, fmt.Sprintf("shard %d: %d+%d at %d, flags %d, crc %08x", s, b.FirstSeq, b.Count, b.FirstOrdinal, b.Flags, b.CRC))
	}
	return list
}

// differ says where two lists do, or "".
func differ(got, want []string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("batch %d is %s, want %s", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d batches, want %d", len(got), len(want))
	}
	return ""
}

// disturb gives commands that change only when something goes out, until the player
// plays no more.
func disturb(t *testing.T, p *Player, seed uint64, done <-chan struct{}) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for {
		select {
		case <-done:
			return
		default:
		}
		var err error
		switch rng.IntN(4) {
		case 0:
			err = p.Pause(t.Context())
		case 1:
			err = p.SetSpeed(t.Context(), Max)
		case 2:
			err = p.SetSpeed(t.Context(), Speed(0.05+rng.Float64()))
		}
		if err == nil {
			err = p.Resume(t.Context())
		}
		if err != nil && !errors.Is(err, ErrFinished) {
			t.Error(err)
		}
	}
}

// TestLockStepCutsByRule: whatever the speed, and however often play is broken off,
// the same batches go out in the same order, in windows that are not too large.
func TestLockStepCutsByRule(t *testing.T) {
	for name, cfg := range map[string]Config{
		"every shard": {},
		"small batch": {BatchBytes: 1 << 10},
		"resharded":   {Shards: 3},
		"filtered":    {Topics: []string{"T0"}},
		"two passes":  {Passes: 2},
	} {
		for _, window := range []int{1, 7, 100, 100_000} {
			t.Run(fmt.Sprint(name, " by ", window), func(t *testing.T) {
				cfg := cfg
				cfg.Tape, cfg.Barrier = makeTape(t, tapeSpec{shards: 2, epochs: []int{900, 400}, codec: tape.CodecPlain, topics: 30}), window
				var want []string
				for run := range 4 {
					cfg.Speed = []Speed{Max, 1, 0.1, 0.2}[run]
					f := &fakeStep{fakeDeck: newFakeDeck(t, max(cfg.Shards, 2)), window: window}
					s := start(t, f.fakeDeck, f, cfg)
					done := make(chan struct{})
					var wg sync.WaitGroup
					if run > 1 {
						wg.Go(func() { disturb(t, s.p, uint64(run), done) })
					}
					s.end(t, nil)
					close(done)
					wg.Wait()
					got := f.epochs[0].cuts()
					if run == 0 {
						want = got
					}
					if d := differ(got, want); d != "" {
						t.Fatalf("run %d: %s", run, d)
					}
					before := 0
					for _, n := range f.whole {
						if n-before > window {
							t.Fatalf("run %d: a window of %d records", run, n-before)
						}
						before = n
					}
				}
			})
		}
	}
}

// TestLockStepCommands: steps, seeks and loops at the same places give the same batches
// of the same epochs, whatever the speed and the pauses in between.
func TestLockStepCommands(t *testing.T) {
	for _, window := range []int{1, 10, 1000} {
		var want [][]string
		for run := range 3 {
			f := &fakeStep{fakeDeck: newFakeDeck(t, 2), window: window}
			cfg := Config{Tape: deckTape(t, 2000, 2), Barrier: window, Paused: true, Hold: true, Speed: []Speed{Max, 0.5, 1e5}[run]}
			s := start(t, f.fakeDeck, f, cfg)
			ctx := t.Context()
			must(t, s.p.Step(ctx, 123))
			must(t, s.p.Step(ctx, 1))
			must(t, s.p.Seek(ctx, ToTime(firstTime+1500*1000, tape.ClockReceive)))
			must(t, s.p.Step(ctx, 50))
			must(t, s.p.Seek(ctx, ToTime(firstTime+700*1000, tape.ClockReceive)))
			done, ended := make(chan struct{}), make(chan struct{})
			must(t, s.p.Resume(ctx))
			go func() {
				defer close(ended)
				if run > 0 {
					disturb(t, s.p, uint64(run), done)
				}
			}()
			for st := s.p.State(); st.Phase != Held; {
				next, err := s.p.Wait(ctx, st.Version)
				must(t, err)
				st = next
			}
			close(done)
			<-ended
			must(t, s.p.Stop(ctx))
			s.end(t, nil)
			var got [][]string
			for _, e := range f.epochs {
				got = append(got, e.cuts())
			}
			if run == 0 {
				want = got
			}
			if len(got) != 3 {
				t.Fatalf("%d epochs", len(got))
			}
			for i := range got {
				if d := differ(got[i], want[i]); d != "" {
					t.Fatalf("windows of %d, run %d, epoch %d: %s", window, run, i, d)
				}
			}
		}
	}
}

// TestLockStepWaits: nothing goes out before readers have handled what did; a step is
// through when they have handled that; and commands have their effect while the
// player waits for readers.
func TestLockStepWaits(t *testing.T) {
	f := &fakeStep{fakeDeck: newFakeDeck(t, 2), window: 5, handled: make(chan struct{})}
	s := start(t, f.fakeDeck, f, Config{Tape: deckTape(t, 100, 2), Barrier: 5, Paused: true})
	ctx := t.Context()
	f.handled <- struct{}{} // readers are there
	stepped := make(chan error, 1)
	go func() { stepped <- s.p.Step(ctx, 3) }()
	f.handled <- struct{}{}
	for f.count() == 0 {
		runtime.Gosched()
	}
	must(t, s.p.SetSpeed(ctx, 1e5)) // it waits for readers
	if st := s.p.State(); st.Phase != Paused || st.Speed != 1e5 {
		t.Errorf("%+v", st)
	}
	select {
	case err := <-stepped:
		t.Fatalf("the step is through: %v", err)
	default:
	}
	f.handled <- struct{}{}
	must(t, <-stepped)
	if st := s.p.State(); st.Ordinal != 3 {
		t.Errorf("%+v", st)
	}
	sent := f.count()
	must(t, s.p.Resume(ctx))
	must(t, s.p.Pause(ctx)) // nobody has handled anything meanwhile, but nothing is out
	if n := f.count(); n != sent {
		t.Errorf("%d batches went out, want %d", n, sent)
	}
	must(t, s.p.Resume(ctx))
	close(f.handled)
	s.end(t, nil)
	if n := f.epochs[0].next[0] + f.epochs[0].next[1]; n != 100 {
		t.Errorf("%d records", n)
	}
}

// TestLockStepIsNeverEarly: a window that is not full goes out when its last record is
// due, not before and not by itself.
func TestLockStepIsNeverEarly(t *testing.T) {
	f := &fakeStep{fakeDeck: newFakeDeck(t, 2), window: 40}
	s := start(t, f.fakeDeck, f, Config{Tape: makeTape(t, tapeSpec{shards: 2, epochs: []int{100}, codec: tape.CodecPlain, step: 100_000}), Barrier: 40, Speed: 1})
	s.end(t, nil)
	if late := s.p.PacingError().HDR(); late.TotalCount() != 100 || late.Max() < 39*100_000 {
		t.Errorf("%d records were paced, the latest by %d ns", late.TotalCount(), late.Max())
	}
	if n := len(f.epochs[0].order); n > 6 {
		t.Errorf("%d batches for 3 windows of 2 shards", n)
	}
}

// TestLockStepConfig: what cannot be is refused.
func TestLockStepConfig(t *testing.T) {
	tp := deckTape(t, 10, 1)
	if _, err := New(Config{Tape: tp, Barrier: -1}); err == nil {
		t.Error("windows of -1 records are taken")
	}
	if _, err := New(Config{Tape: tp, Barrier: 1, Publisher: newFakeDeck(t, 1)}); !errors.Is(err, ErrNoBarrier) {
		t.Errorf("got %v", err)
	}
	cfg := Config{Tape: tp, Barrier: 1}
	if cfg.SendsBlocks() {
		t.Error("blocks go out as they are")
	}
}

// TestLockStepFails: a publisher that gives up waiting ends the run with its error.
func TestLockStepFails(t *testing.T) {
	f := &failingStep{fakeStep{fakeDeck: newFakeDeck(t, 2)}, errors.New("nobody came")}
	s := start(t, f.fakeDeck, f, Config{Tape: deckTape(t, 10, 2), Barrier: 1})
	s.end(t, f.err)
}

type failingStep struct {
	fakeStep
	err error
}

func (f *failingStep) WaitHandled(context.Context) error { return f.err }

// TestBatchesInLockStep: in one process windows are cut by the same rule.
func TestBatchesInLockStep(t *testing.T) {
	tp := makeTape(t, tapeSpec{shards: 2, epochs: []int{500}, codec: tape.CodecPlain})
	var runs []string
	for _, speed := range []Speed{Max, 1} {
		var cuts strings.Builder
		p := newPlayer(t, Config{Tape: tp, Barrier: 10, Speed: speed})
		for b, err := range p.Batches(t.Context()) {
			must(t, err)
			fmt.Fprintln(&cuts, b.Shard, b.Count, b.FirstOrdinal, b.CRC)
		}
		runs = append(runs, cuts.String())
	}
	if runs[0] != runs[1] {
		t.Error("batches are cut otherwise at another speed")
	}
}
