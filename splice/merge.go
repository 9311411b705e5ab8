package splice

import (
	"context"
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// MergeConfig says how tapes are merged.
type MergeConfig struct {
	// Tape says how the new tape is written. A zero Codec is the default, zero
	// Shards the most that one of the tapes has. Encodings, Sources, Temporary
	// and SyncInterval are set by Merge.
	Tape tape.Config
	// Clock is the time to merge by. By the send clock a record has that of its
	// block, or its receive time where none is known.
	Clock tape.Clock
	// Epoch is that of the new tape; 0 means one made from the time.
	Epoch wire.Epoch
	// Progress, if not nil, is kept up to date.
	Progress *Progress
}

// MergeReport is what went into a merged tape.
type MergeReport struct {
	Report
	Back      uint64   // records earlier than one before them on their own tape
	Shared    int      // topics that several tapes have, numbered anew
	Renamed   []string // marks whose name was taken, by their new names
	Ambiguous int      // topics whose bodies more than one encoding may fit
}

// ErrNoTapes: there is nothing to merge.
var ErrNoTapes = errors.New("splice: no tapes to merge")

// Merge writes the records of all tapes to a new one in dir, in the order of
// their times. It holds a block of each shard of each tape at a time, and the
// topics.
//
// Each tape keeps its own order, also where its times go back: a record's key is
// the greatest time up to it on its tape. Among equal keys the tapes come in the
// order given. The records get new places, without send times, since nobody sent
// them in this order. They keep their bytes, except that a topic which several
// tapes have is numbered anew from 0 in merged order.
//
// An error leaves nothing behind. It is a *tape.CorruptError where a tape is
// damaged.
func Merge(ctx context.Context, in []*tape.Tape, dir string, cfg MergeConfig) (MergeReport, error) {
	m := merger{ctx: ctx, in: in, cfg: cfg}
	if err := m.prepare(); err != nil {
		return m.report, err
	}
	places, err := newNumbering(m.cfg.Tape.Shards, cfg.Epoch)
	if err != nil {
		return m.report, err
	}
	if m.out, err = create(dir, m.cfg.Tape); err != nil {
		return m.report, err
	}
	defer func() { _ = m.out.Abort() }() // nothing after a good Close
	if err = m.run(places); err == nil {
		err = m.marks()
	}
	if err == nil {
		err = m.out.Close()
	}
	return m.report, err
}

type merger struct {
	ctx    context.Context
	in     []*tape.Tape
	out    *tape.Writer
	cfg    MergeConfig
	shared map[string]*uint32 // next topic sequence of topics that several tapes have
	report MergeReport
}

// prepare finds out what the tapes have in common.
func (m *merger) prepare() error {
	if len(m.in) == 0 {
		return ErrNoTapes
	}
	all, err := Describe(m.in)
	if err != nil {
		return err
	}
	m.shared = make(map[string]*uint32, len(all.Shared))
	for _, topic := range all.Shared {
		m.shared[topic] = new(uint32)
	}
	if m.cfg.Tape.Shards == 0 {
		m.cfg.Tape.Shards = all.Shards
	}
	m.report.Shared, m.report.Ambiguous = len(m.shared), all.Ambiguous
	m.cfg.Tape.Encodings, m.cfg.Tape.Sources = all.Encodings, all.Sources
	m.cfg.Progress.begin(all.Records)
	return nil
}

// run merges.
func (m *merger) run(places *numbering) error {
	q := queue{clock: m.cfg.Clock}
	defer q.close()
	for _, t := range m.in {
		if err := q.add(t); err != nil {
			return err
		}
	}
	for n := uint64(1); ; n++ {
		rec, ok := q.record()
		if !ok {
			break
		}
		if n%checkEvery == 0 {
			if err := interrupted(m.ctx); err != nil {
				return err
			}
			m.cfg.Progress.add(checkEvery)
		}
		if err := m.append(places, rec); err != nil {
			return err
		}
		if err := q.next(); err != nil {
			return err
		}
	}
	m.report.Back = q.order.Back()
	return nil
}

// append stores a record at the next place.
func (m *merger) append(places *numbering, rec wire.Record) error {
	m.report.Records++
	at := places.place(rec.Topic(), 0)
	if len(m.shared) > 0 {
		if next := m.shared[string(rec.Topic())]; next != nil {
			f := rec.Fields()
			f.TopicSeq = *next
			*next++
			return m.out.AppendFields(at, &f)
		}
	}
	return m.out.Append(at, rec)
}

// marks carries over the marks of all tapes. Their records have new places, so
// they keep their times alone; a name that is taken gets a number.
func (m *merger) marks() error {
	var list []tape.Mark
	taken := map[string]tape.Mark{}
	for _, t := range m.in {
		marks, err := t.Marks()
		if err != nil {
			return err
		}
		for _, mark := range marks {
			mark.At = nil
			name := mark.Name
			for n := 2; ; n++ {
				other, found := taken[mark.Name]
				if !found {
					break
				}
				if other == mark {
					mark.Name = "" // the same mark on both
					break
				}
				mark.Name = numbered(name, n)
			}
			if mark.Name == "" {
				continue
			}
			if mark.Name != name {
				m.report.Renamed = append(m.report.Renamed, mark.Name)
			}
			taken[mark.Name] = mark
			list = append(list, mark)
		}
	}
	m.report.Marks = len(list)
	return m.out.SetMarks(list)
}

// numbered returns the name with a number, short enough for a mark.
func numbered(name string, n int) string {
	end := fmt.Sprintf("-%d", n)
	for len(name)+len(end) > tape.MarkNameMax {
		runes := []rune(name)
		name = string(runes[:len(runes)-1])
	}
	return name + end
}
