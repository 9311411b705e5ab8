package lvc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zmtp"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/wire"
)

// rawClient is a subscriber of bare ZMTP, which reads when it is told to.
type rawClient struct {
	t    *testing.T
	conn net.Conn
}

// dial connects, greets and subscribes.
func dial(t *testing.T, p *Proxy, topics ...string) *rawClient {
	t.Helper()
	network, address, _ := strings.Cut(strings.Replace(p.Endpoints()[0], "ipc://", "unix://", 1), "://")
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &rawClient{t: t, conn: conn}
	greeting := make([]byte, 64)
	greeting[0], greeting[9], greeting[10] = 0xff, 0x7f, 3
	copy(greeting[12:], "NULL")
	ready := "\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"
	c.write(append(greeting, ready...))
	hello := make([]byte, 64+27)
	if _, err := io.ReadFull(conn, hello); err != nil || string(hello[88:]) != "PUB" {
		t.Fatalf("greeted with %q, %v", hello, err)
	}
	for _, topic := range topics {
		c.write(zmtp.AppendFrame(nil, []byte("\x01"+topic), false))
	}
	return c
}

func (c *rawClient) write(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// frame reads a frame: flags and body.
func (c *rawClient) frame() (flags byte, body []byte, err error) {
	var head [9]byte
	if _, err = io.ReadFull(c.conn, head[:2]); err != nil {
		return 0, nil, err
	}
	size := uint64(head[1])
	if head[0]&2 != 0 {
		if _, err = io.ReadFull(c.conn, head[2:]); err != nil {
			return 0, nil, err
		}
		size = binary.BigEndian.Uint64(head[1:])
	}
	body = make([]byte, size)
	_, err = io.ReadFull(c.conn, body)
	return head[0], body, err
}

func (c *rawClient) next() []got {
	c.t.Helper()
	var frames [][]byte
	for {
		flags, body, err := c.frame()
		if err != nil {
			c.t.Fatal(err)
		}
		if frames = append(frames, body); flags&1 == 0 {
			break
		}
	}
	list, err := parse(frames)
	if err != nil {
		c.t.Fatal(err)
	}
	return list
}

// TestSlowReader: one that does not read loses, alone, is named as stuck, and when
// it reads again it finds a hole, the last values, and what follows them.
func TestSlowReader(t *testing.T) {
	var (
		mu      sync.Mutex
		squawks []snail.Squawk
	)
	p, s, join := open(t, Config{QueueBytes: 64 << 10, Squawk: func(q snail.Squawk) {
		mu.Lock()
		defer mu.Unlock()
		squawks = append(squawks, q)
	}}), newSource(), clients(t)
	squawked := func(v snail.Verdict, c snail.Cause) bool {
		mu.Lock()
		defer mu.Unlock()
		for _, q := range squawks {
			if q.Verdict == v && q.Cause == c && q.Peer != "" {
				return true
			}
		}
		return false
	}
	running(t, p)
	slow := dial(t, p, "X")
	if m := slow.next(); m[0].h.Flags&wire.PlainEmpty == 0 {
		t.Fatal(m)
	}
	fast := join(p, "X")
	fast.answers(nil)
	body := strings.Repeat("b", 1000)
	sent := 0
	send := func() {
		t.Helper()
		topic := fmt.Sprintf("X%d", sent%7)
		s.one(t, p, topic, body)
		fast.live(topic + "=" + body)
		sent++
	}
	// The kernel's buffers take some megabytes before anything waits here. On the
	// way the queue may be full for a moment, and what follows is the same.
	for !squawked(snail.Stuck, snail.CauseQueue) || !squawked(snail.Snail, snail.CauseLost) {
		send()
	}
	s.one(t, p, "X0", "end")
	fast.live("X0=end")

	seen, lost, ended := wire.Seq(0), wire.Seq(0), false
	for !ended {
		m := slow.next()
		ended = m[0].body == "end" // live, or as a last value
		if m[0].h.Flags == 0 {
			if m[0].h.Seq != seen {
				t.Fatalf("%v, want sequence %d: a hole without an answer", m[0], seen)
			}
			seen++
			continue
		}
		if len(m) != 7 || m[6].h.Flags&wire.PlainLast == 0 {
			t.Fatalf("after a hole: %v", m)
		}
		at := wire.Seq(0)
		for _, g := range m {
			at, ended = max(at, g.h.Seq), ended || g.body == "end"
		}
		for _, g := range m {
			if at-g.h.Seq >= 7+1 {
				t.Errorf("%v is no last value as of %d", g, at)
			}
		}
		lost += at + 1 - seen
		seen = at + 1
	}
	send()
	if m := slow.next(); m[0].h.Seq != seen {
		t.Errorf("got %v", m)
	}
	await(t, "it has caught up", func() bool { return squawked(snail.OK, snail.CauseLost) })
	if st := p.Stats(); st.Dropped != uint64(lost) || lost == 0 || st.CaughtUp == 0 {
		t.Errorf("%d were sent, %d lost: %+v", sent, lost, st)
	}
}

// TestPing: heartbeats of the protocol are answered, between messages.
func TestPing(t *testing.T) {
	p, s := open(t, Config{}), newSource()
	c := dial(t, p, "")
	c.next()
	c.write([]byte("\x04\x0a\x04PING\x00\x0aabc"))
	if flags, body, err := c.frame(); err != nil || flags != 4 || string(body) != "\x04PONGabc" {
		t.Errorf("got %d %q, %v", flags, body, err)
	}
	s.one(t, p, "A", "1")
	if m := c.next(); m[0].body != "1" {
		t.Errorf("got %v", m)
	}
}

// TestStalledAnswer: who does not take a long answer is cut off, and holds nothing.
func TestStalledAnswer(t *testing.T) {
	defer func(d time.Duration) { answerStall = d }(answerStall)
	answerStall = 50 * time.Millisecond
	p, s := open(t, Config{}), newSource()
	running(t, p)
	for i := range 10_000 {
		s.add(fmt.Sprintf("T.%d", i), wire.KindQuote, strings.Repeat("b", 2000))
	}
	s.send(t, p)
	dial(t, p, "", "T.1") // the second subscription waits for the answer to the first
	await(t, "it is cut off", func() bool { st := p.Stats(); return st.Stalled == 1 && st.Readers == 0 })
}

// TestPeersDie: readers that vanish at any moment of their joining harm nobody.
func TestPeersDie(t *testing.T) {
	const topics = 1000
	p, s, join := open(t, Config{}), newSource(), clients(t)
	running(t, p)
	for i := range topics {
		s.add(fmt.Sprintf("T.%d", i), wire.KindQuote, "0")
	}
	s.send(t, p)
	stays := join(p, "T.5")
	if n := len(stays.answer()); n != 111 {
		t.Fatalf("%d topics", n)
	}
	for i := range 200 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.Endpoints()[0], "tcp://"))
		if err != nil {
			t.Fatal(err)
		}
		greeting := make([]byte, 64)
		greeting[0], greeting[9], greeting[10] = 0xff, 0x7f, 3
		copy(greeting[12:], "NULL")
		b := append(greeting, "\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB\x00\x01\x01"...)
		if _, err := conn.Write(b[:len(b)-i%40]); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		_ = conn.Close()
		s.one(t, p, "T.5", fmt.Sprint(i))
		stays.live(fmt.Sprintf("T.5=%d", i))
	}
	await(t, "all have gone", func() bool { st := p.Stats(); return st.Readers == 1 && st.KeptBytes == 0 })
}
