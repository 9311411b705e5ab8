package subscriber

import (
	"github.com/cespare/xxhash/v2"

	"github.com/tapedeck/tapedeck/wire"
)

// Share is what one worker is given of a batch: with ByTopic the records of its
// topics, with Any all records. It and everything in it is borrowed until the
// handler returns; several workers read the same batch at the same time, so
// nobody may write to it.
type Share struct {
	batch  *wire.Batch
	places []place // ByTopic with several workers
	skip   uint32  // otherwise
	whole  bool
	refill bool
}

// NewShare is a batch as a whole, less the first skip records: what a Handler is
// given, for code that serves workers too. It borrows the batch.
func NewShare(b *wire.Batch, skip uint32) Share { return Share{batch: b, skip: skip, whole: true} }

// Batch is the whole batch, other workers' records included. Its first records
// may have been delivered before; Records leaves them out.
func (s *Share) Batch() *wire.Batch { return s.batch }

// Refill reports whether the batch did not come live, but from what stands between
// the loops and the workers: it, or something before it, had to be asked for.
func (s *Share) Refill() bool { return s.refill }

// Len is the number of records in the share.
func (s *Share) Len() int {
	if s.whole {
		return int(s.batch.Count - s.skip)
	}
	return len(s.places)
}

// Records returns a walk over the share's records, in the order of the batch:
//
//	w := s.Records()
//	for w.Next() {
//		use(w.Record())
//	}
//	return w.Err()
func (s *Share) Records() ShareWalk {
	if !s.whole {
		return ShareWalk{payload: s.batch.Payload, places: s.places, first: s.batch.FirstSeq, seq: s.batch.FirstSeq}
	}
	w := ShareWalk{walk: s.batch.Records(), whole: true}
	for range s.skip {
		w.walk.Next()
	}
	return w
}

// ShareWalk visits the records of a Share.
type ShareWalk struct {
	payload []byte
	places  []place // still to come
	rec     wire.Record
	first   wire.Seq
	seq     wire.Seq
	whole   bool
	walk    wire.Walk
}

// Next moves to the next record and reports whether there is one.
func (w *ShareWalk) Next() bool {
	if w.whole {
		return w.walk.Next()
	}
	if len(w.places) == 0 {
		return false
	}
	p := &w.places[0]
	w.rec = wire.Record(w.payload[p.at : p.at+p.size : p.at+p.size])
	w.seq = w.first + wire.Seq(p.index)
	w.places = w.places[1:]
	return true
}

// Record returns the current record, borrowed.
func (w *ShareWalk) Record() wire.Record {
	if w.whole {
		return w.walk.Record()
	}
	return w.rec
}

// Seq returns the sequence of the current record.
func (w *ShareWalk) Seq() wire.Seq {
	if w.whole {
		return w.walk.Seq()
	}
	return w.seq
}

// Err returns nil when the walk ended where it should, else a
// *wire.FormatError: the batch's records are not as the format says. With
// ByTopic and several workers they have been checked before.
func (w *ShareWalk) Err() error { return w.walk.Err() }

// WorkerOf returns which of n workers a topic belongs to: the high half of XXH64
// of the topic, scaled to n. The shard of a topic is the same hash modulo the
// number of shards, which its low bits decide: so each shard's topics spread over
// all workers.
func WorkerOf(topic []byte, n int) int {
	return int(xxhash.Sum64(topic) >> 32 * uint64(n) >> 32)
}

// sort writes down which records belong to which worker. The error is a
// *wire.FormatError.
func (l *lease) sort() error {
	for i := range l.lists {
		l.lists[i] = l.lists[i][:0]
	}
	n, at, index := len(l.lists), uint32(0), uint32(0)
	w := l.batch.Records()
	for w.Next() {
		r := w.Record()
		if index >= l.skip {
			k := WorkerOf(r.Topic(), n)
			l.lists[k] = append(l.lists[k], place{at, uint32(len(r)), index})
		}
		at += uint32(len(r))
		index++
	}
	return w.Err()
}
