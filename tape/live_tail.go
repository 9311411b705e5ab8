package tape

import (
	"slices"

	"github.com/tapedeck/tapedeck/wire"
)

// sealedBlock is a block that is on its way to the disk, as readers see it: the
// encoder and the disk goroutine change the job, but no byte of this.
type sealedBlock struct {
	info BlockInfo
	raw  []byte // payload, then order
}

// lend returns a sealed block as a batch, without its checksum. What is in a
// builder's buffer does not change, records are only added behind it, so a reader
// gets it as it lies there. A buffer that was lent does not come back: the writer
// takes another one in its place, and the memory is freed when the last reader is
// through. The catalog's lock is held.
func (j *job) lend(shards int) wire.Batch {
	j.lent = true
	return j.sealed.info.batch(j.sealed.raw, shards)
}

// openBlock is where a shard stands, and its open block.
type openBlock struct {
	epoch wire.Epoch // 0 where the shard has nothing yet
	next  wire.Seq
	over  bool       // the epoch asked for is one that the shard has left
	ok    bool       // there is an open block
	info  BlockInfo  // of the open block so far
	batch wire.Batch // the same, where its records were asked for; without checksum
	has   bool       // batch is set
}

// look returns where the shard stands. Of the open block it returns the records
// where they include a sequence of an epoch.
func (b *builder) look(epoch wire.Epoch, seq wire.Seq, shards int) (o openBlock) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o.epoch, o.next, o.over = b.epoch, b.next, slices.Contains(b.seen, epoch)
	j := b.job
	if j == nil || j.info.Count == 0 {
		return o
	}
	o.ok, o.info = true, j.info
	if o.info.NoSend {
		o.info.Send = o.info.Receive
	}
	if o.info.Epoch != epoch || seq < o.info.FirstSeq || seq >= o.info.Next() {
		return o
	}
	j.lent = true
	o.has, o.info.PayloadSize = true, uint32(j.payloadSize())
	o.batch = o.info.batch(j.raw[BlockHeaderSize:], shards)
	// While every step is zero no order frame is needed, and none is there.
	o.batch.Order = j.order.buf[:len(j.order.buf):len(j.order.buf)]
	o.batch.OrderSize = uint32(len(o.batch.Order))
	return o
}

// current returns the epoch that the shard is in, 0 where it has nothing yet.
func (b *builder) current() wire.Epoch {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.epoch
}
