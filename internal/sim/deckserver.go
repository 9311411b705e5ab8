package sim

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// deckServer is a process that plays the tape, or follows the one that does.
type deckServer struct {
	*half
	run  *deckRun
	peer *deckServer
	from *link // the peer's stream

	epoch *deckEpoch // that it plays
	since uint64     // epoch of the pair in which it does
	last  wire.Epoch // that it began
	place int        // that comes next
	sent  []wire.Seq // by shard
	hash  []wire.Hash

	feed  *feed
	heard *deckEpoch // that it follows
	next  []wire.Seq // of the peer's stream
	when  []deckHeard
	steps map[*deckReader]deckStep
}

// deckHeard is up to which place the peer had come at a time.
type deckHeard struct {
	at    time.Duration
	place int
}

// deckStep is what a reader says that it has received.
type deckStep struct {
	at   time.Duration
	life int
	have []wire.ReaderStep // by shard
}

// deckMargin is how far a server goes back for readers that say nothing; deckSilent how
// long a reader's word counts.
const (
	deckMargin = time.Second
	deckSilent = time.Second
)

func newDeckServer(r *deckRun, h *half) *deckServer {
	s := &deckServer{half: h, run: r}
	s.from = r.w.link(h.peer.p, h.p)
	h.vote = func() bool { return r.w.Chance(0.9) }
	h.onActive, h.onQuiet = s.lead, func(uint64) { s.epoch = nil }
	return s
}

func (s *deckServer) boot() {
	r := s.run
	s.epoch, s.heard, s.when, s.steps = nil, nil, nil, map[*deckReader]deckStep{}
	s.next = make([]wire.Seq, r.shards)
	s.feed = newFeed(r.w, s.p.name, r.shards, s)
	s.feed.pair = true
	if !s.half.boot() {
		return
	}
	s.p.Every(func() time.Duration { return r.w.Between(0, 20*time.Millisecond) }, s.play)
	s.p.Every(func() time.Duration { return r.w.Between(100*time.Millisecond, 300*time.Millisecond) }, func() { s.marks(r.w.Chance(0.5)) })
}

// lead begins an epoch: behind what every reader has of the one that was followed.
func (s *deckServer) lead(epoch uint64) {
	r := s.run
	s.since = epoch
	e := &deckEpoch{id: wire.Epoch(s.p.Wall())} // as a publisher has it
	if s.epoch != nil {                         // it was active, and the other one was, too, later
		s.heard, s.next = s.epoch, slices.Clone(s.sent)
		s.when, s.steps = nil, map[*deckReader]deckStep{}
		r.gentle = false // readers that were with that one say nothing that this one understands
	}
	if s.heard != nil {
		e.id = max(e.id, s.heard.id+1+wire.Epoch(r.w.IntN(1<<30)))
		e.place, e.start = s.cut(), &s.heard.id
	}
	e.first = r.from(e.place)
	e.id = max(e.id, s.last+1)
	s.last = e.id
	if r.epochs[e.id] != nil {
		r.w.Fail("epoch %d begins again", e.id)
	}
	r.epochs[e.id] = e
	s.epoch, s.place, s.sent, s.hash = e, e.place, make([]wire.Seq, r.shards), make([]wire.Hash, r.shards)
	r.w.Logf("%v: plays epoch %d from place %d on, behind another: %v", s.role, e.id, e.place, e.start != nil)
	s.marks(true)
}

// cut is the place before which every reader has everything: by what they say, or for
// those that say nothing by what was sent some time ago. It is not before the epoch that
// was followed.
func (s *deckServer) cut() int {
	r, now := s.run, s.p.Now()
	place, sure := s.reached(), s.heard.place
	for _, h := range s.when {
		if s.when[len(s.when)-1].at-h.at > deckMargin {
			sure = max(sure, h.place)
		}
	}
	for _, step := range s.steps {
		if now-step.at > deckSilent+s.expiry {
			continue
		}
		for shard, have := range step.have {
			if have.Epoch == s.heard.id {
				place = min(place, r.placeOf(shard, s.heard.first[shard]+int(have.Next)))
			} else {
				place = min(place, sure)
			}
		}
	}
	if r.w.bug == bugDeckCut {
		place = s.reached()
	}
	return max(place, s.heard.place)
}

// reached is the place before which it has heard everything.
func (s *deckServer) reached() int {
	place := len(s.run.records)
	for shard, next := range s.next {
		place = min(place, s.run.placeOf(shard, s.heard.first[shard]+int(next)))
	}
	return place
}

// placeOf is the place of a shard's record.
func (r *deckRun) placeOf(shard, index int) int {
	if index >= len(r.places[shard]) {
		return len(r.records)
	}
	return r.places[shard][index]
}

// play sends what is due.
func (s *deckServer) play() {
	if s.epoch == nil {
		return
	}
	r := s.run
	to := min(s.place+1+r.w.IntN(max(2*int(10*time.Millisecond/r.pause), 1)), len(r.records))
	if r.pause > 20*time.Millisecond && !r.w.Chance(float64(20*time.Millisecond)/float64(r.pause)) {
		return
	}
	payloads, counts := make([][]byte, r.shards), make([]uint32, r.shards)
	for ; s.place < to; s.place++ {
		at := r.records[s.place].shard
		var body [8]byte
		binary.LittleEndian.PutUint64(body[:], uint64(s.place))
		var err error
		if payloads[at], err = wire.AppendRecord(payloads[at], &wire.Fields{Topic: []byte("T"), Body: body[:]}); err != nil {
			panic("BUG: sim: " + err.Error())
		}
		counts[at]++
	}
	for shard, payload := range payloads {
		if counts[shard] > 0 {
			h := s.header(shard)
			h.Count = counts[shard]
			s.send(&h, payload)
			s.sent[shard], s.hash[shard] = h.Next(), h.Hash.Roll(h.Count, wire.CRC(payload, nil))
		}
	}
}

func (s *deckServer) header(shard int) wire.Header {
	return wire.Header{Epoch: s.epoch.id, Shard: uint16(shard), Shards: uint16(s.run.shards), FirstSeq: s.sent[shard], Hash: s.hash[shard]}
}

// marks sends a mark on each shard, or a hello.
func (s *deckServer) marks(hello bool) {
	if s.epoch == nil {
		return
	}
	for shard := range s.run.shards {
		h := s.header(shard)
		var payload []byte
		switch {
		case hello:
			h.Flags = wire.FlagHello
			about := wire.Session{Publisher: "sim", Mode: "live", PairEpoch: s.since}
			if s.run.w.bug == bugDeckPair {
				about.PairEpoch = 0
			}
			if b := s.epoch.start; b != nil {
				before := s.run.epochs[*b]
				about.Start = &wire.SessionStart{Reason: wire.TakeoverReason, PreviousEpoch: before.id,
					PreviousNext: wire.Seq(s.epoch.first[shard] - before.first[shard])}
				for a := before; s.run.w.bug != bugDeckBefore && a.start != nil && len(about.Start.Before) < 4; {
					a = s.run.epochs[*a.start]
					about.Start.Before = append(about.Start.Before, wire.SessionPlace{Epoch: a.id, Next: wire.Seq(s.epoch.first[shard] - a.first[shard])})
				}
			}
			var err error
			if payload, err = wire.AppendSession(nil, &about); err != nil {
				s.run.w.Fail("no session: %v", err)
			}
		case s.place == len(s.run.records):
			h.Flags = wire.FlagEnd
		default:
			h.Flags = wire.FlagHeartbeat
		}
		s.send(&h, payload)
	}
}

func (s *deckServer) send(h *wire.Header, payload []byte) {
	h.PayloadSize, h.CRC = uint32(len(payload)), wire.CRC(payload, nil)
	frames := [][]byte{wire.AppendHeader(nil, h), payload}
	s.peer.from.send(func() {
		if s.peer.epoch == nil && s.peer.feed != nil {
			s.peer.feed.take(frames)
		}
	})
	i := int(s.role)
	for _, d := range s.run.readers {
		d.from[i].send(func() { d.feed.take(frames) })
	}
}

// HandleBatch implements subscriber.Handler: it follows.
func (s *deckServer) HandleBatch(b *wire.Batch, _ uint32) error {
	s.moved(int(b.Shard), b.Epoch, b.Next())
	return nil
}

func (s *deckServer) moved(shard int, epoch wire.Epoch, next wire.Seq) {
	e := s.run.epochs[epoch]
	if s.heard != e {
		s.heard, s.next, s.when = e, make([]wire.Seq, s.run.shards), nil
	}
	s.next[shard] = next
	s.when = append(s.when, deckHeard{s.p.Now(), s.reached()})
	if len(s.when) > 2000 {
		s.when = s.when[1000:]
	}
}

// HandleMark implements subscriber.MarkHandler.
func (s *deckServer) HandleMark(shard int, h *wire.Header) { s.moved(shard, h.Epoch, h.FirstSeq) }

// HandleGap implements subscriber.Handler.
func (s *deckServer) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq) {}

// HandleSession implements subscriber.Handler.
func (s *deckServer) HandleSession(int, wire.Epoch, *wire.Session) {}

// HandleEnd implements subscriber.Handler.
func (s *deckServer) HandleEnd(int, wire.Epoch, bool) {}
