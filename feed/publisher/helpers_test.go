package publisher

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

const anyPort = "tcp://127.0.0.1:*"

// open makes a publisher that is closed at the test's end. It has nothing to say by
// itself, however long the test takes, unless the test says when.
func open(t testing.TB, cfg Config) *Publisher {
	t.Helper()
	if cfg.Endpoints == nil {
		cfg.Endpoints = []string{anyPort}
	}
	if cfg.Heartbeat == 0 && cfg.Now == nil {
		cfg.Heartbeat = time.Hour
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// makeBatch returns a batch of records outside the Go heap, about size bytes of
// payload, and how many it has.
func makeBatch(t testing.TB, size int) *wire.Batch {
	t.Helper()
	f := wire.Fields{Topic: []byte("TEST"), Body: make([]byte, max(min(size, 1000)-30, 1)), Event: 1, Receive: 2}
	var payload []byte
	count := uint32(0)
	for len(payload) < size {
		var err error
		if payload, err = wire.AppendRecord(payload, &f); err != nil {
			t.Fatal(err)
		}
		f.TopicSeq++
		count++
	}
	memory, err := unix.Mmap(-1, 0, len(payload), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(memory) })
	copy(memory, payload)
	b := &wire.Batch{Payload: memory}
	b.Count, b.CRC = count, wire.CRC(payload, nil)
	return b
}

// lender counts what is lent and what comes back.
type lender struct{ lent, back int }

// loanNote is one loan. It must come back once.
type loanNote struct {
	t    testing.TB
	of   *lender
	back bool
}

func (l *lender) lend(t testing.TB) *loanNote {
	l.lent++
	return &loanNote{t: t, of: l}
}

func (n *loanNote) Release() {
	if n.back {
		n.t.Error("bytes were given back twice")
	}
	n.back = true
	n.of.back++
}

// gate is a subscriber's handler that waits at a gate before each batch, and
// says when it has taken one.
type gate struct {
	open  chan struct{} // closed: batches pass
	taken chan uint32   // if there is one: gets the records of each batch

	mu       sync.Mutex
	sessions int
	gaps     uint64
	bad      error
}

func openGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) HandleBatch(b *wire.Batch, _ uint32) error {
	<-g.open
	err := b.Check()
	if g.taken != nil {
		g.taken <- b.Count
	}
	return err
}

func (g *gate) HandleGap(_ int, _ wire.Epoch, from, to wire.Seq) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gaps += uint64(to - from)
}

func (g *gate) HandleSession(_ int, _ wire.Epoch, s *wire.Session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sessions++
	if s.Publisher != "test" {
		g.bad = errors.New("session of " + s.Publisher)
	}
}

func (g *gate) HandleEnd(int, wire.Epoch, bool) {}

// subReader is a subscriber that runs.
type subReader struct {
	*subscriber.Subscriber
	done chan error
	stop context.CancelFunc
}

func subscribe(t testing.TB, p *Publisher, cfg subscriber.Config, h subscriber.Handler) *subReader {
	t.Helper()
	cfg.Endpoints = p.Endpoints()
	s, err := subscriber.New(cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &subReader{Subscriber: s, done: make(chan error, 1), stop: cancel}
	go func() { r.done <- s.Run(ctx) }()
	return r
}

// raw is a SUB socket of one shard that does what the test says.
type raw struct {
	t testing.TB
	*zsock.Socket
	poller *zsock.Poller
}

func connect(t testing.TB, endpoint string, typ zsock.Type) *raw {
	t.Helper()
	return connectQueue(t, endpoint, typ, 0)
}

// connectQueue is connect with a receive queue of some messages.
func connectQueue(t testing.TB, endpoint string, typ zsock.Type, queue int) *raw {
	t.Helper()
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ctx.NewSocket(typ, zsock.SocketConfig{
		RecvTimeout: zsock.Forever, SendTimeout: zsock.Forever, Linger: time.Second, ReceiveQueue: queue,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), ctx.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := s.Connect(endpoint); err != nil {
		t.Fatal(err)
	}
	return &raw{t, s, zsock.NewPoller(s)}
}

func (r *raw) subscribe(topics ...string) {
	r.t.Helper()
	for _, topic := range topics {
		if err := r.Subscribe(topic); err != nil {
			r.t.Fatal(err)
		}
	}
}

// readable reports whether a message waits.
func (r *raw) readable() bool {
	ready, err := r.poller.Wait(nil, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return len(ready) > 0
}

// next returns the next message's header.
func (r *raw) next() wire.Header {
	r.t.Helper()
	frames, err := r.RecvFrames()
	if err != nil {
		r.t.Fatal(err)
	}
	frames = append(frames, nil)
	b, err := wire.ParseBatch(frames[0], frames[1], nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return b.Header
}

// fill sends on shard 0 until every queue up to a reader that takes nothing is full.
// A send that is not through after a while may only be slow; several are not.
func fill(t testing.TB, p *Publisher, batch *wire.Batch, loans *lender) {
	t.Helper()
	for failed := 0; failed < 5; failed++ {
		var done Releaser
		if loans != nil {
			done = loans.lend(t)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := p.Send(ctx, 0, batch, done)
		cancel()
		if err == nil {
			failed = -1
		} else if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
}

// until ticks the publisher until something is so.
func until(t testing.TB, p *Publisher, so func() bool) {
	t.Helper()
	for !so() {
		if err := errors.Join(p.Tick(t.Context()), p.listen(t.Context(), time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
}
