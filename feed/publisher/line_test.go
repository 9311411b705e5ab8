package publisher

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher/faults"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// span is sequences [from, to) of a shard.
type span struct {
	shard    int
	epoch    wire.Epoch
	from, to wire.Seq
}

// missed is a Handler that writes down what did not come.
type missed struct {
	mu    sync.Mutex
	gaps  []span
	late  func(b *wire.Batch)
	ends  int
	whole int // ends that were complete
}

func (m *missed) HandleBatch(b *wire.Batch, _ uint32) error {
	if m.late != nil {
		m.late(b)
	}
	return b.Check()
}

func (m *missed) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := from; s < to; s++ { // one by one: how gaps touch is a matter of marks
		m.gaps = append(m.gaps, span{shard, epoch, s, s + 1})
	}
}

func (m *missed) HandleSession(int, wire.Epoch, *wire.Session) {}

func (m *missed) HandleEnd(_ int, _ wire.Epoch, complete bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ends++
	if complete {
		m.whole++
	}
}

// sorted is what was missed, shard by shard.
func (m *missed) sorted() []span {
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.SortFunc(m.gaps, func(a, b span) int {
		if a.shard != b.shard {
			return a.shard - b.shard
		}
		return int(a.from) - int(b.from)
	})
	return m.gaps
}

func plan(t testing.TB, text string) *faults.Plan {
	t.Helper()
	spec, err := faults.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := faults.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// injected is what a reader must miss of n batches of a shard with count records each.
func injected(plan *faults.Plan, shard int, epoch wire.Epoch, n int, count uint32) []span {
	var list []span
	owing := false
	for i := range n {
		from := wire.Seq(i) * wire.Seq(count)
		kind := plan.Batch(shard, 0, from).Kind
		switch {
		case kind == faults.Reorder && owing:
			owing = false // it goes first
			continue
		case kind == faults.Reorder:
			owing = true
		case kind != faults.Drop && kind != faults.Corrupt:
			owing = false
			continue
		}
		for s := from; s < from+wire.Seq(count); s++ {
			list = append(list, span{shard, epoch, s, s + 1})
		}
	}
	return list
}

// badRun sends batches on two shards over a bad line to one reader, and returns what
// that misses.
func badRun(t *testing.T, cfg Config, batches int) (*missed, Stats, subscriber.Summary) {
	t.Helper()
	cfg.Endpoints, cfg.Session.Publisher, cfg.Epoch = []string{anyPort, anyPort}, "test", 7
	p := open(t, cfg)
	m := &missed{}
	r := subscribe(t, p, subscriber.Config{Name: "desk", LockStep: len(cfg.Barrier) > 0}, m)
	if err := p.WaitReaders(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	batch := makeBatch(t, 10)
	for i := range 2 * batches {
		err := p.Send(t.Context(), i%2, batch, nil)
		if i%64 == 0 {
			err = errors.Join(err, p.WaitHandled(t.Context()))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(p.End(t.Context()), <-r.done); err != nil {
		t.Fatal(err)
	}
	return m, p.Stats(), r.Summary()
}

// TestReadersMissWhatWasInjected: with readers that are waited for, in lossless mode
// and in lock-step, a reader that asks for nothing misses exactly the records that the
// plan says, counts what was damaged and what came again, and gets the end mark. The
// same seed does the same again.
func TestReadersMissWhatWasInjected(t *testing.T) {
	const batches, text = 3000, "drop=1%,dup=1%,reorder=1%,corrupt=1%,delay=0.1%:1ms,seed="
	for _, cfg := range []Config{{Lossless: true}, {Barrier: []string{"desk"}}} {
		var runs [][]span
		for _, seed := range []int{7, 7, 8} {
			cfg.Faults = plan(t, fmt.Sprint(text, seed))
			m, st, sum := badRun(t, cfg, batches)
			f, got := &st.Faults, m.sorted()
			want := slices.Concat(injected(cfg.Faults, 0, 7, batches, 1), injected(cfg.Faults, 1, 7, batches, 1))
			if !slices.Equal(got, want) {
				t.Errorf("seed %d: %d records are missing, %d were injected", seed, len(got), len(want))
			}
			if sum.Lost != f.Missing || sum.Corrupt != f.Corrupted || f.Missing != uint64(len(want)) {
				t.Errorf("seed %d: the reader lost %d, %d damaged; injected %+v", seed, sum.Lost, sum.Corrupt, *f)
			}
			// What is held at the very end comes behind the end mark.
			if sum.Repeated > f.Repeated || sum.Repeated+2 < f.Repeated {
				t.Errorf("seed %d: %d came again, injected %+v", seed, sum.Repeated, *f)
			}
			if f.Dropped == 0 || f.Corrupted == 0 || f.Duplicated == 0 || f.Reordered == 0 || f.Delayed == 0 || f.Marks != 0 {
				t.Errorf("seed %d: some faults did not occur: %+v", seed, *f)
			}
			if !sum.Ended || sum.Complete || sum.Diverged > 0 || m.ends != 2 || m.whole != 0 {
				t.Errorf("seed %d: %+v", seed, sum)
			}
			runs = append(runs, got)
		}
		if !slices.Equal(runs[0], runs[1]) || slices.Equal(runs[0], runs[2]) {
			t.Error("the faults are not those of the seed")
		}
	}
}

// TestRepeatsAreHarmless: what only comes twice or late leaves a stream complete.
func TestRepeatsAreHarmless(t *testing.T) {
	m, st, sum := badRun(t, Config{Lossless: true, Faults: plan(t, "dup=20%,delay=2%:2ms,seed=1")}, 500)
	if f := &st.Faults; f.Duplicated < 100 || f.Delayed < 5 || sum.Repeated != f.Repeated || f.Missing != 0 {
		t.Errorf("%d came again; %+v", sum.Repeated, *f)
	}
	if !sum.Complete || len(m.gaps) > 0 {
		t.Errorf("%+v", sum)
	}
}

// TestDelay: what is delayed comes that much later than it was sent, and what is behind
// it no sooner.
func TestDelay(t *testing.T) {
	pl := plan(t, "delay=2%:20ms,seed=3")
	p := open(t, Config{Lossless: true, Faults: pl, Session: wire.Session{Publisher: "test"}})
	early := 0
	m := &missed{late: func(b *wire.Batch) {
		if took := wire.NanosOf(time.Now()) - b.Send; pl.Batch(0, 0, b.FirstSeq).Kind == faults.Delay && took < wire.Nanos(20*time.Millisecond) {
			early++
		}
	}}
	r := subscribe(t, p, subscriber.Config{}, m)
	if err := p.WaitReaders(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	batch := makeBatch(t, 10)
	for range 500 {
		if err := p.Send(t.Context(), 0, batch, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(p.End(t.Context()), <-r.done); err != nil {
		t.Fatal(err)
	}
	if sum, f := r.Summary(), p.Stats().Faults; !sum.Complete || f.Delayed < 3 || early > 0 {
		t.Errorf("%d came early; %+v, %+v", early, f, sum)
	}
}

// TestDelayIsBounded: what waits in a line that stands still has a bound; then Send
// waits, and nothing is lost.
func TestDelayIsBounded(t *testing.T) {
	p := open(t, Config{Lossless: true, Faults: plan(t, "delay=100%:30ms"), QueueBytes: 1 << 20, Session: wire.Session{Publisher: "test"}})
	r := subscribe(t, p, subscriber.Config{}, openGate())
	if err := p.WaitReaders(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	batch, most := makeBatch(t, 200<<10), 0
	for range 30 {
		if err := p.Send(t.Context(), 0, batch, nil); err != nil {
			t.Fatal(err)
		}
		p.shards[0].mu.Lock()
		most = max(most, p.shards[0].line.bytes)
		p.shards[0].mu.Unlock()
	}
	if err := errors.Join(p.End(t.Context()), <-r.done); err != nil {
		t.Fatal(err)
	}
	if limit := 1<<20 + len(batch.Payload) + wire.HeaderSize; !r.Summary().Complete || most > limit {
		t.Errorf("%d bytes waited, limit %d; %+v", most, limit, r.Summary())
	}
}

// TestMarksGetThrough: where all batches are lost, readers still hear the end; where
// marks are named, those that are repeated get through.
func TestMarksGetThrough(t *testing.T) {
	_, st, sum := badRun(t, Config{Lossless: true, Faults: plan(t, "drop=100%")}, 20)
	if !sum.Ended || sum.Records != 0 || sum.Lost != 40 || st.Faults.Marks != 0 {
		t.Errorf("%+v, %+v", sum, st.Faults)
	}
	_, st, sum = badRun(t, Config{Lossless: true, Faults: plan(t, "drop=30%,dup=20%,corrupt=10%,delay=10%:2ms,reorder=10%,marks,seed=5")}, 200)
	if !sum.Ended || sum.Lost != st.Faults.Missing || st.Faults.Marks == 0 {
		t.Errorf("%+v, %+v", sum, st.Faults)
	}
}

// TestNoReorderOverEpochs: what is held when an epoch ends goes out before the next
// one's hello, in its place.
func TestNoReorderOverEpochs(t *testing.T) {
	p := open(t, Config{Lossless: true, Faults: plan(t, "reorder=100%"), Session: wire.Session{Publisher: "test"}})
	m := &missed{}
	r := subscribe(t, p, subscriber.Config{}, m)
	if err := p.WaitReaders(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	batch := makeBatch(t, 10)
	for range 3 { // the third is held: the second had to go first
		if err := p.Send(t.Context(), 0, batch, nil); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(p.Begin(t.Context(), wire.SessionStart{Reason: "seek"}), p.Send(t.Context(), 0, batch, nil),
		p.Send(t.Context(), 0, batch, nil), p.End(t.Context()), <-r.done)
	if err != nil {
		t.Fatal(err)
	}
	sum, f := r.Summary(), p.Stats().Faults
	if f.Reordered != 2 || f.Missing != 2 || sum.Lost != 2 || sum.Repeated != 2 || sum.Refused != 0 || sum.Broken != 0 {
		t.Errorf("%+v, %+v", f, sum)
	}
}

// TestFaultsAndReferences: over a bad line nothing goes by reference, also to who asks
// for that.
func TestFaultsAndReferences(t *testing.T) {
	p := open(t, Config{Lossless: true, Faults: plan(t, "seed=1"), Session: session})
	refs := connect(t, p.Endpoints()[0], zsock.SUB)
	refs.subscribe(wire.ReferenceTopics()...)
	until(t, p, func() bool { return p.shards[0].filters.references })
	var loans lender
	if err := p.SendStored(t.Context(), 0, makeBatch(t, 50<<10), &somewhere, loans.lend(t)); err != nil {
		t.Fatal(err)
	}
	if list := refs.batches(1); list[0] != (got{}) || p.Stats().Referred != 0 || loans.back != 1 {
		t.Errorf("%+v, %+v, %d given back", list, p.Stats(), loans.back)
	}
}
