package lvc

import (
	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/snail"
)

// Stats are what a proxy counted. Counts only ever grow.
type Stats struct {
	Records uint64 `json:"records"` // taken in
	Batches uint64 `json:"batches"`
	Bytes   uint64 `json:"bytes"` // of records
	Epochs  uint64 `json:"epochs"`
	Gaps    uint64 `json:"gaps"` // times that records did not reach the proxy
	Lost    uint64 `json:"lost"` // such records
	Seeks   uint64 `json:"seeks"`

	Topics        int    `json:"topics"`        // that have a last value, now
	TableBytes    int64  `json:"table_bytes"`   // that they take, now
	KeptBytes     int64  `json:"kept_bytes"`    // set aside for answers under way, now
	Deleted       uint64 `json:"deleted"`       // topics whose last value was deleted
	RefusedByFull uint64 `json:"refused_full"`  // records of new topics that did not fit the table
	EvictedByFull uint64 `json:"evicted_full"`  // topics whose value did not fit any more
	Full          bool   `json:"full"`          // values are missing for one of these reasons
	Partial       bool   `json:"partial"`       // values may be missing or old: not all of the stream came
	Subscriptions uint64 `json:"subscriptions"` // answered
	Readers       int    `json:"readers"`       // plain readers, now
	Joined        uint64 `json:"joined"`        // plain readers, ever
	Left          uint64 `json:"left"`          // plain readers that went
	Refused       uint64 `json:"refused"`       // connections: no ZMTP 3, no SUB socket, no right, or too many
	TooLong       uint64 `json:"too_long"`      // subscriptions that can match nothing, or are too many
	NoRight       uint64 `json:"no_right"`      // subscriptions that their reader has no right to
	Foreign       uint64 `json:"foreign"`       // messages of readers that mean nothing
	Dropped       uint64 `json:"dropped"`       // records, of readers with a full queue
	CaughtUp      uint64 `json:"caught_up"`     // times that such a reader was given last values anew
	LostAnswers   uint64 `json:"lost_answers"`  // readers cut off since what their answer needed took too much memory
	Stalled       uint64 `json:"stalled"`       // readers cut off since they did not take their answer
	Squawks       uint64 `json:"squawks"`
	Activations   uint64 `json:"activations"` // times that a proxy of a pair became active
	SentAgain     uint64 `json:"sent_again"`  // messages that it then sent of those that it had kept
	RingShort     uint64 `json:"ring_short"`  // messages that it could not keep long enough, for their bytes
	RingHad       uint64 `json:"ring_had"`    // messages that it did not keep, as all readers had them from the other one
	TooFar        uint64 `json:"too_far"`     // times that a reader was behind by more than a passive proxy keeps, and was not waited for
	RingYoung     uint64 `json:"ring_young"`  // times that it became active before it had kept for long enough
	// RingMissing are messages that it did not have any more when it became active, and
	// that not all readers were known to have; LeftBehind are readers, then, that the other
	// one had not waited for.
	RingMissing uint64 `json:"ring_missing"`
	LeftBehind  uint64 `json:"left_behind"`
	TapDropped  uint64 `json:"tap_dropped"` // messages that the tap's rate did not let through
}

// Stats returns what was counted so far.
func (p *Proxy) Stats() Stats {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	s, h, t := p.stats, &p.hub.counts, p.table
	s.Topics, s.TableBytes, s.KeptBytes, s.Full = t.len(), t.bytes, t.kept, t.full()
	s.Partial = p.partialLocked()
	s.Deleted, s.RefusedByFull, s.EvictedByFull = t.deleted, t.refused, t.evicted
	s.Readers, s.Joined, s.Left, s.Refused = len(p.hub.readers)-len(p.outlets), h.joined, h.left, h.refused
	s.TooLong, s.NoRight, s.Foreign, s.CaughtUp, s.Dropped = h.tooLong, h.noRight, h.foreign, h.overflowed, h.dropped
	for r := range p.hub.readers {
		s.Dropped += r.dropped.Load()
	}
	if g := p.hub.ring; g != nil {
		s.RingHad += g.had
	}
	if c := p.hub.confirms; c != nil {
		s.TooFar = c.tooFar
	}
	s.LostAnswers, s.Stalled = p.lostAnswers.Load(), p.stalled.Load()
	if p.tap != nil {
		s.TapDropped = p.tap.dropped.Load()
	}
	return s
}

// AnswerTimes counts how long subscriptions, and readers that had caught up, took to
// be answered with last values: from when the subscription was read until the answer
// was put into the reader's queue or, where it has more than a few topics, written. It
// may be read at any time.
func (p *Proxy) AnswerTimes() *latency.Histogram { return &p.answers }

// Totals returns how the plain readers fare, all together.
func (p *Proxy) Totals() snail.Totals { return p.registry.Totals() }
