package tape

import (
	"slices"

	"github.com/tapedeck/tapedeck/wire"
)

// add takes in one block.
func (t *Totals) add(b *BlockInfo) {
	if t.Records == 0 {
		t.Event, t.Receive = b.Event, b.Receive
	}
	t.Event.merge(b.Event)
	t.Receive.merge(b.Receive)
	t.Records += uint64(b.Count)
	t.PayloadBytes += uint64(b.PayloadSize)
	t.StoredBytes += uint64(b.StoredSize)
	t.Blocks++
}

// shardEdges are the first and the last record of one shard.
type shardEdges struct {
	first, last edge
}

func (s *shardEdges) add(first, last edge) {
	if s.first.epoch == 0 {
		s.first = first
	}
	s.last = last
}

// setEdges finds the first and last record in tape order: epochs in the order
// in which they appear, ordinals within.
func (t *Totals) setEdges(edges []shardEdges, epochs []wire.Epoch) {
	t.Epochs = len(epochs)
	if len(epochs) == 0 {
		return
	}
	var first, last *edge
	for i := range edges {
		e := &edges[i]
		if e.first.epoch == epochs[0] && (first == nil || e.first.ordinal < first.ordinal) {
			first = &e.first
		}
		if e.last.epoch == epochs[len(epochs)-1] && (last == nil || e.last.ordinal > last.ordinal) {
			last = &e.last
		}
	}
	if first != nil {
		t.FirstEvent, t.FirstReceive = first.event, first.receive
	}
	if last != nil {
		t.LastEvent, t.LastReceive = last.event, last.receive
	}
}

func appendEpoch(epochs []wire.Epoch, e wire.Epoch) []wire.Epoch {
	if n := len(epochs); n > 0 && epochs[n-1] == e || slices.Contains(epochs, e) {
		return epochs
	}
	return append(epochs, e)
}
