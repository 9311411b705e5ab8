package resync

import (
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// action is what a machine wants done. Its caller does it before it calls next
// again.
type action struct {
	do       doing
	epoch    wire.Epoch // doBegin, doEnd, doBroken
	complete bool       // doEnd
	hold     *holding   // doDeliver: to be delivered, less its first skip records
	skip     uint32
	span     Span   // doLost, doRequest, doBroken
	reason   Reason // doLost
	id       uint64 // doRequest, doCancel
	server   int    // doRequest
}

type doing uint8

const (
	doNothing doing = iota // until the next event, or until wake
	doBegin                // an epoch begins
	doDeliver              // what was held
	doRequest
	doCancel
	doLost   // a span is given up
	doEnd    // an epoch has ended, and its end mark has come
	doBroken // an epoch was followed by another, and nobody knows whether this is all
)

// next returns what is to be done next. It is called until there is nothing to do,
// after every event, and when the time is wake.
func (m *machine) next(now time.Duration) action {
	if m.out != nil {
		m.release(m.out)
		m.out = nil
	}
	for len(m.epochs) > 0 && !m.opening {
		e := m.epochs[0]
		if !e.begun {
			e.begun = true
			m.count.Epochs++
			return action{do: doBegin, epoch: e.id}
		}
		if len(m.epochs) > 1 {
			m.reach(e, m.epochs[1])
		}
		if a := m.deliverHeld(e); a.do != doNothing {
			return a
		}
		m.closeGap(now, e)
		if m.ask.id != 0 && (m.ask.epoch != e.id || m.ask.to != Open && e.next >= m.ask.to && !m.ending(now, e)) {
			return m.cancel()
		}
		if m.crowded() {
			if a := m.abandon(e); a.do != doNothing {
				return a
			}
		}
		if to, first, ok := m.missing(e); ok {
			if a := m.pursue(now, e, to, first); a.do != doNothing || !e.ended || e.next < e.end {
				return a
			}
			continue // the end turned out to be unknown
		}
		if m.ask.id != 0 {
			if m.ending(now, e) {
				return action{} // only the proof is missing
			}
			return m.cancel()
		}
		m.gap.open = false
		if a := m.close(e); a.do != doNothing {
			return a
		}
		if len(m.epochs) == 1 {
			break
		}
		m.leave(e.id)
		m.takeUp(m.epochs[1], e)
		m.epochs[0] = nil
		m.epochs = m.epochs[1:]
	}
	return action{}
}

// ending reports whether a request has brought all that it was to bring, so that
// nothing but its end is to come, and what that says of its digest.
func (m *machine) ending(now time.Duration, e *epoch) bool {
	all := m.ask.to
	if all == Open && e.ended {
		all = e.end
	}
	return m.ask.got >= all && !m.ask.unwanted && now < m.ask.deadline
}

// cancel ends the request that runs.
func (m *machine) cancel() action {
	id := m.ask.id
	m.ask = ask{}
	return action{do: doCancel, id: id}
}

// deliverHeld returns the first held batch if nothing is missing before it.
func (m *machine) deliverHeld(e *epoch) action {
	for len(e.held) > 0 && e.held[0].batch.FirstSeq <= e.next {
		h := e.held.shift()
		if h.batch.Next() <= e.next {
			m.count.Repeated += uint64(h.batch.Count)
			m.drop(h)
			continue
		}
		m.held -= h.size
		skip := uint32(e.next - h.batch.FirstSeq)
		m.delivered(e, &h.batch, skip, h.refill, h.server)
		m.out = h
		return action{do: doDeliver, hold: h, skip: skip}
	}
	return action{}
}

// close returns what is to be told about the end of an epoch that has been
// delivered as far as it goes.
func (m *machine) close(e *epoch) action {
	if e.told || !e.ended {
		return action{}
	}
	switch {
	case e.marked:
		e.told = true
		return action{do: doEnd, epoch: e.id, complete: e.whole && !e.early && e.next == e.end}
	case e.broken:
		e.told = true
		m.count.Broken++
		return action{do: doBroken, epoch: e.id, span: m.span(e, e.next, Open)}
	}
	return action{}
}

// crowded reports whether the live stream has begun more epochs than may wait.
func (m *machine) crowded() bool {
	if len(m.epochs) <= liveMax {
		return false
	}
	n := 0
	for _, e := range m.epochs {
		if e.live {
			n++
		}
	}
	return n > liveMax
}

// abandon gives up whatever the front epoch misses.
func (m *machine) abandon(e *epoch) action {
	if _, first, ok := m.missing(e); ok {
		return m.giveUp(e, first, ReasonFailed)
	}
	return action{}
}

// wake is when next must be called though nothing has happened; ok is false if it
// need not be.
func (m *machine) wake() (at time.Duration, ok bool) {
	switch {
	case m.opening || len(m.epochs) == 0:
		return 0, false
	case m.ask.id != 0:
		return m.ask.deadline, true
	case m.gap.open:
		return m.gap.retryAt, true
	}
	return 0, false
}

// idle reports whether next has nothing to do: no gap, nothing held, no end to
// tell.
func (m *machine) idle() bool {
	if m.opening || len(m.epochs) > 1 || m.out != nil || m.ask.id != 0 {
		return false
	}
	if len(m.epochs) == 0 {
		return true
	}
	e := m.epochs[0]
	return e.begun && len(e.held) == 0 && e.top <= e.next && !m.gap.open && (!e.ended || e.told || !e.marked && !e.broken)
}
