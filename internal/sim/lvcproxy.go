package sim

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/wire"
)

// lvcProxy is a process with a lvc.Proxy, one of a pair, as tapedeck lvc --pair has it.
type lvcProxy struct {
	*half
	run      *lvcRun
	endpoint string
	standby  lvc.Standby
	queue    int64
	feed     *feed // nil: it could not start
	life     *lvcLife
	serves   time.Duration // from when on readers have taken what it sent again
}

// lvcLife is what a proxy was given in one life, and what it was told to be.
type lvcLife struct {
	x     *lvcProxy
	n     int // of the process
	proxy *lvc.Proxy
	log   []lvcEntry
	place map[int]int // of records in the log
	turns []lvcTurn
	parts []lvcPart // by shard
	skips uint64    // records that readers saw it leave out while it was active
	told  bool      // while it was passive, up to where readers of the other one are
}

// lvcEntry is one thing that a proxy was given: a record, or word of a gap.
type lvcEntry struct {
	record int // its number; -1: a gap
	gap    lvc.GapNotice
	whole  bool // from here on nothing is missing of any shard's epoch, up to where it is
}

// lvcTurn is when a proxy became active, or passive: before log[at].
type lvcTurn struct {
	at     int
	active bool
	when   time.Duration
}

// lvcPart is how much of its epoch a proxy was given of a shard.
type lvcPart struct {
	epoch wire.Epoch
	next  wire.Seq
	holes bool
}

func newLVCProxy(r *lvcRun, h *half) *lvcProxy {
	w := r.w
	x := &lvcProxy{half: h, run: r, endpoint: "tcp://" + h.role.String()}
	x.standby.Keep = 4*h.heartbeat + 500*time.Millisecond
	if !r.gentle {
		x.standby.Bytes = one(w, int64(0), 20_000, 500_000)
		x.queue = one(w, int64(0), 1000, 10_000, 100_000)
	}
	r.publisher.to[h.role] = &lvcOut{link: w.link(r.publisher.p, h.p)}
	h.vote = func() bool { return x.life.proxy.Stats().Readers > 0 }
	h.onActive, h.onQuiet = x.lead, x.follow
	h.onNote = x.noted
	return x
}

func (x *lvcProxy) boot() {
	w := x.run.w
	x.feed, x.note = nil, nil
	if !x.half.boot() {
		return
	}
	l := &lvcLife{x: x, n: x.p.life, place: map[int]int{}, parts: make([]lvcPart, x.run.shards)}
	standby := x.standby
	cfg := lvc.Config{Plain: []string{x.endpoint}, Shards: x.run.shards, QueueBytes: x.queue, Standby: &standby,
		World: lvcWorld{x.p}, Now: func() wire.Nanos { return wire.Nanos(x.p.Wall()) }}
	if w.bug == bugLVCWarm && len(x.run.records) > 0 {
		cfg.Warm = x.run.unknown
	}
	var err error
	if l.proxy, err = lvc.New(cfg); err != nil {
		w.Fail("no proxy: %v", err)
	}
	x.life = l
	x.feed = newFeed(w, x.p.name, x.run.shards, x)
	x.p.Go(func() {
		err := l.proxy.Run(context.Background())
		w.Fail("%s: the proxy has ended: %v", x.p.name, err)
	})
	x.p.Every(func() time.Duration { return x.heartbeat / 4 }, x.confirm)
	x.p.Go(x.snapshots)
}

// confirm tells the other one up to where all readers have the stream.
func (x *lvcProxy) confirm() {
	x.note = nil
	if have, behind := x.life.proxy.Confirm(); have != nil {
		x.note = lvc.AppendHave(nil, have, behind)
	}
}

func (x *lvcProxy) noted(note []byte) {
	have, behind, err := lvc.ParseHave(note)
	if err != nil {
		x.run.w.Fail("%s does not understand %q: %v", x.p.name, note, err)
	}
	l := x.life
	l.proxy.Confirmed(have, behind)
	l.told = l.told || !l.active(len(l.log))
}

func (x *lvcProxy) lead(epoch uint64) {
	r, l := x.run, x.life
	r.claim(l, epoch)
	switch r.w.bug {
	case bugLVCIdle:
		return
	case bugLVCHad:
		l.proxy.Confirmed(l.positions(), 0)
	}
	there := l.readers()
	kept := l.proxy.Activate(epoch, "")
	gap := r.w.now - r.served
	torn := kept.Reach == 0 || kept.Missing > 0 || kept.Behind > 0 || !l.told && (r.slow || gap+lvcSlack >= kept.Reach)
	x.serves = r.w.now + lvcSlack/2 + max(gap, kept.Reach)/4
	r.w.Logf("%s: sends %d messages of the last %v again, after %v without service; %v", x.p.name, kept.Messages, kept.Reach, gap, l.proxy.Stats().RingHad)
	l.turns = append(l.turns, lvcTurn{len(l.log), true, r.w.now})
	for _, d := range r.readers {
		if torn || !there[d.p.name] { // who is not connected yet is one that joins
			d.base, d.torn = nil, r.w.now // until it is answered
		}
	}
}

// readers are the names of the processes that are readers of the proxy now.
func (l *lvcLife) readers() map[string]bool {
	names := map[string]bool{}
	for _, r := range l.proxy.Registry().List() {
		for _, c := range r.Connections {
			name, _, _ := strings.Cut(c.Peer, ":")
			names[name] = true
		}
	}
	return names
}

// lvcSlack is how long a message may have been under way, in a pair's trouble alone.
const lvcSlack = 200 * time.Millisecond

func (x *lvcProxy) follow(epoch uint64) {
	l := x.life
	if x.run.w.bug != bugLVCLoud {
		l.proxy.Deactivate(epoch, "")
	}
	x.run.watch()
	if l.active(len(l.log)) {
		l.told = false
		l.turns = append(l.turns, lvcTurn{len(l.log), false, x.run.w.now})
	}
}

// active reports whether the proxy is active when log[at] comes. One is active and
// passive at the moment of the turn.
func (l *lvcLife) active(at int) bool {
	for i := len(l.turns) - 1; i >= 0; i-- {
		if t := &l.turns[i]; t.at <= at {
			return t.active
		}
	}
	return false
}

// answers reports whether the proxy may have answered between log[at-1] and log[at].
func (l *lvcLife) answers(at int) bool {
	for i := len(l.turns) - 1; i >= 0; i-- {
		switch t := &l.turns[i]; {
		case t.at > at:
		case t.active:
			return true
		case t.at < at:
			return false
		}
	}
	return false
}

// ledSince reports whether it has become active since then, and before log[at].
func (l *lvcLife) ledSince(when time.Duration, at int) bool {
	return slices.ContainsFunc(l.turns, func(t lvcTurn) bool { return t.active && t.when >= when && t.at <= at })
}

// whole reports whether nothing is missing between log[at-1] and log[at].
func (l *lvcLife) whole(at int) bool { return at == 0 || l.log[at-1].whole }

// dropped is how many messages the proxy says that it has dropped for readers.
func (l *lvcLife) dropped() uint64 {
	if l.x.run.w.bug == bugLVCDropped {
		return 0
	}
	return l.proxy.Stats().Dropped
}

// again reports whether log[at] came while the proxy was passive, and could be sent again
// when it became active: it has.
func (l *lvcLife) again(at int) bool {
	for _, t := range l.turns {
		if t.at > at {
			return t.active
		}
	}
	return false
}

// since is when the turn began in which log[at] came.
func (l *lvcLife) since(at int) int {
	for _, t := range slices.Backward(l.turns) {
		if t.at <= at {
			return t.at
		}
	}
	return 0
}

// unknown is a value of the past that nobody has told the checks of.
func (r *lvcRun) unknown(yield func(wire.Record, lvc.Origin) bool) {
	rec := &r.records[0]
	b, err := wire.AppendRecord(nil, &wire.Fields{Topic: []byte(rec.topic), TopicSeq: rec.topicSeq, Kind: wire.KindQuote, Body: make([]byte, 8)})
	if err != nil {
		panic("BUG: sim: " + err.Error())
	}
	yield(wire.Record(b), lvc.Origin{Epoch: rec.at.epoch, Seq: rec.seq, Shard: uint16(rec.at.shard), Shards: uint16(r.shards)})
}

// give takes note of a record or a gap.
func (l *lvcLife) give(e lvcEntry) {
	e.whole = !slices.ContainsFunc(l.parts, func(p lvcPart) bool { return p.holes })
	if e.record >= 0 {
		l.place[e.record] = len(l.log)
	}
	l.log = append(l.log, e)
}

// HandleBatch implements subscriber.Handler.
func (x *lvcProxy) HandleBatch(b *wire.Batch, skip uint32) error {
	r, l := x.run, x.life
	p := &l.parts[b.Shard]
	if p.epoch != b.Epoch {
		*p = lvcPart{epoch: b.Epoch, next: b.FirstSeq, holes: b.FirstSeq > 0}
	}
	for seq := b.FirstSeq + wire.Seq(skip); seq < b.Next(); seq++ {
		l.give(lvcEntry{record: r.sent[healShard{b.Epoch, int(b.Shard)}][seq]})
	}
	p.next = b.Next()
	switch r.w.bug {
	case bugLVCLose:
		skip += uint32(r.w.IntN(2))
	case bugLVCTwice:
		if err := l.proxy.HandleBatch(b, skip); err != nil {
			return err
		}
	}
	return l.proxy.HandleBatch(b, skip)
}

// HandleGap implements subscriber.Handler.
func (x *lvcProxy) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	l := x.life
	if p := &l.parts[shard]; p.epoch == epoch || p.epoch == 0 {
		p.holes = true
	}
	l.give(lvcEntry{record: -1, gap: lvc.GapNotice{Shard: shard, Epoch: epoch, From: from, To: to}})
	if x.run.w.bug != bugLVCGap {
		l.proxy.HandleGap(shard, epoch, from, to)
	}
}

// HandleSession implements subscriber.Handler.
func (x *lvcProxy) HandleSession(shard int, epoch wire.Epoch, s *wire.Session) {
	x.life.proxy.HandleSession(shard, epoch, s)
}

// HandleEnd implements subscriber.Handler.
func (x *lvcProxy) HandleEnd(shard int, epoch wire.Epoch, complete bool) {
	x.life.proxy.HandleEnd(shard, epoch, complete)
}
