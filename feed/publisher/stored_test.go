package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

var somewhere = wire.Reference{Tape: [16]byte{1, 2, 3}, Segment: 4, Offset: 5}

// got is what a raw reader received: the flags of a header, and its sequence.
type got struct {
	flags wire.HeaderFlags
	seq   wire.Seq
}

// batches returns the next n messages that are no hellos.
func (r *raw) batches(n int) []got {
	r.t.Helper()
	var list []got
	for len(list) < n {
		frames, err := r.RecvFrames()
		if err != nil {
			r.t.Fatal(err)
		}
		h, err := wire.ParseHeader(frames[0])
		if err != nil {
			r.t.Fatal(err)
		}
		if h.Flags == wire.FlagReference {
			if _, ref, err := wire.ViewReference(frames[0], frames[1]); err != nil || ref != somewhere || len(frames) != 2 {
				r.t.Fatalf("reference %+v of %d frames, %v", ref, len(frames), err)
			}
		}
		if h.Flags != wire.FlagHello {
			list = append(list, got{h.Flags, h.FirstSeq})
		}
	}
	return list
}

// TestForms: a stored batch goes out as what the shard's readers want, and only
// that; what is not stored goes out as bytes to everybody.
func TestForms(t *testing.T) {
	batch := makeBatch(t, 50<<10)
	p := open(t, Config{Session: session})
	count := wire.Seq(batch.Count)
	n := wire.Seq(0)
	send := func() wire.Seq {
		t.Helper()
		var loans lender
		if err := p.SendStored(t.Context(), 0, batch, &somewhere, loans.lend(t)); err != nil {
			t.Fatal(err)
		}
		n++
		return (n - 1) * count
	}
	equal := func(r *raw, want ...got) {
		t.Helper()
		if list := r.batches(len(want)); !slices.Equal(list, want) {
			t.Fatalf("received %+v, want %+v", list, want)
		}
	}
	filtersAre := func(references, copies bool) func() bool {
		return func() bool { f := &p.shards[0].filters; return f.references == references && f.wantCopies() == copies }
	}
	send() // to nobody
	bytes := connect(t, p.Endpoints()[0], zsock.SUB)
	bytes.subscribe("")
	until(t, p, filtersAre(false, true))
	equal(bytes, got{0, send()})
	refs := connect(t, p.Endpoints()[0], zsock.SUB)
	refs.subscribe(wire.ReferenceTopics()...)
	until(t, p, filtersAre(true, true))
	at := send()
	equal(refs, got{wire.FlagReference, at})
	equal(bytes, got{wire.FlagCopy, at}, got{wire.FlagReference, at})
	if err := p.Send(t.Context(), 0, batch, nil); err != nil { // lies in no tape
		t.Fatal(err)
	}
	equal(refs, got{0, n * count})
	equal(bytes, got{0, n * count})
	n++
	snapshot := *batch
	snapshot.Flags = wire.FlagSnapshotBatch
	if err := p.SendStored(t.Context(), 0, &snapshot, &somewhere, nil); err != nil {
		t.Fatal(err)
	}
	equal(refs, got{wire.FlagSnapshotBatch, n * count})
	equal(bytes, got{wire.FlagSnapshotBatch, n * count})
	n++
	if err := bytes.Unsubscribe(""); err != nil {
		t.Fatal(err)
	}
	until(t, p, filtersAre(true, false))
	equal(refs, got{wire.FlagReference, send()})
	for _, topic := range wire.ReferenceTopics() {
		if err := refs.Unsubscribe(topic); err != nil {
			t.Fatal(err)
		}
	}
	bytes.subscribe(wire.Signature)
	until(t, p, filtersAre(false, true))
	equal(bytes, got{0, send()})
	if st := p.Stats(); st.Referred != 2 || st.Batches != uint64(n) || st.Records != uint64(n*count) {
		t.Errorf("stats %+v", st)
	}
}

// TestManyFilters: a peer that makes up filters does not fill the memory, and
// then everybody gets bytes.
func TestManyFilters(t *testing.T) {
	var f filters
	for i := range 2 * filtersMax {
		f.take(fmt.Appendf(nil, "TPDK\x01P\x40\x00%d", i), true)
	}
	if len(f.copies) != filtersMax {
		t.Errorf("%d filters remembered", len(f.copies))
	}
	for i := range 2 * filtersMax {
		f.take(fmt.Appendf(nil, "TPDK\x01P\x40\x00%d", i), false)
	}
	if len(f.copies) != 0 || !f.wantCopies() || f.references {
		t.Errorf("%d filters left, wants copies %v", len(f.copies), f.wantCopies())
	}
}

// valve is a handler that lets batches pass while it is open.
type valve struct {
	gate
	mu   sync.Mutex
	cond sync.Cond
	shut bool
}

func (v *valve) set(shut bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = shut
	v.cond.Broadcast()
}

func (v *valve) HandleBatch(*wire.Batch, uint32) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.shut {
		v.cond.Wait()
	}
	return nil
}

// TestReferenceIsOwed: where a queue fills up between a batch's bytes and its
// reference, and the call ends, the reference goes out before anything else: no
// reader of references misses or repeats anything.
func TestReferenceIsOwed(t *testing.T) {
	batch := makeBatch(t, 100<<10)
	p := open(t, Config{Lossless: true, QueueBytes: 4 << 20, Session: session})
	v := &valve{}
	v.cond.L = &v.mu
	bytes := subscribe(t, p, subscriber.Config{QueueBytes: 1}, v)
	if err := p.WaitReaders(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	refs := connect(t, p.Endpoints()[0], zsock.SUB)
	refs.subscribe(wire.ReferenceTopics()...)
	until(t, p, func() bool { return p.shards[0].filters.references })
	inOrder := make(chan error, 1)
	go func() { inOrder <- referencesInOrder(refs) }()
	sent, owed := uint64(0), 0
	send := func(ref *wire.Reference) error {
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
		defer cancel()
		err := p.send(ctx, 0, batch, ref, nil)
		if err == nil {
			sent++
		}
		return err
	}
	// A batch is two messages for the reader of bytes. Whether a full queue falls
	// between them is for an odd message to change.
	for round := 0; owed < 2; round++ {
		if round == 40 {
			t.Fatal("in 40 rounds the queue never filled up between the two")
		}
		v.set(true)
		var err error
		for err == nil {
			err = send(&somewhere)
			if p.shards[0].owed {
				owed++
				break
			}
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		v.set(false)
		until(t, p, func() bool { return bytes.Summary().Batches == sent })
		if err := send(nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(p.End(t.Context()), <-bytes.done, <-inOrder); err != nil {
		t.Fatal(err)
	}
	if s := bytes.Summary(); !s.Complete || s.Batches != sent {
		t.Errorf("reader of bytes: %+v, want %d batches", s, sent)
	}
}

// referencesInOrder reads until the end mark, and fails where a sequence is
// missing or comes again.
func referencesInOrder(r *raw) error {
	for next := wire.Seq(0); ; {
		frames, err := r.RecvFrames()
		if err != nil {
			return err
		}
		h, err := wire.ParseHeader(frames[0])
		if err != nil {
			return err
		}
		if h.FirstSeq != next || h.Flags == wire.FlagCopy {
			return fmt.Errorf("flags %#x at sequence %d, want %d", h.Flags, h.FirstSeq, next)
		}
		next = h.Next()
		if h.End() {
			return nil
		}
	}
}

// TestAllocSendStored: a reference costs no allocation, alone or beside bytes.
func TestAllocSendStored(t *testing.T) {
	for name, topics := range map[string][]string{"reference": wire.ReferenceTopics(), "both": append(wire.ReferenceTopics(), "")} {
		t.Run(name, func(t *testing.T) {
			// Before the publisher, so that it outlives what libzmq holds of it.
			batch, done := makeBatch(t, 64<<10), &reusable{&lender{}}
			p := open(t, Config{}) // live: nobody needs to take anything
			r := connect(t, p.Endpoints()[0], zsock.SUB)
			r.subscribe(topics...)
			until(t, p, func() bool {
				return p.shards[0].filters.references && p.shards[0].filters.wantCopies() == (name == "both")
			})
			send := func() {
				if err := p.SendStored(t.Context(), 0, batch, &somewhere, done); err != nil {
					t.Fatal(err)
				}
			}
			for range 1000 {
				send() // until the queue is full and every token is made
			}
			if allocs := testing.AllocsPerRun(1000, send); allocs != 0 {
				t.Errorf("%v allocations a batch, want 0", allocs)
			}
			if p.Stats().Referred != 2001 {
				t.Errorf("%+v", p.Stats())
			}
		})
	}
}
