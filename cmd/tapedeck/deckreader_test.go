package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// deckReader is a reader on sockets of its own that writes down what it gets of a
// deck, epoch by epoch.
type deckReader struct {
	name string
	book *deckBook
	sub  *subscriber.Subscriber
	done chan error

	mu      sync.Mutex
	more    *sync.Cond
	epochs  []*seenEpoch // in order
	records uint64       // last values not counted
	told    wire.DeckNotice
	wrong   error // the first thing that cannot be
	ended   int   // shards whose stream has ended
}

// seenEpoch is what came of an epoch.
type seenEpoch struct {
	epoch   wire.Epoch
	shards  []seenShard
	notices []wire.DeckNotice // that are about it
}

type seenShard struct {
	greeted      bool
	through      bool // all of its last values have come
	start        *wire.SessionStart
	next         wire.Seq
	last         []int32 // places of the last values
	lastOrdinals []wire.Ordinal
	played       []int32
	lead         wire.Ordinal   // what ordinals of played records are above their places
	digest       *xxhash.Digest // of everything that came, byte for byte
}

// readDeck begins to read; the reader ends with the stream, or with the test.
func readDeck(t *testing.T, name string, book *deckBook, endpoints []string) *deckReader {
	t.Helper()
	r := &deckReader{name: name, book: book, done: make(chan error, 1)}
	r.more = sync.NewCond(&r.mu)
	var err error
	if r.sub, err = subscriber.New(subscriber.Config{Endpoints: endpoints, Name: name}, r); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		err := r.sub.Run(ctx)
		r.mu.Lock()
		if r.wrong == nil {
			r.wrong = fmt.Errorf("it ended: %w", err)
		}
		r.more.Broadcast()
		r.mu.Unlock()
		r.done <- err
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return r
}

// shard finds what came of an epoch on a shard. The lock is held.
func (r *deckReader) shard(epoch wire.Epoch, shard int) *seenShard {
	return &r.epoch(epoch).shards[shard]
}

// epoch finds what came of an epoch, or begins to write it down. Epochs of a
// publisher rise.
func (r *deckReader) epoch(epoch wire.Epoch) *seenEpoch {
	i := len(r.epochs)
	for i > 0 && r.epochs[i-1].epoch > epoch {
		i--
	}
	if i > 0 && r.epochs[i-1].epoch == epoch {
		return r.epochs[i-1]
	}
	e := &seenEpoch{epoch: epoch, shards: make([]seenShard, r.book.shards)}
	for s := range e.shards {
		e.shards[s].digest = xxhash.New()
	}
	r.epochs = slices.Insert(r.epochs, i, e)
	return e
}

// HandleBatch implements subscriber.Handler.
func (r *deckReader) HandleBatch(b *wire.Batch, skip uint32) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.take(r.shard(b.Epoch, int(b.Shard)), b, skip)
	if err != nil && r.wrong == nil {
		r.wrong = err
	}
	r.more.Broadcast()
	return err
}

func (r *deckReader) take(s *seenShard, b *wire.Batch, skip uint32) error {
	last := b.Flags&wire.FlagSnapshotBatch != 0
	switch {
	case skip != 0 || b.FirstSeq != s.next:
		return fmt.Errorf("epoch %d, shard %d: sequence %d comes with %d records again, want sequence %d", b.Epoch, b.Shard, b.FirstSeq, skip, s.next)
	case last && len(s.played) > 0:
		return fmt.Errorf("epoch %d, shard %d: last values come behind records", b.Epoch, b.Shard)
	}
	s.next = b.Next()
	var head []byte
	head = binary.LittleEndian.AppendUint64(head, uint64(b.FirstSeq))
	head = binary.LittleEndian.AppendUint64(head, uint64(b.FirstOrdinal))
	head = binary.LittleEndian.AppendUint32(head, b.Count)
	head = append(head, byte(b.Flags))
	for _, part := range [][]byte{head, b.Payload, b.Order} {
		_, _ = s.digest.Write(part) // never fails
	}
	records, ordinals := b.Records(), b.Ordinals()
	for records.Next() {
		ordinal := ordinals.Next()
		if last {
			place, ok := r.book.last[string(records.Record())]
			if !ok {
				return fmt.Errorf("epoch %d, shard %d: a last value of %s is not on the tape", b.Epoch, b.Shard, records.Record().Topic())
			}
			s.last, s.lastOrdinals = append(s.last, place), append(s.lastOrdinals, ordinal)
			continue
		}
		place, ok := r.book.place[string(records.Record())]
		if !ok {
			return fmt.Errorf("epoch %d, shard %d: a record of %s is not on the tape", b.Epoch, b.Shard, records.Record().Topic())
		}
		lead := ordinal - wire.Ordinal(place)
		if len(s.played) > 0 && lead != s.lead {
			return fmt.Errorf("epoch %d, shard %d: the record at place %d has ordinal %d; it was %d above the place", b.Epoch, b.Shard, place, ordinal, s.lead)
		}
		s.lead, s.through = lead, true
		s.played = append(s.played, place)
		r.records++
	}
	return records.Err()
}

// HandleGap implements subscriber.Handler.
func (r *deckReader) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wrong == nil {
		r.wrong = fmt.Errorf("epoch %d, shard %d: sequences from %d to %d are missing", epoch, shard, from, to)
	}
	r.more.Broadcast()
}

// HandleSession implements subscriber.Handler.
func (r *deckReader) HandleSession(shard int, epoch wire.Epoch, session *wire.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.shard(epoch, shard)
	s.greeted = true
	if session.Start != nil {
		start := *session.Start
		s.start = &start
		before := r.shard(start.PreviousEpoch, shard)
		if before.next != start.PreviousNext && r.wrong == nil {
			r.wrong = fmt.Errorf("epoch %d, shard %d: it follows %d, which had %d records, and %d came", epoch, shard, start.PreviousEpoch, start.PreviousNext, before.next)
		}
	}
	r.more.Broadcast()
}

// HandleMark implements subscriber.MarkHandler.
func (r *deckReader) HandleMark(shard int, h *wire.Header) {
	if h.Flags&(wire.FlagHello|wire.FlagSnapshotBatch) != 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shard(h.Epoch, shard).through = true
	r.more.Broadcast()
}

// HandleEnd implements subscriber.Handler.
func (r *deckReader) HandleEnd(int, wire.Epoch, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended++
	r.more.Broadcast()
}

// HandleNotice implements subscriber.NoticeHandler.
func (r *deckReader) HandleNotice(_ int, n wire.Record) {
	if string(n.Topic()) != wire.DeckTopic {
		return
	}
	d, err := wire.ParseDeck(n.Body())
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && d.Version < r.told.Version {
		err = fmt.Errorf("the deck said version %d after %d", d.Version, r.told.Version)
	}
	if err != nil && r.wrong == nil {
		r.wrong = err
	}
	r.told = d
	if d.Epoch != 0 && d.Command != "" {
		e := r.epoch(d.Epoch)
		e.notices = append(e.notices, d)
	}
	r.more.Broadcast()
}

// await waits until enough has come, or something that cannot be. enough is called
// with the lock held.
func (r *deckReader) await(enough func() bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.wrong == nil && !enough() {
		r.more.Wait()
	}
	if r.wrong != nil {
		return fmt.Errorf("%s: %w", r.name, r.wrong)
	}
	return nil
}
