// Package lineage knows how epochs of a shard lie beside one another on the source that
// they play, where publishers stand in for each other (docs/WIRE.md, section 7, "A pair").
// It is pure, and says nothing of epochs that no takeover connects.
package lineage

import (
	"slices"

	"github.com/tapedeck/tapedeck/wire"
)

// Max is how many epochs a Book remembers; those that were mentioned longest ago are
// forgotten first.
const Max = 64

// Book is what one shard's hellos have said. The zero value is ready, and knows nothing.
// It is not safe for concurrent use; copies must not be changed apart.
type Book struct {
	list []entry // in the order in which they were mentioned last
}

// entry is an epoch. Those of one play lie on one source, and record n of each is at
// at+n there.
type entry struct {
	epoch wire.Epoch
	play  wire.Epoch // number of the play: that of an epoch that it began with
	at    int64
}

// Start takes note of how an epoch began. A start that is nil, or no takeover, says
// nothing here. Where the two have been connected before, what was said first holds.
func (b *Book) Start(epoch wire.Epoch, s *wire.SessionStart) {
	if s == nil || !s.TakesOver() {
		return
	}
	b.Connect(epoch, s.PreviousEpoch, int64(s.PreviousNext))
	for _, p := range s.Before {
		b.Connect(epoch, p.Epoch, int64(p.Next))
	}
}

// Connect takes note that record n of an epoch is record at+n of another one, or would
// have been, had that gone on. Epoch 0 is none.
func (b *Book) Connect(epoch, other wire.Epoch, at int64) {
	if epoch == 0 || other == 0 || epoch == other {
		return
	}
	b.note(other)
	b.note(epoch)
	e, o := b.find(epoch), b.find(other)
	if e.play == o.play {
		return
	}
	// The later one comes to where the other one is, with all that is known beside it.
	play, shift := e.play, o.at+at-e.at
	for i := range b.list {
		if x := &b.list[i]; x.play == play {
			x.play, x.at = o.play, x.at+shift
		}
	}
}

// note puts an epoch last in the list, in a play of its own where it was not there.
func (b *Book) note(epoch wire.Epoch) {
	x := entry{epoch: epoch}
	i := slices.IndexFunc(b.list, func(x entry) bool { return x.epoch == epoch })
	switch {
	case i >= 0:
		x = b.list[i]
		b.list = slices.Delete(b.list, i, i+1)
	case len(b.list) == Max:
		b.list = slices.Delete(b.list, 0, 1)
		fallthrough
	default:
		x.play = b.unused(epoch)
	}
	b.list = append(b.list, x)
}

// unused is a number that no play has: the epoch's, unless the play that it began with has
// outlived its entry.
func (b *Book) unused(epoch wire.Epoch) wire.Epoch {
	for i := 0; i < len(b.list); i++ {
		if b.list[i].play == epoch {
			epoch, i = epoch+1, -1
		}
	}
	return epoch
}

func (b *Book) find(epoch wire.Epoch) *entry {
	for i := len(b.list) - 1; i >= 0; i-- {
		if b.list[i].epoch == epoch {
			return &b.list[i]
		}
	}
	return nil
}

// Begins returns where an epoch begins in another one: its record n is that one's at+n.
// It is below 0 where the other one begins later. known is false where no takeover
// connects them. An epoch begins in itself at 0, whether it was noted or not.
func (b *Book) Begins(epoch, other wire.Epoch) (at int64, known bool) {
	if epoch == other {
		return 0, epoch != 0
	}
	e, o := b.find(epoch), b.find(other)
	if e == nil || o == nil || e.play != o.play {
		return 0, false
	}
	return e.at - o.at, true
}

// Before lists the epochs, the latest mentioned first and at most most of them, that lie
// beside an epoch, each with how many records it had, or would have had, before that one's
// record at next. Those that begin later are left out, and so is the epoch itself.
func (b *Book) Before(epoch wire.Epoch, next wire.Seq, most int) []wire.SessionPlace {
	var list []wire.SessionPlace
	for i := len(b.list) - 1; i >= 0 && len(list) < most; i-- {
		other := b.list[i].epoch
		at, known := b.Begins(epoch, other)
		if n := at + int64(next); known && other != epoch && n >= 0 {
			list = append(list, wire.SessionPlace{Epoch: other, Next: wire.Seq(n)})
		}
	}
	return list
}
