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

// checkLastValues holds last values as of now against what was sent before the
// places that come with them: of the records that lie before, which are all that
// were sent before one place of the one order, the last of each topic.
func checkLastValues(t testing.TB, s *session) {
	t.Helper()
	values, next, err := s.p.LastValues(t.Context(), 0, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(next) != s.f.shards {
		t.Fatalf("places %+v", next)
	}
	want, at := map[string]string{}, map[string]wire.Ordinal{}
	var before, behind []wire.Ordinal
	for _, p := range next {
		for _, it := range sentItems(t, s.f, p.Epoch, p.Shard) {
			if it.seq >= p.To {
				behind = append(behind, it.ordinal)
				continue
			}
			before = append(before, it.ordinal)
			topic := string(wire.Record(it.record).Topic())
			if n, ok := at[topic]; !ok || it.ordinal > n {
				want[topic], at[topic] = it.record, it.ordinal
			}
		}
	}
	if len(before) > 0 && len(behind) > 0 && slices.Max(before) > slices.Min(behind) {
		t.Fatalf("places %+v are no place in the one order: %d comes before, %d behind", next, slices.Max(before), slices.Min(behind))
	}
	got := map[string]string{}
	for _, v := range values {
		topic := string(v.Record.Topic())
		if _, twice := got[topic]; twice {
			t.Fatalf("%s comes twice", topic)
		}
		rec := slices.Clone(v.Record)
		if w := wire.Record(want[topic]); len(w) > 0 && w.Flags()&wire.FlagSnapshot != 0 {
			wire.Record(rec).SetSnapshot()
		}
		got[topic] = string(rec)
	}
	if !maps.Equal(got, want) {
		for topic, r := range want {
			if got[topic] != r {
				t.Errorf("%s: %q, want %q", topic, got[topic], r)
			}
		}
		t.Fatalf("%d last values, want %d, or others; %d records before", len(got), len(want), len(before))
	}
}

// TestLastValues: in every kind of play, at any moment, in whichever pass.
func TestLastValues(t *testing.T) {
	eachKind(t, 3000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		cfg.Passes = 3
		s := start(t, f, pub, cfg)
		for range 20 {
			if s.p.Pause(t.Context()) != nil {
				break
			}
			if s.p.State().Epoch != 0 {
				checkLastValues(t, s)
			}
			if s.p.Step(t.Context(), 300) != nil {
				break
			}
			checkLastValues(t, s)
			_ = s.p.Resume(t.Context())
		}
		_ = s.p.Resume(t.Context())
		s.result <- <-s.result
		checkLastValues(t, s)
		s.end(t, nil)
	})
}

// TestLastValuesAfterSeek: what was sent as a last value counts as what it is.
func TestLastValuesAfterSeek(t *testing.T) {
	eachKind(t, 2000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		cfg.Paused, cfg.Hold = true, true
		s := start(t, f, pub, cfg)
		m := newModel(t, cfg)
		rng := rand.New(rand.NewPCG(5, 5))
		for range 10 {
			i := rng.IntN(len(m.all))
			must(t, s.p.Seek(t.Context(), ToTime(m.time(wire.Record(m.all[i].rec), tape.ClockReceive), tape.ClockReceive)))
			if err := s.p.Step(t.Context(), 1+rng.IntN(50)); err != nil && !errors.Is(err, ErrBeyond) {
				t.Fatal(err)
			}
			checkLastValues(t, s)
			must(t, s.p.Pause(t.Context()))
		}
		must(t, s.p.Stop(t.Context()))
		if err := <-s.result; err != nil && !errors.Is(err, ErrStopped) {
			t.Fatal(err)
		}
		s.p.Close()
	})
}

// TestLastValuesAsOf: as of a time that has gone by, and as of one that has not come.
func TestLastValuesAsOf(t *testing.T) {
	f := newFakeDeck(t, 2)
	cfg := Config{Tape: deckTape(t, 2000, 2), Paused: true}
	s := start(t, f, f, cfg)
	must(t, s.p.Step(t.Context(), 1500))
	m := newModel(t, s.p.cfg)
	wanted := func(topic []byte) bool { return topic[len(topic)-1]%2 == 0 }
	for _, i := range []int{0, 1, 700, 1499, 1500, 1999} {
		at := m.time(wire.Record(m.all[i].rec), tape.ClockReceive)
		want := map[string]string{}
		counts := make([]wire.Seq, 2)
		for _, x := range m.all[:1500] {
			if m.time(wire.Record(x.rec), tape.ClockReceive) > at {
				break
			}
			counts[x.shard]++
			if topic := wire.Record(x.rec).Topic(); wanted(topic) {
				want[string(topic)] = x.rec
			}
		}
		values, next, err := s.p.LastValues(t.Context(), at, "receive", wanted)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, v := range values {
			got[string(v.Record.Topic())] = string(v.Record)
		}
		if !maps.Equal(got, want) || next[0].To != counts[0] || next[1].To != counts[1] {
			t.Errorf("as of record %d: %d values, want %d; go on at %+v, want %v", i, len(got), len(want), next, counts)
		}
	}
	if _, _, err := s.p.LastValues(t.Context(), 0, "wall", nil); err == nil {
		t.Error("a clock that does not exist was taken")
	}
	must(t, s.p.Stop(t.Context()))
	<-s.result
	s.p.Close()
	empty := newPlayer(t, Config{Tape: deckTape(t, 10, 1), Publisher: newFakeDeck(t, 1)})
	if _, _, err := empty.LastValues(t.Context(), 0, "", nil); !errors.Is(err, tape.ErrNotYet) {
		t.Errorf("before anything was sent: %v", err)
	}
	empty.Close()
}
