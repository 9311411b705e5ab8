package sim

import (
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// feed is what stands between the network and a handler: what the receive loop of a
// subscriber does, with its Streams, in the order in which it does it.
type feed struct {
	w       *World
	who     string
	handler subscriber.Handler
	marks   subscriber.MarkHandler // handler, where it takes them
	streams []subscriber.Stream
	session []wire.Epoch
	pair    bool // two publishers stand in for each other
}

func newFeed(w *World, who string, shards int, h subscriber.Handler) *feed {
	f := &feed{w: w, who: who, handler: h, streams: make([]subscriber.Stream, shards), session: make([]wire.Epoch, shards)}
	f.marks, _ = h.(subscriber.MarkHandler)
	return f
}

// take takes in a message.
func (f *feed) take(frames [][]byte) {
	b, err := wire.ParseBatch(frames[0], frames[1], nil)
	if err != nil {
		f.w.Fail("%s: a message that was sent cannot be read: %v", f.who, err)
	}
	shard := int(b.Shard)
	stream := &f.streams[shard]
	if f.pair {
		pair := uint64(0)
		if about, err := wire.ParseSession(b.Payload); err == nil && b.Flags&wire.FlagHello != 0 {
			pair = about.PairEpoch
		}
		if enters, _ := stream.Enters(&b.Header, pair); !enters {
			return // hellos come again and again
		}
	}
	step := stream.Take(&b.Header)
	if step.Stale {
		return
	}
	if step.GapFrom != step.GapTo {
		f.handler.HandleGap(shard, b.Epoch, step.GapFrom, step.GapTo)
	}
	if b.Bare() && f.marks != nil {
		f.marks.HandleMark(shard, &b.Header)
	}
	switch {
	case b.Flags&wire.FlagHello != 0:
		f.hello(&b)
	case !b.Bare() && step.Skip < b.Count:
		if err := f.handler.HandleBatch(&b, step.Skip); err != nil {
			f.w.Fail("%s: %v", f.who, err)
		}
	}
	if step.Ended {
		f.handler.HandleEnd(shard, b.Epoch, stream.Complete())
	}
}

func (f *feed) hello(b *wire.Batch) {
	shard := int(b.Shard)
	if f.session[shard] == b.Epoch {
		return
	}
	about, err := wire.ParseSession(b.Payload)
	if err != nil {
		f.w.Fail("%s: a session cannot be read: %v", f.who, err)
	}
	f.session[shard] = b.Epoch
	tail, head := f.streams[shard].Start(about.Start)
	for _, m := range []subscriber.Missing{tail, head} {
		if !m.None() {
			f.handler.HandleGap(shard, m.Epoch, m.From, m.To)
		}
	}
	f.handler.HandleSession(shard, b.Epoch, &about)
}
