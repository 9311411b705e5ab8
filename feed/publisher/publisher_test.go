package publisher

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

var session = wire.Session{Publisher: "test", Mode: "lossless"}

func TestConfigIsChecked(t *testing.T) {
	one := []string{anyPort}
	for name, cfg := range map[string]Config{
		"no endpoints":       {},
		"too many endpoints": {Endpoints: make([]string, 1<<16)},
		"I/O CPUs":           {Endpoints: one, IOCPUs: []int{0, 1}},
		"queue":              {Endpoints: one, QueueBytes: -1},
		"heartbeat":          {Endpoints: one, Heartbeat: -1},
		"end wait":           {Endpoints: one, EndWait: -1},
	} {
		if p, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
			_ = p.Close()
		}
	}
}

// TestEndpointInUse: the error names the endpoint and its shard, and what was
// bound before is free again.
func TestEndpointInUse(t *testing.T) {
	taken := open(t, Config{}).Endpoints()[0]
	free := "ipc://" + t.TempDir() + "/free"
	_, err := New(Config{Endpoints: []string{free, taken}})
	if err == nil || !strings.Contains(err.Error(), taken) || !strings.Contains(err.Error(), "shard 1") {
		t.Fatalf("got %v, want an error that names shard 1 and %s", err, taken)
	}
	open(t, Config{Endpoints: []string{free}})
}

// TestWholeStream: two readers of three shards get everything and can prove it.
func TestWholeStream(t *testing.T) {
	for _, endpoints := range [][]string{
		{anyPort, anyPort, anyPort},
		{"ipc://" + t.TempDir() + "/0", "ipc://" + t.TempDir() + "/1", "ipc://" + t.TempDir() + "/2"},
	} {
		p := open(t, Config{Endpoints: endpoints, Lossless: true, Session: session})
		a := subscribe(t, p, subscriber.Config{Name: "a"}, openGate())
		b := subscribe(t, p, subscriber.Config{Name: "b"}, openGate())
		if err := p.WaitReaders(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if names := strings.Join(p.Readers(), " "); names != "a b" {
			t.Errorf("readers %q", names)
		}
		var loans lender
		want := uint64(0)
		for i := range 30 {
			batch := makeBatch(t, 1<<(i%20))
			want += uint64(batch.Count)
			if err := p.Send(t.Context(), i%3, batch, loans.lend(t)); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.End(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, r := range []*subReader{a, b} {
			if err := <-r.done; err != nil {
				t.Fatal(err)
			}
			if s := r.Summary(); !s.Complete || s.Records != want || s.Batches != 30 {
				t.Errorf("summary %+v, want complete with %d records", s, want)
			}
		}
		if st := p.Stats(); st.Records != want || st.Batches != 30 || st.Joined != 2 || st.Finished != 2 || st.Left != 0 {
			t.Errorf("stats %+v", st)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if loans.back != loans.lent {
			t.Errorf("%d of %d loans came back", loans.back, loans.lent)
		}
	}
}

// TestBarrier: a reader that has confirmed on one of two shards is not ready.
func TestBarrier(t *testing.T) {
	p := open(t, Config{Endpoints: []string{anyPort, anyPort}})
	id := wire.ReaderID{1}
	first, second := connect(t, p.Endpoints()[0], zsock.SUB), connect(t, p.Endpoints()[1], zsock.SUB)
	first.subscribe("")
	second.subscribe("")
	until(t, p, func() bool { return first.readable() && second.readable() })
	for i, r := range []*raw{first, second} {
		if h := r.next(); h.Flags != wire.FlagHello || int(h.Shard) != i || h.Shards != 2 {
			t.Fatalf("shard %d: first message is %+v, want a hello", i, h)
		}
	}
	first.subscribe(wire.ReadyTopic(id, "half"))
	until(t, p, func() bool { return p.Stats().Joined == 1 })
	if p.readers.receiving() != 0 || len(p.Readers()) != 0 {
		t.Fatal("a reader that confirmed on one of two shards counts as ready")
	}
	second.subscribe(wire.ReadyTopic(id, "half"))
	if err := p.WaitReaders(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if names := p.Readers(); len(names) != 1 || names[0] != "half" {
		t.Errorf("readers %q", names)
	}
}

func TestWaitReadersEndsWithContext(t *testing.T) {
	p := open(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, n := range []int{0, 1} {
		if err := p.WaitReaders(ctx, n); !errors.Is(err, context.Canceled) {
			t.Errorf("waiting for %d: got %v, want context.Canceled", n, err)
		}
	}
}

// TestLosslessBlocks: in lossless mode a slow reader makes Send wait, the end of
// the context ends the wait with nothing sent, and nothing is lost.
func TestLosslessBlocks(t *testing.T) {
	p := open(t, Config{Lossless: true, QueueBytes: 1 << 20, Session: session})
	slow := &gate{open: make(chan struct{})}
	r := subscribe(t, p, subscriber.Config{QueueBytes: 1}, slow)
	if err := p.WaitReaders(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	// More than all buffers between the two take: libzmq's queues and the
	// kernel's.
	const batches = 100
	batch := makeBatch(t, 1<<20)
	var loans lender
	blocked := false
	for sent := 0; sent < batches; {
		ctx, cancel := t.Context(), context.CancelFunc(func() {})
		if !blocked {
			ctx, cancel = context.WithTimeout(ctx, 200*time.Millisecond)
		}
		err := p.Send(ctx, 0, batch, loans.lend(t))
		cancel()
		switch {
		case err == nil:
			sent++
		case errors.Is(err, context.DeadlineExceeded) && !blocked:
			blocked = true
			close(slow.open)
		default:
			t.Fatal(err)
		}
	}
	if !blocked {
		t.Fatalf("%d MiB went out to a reader that takes nothing", batches)
	}
	if err := p.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	if s := r.Summary(); !s.Complete || s.Records != batches*uint64(batch.Count) {
		t.Errorf("summary %+v", s)
	}
	if p.Stats().Stalled == 0 {
		t.Error("no stall was counted")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if loans.back != loans.lent {
		t.Errorf("%d of %d loans came back", loans.back, loans.lent)
	}
}

// TestLive: in live mode a slow reader loses and knows what, a fast one loses
// nothing, and Send never waits for the slow one.
func TestLive(t *testing.T) {
	slow, fast, loans := playLive(t, 1<<20, func(*Publisher) {})
	if !fast.Complete {
		t.Errorf("fast reader: %+v", fast)
	}
	if slow.Complete || slow.Gaps == 0 || slow.Lost == 0 || slow.Records+slow.Lost != fast.Records {
		t.Errorf("slow reader: %+v, want %d in all", slow, fast.Records)
	}
	if loans.back != loans.lent {
		t.Errorf("%d of %d loans came back", loans.back, loans.lent)
	}
}

// TestLiveHoldsLittle: what a reader that stands still makes libzmq hold of the
// caller's memory is bounded, however long its queue. A caller that sends from a
// pool of buffers would else wait for a live reader.
func TestLiveHoldsLittle(t *testing.T) {
	most := 0
	slow, fast, loans := playLive(t, 1<<30, func(p *Publisher) { most = max(most, p.shards[0].lentBytes) })
	if most > lendLive || most < lendLive/2 {
		t.Errorf("libzmq held %d bytes of the caller, want more than half of %d and not above", most, lendLive)
	}
	if !slow.Complete || !fast.Complete {
		t.Errorf("slow reader %+v\nfast reader %+v", slow, fast)
	}
	if loans.back != loans.lent {
		t.Errorf("%d of %d loans came back", loans.back, loans.lent)
	}
}

// playLive sends 80 MiB to a reader that takes nothing before the end and to one
// that takes everything at once, and returns what they have seen.
func playLive(t *testing.T, queueBytes int, each func(*Publisher)) (slow, fast subscriber.Summary, loans *lender) {
	p := open(t, Config{QueueBytes: queueBytes, Session: session})
	slowGate, fastGate := &gate{open: make(chan struct{})}, openGate()
	fastGate.taken = make(chan uint32, 1)
	slowReader := subscribe(t, p, subscriber.Config{Name: "slow", QueueBytes: 1}, slowGate)
	fastReader := subscribe(t, p, subscriber.Config{Name: "fast"}, fastGate)
	if err := p.WaitReaders(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	batch := makeBatch(t, 1<<20)
	loans = &lender{}
	for range 80 {
		if err := p.Send(t.Context(), 0, batch, loans.lend(t)); err != nil {
			t.Fatal(err)
		}
		each(p)
		<-fastGate.taken
	}
	close(slowGate.open)
	if err := p.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(<-fastReader.done, <-slowReader.done); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	slow, fast = slowReader.Summary(), fastReader.Summary()
	if slow.Lost != slowGate.gaps {
		t.Errorf("%d records lost, the handler saw %d", slow.Lost, slowGate.gaps)
	}
	return slow, fast, loans
}

// TestSizesChange: a short queue takes everything, however the sizes of batches
// change.
func TestSizesChange(t *testing.T) {
	p := open(t, Config{Lossless: true, QueueBytes: 4 << 20, Session: session})
	r := subscribe(t, p, subscriber.Config{}, openGate())
	if err := p.WaitReaders(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	small, large := makeBatch(t, 100), makeBatch(t, 1<<20)
	want := uint64(0)
	for i := range 2000 {
		batch := small
		if i%(10+i/700) == 0 && i%700 > 500 {
			batch = large
		}
		want += uint64(batch.Count)
		if err := p.Send(t.Context(), 0, batch, (&lender{}).lend(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(p.End(t.Context()), <-r.done); err != nil {
		t.Fatal(err)
	}
	if s := r.Summary(); !s.Complete || s.Records != want {
		t.Errorf("summary %+v, want %d records", s, want)
	}
}

// TestBytesAreHeld: lent bytes come back only when libzmq is through with them.
// What comes back is overwritten at once; a reader that still had it coming
// would see the difference.
func TestBytesAreHeld(t *testing.T) {
	p := open(t, Config{Lossless: true, Session: session})
	r := subscribe(t, p, subscriber.Config{}, openGate())
	if err := p.WaitReaders(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	const buffers = 8
	var free []*spoiled
	for range buffers {
		b := makeBatch(t, 300<<10)
		free = append(free, &spoiled{batch: b, keep: append([]byte(nil), b.Payload...), free: &free})
	}
	for range 200 {
		for len(free) == 0 {
			if err := p.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		s := free[0]
		free = free[1:]
		copy(s.batch.Payload, s.keep)
		if err := p.Send(t.Context(), 0, s.batch, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(p.End(t.Context()), <-r.done); err != nil {
		t.Fatal(err)
	}
	if s := r.Summary(); !s.Complete || s.Corrupt != 0 {
		t.Errorf("summary %+v", s)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if len(free) != buffers {
		t.Errorf("%d of %d buffers came back", len(free), buffers)
	}
}

// spoiled is a batch whose bytes are overwritten when they are given back.
type spoiled struct {
	batch *wire.Batch
	keep  []byte
	free  *[]*spoiled
}

func (s *spoiled) Release() {
	clear(s.batch.Payload)
	*s.free = append(*s.free, s)
}

// TestReleasedInEveryPath: whatever Send returns, the bytes come back once.
func TestReleasedInEveryPath(t *testing.T) {
	p := open(t, Config{Session: session})
	var loans lender
	dead, cancel := context.WithCancel(t.Context())
	cancel()
	large, small := makeBatch(t, 100<<10), makeBatch(t, 100)
	for _, tc := range []struct {
		ctx   context.Context
		batch *wire.Batch
		fails bool
	}{
		{t.Context(), large, false},
		{t.Context(), small, false},
		{dead, large, true},
		{dead, small, true},
		{t.Context(), &wire.Batch{Payload: large.Payload}, true}, // no records
	} {
		if err := p.Send(tc.ctx, 0, tc.batch, loans.lend(t)); (err != nil) != tc.fails {
			t.Errorf("%d records in %d bytes: %v", tc.batch.Count, len(tc.batch.Payload), err)
		}
	}
	if err := p.Send(t.Context(), 0, small, nil); err != nil {
		t.Errorf("without anything to release: %v", err)
	}
	if err := p.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Send(t.Context(), 0, large, loans.lend(t)); !errors.Is(err, ErrEnded) {
		t.Errorf("after the end: %v, want ErrEnded", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if loans.back != loans.lent {
		t.Errorf("%d of %d loans came back", loans.back, loans.lent)
	}
}

// TestCloseWithoutEnd: a reader that takes nothing does not hold up a Close, and
// what it had coming is given back.
func TestCloseWithoutEnd(t *testing.T) {
	p := open(t, Config{Lossless: true, QueueBytes: 1 << 20, Session: session})
	slow := &gate{open: make(chan struct{})}
	defer close(slow.open)
	subscribe(t, p, subscriber.Config{QueueBytes: 1}, slow)
	if err := p.WaitReaders(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	batch := makeBatch(t, 1<<20)
	var loans lender
	fill(t, p, batch, &loans)
	if loans.back == loans.lent {
		t.Fatal("nothing was held")
	}
	p.Stop()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if loans.back != loans.lent {
		t.Errorf("%d of %d loans came back", loans.back, loans.lent)
	}
	if err := p.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

// TestAllocSend: a batch costs no allocation, lent or copied.
func TestAllocSend(t *testing.T) {
	for name, size := range map[string]int{"lent": 64 << 10, "copied": 1 << 10} {
		t.Run(name, func(t *testing.T) {
			p := open(t, Config{Lossless: true})
			r := connect(t, p.Endpoints()[0], zsock.SUB)
			r.subscribe("")
			until(t, p, r.readable)
			batch, loans := makeBatch(t, size), &lender{}
			done := &reusable{loans}
			const runs = 1000
			drained := make(chan error, 1)
			go func() {
				m := zsock.NewMessage()
				defer m.Close()
				for i := 0; i <= runs; {
					if err := r.Recv(m); err != nil {
						drained <- err
						return
					}
					if len(m.Frame(1)) == len(batch.Payload) {
						i++
					}
				}
				drained <- nil
			}()
			allocs := testing.AllocsPerRun(runs, func() {
				if err := p.Send(t.Context(), 0, batch, done); err != nil {
					t.Fatal(err)
				}
			})
			if allocs != 0 {
				t.Errorf("%v allocations a batch, want 0", allocs)
			}
			if err := <-drained; err != nil {
				t.Fatal(err)
			}
		})
	}
}

// reusable is lent many times over.
type reusable struct{ of *lender }

func (r *reusable) Release() { r.of.back++ }
