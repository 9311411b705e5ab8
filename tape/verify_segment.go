package tape

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// segmentChecker checks segments. It belongs to one goroutine.
type segmentChecker struct {
	v       *verifier
	topics  *topicTable
	dec     decoder
	stored  []byte
	decoded []byte
	raw     []byte // of the current block; stored or decoded
	keys    *keyCheck
}

// check walks a segment from block to block. The error is one of the disk or
// the context.
func (c *segmentChecker) check(s *checkedSegment) error {
	c.v.loadIndex(s)
	f, err := c.v.tape.fs.Open(c.v.tape.path(segmentName(s.number)), fsys.Read)
	if err != nil {
		return fmt.Errorf("tape: open segment: %w", err)
	}
	defer f.Close()
	if err := c.header(f, s); err != nil {
		return err
	}
	c.keys = c.startKeys(s)
	defer c.keys.close()
	for at := int64(SegmentHeaderSize); at < s.size && s.torn == nil; {
		next, err := c.block(f, s, at)
		if err != nil {
			return err
		}
		if err := c.v.step(next - at); err != nil {
			return err
		}
		at = next
	}
	if s.indexed && s.index.blocks() > len(s.blocks) && len(s.problems) == 0 {
		s.add(Problem{File: segmentName(s.number), Offset: s.size, Reason: "segment is shorter than its index says",
			Affected: fmt.Sprintf("the last %d blocks", s.index.blocks()-len(s.blocks))})
	}
	return nil
}

func (s *checkedSegment) add(p Problem) int {
	s.problems = append(s.problems, &p)
	return len(s.problems) - 1
}

// header checks the segment's header.
func (c *segmentChecker) header(f fsys.File, s *checkedSegment) error {
	var h [SegmentHeaderSize]byte
	if err := readAt(f, h[:], 0, s.size); err != nil {
		return err
	}
	s.first = int(min(binary.LittleEndian.Uint64(h[segFirstOff:]), 1<<40))
	reason := checkSegmentHeader(h[:min(s.size, SegmentHeaderSize)], c.v.tape.meta.ID, s.number, s.first)
	if reason == "" {
		return nil
	}
	s.first, s.foreign = -1, reason == reasonForeign
	if s.indexed {
		s.first = s.index.first
	}
	if s.unsealed(c.v) {
		if done, _, err := c.tail(s, 0, reason); done || err != nil {
			return err
		}
	}
	s.add(Problem{File: segmentName(s.number), Bytes: SegmentHeaderSize, Reason: reason, Affected: "no record; blocks have headers of their own"})
	return nil
}

// unsealed reports whether a torn tail is to be expected.
func (s *checkedSegment) unsealed(v *verifier) bool {
	return (v.trusted || v.sink != nil) && !v.tape.meta.Closed && s.last && !s.indexed
}

// entry returns the index entry of the block at an offset.
func (s *checkedSegment) entry(at int64) ([]byte, bool) {
	n := s.index.blocks()
	lo, hi := 0, n
	for lo < hi {
		mid := (lo + hi) / 2
		if int64(binary.LittleEndian.Uint64(s.index.entries[mid*indexEntrySize:])) < at {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == n {
		return nil, false
	}
	e := s.index.entries[lo*indexEntrySize:][:indexEntrySize]
	return e[8:], int64(binary.LittleEndian.Uint64(e)) == at
}

// block checks what is at one offset and returns where the next block is.
func (c *segmentChecker) block(f fsys.File, s *checkedSegment, at int64) (next int64, err error) {
	b, header, reason, err := readHeader(f, at, s.size)
	if err != nil {
		return at, err
	}
	if reason != "" {
		return c.badHeader(f, s, at, reason)
	}
	c.place(s, &b)
	c.stored, reason, err = readStored(f, c.stored, &b)
	if err != nil {
		return at, err
	}
	if reason == "" {
		reason = c.content(&b)
	}
	if reason != "" && s.unsealed(c.v) {
		if done, next, err := c.tail(s, at, reason); done || err != nil {
			return next, err
		}
	}
	c.keys.before(b.Number)
	found := checkedBlock{info: b, known: true, whole: reason == "", problem: -1}
	if reason != "" {
		c.v.bad.Store(true)
		found.problem = s.add(Problem{File: segmentName(s.number), Offset: at, Bytes: b.end() - at,
			Reason: reason, Affected: b.affected(), Block: &b})
	} else {
		found.raw = rawDigest(c.raw)
		c.chain(s, &found)
		batch := b.batch(c.raw, c.v.tape.meta.Shards)
		c.topics.add(b.Number, &batch)
		c.keys.add(&b, &batch)
		found.first, found.last = b.edges(&batch)
		if err := c.salvage(s, &b, &batch); err != nil {
			return at, err
		}
	}
	if e, ok := s.entry(at); s.indexed && (!ok || !bytes.Equal(e, header[:])) {
		s.add(Problem{File: indexName(s.number), Reason: fmt.Sprintf("index differs from the block at offset %d of %s", at, segmentName(s.number)),
			Affected: b.affected(), Block: &b})
	}
	s.blocks = append(s.blocks, found)
	return b.end(), nil
}

// place gives a block its segment and its number.
func (c *segmentChecker) place(s *checkedSegment, b *BlockInfo) {
	b.Segment, b.Number = s.number, max(s.first, 0)+len(s.blocks)
}

// badHeader deals with a place where no block begins: the index may know the
// block; else the next whole block is looked for.
func (c *segmentChecker) badHeader(f fsys.File, s *checkedSegment, at int64, reason string) (int64, error) {
	if s.unsealed(c.v) {
		if done, next, err := c.tail(s, at, reason); done || err != nil {
			return next, err
		}
	}
	if e, ok := s.entry(at); ok {
		b := loadBlockInfo(e)
		b.Offset = at
		c.place(s, &b)
		p := Problem{File: segmentName(s.number), Offset: at, Bytes: b.end() - at, Reason: reason, Affected: b.affected(), Block: &b}
		s.blocks = append(s.blocks, checkedBlock{info: b, known: true, problem: s.add(p)})
		return min(b.end(), s.size), nil
	}
	b, _, err := findBlock(f, at, s.size)
	if err != nil {
		return at, err
	}
	next := s.size
	if b != nil {
		next = b.Offset
	}
	p := Problem{File: segmentName(s.number), Offset: at, Bytes: next - at, Reason: reason, Affected: "the blocks in these bytes"}
	s.blocks = append(s.blocks, checkedBlock{problem: s.add(p)})
	return next, nil
}

// tail decides whether a bad place is where a writer died; done says that it is.
func (c *segmentChecker) tail(s *checkedSegment, at int64, reason string) (done bool, next int64, err error) {
	end, later, err := c.v.tape.beyond(s.number, at, s.size)
	if err != nil || later {
		return false, at, err
	}
	if !c.v.trusted && end > at {
		return false, at, nil // the tape may have been closed: bytes here are damage
	}
	if c.v.sink != nil {
		// What was never promised is taken where it is whole.
		if b, err := c.wholeAfter(s, at); b || err != nil {
			return false, at, err
		}
	}
	s.torn = &Torn{Segment: segmentName(s.number), Offset: at, Bytes: end - at, Reason: reason}
	return true, s.size, nil
}

// content checks a block whose stored bytes are whole, down to the records. It
// leaves payload and order in c.raw.
func (c *segmentChecker) content(b *BlockInfo) string {
	stored := c.stored[:b.StoredSize]
	if b.Codec == CodecPlain {
		c.raw = stored
	} else {
		if checkDecodedSize(stored, b.Codec, b.RawSize()) != nil {
			return reasonDecode
		}
		if cap(c.decoded) < b.RawSize() {
			c.decoded = make([]byte, b.RawSize())
		}
		c.raw = c.decoded[:b.RawSize()]
		if err := c.dec.decode(c.raw, stored, b.Codec); err != nil {
			return reasonDecode
		}
		if checksum(c.raw) != b.RawCRC {
			return reasonRawCRC
		}
	}
	if int(b.Shard) >= c.v.tape.meta.Shards {
		return "shard is outside the tape's shards"
	}
	return b.checkRecords(c.raw)
}

// checkRecords holds a block's header against its records.
func (b *BlockInfo) checkRecords(raw []byte) string {
	batch := b.batch(raw, int(b.Shard)+1)
	if err := batch.Check(); err != nil {
		return err.Error()
	}
	last, _, ok := orderLast(batch.Order, b.FirstOrdinal, b.Count)
	if !ok || last != b.LastOrdinal {
		return "last ordinal differs from the records"
	}
	event, receive := emptySpan(), emptySpan()
	for w := batch.Records(); w.Next(); {
		event.add(w.Record().Event())
		receive.add(w.Record().Receive())
	}
	if event != b.Event || receive != b.Receive || b.NoSend && b.Send != b.Receive {
		return "time range differs from the records"
	}
	return ""
}

// chain checks a block's chain hash against the block before it in the segment;
// that of the first block is checked when the segments are put together.
func (c *segmentChecker) chain(s *checkedSegment, b *checkedBlock) {
	n := len(s.blocks)
	if n == 0 || !s.blocks[n-1].known {
		return
	}
	if want := nextChain(s.blocks[n-1].info.Chain, b); want != b.info.Chain {
		b.problem = s.add(chainProblem(&b.info))
	}
}

func nextChain(before Digest, b *checkedBlock) Digest {
	before.extend(b.info.Shard, b.info.Count, &b.raw)
	return before
}

func chainProblem(b *BlockInfo) Problem {
	info := *b
	return Problem{File: segmentName(b.Segment), Offset: b.Offset, Bytes: b.end() - b.Offset,
		Reason: "chain hash differs: this block or the one before it was changed, moved, removed or added", Affected: b.affected(), Block: &info}
}
