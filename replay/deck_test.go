package replay

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// session is a player that runs, with what it was told.
type session struct {
	p      *Player
	f      *fakeDeck
	result chan error
}

// start runs a player. pub is f, or what wraps it.
func start(t testing.TB, f *fakeDeck, pub Publisher, cfg Config) *session {
	t.Helper()
	cfg.Publisher = pub
	s := &session{p: newPlayer(t, cfg), f: f, result: make(chan error, 1)}
	ctx := t.Context()
	go func() {
		_, err := s.p.Run(ctx)
		s.result <- err
	}()
	return s
}

// end waits for the run.
func (s *session) end(t testing.TB, want error) {
	t.Helper()
	if err := <-s.result; !errors.Is(err, want) || want == nil && err != nil {
		t.Fatalf("the run ended with %v, want %v", err, want)
	}
	s.p.Close()
}

// randomConfig makes a tape and a way to play it.
func randomConfig(t testing.TB, rng *rand.Rand) Config {
	codecs := []tape.Codec{tape.CodecPlain, tape.CodecS2, tape.CodecZstd}
	spec := tapeSpec{shards: 1 + rng.IntN(3), codec: codecs[rng.IntN(3)], topics: 1 + rng.IntN(60), blockSize: 2 << 10 << rng.IntN(3)}
	for range 1 + rng.IntN(3) {
		spec.epochs = append(spec.epochs, 1+rng.IntN(1500))
	}
	spec.apart = rng.IntN(4) == 0
	cfg := Config{Tape: makeTape(t, spec), Passes: 1 + rng.IntN(3), BatchBytes: 1 << 10 << rng.IntN(4), Hold: true, Paused: rng.IntN(2) == 0}
	total := wire.Nanos(0)
	for _, n := range spec.epochs {
		total += wire.Nanos(n) * 1000
	}
	if rng.IntN(2) == 0 {
		cfg.Shards = 1 + rng.IntN(4)
	}
	if rng.IntN(3) == 0 {
		cfg.Topics = []string{fmt.Sprintf("T%d", rng.IntN(3)), "T00"}
	}
	if rng.IntN(3) == 0 {
		cfg.From = firstTime + total/4
	}
	if rng.IntN(3) == 0 {
		cfg.To = firstTime + total*3/4
	}
	if rng.IntN(2) == 0 {
		cfg.Speed = speedMax
	}
	cfg.Clock = tape.Clock(rng.IntN(2))
	cfg.NoSnapshot = rng.IntN(5) == 0
	return cfg
}

// TestDeck gives players of all kinds commands at random moments, and checks that
// every epoch has the last values before its place, and then every record from
// there on once and in order; the last one to the end. Beside it others read
// what was sent, which must be the same.
func TestDeck(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { playDeck(t, rand.New(rand.NewPCG(seed, 77))) })
	}
}

func playDeck(t *testing.T, rng *rand.Rand) {
	cfg := randomConfig(t, rng)
	m := newModel(t, cfg)
	f := newFakeDeck(t, m.shards)
	var pub Publisher = f
	if rng.IntN(2) == 0 {
		pub = fakeDeckLanes{f}
	}
	// Play goes on a few batches at a time, so that commands find it in the middle.
	moved := make(chan struct{}, 1)
	f.onSend = func(int) {
		select {
		case moved <- struct{}{}:
		default:
		}
	}
	s := start(t, f, pub, cfg)
	places, ctx := []int{0}, t.Context()
	for range 25 {
		f.full(rng.IntN(3) == 0)
		switch rng.IntN(7) {
		case 0:
			if err := s.p.Pause(ctx); err != nil {
				t.Fatal(err)
			}
		case 1, 2:
			if err := s.p.Resume(ctx); err != nil {
				t.Fatal(err)
			}
			select { // or nothing moves
			case <-moved:
			default:
			}
		case 3:
			f.full(false)
			stepDeck(t, s, rng)
		case 4:
			if err := s.p.SetSpeed(ctx, []Speed{Max, speedMax, 1e5}[rng.IntN(3)]); err != nil {
				t.Fatal(err)
			}
		default:
			places = seekDeck(t, s, m, rng, places)
		}
		if rng.IntN(2) == 0 {
			readSome(t, s, rng)
		}
	}
	f.full(false)
	// To the end, where it is held, then over.
	if err := s.p.SetSpeed(ctx, Max); err != nil {
		t.Fatal(err)
	}
	if err := s.p.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	for s.p.State().Phase != Held {
		f.awaitTicks(1)
	}
	if st := s.p.State(); st.Ordinal != s.p.ordinals.span || st.Pass != cfg.Passes-1 || st.Epoch != f.last().epoch {
		t.Errorf("held at %+v", st)
	}
	if err := s.p.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	readAll(t, s)
	s.end(t, nil)
	if f.ended != 1 || len(f.epochs) != len(places) || int(s.p.report.Seeks) != len(places)-1 {
		t.Errorf("ended %d times, %d epochs, want %d; report %+v", f.ended, len(f.epochs), len(places), s.p.report)
	}
	pass := 0
	for i, e := range f.epochs {
		whole := i == len(f.epochs)-1
		m.check(t, e, places[i], cfg.Passes-pass, whole, i > 0 && !cfg.NoSnapshot)
		if !whole {
			pass = passOf(s.p, s.p.history.all()[i+1])
		}
	}
}

func passOf(p *Player, e *sentEpoch) int {
	pass, _ := p.ordinals.split(e.start)
	return pass
}

// seekDeck seeks somewhere and notes where that must be.
func seekDeck(t *testing.T, s *session, m *model, rng *rand.Rand, places []int) []int {
	t.Helper()
	clock := tape.Clock(rng.IntN(2))
	i := rng.IntN(len(m.all))
	at := m.time(wire.Record(m.all[i].rec), clock) - wire.Nanos(rng.IntN(2)*rng.IntN(3000))
	if rng.IntN(10) == 0 {
		at = []wire.Nanos{1, firstTime * 2}[rng.IntN(2)]
	}
	want := m.seek(at, clock)
	before := len(s.f.epochs)
	err := s.p.Seek(t.Context(), ToTime(at, clock))
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	if want < 0 {
		if !errors.Is(err, ErrBeyond) || len(s.f.epochs) != before {
			t.Fatalf("a seek beyond: %v, %d epochs, were %d", err, len(s.f.epochs), before)
		}
		return places
	}
	if err != nil {
		t.Fatalf("seek to %d: %v", at, err)
	}
	start := wire.SessionStart{Reason: "seek", At: at, Clock: clock.String(), Snapshot: !m.cfg.NoSnapshot}
	if got := s.f.last().start; len(s.f.epochs) != before+1 || got != start {
		t.Fatalf("%d epochs, were %d; start %+v, want %+v", len(s.f.epochs), before, got, start)
	}
	return append(places, want)
}

// stepDeck steps, and checks that exactly so many records go out, next in the one
// order.
func stepDeck(t *testing.T, s *session, rng *rand.Rand) {
	t.Helper()
	if err := s.p.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := 1 + rng.IntN(200)
	count := func() (n int) {
		s.f.mu.Lock()
		defer s.f.mu.Unlock()
		for sh := range s.f.shards {
			for _, b := range s.f.last().batches[sh] {
				if b.Flags&wire.FlagSnapshotBatch == 0 {
					n += int(b.Count)
				}
			}
		}
		return n
	}
	before := count()
	err := s.p.Step(t.Context(), n)
	made := count() - before
	switch {
	case errors.Is(err, ErrBeyond) && made == 0:
	case err != nil || made > n || made < n && s.p.State().Ordinal != s.p.ordinals.span:
		t.Fatalf("%d of %d steps: %v; %+v", made, n, err, s.p.State())
	}
	if st := s.p.State(); st.Phase != Paused && st.Phase != Held {
		t.Fatalf("after a step: %+v", st)
	}
}
