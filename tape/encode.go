package tape

import "github.com/tapedeck/tapedeck/wire"

// runEncoder hashes and compresses blocks and looks up their topics until no more
// come. Several run at once; the disk goroutine puts their results in order.
func (w *Writer) runEncoder(e *encoder) {
	topics := newTopicScan(w.out.keys.live)
	for j := range w.encode {
		e.block(j, w.cfg.Codec)
		batch := j.info.batch(j.raw[BlockHeaderSize:], w.cfg.Shards)
		j.topics = topics.block(j.topics[:0], j.info.Number, &batch)
		j.done <- struct{}{}
	}
}

// block fills in a job's checksums, digest and stored bytes.
func (e *encoder) block(j *job, c Codec) {
	raw := j.raw[BlockHeaderSize:]
	j.raws = rawDigest(raw)
	j.info.RawCRC = checksum(raw)
	if j.kept {
		return // stored bytes and their codec are those of the block it was
	}
	j.info.Codec, j.info.StoredSize, j.info.StoredCRC = CodecPlain, uint32(len(raw)), j.info.RawCRC
	if c == CodecPlain {
		return
	}
	if cap(j.stored) < BlockHeaderSize {
		j.stored = make([]byte, BlockHeaderSize, cap(j.raw))
	}
	j.stored, c = e.encode(j.stored[:BlockHeaderSize], raw, int(j.info.PayloadSize), c)
	if out := j.stored[BlockHeaderSize:]; len(out) < len(raw) {
		j.info.Codec, j.info.StoredSize, j.info.StoredCRC = c, uint32(len(out)), checksum(out)
	}
}

// image returns header's room and stored bytes of an encoded block.
func (j *job) image() []byte {
	if j.info.Codec == CodecPlain {
		return j.raw
	}
	return j.stored
}

// setImage gives back the image after it was appended to.
func (j *job) setImage(b []byte) {
	if j.info.Codec == CodecPlain {
		j.raw = b
	} else {
		j.stored = b
	}
}

// batch returns the block as a batch; raw (payload, then order) is borrowed.
func (b *BlockInfo) batch(raw []byte, shards int) wire.Batch {
	out := wire.Batch{
		Header: wire.Header{
			Epoch: b.Epoch, FirstSeq: b.FirstSeq, FirstOrdinal: b.FirstOrdinal,
			Count: b.Count, PayloadSize: b.PayloadSize, OrderSize: b.OrderSize, CRC: b.RawCRC,
			Shard: b.Shard, Shards: uint16(shards),
		},
		Payload: raw[:b.PayloadSize:b.PayloadSize],
		Order:   raw[b.PayloadSize:],
	}
	if !b.NoSend {
		out.Send = b.Send.Min
	}
	return out
}
