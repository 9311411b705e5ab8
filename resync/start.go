package resync

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	found, err := h.cfg.Client.Find(ctx, t, clock)
	if err != nil {
		return fmt.Errorf("resync: find where to begin: %w", err)
	}
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

// surveys is how often a server is asked for what it has until the live stream shows
// something of it.
const surveys = 5

// survey asks which epochs there are. What a server names has its place beside what the
// live stream shows only where both have an epoch in common, which takes a moment for
// who has just come: either may be behind the other.
func (h *Healer) survey(ctx context.Context, clock string) ([]Span, error) {
	pause := h.cfg.Backoff
	for n := 1; ; n++ {
		all, err := h.cfg.Client.Find(ctx, wire.NanosMin, clock)
		if err != nil {
			return nil, err
		}
		shown, common := h.common(all)
		if common {
			return all, nil
		}
		if n == surveys {
			if shown {
				h.cfg.Warn(-1, fmt.Errorf("%w: the server that answers does not know the epoch that the stream is in", ErrSince))
			}
			return all, nil
		}
		if err := h.cfg.Client.sleep(ctx, pause); err != nil {
			return nil, err
		}
		pause = min(2*pause, h.cfg.BackoffMax)
	}
}

// common reports whether the live stream has shown anything, and whether every shard's
// has shown an epoch that is among the spans.
func (h *Healer) common(all []Span) (shown, common bool) {
	common = true
	for _, s := range h.shards {
		s.mu.Lock()
		known := false
		for _, e := range s.machine.epochs {
			shown = true
			known = known || slices.ContainsFunc(all, func(k Span) bool { return k.Epoch == e.id })
		}
		s.mu.Unlock()
		common = common && known
	}
	return shown, common
}

// orderOf is the order of all epochs in spans, as the shards' orders say it. Where they
// do not, the lesser number is first: a publisher that is not told otherwise takes the
// time for its epoch.
func orderOf(spans []Span) []wire.Epoch {
	behind := map[wire.Epoch]map[wire.Epoch]bool{} // by epoch, those that come before it
	last := map[int]wire.Epoch{}                   // by shard
	for _, s := range spans {
		if behind[s.Epoch] == nil {
			behind[s.Epoch] = map[wire.Epoch]bool{}
		}
		if before, ok := last[s.Shard]; ok && before != s.Epoch {
			behind[s.Epoch][before] = true
		}
		last[s.Shard] = s.Epoch
	}
	var order []wire.Epoch
	left := slices.Sorted(maps.Keys(behind))
	for len(left) > 0 {
		// Where the shards contradict each other the least is as good as any.
		i := max(slices.IndexFunc(left, func(e wire.Epoch) bool { return len(behind[e]) == 0 }), 0)
		e := left[i]
		left = slices.Delete(left, i, i+1)
		order = append(order, e)
		for _, after := range left {
			delete(behind[after], e)
		}
	}
	return order
}

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
