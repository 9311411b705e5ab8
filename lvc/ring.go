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
// passive proxy has to give to its readers when it becomes active. It is bounded by
// time and by bytes; the bound of bytes is not to be met.
type ring struct {
	keep  time.Duration
	bytes int64

	blocks []ringBlock // oldest first
	spare  [][]byte
	size   int64 // of the blocks
	began  time.Time
	early  time.Time // when the latest message came that had to go before its time
	short  uint64    // messages that went before their time
}

// ringBlock is whole messages, one after the other.
type ringBlock struct {
	data        []byte
	messages    int
	first, last time.Time // when they came
}

// RingState is how far back a passive proxy can go.
type RingState struct {
	Reach    time.Duration `json:"reach_ns"` // everything since then is there
	Messages int           `json:"messages"`
	Bytes    int64         `json:"bytes"`
	Short    uint64        `json:"short"` // messages that went before their time, as they took too many bytes
}

func newRing(keep time.Duration, bytes int64, now time.Time) *ring {
	return &ring{keep: keep, bytes: bytes, began: now, early: now}
}

// add keeps a message.
func (g *ring) add(now time.Time, topic []byte, h *wire.Plain, body []byte) {
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
	drop := 0
	for drop < len(g.blocks)-1 {
		b := &g.blocks[drop]
		old := now.Sub(b.last) > g.keep
		if !old && g.size <= g.bytes {
			break
		}
		if !old {
			g.short += uint64(b.messages)
			g.early = b.last
		}
		g.size -= int64(len(b.data))
		if cap(b.data) <= 2*chunkSize && len(g.spare) < 8 {
			g.spare = append(g.spare, b.data[:0])
		}
		drop++
	}
	if drop > 0 {
		n := copy(g.blocks, g.blocks[drop:])
		clear(g.blocks[n:])
		g.blocks = g.blocks[:n]
	}
}

// state says how far back it goes.
func (g *ring) state(now time.Time) RingState {
	s := RingState{Reach: min(now.Sub(g.early), g.keep), Bytes: g.size, Short: g.short}
	for i := range g.blocks {
		s.Messages += g.blocks[i].messages
	}
	return s
}

// each calls f with all messages in order. What f is given is borrowed until it
// returns.
func (g *ring) each(f func(topic []byte, h *wire.Plain, body []byte)) {
	for i := range g.blocks {
		for rest := g.blocks[i].data; len(rest) > 0; {
			topic, _, after, _ := zmtp.NextFrame(rest)
			header, _, after, _ := zmtp.NextFrame(after)
			body, _, after, ok := zmtp.NextFrame(after)
			h, err := wire.ParsePlain(header)
			if !ok || err != nil {
				panic("BUG: lvc: a message of the ring cannot be read")
			}
			f(topic, &h, body)
			rest = after
		}
	}
}
