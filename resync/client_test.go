package resync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// filled is a history of one shard of epoch 7: n batches of ten records.
func filled(n int) *history {
	m := newHistory(1)
	for i := range n {
		m.add(numbered(7, 0, 1, wire.Seq(10*i), 10, 100))
	}
	return m
}

// collect checks that what is handed over is in sequence from next on.
func collect(next *wire.Seq) func(*wire.Batch) error {
	return func(b *wire.Batch) error {
		if b.FirstSeq != *next {
			return fmt.Errorf("batch at %d, want %d", b.FirstSeq, *next)
		}
		*next = b.Next()
		return nil
	}
}

func TestRefill(t *testing.T) {
	s := startServer(t, filled(100))
	c := startClient(t, ClientConfig{}, s)
	for _, span := range []Span{{7, 0, 0, 1000}, {7, 0, 15, 16}, {7, 0, 5, 995}, {7, 0, 300, Open}, {7, 0, 1000, Open}} {
		got := span.From
		next, ended, err := c.Refill(t.Context(), span, collect(&got))
		want := min(span.To, 1000)
		if err != nil || next != want || got != want || ended != (span.To == Open) {
			t.Errorf("%v: came to %d, handed over to %d, ended %v: %v", span, next, got, ended, err)
		}
	}
	if st := c.Stats(); st.Requests != 5 || st.Refused != 0 || st.Bytes == 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestRefillIsRefusedBeforeItIsSent(t *testing.T) {
	c := startClient(t, ClientConfig{}, startServer(t, filled(1)))
	for _, span := range []Span{{0, 0, 0, 1}, {7, 0, 1, 1}, {7, -1, 0, 1}, {7, 1 << 16, 0, 1}} {
		if _, _, err := c.Refill(t.Context(), span, func(*wire.Batch) error { return nil }); err == nil {
			t.Errorf("%v was asked for", span)
		}
	}
}

// TestCreditBoundsWhatIsAhead: a client that does not take does not get more than
// its window and one message.
func TestCreditBoundsWhatIsAhead(t *testing.T) {
	m := filled(2000)
	s := startServer(t, m)
	sent := make(chan wire.Seq, 4000)
	s.set(func(f *faults) { f.chunked = func(b *wire.Batch) { sent <- b.Next() } })
	batch := int64(len(m.batches[7][0][0].Payload))
	c := startClient(t, ClientConfig{WindowBytes: 10 * batch}, s)
	got, held := wire.Seq(0), false
	_, _, err := c.Refill(t.Context(), Span{7, 0, 0, 20_000}, func(b *wire.Batch) error {
		if !held {
			// Nothing is taken; the server stops by itself, however often its turn
			// comes.
			held = true
			for range 10 {
				<-sent
			}
			for range 5 {
				if _, err := c.Find(t.Context(), wire.NanosMin, "event"); err != nil {
					return err
				}
			}
			if len(sent) != 0 {
				return fmt.Errorf("the server went on to %d without credit", <-sent)
			}
		}
		return collect(&got)(b)
	})
	if err != nil || got != 20_000 {
		t.Fatalf("came to %d: %v", got, err)
	}
	for id, over := range s.spent {
		if over >= batch {
			t.Errorf("request %d: %d bytes beyond its credit", id, over)
		}
	}
}

// TestGreedyServer: what a server sends without credit is not stored.
func TestGreedyServer(t *testing.T) {
	s := startServer(t, filled(50))
	s.set(func(f *faults) { f.greedy = true })
	c := startClient(t, ClientConfig{WindowBytes: 1, Attempts: 1}, s)
	got := wire.Seq(0)
	_, _, _ = c.Refill(t.Context(), Span{7, 0, 0, 500}, collect(&got))
	if st := c.Stats(); st.Refused == 0 || got == 0 {
		t.Errorf("came to %d: %+v", got, st)
	}
}

// TestFailover: whatever a server does wrong, the next one goes on from there.
func TestFailover(t *testing.T) {
	for name, wrong := range map[string]func(f *faults){
		"forgets":        func(f *faults) { f.forget = func(*RefillRequest) bool { return true } },
		"forgets midway": func(f *faults) { f.stopAt = 500 },
		"is deaf":        func(f *faults) { f.deaf = true },
		"is busy": func(f *faults) {
			f.fail = func(*RefillRequest) *RequestError {
				return &RequestError{Code: CodeBusy, Advice: AdviceRetry, Text: "full"}
			}
		},
		"refuses": func(f *faults) {
			f.fail = func(*RefillRequest) *RequestError { return &RequestError{Code: CodeNotServed, Advice: AdviceOther} }
		},
		"damages payloads": func(f *faults) { f.damage = func(_, p []byte) { p[len(p)-1]++ } },
		"damages sequences": func(f *faults) {
			f.damage = func(h, _ []byte) { h[headSize+24]++ }
		},
		"sends another epoch": func(f *faults) { f.damage = func(h, _ []byte) { h[headSize+16]++ } },
		"sends another shard": func(f *faults) {
			f.damage = func(h, _ []byte) { h[headSize+8]++; h[headSize+10]++ }
		},
		"cuts records": func(f *faults) {
			f.damage = func(h, p []byte) {
				p[1]++ // the first body is longer than it was
				b, _ := wire.ParseHeader(h[headSize:])
				b.CRC = wire.CRC(p, nil)
				wire.PutHeader(h[headSize:], &b)
			}
		},
		"damages heads": func(f *faults) { f.damage = func(h, _ []byte) { h[0]++ } },
	} {
		t.Run(name, func(t *testing.T) {
			m := filled(100)
			bad, good := startServer(t, m), startServer(t, m)
			bad.set(wrong)
			c := startClient(t, ClientConfig{Silence: 100 * time.Millisecond, Backoff: time.Millisecond, Attempts: 1000}, bad, good)
			got := wire.Seq(0)
			if next, _, err := c.Refill(t.Context(), Span{7, 0, 0, 1000}, collect(&got)); err != nil || next != 1000 || got != 1000 {
				t.Errorf("came to %d, handed over to %d: %v; %+v", next, got, err, c.Stats())
			}
		})
	}
}

// TestDigestDiffers: what was handed over cannot be taken back, so that is an error
// and not another attempt.
func TestDigestDiffers(t *testing.T) {
	s := startServer(t, filled(10))
	s.set(func(f *faults) { f.digest = true })
	c := startClient(t, ClientConfig{}, s)
	got := wire.Seq(0)
	if _, _, err := c.Refill(t.Context(), Span{7, 0, 0, 100}, collect(&got)); !errors.Is(err, ErrDigest) || got != 100 {
		t.Errorf("came to %d: %v", got, err)
	}
}

// TestRefillSaysWhatIsMissing: the error is the last server's, with where to go on.
func TestRefillSaysWhatIsMissing(t *testing.T) {
	m := filled(100)
	m.batches[7][0] = slices.Delete(m.batches[7][0], 40, 60)
	c := startClient(t, ClientConfig{Backoff: time.Millisecond, Attempts: 2}, startServer(t, m), startServer(t, m))
	got := wire.Seq(0)
	next, _, err := c.Refill(t.Context(), Span{7, 0, 0, 1000}, collect(&got))
	var answer *RequestError
	if !errors.Is(err, ErrGone) || !errors.As(err, &answer) || next != 400 || answer.Skip != 600 {
		t.Errorf("came to %d: %#v", next, err)
	}
	if _, _, err = c.Refill(t.Context(), Span{8, 0, 0, 1000}, collect(&got)); !errors.Is(err, ErrUnknownEpoch) {
		t.Errorf("unknown epoch: %v", err)
	}
	if _, _, err = c.Refill(t.Context(), Span{7, 0, 1000, 1001}, collect(&got)); !errors.Is(err, ErrNotYet) {
		t.Errorf("not yet: %v", err)
	}
}

// TestTakerFails: its error comes back, and ends the request.
func TestTakerFails(t *testing.T) {
	c := startClient(t, ClientConfig{}, startServer(t, filled(100)))
	own := errors.New("disk full")
	next, _, err := c.Refill(t.Context(), Span{7, 0, 0, 1000}, func(b *wire.Batch) error {
		if b.FirstSeq == 500 {
			return own
		}
		return nil
	})
	if !errors.Is(err, own) || next != 510 || c.Stats().Requests != 1 {
		t.Errorf("came to %d: %v, %+v", next, err, c.Stats())
	}
}

// TestServerRestarts: requests that were lost with it are asked again.
func TestServerRestarts(t *testing.T) {
	m := filled(1000)
	s := &testServer{t: t, source: m, chunk: 1, spent: map[RequestID]int64{}}
	stop := s.start("tcp://127.0.0.1:*")
	c := startClient(t, ClientConfig{Silence: 200 * time.Millisecond, Backoff: time.Millisecond, WindowBytes: 20_000, Attempts: 1000}, s)
	got := wire.Seq(0)
	next, _, err := c.Refill(t.Context(), Span{7, 0, 0, 10_000}, func(b *wire.Batch) error {
		if b.FirstSeq == 3000 {
			stop()
			s.start(s.endpoint)
		}
		return collect(&got)(b)
	})
	if err != nil || next != 10_000 || c.Stats().Requests < 2 {
		t.Errorf("came to %d: %v, %+v", next, err, c.Stats())
	}
}

// TestRestartIsSeen: pongs tell one run of a server from another.
func TestRestartIsSeen(t *testing.T) {
	s := &testServer{t: t, source: filled(1), spent: map[RequestID]int64{}}
	stop := s.start("tcp://127.0.0.1:*")
	c := startClient(t, ClientConfig{Silence: 50 * time.Millisecond, Backoff: time.Millisecond, Attempts: 1000}, s)
	lost := make(chan struct{}, 1000)
	s.set(func(f *faults) { f.forget = func(*RefillRequest) bool { lost <- struct{}{}; return true } })
	done := make(chan error, 1)
	go func() {
		_, _, err := c.Refill(t.Context(), Span{7, 0, 0, 10}, func(*wire.Batch) error { return nil })
		done <- err
	}()
	for range 3 {
		<-lost // it has been asked again: a pong has come
	}
	stop()
	for len(lost) > 0 { // what the first one heard
		<-lost
	}
	s.start(s.endpoint)
	for range 3 {
		<-lost
	}
	s.set(func(f *faults) { f.forget = nil })
	if err := <-done; err != nil || c.Stats().Restarts == 0 || c.Stats().Forgotten == 0 {
		t.Errorf("%v, %+v", err, c.Stats())
	}
}

// TestNoServer: nobody is there, and the caller learns so.
func TestNoServer(t *testing.T) {
	s := &testServer{t: t, source: filled(1), spent: map[RequestID]int64{}}
	s.start("tcp://127.0.0.1:*")()
	c := startClient(t, ClientConfig{Silence: 30 * time.Millisecond, Backoff: time.Millisecond, Attempts: 2}, s)
	if _, err := c.Find(t.Context(), 0, "event"); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("find: %v", err)
	}
	if st := c.Stats(); st.NoAnswer != 2 || st.Requests != 2 {
		t.Errorf("stats %+v", st)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Find(ctx, 0, "event"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled find: %v", err)
	}
}

// TestAfterRun: a Client that has run fails what is asked of it.
func TestAfterRun(t *testing.T) {
	s := startServer(t, filled(1))
	c, err := NewClient(ClientConfig{Endpoints: []string{s.endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	if _, err := c.Find(t.Context(), 0, "event"); err != nil {
		t.Fatal(err)
	}
	heard := make(chan Command, 1000)
	s.set(func(f *faults) { f.deaf, f.heard = true, heard })
	asked := make(chan error, 1)
	go func() {
		_, err := c.Find(t.Context(), 0, "event")
		asked <- err
	}()
	<-heard
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("run: %v", err)
	}
	if err := <-asked; !errors.Is(err, ErrClosed) {
		t.Errorf("asked before: %v", err)
	}
	if _, err := c.Find(t.Context(), 0, "event"); !errors.Is(err, ErrClosed) {
		t.Errorf("asked after: %v", err)
	}
}

func TestFind(t *testing.T) {
	m := newHistory(2)
	m.add(numbered(7, 0, 2, 0, 50, 16))
	m.add(numbered(7, 1, 2, 0, 20, 16))
	m.add(numbered(8, 0, 2, 0, 5, 16))
	c := startClient(t, ClientConfig{}, startServer(t, m))
	got, err := c.Find(t.Context(), 7e6+30, "event")
	if want := []Span{{7, 0, 30, 50}, {8, 0, 0, 5}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, want %v: %v", got, want, err)
	}
	if got, err = c.Find(t.Context(), wire.NanosMin, "receive"); err != nil || !slices.Equal(got, m.Extents()) {
		t.Errorf("got %v, want %v: %v", got, m.Extents(), err)
	}
	if _, err := c.Find(t.Context(), 0, "wall"); err == nil {
		t.Error("a clock that does not exist was asked for")
	}
}

// values gives a server n last values.
func (s *testServer) fill(n int) {
	for i := range n {
		b := numbered(7, i%2, 2, wire.Seq(i), 1, 16)
		s.values = append(s.values, wire.Record(b.Payload))
		s.places = append(s.places, Span{Epoch: 7, Shard: i % 2, From: wire.Seq(i)})
	}
}

func TestSnapshot(t *testing.T) {
	for _, n := range []int{0, 1, 1000} {
		s := startServer(t, filled(1))
		s.fill(n)
		c := startClient(t, ClientConfig{WindowBytes: 4000}, s)
		r, err := c.Snapshot(t.Context(), Query{Prefixes: []string{"T"}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			rec, at, ok := r.Next()
			if !ok || at != s.places[i] || !bytes.Equal(rec, s.values[i]) {
				t.Fatalf("%d of %d: %v at %v, %v", i, n, ok, at, r.Err())
			}
		}
		if _, _, ok := r.Next(); ok || r.Err() != nil || r.Entries() != uint64(n) || len(r.Positions()) != 2 {
			t.Errorf("of %d: %d entries, positions %v: %v", n, r.Entries(), r.Positions(), r.Err())
		}
		r.Close()
		r.Close()
	}
}

func TestSnapshotDiffers(t *testing.T) {
	s := startServer(t, filled(1))
	s.fill(25)
	s.set(func(f *faults) { f.digest = true })
	c := startClient(t, ClientConfig{}, s)
	r, err := c.Snapshot(t.Context(), Query{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := 0
	for _, _, ok := r.Next(); ok; _, _, ok = r.Next() {
		n++
	}
	if n != 25 || !errors.Is(r.Err(), ErrDigest) {
		t.Errorf("%d records, then %v", n, r.Err())
	}
}

func TestSnapshotLeftEarly(t *testing.T) {
	s := startServer(t, filled(10))
	s.fill(1000)
	c := startClient(t, ClientConfig{WindowBytes: 1000}, s)
	r, err := c.Snapshot(t.Context(), Query{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := r.Next(); !ok || r.Entries() != 0 || r.Positions() != nil {
		t.Error("a snapshot that has not come through says what it has")
	}
	r.Close()
	if _, _, ok := r.Next(); ok {
		t.Error("a snapshot that was closed goes on")
	}
	got := wire.Seq(0)
	if _, _, err := c.Refill(t.Context(), Span{7, 0, 0, 100}, collect(&got)); err != nil {
		t.Error(err)
	}
}

func TestClientConfig(t *testing.T) {
	for _, cfg := range []ClientConfig{
		{}, {Endpoints: []string{"tcp://x"}, WindowBytes: -1}, {Endpoints: []string{"tcp://x"}, Silence: -1},
		{Endpoints: []string{"tcp://x"}, ChunkBytes: MessageMax + 1},
	} {
		if _, err := NewClient(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
	c, err := NewClient(ClientConfig{Endpoints: []string{"nonsense"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err == nil {
		t.Error("an endpoint that is none was connected")
	}
}
