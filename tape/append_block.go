package tape

// AppendBlock adds a block of another tape, copying it, as a block of its own
// with the same records, epoch, sequences and ordinals. With keep set, or where
// the block's codec is the writer's, its stored bytes are taken as they are;
// otherwise they are encoded anew. The records are held against the block's
// header, so that damage is not carried on: the error is then a *CorruptError.
// Other errors are those of Append. The shard's next record begins a new block.
func (w *Writer) AppendBlock(block *Block, keep bool) error {
	info := &block.Info
	sum, err := sumBatch(&block.Batch)
	if err != nil {
		return corrupt(info, err.Error(), err)
	}
	if reason := info.checkSum(&sum, block.Order); reason != "" {
		return corrupt(info, reason, nil)
	}
	at := At{Shard: int(info.Shard), Epoch: info.Epoch, Seq: info.FirstSeq, Ordinal: info.FirstOrdinal}
	b, err := w.lockShard(at.Shard)
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	if b.job != nil {
		w.push(b.finish())
	}
	j, err := w.room(b, &at, int(info.PayloadSize))
	if err != nil {
		return err
	}
	lastValues := info.LastValues && b.sameJump(block)
	j.take(block, &sum)
	j.info.LastValues = lastValues
	if keep || info.Codec == w.cfg.Codec {
		if err := j.keep(block); err != nil {
			b.job = nil
			w.free <- j
			return err
		}
	}
	b.advance(&at, info.Count, info.LastOrdinal)
	b.job = nil
	w.push(j)
	return nil
}

// EndBlock seals the shard's open block: its next record begins a new one.
func (w *Writer) EndBlock(shard int) error {
	b, err := w.lockShard(shard)
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	if b.job != nil {
		w.push(b.finish())
	}
	return nil
}

// checkSum holds a header against what a walk over the records gave.
func (b *BlockInfo) checkSum(sum *batchSum, order []byte) string {
	last, _, ok := orderLast(order, b.FirstOrdinal, b.Count)
	switch {
	case !ok || last != b.LastOrdinal:
		return "last ordinal differs from the records"
	case sum.event != b.Event || sum.receive != b.Receive || b.NoSend && b.Send != b.Receive:
		return "time range differs from the records"
	}
	return ""
}

// take fills a job that begins with a whole block's content.
func (j *job) take(block *Block, sum *batchSum) {
	number, info := j.info.Number, &block.Info
	j.raw = append(append(j.raw[:BlockHeaderSize], block.Payload...), block.Order...)
	j.info = *info
	j.info.Number = number
	j.first, j.last = sum.first, sum.last
	j.first.epoch, j.first.ordinal = info.Epoch, info.FirstOrdinal
	j.last.epoch, j.last.ordinal = info.Epoch, info.LastOrdinal
}

// keep takes over a block's stored bytes, so that they need no encoding.
func (j *job) keep(block *Block) error {
	j.kept = true
	if block.Info.Codec == CodecPlain {
		return nil // they are the payload and order
	}
	if cap(j.stored) < BlockHeaderSize {
		j.stored = make([]byte, BlockHeaderSize, cap(j.raw))
	}
	stored := block.stored
	if stored == nil {
		m, err := block.tape.mapped(block.tape.segmentNumber(block.Info.Segment))
		if err != nil {
			return err
		}
		defer m.release()
		start := block.Info.Offset + BlockHeaderSize
		stored = m.data[start : start+int64(block.Info.StoredSize)]
	}
	j.stored = append(j.stored[:BlockHeaderSize], stored...)
	return nil
}
