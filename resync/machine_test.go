package resync

import (
	"container/heap"
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

var (
	seeds = flag.Int("seeds", 3000, "how many simulations TestMachineSettles runs")
	seed  = flag.Uint64("seed", 0, "the one seed to run; 0: all")
)

func newSim(t testing.TB, seed uint64) *sim {
	s := &sim{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 5))}
	for range 1 + s.rng.IntN(3) {
		s.servers = append(s.servers, &simServer{holes: map[wire.Epoch][]Span{}, running: map[uint64]int{}, lag: wire.Seq(s.rng.IntN(60))})
	}
	if s.chance(0.3) {
		s.lag = s.between(0, 50*time.Millisecond)
	}
	hold := []int64{2000, 20_000, 1 << 20}[s.rng.IntN(3)]
	s.m = newMachine(0, machineConfig{servers: len(s.servers), holdBytes: hold, attempts: 1000,
		backoff: 5 * time.Millisecond, backoffTo: 100 * time.Millisecond, patience: 200 * time.Millisecond, seed: seed})
	return s
}

// publish sends all epochs, with all that can go wrong.
func (s *sim) publish() {
	at := time.Duration(0)
	epochs := 1 + s.rng.IntN(4)
	for i := range epochs {
		e := &simEpoch{id: wire.Epoch(100 + s.rng.IntN(50) + 50*i)}
		s.after(at, func() {
			s.epochs = append(s.epochs, e)
			for _, srv := range s.servers {
				s.dig(srv, e)
			}
			s.hello(i, 0.3)
		})
		var cut time.Duration // the reader is cut off until then
		for range s.rng.IntN(120) {
			at += s.between(0, 3*time.Millisecond)
			if s.chance(0.02) {
				cut = at + s.between(0, 100*time.Millisecond)
			}
			lossy := 0.03
			if at < cut {
				lossy = 1
			}
			switch {
			case s.chance(0.1):
				s.after(at, func() { s.heartbeat(e, lossy) })
			case s.chance(0.03):
				s.after(at, func() { s.hello(i, lossy) })
			default:
				s.after(at, func() { s.send(e, lossy) })
			}
		}
		last := i == epochs-1
		marked, told, lossy := s.chance(0.5) || last, s.chance(0.6), []float64{0, 0.5, 1}[s.rng.IntN(3)]
		s.after(at, func() {
			e.closed, e.early = true, s.chance(0.1)
			if marked && (last || !s.chance(lossy)) {
				e.marked = true
				if !last {
					s.endMark(e)
				}
			} else {
				e.told = told
			}
		})
	}
	if s.chance(0.4) {
		s.away = true
		s.after(s.between(0, at), func() { s.attach(s.chance(0.7)) })
	}
	// In the end the network is good again, and the publisher repeats its end
	// mark.
	s.after(at+40*time.Millisecond, func() {
		s.calm = true
		for _, srv := range s.servers {
			srv.down = false
		}
		s.hello(len(s.epochs)-1, 0)
		s.endMark(s.epochs[len(s.epochs)-1])
	})
	for _, srv := range s.servers {
		for range s.rng.IntN(3) {
			s.after(s.between(0, at), func() { srv.down = !s.calm; srv.starts++ })
			s.after(s.between(0, at), func() { srv.down = false; srv.starts++ })
		}
	}
}

// dig makes holes in what a server has of an epoch.
func (s *sim) dig(srv *simServer, e *simEpoch) {
	at := wire.Seq(s.rng.IntN(100))
	for range s.rng.IntN(3) {
		to := at + 1 + wire.Seq(s.rng.IntN(50))
		srv.holes[e.id] = append(srv.holes[e.id], Span{Epoch: e.id, From: at, To: to})
		at = to + wire.Seq(s.rng.IntN(100)) + 1
	}
}

func (s *sim) send(e *simEpoch, lossy float64) {
	b := s.records(e.id, e.sent, 1+s.rng.IntN(8))
	b.Hash = e.hash
	e.hash = e.hash.Roll(b.Count, b.CRC)
	e.sent = b.Next()
	s.live(e, lossy, func() {
		e.visible = true
		s.arrive(b, false)
	})
}

func (s *sim) run() {
	for s.queue.Len() > 0 {
		ev := heap.Pop(&s.queue).(simEvent)
		s.now = ev.at
		ev.do()
		if s.now > time.Hour {
			s.fail("does not settle")
		}
	}
}

// had reports whether a server has a record.
func (s *sim) had(srv *simServer, id wire.Epoch, seq wire.Seq) bool {
	for _, h := range srv.holes[id] {
		if seq >= h.From && seq < h.To {
			return false
		}
	}
	return true
}

// check holds the properties when all has settled.
func (s *sim) check() {
	if s.joined == nil {
		s.fail("nothing was begun")
	}
	if s.m.held != 0 || !s.m.idle() {
		s.fail("holds %d bytes, idle %v", s.m.held, s.m.idle())
	}
	for i, e := range s.epochs {
		if !e.begun {
			if i > s.current {
				s.fail("epoch %d was not begun", e.id)
			}
			continue
		}
		if e.pos > e.sent {
			s.fail("epoch %d: %d of %d", e.id, e.pos, e.sent)
		}
		if e != s.joined && e.began != 0 {
			s.fail("epoch %d begun at %d", e.id, e.began)
		}
		if e.pos < e.sent && !e.broken {
			s.fail("epoch %d: only %d of %d, and nobody was told", e.id, e.pos, e.sent)
		}
		for _, l := range e.lost {
			for seq := l.From; seq < l.To; seq++ {
				for n, srv := range s.servers {
					if s.had(srv, e.id, seq) {
						s.fail("epoch %d of %d: %d of %v was given up, server %d had it: %v, %v", e.id, e.sent, seq, e.lost, n, srv.holes[e.id], s.servers)
					}
				}
			}
		}
		whole := len(e.lost) == 0 && (e.began == 0 || s.asked != nil) && !e.early && e.pos == e.sent
		if e.ended && e.complete != whole {
			s.fail("epoch %d: complete is %v, want %v: %+v, asked for %+v, %+v", e.id, e.complete, whole, e, s.asked, s.m.find(e.id))
		}
	}
	if last := s.epochs[len(s.epochs)-1]; !last.ended {
		s.fail("the end was not told")
	}
	by := uint64(0)
	for _, n := range s.m.refilled {
		by += n
	}
	if by != s.m.count.Refilled {
		s.fail("%v refilled by server, %d in all", s.m.refilled, s.m.count.Refilled)
	}
	if s.m.count.Diverged != 0 || s.m.count.Contradicted != 0 {
		s.fail("diverged %d, contradicted %d", s.m.count.Diverged, s.m.count.Contradicted)
	}
}

func TestMachineSettles(t *testing.T) {
	var total Counters
	one := func(n uint64) {
		s := newSim(t, n)
		s.publish()
		s.run()
		s.check()
		total.add(&s.m.count)
	}
	if *seed != 0 {
		one(*seed)
		return
	}
	n := *seeds
	if testing.Short() {
		n /= 10
	}
	for i := range n {
		one(uint64(i) + 1)
	}
	t.Logf("%d simulations: %+v", n, total)
	for name, c := range map[string]uint64{
		"gaps": total.Gaps, "healed": total.Healed, "retries": total.Retries, "refilled": total.Refilled, "held": total.Held,
		"evicted": total.Evicted, "repeated": total.Repeated, "stale": total.Stale, "lost": total.Lost, "broken": total.Broken,
	} {
		if c == 0 {
			t.Errorf("no simulation had anything %s: they prove nothing about it", name)
		}
	}
}
