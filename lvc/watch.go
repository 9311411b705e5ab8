package lvc

import (
	"maps"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/wire"
)

// subscribed implements owner: every subscription is answered.
func (p *Proxy) subscribed(r *reader, prefix string) bool {
	p.stats.Subscriptions++
	p.tap.event(Subscribed, r, prefix)
	if p.hub.ring != nil {
		return false // Activate answers
	}
	return p.answerLocked(r, true, prefix)
}

// unsubscribed implements owner.
func (p *Proxy) unsubscribed(r *reader, prefix string) { p.tap.event(Unsubscribed, r, prefix) }

// joined implements owner.
func (p *Proxy) joined(r *reader) {
	p.registry.Join(p.cfg.Now(), wire.ReaderID{}, "", 0, r.peer)
	p.tap.event(Joined, r, "")
}

// parted implements owner.
func (p *Proxy) parted(r *reader) {
	if s, ok := p.registry.LeavePeer(p.cfg.Now(), 0, r.peer); ok {
		p.squawks = append(p.squawks, s)
	}
	p.tap.event(Parted, r, "")
}

// said implements owner: a reader says who it is, or how it fares.
func (p *Proxy) said(r *reader, frame []byte) {
	if p.heardVoteLocked(string(frame[1:])) {
		return
	}
	p.tap.event(Said, r, string(frame[1:]))
	now := p.cfg.Now()
	switch sig, id, name := wire.ParseReaderSignal(frame); sig {
	case wire.SignalReady:
		p.registry.Join(now, id, name, 0, r.peer)
	case wire.SignalReport:
		_, report, _ := wire.ParseReaderReport(frame)
		v, err := snail.ParseVerdict(report.Verdict)
		if err != nil {
			p.hub.counts.foreign++
			return
		}
		if s, ok := p.registry.Report(now, id, 0, report.Lag, report.Lost, v); ok {
			p.squawks = append(p.squawks, s)
		}
	case wire.SignalNone:
		p.hub.counts.foreign++
	}
}

// recover implements owner: a reader that had lost records gets the last values of
// all that it has subscribed to, as one answer.
func (p *Proxy) recover(r *reader) {
	prefixes := slices.Sorted(maps.Keys(r.subscriptions))
	if len(prefixes) > 0 && p.hub.ring == nil {
		p.answerLocked(r, false, prefixes...)
	}
}

// watchReaders looks at every reader's queue, here and in the kernel, and tells
// whoever wants to know what became of them.
func (p *Proxy) watchReaders() {
	p.hub.mu.Lock()
	list := p.watched[:0]
	for r := range p.hub.readers {
		list = append(list, r)
	}
	p.hub.mu.Unlock()
	var squawks []snail.Squawk
	now := p.cfg.Now()
	for _, r := range list {
		waiting, taken := r.backlog()
		if s, ok := p.registry.Observe(now, 0, r.peer, waiting, taken); ok {
			squawks = append(squawks, s)
		}
		if s, ok := r.losses(now, waiting); ok {
			squawks = append(squawks, s)
		}
	}
	clear(list)
	p.watched = list
	p.hub.mu.Lock()
	squawks = append(squawks, p.squawks...)
	p.squawks = p.squawks[:0]
	slices.SortStableFunc(squawks, func(a, b snail.Squawk) int { return strings.Compare(a.Peer, b.Peer) })
	for i := 0; i < len(squawks) && p.hub.ring == nil; i++ {
		p.publishNoticeLocked(wire.SquawkTopic, squawks[i].AppendJSON(nil))
	}
	p.stats.Squawks += uint64(len(squawks))
	p.hub.mu.Unlock()
	for _, s := range squawks {
		p.cfg.Squawk(s)
	}
}

// losses squawks when records were dropped for a reader, and when it has caught up.
func (r *reader) losses(now wire.Nanos, waiting int64) (snail.Squawk, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	dropped := r.dropped.Load()
	s := snail.Squawk{Time: now, Peer: r.peer, Cause: snail.CauseLost, Lost: dropped, QueuedBytes: waiting}
	switch {
	case r.behind && !r.told && dropped > 0:
		r.told, s.Verdict, s.Before = true, snail.Snail, snail.OK
	case !r.behind && r.told:
		r.told, s.Verdict, s.Before = false, snail.OK, snail.Snail
	default:
		return s, false
	}
	return s, true
}
