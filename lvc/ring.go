package lvc

import (
	"time"

	"github.com/tapedeck/tapedeck/internal/zmtp"
	"github.com/tapedeck/tapedeck/wire"
)

const (
	ringKeepDefault  = 5 * time.Second
	ringBytesDefault = 128 << 20
)

// ring is the live messages of the latest time, as they would have gone out: what a
// passive proxy has to give to its readers when it becomes active. What all of them
// have got from the active one goes as soon as that is known. Nothing else goes, however
// old it is: the active one may be silent since it is gone, or later than this one with
// what it takes in, or have taken over a moment ago. Only where it cannot say what
// readers have, time bounds what is kept; and bytes do always, whose bound is not to be
// met.
type ring struct {
	keep  time.Duration
	bytes int64

	told    bool        // the active one says what readers have, or will
	heard   time.Time   // when it did so last; before, when the ring was made
	behind  int         // readers that it does not wait for, as it said last
	wanted  bool        // somebody is connected who may lack something
	from    []Position  // of each shard, where what is kept began
	covered bool        // all readers have what came before that
	missing uint64      // messages that had to go, since that was so last
	held    []ringBlock // notices older than blocks, one each, oldest first
	blocks  []ringBlock // oldest first
	spare   [][]byte
	size    int64 // of both
	early   time.Time
	short   uint64 // messages that had to go before their time
	had     uint64 // messages that went since all readers have them
}

// ringBlock is whole messages, one after the other.
type ringBlock struct {
	data        []byte
	messages    int
	first, last time.Time // when they came
}

// RingState is how far back a passive proxy can go.
type RingState struct {
	// Reach: of everything since then, what readers of the active one do not all have
	// is there. 0: something may be missing, see Missing.
	Reach    time.Duration `json:"reach_ns"`
	Messages int           `json:"messages"`
	Bytes    int64         `json:"bytes"`
	Had      uint64        `json:"had"`   // messages that went early, since all readers have them
	Short    uint64        `json:"short"` // messages that went before their time, as they took too many bytes
	// Missing are messages that went so, and that not all readers are known to have.
	Missing uint64 `json:"missing"`
	// Behind are readers of the active one that are not waited for: they lag by more than
	// is kept, or have lost records and get last values.
	Behind int `json:"behind"`
}

// newRing returns an empty ring that begins where the shards are.
func newRing(keep time.Duration, bytes int64, now time.Time, from []Position) *ring {
	return &ring{keep: keep, bytes: bytes, early: now, heard: now, from: from, wanted: true}
}

// add keeps a message.
func (g *ring) add(now time.Time, topic []byte, h *wire.Plain, body []byte) {
	if int(h.Shard) < len(g.from) && h.Shards > 0 {
		if f := &g.from[h.Shard]; f.Epoch == 0 {
			f.Epoch, f.Next = h.Epoch, h.Seq
		}
	}
	n := len(g.blocks)
	if n == 0 || len(g.blocks[n-1].data)+len(topic)+len(body)+wire.PlainHeaderSize+32 > chunkSize && len(g.blocks[n-1].data) > 0 ||
		now.Sub(g.blocks[n-1].first) > g.keep/8 {
		g.blocks = append(g.blocks, ringBlock{data: g.room(), first: now})
		n++
	}
	b := &g.blocks[n-1]
	before := len(b.data)
	b.data = appendEntry(b.data, topic, h, body, false)
	b.last = now
	b.messages++
	g.size += int64(len(b.data) - before)
	g.trim(now)
}

// room returns an empty block's memory.
func (g *ring) room() []byte {
	if n := len(g.spare); n > 0 {
		b := g.spare[n-1]
		g.spare[n-1] = nil
		g.spare = g.spare[:n-1]
		return b
	}
	return make([]byte, 0, chunkSize)
}

// trim drops what is old, and the oldest where there is too much.
func (g *ring) trim(now time.Time) {
	owed := g.told && g.wanted // to readers that have not said that they have it
	drop := 0
	for ; drop < len(g.held); drop++ {
		age := now.Sub(g.held[drop].last)
		if owed {
			age = g.heard.Sub(g.held[drop].last)
		}
		if age <= g.keep && g.size <= g.bytes {
			break
		}
		g.size -= int64(len(g.held[drop].data))
	}
	g.held = shift(g.held, drop)
	for drop = 0; drop < len(g.blocks)-1 && len(g.held) == 0; drop++ {
		b := &g.blocks[drop]
		old := now.Sub(b.last) > g.keep && !owed
		if !old && g.size <= g.bytes {
			break
		}
		if !old {
			g.short += uint64(b.messages)
			g.early = b.last
		}
		if !old || g.told {
			g.missing += uint64(b.messages)
			g.covered = false
		}
		g.pass(b)
		g.size -= int64(len(b.data))
		g.reuse(b.data)
	}
	g.blocks = shift(g.blocks, drop)
}

// pass moves the beginning of what is kept behind a block that goes.
func (g *ring) pass(b *ringBlock) {
	for rest := b.data; len(rest) > 0; {
		_, h, _, after := nextEntry(rest)
		if h.Shards > 0 && int(h.Shard) < len(g.from) {
			f := &g.from[h.Shard]
			f.Epoch, f.Next = h.Epoch, h.Seq+1
		}
		rest = after
	}
}

// shift takes the first n blocks away.
func shift(list []ringBlock, n int) []ringBlock {
	if n == 0 {
		return list
	}
	m := copy(list, list[n:])
	clear(list[m:])
	return list[:m]
}

// reuse keeps a block's memory for another.
func (g *ring) reuse(data []byte) {
	if cap(data) <= 2*chunkSize && len(g.spare) < 8 {
		g.spare = append(g.spare, data[:0])
	}
}

// drop drops what all readers have, by where the active proxy says that they are but for
// some that are behind, and where this one's own shards are. Notices, which have no place
// in the stream, stay for their time.
func (g *ring) drop(now time.Time, have []Position, behind int, at []Position) {
	g.told, g.heard, g.behind = true, now, behind
	if g.covered = covers(have, g.from, at); g.covered {
		g.missing = 0
	}
	done := 0
	for ; done < len(g.blocks); done++ {
		b := &g.blocks[done]
		rest := b.data
		for len(rest) > 0 {
			_, h, _, after := nextEntry(rest)
			if h.Shards == 0 {
				g.held = append(g.held, ringBlock{data: append([]byte(nil), rest[:len(rest)-len(after)]...), messages: 1, first: b.first, last: b.last})
				g.size += int64(len(rest) - len(after))
			} else if !has(have, at, &h) {
				break
			} else {
				g.had++
			}
			b.messages--
			rest = after
		}
		g.size -= int64(len(b.data) - len(rest))
		if len(rest) > 0 {
			b.data = b.data[:copy(b.data, rest)]
			break
		}
		g.reuse(b.data)
	}
	g.blocks = shift(g.blocks, done)
}

// has reports whether all readers have a message. One of another epoch than its shard
// is in by now is of an earlier one.
func has(have, at []Position, h *wire.Plain) bool {
	if int(h.Shard) >= len(have) || int(h.Shard) >= len(at) {
		return false
	}
	p := &have[h.Shard]
	if p.Epoch == h.Epoch {
		return h.Seq < p.Next
	}
	return p.Epoch != 0 && p.Epoch == at[h.Shard].Epoch
}

// covers reports whether all readers have what came before from.
func covers(have, from, at []Position) bool {
	if len(have) != len(from) {
		return false
	}
	for i, f := range from {
		switch p := have[i]; {
		case p.Epoch == f.Epoch && p.Next >= f.Next:
		case f.Epoch != 0 && p.Epoch == at[i].Epoch && p.Epoch != f.Epoch:
		default:
			return false
		}
	}
	return true
}

// state says how far back it goes.
func (g *ring) state(now time.Time) RingState {
	s := RingState{Bytes: g.size, Had: g.had, Short: g.short, Missing: g.missing, Behind: g.behind, Messages: len(g.held)}
	switch {
	case g.covered:
		s.Reach = g.keep
	case !g.told:
		s.Reach = min(now.Sub(g.early), g.keep)
	}
	for i := range g.blocks {
		s.Messages += g.blocks[i].messages
	}
	return s
}

// begin returns, given where the shards are, where each of what is kept begins: of one of
// which nothing is kept that is where it is.
func (g *ring) begin(at []Position) []Position {
	found := make([]bool, len(at))
	rest := len(at)
	for i := 0; i < len(g.blocks) && rest > 0; i++ {
		for b := g.blocks[i].data; len(b) > 0 && rest > 0; {
			_, h, _, after := nextEntry(b)
			if n := int(h.Shard); h.Shards > 0 && n < len(at) && !found[n] {
				at[n].Epoch, at[n].Next, found[n] = h.Epoch, h.Seq, true
				rest--
			}
			b = after
		}
	}
	return at
}

// each calls f with all messages in order. What f is given is borrowed until it
// returns.
func (g *ring) each(f func(topic []byte, h *wire.Plain, body []byte)) {
	for _, list := range [][]ringBlock{g.held, g.blocks} {
		for i := range list {
			for rest := list[i].data; len(rest) > 0; {
				topic, h, body, after := nextEntry(rest)
				f(topic, &h, body)
				rest = after
			}
		}
	}
}

// nextEntry takes a message apart that appendEntry has appended, and returns what
// follows it.
func nextEntry(b []byte) (topic []byte, h wire.Plain, body, after []byte) {
	topic, _, after, _ = zmtp.NextFrame(b)
	header, _, after, _ := zmtp.NextFrame(after)
	body, _, after, ok := zmtp.NextFrame(after)
	h, err := wire.ParsePlain(header)
	if !ok || err != nil {
		panic("BUG: lvc: a message of the ring cannot be read")
	}
	return topic, h, body, after
}
