package publisher

import (
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/wire"
)

const (
	// lookEvery is how long the connections of a shard are left alone at least.
	lookEvery = 100 * time.Millisecond
	// lookShare bounds what looking at them costs: of a shard's time, one part in
	// so many.
	lookShare = 100
)

// watch is what a shard knows of the connections of its readers. Whoever holds the
// shard holds it.
type watch struct {
	lines map[int]*zsock.Connection // by descriptor
	next  time.Time                 // when they are looked at again
}

// steady is the wall clock as it was when the publisher began, and what has passed
// since: a clock that is set makes no reader a snail.
func (p *Publisher) steady() wire.Nanos {
	return p.began.wall + wire.Nanos(time.Since(p.began.at))
}

// line returns the connection that a frame came over, and whether it was unknown.
// It is nil where the transport has none, or it is gone.
func (w *watch) line(from zsock.Peer) (c *zsock.Connection, fresh bool) {
	if from.FD == zsock.NoFD {
		return nil, false
	}
	if c := w.lines[from.FD]; c != nil && c.Stands() {
		return c, false
	}
	c, err := zsock.OpenConnection(from)
	if err != nil {
		return nil, false
	}
	if w.lines == nil {
		w.lines = map[int]*zsock.Connection{}
	}
	w.lines[from.FD] = c
	return c, true
}

// join takes note of a reader on a shard: of one that has said who it is, and, by
// its connection alone, of one that has not.
func (p *Publisher) join(s *shard, id wire.ReaderID, name string, from zsock.Peer) {
	c, fresh := s.watch.line(from)
	named, peer := id != (wire.ReaderID{}), ""
	switch {
	case c != nil:
		peer = c.Remote()
	case !named:
		return
	}
	if !named && !fresh {
		return // who it is is known, or that it does not say so
	}
	if !p.registry.Join(p.steady(), id, name, s.number, peer) {
		delete(s.watch.lines, from.FD)
	}
}

// report takes in what a reader says of itself, and reports whether it makes sense.
func (p *Publisher) report(s *shard, frame []byte) bool {
	id, r, ok := wire.ParseReaderReport(frame)
	if !ok {
		return false
	}
	v, err := snail.ParseVerdict(r.Verdict)
	if err != nil {
		return false
	}
	s.count.Reports++
	p.squawk(p.registry.Report(p.steady(), id, s.number, r.Lag, r.Lost, v))
	return true
}

// look asks the kernel which readers of the shard take what is sent to them, where
// it is time to. BenchmarkLook says what it costs.
func (p *Publisher) look(s *shard) {
	w := &s.watch
	if len(w.lines) == 0 {
		return
	}
	start := time.Now()
	if start.Before(w.next) {
		return
	}
	now := p.steady()
	for fd, c := range w.lines {
		q, err := c.Queue()
		if err != nil {
			delete(w.lines, fd)
			p.squawk(p.registry.LeavePeer(now, s.number, c.Remote()))
			continue
		}
		p.squawk(p.registry.Observe(now, s.number, c.Remote(), q.Queued, q.Taken))
	}
	w.next = start.Add(max(lookEvery, lookShare*time.Since(start)))
}

// squawk tells everybody who listens that a reader's verdict has changed, if it has.
func (p *Publisher) squawk(q snail.Squawk, changed bool) {
	if changed {
		p.tell(q) // on its own, since there q is moved to the heap
	}
}

func (p *Publisher) tell(q snail.Squawk) {
	if p.cfg.Squawk != nil {
		p.cfg.Squawk(q)
	}
	// After the end nobody listens any more; else it fails for no squawk.
	_ = p.Notice(wire.SquawkTopic, q.AppendJSON(nil))
}

// ReaderList returns everybody who reads, with what each says of itself and what
// its connections' queues say. Any goroutine may call it.
func (p *Publisher) ReaderList() []snail.Reader { return p.registry.List() }
