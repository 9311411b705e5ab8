package sim

import (
	"container/heap"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// World is one simulated run. It belongs to one goroutine.
type World struct {
	seed   uint64
	rng    *rand.Rand
	now    time.Duration
	queue  queue
	made   uint64 // events so far
	events uint64 // events that happened
	trace  io.Writer
	bug    bug // noBug but in tests of properties

	processes []*Process
	bound     map[string]*port // by endpoint
	ways      map[[2]*Process]*link
	conns     []*conn
	listening map[string]*listener // by endpoint
	streams   []*stream            // one end of each
	named     int                  // connections that were given a name
	running   *thread              // at the moment; nil: an event
	failed    *violated
	busy      int // slices of threads since time has moved
}

const (
	// eventsMax is how many events a run may take: more means that something goes
	// round in circles.
	eventsMax = 5_000_000
	// busyMax is how many slices of threads there may be without time going on.
	busyMax = 100_000
)

// newWorld returns a world at time 0. What happens is written to trace, a line each,
// unless that is nil.
func newWorld(seed uint64, scenario string, trace io.Writer) *World {
	stream := uint64(0)
	for _, c := range scenario {
		stream = stream*31 + uint64(c)
	}
	return &World{seed: seed, rng: rand.New(rand.NewPCG(seed, stream)), trace: trace,
		bound: map[string]*port{}, listening: map[string]*listener{}, ways: map[[2]*Process]*link{}}
}

// event is something that happens. Events of one time happen in the order in which
// they were made.
type event struct {
	at time.Duration
	n  uint64
	do func()
}

type queue []event

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].n < q[j].n
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return e
}

// Now is the true time, since the world's beginning.
func (w *World) Now() time.Duration { return w.now }

// After makes do happen when d has passed.
func (w *World) After(d time.Duration, do func()) {
	w.made++
	heap.Push(&w.queue, event{w.now + max(d, 0), w.made, do})
}

// Every makes do happen again and again, after pauses that pause gives, until it
// returns false.
func (w *World) Every(pause func() time.Duration, do func() bool) {
	w.After(pause(), func() {
		if do() {
			w.Every(pause, do)
		}
	})
}

// Run lets the world go on for d.
func (w *World) Run(d time.Duration) {
	for end := w.now + d; ; {
		if len(w.queue) == 0 || w.queue[0].at > end {
			w.now = end
			return
		}
		e := heap.Pop(&w.queue).(event)
		if e.at > w.now {
			w.now, w.busy = e.at, 0
		}
		if w.events++; w.events > eventsMax {
			w.Fail("after %d events there is no end of it", w.events)
		}
		e.do()
	}
}

// RunUntil lets the world go on until what is asked for holds, and reports whether it
// did within d. It is looked at now and every step.
func (w *World) RunUntil(d, step time.Duration, holds func() bool) bool {
	for end := w.now + d; !holds(); {
		if w.now >= end {
			return false
		}
		w.Run(min(step, end-w.now))
	}
	return true
}

// Violation is a property that did not hold.
type Violation struct {
	Scenario string
	Seed     uint64
	At       time.Duration // since the beginning of the world
	What     string
}

// Error implements error.
func (v *Violation) Error() string {
	return fmt.Sprintf("sim: %s, seed %d, at %v: %s", v.Scenario, v.Seed, v.At, v.What)
}

// violated ends a run from wherever it is.
type violated struct{ what string }

// Fail ends the run: a property does not hold. It does not return.
func (w *World) Fail(format string, args ...any) {
	v := violated{fmt.Sprintf(format, args...)}
	t := w.running
	if t == nil {
		panic(v)
	}
	// The thread may hold locks: it stays where it is for ever, and so does the rest of
	// this world.
	w.failed, w.running = &v, nil
	t.yield(struct{}{})
	panic("BUG: sim: a run goes on that has ended")
}

// Logf writes a line to the trace.
func (w *World) Logf(format string, args ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%14.6f  %s\n", w.now.Seconds(), fmt.Sprintf(format, args...))
	}
}

// Chance is true with probability p.
func (w *World) Chance(p float64) bool { return w.rng.Float64() < p }

// Between draws a duration in [a, b].
func (w *World) Between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rng.Int64N(int64(b-a)+1))
}

// IntN draws a number in [0, n).
func (w *World) IntN(n int) int { return w.rng.IntN(n) }

// one draws one of several.
func one[T any](w *World, of ...T) T { return of[w.IntN(len(of))] }
