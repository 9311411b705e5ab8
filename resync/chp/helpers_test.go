package chp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const anyPort = "tcp://127.0.0.1:*"

// running is a server that runs.
type running struct {
	*Server
	stop func()
}

// clock is a server's or a client's time: it goes on by itself, and a test puts
// it forward. No test depends on how long anything takes: what is to be too late
// is so by hours, and everything else has hours.
type clock struct {
	looks atomic.Int64
	ahead atomic.Int64
}

func (k *clock) now() time.Time {
	k.looks.Add(1)
	return time.Now().Add(time.Duration(k.ahead.Load()))
}

func (k *clock) forward(d time.Duration) { k.ahead.Add(int64(d)) }

// pass puts a client's clock forward and returns when the client has done what it
// does at that time.
func (k *clock) pass(t testing.TB, c *Client, d time.Duration) {
	t.Helper()
	k.forward(d)
	was := k.looks.Load()
	// A look before it waits, one as it begins a step, one after the step.
	until(t, "the client looks at its clock", func() bool {
		c.mu.Lock()
		c.wakeLocked()
		c.mu.Unlock()
		return k.looks.Load() >= was+3
	})
}

// open opens a server, at wildcard ports unless the configuration has others.
func open(t testing.TB, cfg Config) *Server {
	t.Helper()
	if cfg.Updates == "" {
		cfg.Snapshot, cfg.Updates, cfg.Collector = anyPort, anyPort, anyPort
	}
	s, err := NewServer(cfg)
	if errors.Is(err, syscall.EADDRINUSE) {
		// A server that starts again wants the ports that it had. Somebody else's
		// wildcard may have got one meanwhile, for as long as his test takes.
		until(t, "the ports are free", func() bool {
			s, err = NewServer(cfg)
			return !errors.Is(err, syscall.EADDRINUSE)
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve opens and runs a server; it is stopped at the test's end, or before by
// stop.
func serve(t testing.TB, cfg Config) *running {
	t.Helper()
	return run(t, open(t, cfg))
}

// serveBy is serve with a clock.
func serveBy(t testing.TB, k *clock, cfg Config) *running {
	t.Helper()
	s := open(t, cfg)
	s.now = k.now
	return run(t, s)
}

func run(t testing.TB, s *Server) *running {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	r := &running{Server: s}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// set changes the server's table.
func (r *running) set(t testing.TB, key, value string) uint64 {
	t.Helper()
	n, err := r.Set([]byte(key), nil, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// attach runs a client, to which no server is dead unless the test says after
// how long; it is stopped at the test's end, or before by stop.
func attach(t testing.TB, cfg ClientConfig, subtree string, servers ...Endpoints) (c *Client, stop func()) {
	t.Helper()
	return attachBy(t, time.Now, cfg, subtree, servers...)
}

// attachBy is attach with a clock.
func attachBy(t testing.TB, now func() time.Time, cfg ClientConfig, subtree string, servers ...Endpoints) (c *Client, stop func()) {
	t.Helper()
	if cfg.Silence == 0 {
		cfg.Silence = time.Hour
	}
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c, start(t, c, now, subtree, servers...)
}

func start(t testing.TB, c *Client, now func() time.Time, subtree string, servers ...Endpoints) (stop func()) {
	t.Helper()
	c.now = now
	if err := c.Subtree(subtree); err != nil {
		t.Fatal(err)
	}
	for _, s := range servers {
		if err := c.Connect(s); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// active waits until the client has the table.
func active(t testing.TB, c *Client) {
	t.Helper()
	if err := c.WaitActive(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// follow gives every change of a client to a channel.
func follow(t testing.TB, c *Client, prefix string) <-chan Change {
	ch := make(chan Change, 1<<17)
	t.Cleanup(c.Watch(prefix, func(x Change) { ch <- x }))
	return ch
}

// await takes changes until one of the key has the value; an empty value means
// that the key is deleted.
func await(t testing.TB, ch <-chan Change, key, value string) Change {
	t.Helper()
	for {
		select {
		case x := <-ch:
			if string(x.Key) == key && string(x.Value) == value && x.Deleted == (value == "") {
				return x
			}
		case <-t.Context().Done():
			t.Fatalf("%s did not become %q", key, value)
		}
	}
}

// until waits for a condition that no event tells.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("never: " + what)
		}
	}
}

// contents are a client's entries.
func contents(c *Client) map[string]string {
	m := map[string]string{}
	for e := range c.Each("") {
		m[string(e.Key)] = string(e.Value)
	}
	return m
}

// plain is a client written from the guide's text and CHP alone: raw frames, no
// code of this package, libzmq's default queues. It buffers nothing: as in the
// guide, updates stay in the SUB socket's queue until the snapshot is there.
type plain struct {
	t                            testing.TB
	form                         int // frames of a message
	ctx                          *zsock.Context
	snapshot, updates, collector *zsock.Socket
	table                        map[string]string
	props                        map[string]string
	sequence                     uint64
}

func newPlain(t testing.TB, at Endpoints, form int, prefixes ...string) *plain {
	t.Helper()
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	p := &plain{t: t, form: form, ctx: ctx, table: map[string]string{}, props: map[string]string{}}
	open := func(kind zsock.Type, endpoint string, queue int) *zsock.Socket {
		s, err := ctx.NewSocket(kind, zsock.SocketConfig{RecvTimeout: zsock.Forever, SendTimeout: zsock.Forever, SendQueue: queue})
		if err == nil && endpoint != "" {
			err = s.Connect(endpoint)
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	p.updates = open(zsock.SUB, at.Updates, 0)
	for _, prefix := range prefixes {
		if err := p.updates.Subscribe(prefix); err != nil {
			t.Fatal(err)
		}
	}
	p.snapshot = open(zsock.DEALER, at.Snapshot, 0)
	p.collector = open(zsock.PUB, at.Collector, -1) // or it drops what a test sends at once
	t.Cleanup(p.close)
	return p
}

func (p *plain) close() {
	if p.ctx == nil {
		return
	}
	if err := errors.Join(p.snapshot.Close(), p.updates.Close(), p.collector.Close(), p.ctx.Close()); err != nil {
		p.t.Error(err)
	}
	p.ctx = nil
}

// recv receives a message and holds it to the form.
func (p *plain) recv(s *zsock.Socket) (key string, sequence uint64, props, value string) {
	p.t.Helper()
	frames, err := s.RecvFrames()
	if err != nil || len(frames) != p.form || len(frames[1]) != 8 {
		p.t.Fatalf("got %q, %v", frames, err)
	}
	if p.form == 5 {
		if n := len(frames[2]); n != 0 && n != 16 {
			p.t.Fatalf("UUID of %d bytes", n)
		}
		props = string(frames[3])
	}
	return string(frames[0]), binary.BigEndian.Uint64(frames[1]), props, string(frames[len(frames)-1])
}

// request asks for a snapshot.
func (p *plain) request(frames ...string) {
	p.t.Helper()
	var b [][]byte
	for _, f := range frames {
		b = append(b, []byte(f))
	}
	if err := p.snapshot.SendFrames(b...); err != nil {
		p.t.Fatal(err)
	}
}

// receive takes a snapshot and returns how many entries it had.
func (p *plain) receive() (entries int) {
	p.t.Helper()
	for ; ; entries++ {
		key, sequence, props, value := p.recv(p.snapshot)
		if key == "KTHXBAI" {
			p.sequence = sequence
			p.props["KTHXBAI"] = props
			return entries
		}
		p.table[key], p.props[key] = value, props
	}
}

// next takes the next update that is newer than what the table has, and says its
// key.
func (p *plain) next() string {
	p.t.Helper()
	for {
		key, sequence, props, value := p.recv(p.updates)
		if sequence <= p.sequence {
			continue // also HUGZ
		}
		p.sequence = sequence
		p.props[key] = props
		if value == "" {
			delete(p.table, key)
		} else {
			p.table[key] = value
		}
		return key
	}
}

// join waits until the subscription is in force: a sign of life comes over it.
func (p *plain) join() {
	p.t.Helper()
	for key := ""; key != "HUGZ"; key, _, _, _ = p.recv(p.updates) {
	}
}

// reach waits until changes reach the server: a PUB socket drops them while it
// connects. The server refuses and counts what this sends.
func (p *plain) reach(s *running) {
	p.t.Helper()
	was := s.Stats().SetsBad
	until(p.t, "changes reach the server", func() bool {
		p.kvset("HUGZ", "", "", "no key")
		return s.Stats().SetsBad > was
	})
}

// kvset sends a change.
func (p *plain) kvset(key, uuid, props, value string) {
	p.t.Helper()
	frames := [][]byte{[]byte(key), make([]byte, 8), []byte(uuid), []byte(props), []byte(value)}
	if p.form == 3 {
		frames = [][]byte{[]byte(key), make([]byte, 8), []byte(value)}
	}
	if err := p.collector.SendFrames(frames...); err != nil {
		p.t.Fatal(err)
	}
}

// memory is a Store whose entries are in a map.
type memory struct {
	mu       sync.Mutex
	entries  map[string]Entry
	sequence uint64
	captures int
	fail     error // of the capture
	failAt   int   // entries after which Next fails; 0: never
}

func (m *memory) put(key, value string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sequence++
	if m.entries == nil {
		m.entries = map[string]Entry{}
	}
	m.entries[key] = Entry{Key: []byte(key), Sequence: m.sequence, Value: []byte(value)}
	return m.sequence
}

// skip leaves sequences out.
func (m *memory) skip(n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sequence += n
}

func (m *memory) Capture(subtree []byte) (Capture, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.captures++
	if m.fail != nil {
		return nil, m.fail
	}
	c := &memoryCapture{sequence: m.sequence, failAt: m.failAt}
	for _, e := range m.entries {
		if bytes.HasPrefix(e.Key, subtree) {
			c.entries = append(c.entries, e)
		}
	}
	return c, nil
}

type memoryCapture struct {
	entries  []Entry
	sequence uint64
	given    int
	failAt   int
	err      error
	closed   bool
}

func (c *memoryCapture) Sequence() uint64 { return c.sequence }

func (c *memoryCapture) Next() (Entry, bool) {
	if c.closed {
		panic("next of a closed capture")
	}
	if c.failAt > 0 && c.given == c.failAt {
		c.err = errors.New("disk on fire")
		return Entry{}, false
	}
	if c.given == len(c.entries) {
		return Entry{}, false
	}
	c.given++
	return c.entries[c.given-1], true
}

func (c *memoryCapture) Err() error { return c.err }

func (c *memoryCapture) Close() {
	if c.closed {
		panic("capture closed twice")
	}
	c.closed = true
}

func numbered(prefix string, n int) string { return fmt.Sprintf("%s%06d", prefix, n) }
