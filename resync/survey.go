package resync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tapedeck/tapedeck/wire"
)

// surveys is how often the servers are asked for what they have until the live stream
// shows something of it.
const surveys = 5

// survey asks which epochs there are. What servers name has its place beside what the
// live stream shows only where both have an epoch in common, which takes a moment for
// who has just come: either may be behind the other.
func (h *Healer) survey(ctx context.Context, clock string) ([]Span, error) {
	pause := h.cfg.Backoff
	for n := 1; ; n++ {
		lists, err := h.cfg.Client.findAll(ctx, wire.NanosMin, clock)
		if err != nil {
			return nil, err
		}
		all := merge(lists, h.shows)
		shown, common := h.common(all)
		if common {
			return all, nil
		}
		if n == surveys {
			if shown {
				h.cfg.Warn(-1, fmt.Errorf("%w: no server that answers knows the epoch that the stream is in", ErrSince))
			}
			return all, nil
		}
		if err := h.cfg.Client.sleep(ctx, pause); err != nil {
			return nil, err
		}
		pause = min(2*pause, h.cfg.BackoffMax)
	}
}

// shows reports whether the live stream has shown an epoch.
func (h *Healer) shows(epoch wire.Epoch) bool {
	return slices.ContainsFunc(h.shards, func(s *mender) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.machine.find(epoch) != nil
	})
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

// findAll asks every server which spans hold the records from a time on, all at once, and
// returns what those say that answer, in the order of the servers. Where none does it
// asks again, with growing pauses, and in the end returns the last error.
func (c *Client) findAll(ctx context.Context, t wire.Nanos, clock string) ([][]Span, error) {
	pause := c.cfg.Backoff
	var last error
	for round := range c.cfg.Attempts {
		if round > 0 {
			if err := c.sleep(ctx, pause); err != nil {
				return nil, errors.Join(err, last)
			}
			pause = min(2*pause, c.cfg.BackoffMax)
		}
		var (
			lists   [][]Span
			streams = make([]*stream, len(c.servers))
			rested  = func(i int) bool { return !(choice{c}).Resting(i, c.since()) }
			all     = !slices.ContainsFunc(c.indexes(), rested)
		)
		for _, i := range c.indexes() {
			if all || rested(i) {
				c.survey(i, 1)
				defer c.survey(i, -1)
				streams[i] = c.beginFind(i, t, clock)
				defer streams[i].close()
			}
		}
		for i, s := range streams {
			if s == nil {
				continue
			}
			spans, err := s.spans(ctx)
			c.ended(i, err)
			switch {
			case err == nil:
				lists = append(lists, spans)
			case ctx.Err() != nil || errors.Is(err, ErrClosed):
				return nil, err
			default:
				last = err
			}
		}
		if len(lists) > 0 {
			return lists, nil
		}
	}
	return nil, last
}

// survey says that one more find, or one less, wants a server's answer: where to begin is
// worth the wait until it is taken for gone.
func (c *Client) survey(server, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.servers[server].surveyed += n
}

// indexes are those of the servers.
func (c *Client) indexes() []int {
	list := make([]int, len(c.servers))
	for i := range list {
		list[i] = i
	}
	return list
}

// beginFind sends a find to a server.
func (c *Client) beginFind(server int, t wire.Nanos, clock string) *stream {
	return c.begin(server, CommandSpans, func(id RequestID) ([][]byte, error) {
		b, err := AppendFind(nil, &FindRequest{ID: id, Time: t, Clock: clock, Deadline: c.cfg.Deadline})
		return [][]byte{b}, err
	})
}

// spans waits for the answer to a find.
func (s *stream) spans(ctx context.Context) ([]Span, error) {
	st, err := s.await(ctx)
	switch {
	case err != nil:
		return nil, err
	case st != something:
		return nil, s.err
	}
	_, spans, err := ParseSpans(s.current.Frame(0), s.current.Frame(1))
	return spans, err
}

// merge puts together what several servers have of a stream, by the stream's order of
// epochs. They need not have the same; but a list that has no epoch in common with the
// stream, nor with a list that has, is of another stream and left out. Where the stream
// shows none of it, the first list that has anything counts as of the stream.
func merge(lists [][]Span, shows func(wire.Epoch) bool) []Span {
	known := map[wire.Epoch]bool{}
	var of, left [][]Span
	take := func(common func(s Span) bool) bool {
		n := len(of)
		left = slices.DeleteFunc(left, func(list []Span) bool {
			if !slices.ContainsFunc(list, common) {
				return false
			}
			of = append(of, list)
			return true
		})
		for _, list := range of[n:] {
			for _, s := range list {
				known[s.Epoch] = true
			}
		}
		return len(of) > n
	}
	left = slices.DeleteFunc(slices.Clone(lists), func(list []Span) bool { return len(list) == 0 })
	if !take(func(s Span) bool { return shows(s.Epoch) }) && len(left) > 0 {
		first := left[0][0]
		take(func(s Span) bool { return s.Epoch == first.Epoch })
	}
	for take(func(s Span) bool { return known[s.Epoch] }) {
	}
	if len(of) == 1 {
		return of[0]
	}
	order := map[wire.Epoch]int{}
	for i, e := range orderOf(of...) {
		order[e] = i
	}
	all := slices.Concat(of...)
	slices.SortFunc(all, func(a, b Span) int {
		return cmp.Or(cmp.Compare(order[a.Epoch], order[b.Epoch]), cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.From, b.From))
	})
	var merged []Span
	for _, s := range all {
		if n := len(merged) - 1; n >= 0 && merged[n].Epoch == s.Epoch && merged[n].Shard == s.Shard && s.From <= merged[n].To {
			merged[n].To = max(merged[n].To, s.To)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// orderOf is the order of all epochs in lists of spans, as the shards' orders in each say
// it. Where they do not, the lesser number is first: a publisher that is not told
// otherwise takes the time for its epoch.
func orderOf(lists ...[]Span) []wire.Epoch {
	behind := map[wire.Epoch]map[wire.Epoch]bool{} // by epoch, those that come before it
	for _, spans := range lists {
		last := map[int]wire.Epoch{} // by shard
		for _, s := range spans {
			if behind[s.Epoch] == nil {
				behind[s.Epoch] = map[wire.Epoch]bool{}
			}
			if before, ok := last[s.Shard]; ok && before != s.Epoch {
				behind[s.Epoch][before] = true
			}
			last[s.Shard] = s.Epoch
		}
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
