package lvc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/internal/zmtp"
	"github.com/tapedeck/tapedeck/wire"
)

// marksMax bounds the marks that are under way: who is behind by more is not waited for,
// however slow all are.
const marksMax = 1024

// askedAtOnce is how many readers are asked at every call of Confirm: twice as many at
// every other call, and so on.
const askedAtOnce = 256

// lagsMore is by how many times a reader may lag more than half of all do, however much
// that is: where all are slow, it is not one that is stuck.
const lagsMore = 4

// confirms finds out up to where all readers have the stream: marks go into their
// queues, as pings of the protocol, which come back when a reader's library has all
// that was before them. What a kernel has taken, its process may never see.
type confirms struct {
	// keep is how far behind a reader may be that is waited for; and further, where half of
	// them lag.
	keep   time.Duration
	base   uint64 // number of marks[0], from 1
	marks  []confirmMark
	left   []leftReader
	have   []Position      // where the latest mark was that came back from all; epoch 0: none yet
	behind int             // readers that are not waited for
	lags   []time.Duration // of readers, at the latest call
	calls  uint64
	tooFar uint64 // times that a reader was not waited for any more
}

// confirmMark is a place in what goes out.
type confirmMark struct {
	at        time.Time
	positions []Position
}

// leftReader is one that has gone, and may come back by its other connection: it is
// waited for a little longer.
type leftReader struct {
	confirmed uint64
	until     time.Time
}

func newConfirms(keep time.Duration, shards int) *confirms {
	return &confirms{base: 1, keep: keep, have: unknown(shards)}
}

// unknown are the positions of those of whom nothing is known.
func unknown(shards int) []Position {
	list := make([]Position, shards)
	for i := range list {
		list[i].Shard = i
	}
	return list
}

// restart forgets all that is under way: what readers have is not known any more.
func (c *confirms) restart(readers map[*reader]struct{}) {
	c.forget(len(c.marks))
	c.have, c.behind, c.left = unknown(len(c.have)), 0, c.left[:0]
	for r := range readers {
		c.meets(r)
	}
}

// meets begins to wait for a reader: it has missed nothing so far.
func (c *confirms) meets(r *reader) {
	if c != nil {
		r.confirmed, r.tooFar = c.last(), false
	}
}

// last is the number of the latest mark.
func (c *confirms) last() uint64 { return c.base + uint64(len(c.marks)) - 1 }

// Confirm asks all readers how far they are, and returns up to where all of them are
// known to have the stream, in epoch 0 where that is not known, but for so many that are
// behind by more than a passive proxy keeps, or lose records as their queue was full. It
// is to be called a few times a heartbeat of the pair. What it returns is not to be
// changed; of a passive proxy it is nil.
func (p *Proxy) Confirm() (have []Position, behind int) { return p.confirm(p.world.Now()) }

func (p *Proxy) confirm(now time.Time) (have []Position, behind int) {
	h := p.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.confirms
	if c == nil || h.ring != nil {
		return nil, 0
	}
	wait := max(c.keep, lagsMore*p.halfLagLocked(now))
	old := 0
	for old < len(c.marks) && now.Sub(c.marks[old].at) > wait {
		old++
	}
	c.forget(old)
	low := p.confirmedByAllLocked(now)
	if low >= c.base {
		n := int(low - c.base)
		c.have = c.marks[n].positions
		c.forget(n + 1)
	}
	// So many readers are asked less often: answers must not take all of a core.
	c.calls++
	if c.calls%(1+uint64(len(h.readers))/askedAtOnce) == 0 {
		c.forget(max(len(c.marks)+1-marksMax, 0))
		c.marks = append(c.marks, confirmMark{now, p.positionsLocked()})
		number := c.last()
		for r := range h.readers {
			r.pushMarkLocked(number)
		}
	}
	return c.have, c.behind
}

// forget drops the oldest marks.
func (c *confirms) forget(n int) {
	c.base += uint64(n)
	c.marks = slices.Delete(c.marks, 0, n)
}

// halfLagLocked returns by how much half of the readers lag at most, as far as is known.
func (p *Proxy) halfLagLocked(now time.Time) time.Duration {
	c := p.hub.confirms
	c.lags = c.lags[:0]
	for r := range p.hub.readers {
		if r.conn == nil || r.isBehind() {
			continue
		}
		r.confirmed = max(r.confirmed, r.acknowledged())
		lag := time.Duration(0)
		if r.confirmed < c.last() && len(c.marks) > 0 {
			lag = now.Sub(c.marks[max(r.confirmed+1, c.base)-c.base].at)
		}
		c.lags = append(c.lags, lag)
	}
	if len(c.lags) == 0 {
		return 0
	}
	slices.Sort(c.lags)
	return c.lags[(len(c.lags)-1)/2]
}

// confirmedByAllLocked returns the latest mark that all readers have, as halfLagLocked
// has found, but for those who are further behind than is waited for.
func (p *Proxy) confirmedByAllLocked(now time.Time) uint64 {
	c := p.hub.confirms
	low := c.last()
	c.behind = 0
	for r := range p.hub.readers {
		if r.conn == nil {
			continue // nobody knows
		}
		if r.isBehind() {
			c.behind++ // it has lost records, and gets last values
			continue
		}
		if r.confirmed+1 < c.base {
			if !r.tooFar {
				r.tooFar = true
				c.tooFar++
			}
			c.behind++
			continue
		}
		r.tooFar = false
		low = min(low, r.confirmed)
	}
	c.left = slices.DeleteFunc(c.left, func(l leftReader) bool { return now.After(l.until) || l.confirmed+1 < c.base })
	for _, l := range c.left {
		low = min(low, l.confirmed)
	}
	return low
}

// leaves has a reader that goes waited for a moment longer.
func (c *confirms) leaves(r *reader, now time.Time) {
	if c != nil && r.confirmed < c.last() && !r.tooFar && len(c.left) < marksMax {
		c.left = append(c.left, leftReader{r.confirmed, now.Add(c.keep / 4)})
	}
}

// pushMarkLocked puts a mark behind what waits for the reader. One that is too far
// behind has one mark under way. The hub's lock is held.
func (r *reader) pushMarkLocked(number uint64) {
	if r.conn == nil || r.tooFar && r.confirmed < r.marked {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.behind {
		return
	}
	r.marked = number
	if r.pings {
		var context [8]byte
		binary.BigEndian.PutUint64(context[:], number)
		ping := zmtp.AppendPing(make([]byte, 0, 32), context[:])
		r.queued += int64(len(ping))
		r.pushTailLocked(ping, 0)
	} else {
		r.queue, r.tail = append(r.queue, item{mark: number}), nil
	}
	r.wake.Ring()
}

// passedMark is how much was written when a mark's turn came, after all before it.
type passedMark struct{ number, written uint64 }

// acknowledged returns the latest mark that the kernel of a reader without pings has
// acknowledged all before. The hub's lock is held.
func (r *reader) acknowledged() (number uint64) {
	if r.pings {
		return 0
	}
	// What is unsent is asked for later than what is written is read, and of a
	// connection with keys there are more bytes than were given to it: so this is less
	// than was acknowledged, never more.
	written := r.written.Load()
	unsent := uint64(r.hub.world.Unsent(r.conn))
	taken := written - min(unsent, written)
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.passed) && r.passed[n].written <= taken {
		number = r.passed[n].number
		n++
	}
	r.passed = slices.Delete(r.passed, 0, n)
	return number
}

func (r *reader) isBehind() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.behind
}

// pongOf takes the answer to a mark.
func (h *hub) pongOf(r *reader, context []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.confirms == nil || len(context) != 8 {
		h.counts.foreign++
		return
	}
	if number := binary.BigEndian.Uint64(context); number <= h.confirms.last() {
		r.confirmed = max(r.confirmed, number)
	}
}

// Confirmed takes what the active proxy has learned by Confirm: a passive one keeps no
// longer what all readers have, and everything else as long as there is room.
func (p *Proxy) Confirmed(have []Position, behind int) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if g := p.hub.ring; g != nil && len(have) == len(p.feeds) {
		now := p.world.Now()
		g.drop(now, have, behind, p.positionsLocked())
		g.trim(now)
	}
}

// haveWord begins a note of one proxy of a pair to the other one.
const haveWord = "have="

// behindWord begins what follows it.
const behindWord = " behind="

// errHave: a note of the other proxy is none that this one knows.
var errHave = errors.New("lvc: a note of the other proxy that is none")

// AppendHave appends the note that tells the other proxy up to where all readers have
// the stream, "have=" and EPOCH.NEXT of each shard, divided by commas, and, where some are
// not among them, " behind=" and how many; and returns the extended slice.
func AppendHave(dst []byte, have []Position, behind int) []byte {
	dst = append(dst, haveWord...)
	for i, p := range have {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(strconv.AppendUint(dst, uint64(p.Epoch), 10), '.')
		dst = strconv.AppendUint(dst, uint64(p.Next), 10)
	}
	if behind > 0 {
		dst = strconv.AppendInt(append(dst, behindWord...), int64(behind), 10)
	}
	return dst
}

// ParseHave reads such a note. What follows it behind a space is ignored.
func ParseHave(note []byte) (have []Position, behind int, err error) {
	rest, ok := strings.CutPrefix(string(note), haveWord)
	if !ok {
		return nil, 0, fmt.Errorf("%w: %.64q", errHave, note)
	}
	places, more, _ := strings.Cut(rest, " ")
	have = make([]Position, 0, strings.Count(places, ",")+1)
	for one := range strings.SplitSeq(places, ",") {
		e, n, ok := strings.Cut(one, ".")
		epoch, err := strconv.ParseUint(e, 10, 64)
		next, err2 := strconv.ParseUint(n, 10, 64)
		if !ok || err != nil || err2 != nil {
			return nil, 0, fmt.Errorf("%w: shard %d is at %.64q", errHave, len(have), one)
		}
		have = append(have, Position{Shard: len(have), Epoch: wire.Epoch(epoch), Next: wire.Seq(next)})
	}
	if number, ok := strings.CutPrefix(" "+more, behindWord); ok {
		number, _, _ = strings.Cut(number, " ")
		n, err := strconv.ParseUint(number, 10, 31)
		if err != nil {
			return nil, 0, fmt.Errorf("%w: %.64q are behind", errHave, number)
		}
		behind = int(n)
	}
	return have, behind, nil
}
