package tape

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tapedeck/tapedeck/wire"
)

// liveShot is where one shard's records were at one moment.
type liveShot struct {
	parts   []livePart // written; they do not change
	last    livePart   // the part that grows, as it was; no runs where there is none
	pending []BlockInfo
	open    openBlock
}

// shot takes down where a shard's records are. What is open is looked at first: it
// may turn up again behind it, but nothing is missed.
func (l *Live) shot(shard int) (s liveShot) {
	s.open = l.w.shard[shard].look(0, 0, 0)
	c := l.catalog
	c.mu.Lock()
	defer c.mu.Unlock()
	from := &c.shards[shard]
	if n := len(from.parts); n > 0 {
		s.parts, s.last = from.parts[:n-1], from.parts[n-1]
		s.last.runs = append([]seqRun(nil), s.last.runs...)
	}
	for _, j := range from.pending {
		s.pending = append(s.pending, j.sealed.info)
	}
	return s
}

// spans are the sequences of a shot, in stream order.
func (s *liveShot) spans(shard int) (list []SeqSpan) {
	add := func(epoch wire.Epoch, from, to wire.Seq) {
		list = appendSpan(list, SeqSpan{Epoch: epoch, Shard: shard, From: from, To: to})
	}
	for i := range s.parts {
		for _, run := range s.parts[i].runs {
			add(s.parts[i].epoch, run.from, run.to)
		}
	}
	for _, run := range s.last.runs {
		add(s.last.epoch, run.from, run.to)
	}
	for i := range s.pending {
		add(s.pending[i].Epoch, s.pending[i].FirstSeq, s.pending[i].Next())
	}
	if o := &s.open; o.ok {
		// Where it has been sealed meanwhile, it is there already, maybe longer.
		sealed := slices.ContainsFunc(list, func(x SeqSpan) bool {
			return x.Epoch == o.info.Epoch && x.From <= o.info.FirstSeq && o.info.FirstSeq < x.To
		})
		if !sealed {
			add(o.info.Epoch, o.info.FirstSeq, o.info.Next())
		}
	}
	return list
}

// Extents is Tape.Extents for a tape that is being written: what has been appended
// and not been removed.
func (l *Live) Extents() []SeqSpan {
	shards := make([][]SeqSpan, len(l.w.shard))
	for i := range shards {
		s := l.shot(i)
		shards[i] = s.spans(i)
	}
	return byEpoch(shards, l.epochs())
}

// FindSpans is Tape.FindSpans for a tape that is being written.
func (l *Live) FindSpans(ctx context.Context, c Clock, at wire.Nanos) (list []SeqSpan, err error) {
	for shard := range l.w.shard {
		var own []SeqSpan
		for {
			if l.closed.Load() {
				return nil, ErrClosed
			}
			own, err = l.findSpans(ctx, shard, c, at)
			if !errors.Is(err, errRemoved) {
				break // else retention was at work, and there is less to look through now
			}
		}
		if err != nil {
			return nil, err
		}
		list = append(list, own...)
	}
	return list, nil
}

func (l *Live) findSpans(ctx context.Context, shard int, c Clock, at wire.Nanos) ([]SeqSpan, error) {
	s := l.shot(shard)
	info, in, err := l.firstBlock(&s, shard, c, at)
	if errors.Is(err, errRemoved) && !l.removed(in) {
		err = fmt.Errorf("%w: %s", ErrGone, segmentName(in.number))
	}
	if err != nil || info == nil {
		return nil, err
	}
	if c == ClockSend && !info.NoSend {
		return spansFrom(s.spans(shard), info.Epoch, info.FirstSeq), ctx.Err()
	}
	for seq := info.FirstSeq; seq < info.Next(); {
		b, release, err := l.ReadSeq(ctx, info.Epoch, shard, seq, info.Next(), 0)
		if errors.Is(err, ErrGone) && in != nil && l.removed(in) {
			err = errRemoved
		}
		if err != nil {
			return nil, err
		}
		found, ok := firstSince(&b, c, at, true)
		seq = b.Next()
		release()
		if ok {
			return spansFrom(s.spans(shard), info.Epoch, found), nil
		}
	}
	return nil, corrupt(info, "time range differs from the records", nil)
}

// firstBlock returns a shot's first block that has a record at or after a time, or
// nil, and the segment that it is in where it is written.
func (l *Live) firstBlock(s *liveShot, shard int, c Clock, at wire.Nanos) (*BlockInfo, *liveSegment, error) {
	for i := range len(s.parts) + 1 {
		p := &s.last
		if i < len(s.parts) {
			p = &s.parts[i]
		}
		if len(p.runs) == 0 || p.upTo[c] < at {
			continue
		}
		x, run, err := l.run(p.segment, shard, p.epoch)
		if err != nil {
			return nil, p.segment, err
		}
		for _, n := range run {
			if x.span(n-x.first, c).Max >= at {
				info := p.segment.block(&x, n)
				return &info, p.segment, nil
			}
		}
	}
	for i := range s.pending {
		if s.pending[i].span(c).Max >= at {
			return &s.pending[i], nil, nil
		}
	}
	if s.open.ok && s.open.info.span(c).Max >= at {
		return &s.open.info, nil, nil
	}
	return nil, nil, nil
}
