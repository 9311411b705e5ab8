package publisher

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// message returns the next message, whatever it is.
func (r *raw) message() (wire.Batch, error) {
	frames, err := r.RecvFrames()
	if err != nil {
		return wire.Batch{}, err
	}
	return wire.ParseBatch(frames[0], frames[1], slices.Concat(frames[2:]...))
}

// session returns what a hello says.
func (r *raw) session(b *wire.Batch) *wire.SessionStart {
	r.t.Helper()
	if b.Flags != wire.FlagHello {
		r.t.Fatalf("message with flags %#x, want a hello", b.Flags)
	}
	s, err := wire.ParseSession(b.Payload)
	if err != nil {
		r.t.Fatal(err)
	}
	return s.Start
}

// must returns the next message of a test's own goroutine.
func (r *raw) must() *wire.Batch {
	r.t.Helper()
	b, err := r.message()
	if err != nil {
		r.t.Fatal(err)
	}
	return &b
}

// TestBegin: a new epoch begins on all shards with a hello that says where the old
// one was left there, and with sequence and hash 0.
func TestBegin(t *testing.T) {
	p := open(t, Config{Endpoints: []string{anyPort, anyPort}, Epoch: 7, Lossless: true, Session: session})
	readers := []*raw{connect(t, p.Endpoints()[0], zsock.SUB), connect(t, p.Endpoints()[1], zsock.SUB)}
	for i, r := range readers {
		r.subscribe("")
		until(t, p, r.readable)
		if b := r.must(); r.session(b) != nil || b.Epoch != 7 {
			t.Errorf("shard %d: the first hello has epoch %d and says %+v", i, b.Epoch, r.session(b))
		}
	}
	batch := makeBatch(t, 1000)
	for range 3 {
		if err := p.Send(t.Context(), 1, batch, nil); err != nil {
			t.Fatal(err)
		}
	}
	hash := p.shards[1].hash
	if err := p.Begin(t.Context(), wire.SessionStart{Reason: "seek", At: 5, Clock: "receive", Snapshot: true, PreviousEpoch: 99}); err != nil {
		t.Fatal(err)
	}
	epoch := p.Epoch()
	if epoch <= 7 {
		t.Fatalf("epoch %d follows 7", epoch)
	}
	snapshot := *batch
	snapshot.Flags = wire.FlagSnapshotBatch
	if err := errors.Join(p.Send(t.Context(), 1, &snapshot, nil), p.Heartbeat(t.Context()), p.Send(t.Context(), 1, batch, nil)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if b := readers[1].must(); b.Epoch != 7 || b.Flags != 0 {
			t.Fatalf("flags %#x of epoch %d", b.Flags, b.Epoch)
		}
	}
	for i, want := range []wire.SessionStart{
		{Reason: "seek", At: 5, Clock: "receive", Snapshot: true, PreviousEpoch: 7},
		{Reason: "seek", At: 5, Clock: "receive", Snapshot: true, PreviousEpoch: 7, PreviousNext: 3 * wire.Seq(batch.Count), PreviousHash: hash},
	} {
		b := readers[i].must()
		if b.Epoch != epoch || b.FirstSeq != 0 || b.Hash != 0 {
			t.Errorf("shard %d: hello of epoch %d at %d with hash %x", i, b.Epoch, b.FirstSeq, b.Hash)
		}
		if got := readers[i].session(b); got == nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("shard %d: %+v, want %+v", i, got, want)
		}
	}
	if b := readers[0].must(); b.Flags != wire.FlagHeartbeat || b.FirstSeq != 0 {
		t.Errorf("flags %#x at %d, want a heartbeat at 0", b.Flags, b.FirstSeq)
	}
	for i, want := range []struct {
		flags wire.HeaderFlags
		seq   wire.Seq
	}{{wire.FlagSnapshotBatch, 0}, {wire.FlagHeartbeat, wire.Seq(batch.Count)}, {0, wire.Seq(batch.Count)}} {
		if b := readers[1].must(); b.Flags != want.flags || b.FirstSeq != want.seq || b.Epoch != epoch {
			t.Errorf("message %d: flags %#x at %d of epoch %d, want %+v", i, b.Flags, b.FirstSeq, b.Epoch, want)
		}
	}
	// Who comes now is told the same.
	late := connect(t, p.Endpoints()[1], zsock.SUB)
	late.subscribe("")
	until(t, p, late.readable)
	if b := late.must(); late.session(b) == nil || late.session(b).PreviousEpoch != 7 {
		t.Errorf("a late reader is told %+v", late.session(b))
	}
	if err := p.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Begin(t.Context(), wire.SessionStart{}); !errors.Is(err, ErrEnded) || p.Epoch() != epoch {
		t.Errorf("after the end: %v, epoch %d", err, p.Epoch())
	}
}

func TestBeginEndsWithContext(t *testing.T) {
	p := open(t, Config{Epoch: 7})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := errors.Join(p.Begin(ctx, wire.SessionStart{}), p.Heartbeat(ctx)); !errors.Is(err, context.Canceled) || p.Epoch() != 7 {
		t.Errorf("got %v and epoch %d", err, p.Epoch())
	}
}

func TestNextEpoch(t *testing.T) {
	for _, tc := range []struct {
		epoch wire.Epoch
		now   wire.Nanos
		want  wire.Epoch
	}{{7, 100, 100}, {100, 100, 101}, {100, 99, 101}, {7, -5, 8}, {1<<64 - 1, -5, 1}, {1<<64 - 1, 50, 50}} {
		if got := nextEpoch(tc.epoch, tc.now); got != tc.want {
			t.Errorf("%d at %d: %d, want %d", tc.epoch, tc.now, got, tc.want)
		}
	}
}

// TestBeginDoesNotWait: where a queue is full, the hello of the new epoch waits for
// room, and a further epoch says what the readers have really left.
func TestBeginDoesNotWait(t *testing.T) {
	p := open(t, Config{Lossless: true, QueueBytes: 1, Epoch: 7, Session: session})
	r := connectQueue(t, p.Endpoints()[0], zsock.SUB, 1)
	r.subscribe("")
	until(t, p, r.readable)
	batch := makeBatch(t, 1<<20)
	fill(t, p, batch, nil)
	sent := p.shards[0].next
	hash := p.shards[0].hash
	for range 2 {
		if err := p.Begin(t.Context(), wire.SessionStart{Reason: "seek"}); err != nil {
			t.Fatal(err)
		}
		if !p.shards[0].owesHello {
			t.Fatal("the queue is full and the hello went out")
		}
	}
	epoch := p.Epoch()
	done := make(chan error, 1)
	go func() { done <- errors.Join(p.Send(t.Context(), 0, batch, nil), p.End(t.Context())) }()
	next := wire.Seq(0)
	for {
		b := r.must()
		if b.Epoch == 7 {
			next = b.Next()
			continue
		}
		if next != sent || b.Epoch != epoch {
			t.Fatalf("%d of %d records, then epoch %d, want %d", next, sent, b.Epoch, epoch)
		}
		if s := r.session(b); s == nil || s.PreviousEpoch != 7 || s.PreviousNext != sent || s.PreviousHash != hash {
			t.Errorf("start %+v, want the place %d of epoch 7", s, sent)
		}
		break
	}
	b := r.must()
	for ; b.Flags == wire.FlagHeartbeat || b.Flags == wire.FlagNotice; b = r.must() {
	}
	if b.Flags != 0 || b.FirstSeq != 0 || b.Epoch != epoch {
		t.Errorf("flags %#x at %d of epoch %d", b.Flags, b.FirstSeq, b.Epoch)
	}
	for b = r.must(); !b.End(); b = r.must() {
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestBeginOwesReference: what an epoch owes goes out before the next one's hello.
func TestBeginOwesReference(t *testing.T) {
	p := open(t, Config{Epoch: 7, Lossless: true, Session: session})
	r := connect(t, p.Endpoints()[0], zsock.SUB)
	r.subscribe(wire.ReferenceTopics()...)
	until(t, p, func() bool { return p.shards[0].filters.references })
	until(t, p, r.readable)
	s := p.shards[0]
	h := wire.Header{Epoch: 7, Shards: 1, Count: 1, PayloadSize: 30}
	s.owe(&h, &somewhere)
	s.next = 1
	if err := p.Begin(t.Context(), wire.SessionStart{Reason: "loop"}); err != nil {
		t.Fatal(err)
	}
	var order []wire.HeaderFlags
	for len(order) == 0 || order[len(order)-1] != wire.FlagHello {
		frames, err := r.RecvFrames()
		if err != nil {
			t.Fatal(err)
		}
		h, err := wire.ParseHeader(frames[0])
		if err != nil {
			t.Fatal(err)
		}
		if h.Flags == wire.FlagHello && h.Epoch == 7 {
			continue
		}
		order = append(order, h.Flags)
	}
	if !slices.Equal(order, []wire.HeaderFlags{wire.FlagReference, wire.FlagHello}) {
		t.Errorf("flags %#x", order)
	}
}

// TestBeginWhileSending: lanes send on, each on its shard, while another goroutine
// begins epoch after epoch. On every shard each epoch begins with its hello, which
// says exactly what the reader has seen of the one before, and has no gap.
func TestBeginWhileSending(t *testing.T) {
	const shards, epochs = 3, 30
	p := open(t, Config{Endpoints: []string{anyPort, anyPort, anyPort}, Lossless: true, Session: session})
	readers := make([]*raw, shards)
	for i := range readers {
		readers[i] = connect(t, p.Endpoints()[i], zsock.SUB)
		readers[i].subscribe("")
		until(t, p, readers[i].readable)
	}
	batch := makeBatch(t, 100)
	ctx, stop := context.WithCancel(t.Context())
	var senders, lanes sync.WaitGroup
	for i := range shards {
		senders.Go(func() {
			for ctx.Err() == nil {
				if err := p.Send(ctx, i, batch, nil); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
		lanes.Go(func() {
			if err := followEpochs(readers[i], epochs); err != nil {
				t.Errorf("shard %d: %v", i, err)
			}
		})
	}
	for range epochs {
		before := p.Stats().Batches
		if err := p.Begin(t.Context(), wire.SessionStart{Reason: "seek"}); err != nil {
			t.Fatal(err)
		}
		for p.Stats().Batches < before+20 {
			time.Sleep(time.Millisecond) // leaves the locks to the senders
		}
	}
	stop()
	senders.Wait()
	if err := p.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	lanes.Wait()
}

func followEpochs(r *raw, want int) error {
	var at wire.Header // the last message's
	epochs := 0
	for {
		b, err := r.message()
		switch {
		case err != nil:
			return err
		case at.Epoch != 0 && b.Epoch != at.Epoch:
			s, err := wire.ParseSession(b.Payload)
			if err != nil || b.Flags != wire.FlagHello || s.Start == nil {
				return fmt.Errorf("epoch %d begins with flags %#x, %+v, %v", b.Epoch, b.Flags, s.Start, err)
			}
			if s.Start.PreviousEpoch != at.Epoch || s.Start.PreviousNext != at.FirstSeq || s.Start.PreviousHash != at.Hash || b.FirstSeq != 0 || b.Hash != 0 {
				return fmt.Errorf("epoch %d: %+v after %d at %d, hash %x", b.Epoch, s.Start, at.Epoch, at.FirstSeq, at.Hash)
			}
			epochs++
		case at.Epoch != 0 && (b.FirstSeq != at.FirstSeq || b.Hash != at.Hash):
			return fmt.Errorf("epoch %d at %d, hash %x; want %d, %x", b.Epoch, b.FirstSeq, b.Hash, at.FirstSeq, at.Hash)
		}
		if b.End() {
			if epochs != want {
				return fmt.Errorf("%d epochs, want %d", epochs, want)
			}
			return nil
		}
		at = b.Header
		if !b.Bare() {
			at.FirstSeq, at.Hash = b.Next(), b.Hash.Roll(b.Count, b.CRC)
		}
	}
}
