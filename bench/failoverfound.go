package bench

import (
	"github.com/HdrHistogram/hdrhistogram-go"
)

// failoverFound is what the kills of a run have shown.
type failoverFound struct {
	first  *hdrhistogram.Histogram // from a kill to the first record or reply, of each client
	last   *hdrhistogram.Histogram // to that of the client that had to wait longest
	whole  *hdrhistogram.Histogram // to nothing being missing, of each client
	active *hdrhistogram.Histogram // to the other one's word that it is active
	dead   *hdrhistogram.Histogram // to the process being gone
	again  *hdrhistogram.Histogram // from a client having its first to the pair being ready again
	kills  int
	idle   int // kills of one that was not active any more: no part of the figures
	open   int // clients that had a hole still when all had their first record
	kept   float64
	keptMB float64
}

func newFailoverFound() *failoverFound {
	return &failoverFound{
		first: newHistogram(), last: newHistogram(), whole: newHistogram(), active: newHistogram(), dead: newHistogram(), again: newHistogram(),
	}
}

func note(h *hdrhistogram.Histogram, ns int64) { _ = h.RecordValue(min(max(ns, 1), latencyMax)) }

func (f *failoverFound) ready(after int64) { note(f.again, after) }

// kill adds a kill: how long the process took to be gone and the other one to say that
// it is active, with what it had kept; and what the clients saw.
func (f *failoverFound) kill(dead, active int64, turn *memberSaid, seen *failoverSeen) {
	f.kills++
	note(f.dead, dead)
	note(f.active, active)
	f.kept += float64(turn.Kept.Messages)
	f.keptMB += float64(turn.Kept.Bytes) / 1e6
	longest := int64(0)
	for i, ns := range seen.First {
		note(f.first, ns)
		longest = max(longest, ns)
		if i < len(seen.Whole) && seen.Whole[i] == 0 {
			f.open++
		}
	}
	for _, ns := range seen.Whole {
		if ns != 0 {
			note(f.whole, ns)
		}
	}
	note(f.last, longest)
}

func (f *failoverFound) add(tl *tally) {
	n := float64(max(f.kills, 1))
	tl.add("kills", float64(f.kills))
	tl.add("kills_of_passive", float64(f.idle))
	tl.addHist("first", f.first)
	tl.addHist("last_first", f.last)
	tl.addHist("whole", f.whole)
	tl.addHist("active", f.active)
	tl.addHist("dead", f.dead)
	tl.addHist("ready_again", f.again)
	tl.add("with_holes", float64(f.open))
	tl.add("sent_again_messages", f.kept/n)
	tl.add("sent_again_mb", f.keptMB/n)
}
