package publisher

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/tapedeck/tapedeck/wire"
)

// takeoverSpread is among how many numbers a takeover chooses its epoch's, where the clock
// does not. Epochs are nanoseconds: it is about a second.
const takeoverSpread = 1 << 30

// TakeOver makes a publisher that stands by send. It begins a new epoch on every shard,
// whose number is above from, as one that goes on where another publisher's epoch from had
// come to next on each shard; readers drop what repeats. start says why and where; what it
// says of the epoch before is set here. before is, per shard, which epochs that one went
// on with, in the same way, and where: a reader may not have heard it. Where from is 0 there was none, and the stream
// begins.
//
// As after Begin, a hello is the epoch's first message on each shard, and a full queue is
// not waited for.
func (p *Publisher) TakeOver(ctx context.Context, start wire.SessionStart, from wire.Epoch, next []wire.Seq, before ...[]wire.SessionPlace) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if from != 0 && (len(next) != len(p.shards) || before != nil && len(before) != len(p.shards)) {
		return fmt.Errorf("publisher: places of %d shards to go on at, want %d", len(next), len(p.shards))
	}
	p.lock()
	defer p.unlock()
	p.silent.Store(false)
	if from == 0 {
		return p.begin(nil, 0, (*shard).left)
	}
	// Of two takeovers by who does not know of the other, none may have the number of the
	// other, also where clocks are behind.
	above := from + wire.Epoch(rand.Uint64N(takeoverSpread))
	return p.begin(&start, above, func(s *shard) place {
		at := place{epoch: from, next: next[s.number]}
		if before != nil {
			at.before = before[s.number]
		}
		return at
	})
}

// Lineage returns, per shard, which epochs of other publishers, and of its own, the epoch at
// hand goes on with by takeovers, the latest first, and where it begins in each. An epoch
// that began otherwise has none.
func (p *Publisher) Lineage() [][]wire.SessionPlace {
	p.lock()
	defer p.unlock()
	list := make([][]wire.SessionPlace, len(p.shards))
	for i, s := range p.shards {
		list[i] = slices.Clone(s.lineage)
	}
	return list
}

// SetPairEpoch says in which epoch of its pair the publisher is active: epochs that it
// begins from now on say so, and readers of the pair go by the greatest. It is to be
// called before TakeOver.
func (p *Publisher) SetPairEpoch(epoch uint64) { p.pairEpoch.Store(epoch) }

// Standing is how far a reader says that it has come on a shard.
type Standing struct {
	Reader wire.ReaderID
	Shard  int
	// Epoch is 0 where it does not say. It has everything of the epoch before Next.
	Epoch wire.Epoch
	Next  wire.Seq
}

// Standings returns how far the readers say that they have come, shard by shard: those
// that receive on it, also from the other one of a pair. It takes in what they have said
// until now, and is not to be called while anybody sends.
func (p *Publisher) Standings() ([]Standing, error) {
	p.lock()
	defer p.unlock()
	var list []Standing
	for _, s := range p.shards {
		if err := p.hear(s); err != nil {
			return nil, err
		}
		for _, id := range p.readers.on(s.number) {
			at := Standing{Reader: id, Shard: s.number}
			if step, said := s.steps[id]; said {
				at.Epoch, at.Next = step.Epoch, step.Next
			}
			list = append(list, at)
		}
	}
	return list, nil
}

// Wanted reports whether anybody subscribes to records, on any shard: also readers
// that have not been greeted, since this one stands by. Any goroutine may call it.
func (p *Publisher) Wanted() bool { return p.wanted.Load() > 0 }

// Seen is how many readers have ever said that they receive, on one shard at least.
func (p *Publisher) Seen() int {
	joined, _, _ := p.readers.counts()
	return joined
}

// on are the readers that receive on a shard.
func (r *readers) on(shard int) []wire.ReaderID {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []wire.ReaderID
	for id, x := range r.byID {
		if x.receives[shard] {
			list = append(list, id)
		}
	}
	return list
}
