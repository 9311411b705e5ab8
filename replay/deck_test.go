package replay

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

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
	ctx, follow := t.Context(), newFollower(t, s, m, f.list)
	for range 30 {
		f.full(rng.IntN(3) == 0)
		command := rng.IntN(12)
		switch command {
		case 0:
			must(t, s.p.Pause(ctx))
		case 1, 2, 3:
			must(t, s.p.Resume(ctx))
			select { // or nothing moves
			case <-moved:
			default:
			}
		case 4:
			f.full(false)
			stepDeck(t, s, rng)
		case 5:
			must(t, s.p.SetSpeed(ctx, []Speed{Max, speedMax, 1e5}[rng.IntN(3)]))
		case 6:
			must(t, s.p.SetSqueeze(ctx, time.Duration(rng.IntN(3000))))
		case 7:
			follow.filter([][]string{nil, {"T0"}, {"T1", "T03"}, {"T"}, {"none"}}[rng.IntN(5)])
		case 8, 9:
			follow.begin(rng)
		case 10:
			follow.leave()
		default:
			follow.seek(rng)
		}
		if rng.IntN(2) == 0 {
			readSome(t, s, rng)
		}
	}
	f.full(false)
	// To the end, where it is held, then over.
	follow.filter([]string{"T"})
	follow.leave()
	must(t, s.p.SetSpeed(ctx, Max))
	must(t, s.p.Resume(ctx))
	for s.p.State().Phase != Held {
		f.awaitTicks(1)
	}
	if st := s.p.State(); st.Ordinal != s.p.ordinals.span || st.Pass != cfg.Passes-1 || st.Epoch != f.last().epoch {
		t.Errorf("held at %+v", st)
	}
	must(t, s.p.Stop(ctx))
	readAll(t, s)
	s.end(t, nil)
	follow.check()
	if rep := s.p.report; f.ended != 1 || rep.Seeks != follow.seeks || rep.Filters != follow.sets || rep.Seeks+rep.Filters+rep.Rounds != len(f.epochs)-1 {
		t.Errorf("ended %d times, %d epochs, %d seeks, %d filters; report %+v", f.ended, len(f.epochs), follow.seeks, follow.sets, rep)
	}
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
		for _, e := range s.f.epochs { // in a loop steps go on in the next round
			for sh := range s.f.shards {
				for _, b := range e.batches[sh] {
					if b.Flags&wire.FlagSnapshotBatch == 0 {
						n += int(b.Count)
					}
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
	case err != nil || made > n || made < n && (s.p.State().Looping || s.p.State().Ordinal != s.p.ordinals.span):
		t.Fatalf("%d of %d steps: %v; %+v", made, n, err, s.p.State())
	}
	if st := s.p.State(); st.Phase != Paused && st.Phase != Held {
		t.Fatalf("after a step: %+v", st)
	}
}
