package publisher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// TestLateJoinerIsGreeted: whoever comes while the stream runs gets the session
// description, and is never complete.
func TestLateJoinerIsGreeted(t *testing.T) {
	p := open(t, Config{Lossless: true, Session: session})
	batch := makeBatch(t, 1000)
	if err := p.Send(t.Context(), 0, batch, nil); err != nil {
		t.Fatal(err)
	}
	g := openGate()
	r := subscribe(t, p, subscriber.Config{}, g)
	until(t, p, func() bool { return p.Stats().Joined == 1 })
	if err := p.Send(t.Context(), 0, batch, nil); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.End(t.Context()), <-r.done); err != nil {
		t.Fatal(err)
	}
	if g.sessions != 1 || g.bad != nil {
		t.Errorf("%d sessions, %v", g.sessions, g.bad)
	}
	if s := r.Summary(); s.Complete || s.Records != uint64(batch.Count) || s.Gaps != 0 || !s.Ended {
		t.Errorf("summary %+v", s)
	}
}

// TestHeartbeats: a shard that says nothing for the heartbeat time sends its
// place, also while other shards are busy, and also where the wall clock was set
// back.
func TestHeartbeats(t *testing.T) {
	now := wire.Nanos(1e18)
	p := open(t, Config{
		Endpoints: []string{anyPort, anyPort}, Heartbeat: time.Second,
		Now: func() wire.Nanos { return now },
	})
	r := connect(t, p.Endpoints()[0], zsock.SUB)
	r.subscribe("")
	until(t, p, r.readable)
	batch := makeBatch(t, 100)
	if err := p.Send(t.Context(), 0, batch, nil); err != nil {
		t.Fatal(err)
	}
	step := func(d time.Duration, act func() error) {
		t.Helper()
		now += wire.Nanos(d)
		if err := act(); err != nil {
			t.Fatal(err)
		}
	}
	tick := func() error { return p.Tick(t.Context()) }
	step(time.Second-1, tick) // not yet
	step(1, tick)
	step(time.Second, func() error { return p.Send(t.Context(), 1, batch, nil) })
	step(-time.Hour, tick)
	for i, want := range []struct {
		flags wire.HeaderFlags
		send  wire.Nanos
	}{
		{wire.FlagHello, 1e18}, {0, 1e18}, {wire.FlagHeartbeat, 1e18 + 1e9}, {wire.FlagHeartbeat, 1e18 + 2e9},
		{wire.FlagHeartbeat, 1e18 + 2e9 - 3600e9},
	} {
		h := r.next()
		for i > 0 && h.Flags == wire.FlagHello {
			h = r.next() // readers may be greeted twice
		}
		if h.Flags != want.flags || h.Send != want.send {
			t.Fatalf("message %d: flags %v at %d, want %v at %d", i, h.Flags, h.Send, want.flags, want.send)
		}
		if h.Flags == wire.FlagHeartbeat && (h.FirstSeq != wire.Seq(batch.Count) || h.Hash != p.shards[0].hash) {
			t.Errorf("heartbeat at %d with hash %x", h.FirstSeq, h.Hash)
		}
	}
}

// TestReaderLeaves: who goes before the end is counted and not waited for.
func TestReaderLeaves(t *testing.T) {
	p := open(t, Config{Endpoints: []string{anyPort, anyPort}, Lossless: true, Session: session})
	stays := subscribe(t, p, subscriber.Config{Name: "stays"}, openGate())
	goes := subscribe(t, p, subscriber.Config{Name: "goes"}, openGate())
	if err := p.WaitReaders(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	goes.stop()
	if err := <-goes.done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	until(t, p, func() bool { return p.Stats().Left == 1 })
	if names := p.Readers(); len(names) != 1 || names[0] != "stays" {
		t.Errorf("readers %q", names)
	}
	if err := errors.Join(p.End(t.Context()), <-stays.done); err != nil {
		t.Fatal(err)
	}
	if st := p.Stats(); st.Joined != 2 || st.Left != 1 || st.Finished != 1 {
		t.Errorf("stats %+v", st)
	}
}

// TestForeignPeers: what is no subscription is counted as foreign, signals that
// make no sense as refused, and neither does any harm.
func TestForeignPeers(t *testing.T) {
	p := open(t, Config{})
	peer := connect(t, p.Endpoints()[0], zsock.XSUB)
	for _, frame := range []string{"\x02up", "hello", "\x01TPDK?ready:xyz", "\x01TPDK?done:", "\x01TPDK?what"} {
		if err := peer.SendFrames([]byte(frame)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, p, func() bool { st := p.Stats(); return st.Foreign >= 2 && st.Refused >= 3 })
	if st := p.Stats(); st.Foreign != 2 || st.Refused != 3 || st.Joined != 0 {
		t.Errorf("stats %+v", st)
	}
}

// TestManyIdentities: a peer that makes up readers does not fill the memory.
func TestManyIdentities(t *testing.T) {
	r := readers{shards: 1}
	for i := range readersMax + 100 {
		r.take(0, wire.SignalReady, wire.ReaderID{byte(i), byte(i >> 8), byte(i >> 16)}, "x", 1)
	}
	if len(r.byID) != readersMax {
		t.Errorf("%d readers remembered, want %d", len(r.byID), readersMax)
	}
}

// TestEndIsConfirmed: End waits for readers that are there, names those that do
// not confirm, and can be called again.
func TestEndIsConfirmed(t *testing.T) {
	p := open(t, Config{Lossless: true, EndWait: time.Millisecond})
	r := connect(t, p.Endpoints()[0], zsock.SUB)
	id := wire.ReaderID{7}
	// The word of an earlier session, said again on connecting: it is no word
	// on this one.
	r.subscribe("", wire.ReadyTopic(id, "stubborn"), wire.DoneTopic(id))
	until(t, p, func() bool { return p.Stats().Joined == 1 })
	if err := p.End(t.Context()); err == nil || !strings.Contains(err.Error(), `"stubborn"`) {
		t.Fatalf("got %v, want an error that names the reader", err)
	}
	for h := r.next(); !h.End(); h = r.next() {
	}
	r.subscribe(wire.DoneTopic(id))
	p.cfg.EndWait = waitForever
	if err := p.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := p.Stats(); st.Finished != 1 {
		t.Errorf("stats %+v", st)
	}
}

// TestHelloBehindTheEnd: who asks for a hello once the stream has ended gets one: a reader of
// a pair may not take the end mark before it.
func TestHelloBehindTheEnd(t *testing.T) {
	p := open(t, Config{Lossless: true, EndWait: time.Millisecond, Session: session})
	r := connect(t, p.Endpoints()[0], zsock.SUB)
	r.subscribe("", wire.ReadyTopic(wire.ReaderID{7}, "late"))
	until(t, p, func() bool { return p.Stats().Joined == 1 })
	if err := p.End(t.Context()); err == nil {
		t.Fatal("it is through, and its reader is not")
	}
	for h := r.next(); !h.End(); h = r.next() {
	}
	r.subscribe(wire.HelloTopic())
	until(t, p, func() bool {
		for r.readable() {
			if h := r.next(); h.Flags&wire.FlagHello != 0 {
				return true
			}
		}
		return false
	})
}

// TestEndDoesNotHangOnFullQueue: a reader that takes nothing holds End up for no
// longer than Config.EndWait, and not after the context has ended.
func TestEndDoesNotHangOnFullQueue(t *testing.T) {
	p := open(t, Config{Lossless: true, QueueBytes: 1 << 20, EndWait: time.Millisecond, Session: session})
	slow := &gate{open: make(chan struct{})}
	defer close(slow.open)
	subscribe(t, p, subscriber.Config{Name: "slow", QueueBytes: 1}, slow)
	if err := p.WaitReaders(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	fill(t, p, makeBatch(t, 1<<20), nil)
	if err := p.End(t.Context()); err == nil || !strings.Contains(err.Error(), "full queue") {
		t.Errorf("got %v, want an error about the full queue", err)
	}
	p.cfg.EndWait = waitForever
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := p.End(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's end", err)
	}
}

// TestStop: a stream that is stopped has ended early, and its readers know.
func TestStop(t *testing.T) {
	p := open(t, Config{Endpoints: []string{anyPort, anyPort}, Lossless: true, Session: session})
	r := subscribe(t, p, subscriber.Config{}, openGate())
	if err := p.WaitReaders(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	batch := makeBatch(t, 1000)
	if err := p.Send(t.Context(), 1, batch, nil); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	if s := r.Summary(); s.Complete || !s.Ended || !s.Early || s.Lost != 0 || s.Records != uint64(batch.Count) {
		t.Errorf("summary %+v", s)
	}
}

// TestBlockedSendKeepsOthersAlive: while Send waits for a slow reader of one
// shard, the other shard still says that it is alive and greets who comes.
func TestBlockedSendKeepsOthersAlive(t *testing.T) {
	p := open(t, Config{
		Endpoints: []string{anyPort, anyPort}, Lossless: true, QueueBytes: 1 << 20, Session: session,
		Heartbeat: time.Millisecond,
	})
	slow := connectQueue(t, p.Endpoints()[0], zsock.SUB, 1) // reads nothing, ever
	slow.subscribe("")
	until(t, p, slow.readable)
	batch := makeBatch(t, 1<<20)
	fill(t, p, batch, nil)
	// Whoever comes to shard 1 now meets a blocked publisher.
	ctx, cancel := context.WithCancel(t.Context())
	blocked := make(chan error, 1)
	go func() { blocked <- p.Send(ctx, 0, batch, nil) }()
	r := connect(t, p.Endpoints()[1], zsock.SUB)
	r.subscribe("")
	seen := map[wire.HeaderFlags]bool{}
	for !seen[wire.FlagHello] || !seen[wire.FlagHeartbeat] {
		seen[r.next().Flags] = true
	}
	cancel()
	if err := <-blocked; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestSince(t *testing.T) {
	for _, tc := range []struct{ then, now, want wire.Nanos }{
		{10, 10, 0}, {10, 15, 5}, {10, 9, wire.NanosMax}, {0, wire.NanosMax, wire.NanosMax},
	} {
		if got := since(tc.then, tc.now); got != tc.want {
			t.Error(fmt.Sprint(tc.then, tc.now), got)
		}
	}
}
