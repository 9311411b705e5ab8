package resync

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/tapedeck/tapedeck/wire"
)

// history is what a stream has sent: Refills, as a test wants it.
type history struct {
	mu      sync.Mutex
	batches map[wire.Epoch]map[int][]*wire.Batch // by epoch and shard, in order, with holes
	order   []wire.Epoch
	ended   map[[2]int]bool // by epoch and shard
	shards  int
}

func newHistory(shards int) *history {
	return &history{batches: map[wire.Epoch]map[int][]*wire.Batch{}, ended: map[[2]int]bool{}, shards: shards}
}

func (m *history) add(b *wire.Batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.batches[b.Epoch] == nil {
		m.batches[b.Epoch] = map[int][]*wire.Batch{}
		m.order = append(m.order, b.Epoch)
	}
	shard := int(b.Shard)
	m.batches[b.Epoch][shard] = append(m.batches[b.Epoch][shard], b)
}

// end says that nothing more comes of an epoch on a shard.
func (m *history) end(epoch wire.Epoch, shard int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended[[2]int{int(epoch), shard}] = true
}

// End implements Ends.
func (m *history) End(epoch wire.Epoch, shard int) (wire.Seq, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.batches[epoch][shard]
	if !m.ended[[2]int{int(epoch), shard}] || len(list) == 0 {
		return 0, false
	}
	return list[len(list)-1].Next(), true
}

func (m *history) Extents() []Span {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Span
	for _, e := range m.order {
		for s := range m.shards {
			for _, b := range m.batches[e][s] {
				if n := len(list); n > 0 && list[n-1].Epoch == e && list[n-1].Shard == s && list[n-1].To == b.FirstSeq {
					list[n-1].To = b.Next()
					continue
				}
				list = append(list, Span{e, s, b.FirstSeq, b.Next()})
			}
		}
	}
	return list
}

func (m *history) Read(_ context.Context, epoch wire.Epoch, shard int, from, to wire.Seq, _ int) (wire.Batch, func(), error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.batches[epoch][shard]
	if list == nil {
		return wire.Batch{}, nil, ErrUnknownEpoch
	}
	i, _ := slices.BinarySearchFunc(list, from, func(b *wire.Batch, from wire.Seq) int {
		if b.Next() <= from {
			return -1
		}
		return 1
	})
	switch {
	case i == len(list):
		return wire.Batch{}, nil, ErrNotYet
	case list[i].FirstSeq > from:
		return wire.Batch{}, nil, ErrGone
	}
	return cutBatch(list[i], from, to), func() {}, nil
}

func (m *history) Find(_ context.Context, t wire.Nanos, _ string) ([]Span, error) {
	var list []Span
	for _, s := range m.Extents() {
		// The tests' event times are epoch*1e6 + sequence.
		first := wire.Seq(max(max(int64(t), 0)-int64(s.Epoch)*1e6, 0))
		if s.From = max(s.From, first); s.From < s.To {
			list = append(list, s)
		}
	}
	return list, nil
}

// cutBatch is the part [from, to) of b.
func cutBatch(b *wire.Batch, from, to wire.Seq) wire.Batch {
	if from <= b.FirstSeq && b.Next() <= to {
		return *b
	}
	out := wire.Batch{Header: b.Header}
	out.FirstSeq, out.Count = max(from, b.FirstSeq), 0
	out.FirstOrdinal = wire.Ordinal(out.FirstSeq)
	for w := b.Records(); w.Next(); {
		if w.Seq() >= from && w.Seq() < to {
			out.Payload = append(out.Payload, w.Record()...)
			out.Count++
		}
	}
	out.PayloadSize, out.OrderSize, out.CRC = uint32(len(out.Payload)), 0, wire.CRC(out.Payload, nil)
	return out
}

// numbered is a batch of n records with bodies of the given size, which begin with
// epoch and sequence.
func numbered(epoch wire.Epoch, shard, shards int, first wire.Seq, n, bodySize int) *wire.Batch {
	b := &wire.Batch{Header: wire.Header{Epoch: epoch, Shard: uint16(shard), Shards: uint16(shards), FirstSeq: first,
		FirstOrdinal: wire.Ordinal(first), Count: uint32(n)}}
	body := make([]byte, bodySize)
	for i := range n {
		binary.LittleEndian.PutUint64(body, uint64(epoch))
		binary.LittleEndian.PutUint64(body[8:], uint64(first)+uint64(i))
		b.Payload, _ = wire.AppendRecord(b.Payload, &wire.Fields{Topic: []byte("TOPIC.EX"), Body: body, Kind: wire.KindTrade,
			Event: wire.Nanos(int64(epoch)*1e6) + wire.Nanos(first) + wire.Nanos(i)})
	}
	b.PayloadSize, b.CRC = uint32(len(b.Payload)), wire.CRC(b.Payload, nil)
	return b
}
