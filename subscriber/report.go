package subscriber

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// reportEvery is how long a report stands where the verdict stays as it is.
const reportEvery = time.Second

// reporting is what a loop has to say about itself, and has said.
type reporting struct {
	mu    sync.Mutex
	next  wire.ReaderReport
	fresh atomic.Bool // next has not been said

	// Of the loop alone.
	topic   string // what is subscribed to
	verdict string // in it
	last    time.Time
}

// Report tells the publisher how this reader fares on a shard. It only takes note
// of it, and any goroutine may call it, also from a Handler: the receive loop says
// it, once the publisher knows this reader, at most once a second unless the verdict
// has changed. A report of no shard of the stream, or with a verdict that is no
// word (see wire.ValidVerdict), is not said.
func (s *Subscriber) Report(shard int, r wire.ReaderReport) {
	if shard < 0 || shard >= len(s.loops) || !wire.ValidVerdict(r.Verdict) {
		return
	}
	p := &s.loops[shard].report
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = r
	p.fresh.Store(true)
}

// send says what is due. It costs a load where nothing is. Whoever hears it always
// has one report: the new one comes before the old one goes.
func (p *reporting) send(l *loop) error {
	if !p.fresh.Load() || !l.ready {
		return nil
	}
	now := time.Now()
	p.mu.Lock()
	r := p.next
	due := r.Verdict != p.verdict || now.Sub(p.last) >= l.sub.reportEvery
	if due {
		p.fresh.Store(false)
	}
	p.mu.Unlock()
	if !due {
		return nil
	}
	topic := r.Topic(l.sub.id)
	if err := l.socket.Subscribe(topic); err != nil {
		return err
	}
	if p.topic != "" {
		if err := l.socket.Unsubscribe(p.topic); err != nil {
			return err
		}
	}
	p.topic, p.verdict, p.last = topic, r.Verdict, now
	return nil
}
