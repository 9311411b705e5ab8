package replay

import (
	"sort"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// trail is what is remembered of one shard's records in one epoch: for some of
// them which ordinal a sequence has. Between two such points every record that
// the shard plays comes in order, so the tape gives back all of them. Whoever
// sends to the shard writes it, without a lock; anybody may read.
type trail struct {
	next   atomic.Uint64 // sequence of the next record
	at     atomic.Uint64 // ordinal behind the latest record
	points atomic.Pointer[points]
	due    wire.Seq // the writer's: no point before this sequence
}

// points are what a trail has of them. Entries below n do not change.
type points struct {
	list []point
	n    atomic.Int64
	step wire.Seq // least distance
}

// point is one record that went out first in its batch.
type point struct {
	seq     wire.Seq
	ordinal wire.Ordinal
	sent    wire.Nanos // wall clock
}

// Bounds of a trail: 96 KiB for the epoch at hand, whatever its length, and 3 KiB
// for one that is over.
const (
	pointStep = 1 << 10 // records between points, at first
	pointsMin = 1 << 4
	pointsMax = 1 << 12
	pointsOld = 1 << 7
)

func newTrail() *trail {
	t := &trail{}
	t.points.Store(&points{list: make([]point, pointsMin), step: pointStep})
	return t
}

// sent takes note of a batch.
func (t *trail) sent(first, last wire.Ordinal, count uint32) {
	seq := wire.Seq(t.next.Load())
	if seq >= t.due {
		t.mark(point{seq: seq, ordinal: first, sent: wire.NanosOf(time.Now())})
	}
	t.at.Store(uint64(last + 1))
	t.next.Store(uint64(seq) + uint64(count))
}

// from says, before anything has gone out, that the first record does not come before an
// ordinal, and the shard's records behind that do.
func (t *trail) from(o wire.Ordinal) {
	t.mark(point{ordinal: o, sent: wire.NanosOf(time.Now())})
	t.reach(o)
}

// reach moves the ordinal on where nothing was sent.
func (t *trail) reach(o wire.Ordinal) { t.at.Store(uint64(o)) }

func (t *trail) mark(pt point) {
	p := t.points.Load()
	n := int(p.n.Load())
	if n == len(p.list) {
		p = p.wider(pointsMax)
		t.points.Store(p)
		n = int(p.n.Load())
	}
	p.list[n] = pt
	p.n.Store(int64(n + 1))
	t.due = pt.seq + p.step
}

// wider returns the points with room for more: in more memory or, where that would
// be more than a limit, every other point only.
func (p *points) wider(limit int) *points {
	n := int(p.n.Load())
	if 2*len(p.list) <= limit {
		w := &points{list: make([]point, 2*len(p.list)), step: p.step}
		copy(w.list, p.list[:n])
		w.n.Store(int64(n))
		return w
	}
	return p.thinner(limit)
}

// thinner returns every other point.
func (p *points) thinner(room int) *points {
	n := (int(p.n.Load()) + 1) / 2
	t := &points{list: make([]point, max(room, n)), step: 2 * p.step}
	for i := range n {
		t.list[i] = p.list[2*i]
	}
	t.n.Store(int64(n))
	return t
}

// finish takes back memory of an epoch that is over. Nobody writes any more.
func (t *trail) finish() {
	p := t.points.Load()
	for p.n.Load() > pointsOld {
		p = p.thinner(0)
	}
	t.points.Store(p)
}

// before returns the latest point that is not behind what is looked for: before
// reports whether a point is. The shard's first point stands for everything before
// it. ok is false where nothing has gone out.
func (t *trail) before(behind func(*point) bool) (pt point, ok bool) {
	p := t.points.Load()
	n := int(p.n.Load())
	if n == 0 {
		return pt, false
	}
	i := sort.Search(n, func(i int) bool { return behind(&p.list[i]) })
	return p.list[max(i-1, 0)], true
}
