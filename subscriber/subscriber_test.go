package subscriber

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/wire"
)

const anyPort = "tcp://127.0.0.1:*"

func TestConfigIsChecked(t *testing.T) {
	one := []string{"tcp://127.0.0.1:1"}
	for name, cfg := range map[string]Config{
		"no endpoints":     {},
		"too many":         {Endpoints: make([]string, 1<<16)},
		"receive CPUs":     {Endpoints: one, ReceiveCPUs: []int{0, 1}},
		"I/O CPUs":         {Endpoints: one, IOCPUs: []int{}},
		"name too long":    {Endpoints: one, Name: strings.Repeat("n", wire.ReaderNameMax+1)},
		"negative queue":   {Endpoints: one, QueueBytes: -1},
		"negative batch":   {Endpoints: one, BatchBytes: -1},
		"negative silence": {Endpoints: one, Silence: -1},
	} {
		if _, err := New(cfg, &notes{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestBadEndpoint: what ZeroMQ cannot connect to is named.
func TestBadEndpoint(t *testing.T) {
	s, err := New(Config{Endpoints: []string{"nowhere://x"}}, &notes{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "nowhere://x") {
		t.Errorf("got %v, want an error with the endpoint's name", err)
	}
}

func TestWholeStream(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	n := &notes{}
	r := start(t, Config{Endpoints: []string{p.endpoint}, Name: "test"}, n)
	p.greet()
	p.sendRecords(3)
	p.sendRecords(2)
	p.end()
	p.await(donePrefix)
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	sum := r.Summary()
	if !sum.Complete || !sum.Ended || sum.Records != 5 || sum.Batches != 2 || sum.Gaps != 0 || sum.Why() != "" {
		t.Errorf("summary %+v, why %q", sum, sum.Why())
	}
	if !slices.Equal(n.bodies[0], upTo(5)) || !slices.Equal(n.sessions, []wire.Epoch{7}) || !slices.Equal(n.ends, []end{{0, 7, true}}) {
		t.Errorf("handler saw %+v", n)
	}
	if w := r.warnings(); len(w) != 0 {
		t.Errorf("warnings %q", w)
	}
}

// TestFromSource: a stream comes whole through a source address, as Endpoints
// writes it. Without the port that it adds, libzmq would never connect.
func TestFromSource(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	endpoints, err := shard.Endpoints(strings.Replace(p.endpoint, "tcp://", "tcp://127.0.0.1;", 1), 1)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, Config{Endpoints: endpoints}, &notes{})
	p.greet()
	p.sendRecords(3)
	p.end()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	if sum := r.Summary(); !sum.Complete || sum.Records != 3 {
		t.Errorf("summary %+v", sum)
	}
}

// TestForeignFrames: what is no message of this stream is refused and counted,
// reported once, and does the stream no harm.
func TestForeignFrames(t *testing.T) {
	// A batch that would be right, to break in one place.
	good := func(p *fakePub) ([]byte, []byte) {
		save := *p
		h, payload := p.records(2)
		frame := p.frame(h)
		*p = save
		return frame, payload
	}
	cases := map[string]struct {
		send func(p *fakePub)
		n    uint64
		warn string
	}{
		"another program": {func(p *fakePub) { p.sendRaw([]byte("PRICE"), []byte("100.25")) }, 1, "signature"},
		"an empty frame":  {func(p *fakePub) { p.sendRaw([]byte{}) }, 1, "signature"},
		"a future version": {func(p *fakePub) {
			h, payload := good(p)
			h[4] = 2
			p.sendRaw(h, payload)
		}, 1, "version"},
		"another shard": {func(p *fakePub) {
			p.shard = 1
			h, payload := good(p)
			p.shard = 0
			p.sendRaw(h, payload)
		}, 1, "check --shards and the endpoints"},
		"another number of shards": {func(p *fakePub) {
			p.shards = 3
			h, payload := good(p)
			p.shards = 2
			p.sendRaw(h, payload)
		}, 1, "check --shards and the endpoints"},
		"a cut header": {func(p *fakePub) {
			h, payload := good(p)
			p.sendRaw(h[:len(h)-1], payload)
		}, 1, "header"},
		"a cut payload": {func(p *fakePub) {
			h, payload := good(p)
			p.sendRaw(h, payload[:len(payload)-1])
		}, 1, "size"},
		"no payload frame":     {func(p *fakePub) { p.sendRaw(p.frame(p.source.heartbeat())) }, 1, "frames"},
		"an empty order frame": {func(p *fakePub) { p.sendRaw(p.frame(p.source.heartbeat()), nil, nil) }, 1, "frames"},
		"too many frames": {func(p *fakePub) {
			h, payload := good(p)
			p.sendRaw(h, payload, []byte{0}, []byte{0}, []byte{0})
		}, 1, "5 frames"},
		"a mark with records": {func(p *fakePub) {
			h, payload := good(p)
			h[6] |= byte(wire.FlagHeartbeat)
			p.sendRaw(h, payload)
		}, 1, ""},
		"a flood": {func(p *fakePub) {
			for range 100 {
				p.sendRaw([]byte("PRICE"), []byte("100.25"))
			}
		}, 100, "signature"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p, other := newFake(t, anyPort, 0, 2, 7), newFake(t, anyPort, 1, 2, 7)
			n := &notes{}
			r := start(t, Config{Endpoints: []string{p.endpoint, other.endpoint}}, n)
			p.greet()
			other.greet()
			tc.send(p)
			p.sendRecords(3)
			tc.send(p)
			p.end()
			other.end()
			if err := <-r.done; err != nil {
				t.Fatal(err)
			}
			sum := r.Summary()
			if !sum.Complete || sum.Records != 3 || sum.Refused != 2*tc.n || sum.Corrupt != 0 {
				t.Errorf("summary %+v, want complete, 3 records, %d refused", sum, 2*tc.n)
			}
			w := r.warnings()
			if len(w) != 1 || !strings.Contains(w[0], tc.warn) || !strings.Contains(w[0], p.endpoint) {
				t.Errorf("warnings %q, want one with %q and the endpoint", w, tc.warn)
			}
		})
	}
}

// TestCorruptPayload: a batch that was changed on its way is counted, never
// delivered, and missing.
func TestCorruptPayload(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	n := &notes{}
	r := start(t, Config{Endpoints: []string{p.endpoint}}, n)
	p.greet()
	p.sendRecords(1)
	h, payload := p.records(2)
	payload[len(payload)-1] ^= 0x40
	p.send(h, payload)
	p.sendRecords(1)
	p.end()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	sum := r.Summary()
	if sum.Complete || sum.Corrupt != 1 || sum.Refused != 1 || sum.Lost != 2 || sum.Gaps != 1 || sum.Records != 2 {
		t.Errorf("summary %+v", sum)
	}
	if !slices.Equal(n.gaps, []gap{{0, 7, 1, 3}}) || !slices.Equal(n.bodies[0], []uint32{0, 3}) {
		t.Errorf("handler saw gaps %v, bodies %v", n.gaps, n.bodies)
	}
	if why := sum.Why(); !strings.Contains(why, "corrupt") || !strings.Contains(why, "lost 2 records") {
		t.Errorf("why: %q", why)
	}
}

// TestSilence: a shard that says nothing ends the run. What another program says
// at the endpoint is no word of the shard.
func TestSilence(t *testing.T) {
	for _, foreign := range []bool{false, true} {
		p := newFake(t, anyPort, 0, 1, 7)
		r := start(t, Config{Endpoints: []string{p.endpoint}, Silence: 60 * time.Millisecond}, &notes{})
		var err error
		for ended, greeted := false, false; !ended; {
			// The silence may be over before the reader has come as far as to hear this.
			if frame, err := p.socket.TryRecvFrame(); err == nil && len(frame) == 1 && !greeted {
				p.hello()
				greeted = true
			}
			if foreign {
				p.sendRaw([]byte("noise"))
			}
			select {
			case err = <-r.done:
				ended = true
			case <-time.After(time.Millisecond):
			}
		}
		if !errors.Is(err, ErrSilence) || !strings.Contains(err.Error(), p.endpoint) {
			t.Errorf("foreign %v: got %v, want ErrSilence with the endpoint", foreign, err)
		}
	}
}

// TestFollow: after the end of an epoch the next one is received, and complete
// for itself.
func TestFollow(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	n := &notes{}
	ctx, cancel := context.WithCancel(t.Context())
	s, err := New(Config{Endpoints: []string{p.endpoint}, Follow: true}, n)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	p.greet()
	p.sendRecords(2)
	p.end()
	p.await(donePrefix)
	p.source = source{epoch: 8}
	p.hello()
	p.await(readyPrefix)
	p.sendRecords(3)
	p.end()
	p.await(donePrefix)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("run ended with %v, want context.Canceled", err)
	}
	sum := s.Summary()
	if !sum.Complete || sum.Records != 5 || sum.Epochs != 2 || sum.Broken != 0 {
		t.Errorf("summary %+v", sum)
	}
	if !slices.Equal(n.sessions, []wire.Epoch{7, 8}) || !slices.Equal(n.ends, []end{{0, 7, true}, {0, 8, true}}) || !slices.Equal(n.bodies[0], upTo(5)) {
		t.Errorf("handler saw %+v", n)
	}
}

// TestPublisherKilled: a publisher that goes without an end mark and comes again
// with another epoch is received, and what it broke off is said.
func TestPublisherKilled(t *testing.T) {
	endpoint := "ipc://" + t.TempDir() + "/s"
	p := newFake(t, endpoint, 0, 1, 7)
	n := &notes{batch: make(chan struct{}, 2)}
	r := start(t, Config{Endpoints: []string{endpoint}}, n)
	p.greet()
	p.sendRecords(2)
	<-n.batch
	p.close()
	q := newFake(t, endpoint, 0, 1, 8)
	q.greet()
	q.sendRecords(3)
	q.end()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	sum := r.Summary()
	if sum.Complete || sum.Broken != 1 || sum.Epochs != 2 || sum.Records != 5 || sum.Gaps != 0 {
		t.Errorf("summary %+v", sum)
	}
	if why := sum.Why(); !strings.Contains(why, "without an end mark") {
		t.Errorf("why: %q", why)
	}
	if !slices.Equal(n.ends, []end{{0, 8, true}}) {
		t.Errorf("ends %v", n.ends)
	}
}

// TestLateJoin: who comes after the first record is never complete.
func TestLateJoin(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	p.records(10)
	r := start(t, Config{Endpoints: []string{p.endpoint}}, &notes{})
	p.greet()
	p.sendRecords(2)
	p.end()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	sum := r.Summary()
	if sum.Complete || !sum.Ended || sum.Gaps != 0 || sum.Records != 2 || !strings.Contains(sum.Why(), "joined after the first record") {
		t.Errorf("summary %+v, why %q", sum, sum.Why())
	}
}

// TestHandlerErrorEndsAllLoops: one shard's handler fails while the other shard
// is silent; Run returns that error.
func TestHandlerErrorEndsAllLoops(t *testing.T) {
	p, silent := newFake(t, anyPort, 0, 2, 7), newFake(t, anyPort, 1, 2, 7)
	full := errors.New("disk is full")
	r := start(t, Config{Endpoints: []string{p.endpoint, silent.endpoint}}, &notes{fail: full})
	p.greet()
	silent.greet()
	p.sendRecords(1)
	err := <-r.done
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "shard 0, batch at sequence 0") {
		t.Errorf("run ended with %v, want the handler's error and its place", err)
	}
	if r.Summary().Complete {
		t.Error("complete")
	}
}

// TestCancelWithoutPublisher: nobody is at the endpoints, and the run still ends
// when it is told to.
func TestCancelWithoutPublisher(t *testing.T) {
	s, err := New(Config{Endpoints: []string{"ipc://" + t.TempDir() + "/a", "ipc://" + t.TempDir() + "/b"}}, &notes{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("run ended with %v, want context.Canceled", err)
	}
}

func TestWhy(t *testing.T) {
	for _, tc := range []struct {
		sum  Summary
		want string
	}{
		{Summary{Ended: true, Complete: true}, ""},
		{Summary{}, "the end mark has not come"},
		{Summary{Ended: true}, "joined after the first record"},
		{Summary{Ended: true, Gaps: 2, Lost: 9}, "2 gaps lost 9 records"},
		{Summary{Ended: true, Corrupt: 3}, "3 batches were corrupt"},
		{Summary{Ended: true, Broken: 1}, "without an end mark 1 times"},
		{Summary{Ended: true, Diverged: 1}, "rolling hash differed"},
	} {
		if got := tc.sum.Why(); !strings.Contains(got, tc.want) || (tc.want == "") != (got == "") {
			t.Errorf("%+v: %q, want %q", tc.sum, got, tc.want)
		}
	}
}

// TestAllocReceive: a batch costs no allocation, from the socket to the handler.
func TestAllocReceive(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{RecvTimeout: zsock.Forever})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(socket.Close(), ctx.Close()); err != nil {
			t.Error(err)
		}
	}()
	if err := errors.Join(socket.Connect(p.endpoint), socket.Subscribe("")); err != nil {
		t.Fatal(err)
	}
	p.await("")
	h := &tally{}
	s, err := New(Config{Endpoints: []string{p.endpoint}}, h)
	if err != nil {
		t.Fatal(err)
	}
	l := s.loops[0]
	l.socket = socket
	l.message = zsock.NewMessage()
	defer l.message.Close()

	const batches = 200
	headers, payloads := make([][]byte, batches+1), make([][]byte, batches+1)
	for i := range headers {
		head, payload := p.records(50)
		headers[i], payloads[i] = p.frame(head), payload
	}
	i := 0
	allocs := testing.AllocsPerRun(batches, func() {
		if err := p.socket.SendBatch(headers[i], payloads[i], nil, nil); err != nil {
			t.Fatal(err)
		}
		i++
		if err := l.socket.Recv(l.message); err != nil {
			t.Fatal(err)
		}
		if err := l.take(); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations a batch, want 0", allocs)
	}
	if h.records != 50*(batches+1) || s.Summary().Records != h.records {
		t.Errorf("%d records visited, %d counted", h.records, s.Summary().Records)
	}
}

// tally is a Handler that visits every record.
type tally struct{ records uint64 }

func (h *tally) HandleBatch(b *wire.Batch, _ uint32) error {
	w := b.Records()
	for w.Next() {
		h.records++
	}
	return w.Err()
}

func (*tally) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq) {}
func (*tally) HandleSession(int, wire.Epoch, *wire.Session)  {}
func (*tally) HandleEnd(int, wire.Epoch, bool)               {}
