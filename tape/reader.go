package tape

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/wire"
)

// Clock names one of the three times that a record has.
type Clock int

// The clocks. Receive is the zero value.
const (
	ClockReceive Clock = iota // when the capture got it
	ClockEvent                // when the venue says it happened
	ClockSend                 // when the publisher sent it; the receive time where not known
)

var clockNames = [...]string{ClockReceive: "receive", ClockEvent: "event", ClockSend: "send"}

// String returns the clock's name.
func (c Clock) String() string {
	if uint(c) < uint(len(clockNames)) {
		return clockNames[c]
	}
	return "unknown"
}

// ParseClock is the inverse of Clock.String.
func ParseClock(s string) (Clock, error) {
	for c, name := range clockNames {
		if name == s {
			return Clock(c), nil
		}
	}
	return 0, fmt.Errorf("tape: unknown clock %q (receive, event and send are known)", s)
}

// ReadConfig says which blocks a Reader yields. The zero value means all.
type ReadConfig struct {
	Shards    []int      // only these shards; nil means all
	Clock     Clock      // which time From and To mean
	From      wire.Nanos // first time wanted, ns; 0 is from the start
	To        wire.Nanos // first time no longer wanted, ns; 0 is to the end
	Block     int        // first block looked at, as Tape.Find gives it
	Unchecked bool       // do not check plain blocks' CRC: the caller or its peer does
}

// wants reports whether a block may hold wanted records.
func (c *ReadConfig) wants(b *BlockInfo) bool {
	s := b.span(c.Clock)
	if c.From != 0 && s.Max < c.From || c.To != 0 && s.Min >= c.To {
		return false
	}
	if c.Shards == nil {
		return true
	}
	for _, shard := range c.Shards {
		if shard == int(b.Shard) {
			return true
		}
	}
	return false
}

// Block is one block: a batch that borrows its bytes. They stay where they are,
// and valid, until the reader's next step; after Retain until the last Release.
// The bytes must not be changed.
type Block struct {
	wire.Batch
	Info BlockInfo

	tape    *Tape
	mapping *mapping // of the segment, for a plain block
	buffer  *buffer  // for a compressed block
	stored  []byte   // stored bytes, where the tape has no segment to look them up in
	refs    atomic.Int32
}

// Mapped reports whether the bytes are the file's own mapping, not a decoded
// copy.
func (b *Block) Mapped() bool { return b.mapping != nil }

// Retain keeps the block's bytes valid until one more Release. It may be called
// from any goroutine that has the block valid.
func (b *Block) Retain() { b.refs.Add(1) }

// Release lets go of what Retain kept. The bytes, and b itself, must not be used
// afterwards. It may be called from any goroutine.
func (b *Block) Release() {
	if n := b.refs.Add(-1); n > 0 {
		return
	} else if n < 0 {
		panic("BUG: tape: block released more often than retained")
	}
	if b.mapping != nil {
		_ = b.mapping.release() // unmapping what was mapped does not fail
		b.mapping = nil
	}
	if b.buffer != nil {
		b.tape.decode.put(b.buffer)
		b.buffer = nil
	}
	b.Batch = wire.Batch{}
	b.tape.blocksFree.put(b)
}

// blockPool keeps Block values for reuse.
type blockPool struct {
	mu   sync.Mutex
	free []*Block
}

func (p *blockPool) get() *Block {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b
	}
	return &Block{}
}

func (p *blockPool) put(b *Block) {
	p.mu.Lock()
	p.free = append(p.free, b)
	p.mu.Unlock()
}

// ReadBlock returns block n, from 0 to Blocks()-1, retained: the caller must
// Release it. The error is a *CorruptError where the block's bytes are damaged;
// unchecked leaves out the CRC of a plain block.
func (t *Tape) ReadBlock(n int, unchecked bool) (*Block, error) {
	info := t.Block(n)
	return t.load(&info, unchecked)
}

// load returns a block with one reference.
func (t *Tape) load(info *BlockInfo, unchecked bool) (*Block, error) {
	s := t.segmentNumber(info.Segment)
	m, err := t.mapped(s)
	if err != nil {
		return nil, err
	}
	return t.view(s, m, info, unchecked)
}

// view returns a block of a mapped segment with one reference. It takes over the
// caller's reference to the mapping.
func (t *Tape) view(s *segment, m *mapping, info *BlockInfo, unchecked bool) (*Block, error) {
	t.resident.passed(s, m, info.Offset)
	start := info.Offset + BlockHeaderSize
	stored := m.data[start : start+int64(info.StoredSize)]
	b := t.blocksFree.get()
	b.tape, b.Info = t, *info
	b.refs.Store(1)
	if info.Codec == CodecPlain {
		b.mapping = m
		if !unchecked && checksum(stored) != info.StoredCRC {
			b.Release()
			return nil, corrupt(info, reasonStoredCRC, nil)
		}
		b.Batch = info.batch(stored, t.meta.Shards)
		return b, nil
	}
	err := t.decodeBlock(b, info, stored)
	if rerr := m.release(); err == nil {
		err = rerr
	}
	if err != nil {
		b.Release()
		return nil, err
	}
	return b, nil
}

func (t *Tape) decodeBlock(b *Block, info *BlockInfo, stored []byte) error {
	if checksum(stored) != info.StoredCRC {
		return corrupt(info, reasonStoredCRC, nil)
	}
	if err := checkDecodedSize(stored, info.Codec, info.RawSize()); err != nil {
		return corrupt(info, reasonDecode, err)
	}
	buf, err := t.decode.get(info.RawSize())
	if err != nil {
		return err
	}
	b.buffer = buf
	raw := buf.data
	if err := buf.dec.decode(raw, stored, info.Codec); err != nil {
		return corrupt(info, reasonDecode, err)
	}
	if checksum(raw) != info.RawCRC {
		return corrupt(info, reasonRawCRC, nil)
	}
	b.Batch = info.batch(raw, t.meta.Shards)
	return nil
}

func corrupt(b *BlockInfo, reason string, err error) error {
	return &CorruptError{File: segmentName(b.Segment), Offset: b.Offset, Reason: reason, Err: err}
}

// Reader yields blocks in tape order. It belongs to one goroutine.
type Reader struct {
	tape *Tape
	cfg  ReadConfig
	next int
	end  int
	cur  *Block
}

// Reader returns a reader over the blocks that overlap the wanted range. Records
// of the first and last blocks may lie outside it: leaving them out is the
// caller's. The caller must Close it.
func (t *Tape) Reader(cfg ReadConfig) *Reader {
	r := &Reader{tape: t, cfg: cfg, next: max(cfg.Block, 0), end: t.blocks}
	if cfg.From != 0 {
		r.next = max(r.next, t.firstBlock(cfg.Clock, cfg.From))
	}
	if cfg.To != 0 {
		r.end = t.endBlock(cfg.Clock, cfg.To)
	}
	return r
}

// Next returns the next block, borrowed until the following call of Next or
// Close, or io.EOF. After a *CorruptError Next may be called again: it goes on
// behind the damaged block.
func (r *Reader) Next() (*Block, error) {
	r.drop()
	for r.next < r.end {
		info := r.tape.Block(r.next)
		r.next++
		if !r.cfg.wants(&info) {
			continue
		}
		b, err := r.tape.load(&info, r.cfg.Unchecked)
		r.cur = b
		return b, err
	}
	return nil, io.EOF
}

func (r *Reader) drop() {
	if r.cur != nil {
		r.cur.Release()
		r.cur = nil
	}
}

// Close lets go of the current block. It returns nil.
func (r *Reader) Close() error {
	r.drop()
	r.next = r.end
	return nil
}
