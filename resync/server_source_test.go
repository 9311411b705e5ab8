package resync

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/wire"
)

// shelf is a source in memory: records of one size, in blocks of so many.
type shelf struct {
	shards int
	block  wire.Seq
	order  bool // every second ordinal belongs to somebody else, so there are order frames

	mu     sync.Mutex
	epochs []shelfEpoch
	ends   map[wire.Epoch]wire.Seq
	fail   error                     // of the next reads
	before func(ctx context.Context) // called by Read, outside the lock

	reads, held atomic.Int64
}

type shelfEpoch struct {
	id       wire.Epoch
	from, to wire.Seq // of each shard
	payload  []byte   // of records from 0 on
	size     int
}

// newShelf has one epoch of n records of 132 bytes on each shard.
func newShelf(shards int, epoch wire.Epoch, n int) *shelf {
	m := &shelf{shards: shards, block: 100}
	m.add(epoch, 0, n)
	return m
}

// add appends an epoch whose first records are gone.
func (m *shelf) add(epoch wire.Epoch, gone wire.Seq, n int) {
	const topic, body = 8, 100
	e := shelfEpoch{id: epoch, from: gone, to: wire.Seq(n), size: wire.RecordHeadSize + topic + body}
	for i := range n {
		f := wire.Fields{Topic: fmt.Appendf(nil, "T%07d", i%1000), Body: make([]byte, body), Event: wire.Nanos(i), Receive: wire.Nanos(i)}
		binary.LittleEndian.PutUint64(f.Body, uint64(i))
		var err error
		if e.payload, err = wire.AppendRecord(e.payload, &f); err != nil {
			panic(err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epochs = append(m.epochs, e)
}

func (m *shelf) Extents() (list []Span) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.epochs {
		for shard := range m.shards {
			list = append(list, Span{Epoch: e.id, Shard: shard, From: e.from, To: e.to})
		}
	}
	return list
}

func (m *shelf) Read(ctx context.Context, epoch wire.Epoch, shard int, from, to wire.Seq, most int) (b wire.Batch, release func(), err error) {
	if m.before != nil {
		m.before(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads.Add(1)
	i := slices.IndexFunc(m.epochs, func(e shelfEpoch) bool { return e.id == epoch })
	switch {
	case m.fail != nil:
		return b, nil, m.fail
	case i < 0 || shard >= m.shards:
		return b, nil, ErrUnknownEpoch
	case from < m.epochs[i].from:
		return b, nil, ErrGone
	case from >= m.epochs[i].to:
		return b, nil, ErrNotYet
	}
	e := &m.epochs[i]
	end := min(to, e.to, (from/m.block+1)*m.block, from+max(wire.Seq(most/e.size), 1))
	b.Header = wire.Header{Epoch: epoch, Shard: uint16(shard), Shards: uint16(m.shards), FirstSeq: from, Count: uint32(end - from), FirstOrdinal: wire.Ordinal(from)}
	b.Payload = e.payload[int(from)*e.size : int(end)*e.size]
	if m.order {
		b.FirstOrdinal *= 2
		for o := b.FirstOrdinal; o < wire.Ordinal(end-1)*2; o += 2 {
			b.Order = wire.AppendOrder(b.Order, o, o+2)
		}
	}
	b.PayloadSize, b.OrderSize = uint32(len(b.Payload)), uint32(len(b.Order))
	b.CRC = wire.CRC(b.Payload, b.Order)
	m.held.Add(1)
	return b, func() { m.held.Add(-1) }, nil
}

func (m *shelf) Find(_ context.Context, t wire.Nanos, clock string) (list []Span, err error) {
	if clock == "send" {
		return nil, fmt.Errorf("no such clock here")
	}
	for _, s := range m.Extents() {
		if s.From = max(s.From, wire.Seq(max(t, 0))); s.Len() > 0 {
			list = append(list, s)
		}
	}
	return list, nil
}

func (m *shelf) End(epoch wire.Epoch, _ int) (wire.Seq, bool) {
	end, ok := m.ends[epoch]
	return end, ok
}

// values are last values in memory.
type values struct {
	n      int
	before func(ctx context.Context) // called by Snapshot
	lie    uint64                    // added to the number of entries
	broken error                     // at the end
	open   atomic.Int64
}

func (v *values) Snapshot(ctx context.Context, q Query) (Snapshot, error) {
	if v.before != nil {
		v.before(ctx)
	}
	if q.Epoch > 1 {
		return nil, ErrUnknownEpoch
	}
	v.open.Add(1)
	return &valuesSnapshot{v: v}, nil
}

type valuesSnapshot struct {
	v      *values
	i      int
	closed bool
	rec    []byte
}

func (s *valuesSnapshot) Positions() []Span {
	return []Span{{Epoch: 1, Shard: 0, From: 3, To: 1000}, {Epoch: 1, Shard: 1, To: 7}}
}
func (s *valuesSnapshot) Entries() uint64 { return uint64(s.v.n) + s.v.lie }
func (s *valuesSnapshot) Next() (wire.Record, Span, bool) {
	if s.i == s.v.n {
		return nil, Span{}, false
	}
	s.rec, _ = wire.AppendRecord(s.rec[:0], &wire.Fields{Topic: fmt.Appendf(nil, "T%06d", s.i), Body: make([]byte, 50)})
	at := Span{Epoch: 1, Shard: s.i % 2, From: wire.Seq(s.i)}
	s.i++
	return s.rec, at, true
}
func (s *valuesSnapshot) Err() error { return s.v.broken }
func (s *valuesSnapshot) Close() {
	if !s.closed {
		s.closed = true
		s.v.open.Add(-1)
	}
}
