package resync

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// faults are what a testServer can do wrong. They are asked under its lock.
type faults struct {
	heard   chan Command                         // while deaf: what was said in vain
	deaf    bool                                 // take nothing in, answer nothing
	keeps   bool                                 // have requests, and send nothing for them
	forget  func(r *RefillRequest) bool          // lose this request
	fail    func(r *RefillRequest) *RequestError // answer this instead
	damage  func(head, payload []byte)           // of each chunk
	digest  bool                                 // end with another digest
	greedy  bool                                 // send without regard for credit
	stopAt  wire.Seq                             // lose the request when it comes to this sequence, once
	chunked func(b *wire.Batch)                  // a chunk was sent
}

// testServer is the least that speaks the protocol: one goroutine, one ROUTER.
type testServer struct {
	t        testing.TB
	source   Refills
	values   []wire.Record // of a snapshot
	places   []Span
	chunk    int
	endpoint string
	run      uint64 // of starts

	mu     sync.Mutex
	faults faults
	spent  map[RequestID]int64 // the most that was sent beyond the credit
}

type testRequest struct {
	peer   []byte
	id     RequestID
	span   Span
	to     wire.Seq
	credit int64
	sent   Digest
	values int // of a snapshot: how many were sent; -1: a refill
}

func startServer(t testing.TB, source Refills) *testServer {
	t.Helper()
	s := &testServer{t: t, source: source, chunk: 256 << 10, spent: map[RequestID]int64{}}
	s.start("tcp://127.0.0.1:*")
	return s
}

// start serves until the test ends, or until the returned function is called.
func (s *testServer) start(endpoint string) (stop func()) {
	s.t.Helper()
	zctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		s.t.Fatal(err)
	}
	socket, err := zctx.NewSocket(zsock.ROUTER, zsock.SocketConfig{RecvTimeout: 2 * time.Millisecond, SendTimeout: time.Second, SendQueue: -1})
	if err != nil {
		s.t.Fatal(err)
	}
	if s.endpoint, err = socket.Bind(endpoint); err != nil {
		s.t.Fatal(err)
	}
	s.run++
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve(ctx, socket)
		_ = socket.Close()
		_ = zctx.Close()
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	s.t.Cleanup(stop)
	return stop
}

func (s *testServer) set(f func(*faults)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.faults)
}

func (s *testServer) serve(ctx context.Context, socket *zsock.Socket) {
	var running []*testRequest
	for ctx.Err() == nil {
		for {
			s.mu.Lock()
			able := slices.ContainsFunc(running, func(r *testRequest) bool { return r.credit > 0 || s.faults.greedy })
			s.mu.Unlock()
			if able && !socket.Readable() {
				break
			}
			frames, err := socket.RecvFrames()
			if err != nil {
				break
			}
			s.mu.Lock()
			running = s.take(socket, running, frames[0], frames[1:])
			s.mu.Unlock()
		}
		s.mu.Lock()
		running = slices.DeleteFunc(running, func(r *testRequest) bool { return s.send(ctx, socket, r) })
		s.mu.Unlock()
	}
}

func (s *testServer) take(socket *zsock.Socket, running []*testRequest, peer []byte, frames [][]byte) []*testRequest {
	h, err := ParseHead(frames[0], len(frames))
	if s.faults.deaf && s.faults.heard != nil {
		s.faults.heard <- h.Command
	}
	if err != nil || s.faults.deaf {
		return running
	}
	i := slices.IndexFunc(running, func(r *testRequest) bool { return r.id == h.ID && string(r.peer) == string(peer) })
	switch h.Command {
	case CommandRefill:
		r, err := ParseRefill(frames[0])
		if err != nil {
			s.t.Errorf("server: %v", err)
			return running
		}
		if s.faults.forget != nil && s.faults.forget(&r) {
			return running
		}
		if s.faults.fail != nil {
			if e := s.faults.fail(&r); e != nil {
				e.ID = r.ID
				head, text := AppendError(nil, nil, e)
				_ = socket.SendFrames(peer, head, text)
				return running
			}
		}
		return append(running, &testRequest{peer: peer, id: r.ID, span: r.Span, to: r.Span.To, credit: int64(r.Credit), values: -1})
	case CommandSnapshot:
		r, err := ParseSnapshot(frames[0], frames[1])
		if err != nil {
			s.t.Errorf("server: %v", err)
			return running
		}
		return append(running, &testRequest{peer: peer, id: r.ID, credit: int64(r.Credit)})
	case CommandFind:
		r, err := ParseFind(frames[0])
		if err != nil {
			s.t.Errorf("server: %v", err)
			return running
		}
		spans, _ := s.source.Find(context.Background(), r.Time, r.Clock)
		head, frame := AppendSpans(nil, nil, r.ID, spans)
		_ = socket.SendFrames(peer, head, frame)
	case CommandCredit:
		_, n, err := ParseCredit(frames[0])
		if err != nil {
			s.t.Errorf("server: %v", err)
		} else if i >= 0 {
			running[i].credit += int64(n)
		}
	case CommandCancel:
		if i >= 0 {
			return slices.Delete(running, i, i+1)
		}
	case CommandPing:
		_ = socket.SendFrames(peer, AppendPong(nil, &Pong{ID: h.ID, Server: s.run, Has: i >= 0}))
	}
	return running
}

// send sends the next message of a request and reports whether it was the last.
func (s *testServer) send(ctx context.Context, socket *zsock.Socket, r *testRequest) bool {
	if r.credit <= 0 && !s.faults.greedy || s.faults.deaf || s.faults.keeps {
		return false
	}
	if r.values >= 0 {
		return s.sendValues(socket, r)
	}
	if s.faults.stopAt != 0 && r.span.From >= s.faults.stopAt {
		s.faults.stopAt = 0
		return true
	}
	if r.span.From >= r.to {
		return s.end(socket, r, false)
	}
	b, release, err := s.source.Read(ctx, r.span.Epoch, r.span.Shard, r.span.From, r.to, s.chunk)
	if err != nil {
		if r.to == Open && errors.Is(err, ErrNotYet) {
			return s.end(socket, r, true)
		}
		e := RequestError{ID: r.id, Code: CodeFailed, Next: r.span.From}
		switch {
		case errors.Is(err, ErrGone):
			e.Code, e.Advice = CodeGone, AdviceSkip
			for _, x := range s.source.Extents() {
				if x.Epoch == r.span.Epoch && x.Shard == r.span.Shard && x.From > r.span.From && e.Skip == 0 {
					e.Skip = x.From
				}
			}
		case errors.Is(err, ErrNotYet):
			e.Code, e.Advice, e.Wait = CodeNotYet, AdviceRetry, time.Millisecond
		case errors.Is(err, ErrUnknownEpoch):
			e.Code, e.Advice = CodeUnknownEpoch, AdviceOther
		}
		head, text := AppendError(nil, nil, &e)
		_ = socket.SendFrames(r.peer, head, text)
		return true
	}
	defer release()
	head := make([]byte, ChunkHeadSize)
	PutChunkHead(head, r.id, &b.Header)
	payload := b.Payload
	if s.faults.damage != nil {
		payload = slices.Clone(payload)
		s.faults.damage(head, payload)
	}
	frames := [][]byte{r.peer, head, payload, b.Order}
	if len(b.Order) == 0 {
		frames = frames[:3]
	}
	_ = socket.SendFrames(frames...)
	size := len(b.Payload) + len(b.Order)
	r.credit -= int64(size)
	s.spent[r.id] = max(s.spent[r.id], -r.credit)
	r.sent.Add(b.Count, b.CRC, size)
	r.span.From = b.Next()
	if s.faults.chunked != nil {
		s.faults.chunked(&b)
	}
	return false
}

func (s *testServer) end(socket *zsock.Socket, r *testRequest, ended bool) bool {
	e := End{ID: r.id, Digest: r.sent, Next: r.span.From, Ended: ended}
	if r.values >= 0 {
		e.Next, e.Positions = 0, []Span{{Epoch: 7, Shard: 0, To: 100}, {Epoch: 7, Shard: 1, To: 200}}
	}
	if s.faults.digest {
		e.Digest.Hash++
	}
	head, frame := AppendEnd(nil, nil, &e)
	_ = socket.SendFrames(r.peer, head, frame)
	return true
}

func (s *testServer) sendValues(socket *zsock.Socket, r *testRequest) bool {
	if r.values == len(s.values) {
		return s.end(socket, r, false)
	}
	n := min(len(s.values)-r.values, 10)
	var payload, places []byte
	for i := r.values; i < r.values+n; i++ {
		payload, places = append(payload, s.values[i]...), AppendPlace(places, s.places[i])
	}
	_ = socket.SendFrames(r.peer, AppendEntriesHead(nil, r.id, payload, places), payload, places)
	size := len(payload) + len(places)
	r.sent.Add(uint32(n), wire.CRC(payload, places), size)
	r.credit -= int64(size)
	r.values += n
	return false
}

// startClient runs a client of the servers until the test ends. It takes no server
// for gone unless the test says after how long: a busy machine is no silence.
func startClient(t testing.TB, cfg ClientConfig, servers ...*testServer) *Client {
	t.Helper()
	cfg.Silence = or(cfg.Silence, time.Minute)
	for _, s := range servers {
		cfg.Endpoints = append(cfg.Endpoints, s.endpoint)
	}
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("client: %v", err)
		}
	})
	return c
}
