package subscriber

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// ledger is what the workers of a test write down. Each worker has a page.
type ledger struct {
	pages []*page
}

// page is a WorkerHandler that writes down everything, in order.
type page struct {
	topics map[string][]uint32 // numbers in the bodies
	seqs   map[int][]wire.Seq  // per shard
	events []string            // "batch 0", "gap 3-5", "session 7", "end true"
	hold   chan struct{}       // if there is one, a share waits for it
	begun  chan struct{}       // if there is one, told when a share begins
	fail   func() error        // if there is one, called after each share
}

func newLedger(n int) *ledger {
	l := &ledger{}
	for range n {
		l.pages = append(l.pages, &page{topics: map[string][]uint32{}, seqs: map[int][]wire.Seq{}})
	}
	return l
}

func (l *ledger) handler(i int) WorkerHandler { return l.pages[i] }

func (p *page) HandleShare(s *Share) error {
	if p.begun != nil {
		p.begun <- struct{}{}
	}
	if p.hold != nil {
		<-p.hold
	}
	b := s.Batch()
	w, n := s.Records(), 0
	for w.Next() {
		n++
		r := w.Record()
		p.topics[string(r.Topic())] = append(p.topics[string(r.Topic())], binary.LittleEndian.Uint32(r.Body()))
		p.seqs[int(b.Shard)] = append(p.seqs[int(b.Shard)], w.Seq())
	}
	p.events = append(p.events, fmt.Sprint("batch ", b.FirstSeq))
	if n != s.Len() {
		return fmt.Errorf("share of %d records, Len says %d", n, s.Len())
	}
	if p.fail != nil {
		return p.fail()
	}
	return w.Err()
}

func (p *page) HandleGap(_ int, _ wire.Epoch, from, to wire.Seq) {
	p.events = append(p.events, fmt.Sprintf("gap %d-%d", from, to))
}

func (p *page) HandleSession(_ int, epoch wire.Epoch, _ *wire.Session) {
	p.events = append(p.events, fmt.Sprint("session ", epoch))
}

func (p *page) HandleEnd(_ int, _ wire.Epoch, complete bool) {
	p.events = append(p.events, fmt.Sprint("end ", complete))
}

// sendTopics sends a batch of n records, of many topics in turn; the body is the
// record's number within its topic.
func (p *fakePub) sendTopics(n int, next map[string]uint32) {
	p.t.Helper()
	var payload []byte
	for i := range n {
		topic := fmt.Sprintf("S%d.T%d", p.shard, (int(p.source.next)+i)%17)
		body := binary.LittleEndian.AppendUint32(nil, next[topic])
		var err error
		payload, err = wire.AppendRecord(payload, &wire.Fields{Topic: []byte(topic), Body: body, Event: 1, Receive: 2, TopicSeq: next[topic]})
		if err != nil {
			p.t.Fatal(err)
		}
		next[topic]++
	}
	h := p.source.batch(uint32(n), wire.CRC(payload, nil))
	h.PayloadSize, h.Send = uint32(len(payload)), 1
	p.send(h, payload)
}

// runWorkers runs until the test's end or its own.
func runWorkers(t *testing.T, ctx context.Context, w *Workers) chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return done
}

func mustWorkers(t testing.TB, cfg Config, wc WorkersConfig, h func(int) WorkerHandler) *Workers {
	t.Helper()
	w, err := NewWorkers(cfg, wc, h)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// until polls: there is nothing to wait on in what a loop alone knows.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for !done() {
		if t.Context().Err() != nil {
			t.Fatal("never: ", what)
		}
		runtime.Gosched()
	}
}

// TestWorkers sends two shards through workers of every kind and number, with
// pools so small that leases are used again all the time, and holds: every record
// once; with ByTopic a topic at one worker, in order.
func TestWorkers(t *testing.T) {
	for _, wc := range []WorkersConfig{
		{Workers: 1}, {Workers: 2}, {Workers: 3}, {Workers: 5, PoolBatches: 2}, {Workers: 3, PoolBytes: 1},
		{Workers: 1, Dispatch: Any}, {Workers: 3, Dispatch: Any, PoolBatches: 1},
	} {
		t.Run(fmt.Sprintf("%v/workers=%d/batches=%d/bytes=%d", wc.Dispatch, wc.Workers, wc.PoolBatches, wc.PoolBytes), func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			a, b := newFake(t, anyPort, 0, 2, 7), newFake(t, anyPort, 1, 2, 7)
			l := newLedger(wc.Workers)
			w := mustWorkers(t, Config{Endpoints: []string{a.endpoint, b.endpoint}}, wc, l.handler)
			done := runWorkers(t, t.Context(), w)
			a.greet()
			b.greet()
			sent := map[string]uint32{}
			const batches, each = 60, 23
			for range batches {
				a.sendTopics(each, sent)
				b.sendTopics(each, sent)
			}
			a.end()
			b.end()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			l.check(t, wc.Dispatch, sent)
			sum := w.Summary()
			var records uint64
			for _, s := range sum.Workers {
				records += s.Records
			}
			if !sum.Complete || records != 2*batches*each || sum.Records != records || sum.Discarded != 0 {
				t.Errorf("summary %+v", sum)
			}
		})
	}
}

func (l *ledger) check(t *testing.T, d Dispatch, sent map[string]uint32) {
	t.Helper()
	for topic, n := range sent {
		var got []uint32
		for i, p := range l.pages {
			if d == ByTopic && len(p.topics[topic]) > 0 && i != WorkerOf([]byte(topic), len(l.pages)) {
				t.Errorf("worker %d was given %s of worker %d", i, topic, WorkerOf([]byte(topic), len(l.pages)))
			}
			got = append(got, p.topics[topic]...)
		}
		if d == Any {
			slices.Sort(got)
		}
		if !slices.Equal(got, upTo(n)) {
			t.Errorf("%s: %d records, or not in order; want %d", topic, len(got), n)
		}
	}
	if d == ByTopic && len(l.pages) > 1 {
		for i, p := range l.pages {
			if len(p.topics) == 0 {
				t.Errorf("worker %d has no topics", i)
			}
			for shard, seqs := range p.seqs {
				if !slices.IsSorted(seqs) {
					t.Errorf("worker %d, shard %d: sequences out of order", i, shard)
				}
			}
		}
	}
}

// TestWorkersHearInOrder: what lies between batches reaches every worker where it
// lay.
func TestWorkersHearInOrder(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	l := newLedger(2)
	w := mustWorkers(t, Config{Endpoints: []string{p.endpoint}}, WorkersConfig{Workers: 2}, l.handler)
	done := runWorkers(t, t.Context(), w)
	p.greet()
	next := map[string]uint32{}
	p.sendTopics(20, next)
	p.source.batch(5, 0) // never sent
	p.sendTopics(20, next)
	p.end()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i, page := range l.pages {
		want := []string{"session 7", "batch 0", "gap 20-25", "batch 25", "end false"}
		if !slices.Equal(page.events, want) {
			t.Errorf("worker %d heard %q, want %q", i, page.events, want)
		}
	}
	if sum := w.Summary(); sum.Complete || sum.Lost != 5 {
		t.Errorf("summary %+v", sum)
	}
}

// TestWorkersWholeShare: a repeated start of a batch is left out by every kind of
// dispatch.
func TestWorkersWholeShare(t *testing.T) {
	for _, wc := range []WorkersConfig{{Workers: 1}, {Workers: 2}, {Workers: 1, Dispatch: Any}} {
		p := newFake(t, anyPort, 0, 1, 7)
		l := newLedger(wc.Workers)
		w := mustWorkers(t, Config{Endpoints: []string{p.endpoint}}, wc, l.handler)
		done := runWorkers(t, t.Context(), w)
		p.greet()
		p.sendTopics(4, map[string]uint32{})
		p.source.next = 2 // the next batch has two records that came before
		p.sendTopics(20, map[string]uint32{})
		p.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		var seqs []wire.Seq
		for _, page := range l.pages {
			seqs = append(seqs, page.seqs[0]...)
		}
		slices.Sort(seqs)
		if len(seqs) != 22 || seqs[0] != 0 || seqs[21] != 21 || len(slices.Compact(seqs)) != 22 {
			t.Errorf("%+v: got sequences %v, want 0 to 21 once each", wc, seqs)
		}
	}
}

// TestWorkerFails: an error, a panic and a lost goroutine of a worker each end
// the run, with its place, while the other shard is silent.
func TestWorkerFails(t *testing.T) {
	full := errors.New("disk is full")
	for name, tc := range map[string]struct {
		fail  func() error
		check func(error) bool
	}{
		"error": {func() error { return full }, func(err error) bool {
			return errors.Is(err, full) && strings.Contains(err.Error(), "worker 1, shard 0, batch at sequence 0")
		}},
		"panic": {func() error { panic("no such book") }, func(err error) bool {
			var p *PanicError
			return errors.As(err, &p) && p.Worker == 1 && p.Value == "no such book" && strings.Contains(string(p.Stack), "HandleShare")
		}},
		"goexit": {func() error { runtime.Goexit(); return nil }, func(err error) bool { return errors.Is(err, errGoexit) }},
	} {
		t.Run(name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			p, silent := newFake(t, anyPort, 0, 2, 7), newFake(t, anyPort, 1, 2, 7)
			l := newLedger(3)
			l.pages[1].fail = tc.fail
			w := mustWorkers(t, Config{Endpoints: []string{p.endpoint, silent.endpoint}}, WorkersConfig{Workers: 3}, l.handler)
			done := runWorkers(t, t.Context(), w)
			p.greet()
			silent.greet()
			p.sendTopics(40, map[string]uint32{})
			if err := <-done; !tc.check(err) {
				t.Errorf("run ended with %v", err)
			}
			if sum := w.Summary(); sum.Workers[1].Batches != 0 || sum.Complete {
				t.Errorf("summary %+v", sum)
			}
		})
	}
}

// TestWorkerOnForbiddenCPU: a worker that cannot be where it shall be ends the run.
func TestWorkerOnForbiddenCPU(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	wc := WorkersConfig{Workers: 2, CPUs: []int{zsock.NoCPU, 1023}}
	w := mustWorkers(t, Config{Endpoints: []string{"ipc://" + t.TempDir() + "/a"}}, wc, newLedger(2).handler)
	if err := w.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "worker 1: ") || !strings.Contains(err.Error(), "1023") {
		t.Errorf("run ended with %v, want the worker and the CPU", err)
	}
}

// TestPoolBounds: workers that do not come on make the loop wait at the bound,
// and everything arrives when they do.
func TestPoolBounds(t *testing.T) {
	for _, wc := range []WorkersConfig{
		{Workers: 2, Dispatch: Any, PoolBatches: 3},
		{Workers: 2, Dispatch: Any, PoolBytes: 3 * messageMin},
	} {
		p := newFake(t, anyPort, 0, 1, 7)
		l := newLedger(2)
		hold, begun := make(chan struct{}), make(chan struct{}, 100)
		for _, page := range l.pages {
			page.hold, page.begun = hold, begun
		}
		w := mustWorkers(t, Config{Endpoints: []string{p.endpoint}}, wc, l.handler)
		done := runWorkers(t, t.Context(), w)
		p.greet()
		sent := map[string]uint32{}
		for range 20 {
			p.sendTopics(3, sent)
		}
		p.end()
		// The session, which is in the pool first, may make the loop wait, too.
		until(t, "the loop waits with three batches handed over", func() bool {
			if n := w.Summary().Batches; n > 3 {
				t.Fatalf("%+v: %d batches are held, want 3", wc, n)
			}
			return w.Summary().Batches == 3 && w.pools[0].taking.waiting.Load()
		})
		close(hold)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		l.check(t, Any, sent)
		if sum := w.Summary(); sum.PoolWaited <= 0 || !sum.Complete {
			t.Errorf("summary %+v", sum)
		}
	}
}

// TestDrain: what was received is handled, and no more.
func TestDrain(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	p := newFake(t, anyPort, 0, 1, 7)
	l := newLedger(1)
	hold, begun := make(chan struct{}), make(chan struct{}, 100)
	l.pages[0].hold, l.pages[0].begun = hold, begun
	w := mustWorkers(t, Config{Endpoints: []string{p.endpoint}}, WorkersConfig{Workers: 1}, l.handler)
	done := runWorkers(t, t.Context(), w)
	p.greet()
	sent := map[string]uint32{}
	for range 10 {
		p.sendTopics(3, sent)
	}
	until(t, "ten batches", func() bool { return w.Summary().Batches == 10 })
	w.Drain()
	close(hold)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	l.check(t, ByTopic, sent)
	if sum := w.Summary(); sum.Workers[0].Records != 30 || sum.Discarded != 0 {
		t.Errorf("summary %+v", sum)
	}
	if err := w.Run(t.Context()); err == nil {
		t.Error("ran twice")
	}
}

// TestDrainFirst: a run that was drained before it began ends at once.
func TestDrainFirst(t *testing.T) {
	w := mustWorkers(t, Config{Endpoints: []string{"ipc://" + t.TempDir() + "/a"}}, WorkersConfig{Workers: 1}, newLedger(1).handler)
	w.Drain()
	if err := w.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestStop: what is queued is discarded and counted, also where the loop waits
// for a place in the pool.
func TestStop(t *testing.T) {
	for _, batches := range []int{0, 2} { // 0: the default, the loop never waits
		p := newFake(t, anyPort, 0, 1, 7)
		l := newLedger(1)
		hold, begun := make(chan struct{}), make(chan struct{}, 100)
		l.pages[0].hold, l.pages[0].begun = hold, begun
		ctx, cancel := context.WithCancel(t.Context())
		w := mustWorkers(t, Config{Endpoints: []string{p.endpoint}}, WorkersConfig{Workers: 1, PoolBatches: batches}, l.handler)
		done := runWorkers(t, ctx, w)
		p.greet()
		for range 10 {
			p.sendTopics(3, map[string]uint32{})
		}
		<-begun
		until(t, "all are received, or the loop waits", func() bool {
			return w.Summary().Batches == 10 || w.pools[0].taking.waiting.Load()
		})
		cancel()
		until(t, "stopped", w.stopped.Load)
		close(hold)
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("run ended with %v, want context.Canceled", err)
		}
		sum := w.Summary()
		if sum.Workers[0].Batches != 1 || sum.Discarded == 0 || sum.Complete {
			t.Errorf("summary %+v, want one batch handled", sum)
		}
	}
}

func TestWorkersConfigIsChecked(t *testing.T) {
	one := Config{Endpoints: []string{"tcp://127.0.0.1:1"}}
	for name, wc := range map[string]WorkersConfig{
		"no workers":       {},
		"CPUs":             {Workers: 2, CPUs: []int{0}},
		"dispatch":         {Workers: 1, Dispatch: 9},
		"negative batches": {Workers: 1, PoolBatches: -1},
		"negative bytes":   {Workers: 1, PoolBytes: -1},
	} {
		if _, err := NewWorkers(one, wc, newLedger(2).handler); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := NewWorkers(Config{}, WorkersConfig{Workers: 1}, newLedger(1).handler); err == nil {
		t.Error("no endpoints: accepted")
	}
}

func TestDispatchNames(t *testing.T) {
	for _, d := range []Dispatch{ByTopic, Any} {
		if got, err := ParseDispatch(d.String()); err != nil || got != d {
			t.Errorf("%v reads back as %v, %v", d, got, err)
		}
	}
	if _, err := ParseDispatch("random"); err == nil {
		t.Error("random: accepted")
	}
}

// TestWorkerOf holds the rule that the documentation gives, and that topics of
// one shard spread over all workers.
func TestWorkerOf(t *testing.T) {
	for _, tc := range []struct {
		topic         string
		of2, of4, of7 int
	}{
		{"ES", 0, 0, 1}, {"GLBX.MDP3.ESH4", 0, 0, 0}, {"GLBX.MDP3.NQH4", 0, 1, 1}, {"XNAS.ITCH.AAPL", 1, 2, 3},
	} {
		b := []byte(tc.topic)
		if got := [...]int{WorkerOf(b, 2), WorkerOf(b, 4), WorkerOf(b, 7)}; got != [...]int{tc.of2, tc.of4, tc.of7} {
			t.Errorf("%s: workers %v of 2, 4 and 7; want %d, %d, %d", tc.topic, got, tc.of2, tc.of4, tc.of7)
		}
	}
	const topics, workers = 4000, 4
	var count [workers]int
	for i := range topics {
		count[WorkerOf(fmt.Appendf(nil, "GLBX.MDP3.%d", i), workers)]++
	}
	for i, n := range count {
		if n < topics/workers*8/10 || n > topics/workers*12/10 {
			t.Errorf("worker %d of %d has %d of %d topics", i, workers, n, topics)
		}
	}
}

// TestAllocDispatch: handing a batch to workers costs no allocation.
func TestAllocDispatch(t *testing.T) {
	batch := marketBatch(t, 64<<10)
	for _, wc := range []WorkersConfig{{Workers: 2, PoolBatches: 4}, {Workers: 2, Dispatch: Any, PoolBatches: 4}} {
		d, m, end := pipeline(t, wc, func(int) WorkerHandler { return &visit{} })
		step := func() {
			var err error
			if m, err = d.keep(batch, 0, m); err != nil {
				t.Fatal(err)
			}
		}
		for range 16 {
			step() // the leases' lists grow once
		}
		if allocs := testing.AllocsPerRun(500, step); allocs != 0 {
			t.Errorf("%v: %v allocations a batch, want 0", wc.Dispatch, allocs)
		}
		d.settle(0)
		end()
		m.Close()
	}
}

// TestPoolTake holds the pool's bounds one by one.
func TestPoolTake(t *testing.T) {
	stopped := make(chan struct{})
	close(stopped)
	p := newPool(2, 100, 1)
	p.open()
	defer p.close()
	big, err := p.take(1000, stopped)
	if err != nil {
		t.Fatal("a batch beyond the bound, in an empty pool:", err)
	}
	if _, err := p.take(1, stopped); !errors.Is(err, errStopped) {
		t.Error("more beside a batch beyond the bound:", err)
	}
	big.drop()
	a, err := p.take(60, stopped)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.take(41, stopped); !errors.Is(err, errStopped) {
		t.Error("101 of 100 bytes:", err)
	}
	b, err := p.take(40, stopped)
	if err != nil {
		t.Fatal("100 of 100 bytes:", err)
	}
	if _, err := p.take(0, stopped); !errors.Is(err, errStopped) {
		t.Error("3 of 2 batches:", err)
	}
	if p.waits.Load() != 3 {
		t.Errorf("%d waits counted, want 3", p.waits.Load())
	}
	a.drop()
	b.drop()
	p.settle()
	if p.held.Load() != 0 {
		t.Errorf("%d bytes held by nobody", p.held.Load())
	}
}

// TestPoolWakes: whoever waits for a lease is woken by the one that comes back.
func TestPoolWakes(t *testing.T) {
	p := newPool(1, 1<<20, 1)
	p.open()
	defer p.close()
	for range 2000 {
		l, err := p.take(1, nil)
		if err != nil {
			t.Fatal(err)
		}
		p.lend(l)
		go l.drop()
	}
	p.settle()
}
