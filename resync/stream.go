package resync

import (
	"context"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// stream is one request that runs at one server: what has arrived for it and
// was not taken yet. The Client fills it, one goroutine takes from it.
type stream struct {
	client *Client
	id     RequestID
	server int
	want   Command       // what its messages are
	span   Span          // of a refill: what is asked for
	asked  uint64        // of a refill: its id at a machine
	ready  chan struct{} // something has arrived, or it is over

	// Guarded by the Client's lock.
	queue   []*zsock.Message
	queued  int64 // bytes granted and used, by what is queued or in hand
	over    bool  // nothing more comes: end or err
	end     *End
	err     error
	heard   time.Time
	brought time.Time // something other than a pong came, or what had come was taken
	pinged  time.Time

	// Of the goroutine that takes.
	current *zsock.Message
	used    int64 // bytes taken and not granted again
	digest  Digest
	next    wire.Seq   // of a refill: expected next
	batch   wire.Batch // of a refill: at hand
}

func (s *stream) wake() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// state is what a stream has to say.
type state uint8

const (
	waiting   state = iota // nothing has arrived
	something              // a message, at hand until the next call
	through                // everything has been taken; the end is s.end
	broken                 // the error is s.err
)

// take gives the message at hand back, and what it took of the window with it, and
// takes the next one. It never waits.
func (s *stream) take() state {
	c := s.client
	c.mu.Lock()
	defer c.mu.Unlock()
	s.giveBack()
	if len(s.queue) == 0 {
		switch {
		case !s.over:
			return waiting
		case s.err != nil:
			return broken
		}
		return through
	}
	s.current = s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	if len(s.queue) == 0 {
		s.queue = nil
	}
	return something
}

// arrived reports whether there is something to take.
func (s *stream) arrived() bool {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	return len(s.queue) > 0 || s.over
}

// giveBack lets go of the message at hand. What was used up of the window is
// granted again a quarter at a time. c.mu is held.
func (s *stream) giveBack() {
	m := s.current
	if m == nil {
		return
	}
	size := int64(len(m.Frame(1)) + len(m.Frame(2)))
	s.used += size
	s.current = nil
	c := s.client
	s.brought = c.now()
	c.recycle(m)
	if s.over || s.used < c.cfg.WindowBytes/4 {
		return
	}
	c.sendLocked(s.server, grant(s.id, uint64(s.used)))
	s.queued -= s.used
	s.used = 0
}

// await takes the next message, waiting for it until the context ends.
func (s *stream) await(ctx context.Context) (state, error) {
	for {
		if st := s.take(); st != waiting {
			return st, nil
		}
		if w := s.client.world; w != nil {
			w.Sleep(-1, func() bool { return len(s.ready) > 0 })
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return broken, context.Cause(ctx)
		}
	}
}

// cancel ends a request that still runs. What has arrived stays, until close. Any
// goroutine may call it.
func (s *stream) cancel() {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	s.cancelLocked()
}

func (s *stream) cancelLocked() {
	if c := s.client; !s.over {
		c.sendLocked(s.server, AppendCancel(nil, s.id))
		c.finish(s, nil, ErrClosed)
	}
}

// close lets go of everything; a request that still runs is cancelled. Only the goroutine
// that takes calls it.
func (s *stream) close() {
	c := s.client
	c.mu.Lock()
	defer c.mu.Unlock()
	s.cancelLocked()
	s.giveBack()
	for _, m := range s.queue {
		c.recycle(m)
	}
	s.queue = nil
}

// chunk is the message at hand as a chunk of the refill: in sequence, of the epoch
// and shard that were asked for, with records as the format says. The batch is borrowed
// until the next call of take.
func (s *stream) chunk() (*wire.Batch, error) {
	m, b := s.current, &s.batch
	var err error
	if _, *b, err = ParseChunk(m.Frame(0), m.Frame(1), m.Frame(2)); err != nil {
		return nil, err
	}
	if b.Epoch != s.span.Epoch || int(b.Shard) != s.span.Shard || b.FirstSeq != s.next || b.Next() > s.span.To {
		return nil, bad(reasonStray)
	}
	if err := b.Check(); err != nil {
		return nil, err
	}
	s.digest.Add(b.Count, b.CRC, len(b.Payload)+len(b.Order))
	s.next = b.Next()
	return b, nil
}

// checked compares the end with what has come.
func (s *stream) checked() error {
	if s.end.Digest != s.digest {
		return ErrDigest
	}
	return nil
}

// refill asks a server for a span.
func (c *Client) refill(server int, span Span) *stream {
	s := c.begin(server, CommandChunk, func(id RequestID) ([][]byte, error) {
		return [][]byte{AppendRefill(nil, &RefillRequest{ID: id, Span: span, Credit: uint64(c.cfg.WindowBytes),
			Deadline: c.cfg.Deadline, ChunkBytes: uint32(c.cfg.ChunkBytes)})}, nil
	})
	s.next, s.span = span.From, span
	return s
}
