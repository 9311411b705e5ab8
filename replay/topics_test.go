package replay

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// TestSetTopics: from where play stands on, and nowhere else, other topics are played,
// with their last values first; what was sent under each filter can be read back.
func TestSetTopics(t *testing.T) {
	eachKind(t, 4000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		cfg.Hold, cfg.Paused = true, true
		s := start(t, f, pub, cfg)
		follow := newFollower(t, s, newModel(t, cfg), f.list)
		prefixes := []string{"T0"}
		follow.filter(prefixes) // before the first record: no last values
		prefixes[0] = "none"
		if st := s.p.State(); !slices.Equal(st.Topics, []string{"T0"}) || st.Phase != Paused {
			t.Errorf("%+v", st)
		}
		prefixes[0] = "T0"
		for _, topics := range [][]string{{"T1", "T03"}, nil, {"none"}, {"T3"}} {
			if err := s.p.Step(t.Context(), 333); err != nil && !errors.Is(err, ErrBeyond) {
				t.Fatal(err)
			}
			checkLastValues(t, s)
			place := s.p.State().Ordinal
			follow.filter(topics)
			if st := s.p.State(); st.Ordinal != place || !slices.Equal(st.Topics, topics) {
				t.Errorf("filtered at %d: %+v", place, st)
			}
		}
		must(t, s.p.Resume(t.Context()))
		for s.p.State().Phase != Held {
			f.awaitTicks(1)
		}
		follow.filter([]string{"T2"}) // behind the last record: last values alone
		for s.p.State().Phase != Held || f.count() == 0 {
			f.awaitTicks(1)
		}
		must(t, s.p.Stop(t.Context()))
		readAll(t, s)
		s.end(t, nil)
		follow.check()
		last := f.epochs[len(f.epochs)-1]
		if n := len(last.items(t, 0)) + len(last.items(t, 1)); n == 0 || s.p.report.Filters != 6 {
			t.Errorf("%d last values at the end; report %+v", n, s.p.report)
		}
	})
}

// TestSetTopicsWhilePlaying: whatever plays, and however far its shards are apart, a filter
// begins behind everything that had gone out before it on all of them.
func TestSetTopicsWhilePlaying(t *testing.T) {
	eachKind(t, 20_000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		cfg.Hold = true
		s := start(t, f, pub, cfg)
		follow := newFollower(t, s, newModel(t, cfg), f.list)
		rng := rand.New(rand.NewPCG(9, 9))
		for range 20 {
			follow.filter([][]string{nil, {"T0"}, {"T1", "T03"}, {"T"}}[rng.IntN(4)])
			readSome(t, s, rng)
		}
		for s.p.State().Phase != Held {
			f.awaitTicks(1)
		}
		must(t, s.p.Stop(t.Context()))
		readAll(t, s)
		s.end(t, nil)
		follow.check()
	})
}

// TestFilterOverrulesFilter: of two that are given while nothing can begin, the later
// one counts; a seek that waits is not lost by it.
func TestFilterOverrulesFilter(t *testing.T) {
	f := newFakeDeck(t, 1)
	p := newPlayer(t, Config{Tape: deckTape(t, 1000, 1), Publisher: f, Paused: true})
	s := &session{p: p, f: f, result: make(chan error, 1)}
	ctx := t.Context()
	give := func(command func() error) chan error {
		p.orders.mu.Lock()
		before := len(p.orders.waiting)
		p.orders.mu.Unlock()
		done := make(chan error, 1)
		go func() { done <- command() }()
		for waiting := before; waiting == before; {
			p.orders.mu.Lock()
			waiting = len(p.orders.waiting)
			p.orders.mu.Unlock()
		}
		return done
	}
	first := give(func() error { return p.SetTopics(ctx, []string{"T0"}) })
	seek := give(func() error { return p.Seek(ctx, at(500)) })
	second := give(func() error { return p.SetTopics(ctx, []string{"T1"}) })
	go func() {
		_, err := p.Run(ctx)
		s.result <- err
	}()
	if err := <-first; !errors.Is(err, ErrOverruled) {
		t.Errorf("the first filter: %v", err)
	}
	must(t, <-seek)
	must(t, <-second)
	if st := p.State(); st.Ordinal != 500 || !slices.Equal(st.Topics, []string{"T1"}) || len(f.list()) != 3 {
		t.Errorf("%+v, %d epochs", st, len(f.list()))
	}
	must(t, p.Stop(ctx))
	s.end(t, ErrStopped)
	if err := p.SetTopics(ctx, nil); !errors.Is(err, ErrFinished) {
		t.Errorf("after the end: %v", err)
	}
}

// TestFilterNeedsEpochs: a publisher without epochs plays on as it did.
func TestFilterNeedsEpochs(t *testing.T) {
	tp := deckTape(t, 3000, 1)
	f := &fakePublisher{t: t}
	p := newPlayer(t, Config{Tape: tp, Publisher: f, Speed: speedMax, BatchBytes: batchBytesMin})
	defer p.Close()
	ctx, filtered := t.Context(), make(chan error, 1)
	f.onWait = func() {
		go func() { filtered <- p.SetTopics(ctx, []string{"T0"}) }()
		for waiting := 0; waiting == 0; {
			p.orders.mu.Lock()
			waiting = len(p.orders.waiting)
			p.orders.mu.Unlock()
		}
	}
	if _, err := p.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-filtered; !errors.Is(err, ErrNoEpochs) && !errors.Is(err, ErrFinished) {
		t.Errorf("the filter: %v", err)
	}
	same(t, f.merged(), all(t, tp, tape.ReadConfig{}))
}

// TestOldEpochsKeepTheirFilter: last values as of a time before another filter was set
// are those of the topics that were played then.
func TestOldEpochsKeepTheirFilter(t *testing.T) {
	f := newFakeDeck(t, 1)
	cfg := Config{Tape: deckTape(t, 2000, 1), Topics: []string{"T0"}, Paused: true}
	s := start(t, f, f, cfg)
	must(t, s.p.Step(t.Context(), 100))
	before := s.p.State()
	must(t, s.p.SetTopics(t.Context(), []string{"T1"}))
	must(t, s.p.Step(t.Context(), 100))
	m := newModel(t, cfg)
	values, next, err := s.p.LastValues(t.Context(), before.Time, "receive", nil)
	must(t, err)
	want, got := map[string]bool{}, map[string]bool{}
	for _, x := range m.all[:m.find(before.Ordinal)] {
		if passes(x.rec, cfg.Topics) {
			want[string(wire.Record(x.rec).Topic())] = true
		}
	}
	for _, v := range values {
		got[string(v.Record.Topic())] = true
	}
	if !maps.Equal(got, want) || next[0].Epoch != before.Epoch || next[0].To != 100 {
		t.Errorf("as of the first filter: %v, want %v; goes on at %+v", got, want, next)
	}
	must(t, s.p.Stop(t.Context()))
	s.end(t, ErrStopped)
}
