package lvc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// TestPassive: a passive proxy takes in, and says nothing; when it becomes active its
// readers get what it has kept, then the last values, then what comes; when it becomes
// passive again it says so, and nothing after.
func TestPassive(t *testing.T) {
	p := open(t, Config{Standby: &Standby{}})
	c := clients(t)(p, "A")
	for p.Stats().Subscriptions == 0 {
		time.Sleep(time.Millisecond)
	}
	s := newSource()
	s.one(t, p, "A1", "x")
	s.one(t, p, "B1", "y")
	s.one(t, p, "A2", "z")
	p.heartbeat()
	p.hub.mu.Lock()
	for r := range p.hub.readers {
		r.mu.Lock()
		waiting := r.queued
		r.mu.Unlock()
		if waiting != 0 || r.written.Load() != 0 {
			t.Errorf("%d bytes wait for a reader of a passive proxy, %d are written", waiting, r.written.Load())
		}
	}
	p.hub.mu.Unlock()
	if kept, passive := p.Passive(); !passive || kept.Messages != 3 || kept.Short != 0 {
		t.Errorf("passive %v, kept %+v", passive, kept)
	}
	if kept := p.Activate(4, "a test"); kept.Messages != 3 {
		t.Errorf("kept %+v", kept)
	}
	s.one(t, p, "A1", "live")
	p.Deactivate(5, "enough")
	s.one(t, p, "A1", "unsent")
	p.Activate(6, "again")
	next := func() [][]byte {
		t.Helper()
		frames, err := c.s.RecvFrames()
		if err != nil {
			t.Fatal(err)
		}
		return frames
	}
	header := func(b []byte) wire.Plain {
		h, err := wire.ParsePlain(b)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	for _, want := range []string{"A1 x 0 0", "A2 z 2 0", "2 last values", "A1 live 3 0", "A1 unsent 4 0", "2 last values"} {
		f := next()
		got := fmt.Sprintf("%d last values", len(f)/3)
		if h := header(f[1]); h.Flags&wire.PlainSnapshot == 0 {
			got = fmt.Sprintf("%s %s %d %d", f[0], f[2], h.Seq, h.Flags)
		}
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if st := p.Stats(); st.Activations != 2 || st.SentAgain != 4 || st.RingYoung != 2 {
		t.Errorf("%+v", st)
	}
}

// TestPairNotices: who wants to know hears which of a pair is active.
func TestPairNotices(t *testing.T) {
	p := open(t, Config{Standby: &Standby{}})
	c := clients(t)(p, PairTopic)
	for p.Stats().Subscriptions == 0 {
		time.Sleep(time.Millisecond)
	}
	p.Activate(2, "first")
	p.Deactivate(3, "second")
	var heard []string
	for len(heard) < 2 {
		f, err := c.s.RecvFrames()
		if err != nil {
			t.Fatal(err)
		}
		if h, err := wire.ParsePlain(f[1]); err != nil || h.Flags != 0 {
			continue // the answer to the subscription
		}
		var n PairNotice
		if err := json.Unmarshal(f[2], &n); err != nil {
			t.Fatal(err)
		}
		heard = append(heard, fmt.Sprintf("%s in %d: %s", n.State, n.Epoch, n.Reason))
	}
	if heard[0] != "active in 2: first" || heard[1] != "passive in 3: second" {
		t.Errorf("heard %q", heard)
	}
}

// TestClientsWay: the voter comes through the listener, and only for somebody.
func TestClientsWay(t *testing.T) {
	p := open(t, Config{Standby: &Standby{}})
	if err := p.TryClientsWay(t.Context()); !errors.Is(err, ErrNoReaders) {
		t.Errorf("without readers: %v", err)
	}
	clients(t)(p, "A")
	for p.Stats().Subscriptions == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := p.TryClientsWay(t.Context()); err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	p.hub.mu.Lock()
	for _, l := range p.hub.listeners {
		_ = l.Close() // nobody else comes in
	}
	p.hub.listeners = nil
	p.hub.mu.Unlock()
	if err := p.TryClientsWay(ended); err == nil || errors.Is(err, ErrNoReaders) {
		t.Errorf("with a listener that is closed: %v", err)
	}
}

// TestRing: what is kept is bounded by time, by bytes, and what had to go early is counted.
func TestRing(t *testing.T) {
	now := time.Unix(1000, 0)
	g := newRing(8*time.Second, 1<<30, now, make([]Position, 1))
	h := wire.Plain{Epoch: 1, Shards: 1}
	add := func(body int) {
		g.add(now, []byte("T"), &h, make([]byte, body))
		h.Seq++
	}
	for range 20 {
		now = now.Add(time.Second)
		add(10)
	}
	st := g.state(now)
	if st.Reach != 8*time.Second || st.Messages < 8 || st.Messages > 11 || st.Short != 0 {
		t.Errorf("%+v", st)
	}
	var first wire.Seq
	n := 0
	g.each(func(topic []byte, m *wire.Plain, body []byte) {
		if n == 0 {
			first = m.Seq
		}
		if m.Seq != first+wire.Seq(n) || string(topic) != "T" || len(body) != 10 {
			t.Errorf("message %d: %s %d, %d bytes", n, topic, m.Seq, len(body))
		}
		n++
	})
	if n != st.Messages || first+wire.Seq(n) != h.Seq {
		t.Errorf("%d messages from %d, %d are kept and the next is %d", n, first, st.Messages, h.Seq)
	}
	g = newRing(8*time.Second, 1<<20, now, make([]Position, 1))
	for range 100 {
		add(100 << 10)
	}
	if st := g.state(now); st.Short == 0 || st.Reach != 0 || st.Bytes > 1<<20 || st.Messages+int(st.Short) != 100 {
		t.Errorf("too much: %+v", st)
	}
}

// TestRingAllocs: keeping messages costs no allocation each.
func TestRingAllocs(t *testing.T) {
	now := time.Unix(1000, 0)
	g := newRing(time.Second, 1<<30, now, make([]Position, 1))
	h := wire.Plain{Epoch: 1, Shards: 1}
	topic, body := []byte("TOPIC"), make([]byte, 100)
	have := []Position{{Epoch: 1}}
	step := func() {
		for range 1000 {
			now = now.Add(100 * time.Microsecond)
			g.add(now, topic, &h, body)
			h.Seq++
		}
		have[0].Next = h.Seq - 10
		g.drop(now, have, 0, have)
	}
	for range 100 {
		step()
	}
	if n := testing.AllocsPerRun(100, step); n > 0 {
		t.Errorf("%v allocations for 1000 messages", n)
	}
}
