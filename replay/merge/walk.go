package merge

import (
	"slices"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/tape/timeorder"
	"github.com/tapedeck/tapedeck/wire"
)

// walk goes over the records of all tapes in the one order. It holds a block of each
// shard of each tape.
type walk struct {
	source *Source
	cfg    tape.ReadConfig
	ranged bool // cfg leaves something out
	tapes  []head
	order  timeorder.Queue
	place  wire.Ordinal   // of the record on top: the sum of where all tapes stand
	ends   []wire.Ordinal // of each tape, nothing that is wanted lies there or behind it; nil: its span
	live   int            // tapes that are before their end
	counts *counts        // of shared topics; nil where there are none
	topic  int32          // number of the record's topic among these, or -1; once begun
	marked wire.Ordinal   // the latest place that was remembered
	begun  bool           // the record on top has been given out
	err    error
}

// head is a tape's next record.
type head struct {
	walk *replay.TapeWalk
	item replay.Item
	span wire.Ordinal
}

// markEvery is how many places lie between those that a walk remembers, so that play
// which was broken off goes on without a search; more where there is much to remember.
const markEvery = 1 << 13

// reach is how many places behind one that is remembered a walk begins there and goes
// on, instead of searching.
func (s *Source) reach() wire.Ordinal {
	return wire.Ordinal(max(markEvery, len(s.common.topics.first)))
}

// Walk implements replay.Source.
func (s *Source) Walk(cfg tape.ReadConfig, from wire.Ordinal) (replay.Walk, error) {
	w := &walk{source: s, cfg: cfg, ranged: cfg.From != 0 || cfg.To != 0}
	if cfg.From != 0 {
		// Nothing before it is wanted, wherever the walk begins.
		first, err := s.Find(cfg.Clock, cfg.From, 0)
		if err != nil {
			return nil, err
		}
		from = max(from, first)
	}
	if from >= s.span {
		return w, nil
	}
	if cfg.To != 0 {
		w.ends = s.ends(cfg.Clock, cfg.To)
	}
	st, ok := s.common.memory.near(from, s.reach())
	if !ok {
		var err error
		if st, err = s.stands(from); err != nil {
			return nil, err
		}
	}
	if w.err = w.open(&st); w.err != nil {
		_ = w.Close() // returns nil
		return nil, w.err
	}
	for w.err == nil && w.order.Len() > 0 && w.place < from {
		w.look()
		w.step()
	}
	if w.err != nil {
		_ = w.Close() // returns nil
		return nil, w.err
	}
	return w, nil
}

// open goes to where the tapes stand.
func (w *walk) open(st *stand) (err error) {
	if w.counts, err = w.source.countsAt(st); err != nil {
		return err
	}
	w.marked = st.place
	w.tapes = make([]head, len(w.source.tapes))
	for i, t := range w.source.tapes {
		h := &w.tapes[i]
		h.span = t.Span()
		if h.walk, err = t.Records(tape.ReadConfig{}, st.tapes[i]); err != nil {
			return err
		}
		if !h.walk.Next(&h.item) {
			h.item.Place = h.span
			w.place += h.span
			if err := h.walk.Err(); err != nil {
				return err
			}
			continue
		}
		w.place += h.item.Place
		w.order.Add(i, w.time(h))
		if h.item.Place < w.end(i) {
			w.live++
		}
	}
	return nil
}

// end is where nothing more of a tape is wanted.
func (w *walk) end(i int) wire.Ordinal {
	if w.ends == nil {
		return w.tapes[i].span
	}
	return w.ends[i]
}

// time is the time by which a tape's next record is ordered.
func (w *walk) time(h *head) wire.Nanos {
	c := w.source.common.clock
	if c != tape.ClockSend {
		return timeorder.Time(h.item.Record, c, 0)
	}
	return timeorder.Time(h.item.Record, c, h.walk.Block().Send)
}

// look finds out which shared topic the record on top has.
func (w *walk) look() {
	w.topic = -1
	if w.counts != nil {
		w.topic = w.counts.shared.of(w.tapes[w.order.Top()].item.Record.Topic())
	}
}

// step moves on from the record on top, which was looked at.
func (w *walk) step() {
	i := w.order.Top()
	h := &w.tapes[i]
	if w.topic >= 0 {
		w.counts.pass(w.topic, i, h.item.Record)
	}
	before, end := h.item.Place, w.end(i)
	if h.walk.Next(&h.item) {
		w.place += h.item.Place - before
		w.order.Next(w.time(h))
		if before < end && h.item.Place >= end {
			w.live--
		}
		return
	}
	w.place += h.span - before
	h.item.Place = h.span
	w.order.End()
	if before < end {
		w.live--
	}
	w.err = h.walk.Err()
}

// Next implements replay.Walk.
func (w *walk) Next(it *replay.Item) bool {
	for {
		if w.begun {
			w.step()
		}
		w.begun = w.live > 0 && w.err == nil
		if !w.begun {
			return false
		}
		if w.place-w.marked >= w.source.reach() {
			w.remember()
		}
		w.look()
		i := w.order.Top()
		h := &w.tapes[i]
		if w.ranged && !w.wanted(h) {
			continue
		}
		it.Record, it.Place, it.Shard = h.item.Record, w.place, 0
		if w.topic >= 0 {
			it.Record = w.counts.number(w.topic, i, it.Record)
		}
		return true
	}
}

// wanted reports whether a record is in the range. As on one tape, by the send clock
// a block counts as a whole.
func (w *walk) wanted(h *head) bool {
	if w.cfg.Clock == tape.ClockSend {
		if b := &h.walk.Block().Info; !b.NoSend {
			return (w.cfg.From == 0 || b.Send.Max >= w.cfg.From) && (w.cfg.To == 0 || b.Send.Min < w.cfg.To)
		}
	}
	at := timeorder.Time(h.item.Record, w.cfg.Clock, 0)
	return (w.cfg.From == 0 || at >= w.cfg.From) && (w.cfg.To == 0 || at < w.cfg.To)
}

// Prefetch implements replay.Walk.
func (w *walk) Prefetch() {
	for i := range w.tapes {
		if h := &w.tapes[i]; h.item.Place < h.span {
			h.walk.Prefetch()
		}
	}
}

// Err implements replay.Walk.
func (w *walk) Err() error { return w.err }

// Close implements replay.Walk. Where the walk stood is remembered.
func (w *walk) Close() error {
	if w.err == nil && w.tapes != nil && w.order.Len() > 0 {
		w.remember()
	}
	for i := range w.tapes {
		if w.tapes[i].walk != nil {
			_ = w.tapes[i].walk.Close() // returns nil
		}
	}
	w.tapes, w.live, w.begun = nil, 0, false
	return nil
}

// remember keeps where the tapes stand before the record on top.
func (w *walk) remember() {
	w.marked = w.place
	st := stand{place: w.place, tapes: make([]wire.Ordinal, len(w.tapes))}
	for i := range w.tapes {
		st.tapes[i] = w.tapes[i].item.Place
	}
	if w.counts != nil {
		st.counts = slices.Clone(w.counts.each)
	}
	w.source.common.memory.put(st)
}
