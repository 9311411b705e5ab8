package resync

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tapedeck/tapedeck/wire"
)

// open finds out where to begin, and lets every shard do so. Until then the shards
// hold what comes live.
func (h *Healer) open(ctx context.Context) error {
	st := &h.cfg.Start
	switch {
	case st.Clock != "":
		return h.openAt(ctx, st.From, st.Clock)
	case len(st.Positions) > 0:
		return h.openBehind(ctx)
	}
	return nil
}

// openAt begins with the records from a time on. Where nobody knows where they
// are, that is an error: to begin elsewhere is not what was asked for.
func (h *Healer) openAt(ctx context.Context, t wire.Nanos, clock string) error {
	all, err := h.survey(ctx, clock)
	if err != nil {
		return fmt.Errorf("resync: find where to begin: %w", err)
	}
	lists, err := h.cfg.Client.findAll(ctx, t, clock)
	if err != nil {
		return fmt.Errorf("resync: find where to begin: %w", err)
	}
	found := merge(lists, func(e wire.Epoch) bool { return slices.ContainsFunc(all, func(s Span) bool { return s.Epoch == e }) })
	for _, s := range h.shards {
		starts, known := startsOf(found, s.number), startsOf(all, s.number)
		for i := 1; i < len(starts); i++ {
			// Of a later epoch nothing is older than the time but what the server
			// has of it and did not name: what it never had is missing.
			if slices.Contains(known, starts[i]) {
				starts[i].from = 0
			}
		}
		if len(starts) == 0 && len(known) > 0 {
			// Nothing from that time on yet: what comes next is.
			last := lastOf(all, s.number)
			starts = []start{{epoch: last.Epoch, from: last.To}}
		}
		s.open(starts, before(known, starts))
	}
	return nil
}

// openBehind goes on at positions: what is left of their epochs, the epochs that
// came since, then the live stream. Where no server says which came since, those
// are the epochs that the live stream shows.
func (h *Healer) openBehind(ctx context.Context) error {
	var all []Span
	if h.cfg.Client != nil {
		var err error
		if all, err = h.survey(ctx, Clocks()[0]); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			h.cfg.Warn(-1, fmt.Errorf("%w: %w", ErrSince, err))
		}
	}
	at, order := make(map[int]Span), orderOf(all)
	for _, p := range h.cfg.Start.Positions {
		at[p.Shard] = p
	}
	for _, s := range h.shards {
		p, ok := at[s.number]
		if !ok {
			s.open(nil, nil)
			continue
		}
		starts := []start{{epoch: p.Epoch, from: p.To}}
		place := slices.Index(order, p.Epoch)
		var older []wire.Epoch
		for _, k := range startsOf(all, s.number) {
			switch there := slices.Index(order, k.epoch); {
			case place < 0 || there == place:
			case there < place:
				older = append(older, k.epoch)
			default:
				// Recorded from somewhere on or not, it was missed from its beginning on.
				starts = append(starts, start{epoch: k.epoch})
			}
		}
		if place < 0 && len(all) > 0 {
			h.cfg.Warn(s.number, fmt.Errorf("%w: it goes on at epoch %d, which no server knows", ErrSince, p.Epoch))
		}
		s.open(starts, older)
	}
	return nil
}

// ErrSince: a reader that goes on where it was before cannot find out which epochs came
// since. It goes on with what the live stream shows.
var ErrSince = errors.New("resync: which epochs came since the positions is not known")

// startsOf are the beginnings of the epochs of a shard, in order. An epoch with a
// hole is one epoch.
func startsOf(spans []Span, shard int) []start {
	var list []start
	for _, s := range spans {
		if s.Shard == shard && (len(list) == 0 || list[len(list)-1].epoch != s.Epoch) {
			list = append(list, start{epoch: s.Epoch, from: s.From})
		}
	}
	return list
}

func lastOf(spans []Span, shard int) Span {
	var last Span
	for _, s := range spans {
		if s.Shard == shard {
			last = s
		}
	}
	return last
}

// before are the epochs that are known and came before the first start.
func before(known, starts []start) []wire.Epoch {
	var list []wire.Epoch
	for _, k := range known {
		if len(starts) == 0 || k.epoch == starts[0].epoch {
			return list
		}
		list = append(list, k.epoch)
	}
	return nil // the start is not among them: what is older is not known
}

func (s *mender) open(starts []start, older []wire.Epoch) {
	s.mu.Lock()
	s.machine.open(starts, older)
	for _, k := range s.sessions {
		if p := k.about.Start; p != nil { // which counted for nothing while nobody knew where to begin
			s.machine.start(k.epoch, p)
		}
	}
	s.mu.Unlock()
	s.wake()
}
