package resync

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// A simulated publisher, network, servers and clock around a machine. The
// publisher sends epochs of numbered records. The network to the reader loses,
// repeats and reorders; the network to the servers loses requests, answers and
// chunks. Servers have holes, lag behind, restart, are slow and fail.
//
// Properties, checked on every delivery and when all has settled:
//
//  1. Per epoch, what is delivered and what is told as lost are together every
//     sequence from where the reader began, in order, each once, and every record
//     is the right one.
//  2. Epochs are delivered in the publisher's order, each begun once.
//  3. Lost is only what no server has.
//  4. What is missing at the end of an epoch is told: as lost, or as broken.
//  5. Complete is said exactly of what is.
//  6. No more is held than the bound, and in the end nothing.

type simEvent struct {
	at time.Duration
	n  int // events of the same time happen in the order they were made
	do func()
}

type simQueue []simEvent

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].n < q[j].n
}
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(x any)   { *q = append(*q, x.(simEvent)) }
func (q *simQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

// simEpoch is what the publisher sent, and what became of it at the reader.
type simEpoch struct {
	id      wire.Epoch
	sent    wire.Seq
	hash    wire.Hash
	closed  bool // another follows, or the run is over
	marked  bool // with an end mark
	early   bool
	told    bool // with previous_next
	visible bool // the reader may get to know of it

	begun    bool
	pos      wire.Seq // delivered or told as lost
	began    wire.Seq
	lost     []Span
	ended    bool
	complete bool
	broken   bool
}

type sim struct {
	t       testing.TB
	seed    uint64
	rng     *rand.Rand
	now     time.Duration
	queue   simQueue
	n       int
	m       *machine
	epochs  []*simEpoch // of the publisher, in order
	servers []*simServer
	joined  *simEpoch
	lag     time.Duration // of the reader's queue
	away    bool          // the reader is not there yet
	asked   *start        // where it asks to begin; nil: wherever it joins
	current int           // index of the epoch begun last
	calm    bool
	chunks  int
	pumpAt  time.Duration
	waking  time.Duration
}

func (s *sim) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("seed %d at %v: %s", s.seed, s.now, fmt.Sprintf(format, args...))
}

func (s *sim) after(d time.Duration, do func()) {
	s.n++
	heap.Push(&s.queue, simEvent{s.now + d, s.n, do})
}

func (s *sim) chance(p float64) bool { return s.rng.Float64() < p }

func (s *sim) between(a, b time.Duration) time.Duration {
	return a + time.Duration(s.rng.Int64N(int64(b-a)+1))
}

// records is a batch of an epoch whose records say who they are.
func (s *sim) records(id wire.Epoch, first wire.Seq, n int) *wire.Batch {
	b := &wire.Batch{Header: wire.Header{Epoch: id, Shards: 1, FirstSeq: first, FirstOrdinal: wire.Ordinal(first), Count: uint32(n)}}
	var body [16]byte
	for i := range n {
		binary.LittleEndian.PutUint64(body[:], uint64(id))
		binary.LittleEndian.PutUint64(body[8:], uint64(first)+uint64(i))
		b.Payload, _ = wire.AppendRecord(b.Payload, &wire.Fields{Topic: []byte("T"), Body: body[:]})
	}
	b.PayloadSize, b.CRC = uint32(len(b.Payload)), wire.CRC(b.Payload, nil)
	return b
}

func (s *sim) find(id wire.Epoch) *simEpoch {
	for _, e := range s.epochs {
		if e.id == id {
			return e
		}
	}
	return nil
}

// deliver checks property 1 and 2.
func (s *sim) deliver(b *wire.Batch, skip uint32) {
	e := s.find(b.Epoch)
	if !e.begun || s.epochs[s.current] != e {
		s.fail("epoch %d delivered, which is not the one that was begun", b.Epoch)
	}
	if from := b.FirstSeq + wire.Seq(skip); from != e.pos || skip >= b.Count {
		s.fail("epoch %d: delivered [%d, %d) where %d comes next", b.Epoch, from, b.Next(), e.pos)
	}
	for w := b.Records(); w.Next(); {
		body := w.Record().Body()
		if wire.Epoch(binary.LittleEndian.Uint64(body)) != b.Epoch || wire.Seq(binary.LittleEndian.Uint64(body[8:])) != w.Seq() {
			s.fail("epoch %d, sequence %d: another record", b.Epoch, w.Seq())
		}
	}
	e.pos = b.Next()
}

// arrive offers a batch as a Healer does.
func (s *sim) arrive(b *wire.Batch, refill bool) {
	for n := 0; ; n++ {
		switch v := s.m.offer(b, refill); v.what {
		case busy:
			if n == 10 {
				s.fail("busy again and again")
			}
			s.perform(s.m.next(s.now))
			continue
		case deliver:
			s.deliver(b, v.skip)
		case hold:
			v.hold.fill(b, refill)
		}
		break
	}
	if s.m.held > s.m.cfg.holdBytes {
		s.fail("holds %d bytes, bound %d", s.m.held, s.m.cfg.holdBytes)
	}
	s.pumpSoon()
}

func (s *sim) pumpSoon() {
	if s.pumpAt != 0 && s.pumpAt >= s.now {
		return
	}
	d := time.Duration(0)
	if s.chance(0.2) {
		d = s.between(0, 20*time.Millisecond) // whoever does it is busy
	}
	s.pumpAt = s.now + d
	s.after(d, s.pump)
}

func (s *sim) pump() {
	s.pumpAt = 0
	for {
		a := s.m.next(s.now)
		if a.do == doNothing {
			break
		}
		s.perform(a)
	}
	if at, ok := s.m.wake(); ok && at != s.waking {
		s.waking = at
		s.after(max(at-s.now, 0), s.pump)
	}
}

func (s *sim) perform(a action) {
	switch a.do {
	case doBegin:
		e := s.find(a.epoch)
		i := slices.Index(s.epochs, e)
		if e.begun || (s.joined != nil && i <= s.current) {
			s.fail("epoch %d begun out of order", a.epoch)
		}
		if s.joined == nil {
			s.joined = e
			_, next, _ := s.m.position()
			e.pos = next
			if s.asked != nil && (e.id != s.asked.epoch || next != s.asked.from) {
				s.fail("begun at %d of epoch %d, want %v", next, e.id, *s.asked)
			}
		} else {
			for _, skipped := range s.epochs[s.current+1 : i] {
				if skipped.visible {
					s.fail("epoch %d left out", skipped.id)
				}
			}
		}
		s.current, e.begun, e.began = i, true, e.pos
	case doDeliver:
		s.deliver(&a.hold.batch, a.skip)
	case doLost:
		e := s.find(a.span.Epoch)
		if a.span.From != e.pos || a.span.To <= a.span.From {
			s.fail("epoch %d: lost [%d, %d) where %d comes next", e.id, a.span.From, a.span.To, e.pos)
		}
		e.pos = a.span.To
		e.lost = append(e.lost, a.span)
		if a.reason != ReasonGone {
			s.fail("gave up %v: %v", a.span, a.reason)
		}
	case doEnd:
		e := s.find(a.epoch)
		if e.ended || !e.marked {
			s.fail("epoch %d ended twice, or without an end mark", e.id)
		}
		e.ended, e.complete = true, a.complete
	case doBroken:
		e := s.find(a.epoch)
		if e.broken || e.ended || e.told && e.visible && s.m.find(e.id).ended && !s.m.find(e.id).broken {
			s.fail("epoch %d broken twice, or after its end", e.id)
		}
		e.broken = true
	case doRequest:
		s.request(a)
	case doCancel:
		for _, srv := range s.servers {
			delete(srv.running, a.id)
		}
	}
}

// queued does something when the reader's queue has come to it.
func (s *sim) queued(do func()) {
	if s.lag == 0 {
		do()
	} else {
		s.after(s.lag, do)
	}
}

// live sends something of the live stream to the reader.
func (s *sim) live(e *simEpoch, lossy float64, do func()) {
	if s.away {
		return
	}
	known := s.m.find(e.id) != nil
	switch {
	case !s.calm && s.chance(lossy):
		return
	case !s.calm && known && s.chance(0.03):
		s.after(s.lag+s.between(0, 30*time.Millisecond), do) // overtaken
	default:
		s.queued(do)
	}
	if !s.calm && s.chance(0.03) {
		s.after(s.lag+s.between(0, 30*time.Millisecond), do) // again
	}
}

func (s *sim) heartbeat(e *simEpoch, lossy float64) {
	next, hash := e.sent, e.hash
	s.live(e, lossy, func() {
		e.visible = true
		s.m.markHash(e.id, next, hash)
		s.pumpSoon()
	})
}

// hello is the mark of an epoch's beginning, with what it says about the one
// before.
func (s *sim) hello(i int, lossy float64) {
	e := s.epochs[i]
	next := e.sent
	s.live(e, lossy, func() {
		e.visible = true
		s.m.mark(e.id, next)
		if i > 0 && s.epochs[i-1].told {
			p := s.epochs[i-1]
			s.m.follows(e.id, p.id, p.sent, p.hash)
			if s.joined != nil && s.current < i-1 {
				p.visible = true
			}
		}
		s.pumpSoon()
	})
}

// attach makes the reader come now and, where it wants what was before, ask for
// it.
func (s *sim) attach(from bool) {
	s.away = false
	if !from || len(s.epochs) == 0 {
		return
	}
	s.m.wait()
	s.after(s.between(0, 40*time.Millisecond), func() {
		i := s.rng.IntN(len(s.epochs))
		var starts []start
		var older []wire.Epoch
		for _, e := range s.epochs[:i] {
			older = append(older, e.id)
		}
		for n, e := range s.epochs[i:] {
			at := start{epoch: e.id}
			if n == 0 {
				at.from = wire.Seq(s.rng.IntN(int(e.sent) + 1))
				s.asked = &at
			} else if i+n == len(s.epochs)-1 && s.chance(0.3) && !s.calm {
				break // the server does not know of it yet
			}
			e.visible = true
			starts = append(starts, at)
		}
		s.m.open(starts, older)
		s.pumpSoon()
	})
}

func (s *sim) endMark(e *simEpoch) {
	if s.away {
		return
	}
	s.queued(func() {
		e.visible = true
		s.m.markHash(e.id, e.sent, e.hash)
		s.m.finish(e.id, e.sent, e.early)
		s.pumpSoon()
	})
}
