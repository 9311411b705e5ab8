package sim

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/wire"
)

// healRun is a publisher, recorders that serve refills, and readers that heal what
// they miss of the stream. What must hold, for every reader and shard:
//
//  1. What its handler is given are the publisher's records, in the publisher's order,
//     each once, over all restarts: what was saved as handled is not given again, and
//     nothing behind it is left out.
//  2. What is not given is reported as lost, and then no recorder has it; but what
//     recorders have that cannot be reached may be given up, too.
//  3. An epoch that is followed by another ended where its publisher says it did, or is
//     reported as broken. None that a reader or a recorder has seen is left out.
//  4. Complete is said of an epoch of which everything was given, and of no other.
//  5. When all is calm, every reader comes to the end of the stream, soon.
type healRun struct {
	w         *World
	shards    int
	publisher *healPublisher
	recorders []*healRecorder
	readers   []*healReader
	calm      bool
	calmed    time.Duration // when
	epochs    []*healEpoch  // in the publisher's order
	known     map[wire.Epoch]int
}

// healEpoch is what the publisher has sent of an epoch.
type healEpoch struct {
	id     wire.Epoch
	sent   []wire.Seq  // by shard
	hash   []wire.Hash // before the next batch, by shard
	start  *healEpoch  // the one before, if this one says so
	marked bool        // with an end mark
	early  bool
}

func runHeal(w *World) {
	r := &healRun{w: w, shards: one(w, 1, 1, 2), known: map[wire.Epoch]int{}}
	t := &trouble{w: w, disks: true, clocks: true, flaps: true, longest: one(w, time.Second, 10*time.Second)}
	r.publisher = newHealPublisher(r)
	for i := range 1 + w.IntN(2) {
		r.recorders = append(r.recorders, newHealRecorder(r, i))
	}
	for i := range 3 {
		r.readers = append(r.readers, newHealReader(r, i))
	}
	for _, to := range r.publisher.to {
		t.links = append(t.links, []*link{to.link})
	}
	for _, p := range w.processes {
		p.drift = float64(w.IntN(200) - 100)
		t.processes = append(t.processes, p)
		w.After(w.Between(0, one(w, 0, 2*time.Second)), p.Start)
	}
	for _, d := range r.readers {
		for _, c := range r.recorders {
			t.links = append(t.links, []*link{w.way(d.p, c.p), w.way(c.p, d.p)})
		}
	}
	w.Logf("%d shards, %d recorders, a batch every %v", r.shards, len(r.recorders), r.publisher.pause)
	t.run(w.Between(5*time.Second, 40*time.Second), w.Between(100*time.Millisecond, 2*time.Second))
	t.end()
	r.calm, r.calmed = true, w.now
	r.settle()
}

// calmFor is for how long nothing has gone wrong.
func (r *healRun) calmFor() time.Duration {
	if !r.calm {
		return 0
	}
	return r.w.now - r.calmed
}

// settle holds property 5.
func (r *healRun) settle() {
	r.w.Run(5 * time.Second)
	r.publisher.finish()
	last := r.epochs[len(r.epochs)-1]
	through := func() bool {
		for _, d := range r.readers {
			for i := range d.shards {
				if got := d.shards[i].of(last); got == nil || !got.ended {
					return false
				}
			}
		}
		return true
	}
	if !r.w.RunUntil(5*time.Minute, 100*time.Millisecond, through) {
		r.w.Fail("all is calm, and not all readers come to the end: %s", r.standing())
	}
	r.w.Run(5 * time.Second)
	for _, d := range r.readers {
		for i := range d.shards {
			d.shards[i].end(d, last)
		}
		if st := d.healer.Stats(); st.HeldBytes != 0 || st.Missing != 0 {
			r.w.Fail("%s has everything, and holds %d bytes and misses something in %d shards", d.p.name, st.HeldBytes, st.Missing)
		}
	}
}

func (r *healRun) standing() (list string) {
	last := r.epochs[len(r.epochs)-1]
	for _, d := range r.readers {
		list += fmt.Sprintf("%s %+v; ", d.p.name, d.healer.Positions())
	}
	return list + fmt.Sprintf("the end is epoch %d, %v", last.id, last.sent)
}

// healPublisher sends epochs of batches.
type healPublisher struct {
	run   *healRun
	p     *Process
	to    []*healOut
	pause time.Duration
	over  bool
}

// healOut is one who receives the stream.
type healOut struct {
	link   *link
	take   func(frames [][]byte)
	life   int // of the receiver
	newest int // of the epochs that it has received in this life
}

func newHealPublisher(r *healRun) *healPublisher {
	s := &healPublisher{run: r, pause: one(r.w, 5*time.Millisecond, 20*time.Millisecond, 100*time.Millisecond)}
	s.p = r.w.Process("publisher", s.boot)
	return s
}

// attach makes take receive the stream, while its process is well.
func (s *healPublisher) attach(p *Process, take func(frames [][]byte)) {
	s.to = append(s.to, &healOut{link: s.run.w.link(s.p, p), take: take})
}

func (s *healPublisher) boot() {
	s.begin(nil)
	w := s.run.w
	s.p.Every(func() time.Duration { return w.Between(0, 2*s.pause) }, func() {
		switch e := s.epoch(); {
		case s.over:
		case w.Chance(0.002):
			s.begin(e) // a seek
		case w.Chance(0.001):
			e.marked, e.early = true, true
			s.endMarks(e)
			s.begin(nil)
		case w.Chance(0.7):
			s.batch(e, w.IntN(s.run.shards))
		}
	})
	s.p.Every(func() time.Duration { return w.Between(200*time.Millisecond, 600*time.Millisecond) }, func() {
		e := s.epoch()
		if e.marked {
			s.endMarks(e)
			return
		}
		for i := range s.run.shards {
			s.mark(e, i, one(w, wire.FlagHeartbeat, wire.FlagHeartbeat, wire.FlagHello))
		}
	})
}

func (s *healPublisher) epoch() *healEpoch { return s.run.epochs[len(s.run.epochs)-1] }

// begin starts an epoch.
func (s *healPublisher) begin(before *healEpoch) {
	r := s.run
	e := &healEpoch{id: wire.Epoch(1000 + 10*len(r.epochs) + r.w.IntN(10)), sent: make([]wire.Seq, r.shards), hash: make([]wire.Hash, r.shards), start: before}
	r.known[e.id] = len(r.epochs)
	r.epochs = append(r.epochs, e)
	r.w.Logf("publisher: epoch %d, behind another: %v", e.id, before != nil)
	for i := range r.shards {
		s.mark(e, i, wire.FlagHello)
	}
}

// finish ends the stream.
func (s *healPublisher) finish() {
	s.over = true
	e := s.epoch()
	e.marked = true
	s.run.w.Logf("publisher: epoch %d ends, %v", e.id, e.sent)
	s.endMarks(e)
}

func (s *healPublisher) endMarks(e *healEpoch) {
	for i := range s.run.shards {
		flags := wire.FlagEnd
		if e.early {
			flags |= wire.FlagEarly
		}
		s.mark(e, i, flags)
	}
}

func (s *healPublisher) header(e *healEpoch, shard int) wire.Header {
	return wire.Header{Epoch: e.id, Shard: uint16(shard), Shards: uint16(s.run.shards), FirstSeq: e.sent[shard],
		FirstOrdinal: wire.Ordinal(e.sent[shard]), Hash: e.hash[shard], Send: wire.Nanos(s.p.Wall()), Due: wire.Nanos(s.p.Wall())}
}

// mark sends a mark.
func (s *healPublisher) mark(e *healEpoch, shard int, flags wire.HeaderFlags) {
	h := s.header(e, shard)
	h.Flags = flags
	var payload []byte
	if flags&wire.FlagHello != 0 {
		about := wire.Session{Publisher: "sim", Mode: "live"}
		if b := e.start; b != nil {
			about.Start = &wire.SessionStart{Reason: "seek", PreviousEpoch: b.id, PreviousNext: b.sent[shard], PreviousHash: b.hash[shard]}
		}
		var err error
		if payload, err = wire.AppendSession(nil, &about); err != nil {
			s.run.w.Fail("no session: %v", err)
		}
	}
	s.send(&h, payload)
}

// batch sends some records.
func (s *healPublisher) batch(e *healEpoch, shard int) {
	h := s.header(e, shard)
	h.Count = uint32(1 + s.run.w.IntN(8))
	var payload []byte
	for i := range h.Count {
		payload = appendHealRecord(payload, e.id, shard, h.FirstSeq+wire.Seq(i))
	}
	s.send(&h, payload)
	e.sent[shard] = h.Next()
	e.hash[shard] = h.Hash.Roll(h.Count, wire.CRC(payload, nil))
}

// appendHealRecord appends the record that has this place.
func appendHealRecord(dst []byte, epoch wire.Epoch, shard int, seq wire.Seq) []byte {
	var body [24]byte
	binary.LittleEndian.PutUint64(body[:], uint64(epoch))
	binary.LittleEndian.PutUint64(body[8:], uint64(shard))
	binary.LittleEndian.PutUint64(body[16:], uint64(seq))
	dst, err := wire.AppendRecord(dst, &wire.Fields{Topic: []byte("T"), Body: body[:]})
	if err != nil {
		panic("BUG: sim: " + err.Error())
	}
	return dst
}

func (s *healPublisher) send(h *wire.Header, payload []byte) {
	h.PayloadSize, h.CRC = uint32(len(payload)), wire.CRC(payload, nil)
	frames := [][]byte{wire.AppendHeader(nil, h), payload}
	epoch := s.run.known[h.Epoch]
	for _, o := range s.to {
		life := o.link.to.life
		o.link.send(func() {
			if o.life != o.link.to.life {
				o.life, o.newest = o.link.to.life, 0
			}
			// A connection gives nothing to who comes after it, and nothing of an epoch
			// behind the next one.
			if life == o.life && epoch >= o.newest {
				o.newest = epoch
				o.take(frames)
			}
		})
	}
}

// has reports whether a recorder has any of a span.
func (r *healRun) has(s resync.Span) bool {
	for _, c := range r.recorders {
		if c.has(s) {
			return true
		}
	}
	return false
}
