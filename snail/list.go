package snail

import (
	"cmp"
	"slices"

	"github.com/tapedeck/tapedeck/wire"
)

// Reader is one reader as an operator sees it.
type Reader struct {
	// ID is the reader's id in hexadecimal, "" where it has not said one.
	ID string `json:"id"`
	// Name is what it calls itself.
	Name string `json:"name"`
	// Verdict is the worst of its connections', Since the time of the last squawk
	// about it, or else of its coming.
	Verdict Verdict    `json:"verdict"`
	Since   wire.Nanos `json:"since"`
	// LagNs is the greatest lag that it reports, Lost the records that it misses,
	// over all shards.
	LagNs int64  `json:"lag_ns"`
	Lost  uint64 `json:"lost"`
	// Connections are its connections, by shard.
	Connections []Connection `json:"connections"`
}

// Connection is what is known of a reader on one shard.
type Connection struct {
	Shard   int     `json:"shard"`
	Peer    string  `json:"peer,omitempty"`
	Verdict Verdict `json:"verdict"`
	Cause   Cause   `json:"cause"`
	// LagNs and Lost are as the reader reported them last, at Reported; 0 before
	// it has.
	LagNs    int64      `json:"lag_ns"`
	Lost     uint64     `json:"lost"`
	Reported wire.Nanos `json:"reported"`
	// QueuedBytes wait in the connection's TCP queue, as seen at Observed; 0
	// before it was. StalledNs is how long it has taken none of them.
	QueuedBytes int64      `json:"queued_bytes"`
	StalledNs   int64      `json:"stalled_ns"`
	Observed    wire.Nanos `json:"observed"`
}

// List returns all readers, by name, then id, then address. It is a copy.
func (r *Registry) List() []Reader {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[*reader]bool{}
	var list []Reader
	for _, l := range r.lines {
		if !seen[l.reader] {
			seen[l.reader] = true
			list = append(list, l.reader.list())
		}
	}
	slices.SortFunc(list, func(a, b Reader) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID),
			cmp.Compare(a.Connections[0].Peer, b.Connections[0].Peer), cmp.Compare(a.Connections[0].Shard, b.Connections[0].Shard))
	})
	return list
}

func (who *reader) list() Reader {
	one := Reader{ID: hexID(who.id), Name: who.name, Since: who.since}
	one.Verdict, _ = who.worst()
	for _, l := range who.lines {
		c := Connection{
			Shard: l.place.shard, Peer: l.address(), LagNs: int64(l.lag), Lost: l.lost, Reported: l.heard,
			QueuedBytes: l.queued, Observed: l.seen,
		}
		c.Verdict, c.Cause = l.verdict()
		if l.waiting {
			c.StalledNs = int64(since(l.moved, l.seen))
		}
		one.LagNs, one.Lost = max(one.LagNs, c.LagNs), one.Lost+c.Lost
		one.Connections = append(one.Connections, c)
	}
	slices.SortFunc(one.Connections, func(a, b Connection) int { return cmp.Compare(a.Shard, b.Shard) })
	return one
}

// RegistryCounts are what a Registry has not taken in.
type RegistryCounts struct {
	// Refused is how many connections did not fit.
	Refused uint64 `json:"refused"`
	// Unknown is how many reports and observations were of nobody who had joined.
	Unknown uint64 `json:"unknown"`
}

// Counts returns what was not taken in so far.
func (r *Registry) Counts() RegistryCounts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return RegistryCounts{Refused: r.refused, Unknown: r.unknown}
}
