package lvc

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

const anyPort = "tcp://127.0.0.1:*"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open makes a proxy that is closed at the test's end.
func open(t testing.TB, cfg Config) *Proxy {
	t.Helper()
	if cfg.Plain == nil {
		cfg.Plain = []string{anyPort}
	}
	if cfg.Shards == 0 {
		cfg.Shards = 1
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

// running runs a proxy until the test's end.
func running(t testing.TB, p *Proxy) {
	t.Helper()
	ctx := t.Context()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() { <-done }) // the context ends before
}

// source makes batches of one shard of a stream.
type source struct {
	shard, shards uint16
	epoch         wire.Epoch
	next          wire.Seq
	topics        map[string]uint32
	records       []wire.Fields
}

func newSource() *source {
	return &source{shards: 1, epoch: 7, topics: map[string]uint32{}}
}

func (s *source) add(topic string, kind wire.Kind, body string) *source {
	s.records = append(s.records, wire.Fields{
		Topic: []byte(topic), Body: []byte(body), Kind: kind, TopicSeq: s.topics[topic], Event: 5, Receive: 9,
	})
	s.topics[topic]++
	return s
}

// batch returns what was added as a batch.
func (s *source) batch(flags wire.HeaderFlags) *wire.Batch {
	b := &wire.Batch{Header: wire.Header{
		Epoch: s.epoch, FirstSeq: s.next, Shard: s.shard, Shards: s.shards, Count: uint32(len(s.records)), Flags: flags, Send: 77,
	}}
	for i := range s.records {
		var err error
		if b.Payload, err = wire.AppendRecord(b.Payload, &s.records[i]); err != nil {
			panic(err)
		}
	}
	b.PayloadSize, b.CRC = uint32(len(b.Payload)), wire.CRC(b.Payload, nil)
	s.next += wire.Seq(len(s.records))
	s.records = s.records[:0]
	return b
}

// send hands what was added to the proxy.
func (s *source) send(t testing.TB, p *Proxy) {
	t.Helper()
	if err := p.HandleBatch(s.batch(0), 0); err != nil {
		t.Fatal(err)
	}
}

// one sends one record.
func (s *source) one(t testing.TB, p *Proxy, topic, body string) {
	t.Helper()
	s.add(topic, wire.KindQuote, body).send(t, p)
}

// client is a SUB socket of libzmq.
type client struct {
	t *testing.T
	s *zsock.Socket
}

func (c *client) do(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// clients makes SUB sockets that are closed at the test's end.
func clients(t *testing.T) func(p *Proxy, topics ...string) *client { return lockedClients(t, nil) }

// lockedClients is clients with keys.
func lockedClients(t *testing.T, l *zsock.Lock) func(p *Proxy, topics ...string) *client {
	t.Helper()
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	ctx.SetLock(l)
	var open []*client
	t.Cleanup(func() {
		for _, c := range open {
			if c.s != nil {
				c.do(c.s.Close())
			}
		}
		if err := ctx.Close(); err != nil {
			t.Error(err)
		}
	})
	return func(p *Proxy, topics ...string) *client {
		t.Helper()
		s, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{RecvTimeout: zsock.Forever, ReceiveQueue: -1})
		if err != nil {
			t.Fatal(err)
		}
		c := &client{t: t, s: s}
		open = append(open, c)
		c.do(s.Connect(p.Endpoints()[0]))
		for _, topic := range topics {
			c.do(s.Subscribe(topic))
		}
		return c
	}
}

// got is an entry as a client sees it.
type got struct {
	topic string
	h     wire.Plain
	body  string
}

func (g got) String() string {
	return fmt.Sprintf("%s=%s seq=%d flags=%d kind=%v", g.topic, g.body, g.h.Seq, g.h.Flags, g.h.Kind)
}

func parse(frames [][]byte) ([]got, error) {
	if len(frames) == 0 || len(frames)%3 != 0 {
		return nil, fmt.Errorf("message of %d frames", len(frames))
	}
	var list []got
	for f := range slices.Chunk(frames, 3) {
		h, err := wire.ParsePlain(f[1])
		if err != nil {
			return nil, err
		}
		list = append(list, got{string(f[0]), h, string(f[2])})
	}
	return list, nil
}

// next is the next message.
func (c *client) next() []got {
	c.t.Helper()
	frames, err := c.s.RecvFrames()
	c.do(err)
	list, err := parse(frames)
	c.do(err)
	return list
}

// answer is the next message, which must be a whole answer: its entries by topic.
func (c *client) answer() map[string]got {
	c.t.Helper()
	list := c.next()
	m := map[string]got{}
	for i, g := range list {
		last := i == len(list)-1
		if g.h.Flags&wire.PlainSnapshot == 0 || g.h.Flags&wire.PlainLast != 0 != last || int(g.h.Place) != i {
			c.t.Fatalf("entry %d of %d: %v", i, len(list), g)
		}
		if g.h.Flags&wire.PlainEmpty != 0 {
			if len(list) != 1 || g.body != "" {
				c.t.Fatalf("an empty answer of %d entries: %v", len(list), g)
			}
			continue
		}
		if _, twice := m[g.topic]; twice {
			c.t.Fatalf("%s is in the answer twice", g.topic)
		}
		m[g.topic] = g
	}
	return m
}

// answers holds the next message: an answer with these values.
func (c *client) answers(want map[string]string) {
	c.t.Helper()
	m := c.answer()
	for topic, body := range want {
		if m[topic].body != body {
			c.t.Fatalf("answer has %v, want %s=%s", m[topic], topic, body)
		}
	}
	if len(m) != len(want) {
		c.t.Fatalf("answer of %d topics, want %d", len(m), len(want))
	}
}

// live holds the next messages: live records.
func (c *client) live(want ...string) {
	c.t.Helper()
	for _, w := range want {
		list := c.next()
		if len(list) != 1 || list[0].h.Flags != 0 || list[0].topic+"="+list[0].body != w {
			c.t.Fatalf("got %v, want %s", list, w)
		}
	}
}

// await waits for what another goroutine brings about. It has no time limit of its
// own.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for n := 0; !ok(); n++ {
		if n == 1 {
			t.Logf("waiting: %s", what)
		}
		pause(t)
	}
}

// pause lets other goroutines run.
func pause(t testing.TB) {
	tick := time.NewTimer(time.Millisecond)
	defer tick.Stop()
	select {
	case <-tick.C:
	case <-t.Context().Done():
		t.Fatal(errors.New("the test has ended"))
	}
}
