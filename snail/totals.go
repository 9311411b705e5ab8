package snail

import "time"

// Totals are how all readers fare together: as many numbers for ten thousand readers
// as for one.
type Totals struct {
	Verdicts    [Gone]int     // readers, by verdict
	Connections int           // theirs
	LagMax      time.Duration // the greatest that a reader reports
	Lost        uint64        // records that they report missing, all together
	Queued      int64         // bytes that wait in their connections' queues
	QueuedMax   int64         // ... of the connection with the most
	StalledMax  time.Duration // how long the one that stands longest has taken nothing, bytes waiting
}

// Readers is how many there are.
func (t *Totals) Readers() int {
	n := 0
	for _, of := range t.Verdicts {
		n += of
	}
	return n
}

// Totals returns how all readers fare together. It neither sorts nor copies, so that
// it holds up nobody for long.
func (r *Registry) Totals() Totals {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := Totals{Connections: len(r.lines)}
	for _, l := range r.lines {
		// A reader is counted with the first of its connections.
		if l.reader.lines[0] == l {
			t.Verdicts[min(l.reader.verdict, Stuck)]++
		}
		t.LagMax = max(t.LagMax, l.lag)
		t.Lost += l.lost
		t.Queued += l.queued
		t.QueuedMax = max(t.QueuedMax, l.queued)
		if l.waiting {
			t.StalledMax = max(t.StalledMax, since(l.moved, l.seen))
		}
	}
	return t
}
