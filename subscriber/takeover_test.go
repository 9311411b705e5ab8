package subscriber

import (
	"math/rand/v2"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// takeOver is the start of an epoch by which another publisher goes on behind the first
// next records of p's, and its source.
func (p *source) takeOver(epoch wire.Epoch, next wire.Seq) (*wire.SessionStart, source) {
	return &wire.SessionStart{Reason: wire.TakeoverReason, PreviousEpoch: p.epoch, PreviousNext: next}, source{epoch: epoch}
}

// TestTakeover: what of the epoch of a publisher that takes over is delivered, what
// repeats, and what is missing.
func TestTakeover(t *testing.T) {
	for name, c := range map[string]struct {
		had      wire.Seq // records of the old epoch that came
		next     wire.Seq // that the new one says it goes on behind
		ended    bool     // the old one's end mark came
		lost     uint32   // records at the new one's beginning, after the hello, that do not come
		late     bool     // the hello comes behind these
		skip     uint32   // of the batch of 10 that comes then
		gap      [2]wire.Seq
		tail     Missing
		head     Missing
		complete bool
	}{
		"where it stopped":           {had: 100, next: 100, complete: true},
		"before":                     {had: 100, next: 96, skip: 4, complete: true},
		"before, by a whole batch":   {had: 100, next: 90, skip: 10, complete: true},
		"before, by more":            {had: 100, next: 85, skip: 10, complete: true},
		"behind":                     {had: 100, next: 104, tail: Missing{7, 100, 104}, complete: true},
		"before, behind an end mark": {had: 100, next: 96, ended: true, skip: 4, complete: true},
		"repeats are lost":           {had: 100, next: 90, lost: 5, skip: 5},
		"all repeats are lost":       {had: 100, next: 95, lost: 5},
		"repeats and more are lost":  {had: 100, next: 97, lost: 5, gap: [2]wire.Seq{3, 5}},
		"nothing repeats, and lost":  {had: 100, next: 100, lost: 5, gap: [2]wire.Seq{0, 5}},
		"the hello and more is lost": {had: 100, next: 97, lost: 5, late: true, head: Missing{8, 3, 5}},
		"the hello and repeats":      {had: 100, next: 90, lost: 5, late: true, skip: 5},
	} {
		t.Run(name, func(t *testing.T) {
			var s Stream
			take := func(h wire.Header) Step { return s.Take(&h) }
			p := source{epoch: 7}
			take(p.hello())
			take(p.batch(uint32(c.had), 1))
			if c.ended {
				take(p.end())
			}
			start, q := p.takeOver(8, c.next)
			hello := q.hello()
			if c.lost > 0 {
				q.batch(c.lost, 2)
			}
			if c.late {
				hello = q.hello()
			}
			take(hello)
			tail, head := s.Start(start)
			if tail != c.tail || head != c.head {
				t.Errorf("tail %v, head %v", tail, head)
			}
			step := take(q.batch(10, 3))
			if got := [2]wire.Seq{step.GapFrom, step.GapTo}; step.Skip != c.skip || got[0] != got[1] && got != c.gap || got[0] == got[1] && c.gap[1] != 0 {
				t.Errorf("%+v", step)
			}
			for range 3 {
				take(q.batch(10, 4))
			}
			take(q.end())
			missing := c.tail.To - c.tail.From + c.head.To - c.head.From + c.gap[1] - c.gap[0]
			if s.diverged != 0 || s.broken != 0 || s.lost != uint64(missing) || s.Complete() != c.complete {
				t.Errorf("%+v, complete %v", countsOf(&s), s.Complete())
			}
			if behind := c.next + wire.Seq(c.lost) + 40; s.records+s.lost != uint64(behind) {
				t.Errorf("%d delivered and %d lost of %d", s.records, s.lost, behind)
			}
		})
	}
}

// TestTakeoverHash: where the hash at the place is known, it is compared.
func TestTakeoverHash(t *testing.T) {
	for _, off := range []wire.Hash{0, 1} {
		var s Stream
		p := source{epoch: 7}
		h := p.batch(10, 1)
		s.Take(&h)
		start, q := p.takeOver(8, 10)
		start.PreviousHash = p.hash + off
		h = q.hello()
		s.Take(&h)
		s.Start(start)
		if (s.diverged != 0) != (off != 0) {
			t.Errorf("off by %d: %+v", off, countsOf(&s))
		}
	}
}

// TestTakeoversOnceEach: a source is played by one publisher after the other, each of
// which begins some way before the place where the reader is; the reader delivers every
// place of it once, in order, however batches are cut.
func TestTakeoversOnceEach(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 8))
		var s Stream
		var delivered uint64 // places: they are delivered in order
		var base uint64      // place of the epoch's first record
		p := source{epoch: 1}
		h := p.hello()
		s.Take(&h)
		for e := range wire.Epoch(6) {
			for range r.IntN(12) {
				h := p.batch(1+r.Uint32N(9), r.Uint32())
				step := s.Take(&h)
				if step.Skip < h.Count {
					if from := base + uint64(h.FirstSeq) + uint64(step.Skip); from != delivered {
						t.Fatalf("seed %d: place %d is delivered after %d", seed, from, delivered)
					}
					delivered = base + uint64(h.Next())
				}
				if r.IntN(8) == 0 {
					again := s.Take(&h)
					if again.Skip != h.Count {
						t.Fatalf("seed %d: a repeat is delivered: %+v", seed, again)
					}
				}
			}
			next := wire.Seq(r.Uint64N(uint64(p.next) + 1))
			var start *wire.SessionStart
			start, p = p.takeOver(e+2, next)
			base += uint64(next)
			h := p.hello()
			s.Take(&h)
			s.Start(start)
		}
		if s.records != delivered || s.lost != 0 || s.broken != 0 || s.diverged != 0 {
			t.Fatalf("seed %d: %+v, %d delivered", seed, countsOf(&s), delivered)
		}
	}
}
