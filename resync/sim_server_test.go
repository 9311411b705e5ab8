package resync

import (
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

type simServer struct {
	holes   map[wire.Epoch][]Span
	lag     wire.Seq // records that it does not have yet
	down    bool
	running map[uint64]int // requests, by the count of restarts that they began under
	starts  int
}

// network is how long a message takes to or from a server, or false if it is
// lost.
func (s *sim) network() (time.Duration, bool) {
	if !s.calm && s.chance(0.03) {
		return 0, false
	}
	return s.between(0, 3*time.Millisecond), true
}

func (s *sim) request(a action) {
	if a.span.To <= a.span.From || a.span.Epoch == 0 {
		s.fail("asked for %v", a.span)
	}
	srv := s.servers[a.server]
	d, ok := s.network()
	if !ok {
		return
	}
	s.after(d, func() {
		if srv.down {
			return
		}
		srv.running[a.id] = srv.starts
		s.serve(srv, a, a.span.From)
	})
}

// reply does something at the machine, unless it is lost on the way or the request
// is no more.
func (s *sim) reply(do func()) {
	if d, ok := s.network(); ok {
		s.after(d, func() { do(); s.pumpSoon() })
	}
}

// serve sends the chunk that begins at pos, or what ends the request.
func (s *sim) serve(srv *simServer, a action, pos wire.Seq) {
	if start, ok := srv.running[a.id]; !ok || start != srv.starts || srv.down {
		return
	}
	finish := func(do func()) {
		delete(srv.running, a.id)
		s.reply(do)
	}
	e := s.find(a.span.Epoch)
	if !s.calm && s.chance(0.02) {
		finish(func() {
			s.m.failed(s.now, a.id, failure{reason: ReasonFailed, wait: s.between(0, 50*time.Millisecond)})
		})
		return
	}
	have := e.sent
	if !s.calm && !e.closed {
		have = max(have, srv.lag) - srv.lag
	}
	to := min(a.span.To, have)
	for _, hole := range srv.holes[e.id] {
		if hole.To >= have && !e.closed {
			have, to = min(have, hole.From), min(to, hole.From) // nothing behind it yet
		}
		if pos >= hole.From && pos < hole.To {
			if pos >= to {
				break
			}
			skip := hole.To
			if hole.To >= have {
				skip = 0
			}
			finish(func() { s.m.failed(s.now, a.id, failure{reason: ReasonGone, next: pos, skip: skip}) })
			return
		}
		if pos < hole.From {
			to = min(to, hole.From)
		}
	}
	switch {
	case pos < to:
		n := min(int(to-pos), 1+s.rng.IntN(40))
		b := s.records(e.id, pos, n)
		s.chunks++
		if s.calm || !s.chance(0.01) { // a chunk may be lost, and the server knows nothing of it
			d := s.between(0, 2*time.Millisecond)
			s.after(d, func() { s.m.progress(s.now, a.id); s.arrive(b, true) })
			if !s.calm && s.chance(0.02) {
				s.after(d+s.between(0, 10*time.Millisecond), func() { s.arrive(b, true) })
			}
		}
		pause := 2 * time.Millisecond // so that chunks keep their order
		if !s.calm && s.chance(0.03) {
			pause = s.between(0, 400*time.Millisecond)
		}
		s.after(pause, func() { s.serve(srv, a, pos+wire.Seq(n)) })
	case a.span.To == Open:
		known := e.closed && pos >= e.sent
		finish(func() { s.m.done(s.now, a.id, pos, known, true) })
	case pos >= a.span.To:
		finish(func() { s.m.done(s.now, a.id, pos, false, true) })
	default:
		finish(func() { s.m.failed(s.now, a.id, failure{reason: ReasonNotYet}) })
	}
}
