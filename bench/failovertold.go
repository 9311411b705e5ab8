package bench

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/wire"
)

// told is what the proxies of a pair have told a reader that it will not get.
type told struct {
	gaps      []span // records that never came to a proxy
	takeovers []takeover
}

// takeover is what a proxy has said as it became active.
type takeover struct {
	epoch  uint64   // of the pair
	begins wire.Seq // what it sends
	top    wire.Seq // behind what the reader had of the stream when it heard that
	behind int      // readers that lack more
	open   bool     // it may lack something for others, too
}

// notice takes a notice of a proxy's, on an operator topic, when the reader had records
// before top.
func (t *told) notice(topic, body []byte, top wire.Seq) error {
	switch string(topic) {
	case lvc.GapTopic:
		var n lvc.GapNotice
		if err := json.Unmarshal(body, &n); err != nil {
			return err
		}
		t.gaps = append(t.gaps, span{n.From, n.To})
	case pairNotices:
		var n lvc.PairNotice
		if err := json.Unmarshal(body, &n); err != nil {
			return err
		}
		if n.State != stateActive || len(n.Positions) == 0 {
			return nil
		}
		t.takeovers = append(t.takeovers, takeover{
			epoch: n.Epoch, begins: n.Positions[0].Next, top: top, behind: n.Behind, open: n.Missing > 0 || n.ReachNS == 0,
		})
	}
	return nil
}

// failoverLoss is of what records were lost, what a reader knows from whom.
type failoverLoss struct {
	Missing    uint64      // all
	Tail       uint64      // behind the last that came
	Incomplete uint64      // the proxies said that these never came to them
	Takeovers  []takenLoss // by the pair's epoch
	Holes      string      // where they lie
}

// takenLoss is what one or more readers lack at a takeover.
type takenLoss struct {
	takeover
	readers int
	records uint64
}

// loss looks at the holes in what a reader has had of the sequences before sent.
func (t *told) loss(have *once, sent wire.Seq) (l failoverLoss) {
	for i, hole := range have.holes(sent) {
		l.Missing += uint64(hole.to - hole.from)
		if hole.to == sent {
			l.Tail = uint64(hole.to - hole.from)
		}
		if i < holesShown {
			l.Holes = strings.TrimLeft(fmt.Sprintf("%s, [%d, %d)", l.Holes, hole.from, hole.to), ", ")
		}
		for _, rest := range t.never(hole, &l.Incomplete) {
			for i := range t.takeovers {
				k := &t.takeovers[i]
				// What had its end before the takeover was lost before.
				if to := min(rest.to, k.begins); rest.to > k.top && rest.from < to {
					l.Takeovers = append(l.Takeovers, takenLoss{*k, 1, uint64(to - rest.from)})
					break
				}
			}
		}
	}
	return l
}

// holesShown is how many holes of a reader are shown to people.
const holesShown = 4

// never counts what of a hole never came to a proxy, and returns the rest of it.
func (t *told) never(hole span, count *uint64) []span {
	rest := []span{hole}
	for _, g := range t.gaps {
		var left []span
		for _, s := range rest {
			from, to := max(s.from, g.from), min(s.to, g.to)
			if from >= to {
				left = append(left, s)
				continue
			}
			*count += uint64(to - from)
			if s.from < from {
				left = append(left, span{s.from, from})
			}
			if to < s.to {
				left = append(left, span{to, s.to})
			}
		}
		rest = left
	}
	return rest
}

// holes returns the sequences before end that have not come.
func (o *once) holes(end wire.Seq) (list []span) {
	next := o.next
	for _, s := range o.ahead {
		if s.from >= end {
			break
		}
		list = append(list, span{next, s.from})
		next = s.to
	}
	if next < end {
		list = append(list, span{next, end})
	}
	return list
}

// top is behind the last sequence that has come.
func (o *once) top() wire.Seq {
	if n := len(o.ahead); n > 0 {
		return o.ahead[n-1].to
	}
	return o.next
}

// toldOf adds up what readers lack, and how much of that they were told. What a takeover
// costs more readers than it said, it told nobody.
func toldOf(all []failoverLoss) (t failoverTally) {
	var taken []takenLoss
	for i := range all {
		l := &all[i]
		t.Missing += l.Missing
		t.Tail += l.Tail
		t.Incomplete += l.Incomplete
		t.Holes = cmp.Or(t.Holes, l.Holes)
		for _, k := range l.Takeovers {
			at := slices.IndexFunc(taken, func(o takenLoss) bool { return o.epoch == k.epoch })
			if at < 0 {
				taken = append(taken, k)
				continue
			}
			taken[at].readers++
			taken[at].records += k.records
		}
	}
	var lines []string
	for i := range taken {
		k := &taken[i]
		if k.open || k.readers <= k.behind {
			t.AtTakeover += k.records
		}
		lines = append(lines, fmt.Sprintf("%d of %d readers in epoch %d, sent from %d on, when %d were behind", k.records, k.readers, k.epoch, k.begins, k.behind))
	}
	t.Takeovers = strings.Join(lines, "; ")
	return t
}
