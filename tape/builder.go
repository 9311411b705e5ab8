package tape

import (
	"slices"
	"sync"

	"github.com/tapedeck/tapedeck/wire"
)

// At is the place of a record: its shard and its numbers there.
type At struct {
	Shard   int
	Epoch   wire.Epoch
	Seq     wire.Seq
	Ordinal wire.Ordinal
	Send    wire.Nanos // 0 where no send time is known
}

// job is one block on its way to the disk. Buffers are reused; they belong to
// whoever holds the job: builder, then encoder, then writer.
type job struct {
	raw    []byte // header's room, payload, order
	stored []byte // header's room, compressed bytes
	order  orderBuilder
	info   BlockInfo
	raws   Digest // SHA-256 of payload and order
	first  edge
	last   edge
	kept   bool          // stored is filled already
	topics []topicDelta  // what the block adds to its topics
	done   chan struct{} // one signal: encoded
	sealed sealedBlock   // guarded by the catalog's lock
	lent   bool          // readers have raw; guarded by the builder's lock, then the catalog's

	sync chan<- error // not nil: no block, a barrier
	soft bool         // a barrier nobody waits for
	dump *dumpOrder   // not nil: no block, a dump
}

// edge is a record at the border of a block.
type edge struct {
	epoch   wire.Epoch
	ordinal wire.Ordinal
	event   wire.Nanos
	receive wire.Nanos
}

func newJob(blockSize int) *job {
	return &job{
		raw:  make([]byte, BlockHeaderSize, BlockHeaderSize+blockSize+blockSize/8),
		done: make(chan struct{}, 1),
	}
}

func (j *job) payloadSize() int { return len(j.raw) - BlockHeaderSize }

// builder gathers one shard's open block.
type builder struct {
	mu      sync.Mutex
	job     *job // nil until the first record
	epoch   wire.Epoch
	next    wire.Seq     // of the next record, were there no gap
	ordinal wire.Ordinal // of the last record
	seen    []wire.Epoch // epochs that are over
	told    told
	closed  bool
}

// follows returns an error unless a record may come next.
func (b *builder) follows(at *At) error {
	bad := func(reason string) error {
		return &OrderError{Reason: reason, Shard: at.Shard, Epoch: at.Epoch, Seq: at.Seq, Ordinal: at.Ordinal}
	}
	switch {
	case at.Epoch == 0:
		return bad("epoch is zero")
	case at.Epoch != b.epoch:
		if slices.Contains(b.seen, at.Epoch) {
			return bad("epoch is over on this shard")
		}
	case at.Seq < b.next:
		return bad("sequence goes back")
	case at.Ordinal <= b.ordinal:
		return bad("ordinal does not increase")
	}
	return nil
}

// fits reports whether a record at that place can go into the open block.
func (b *builder) fits(at *At, size, blockSize int) bool {
	j := b.job
	return j.info.Epoch == at.Epoch && b.next == at.Seq &&
		j.info.NoSend == (at.Send == 0) && j.payloadSize()+size <= blockSize
}

// begin starts a block with a record at that place.
func (j *job) begin(at *At) {
	j.raw, j.kept = j.raw[:BlockHeaderSize], false
	j.order.reset()
	j.info = BlockInfo{
		Epoch: at.Epoch, FirstSeq: at.Seq, FirstOrdinal: at.Ordinal, Shard: uint16(at.Shard),
		Event: emptySpan(), Receive: emptySpan(), Send: emptySpan(), NoSend: at.Send == 0,
	}
}

// note takes in the times of a record just added.
func (j *job) note(event, receive wire.Nanos) {
	j.info.Event.add(event)
	j.info.Receive.add(receive)
	if j.info.Count == 0 {
		j.first.event, j.first.receive = event, receive
	}
	j.last.event, j.last.receive = event, receive
	j.info.Count++
}

// advance moves the shard's position behind the records [at, last].
func (b *builder) advance(at *At, count uint32, last wire.Ordinal) {
	if b.epoch != at.Epoch {
		if b.epoch != 0 {
			b.seen = append(b.seen, b.epoch)
		}
		b.epoch = at.Epoch
	}
	b.next, b.ordinal = at.Seq+wire.Seq(count), last
	if at.Send != 0 {
		b.job.info.Send.add(at.Send)
	}
}

// finish completes a block: the order frame goes behind the payload.
func (b *builder) finish() *job {
	j := b.job
	b.job = nil
	j.info.PayloadSize = uint32(j.payloadSize())
	j.info.OrderSize = uint32(len(j.order.buf))
	j.info.LastOrdinal = b.ordinal
	if j.info.NoSend {
		j.info.Send = j.info.Receive
	}
	j.raw = append(j.raw, j.order.buf...)
	j.first.epoch, j.first.ordinal = j.info.Epoch, j.info.FirstOrdinal
	j.last.epoch, j.last.ordinal = j.info.Epoch, j.info.LastOrdinal
	return j
}
