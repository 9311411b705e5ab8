package resync

import (
	"time"

	"github.com/tapedeck/tapedeck/control/freelance"
	"github.com/tapedeck/tapedeck/wire"
	"github.com/tapedeck/tapedeck/wire/lineage"
)

// machine is the healing of one shard: live, gap, request, merge, live. It is
// pure. Events come in through offer, mark, follows, open and the methods of its
// request; what is to be done comes out of offer, for the batch at hand, and of
// next, for everything else. Time is a duration since some start.
//
// The epochs form a queue. The first one is being delivered, those behind it are
// only held: so the order of a shard is kept over epochs as well.
type machine struct {
	cfg   machineConfig
	shard int

	epochs  []*epoch
	left    [leftMax]wire.Epoch // epochs that were delivered and followed
	leftN   int
	first   wire.Epoch   // where this reader began; 0: it has not
	kin     lineage.Book // how epochs lie beside one another
	opening bool         // where to begin is not known yet: everything is held
	splice  Span         // the first record delivered that came live; its epoch is 0 before

	held  int64      // bytes, over all epochs
	out   *holding   // given out to be delivered; free at the next call of next
	free  []*holding // whose memory can be used again
	spare int64      // bytes of it

	ask    ask
	asked  uint64 // requests so far: the last one's id
	gap    gap
	random uint64 // state of the jitter
	count  Counters

	bringer  int      // the server whose refill is offered
	refilled []uint64 // records delivered from refills, by server
}

const (
	// leftMax is how many left epochs are remembered.
	leftMax = 16
	// liveMax is how many epochs of the live stream wait in the queue before the
	// first of the queue is given up: a publisher that is started over and over
	// must not fill the memory.
	liveMax = 256
)

type machineConfig struct {
	servers   int                 // how many can be asked
	chooser   chooser             // of the servers; nil: one of the machine's own
	holdBytes int64               // bound of what is held
	attempts  int                 // requests in a row to each server that bring nothing, before it is given up
	backoff   time.Duration       // before the second round of servers; doubles
	backoffTo time.Duration       // the longest
	patience  time.Duration       // how long a request may bring nothing
	whole     bool                // begin with sequence 0 of the first epoch
	seed      uint64              // of the back-off's jitter
	healed    func(time.Duration) // told how long each gap that was healed was there; may be nil
}

// epoch is what is known of one epoch of the shard.
type epoch struct {
	id    wire.Epoch
	live  bool     // the live stream has shown it
	known bool     // next is: where to begin is decided
	begun bool     // the next handler was told
	next  wire.Seq // to be delivered next
	seen  wire.Seq // first sequence that the live stream showed
	top   wire.Seq // sequences below exist
	held  holdings

	ended  bool     // end is where the epoch ends
	end    wire.Seq // if ended
	marked bool     // by an end mark
	told   bool     // the end, or that it is not known, has been handed on
	broken bool     // ended, but nobody knows whether there was more
	whole  bool     // nothing is missing from sequence 0, or the start that was asked for, on
	early  bool     // the publisher stopped before its source was through
	taken  bool     // another publisher took over: it ends where the live stream left it

	lacking []bool // by server: it has said that it lacks this epoch, or what was asked for of it; nil: none has

	spent bool // all attempts of a gap: every server has said each time that it does not have it

	// The live stream's rolling hash, in the order in which its batches came.
	chained  bool
	liveNext wire.Seq
	liveHash wire.Hash
}

func newMachine(shard int, cfg machineConfig) *machine {
	if cfg.chooser == nil {
		cfg.chooser = freelance.NewChooser(cfg.servers, restFirst, restMost)
	}
	return &machine{cfg: cfg, shard: shard, random: cfg.seed, gap: gap{servers: make([]asking, cfg.servers)},
		refilled: make([]uint64, cfg.servers)}
}

// verdict is what is to be done with the batch at hand.
type verdict struct {
	what what
	skip uint32   // deliver: records at its start that have been delivered
	hold *holding // hold: to be filled
}

type what uint8

const (
	drop    what = iota // everything in it has been delivered, or is held
	deliver             // now
	hold                // for later
	busy                // perform next first, then offer the batch again
)

// offer decides about a batch of records, of the live stream or a refill. It
// counts as delivered or held once the verdict is given.
func (m *machine) offer(b *wire.Batch, refill bool) verdict {
	e := m.epochOf(b.Epoch, b.FirstSeq)
	if e == nil {
		m.count.Stale++
		return verdict{}
	}
	front := e == m.epochs[0] && !m.opening
	if front && !e.begun {
		return verdict{what: busy}
	}
	fits := e.known && b.FirstSeq <= e.next && b.Next() > e.next
	if !(front && fits) && m.full(b) && m.ready() {
		return verdict{what: busy} // what comes first can be delivered: that makes room
	}
	if !refill {
		m.chain(e, b)
	} else if m.ask.epoch == b.Epoch && m.ask.id != 0 && b.FirstSeq <= m.ask.got {
		m.ask.got = max(m.ask.got, b.Next())
	}
	m.extend(e, b.Next())
	switch {
	case e.known && b.Next() <= e.next:
		m.count.Repeated += uint64(b.Count)
		return verdict{}
	case front && fits:
		skip := uint32(e.next - b.FirstSeq)
		m.delivered(e, b, skip, refill, m.bringer)
		return verdict{what: deliver, skip: skip}
	}
	return m.keep(e, b, refill)
}

// delivered takes note that b, less its first skip records, goes to the handler, and
// which server a refill came from.
func (m *machine) delivered(e *epoch, b *wire.Batch, skip uint32, refill bool, server int) {
	m.count.Repeated += uint64(skip)
	e.next = b.Next()
	if !refill && m.splice.Epoch == 0 {
		m.splice = Span{Epoch: b.Epoch, Shard: m.shard, From: b.FirstSeq + wire.Seq(skip)}
	}
	if refill {
		m.count.Refilled += uint64(b.Count - skip)
		m.refilled[server] += uint64(b.Count - skip)
		m.count.RefillBytes += uint64(len(b.Payload) + len(b.Order))
	}
}

// full reports whether b cannot be held without dropping something.
func (m *machine) full(b *wire.Batch) bool { return m.held+heldSize(b) > m.cfg.holdBytes }

// ready reports whether something that is held can be delivered.
func (m *machine) ready() bool {
	if m.opening || len(m.epochs) == 0 {
		return false
	}
	e := m.epochs[0]
	return e.known && len(e.held) > 0 && e.held[0].batch.FirstSeq <= e.next
}

// keep holds b for later. Where there is no room, what would be delivered first
// goes: that widens the gap that is being filled, and what is newest stays.
func (m *machine) keep(e *epoch, b *wire.Batch, refill bool) verdict {
	size := heldSize(b)
	for m.held+size > m.cfg.holdBytes {
		if !m.evict() {
			m.count.Evicted += uint64(b.Count)
			return verdict{} // larger than the room there is in all
		}
	}
	h := m.holding()
	h.batch.Header = b.Header
	if !e.held.insert(h) {
		m.release(h)
		m.count.Repeated += uint64(b.Count)
		return verdict{}
	}
	h.size = size
	m.held += size
	m.count.Held++
	m.count.HeldPeak = max(m.count.HeldPeak, m.held)
	h.refill, h.server = refill, m.bringer
	return verdict{what: hold, hold: h}
}

// evict drops what is held and would be delivered first.
func (m *machine) evict() bool {
	for _, e := range m.epochs {
		if len(e.held) > 0 {
			h := e.held.shift()
			m.count.Evicted += uint64(h.batch.Count)
			m.drop(h)
			return true
		}
	}
	return false
}

// drop lets go of a holding that was held.
func (m *machine) drop(h *holding) {
	m.held -= h.size
	m.release(h)
}

// holding returns one whose memory may be used again.
func (m *machine) holding() *holding {
	n := len(m.free)
	if n == 0 {
		return new(holding)
	}
	h := m.free[n-1]
	m.free = m.free[:n-1]
	m.spare -= int64(cap(h.buf))
	return h
}

// release keeps the memory of a holding, as long as that of all free ones is an
// eighth of the bound.
func (m *machine) release(h *holding) {
	h.batch = wire.Batch{}
	h.size = 0
	if size := int64(cap(h.buf)); m.spare+size <= m.cfg.holdBytes/8 {
		m.free, m.spare = append(m.free, h), m.spare+size
	}
}

// mark takes note that the live stream of an epoch has come to sequence next: by a
// heartbeat, a hello, an end mark, or because somebody else found a gap.
func (m *machine) mark(id wire.Epoch, next wire.Seq) {
	if e := m.epochOf(id, next); e != nil {
		m.extend(e, next)
	}
}

// extend takes note that an epoch has the sequences below top.
func (m *machine) extend(e *epoch, top wire.Seq) {
	e.top = max(e.top, top)
	if e.taken {
		e.end = e.top
	}
	if e.ended && e.top > e.end {
		// More than it is said to have.
		m.count.Contradicted++
		e.whole, e.end = false, e.top
	}
}

// markHash is mark, with the publisher's rolling hash up to there.
func (m *machine) markHash(id wire.Epoch, next wire.Seq, hash wire.Hash) {
	m.mark(id, next)
	if e := m.find(id); e != nil && e.chained && e.liveNext == next && e.liveHash != hash {
		m.diverge(e)
	}
}

// finish takes note of an epoch's end mark. It may come several times.
func (m *machine) finish(id wire.Epoch, end wire.Seq, early bool) {
	m.mark(id, end)
	e := m.find(id)
	if e == nil || e.marked {
		return
	}
	e.marked, e.ended, e.early, e.end = true, true, early, end
	m.extend(e, end)
}

// chain holds the live stream's batches against its rolling hash.
func (m *machine) chain(e *epoch, b *wire.Batch) {
	switch {
	case e.chained && b.Next() <= e.liveNext:
		return // came before
	case e.chained && b.FirstSeq < e.liveNext:
		// Part of a batch that came before: the hash runs over whole batches, so
		// nothing can be said about this one.
		m.diverge(e)
		e.chained, e.liveNext = false, b.Next()
		return
	case e.chained && b.FirstSeq == e.liveNext && b.Hash != e.liveHash:
		m.diverge(e)
	}
	e.chained, e.liveNext, e.liveHash = true, b.Next(), b.Hash.Roll(b.Count, b.CRC)
}

func (m *machine) diverge(e *epoch) {
	m.count.Diverged++
	e.whole = false
}

// position is the epoch being delivered and the next sequence of it.
func (m *machine) position() (wire.Epoch, wire.Seq, bool) {
	if m.opening || len(m.epochs) == 0 || !m.epochs[0].begun {
		return 0, 0, false
	}
	return m.epochs[0].id, m.epochs[0].next, true
}
