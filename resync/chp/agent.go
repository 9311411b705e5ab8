package chp

import (
	"bytes"
	"strconv"
	"time"
)

// State is where a client is.
type State uint8

// The states of a client.
const (
	Initial State = iota // about to ask for a snapshot
	Syncing              // a snapshot is on its way; updates are kept
	Active               // the table is whole; updates are applied
)

// String implements fmt.Stringer.
func (s State) String() string { return [...]string{"initial", "syncing", "active"}[s] }

// host is what an agent acts through.
type host interface {
	// listen begins to listen to a server's updates, and stops listening to
	// another's.
	listen(server int)
	// ask asks a server for a snapshot. What still comes of an earlier one must not
	// reach the agent.
	ask(server int)
	// replace gives the whole table, as of a snapshot.
	replace(t *table)
	// apply gives an update; its bytes are borrowed.
	apply(m *Message)
}

// agent decides what a client does: a state machine without sockets and without
// a clock. It starts over, at the same server, when it sees that something is
// missing or that the server has started again, and goes to the next server when
// the one it has says nothing. It never gives up.
type agent struct {
	host    host
	servers int
	subtree []byte
	silence time.Duration // of a server, until it counts as dead
	pause   time.Duration // before the first repeated question
	buffer  int           // bound of what is kept while a snapshot comes, bytes
	stats   *agentStats

	state    State
	server   int
	deadline time.Time     // Initial: when to ask; else: when the server counts as dead
	backoff  time.Duration // before the next repeated question
	since    time.Time     // Active: since when

	// heard: something came over the subscription, so it is in force. proven: it was
	// in force when the snapshot was made, or no update was missed between the two.
	heard, proven bool
	highest       uint64 // sequence that came over the subscription and was looked at

	next    *table  // Syncing: what has come of the snapshot
	entries uint64  // Syncing: how many messages that were
	kept    []*kept // Syncing: updates that came meanwhile
	size    int     // of them, bytes

	sequence uint64 // Active: of the last update that the table has
	epoch    []byte // Active: the server's run, as it says it; empty if it does not
}

// agentStats are an agent's counts.
type agentStats struct {
	snapshots, updates, old, stray                          uint64
	gaps, restarts, incomplete, overflows, unsure, failover uint64
}

// kept is an update that is kept.
type kept struct {
	Message
	memory []byte
}

func keep(m *Message) *kept {
	k := &kept{memory: make([]byte, 0, len(m.Key)+len(m.UUID)+len(m.Properties)+len(m.Value))}
	part := func(b []byte) []byte {
		from := len(k.memory)
		k.memory = append(k.memory, b...)
		return k.memory[from:]
	}
	k.Message = Message{Key: part(m.Key), Sequence: m.Sequence, UUID: part(m.UUID), Properties: part(m.Properties), Value: part(m.Value)}
	return k
}

// start begins with the first server.
func (a *agent) start(now time.Time) {
	a.backoff = a.pause
	a.state, a.deadline = Initial, now
	a.host.listen(a.server)
	a.tick(now)
}

// tick lets time pass.
func (a *agent) tick(now time.Time) {
	if now.Before(a.deadline) {
		return
	}
	if a.state != Initial {
		a.stats.failover++
		a.forget()
		a.server = (a.server + 1) % a.servers
		a.heard, a.highest = false, 0
		a.host.listen(a.server)
	}
	a.state = Syncing
	a.deadline = now.Add(a.silence)
	a.next, a.proven = newTable(), a.heard
	a.host.ask(a.server)
}

// forget lets go what has come of a snapshot.
func (a *agent) forget() { a.next, a.entries, a.kept, a.size = nil, 0, nil, 0 }

// again starts over at the same server, each time after a longer pause as long
// as it does not help.
func (a *agent) again(now time.Time, why *uint64) {
	*why++
	if a.state == Active && now.Sub(a.since) > a.silence {
		a.backoff = a.pause
	}
	a.forget()
	a.state, a.deadline = Initial, now.Add(a.backoff)
	a.backoff = min(2*a.backoff, a.silence)
}

// snapshot takes a message of the snapshot that was asked for last.
func (a *agent) snapshot(m *Message, now time.Time) {
	switch {
	case a.state != Syncing || m.Hugz():
		a.stats.stray++
	case m.End():
		a.end(m, now)
	default:
		a.deadline = now.Add(a.silence)
		a.entries++
		if !hasPrefix(m.Key, a.subtree) || len(m.Value) == 0 {
			a.stats.stray++
			return
		}
		a.next.put(newItem(entryOf(m, now)))
	}
}

// entryOf is what a table has of a message, borrowed.
func entryOf(m *Message, now time.Time) *Entry {
	e := &Entry{Key: m.Key, Sequence: m.Sequence, Properties: m.Properties.without(false), Value: m.Value}
	if ttl, err := m.Properties.TTL(); err == nil && ttl > 0 {
		e.Expires = now.Add(ttl)
	}
	return e
}

// end takes the snapshot's end.
func (a *agent) end(m *Message, now time.Time) {
	if n := m.Properties.Get(propEntries); n != nil && string(n) != strconv.FormatUint(a.entries, 10) ||
		len(m.Value) > 0 && !bytes.Equal(m.Value, a.subtree) {
		a.again(now, &a.stats.incomplete)
		return
	}
	next, kept := a.next, a.kept
	a.forget()
	a.state, a.since, a.deadline = Active, now, now.Add(a.silence)
	a.sequence = m.Sequence
	a.epoch = bytes.Clone(m.Properties.Get(propEpoch))
	a.stats.snapshots++
	// What the server's earlier run published says nothing about this one.
	for len(kept) > 0 && a.foreign(&kept[0].Message) {
		kept = kept[1:]
	}
	a.host.replace(next)
	for _, k := range kept {
		a.active(&k.Message, now)
		if a.state != Active {
			return
		}
	}
}

// foreign reports whether a message is of another run of the server.
func (a *agent) foreign(m *Message) bool { return !bytes.Equal(m.Properties.Get(propEpoch), a.epoch) }

// update takes what comes over the subscription.
func (a *agent) update(m *Message, now time.Time) {
	a.heard = true
	switch a.state {
	case Initial:
		// The snapshot that will be asked for has it.
	case Syncing:
		a.size += 64 + len(m.Key) + len(m.Properties) + len(m.Value)
		if a.size > a.buffer {
			a.again(now, &a.stats.overflows)
			return
		}
		a.kept = append(a.kept, keep(m))
	case Active:
		a.deadline = now.Add(a.silence)
		a.active(m, now)
	}
}

// active takes an update, or a sign of life, when the table is whole.
func (a *agent) active(m *Message, now time.Time) {
	switch {
	case m.Hugz():
		a.hugz(m, now)
		return
	case m.End() || !hasPrefix(m.Key, a.subtree):
		a.stats.stray++ // a subscription to HUGZ is one to all keys that begin so
		return
	case a.foreign(m):
		a.restarted(now)
		return
	case m.Sequence <= a.sequence:
		a.stats.old++
		return
	}
	before, told := previous(m.Properties, len(a.subtree))
	if told && before > a.sequence || !told && len(a.subtree) == 0 && m.Sequence != a.sequence+1 {
		a.again(now, &a.stats.gaps)
		return
	}
	a.proven = a.proven || told
	a.sequence = m.Sequence
	a.highest = max(a.highest, m.Sequence)
	a.stats.updates++
	a.host.apply(m)
}

// restarted starts over because the server has.
func (a *agent) restarted(now time.Time) {
	a.highest = 0
	a.again(now, &a.stats.restarts)
}

// hugz takes a sign of life. It shows what nothing else may show: an update that
// was missed and has none behind it, or a server that started again and has
// nothing to say.
func (a *agent) hugz(m *Message, now time.Time) {
	if m.Properties.Get(propEpoch) != nil && a.foreign(m) {
		a.restarted(now)
		return
	}
	last := m.Sequence // the guide's servers send it, the specification sends 0
	if said, err := strconv.ParseUint(string(m.Properties.Get(propSequence)), 10, 64); err == nil {
		last = said
	}
	switch {
	case last == 0:
		return
	case len(a.subtree) == 0 && last > a.sequence:
		a.again(now, &a.stats.gaps)
	case !a.proven && last > a.sequence:
		// Something may have been published in the subtree after the snapshot was
		// made and before the subscription was in force. Now it is.
		a.again(now, &a.stats.unsure)
	case last < a.highest:
		// Not below what the table has: the snapshot may be newer than this.
		a.restarted(now)
		return
	case last <= a.sequence:
		a.proven = true // nothing was missed up to here
	}
	a.highest = max(a.highest, last)
}
