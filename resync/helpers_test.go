package resync

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// history is what a stream has sent: Refills, as a test wants it.
type history struct {
	mu      sync.Mutex
	batches map[wire.Epoch]map[int][]*wire.Batch // by epoch and shard, in order, with holes
	order   []wire.Epoch
	ended   map[[2]int]bool // by epoch and shard
	shards  int
}

func newHistory(shards int) *history {
	return &history{batches: map[wire.Epoch]map[int][]*wire.Batch{}, ended: map[[2]int]bool{}, shards: shards}
}

func (m *history) add(b *wire.Batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.batches[b.Epoch] == nil {
		m.batches[b.Epoch] = map[int][]*wire.Batch{}
		m.order = append(m.order, b.Epoch)
	}
	shard := int(b.Shard)
	m.batches[b.Epoch][shard] = append(m.batches[b.Epoch][shard], b)
}

// end says that nothing more comes of an epoch on a shard.
func (m *history) end(epoch wire.Epoch, shard int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended[[2]int{int(epoch), shard}] = true
}

// End implements Ends.
func (m *history) End(epoch wire.Epoch, shard int) (wire.Seq, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.batches[epoch][shard]
	if !m.ended[[2]int{int(epoch), shard}] || len(list) == 0 {
		return 0, false
	}
	return list[len(list)-1].Next(), true
}

func (m *history) Extents() []Span {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Span
	for _, e := range m.order {
		for s := range m.shards {
			for _, b := range m.batches[e][s] {
				if n := len(list); n > 0 && list[n-1].Epoch == e && list[n-1].Shard == s && list[n-1].To == b.FirstSeq {
					list[n-1].To = b.Next()
					continue
				}
				list = append(list, Span{e, s, b.FirstSeq, b.Next()})
			}
		}
	}
	return list
}

func (m *history) Read(_ context.Context, epoch wire.Epoch, shard int, from, to wire.Seq, _ int) (wire.Batch, func(), error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.batches[epoch][shard]
	if list == nil {
		return wire.Batch{}, nil, ErrUnknownEpoch
	}
	i, _ := slices.BinarySearchFunc(list, from, func(b *wire.Batch, from wire.Seq) int {
		if b.Next() <= from {
			return -1
		}
		return 1
	})
	switch {
	case i == len(list):
		return wire.Batch{}, nil, ErrNotYet
	case list[i].FirstSeq > from:
		return wire.Batch{}, nil, ErrGone
	}
	return cutBatch(list[i], from, to), func() {}, nil
}

func (m *history) Find(_ context.Context, t wire.Nanos, _ string) ([]Span, error) {
	var list []Span
	for _, s := range m.Extents() {
		// The tests' event times are epoch*1e6 + sequence.
		first := wire.Seq(max(max(int64(t), 0)-int64(s.Epoch)*1e6, 0))
		if s.From = max(s.From, first); s.From < s.To {
			list = append(list, s)
		}
	}
	return list, nil
}

// cutBatch is the part [from, to) of b.
func cutBatch(b *wire.Batch, from, to wire.Seq) wire.Batch {
	if from <= b.FirstSeq && b.Next() <= to {
		return *b
	}
	out := wire.Batch{Header: b.Header}
	out.FirstSeq, out.Count = max(from, b.FirstSeq), 0
	out.FirstOrdinal = wire.Ordinal(out.FirstSeq)
	for w := b.Records(); w.Next(); {
		if w.Seq() >= from && w.Seq() < to {
			out.Payload = append(out.Payload, w.Record()...)
			out.Count++
		}
	}
	out.PayloadSize, out.OrderSize, out.CRC = uint32(len(out.Payload)), 0, wire.CRC(out.Payload, nil)
	return out
}

// numbered is a batch of n records with bodies of the given size, which begin with
// epoch and sequence.
func numbered(epoch wire.Epoch, shard, shards int, first wire.Seq, n, bodySize int) *wire.Batch {
	b := &wire.Batch{Header: wire.Header{Epoch: epoch, Shard: uint16(shard), Shards: uint16(shards), FirstSeq: first,
		FirstOrdinal: wire.Ordinal(first), Count: uint32(n)}}
	body := make([]byte, bodySize)
	for i := range n {
		binary.LittleEndian.PutUint64(body, uint64(epoch))
		binary.LittleEndian.PutUint64(body[8:], uint64(first)+uint64(i))
		b.Payload, _ = wire.AppendRecord(b.Payload, &wire.Fields{Topic: []byte("TOPIC.EX"), Body: body, Kind: wire.KindTrade,
			Event: wire.Nanos(int64(epoch)*1e6) + wire.Nanos(first) + wire.Nanos(i)})
	}
	b.PayloadSize, b.CRC = uint32(len(b.Payload)), wire.CRC(b.Payload, nil)
	return b
}

// faults are what a testServer can do wrong. They are asked under its lock.
type faults struct {
	heard   chan Command                         // while deaf: what was said in vain
	deaf    bool                                 // take nothing in, answer nothing
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
		_ = socket.SendFrames(peer, AppendPong(nil, &Pong{ID: h.ID, Server: 1, Has: i >= 0}))
	}
	return running
}

// send sends the next message of a request and reports whether it was the last.
func (s *testServer) send(ctx context.Context, socket *zsock.Socket, r *testRequest) bool {
	if r.credit <= 0 && !s.faults.greedy || s.faults.deaf {
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

// startClient runs a client of the servers until the test ends.
func startClient(t testing.TB, cfg ClientConfig, servers ...*testServer) *Client {
	t.Helper()
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
