package merge

import (
	"context"
	"slices"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/tape/timeorder"
	"github.com/tapedeck/tapedeck/wire"
)

// lastWalk goes over every topic's last record before a place: tape by tape, in each
// as the tape's own walk goes. A topic that several tapes have comes behind the
// others, with the latest of its records, which is known only once all tapes are
// through.
type lastWalk struct {
	source *Source
	stand  stand
	walks  []*tape.LastWalk // nil where a tape has nothing before the place
	at     int              // the tape at hand; len(walks) behind the last one
	kept   []lastRecord     // of topics that several tapes have
	byName map[string]int   // where in kept
	next   int              // of kept
	record lastRecord       // current
	places map[wire.Ordinal]stand
}

// lastRecord is a record with its place on its tape.
type lastRecord struct {
	rec     wire.Record
	tape    int
	place   wire.Ordinal
	removed bool // retention has removed the place
	key     wire.Nanos
	known   bool   // key is
	topic   int32  // its number among the shared topics; below 0: one tape alone has it
	count   uint32 // how many all tapes have had of the topic, so far as is known
}

// WalkLast implements replay.Source.
func (s *Source) WalkLast(before wire.Ordinal, topics func(topic []byte) bool) (replay.LastWalk, error) {
	st, err := s.stands(min(before, s.span))
	if err != nil {
		return nil, err
	}
	w := &lastWalk{source: s, stand: st, walks: make([]*tape.LastWalk, len(s.tapes)), byName: map[string]int{}}
	for i, t := range s.tapes {
		if t.Span() == 0 {
			continue
		}
		// All of them read ahead from here on.
		if w.walks[i], err = t.Last(st.tapes[i], topics); err != nil {
			w.Close()
			return nil, err
		}
	}
	return w, nil
}

// Next implements replay.LastWalk.
func (w *lastWalk) Next(ctx context.Context) (bool, error) {
	for ; w.at < len(w.walks); w.at++ {
		if w.walks[w.at] == nil {
			continue
		}
		for {
			ok, err := w.walks[w.at].Next(ctx)
			if err != nil {
				return false, err
			}
			if !ok {
				break
			}
			taken, err := w.take()
			if err != nil {
				return false, err
			}
			if taken {
				return true, nil
			}
		}
	}
	if w.next == len(w.kept) {
		return false, nil
	}
	w.record = w.kept[w.next]
	w.next++
	if w.record.topic >= 0 {
		w.record.rec.SetTopicSeq(w.record.count - 1) // it is a copy
	}
	return true, nil
}

// take looks at the current record of the tape at hand and reports whether its turn
// has come: where other tapes have the topic it is kept, if it is the latest so far.
func (w *lastWalk) take() (bool, error) {
	walk, t := w.walks[w.at], w.source.tapes[w.at]
	at, rec := walk.At(), walk.Record()
	r := lastRecord{rec: rec, tape: w.at}
	place, ok := t.Place(at.Epoch, at.Ordinal)
	r.place, r.removed = place, !ok
	shared := w.source.common.topics
	if r.topic = shared.of(rec.Topic()); r.topic < 0 && !shared.others {
		w.record = r
		return true, nil
	}
	if r.topic >= 0 {
		r.count = shared.counted(r.topic, w.at, rec)
	}
	n, known := w.byName[string(rec.Topic())]
	if !known {
		r.rec = slices.Clone(rec)
		w.byName[string(rec.Topic())] = len(w.kept)
		w.kept = append(w.kept, r)
		return false, nil
	}
	r.count += w.kept[n].count
	w.kept[n].count = r.count
	later, err := w.source.later(&r, &w.kept[n])
	if err == nil && later {
		r.rec = append(w.kept[n].rec[:0], rec...)
		w.kept[n] = r
	}
	return false, err
}

// later reports whether a record comes behind one of a tape before its own.
func (s *Source) later(r, before *lastRecord) (bool, error) {
	least, greatest := s.keys(r)
	leastBefore, greatestBefore := s.keys(before)
	switch {
	case least >= greatestBefore:
		return true, nil
	case greatest < leastBefore:
		return false, nil
	}
	for _, x := range []*lastRecord{r, before} {
		if err := s.findKey(x); err != nil {
			return false, err
		}
	}
	return r.key >= before.key, nil
}

// keys returns the least and the greatest that a record's key can be.
func (s *Source) keys(r *lastRecord) (least, greatest wire.Nanos) {
	switch {
	case r.known:
		return r.key, r.key
	case r.removed: // what came before it is not there any more
		at := timeorder.Time(r.rec, s.common.clock, 0)
		return at, at
	}
	return s.common.indexes[r.tape].keys(r.place, nil)
}

func (s *Source) findKey(r *lastRecord) (err error) {
	switch {
	case r.known:
		return nil
	case r.removed:
		r.key = timeorder.Time(r.rec, s.common.clock, 0)
	default:
		r.key, err = s.keyAt(r.tape, r.place)
	}
	r.known = err == nil
	return err
}

// Ready implements replay.LastWalk.
func (w *lastWalk) Ready() bool {
	return w.at == len(w.walks) || w.walks[w.at] != nil && w.walks[w.at].Ready()
}

// Record implements replay.LastWalk.
func (w *lastWalk) Record() wire.Record { return w.record.rec }

// Shard implements replay.LastWalk.
func (*lastWalk) Shard() int { return 0 }

// Before implements replay.LastWalk.
func (w *lastWalk) Before(place wire.Ordinal) (bool, error) {
	if w.record.removed {
		return true, nil
	}
	st, ok := w.places[place]
	if !ok {
		var err error
		if st, err = w.source.stands(place); err != nil {
			return false, err
		}
		if w.places == nil {
			w.places = map[wire.Ordinal]stand{}
		}
		w.places[place] = st
	}
	return w.record.place < st.tapes[w.record.tape], nil
}

// Close implements replay.LastWalk.
func (w *lastWalk) Close() {
	for _, walk := range w.walks {
		if walk != nil {
			walk.Close()
		}
	}
	w.walks, w.at, w.kept, w.next = nil, 0, nil, 0
}
