package main

import (
	"sync"

	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
	"github.com/tapedeck/tapedeck/wire/lineage"
)

// ledger stands behind a healer and holds what comes out of it against itself: every
// sequence once, in order, and what is left out is said. A summary goes by that, and
// not by what the healer believes.
type ledger struct {
	next    subscriber.Handler
	refills resync.RefillHandler     // next, where it takes them apart
	notices subscriber.NoticeHandler // next, where it takes them
	ends    *endBook                 // told where epochs end; may be nil
	byTime  bool                     // an epoch may begin anywhere: with the first record from a time on
	pages   []page                   // of each shard
	news    handledNews              // for who is in lock-step
}

// page is one shard. The lock is for those who look at it meanwhile.
type page struct {
	mu    sync.Mutex
	begun bool
	kin   lineage.Book // epochs that take over what another publisher sent
	at    resync.Span  // the epoch, and in To what comes next
	first resync.Span  // the epoch, and in From where this reader began

	epochs   uint64
	records  uint64 // all of them
	live     uint64 // those that came live, and had to wait for nothing
	gaps     uint64 // told
	lost     uint64 // in them
	twice    uint64 // records that came although they had been handed over
	unsaid   uint64 // records that were left out without a word
	ended    bool   // the epoch at hand
	complete bool   // ... and whole, as the healer says
}

func newLedger(shards int, next subscriber.Handler) *ledger {
	l := &ledger{next: next, pages: make([]page, shards)}
	l.refills, _ = next.(resync.RefillHandler)
	l.notices, _ = next.(subscriber.NoticeHandler)
	return l
}

// HandleBatch implements subscriber.Handler.
func (l *ledger) HandleBatch(b *wire.Batch, skip uint32) error {
	defer l.news.say(int(b.Shard))
	l.enter(b, skip, true)
	return l.next.HandleBatch(b, skip)
}

// HandleRefill implements resync.RefillHandler.
func (l *ledger) HandleRefill(b *wire.Batch, skip uint32) error {
	defer l.news.say(int(b.Shard))
	l.enter(b, skip, false)
	if l.refills != nil {
		return l.refills.HandleRefill(b, skip)
	}
	return l.next.HandleBatch(b, skip)
}

func (l *ledger) enter(b *wire.Batch, skip uint32, live bool) {
	p := &l.pages[b.Shard]
	p.mu.Lock()
	defer p.mu.Unlock()
	from, n := b.FirstSeq+wire.Seq(skip), uint64(b.Count-skip)
	if !p.begun || b.Epoch != p.at.Epoch {
		p.enterEpoch(b.Epoch, int(b.Shard), from)
		if l.byTime {
			p.at.To = from
		}
	}
	if from < p.at.To {
		p.twice += uint64(min(p.at.To, b.Next()) - from)
	}
	if from > p.at.To {
		p.unsaid += uint64(from - p.at.To)
	}
	p.at.To = max(p.at.To, b.Next())
	p.records += n
	if live {
		p.live += n
	}
}

// enterEpoch begins an epoch. The first one begins where this reader does, each
// other with its first record, but for one that takes over: that one begins behind what
// it repeats (docs/WIRE.md, section 7). p.mu is held.
func (p *page) enterEpoch(epoch wire.Epoch, shard int, from wire.Seq) {
	p.at = resync.Span{Epoch: epoch, Shard: shard, To: p.had(epoch)}
	if !p.begun {
		p.begun, p.at.To = true, from
		p.first = resync.Span{Epoch: epoch, Shard: shard, From: from}
	}
	p.epochs++
	p.ended, p.complete = false, false
}

// had is how many records of an epoch that begins this reader has had in the one at hand,
// beside which it lies.
func (p *page) had(epoch wire.Epoch) wire.Seq {
	at, known := p.kin.Begins(epoch, p.at.Epoch)
	if !known {
		return 0
	}
	return wire.Seq(max(int64(p.at.To)-at, 0))
}

// HandleGap implements subscriber.Handler: the sequences are given up.
func (l *ledger) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	defer l.news.say(shard)
	p := &l.pages[shard]
	p.mu.Lock()
	if !p.begun || epoch != p.at.Epoch {
		p.enterEpoch(epoch, shard, from)
	}
	p.gaps++
	p.lost += uint64(to - from)
	p.at.To = max(p.at.To, to)
	p.mu.Unlock()
	l.next.HandleGap(shard, epoch, from, to)
}

// HandleSession implements subscriber.Handler.
func (l *ledger) HandleSession(shard int, epoch wire.Epoch, s *wire.Session) {
	p := &l.pages[shard]
	p.mu.Lock()
	p.kin.Start(epoch, s.Start)
	p.mu.Unlock()
	if at := s.Start; at != nil && l.ends != nil {
		l.ends.put(at.PreviousEpoch, shard, at.PreviousNext)
	}
	l.next.HandleSession(shard, epoch, s)
}

// HandleEnd implements subscriber.Handler.
func (l *ledger) HandleEnd(shard int, epoch wire.Epoch, complete bool) {
	p := &l.pages[shard]
	p.mu.Lock()
	if !p.begun || epoch != p.at.Epoch {
		p.enterEpoch(epoch, shard, 0)
	}
	p.ended, p.complete = true, complete
	end := p.at.To
	p.mu.Unlock()
	if l.ends != nil {
		l.ends.put(epoch, shard, end)
	}
	l.next.HandleEnd(shard, epoch, complete)
}

// HandleNotice implements subscriber.NoticeHandler.
func (l *ledger) HandleNotice(shard int, r wire.Record) {
	if l.notices != nil {
		l.notices.HandleNotice(shard, r)
	}
}

// ledgerSum is what all shards have together.
type ledgerSum struct {
	epochs, records, live, gaps, lost, twice, unsaid uint64
	ended, complete                                  bool // every shard's last epoch
}

func (l *ledger) sum() ledgerSum {
	s := ledgerSum{ended: true, complete: true}
	for i := range l.pages {
		p := &l.pages[i]
		p.mu.Lock()
		s.epochs = max(s.epochs, p.epochs)
		s.records += p.records
		s.live += p.live
		s.gaps += p.gaps
		s.lost += p.lost
		s.twice += p.twice
		s.unsaid += p.unsaid
		s.ended = s.ended && p.ended
		s.complete = s.complete && p.complete
		p.mu.Unlock()
	}
	s.complete = s.complete && s.lost+s.twice+s.unsaid == 0
	return s
}

// begins are where each shard began that has.
func (l *ledger) begins() []resync.Span {
	var list []resync.Span
	for i := range l.pages {
		p := &l.pages[i]
		p.mu.Lock()
		if p.begun {
			list = append(list, p.first)
		}
		p.mu.Unlock()
	}
	return list
}
