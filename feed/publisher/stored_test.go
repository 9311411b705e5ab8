package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	p := open(t, Config{Session: session})
	batch := makeBatch(t, 50<<10)
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

// TestReferenceIsOwed: where a queue fills up between a batch's bytes and its
// reference, and the call ends, the reference goes out before anything else: no
// reader of references misses or repeats anything.
func TestReferenceIsOwed(t *testing.T) {
	p := open(t, Config{Lossless: true, QueueBytes: 4 << 20, Session: session})
	slow := &gate{open: make(chan struct{})}
	bytes := subscribe(t, p, subscriber.Config{QueueLen: 1}, slow)
	if err := p.WaitReaders(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	refs := connect(t, p.Endpoints()[0], zsock.SUB)
	refs.subscribe(wire.ReferenceTopics()...)
	until(t, p, func() bool { return p.shards[0].filters.references })
	batch := makeBatch(t, 4<<10)
	sent, owed := 0, 0
	// Each time the reader of bytes takes one message more, there is room for one.
	slow.taken = make(chan uint32, 1)
	for fill := true; owed < 3; {
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
		err := p.SendStored(ctx, 0, batch, &somewhere, nil)
		cancel()
		switch {
		case err == nil:
			sent++
		case !errors.Is(err, context.DeadlineExceeded):
			t.Fatal(err)
		case fill:
			fill = false
			close(slow.open)
		}
		if p.shards[0].owed {
			owed++
		}
		if !fill {
			<-slow.taken
		}
		if sent > 200_000 {
			t.Skip("the kernel took everything")
		}
	}
	go func() {
		for range slow.taken {
		}
	}()
	if err := p.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-bytes.done; err != nil {
		t.Fatal(err)
	}
	close(slow.taken)
	if s := bytes.Summary(); !s.Complete || s.Batches != uint64(sent) {
		t.Errorf("reader of bytes: %+v, want %d batches", s, sent)
	}
	for i, g := range refs.batches(sent) {
		if want := (got{wire.FlagReference, wire.Seq(i) * wire.Seq(batch.Count)}); g != want {
			t.Fatalf("message %d is %+v, want %+v", i, g, want)
		}
	}
}

// TestAllocSendStored: a reference costs no allocation, alone or beside bytes.
func TestAllocSendStored(t *testing.T) {
	for name, topics := range map[string][]string{"reference": wire.ReferenceTopics(), "both": append(wire.ReferenceTopics(), "")} {
		t.Run(name, func(t *testing.T) {
			p := open(t, Config{}) // live: nobody needs to take anything
			r := connect(t, p.Endpoints()[0], zsock.SUB)
			r.subscribe(topics...)
			until(t, p, func() bool {
				return p.shards[0].filters.references && p.shards[0].filters.wantCopies() == (name == "both")
			})
			batch, done := makeBatch(t, 64<<10), &reusable{&lender{}}
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
