package publisher

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// ears is a handler that takes notices.
type ears struct {
	*gate
	heard chan snail.Squawk
}

func newEars() *ears { return &ears{openGate(), make(chan snail.Squawk, 100)} }

func (e *ears) HandleNotice(shard int, r wire.Record) {
	q, err := snail.ParseSquawk(r.Body())
	if err != nil || shard != 0 || string(r.Topic()) != wire.SquawkTopic {
		q.Name = fmt.Sprintf("shard %d: %q: %v", shard, r, err)
	}
	e.heard <- q
}

// one returns the reader of a name as the list has it, or nil.
func one(p *Publisher, name string) *snail.Reader {
	list := p.ReaderList()
	if i := slices.IndexFunc(list, func(r snail.Reader) bool { return r.Name == name }); i >= 0 {
		return &list[i]
	}
	return nil
}

// await ticks the publisher until there is something to hear.
func (e *ears) await(t *testing.T, p *Publisher) snail.Squawk {
	t.Helper()
	until(t, p, func() bool { return len(e.heard) > 0 })
	return <-e.heard
}

// TestReaderList: who reads is listed with address and with what it says of itself,
// and everybody hears when that changes for the worse or the better.
func TestReaderList(t *testing.T) {
	var mu sync.Mutex
	var told []snail.Squawk
	p := open(t, Config{Endpoints: []string{anyPort, anyPort}, Lossless: true, Session: session, Squawk: func(q snail.Squawk) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, q)
	}})
	e := newEars()
	listens := subscribe(t, p, subscriber.Config{Name: "listens"}, e)
	speaks := subscribe(t, p, subscriber.Config{Name: "speaks"}, openGate())
	if err := p.WaitReaders(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	list := p.ReaderList()
	if len(list) != 2 || list[0].Name != "listens" || list[1].Name != "speaks" {
		t.Fatalf("list %+v", list)
	}
	peers := map[string]bool{}
	for _, r := range list {
		if r.Verdict != snail.OK || len(r.Connections) != 2 || len(r.ID) != 32 {
			t.Errorf("%+v", r)
		}
		for i, c := range r.Connections {
			if c.Shard != i || c.Peer == "" || peers[c.Peer] {
				t.Errorf("connection %+v", c)
			}
			peers[c.Peer] = true
		}
	}
	speaks.Report(1, wire.ReaderReport{Lag: time.Second, Lost: 3, Verdict: "snail"})
	q := e.await(t, p)
	if q.Name != "speaks" || q.Verdict != snail.Snail || q.Before != snail.OK || q.Cause != snail.CauseReported ||
		q.Shard != 1 || q.LagNs != int64(time.Second) || q.Lost != 3 || q.Peer != one(p, "speaks").Connections[1].Peer {
		t.Errorf("squawk %+v", q)
	}
	if r := one(p, "speaks"); r.Verdict != snail.Snail || r.LagNs != int64(time.Second) || r.Lost != 3 || r.Connections[0].Verdict != snail.OK {
		t.Errorf("listed %+v", r)
	}
	speaks.Report(1, wire.ReaderReport{Verdict: "ok"})
	if q := e.await(t, p); q.Name != "speaks" || q.Verdict != snail.OK || q.Before != snail.Snail {
		t.Errorf("squawk %+v", q)
	}
	speaks.Report(0, wire.ReaderReport{Verdict: "lagging"})
	if q := e.await(t, p); q.Verdict != snail.Lagging {
		t.Errorf("squawk %+v", q)
	}
	speaks.stop()
	if q := e.await(t, p); q.Name != "speaks" || q.Verdict != snail.Gone || q.Before != snail.Lagging {
		// It leaves shard by shard, and may be well on the last of them.
		if q.Verdict != snail.OK {
			t.Errorf("squawk %+v", q)
		}
	}
	until(t, p, func() bool { return one(p, "speaks") == nil })
	<-speaks.done
	if err := errors.Join(p.End(t.Context()), <-listens.done); err != nil {
		t.Fatal(err)
	}
	if s := listens.Summary(); !s.Complete || s.Notices < 4 {
		t.Errorf("summary %+v", s)
	}
	if st := p.Stats(); st.Reports != 3 || st.Refused != 0 || len(told) != int(st.Notices) {
		t.Errorf("stats %+v, told %+v", st, told)
	}
}

// TestReportsOfStrangers: what nobody who reads has said is counted and believed
// of nobody.
func TestReportsOfStrangers(t *testing.T) {
	p := open(t, Config{})
	r := connect(t, p.Endpoints()[0], zsock.SUB)
	id := wire.ReaderID{5}
	r.subscribe(wire.ReaderReport{Verdict: "snail"}.Topic(id), wire.ReaderReport{Verdict: "nonsense"}.Topic(id))
	until(t, p, func() bool { st := p.Stats(); return st.Unlisted == 1 && st.Refused == 1 })
	if list := p.ReaderList(); len(list) != 0 {
		t.Errorf("list %+v", list)
	}
}

// TestStuckReaderIsNamed: of a reader that takes nothing, everybody hears without
// its help, and that it is well once it takes again. Others lose nothing meanwhile.
func TestStuckReaderIsNamed(t *testing.T) {
	p := open(t, Config{Session: session, QueueBytes: 16 << 20})
	e := newEars()
	listens := subscribe(t, p, subscriber.Config{Name: "listens"}, e)
	slow := &gate{open: make(chan struct{})}
	stuck := subscribe(t, p, subscriber.Config{Name: "stuck", QueueBytes: 1}, slow)
	if err := p.WaitReaders(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	batch := makeBatch(t, 1<<20)
	// It takes a while until every buffer between the two is full.
	send := func() {
		before := listens.Summary().Batches
		if err := p.Send(t.Context(), 0, batch, nil); err != nil {
			t.Fatal(err)
		}
		until(t, p, func() bool { return listens.Summary().Batches > before })
	}
	for range 60 {
		send()
	}
	q := e.await(t, p)
	for ; q.Name != "stuck"; q = e.await(t, p) { // on a busy machine the other one may be stuck for a moment
	}
	if q.Verdict != snail.Stuck || q.Cause != snail.CauseQueue || q.QueuedBytes == 0 || q.Shard != 0 {
		t.Errorf("squawk %+v", q)
	}
	if r := one(p, "stuck"); r.Verdict != snail.Stuck || r.Connections[0].QueuedBytes == 0 || r.Connections[0].StalledNs < int64(500*time.Millisecond) {
		t.Errorf("listed %+v", r)
	}
	until(t, p, func() bool { return one(p, "listens").Verdict == snail.OK })
	close(slow.open)
	for q.Verdict != snail.OK {
		send()
		for len(e.heard) > 0 && q.Verdict != snail.OK {
			if next := <-e.heard; next.Name == "stuck" {
				q = next
			}
		}
	}
	if q.Before != snail.Stuck {
		t.Errorf("squawk %+v", q)
	}
	if err := errors.Join(p.End(t.Context()), <-listens.done, <-stuck.done); err != nil {
		t.Fatal(err)
	}
	if s := listens.Summary(); !s.Complete || s.Lost != 0 {
		t.Errorf("summary %+v", s)
	}
}

// TestBlockingReaderIsSeen: in lossless mode, a reader that makes Send wait is on
// the list as stuck while it does, also one that never said who it is.
func TestBlockingReaderIsSeen(t *testing.T) {
	var mu sync.Mutex
	var told []snail.Squawk
	p := open(t, Config{Lossless: true, QueueBytes: 1, Session: session, Squawk: func(q snail.Squawk) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, q)
	}})
	r := connectQueue(t, p.Endpoints()[0], zsock.SUB, 1)
	r.subscribe("")
	until(t, p, r.readable)
	batch := makeBatch(t, 1<<20)
	done := make(chan error, 1)
	const batches = 200
	go func() {
		for range batches {
			if err := p.Send(t.Context(), 0, batch, nil); err != nil {
				done <- err
				return
			}
		}
		done <- p.End(t.Context())
	}()
	for !slices.ContainsFunc(p.ReaderList(), func(r snail.Reader) bool {
		return r.Verdict == snail.Stuck && r.ID == "" && r.Connections[0].Peer != ""
	}) {
		select {
		case err := <-done:
			t.Fatalf("nobody blocked: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	for b := r.must(); !b.End(); b = r.must() {
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(told) == 0 || told[0].Verdict != snail.Stuck {
		t.Errorf("told %+v", told)
	}
}

// TestNamelessReadersGo: who never said who it is leaves the list when its
// connection is gone.
func TestNamelessReadersGo(t *testing.T) {
	for _, endpoint := range []string{anyPort, "ipc://" + t.TempDir() + "/s"} {
		p := open(t, Config{Endpoints: []string{endpoint}})
		ctx, err := zsock.NewContext(zsock.NoCPU)
		if err != nil {
			t.Fatal(err)
		}
		var sockets []*zsock.Socket
		for range 3 {
			s, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(s.Connect(p.Endpoints()[0]), s.Subscribe(""), s.Subscribe("TPDK")); err != nil {
				t.Fatal(err)
			}
			sockets = append(sockets, s)
		}
		until(t, p, func() bool { return len(p.ReaderList()) == 3 })
		if err := sockets[0].Close(); err != nil {
			t.Fatal(err)
		}
		until(t, p, func() bool { return len(p.ReaderList()) == 2 })
		if err := errors.Join(sockets[1].Close(), sockets[2].Close(), ctx.Close()); err != nil {
			t.Fatal(err)
		}
		until(t, p, func() bool { return len(p.ReaderList()) == 0 && len(p.shards[0].watch.lines) == 0 })
	}
}

// BenchmarkLook is what a look at the connections of 200 readers takes, which
// happens ten times a second at most.
func BenchmarkLook(b *testing.B) {
	const readers = 200
	p := open(b, Config{})
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		b.Fatal(err)
	}
	var sockets []*zsock.Socket
	for range readers {
		s, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{})
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(s.Connect(p.Endpoints()[0]), s.Subscribe("")); err != nil {
			b.Fatal(err)
		}
		sockets = append(sockets, s)
	}
	until(b, p, func() bool { return len(p.shards[0].watch.lines) == readers })
	s := p.shards[0]
	look := func() {
		s.watch.next = time.Time{}
		p.look(s)
	}
	if n := testing.AllocsPerRun(10, look); n != 0 {
		b.Errorf("a look allocates %v times", n)
	}
	b.ReportAllocs()
	for b.Loop() {
		look()
	}
	b.StopTimer()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/readers, "ns/reader")
	for _, s := range sockets {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}
	if err := ctx.Close(); err != nil {
		b.Error(err)
	}
}
