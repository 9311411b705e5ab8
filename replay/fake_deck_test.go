package replay

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// fakeDeck is an EpochPublisher that writes down each epoch apart and numbers the
// records as a publisher does. Its readers can stand still.
type fakeDeck struct {
	t testing.TB

	mu      sync.Mutex
	shards  int
	epochs  []*fakeEpoch
	beats   int
	ticks   int
	ended   int
	gate    chan struct{} // nil: readers take everything; else what is sent waits for it to be closed
	onSend  func(n int)   // after the n-th batch, without the lock
	onBegin func()        // when an epoch begins
	sent    int
	stood   int // sends that found the gate closed
	ticked  *sync.Cond
}

// fakeEpoch is what one epoch had.
type fakeEpoch struct {
	epoch   wire.Epoch
	start   wire.SessionStart
	batches [][]wire.Batch // per shard, copied
	next    []wire.Seq
	news    []int // records per shard that are no last values
	order   []int // shards of all batches as they came
}

func newFakeEpoch(epoch wire.Epoch, start wire.SessionStart, shards int) *fakeEpoch {
	return &fakeEpoch{
		epoch: epoch, start: start, batches: make([][]wire.Batch, shards), next: make([]wire.Seq, shards), news: make([]int, shards),
	}
}

func newFakeDeck(t testing.TB, shards int) *fakeDeck {
	f := &fakeDeck{t: t, shards: shards}
	f.ticked = sync.NewCond(&f.mu)
	f.add(100, wire.SessionStart{})
	return f
}

func (f *fakeDeck) add(epoch wire.Epoch, start wire.SessionStart) {
	f.epochs = append(f.epochs, newFakeEpoch(epoch, start, f.shards))
}

func (f *fakeDeck) last() *fakeEpoch { return f.epochs[len(f.epochs)-1] }

// list is the epochs that have begun so far.
func (f *fakeDeck) list() []*fakeEpoch {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.epochs)
}

// full makes readers stand still, or go on.
func (f *fakeDeck) full(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case on && f.gate == nil:
		f.gate = make(chan struct{})
	case !on && f.gate != nil:
		close(f.gate)
		f.gate = nil
	}
}

func (f *fakeDeck) WaitReaders(ctx context.Context, _ int) error { return ctx.Err() }

func (f *fakeDeck) Send(ctx context.Context, s int, b *wire.Batch, done interface{ Release() }) error {
	defer done.Release()
	f.mu.Lock()
	gate := f.gate
	if gate != nil {
		f.stood++
		f.ticked.Broadcast()
	}
	f.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.mu.Lock()
	e := f.last()
	c := wire.Batch{Header: b.Header, Payload: bytes.Clone(b.Payload), Order: bytes.Clone(b.Order)}
	c.Epoch, c.Shard, c.Shards, c.FirstSeq = e.epoch, uint16(s), uint16(f.shards), e.next[s]
	c.PayloadSize, c.OrderSize = uint32(len(c.Payload)), uint32(len(c.Order))
	if err := c.Check(); err != nil || wire.CRC(c.Payload, c.Order) != c.CRC {
		f.t.Errorf("epoch %d, shard %d: %v, CRC %08x", e.epoch, s, err, c.CRC)
	}
	e.batches[s] = append(e.batches[s], c)
	e.next[s] += wire.Seq(c.Count)
	if c.Flags&wire.FlagSnapshotBatch == 0 {
		e.news[s] += int(c.Count)
	}
	e.order = append(e.order, s)
	f.sent++
	n := f.sent
	f.ticked.Broadcast()
	f.mu.Unlock()
	if f.onSend != nil {
		f.onSend(n)
	}
	return nil
}

func (f *fakeDeck) Tick(ctx context.Context) error {
	f.mu.Lock()
	f.ticks++
	f.ticked.Broadcast()
	f.mu.Unlock()
	return ctx.Err()
}

// awaitTicks returns when so many more ticks have come.
func (f *fakeDeck) awaitTicks(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n += f.ticks; f.ticks < n; {
		f.ticked.Wait()
	}
}

// awaitSends returns when so many more batches have come.
func (f *fakeDeck) awaitSends(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n += f.sent; f.sent < n; {
		f.ticked.Wait()
	}
}

// awaitStanding returns when a send has stood before the gate.
func (f *fakeDeck) awaitStanding() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.stood == 0 {
		f.ticked.Wait()
	}
}

func (f *fakeDeck) End(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended++
	return ctx.Err()
}

func (f *fakeDeck) Begin(ctx context.Context, start wire.SessionStart) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.add(f.last().epoch+1, start)
	if f.onBegin != nil {
		f.onBegin()
	}
	return nil
}

func (f *fakeDeck) Heartbeat(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.beats++
	return ctx.Err()
}

func (f *fakeDeck) Epoch() wire.Epoch {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last().epoch
}

// count is how many batches came.
func (f *fakeDeck) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent
}

// fakeDeckLanes takes shards from several goroutines.
type fakeDeckLanes struct{ *fakeDeck }

func (f fakeDeckLanes) SendStored(ctx context.Context, s int, b *wire.Batch, _ *wire.Reference, done interface{ Release() }) error {
	return f.Send(ctx, s, b, done)
}

// deckItem is one record as it was sent.
type deckItem struct {
	ordinal wire.Ordinal
	seq     wire.Seq
	last    bool // a last value
	record  string
}

// items takes a shard's batches of an epoch apart.
func (e *fakeEpoch) items(t testing.TB, s int) []deckItem {
	t.Helper()
	var list []deckItem
	for _, b := range e.batches[s] {
		o, w := b.Ordinals(), b.Records()
		for w.Next() {
			it := deckItem{ordinal: o.Next(), seq: w.Seq(), last: b.Flags&wire.FlagSnapshotBatch != 0, record: string(w.Record())}
			if n := len(list); n > 0 && (list[n-1].ordinal >= it.ordinal || it.last && !list[n-1].last || it.seq != list[n-1].seq+1) {
				t.Fatalf("epoch %d, shard %d: %+v after %+v", e.epoch, s, short(it), short(list[n-1]))
			}
			list = append(list, it)
		}
	}
	return list
}

// short is an item for people.
func short(it deckItem) string {
	r := wire.Record(it.record)
	return fmt.Sprintf("ordinal %d, sequence %d, last value %v, %s %.8s", it.ordinal, it.seq, it.last, r.Topic(), r.Body())
}
