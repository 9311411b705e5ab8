package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

const (
	// barrierSlice is how long who waits for readers does not look at its context.
	barrierSlice = 2 * time.Millisecond
	// barrierWord is how long it waits before it says so, at first.
	barrierWord = 2 * time.Second
	// stepsMax bounds how many readers' steps a shard remembers.
	stepsMax = 1 << 16
)

// ErrBarrier: readers that the publisher waits for have not come, or not handled
// what they were sent, in Config.BarrierTimeout.
var ErrBarrier = errors.New("publisher: in lock-step")

// BarrierError says who is missing. It is an ErrBarrier.
type BarrierError struct {
	Waited time.Duration
	Absent []Absent
}

// Error implements error.
func (e *BarrierError) Error() string {
	list := make([]string, len(e.Absent))
	for i := range e.Absent {
		list[i] = e.Absent[i].String()
	}
	return fmt.Sprintf("%v: waited %v for reader %s", ErrBarrier, e.Waited.Round(time.Millisecond), strings.Join(list, ", and for reader "))
}

// Unwrap returns ErrBarrier.
func (e *BarrierError) Unwrap() error { return ErrBarrier }

// Absent is a reader that is waited for, on one shard.
type Absent struct {
	Name  string
	ID    wire.ReaderID // zero: nobody of that name is there, and Shard means nothing
	Shard int
	Says  bool     // it says what it has handled of the shard
	Next  wire.Seq // where it does: everything before
	Sent  wire.Seq // of the shard: everything before
}

// String says why the reader is waited for.
func (a Absent) String() string {
	switch {
	case a.ID == wire.ReaderID{}:
		return fmt.Sprintf("%q, which is not there", a.Name)
	case !a.Says:
		return fmt.Sprintf("%q, which does not say what it handles of shard %d: is it in lock-step?", a.Name, a.Shard)
	}
	return fmt.Sprintf("%q, which has handled %d of %d records of shard %d", a.Name, a.Next, a.Sent, a.Shard)
}

// barrier is what a publisher in lock-step has beside others.
type barrier struct {
	waiter *zsock.Waiter // of all sockets

	mu     sync.Mutex
	waited time.Duration // before since
	since  time.Time     // when it began to wait; zero: it does not
}

// begin begins to count time as waited for readers.
func (b *barrier) begin(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.since = at
}

// end ends what begin began.
func (b *barrier) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waited, b.since = b.waited+b.waits(), time.Time{}
}

// waits is how long it has been waiting now. b.mu is held.
func (b *barrier) waits() time.Duration {
	if b.since.IsZero() {
		return 0
	}
	return time.Since(b.since)
}

// times are how long it has been waiting in all, and now.
func (b *barrier) times() (all, now time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now = b.waits()
	return b.waited + now, now
}

// fillBarrier checks what Config says of lock-step.
func (cfg *Config) fillBarrier() error {
	cfg.Barrier = slices.Clone(cfg.Barrier)
	for i, name := range cfg.Barrier {
		switch {
		case name == "" || len(name) > wire.ReaderNameMax:
			return fmt.Errorf("publisher: a barrier of reader %q: want a name of 1 to %d bytes", name, wire.ReaderNameMax)
		case slices.Contains(cfg.Barrier[:i], name):
			return fmt.Errorf("publisher: the barrier names reader %q twice", name)
		}
	}
	switch {
	case cfg.BarrierTimeout < 0:
		return errors.New("publisher: a size or time is negative")
	case len(cfg.Barrier) > 0 && cfg.Lossless:
		return errors.New("publisher: in lock-step those that are waited for miss nothing, and nobody else holds the stream up: it is not lossless for all")
	}
	return nil
}

// openBarrier makes what waiting takes.
func (p *Publisher) openBarrier(sockets []*zsock.Socket) (err error) {
	if len(p.cfg.Barrier) > 0 {
		p.barrier.waiter, err = zsock.NewWaiter(sockets...)
	}
	return err
}

// WaitHandled returns when every reader of Config.Barrier is there and has handled
// everything that was sent on every shard. Of several readers with one name all that
// are there must have; one that goes is not waited for while another of its name is
// there. Meanwhile it looks after readers as Tick does. Without a barrier it returns at
// once. The error is the context's, or a *BarrierError.
func (p *Publisher) WaitHandled(ctx context.Context) error {
	if len(p.cfg.Barrier) == 0 {
		return ctx.Err()
	}
	if handled, err := p.hearHandled(ctx); handled || err != nil {
		return err
	}
	start := time.Now()
	p.barrier.begin(start)
	defer p.barrier.end()
	word, probe := barrierWord, helloEvery
	for {
		waited := time.Since(start)
		probes := waited >= probe
		if probes {
			probe += min(probe, p.cfg.Heartbeat)
		}
		if handled, err := p.awaitHandled(ctx, probes); handled || err != nil {
			return err
		}
		if t := p.cfg.BarrierTimeout; t > 0 && waited >= t {
			return &BarrierError{Waited: waited, Absent: p.Absent()}
		}
		if p.cfg.Awaits != nil && waited >= word {
			p.cfg.Awaits(waited, p.Absent())
			word *= 2
		}
	}
}

// hearHandled takes in what readers have said and reports whether all are through.
func (p *Publisher) hearHandled(ctx context.Context) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	p.lock()
	defer p.unlock()
	for _, s := range p.shards {
		if err := p.hear(s); err != nil {
			return false, err
		}
	}
	return p.allHandled(), nil
}

// awaitHandled waits a moment for a word, attends to all shards and reports whether all
// readers are through. With probe it says hello again, to those that have missed it or,
// on a bad network, what came before.
func (p *Publisher) awaitHandled(ctx context.Context, probe bool) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	p.lock()
	defer p.unlock()
	for _, s := range p.shards {
		s.greet = s.greet || probe && p.wantsHello(s)
	}
	var err error
	if p.ready, err = p.barrier.waiter.Wait(p.ready[:0], barrierSlice); err != nil {
		return false, fmt.Errorf("publisher: %w", err)
	}
	for _, s := range p.shards {
		if err := p.attend(s); err != nil {
			return false, err
		}
	}
	return p.allHandled(), nil
}

// allHandled reports whether every reader that is waited for is there and through. The
// caller holds all shards.
func (p *Publisher) allHandled() bool {
	for _, s := range p.shards {
		if p.crowded(s) {
			return false
		}
	}
	through := true
	p.readers.eachAwaited(p.cfg.Barrier, func(_ string, id wire.ReaderID, there bool) bool {
		through = there
		for _, s := range p.shards {
			through = through && s.handled(id)
		}
		return through
	})
	return through
}

// handled reports whether a reader has handled what was sent on the shard, and has had
// its last hello.
func (s *shard) handled(id wire.ReaderID) bool {
	step := s.steps[id]
	return step.Epoch == s.epoch && step.Next >= s.next && step.Hello == s.lastHello
}

// wantsHello reports whether a hello may help the readers that are waited for: one that
// had no room for the last one, or, on a bad network, for anything.
func (p *Publisher) wantsHello(s *shard) bool {
	if p.cfg.Faults != nil {
		return true
	}
	wants := false
	p.readers.eachAwaited(p.cfg.Barrier, func(_ string, id wire.ReaderID, there bool) bool {
		step := s.steps[id]
		wants = there && step.Epoch != 0 && (step.Epoch != s.epoch || step.Hello != s.lastHello)
		return !wants
	})
	return wants
}

// Absent returns who WaitHandled would wait for now. Any goroutine may call it.
func (p *Publisher) Absent() []Absent {
	p.lock()
	defer p.unlock()
	var list []Absent
	p.readers.eachAwaited(p.cfg.Barrier, func(name string, id wire.ReaderID, there bool) bool {
		if !there {
			list = append(list, Absent{Name: name})
			return true
		}
		for i, s := range p.shards {
			if s.handled(id) {
				continue
			}
			step := s.steps[id]
			a := Absent{Name: name, ID: id, Shard: i, Says: step.Epoch != 0, Sent: s.next}
			if step.Epoch == s.epoch {
				a.Next = step.Next
			}
			list = append(list, a)
		}
		return true
	})
	return list
}

// What waits for a reader in the socket's queue, of a bounded length, is what was sent
// behind the latest of two messages that the reader has answered: the last batch, which it
// has handled, and the last hello, whose send time it has said. So a batch has room as long
// as few marks go out behind these: where there are many, another hello goes out, and is
// waited for. Without that a reader that stood still for long, and has its queue full of
// heartbeats, would miss the batch that follows.

// crowded reports whether so many marks went out behind the shard's last batch and hello
// that the next batch may find no room with a reader in lock-step.
func (p *Publisher) crowded(s *shard) bool {
	return len(p.cfg.Barrier) > 0 && s.marks >= queueLength(p.cfg.QueueBytes)/2
}

// keepsBack reports whether a mark must wait: notices may come in any number, and must
// leave the other half of the queue some room.
func (p *Publisher) keepsBack(s *shard, flags wire.HeaderFlags) bool {
	return flags == wire.FlagNotice && len(p.cfg.Barrier) > 0 && s.marks >= queueLength(p.cfg.QueueBytes)*3/4
}

// went takes note that a mark went out, or is on its way.
func (s *shard) went(flags wire.HeaderFlags, at wire.Nanos) {
	s.lastSend = at
	s.marks++
	if flags == wire.FlagHello {
		s.marks, s.lastHello = 0, at
	}
}

// takeStep takes in what a reader says it has handled, or takes back.
func (s *shard) takeStep(frame []byte) {
	id, step, _ := wire.ParseReaderStep(frame)
	known, there := s.steps[id]
	switch {
	case frame[0] == 0 && known == step:
		delete(s.steps, id) // it is gone
	case frame[0] == 0:
	case there || len(s.steps) < stepsMax:
		if s.steps == nil {
			s.steps = map[wire.ReaderID]wire.ReaderStep{}
		}
		s.steps[id] = step
	}
}
