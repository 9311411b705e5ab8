package sim

import (
	"encoding/binary"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// lvcPublisher sends records of topics, an epoch a life.
type lvcPublisher struct {
	run   *lvcRun
	p     *Process
	to    [2]*lvcOut
	pause time.Duration
	pad   int // a body may be so much longer

	over  bool // it has sent its last record
	epoch wire.Epoch
	next  []wire.Seq     // by shard
	count map[string]int // records of the topic in the epoch
	last  map[string]int // number of its last record, over all epochs
}

// lvcOut is the way to a proxy.
type lvcOut struct {
	link   *link
	life   int
	newest wire.Epoch // that has come in this life
}

func newLVCPublisher(r *lvcRun) *lvcPublisher {
	s := &lvcPublisher{run: r, last: map[string]int{}, epoch: 1000,
		pause: one(r.w, 10*time.Millisecond, 30*time.Millisecond, 100*time.Millisecond), pad: one(r.w, 0, 0, 200, 3000)}
	s.p = r.w.Process("publisher", s.boot)
	return s
}

func (s *lvcPublisher) boot() {
	w := s.run.w
	s.epoch += 1 + wire.Epoch(w.IntN(10))
	s.next, s.count = make([]wire.Seq, s.run.shards), map[string]int{}
	w.Logf("publisher: epoch %d", s.epoch)
	s.marks(wire.FlagHello)
	if w.Chance(0.7) {
		s.p.After(w.Between(0, time.Second), s.everything)
	}
	s.p.Every(func() time.Duration { return w.Between(0, 2*s.pause) }, func() {
		if !s.over {
			s.some(1 + w.IntN(8))
		}
	})
	s.p.Every(func() time.Duration { return w.Between(100*time.Millisecond, 400*time.Millisecond) }, func() {
		s.marks(one(w, wire.FlagHeartbeat, wire.FlagHeartbeat, wire.FlagHello))
	})
}

// some sends records of one shard.
func (s *lvcPublisher) some(n int) {
	w := s.run.w
	shard := w.IntN(s.run.shards)
	var payload []byte
	count := 0
	for range n {
		i := w.IntN(len(s.run.topics))
		if i%s.run.shards == shard {
			payload = s.record(payload, shard, count, s.run.topics[i], !s.run.calm && w.Chance(0.05))
			count++
		}
	}
	s.batch(shard, count, payload)
}

// everything sends a record of every topic.
func (s *lvcPublisher) everything() {
	for shard := range s.run.shards {
		var payload []byte
		count := 0
		for i, topic := range s.run.topics {
			if i%s.run.shards == shard {
				payload = s.record(payload, shard, count, topic, false)
				count++
			}
		}
		s.batch(shard, count, payload)
	}
}

// record appends a record, the nth of a batch.
func (s *lvcPublisher) record(dst []byte, shard, n int, topic string, gone bool) []byte {
	r := s.run
	at := healShard{s.epoch, shard}
	s.count[topic]++
	rec := lvcRecord{at: at, seq: s.next[shard] + wire.Seq(n), topic: topic, topicSeq: uint32(s.count[topic]), gone: gone}
	number := len(r.records)
	r.records = append(r.records, rec)
	r.sent[at] = append(r.sent[at], number)
	s.last[topic] = number
	f := wire.Fields{Topic: []byte(topic), TopicSeq: rec.topicSeq, Kind: wire.KindQuote}
	if gone {
		f.Kind = wire.KindDelete
	} else {
		f.Body = binary.LittleEndian.AppendUint64(nil, uint64(number))
		if s.pad > 0 {
			f.Body = append(f.Body, make([]byte, r.w.IntN(s.pad))...)
		}
	}
	dst, err := wire.AppendRecord(dst, &f)
	if err != nil {
		panic("BUG: sim: " + err.Error())
	}
	return dst
}

func (s *lvcPublisher) batch(shard, count int, payload []byte) {
	if count == 0 {
		return
	}
	h := s.header(shard)
	h.Count = uint32(count)
	s.send(&h, payload)
	s.next[shard] = h.Next()
}

func (s *lvcPublisher) header(shard int) wire.Header {
	return wire.Header{Epoch: s.epoch, Shard: uint16(shard), Shards: uint16(s.run.shards), FirstSeq: s.next[shard], Send: wire.Nanos(s.p.Wall())}
}

// marks sends a mark on every shard.
func (s *lvcPublisher) marks(flags wire.HeaderFlags) {
	for shard := range s.run.shards {
		h := s.header(shard)
		h.Flags = flags
		var payload []byte
		if flags&wire.FlagHello != 0 {
			var err error
			if payload, err = wire.AppendSession(nil, &wire.Session{Publisher: "sim", Mode: "live"}); err != nil {
				s.run.w.Fail("no session: %v", err)
			}
		}
		s.send(&h, payload)
	}
}

func (s *lvcPublisher) send(h *wire.Header, payload []byte) {
	h.PayloadSize, h.CRC = uint32(len(payload)), wire.CRC(payload, nil)
	frames := [][]byte{wire.AppendHeader(nil, h), payload}
	epoch := h.Epoch
	for i, out := range s.to {
		x := s.run.proxies[i]
		out.link.send(func() {
			if out.life != x.p.life {
				out.life, out.newest = x.p.life, 0
			}
			if epoch < out.newest || x.feed == nil {
				return // a connection does not bring what was sent over the one before it
			}
			out.newest = epoch
			x.feed.take(frames)
		})
	}
}
