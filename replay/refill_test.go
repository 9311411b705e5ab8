package replay

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// sentItems is what a shard was sent in an epoch so far.
func sentItems(t testing.TB, f *fakeDeck, epoch wire.Epoch, s int) []deckItem {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.epochs {
		if e.epoch == epoch {
			return e.items(t, s)
		}
	}
	return nil
}

// readBack reads sequences [from, to) and checks every batch and record.
func readBack(t testing.TB, s *session, want []deckItem, epoch wire.Epoch, shard int, from, to wire.Seq, max int) {
	t.Helper()
	for from < to {
		b, release, err := s.p.Read(t.Context(), epoch, shard, from, to, max)
		if err != nil {
			t.Fatalf("epoch %d, shard %d, [%d, %d): %v", epoch, shard, from, to, err)
		}
		if err := b.Check(); err != nil || b.CRC != wire.CRC(b.Payload, b.Order) || b.FirstSeq != from || b.Next() > to || b.Count == 0 ||
			b.Epoch != epoch || int(b.Shard) != shard || int(b.Shards) != s.f.shards || b.Count > 1 && max > 0 && len(b.Payload) > max {
			t.Fatalf("[%d, %d) gives %+v with %d bytes, at most %d: %v", from, to, b.Header, len(b.Payload), max, err)
		}
		o, w := b.Ordinals(), b.Records()
		for w.Next() {
			it := deckItem{ordinal: o.Next(), seq: w.Seq(), last: b.Flags&wire.FlagSnapshotBatch != 0, record: string(w.Record())}
			if it != want[it.seq] {
				t.Fatalf("epoch %d, shard %d: %s, was sent as %s", epoch, shard, short(it), short(want[it.seq]))
			}
		}
		from = b.Next()
		release()
	}
}

// readSome reads a part of what was sent while play goes on.
func readSome(t testing.TB, s *session, rng *rand.Rand) {
	t.Helper()
	spans := s.p.Extents()
	if len(spans) == 0 {
		return
	}
	span := spans[rng.IntN(len(spans))]
	want := sentItems(t, s.f, span.Epoch, span.Shard)
	if int(span.To) > len(want) || span.From != 0 {
		t.Fatalf("%+v, but %d were sent", span, len(want))
	}
	from := wire.Seq(rng.Uint64N(uint64(span.To)))
	to := from + 1 + wire.Seq(rng.IntN(600))
	readBack(t, s, want, span.Epoch, span.Shard, from, min(to, span.To), []int{0, 1, 300, 5000}[rng.IntN(4)])
}

// readAll reads everything that was sent, and finds it by time.
func readAll(t testing.TB, s *session) {
	t.Helper()
	total := 0
	for _, span := range s.p.Extents() {
		want := sentItems(t, s.f, span.Epoch, span.Shard)
		if int(span.To) != len(want) {
			t.Fatalf("%+v, but %d were sent", span, len(want))
		}
		total += len(want)
		readBack(t, s, want, span.Epoch, span.Shard, 0, span.To, 0)
		var seqErr *tape.SeqError
		if _, _, err := s.p.Read(t.Context(), span.Epoch, span.Shard, span.To, span.To+1, 0); !errors.As(err, &seqErr) ||
			!errors.Is(err, tape.ErrGone) && (!errors.Is(err, tape.ErrNotYet) || span.Epoch != s.f.last().epoch) {
			t.Errorf("behind what was sent: %v", err)
		}
	}
	sent := 0
	for _, e := range s.f.epochs {
		for _, n := range e.next {
			sent += int(n)
		}
	}
	if total != sent {
		t.Errorf("%d records can be read, %d were sent", total, sent)
	}
	findBack(t, s)
}

// findBack checks the spans that times are found in.
func findBack(t testing.TB, s *session) {
	t.Helper()
	m := newModel(t, s.p.cfg)
	rng := rand.New(rand.NewPCG(3, 3))
	for range 10 {
		clock := tape.Clock(rng.IntN(2))
		at := m.time(wire.Record(m.all[rng.IntN(len(m.all))].rec), clock)
		spans, err := s.p.Find(t.Context(), at, clock.String())
		if err != nil {
			t.Fatal(err)
		}
		found := map[tape.SeqSpan]bool{}
		for i, sp := range spans {
			found[sp] = true
			if i > 0 && sp.Shard < spans[i-1].Shard {
				t.Fatalf("%+v after %+v", sp, spans[i-1])
			}
		}
		want := 0
		for _, e := range s.p.history.all() {
			// The first of all records from the epoch's start on, played or not.
			pass, rest := s.p.ordinals.split(e.start)
			place, ok := wire.Ordinal(0), false
			for n := 0; n < 2 && !ok; n++ {
				for _, x := range m.all {
					if (n > 0 || x.place >= rest) && m.time(wire.Record(x.rec), clock) >= at {
						place, ok = wire.Ordinal(pass+n)*s.p.ordinals.span+x.place, true
						break
					}
				}
			}
			for sh := range e.trails {
				items := sentItems(t, s.f, e.epoch, sh)
				sp := tape.SeqSpan{Epoch: e.epoch, Shard: sh, To: wire.Seq(len(items))}
				for place > e.start && sp.From < sp.To && items[sp.From].ordinal < place+wire.Ordinal(e.lead.Load()) {
					sp.From++
				}
				if ok && sp.Len() > 0 {
					if want++; !found[sp] {
						t.Fatalf("%v %d: %+v, without %+v", clock, at, spans, sp)
					}
				}
			}
		}
		if want != len(spans) {
			t.Fatalf("%v %d: %+v, want %d", clock, at, spans, want)
		}
	}
}
