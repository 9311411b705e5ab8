package snail

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// RegistryConfig is what a Registry is made from. The zero value of a field
// means its default.
type RegistryConfig struct {
	// Connections bounds how many are known at a time: a reader has one per
	// shard. More are refused and counted. Default 65,536.
	Connections int
	// Stall is how long a connection with bytes queued may go without taking any
	// before its reader is stuck. Default 500 ms.
	Stall time.Duration
	// Calm is how long a connection that was stuck must be seen to take bytes, or
	// to have none waiting, before it is OK again. Default 1 s.
	Calm time.Duration
}

const (
	connectionsDefault = 1 << 16
	stallDefault       = 500 * time.Millisecond
	calmDefault        = time.Second

	// peerMax is the longest address that is kept, bytes.
	peerMax = 255
)

// Registry is what a publisher knows of its readers. It may be used by several
// goroutines. Times are the caller's; a clock that goes back counts as standing.
//
// A reader is who has said its id; it has a connection per shard. A connection
// without an id, a plain ZeroMQ client's, is a reader of its own.
type Registry struct {
	cfg RegistryConfig

	mu      sync.Mutex
	readers map[wire.ReaderID]*reader
	lines   map[place]*line
	refused uint64
	unknown uint64
}

// place is where a connection is: its address is not unique over shards.
type place struct {
	shard int
	peer  string
}

// reader is who reads. Its lines are its connections.
type reader struct {
	id      wire.ReaderID
	name    string
	verdict Verdict
	since   wire.Nanos // of the verdict
	lines   []*line
}

// line is one connection.
type line struct {
	reader *reader
	place  place

	reported Verdict
	lag      time.Duration
	lost     uint64
	heard    wire.Nanos // of the last report; 0 before the first

	queued  int64
	acked   uint64
	waiting bool       // bytes were queued when last seen
	moved   wire.Nanos // since when it has not taken any, where waiting
	seen    wire.Nanos // of the last observation
	stuck   bool
	calm    wire.Nanos // stuck: since when it moves again; 0 where it does not
}

// NewRegistry checks cfg.
func NewRegistry(cfg RegistryConfig) (*Registry, error) {
	if cfg.Connections < 0 || cfg.Stall < 0 || cfg.Calm < 0 {
		return nil, errors.New("snail: a bound or time of the registry is negative")
	}
	cfg.Connections = cmp.Or(cfg.Connections, connectionsDefault)
	cfg.Stall = cmp.Or(cfg.Stall, stallDefault)
	cfg.Calm = cmp.Or(cfg.Calm, calmDefault)
	return &Registry{cfg: cfg, readers: map[wire.ReaderID]*reader{}, lines: map[place]*line{}}, nil
}

// Join takes note of a reader's connection on a shard. It is called again
// without harm, and with more: an id for a connection that had none, an address
// for a reader that had none (peer ""), a name. One of id and peer must be there.
// It reports false where that is not so, or the registry is full.
func (r *Registry) Join(now wire.Nanos, id wire.ReaderID, name string, shard int, peer string) bool {
	anonymous := id == (wire.ReaderID{})
	if anonymous && peer == "" {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	at := placeOf(id, shard, peer)
	here, own := r.lines[at], r.readers[id].on(shard)
	switch {
	case here != nil && anonymous:
		return true // who it is is known already
	case here != nil && here.reader.id != id && here.reader.id != (wire.ReaderID{}):
		r.move(here, placeOf(here.reader.id, shard, "")) // an address has one connection: the other reader's is gone
		here = nil
	}
	switch l := cmp.Or(here, own); {
	case l == nil && len(r.lines) >= r.cfg.Connections:
		r.refused++
		return false
	case l == nil:
		l = &line{place: at}
		r.lines[at] = l
		r.attach(now, l, id)
	case l.reader.id == id:
		r.move(l, at)
	default: // it was nobody's
		r.attach(now, l, id)
		if own != nil {
			r.drop(own) // the same reader's, before it connected anew
		}
	}
	if who := r.lines[at].reader; name != "" {
		who.name = cut(name, wire.ReaderNameMax)
	}
	return true
}

// attach makes a line one of the reader's with the id, who is made where there is
// none. A reader that begins with a line that was squawked about begins with that
// verdict.
func (r *Registry) attach(now wire.Nanos, l *line, id wire.ReaderID) {
	who := r.readers[id]
	if who == nil {
		who = &reader{id: id, since: now}
		if l.reader != nil {
			who.verdict, who.since = l.reader.verdict, l.reader.since
		}
	}
	if id != (wire.ReaderID{}) {
		r.readers[id] = who
	}
	l.reader, who.lines = who, append(who.lines, l)
}

// move gives a line another address, or the one it has.
func (r *Registry) move(l *line, at place) {
	if l.place == at {
		return
	}
	delete(r.lines, l.place)
	l.place, r.lines[at] = at, l
	l.reconnect()
}

// reconnect forgets what the queue of an earlier connection said.
func (l *line) reconnect() {
	l.queued, l.acked, l.waiting, l.moved, l.seen, l.stuck, l.calm = 0, 0, false, 0, 0, false, 0
}

// drop removes a line, and its reader with the last one.
func (r *Registry) drop(l *line) {
	delete(r.lines, l.place)
	who := l.reader
	who.lines = slices.DeleteFunc(who.lines, func(x *line) bool { return x == l })
	if len(who.lines) == 0 && r.readers[who.id] == who {
		delete(r.readers, who.id)
	}
}

// Leave takes note that a reader has gone from a shard. It squawks when the
// reader is gone from all and was not OK.
func (r *Registry) Leave(now wire.Nanos, id wire.ReaderID, shard int) (Squawk, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.readers[id].on(shard); l != nil {
		return r.leave(now, l)
	}
	return Squawk{}, false
}

// LeavePeer is Leave of a connection, by its address.
func (r *Registry) LeavePeer(now wire.Nanos, shard int, peer string) (Squawk, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.lines[place{shard, cut(peer, peerMax)}]; l != nil && peer != "" {
		return r.leave(now, l)
	}
	return Squawk{}, false
}

func (r *Registry) leave(now wire.Nanos, l *line) (Squawk, bool) {
	who := l.reader
	r.drop(l)
	if len(who.lines) > 0 {
		return who.settle(now)
	}
	if who.verdict == OK {
		return Squawk{}, false
	}
	_, cause := l.verdict()
	s := l.squawk(now, Gone, cause)
	return s, true
}

// Report takes in what a reader says of itself on a shard, and squawks when that
// changes its verdict. Who has not joined is not believed, and counted.
func (r *Registry) Report(now wire.Nanos, id wire.ReaderID, shard int, lag time.Duration, lost uint64, v Verdict) (Squawk, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.readers[id].on(shard)
	if l == nil {
		r.unknown++
		return Squawk{}, false
	}
	l.heard, l.lag, l.lost, l.reported = now, lag, lost, min(v, Stuck)
	return l.reader.settle(now)
}

// Observe takes in what the kernel says of a connection: bytes that are queued
// to be sent or not yet acknowledged, and bytes acknowledged so far (any counter
// that moves when the reader takes bytes). It squawks when that changes the
// reader's verdict. An address that has not joined is ignored, and counted.
func (r *Registry) Observe(now wire.Nanos, shard int, peer string, queued int64, acked uint64) (Squawk, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lines[place{shard, peer}]
	if l == nil || peer == "" {
		r.unknown++
		return Squawk{}, false
	}
	l.watch(max(now, l.seen), queued, acked, &r.cfg)
	return l.reader.settle(now)
}

// watch updates what is known of the connection's queue. Since acked only ever grows, two looks with
// the same value and bytes queued at both say that none were taken in between,
// however far apart the looks are.
func (l *line) watch(now wire.Nanos, queued int64, acked uint64, cfg *RegistryConfig) {
	still := l.waiting && acked == l.acked
	l.seen, l.queued, l.acked, l.waiting = now, queued, acked, queued > 0
	if !still || !l.waiting {
		l.moved = now
	}
	switch stalled := l.waiting && since(l.moved, now) >= cfg.Stall; {
	case stalled:
		l.stuck, l.calm = true, 0
	case l.stuck && l.calm == 0 && l.moved == now:
		l.calm = now
	case l.stuck && l.calm != 0 && since(l.calm, now) >= cfg.Calm:
		l.stuck = false
	}
}

// verdict is the worse of what the reader says and what its queue says.
func (l *line) verdict() (Verdict, Cause) {
	switch {
	case l.stuck:
		return Stuck, CauseQueue
	case l.reported != OK:
		return l.reported, CauseReported
	}
	return OK, CauseNone
}

// worst is the line with the worst verdict.
func (who *reader) worst() (Verdict, *line) {
	worst, at := OK, who.lines[0]
	for _, l := range who.lines {
		if v, _ := l.verdict(); v > worst {
			worst, at = v, l
		}
	}
	return worst, at
}

// settle makes the reader's verdict the worst of its lines' and squawks when that
// is a change.
func (who *reader) settle(now wire.Nanos) (Squawk, bool) {
	v, l := who.worst()
	if v == who.verdict {
		return Squawk{}, false
	}
	_, cause := l.verdict()
	s := l.squawk(now, v, cause)
	who.verdict, who.since = v, now
	return s, true
}

// on returns the reader's line on a shard, or nil.
func (who *reader) on(shard int) *line {
	if who == nil || who.id == (wire.ReaderID{}) {
		return nil
	}
	for _, l := range who.lines {
		if l.place.shard == shard {
			return l
		}
	}
	return nil
}

func (l *line) squawk(now wire.Nanos, v Verdict, cause Cause) Squawk {
	who := l.reader
	return Squawk{
		Time: now, Reader: hexID(who.id), Name: who.name, Peer: l.address(), Shard: l.place.shard,
		Verdict: v, Before: who.verdict, Cause: cause, Action: ActWarn,
		LagNs: int64(l.lag), Lost: l.lost, QueuedBytes: l.queued,
	}
}

// placeOf is where a connection is kept. One without an address is kept by its
// reader's id, in a form that no address has.
func placeOf(id wire.ReaderID, shard int, peer string) place {
	if peer == "" {
		return place{shard, "\x00" + string(id[:])}
	}
	return place{shard, cut(peer, peerMax)}
}

// address is the peer's, or "".
func (l *line) address() string {
	if strings.HasPrefix(l.place.peer, "\x00") {
		return ""
	}
	return l.place.peer
}

// since is the time from then to now; 0 where the clock went back.
func since(then, now wire.Nanos) time.Duration { return time.Duration(max(now-then, 0)) }

// cut cuts a text of the network to what is kept of it, and makes it UTF-8.
func cut(s string, n int) string {
	return strings.ToValidUTF8(s[:min(len(s), n)], "")
}
