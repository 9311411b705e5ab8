package lvc

import (
	"errors"
	"slices"

	"github.com/tapedeck/tapedeck/wire"
)

// ErrLost: what a snapshot needed took more memory than there was, and is gone.
var ErrLost = errors.New("lvc: snapshot took too long: the values it needed are gone")

// Snapshot is the last record of every topic that was asked for, as it was at one
// moment, in no particular order. It belongs to one goroutine and must be closed.
// While it is read the proxy goes on.
type Snapshot struct {
	p         *Proxy
	c         *capture
	positions []Position
	version   uint64
	total     uint64
	more      bool

	records []byte // of the slice at hand, in the wire format
	origins []Origin
	sizes   []int
	next    int
	at      int
	err     error
}

// Snapshot returns the last records of the topics that begin with one of the
// prefixes, as of now; of all, where there are none.
func (p *Proxy) Snapshot(prefixes ...string) *Snapshot {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	c := p.table.capture(prefixes...)
	return &Snapshot{p: p, c: c, positions: p.positionsLocked(), version: p.table.version, total: uint64(c.total), more: true}
}

// Positions returns, per shard, where the stream goes on after the snapshot.
func (s *Snapshot) Positions() []Position { return slices.Clone(s.positions) }

// Version is the number of the last change of the table that is in the snapshot:
// see Watcher.
func (s *Snapshot) Version() uint64 { return s.version }

// Entries is how many records the snapshot has.
func (s *Snapshot) Entries() uint64 { return s.total }

// Next returns the next record and where it comes from. ok is false at the end, and
// after an error. The record is borrowed until the next call.
func (s *Snapshot) Next() (r wire.Record, from Origin, ok bool) {
	for s.next == len(s.sizes) {
		if !s.more || s.err != nil {
			return nil, from, false
		}
		s.fill()
	}
	i := s.next
	s.next++
	r = wire.Record(s.records[s.at : s.at+s.sizes[i] : s.at+s.sizes[i]])
	s.at += s.sizes[i]
	return r, s.origins[i], true
}

// fill takes the next slice of the table.
func (s *Snapshot) fill() {
	s.records, s.sizes, s.origins, s.next, s.at = s.records[:0], s.sizes[:0], s.origins[:0], 0, 0
	s.p.hub.mu.Lock()
	defer s.p.hub.mu.Unlock()
	s.more = s.c.next(sliceTopics, s.add)
	if s.c.lost {
		s.err = ErrLost
	}
}

func (s *Snapshot) add(e *entry, v *value) {
	h := &v.header
	f := wire.Fields{
		Topic: []byte(e.topic), Body: v.body, Event: h.Event, Receive: h.Receive,
		TopicSeq: h.TopicSeq, Kind: h.Kind, Flags: h.RecordFlags,
	}
	n := len(s.records)
	b, err := wire.AppendRecord(s.records, &f)
	if err != nil {
		panic("BUG: lvc: a record that was read cannot be written: " + err.Error())
	}
	s.records = b
	s.sizes = append(s.sizes, len(b)-n)
	s.origins = append(s.origins, Origin{Epoch: h.Epoch, Seq: h.Seq, Shard: h.Shard, Shards: h.Shards, Send: h.Send})
}

// Err returns what ended the snapshot early, or nil.
func (s *Snapshot) Err() error { return s.err }

// Close lets go of the snapshot. It may be called more than once.
func (s *Snapshot) Close() {
	s.p.hub.mu.Lock()
	defer s.p.hub.mu.Unlock()
	s.c.close()
	s.more = false
}
