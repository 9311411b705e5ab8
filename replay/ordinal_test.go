package replay

import (
	"math/rand/v2"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// TestOrdinalOfPause: wherever a player is paused, also between the batches of two
// shards, everything before the ordinal that it says has gone out, and it is not behind
// what has gone out on every shard.
func TestOrdinalOfPause(t *testing.T) {
	eachKind(t, 20_000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		cfg.Hold = true
		rng := rand.New(rand.NewPCG(1, 2))
		stop := make(chan struct{}, 1)
		at := 1
		f.onSend = func(n int) {
			f.mu.Lock()
			now := n == at
			f.mu.Unlock()
			if now {
				f.full(true)
				stop <- struct{}{}
			}
		}
		s := start(t, f, pub, cfg)
		m := newModel(t, cfg)
		for range 12 {
			<-stop
			must(t, s.p.Pause(t.Context()))
			st := s.p.State()
			out, behind := map[wire.Ordinal]bool{}, wire.Ordinal(1<<40)
			f.mu.Lock()
			for sh := range f.shards {
				last := wire.Ordinal(0)
				for _, it := range f.epochs[0].items(t, sh) {
					out[it.ordinal], last = true, it.ordinal+1
				}
				behind = min(behind, last)
			}
			at = f.sent + 1 + rng.IntN(5)
			f.mu.Unlock()
			for _, x := range m.all {
				if x.place < st.Ordinal && passes(x.rec, cfg.Topics) && !out[x.place] {
					t.Fatalf("paused at ordinal %d, and the record at %d has not gone out", st.Ordinal, x.place)
				}
			}
			if st.Ordinal < behind {
				t.Fatalf("paused at ordinal %d, and all shards are at %d or further", st.Ordinal, behind)
			}
			f.full(false)
			must(t, s.p.Resume(t.Context()))
		}
		f.mu.Lock()
		at = 0
		f.mu.Unlock()
		f.full(false)
		must(t, s.p.Stop(t.Context()))
		if err := <-s.result; err != nil && err != ErrStopped {
			t.Error(err)
		}
		s.p.Close()
	})
}

// TestOrdinalOfLanesAtTheEnd: where the last batch of one shard went out, and that of
// another did not before each is played by itself, the end is the end.
func TestOrdinalOfLanesAtTheEnd(t *testing.T) {
	f := newFakeDeck(t, 2)
	first := make(chan struct{})
	f.onSend = func(n int) {
		if n == 1 {
			f.full(true)
			close(first)
		}
	}
	s := start(t, f, fakeDeckLanes{f}, Config{Tape: deckTape(t, 40, 2), Speed: speedMax, Hold: true})
	<-first
	must(t, s.p.Pause(t.Context()))
	if st := s.p.State(); st.Ordinal != 0 {
		t.Fatalf("one shard of two has gone out, and the ordinal is %d", st.Ordinal)
	}
	f.full(false)
	must(t, s.p.SetSpeed(t.Context(), Max))
	must(t, s.p.Resume(t.Context()))
	st := s.p.State()
	for st.Phase != Held {
		var err error
		st, err = s.p.Wait(t.Context(), st.Version)
		must(t, err)
	}
	if st.Ordinal != 40 || f.count() != 2 {
		t.Errorf("at the end: %+v, %d batches", st, f.count())
	}
	must(t, s.p.Stop(t.Context()))
	s.end(t, nil)
}
