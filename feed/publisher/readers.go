package publisher

import (
	"slices"
	"sync"

	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/wire"
)

// readers is who receives, as the readers say it themselves through
// subscriptions. It is the one thing that all shards share.
type readers struct {
	shards  int
	barrier []string // names that are waited for

	mu   sync.Mutex
	byID map[wire.ReaderID]*reader
	left int // readers that went before the end

	joins latency.Histogram // from the first shard that a reader receives on to the last

	awaited []awaited // of byID, those with a name of barrier
}

// readersMax bounds how many readers are remembered, so that a peer that makes
// up identities cannot fill the memory.
const readersMax = 1 << 16

// awaited is a reader that is waited for in lock-step.
type awaited struct {
	id   wire.ReaderID
	name string
}

// eachAwaited calls f with every reader that is waited for, by name, and with each name
// of whom nobody is there, until f returns false. f must not call readers.
func (r *readers) eachAwaited(names []string, f func(name string, id wire.ReaderID, there bool) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		there := false
		for i := range r.awaited {
			if a := &r.awaited[i]; a.name == name {
				there = true
				if !f(name, a.id, true) {
					return
				}
			}
		}
		if !there && !f(name, wire.ReaderID{}, false) {
			return
		}
	}
}

type reader struct {
	name     string
	came     wire.Nanos   // when it confirmed on the first one; 0: its joining was counted
	receives map[int]bool // shards on which it has confirmed
	done     map[int]bool // shards whose end mark it has
}

func (r *readers) take(shard int, sig wire.ReaderSignal, id wire.ReaderID, name string, now wire.Nanos) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.byID[id]
	switch sig {
	case wire.SignalReady:
		if known == nil {
			if len(r.byID) >= readersMax {
				return
			}
			known = &reader{name: name, came: now, receives: map[int]bool{}, done: map[int]bool{}}
			if r.byID == nil {
				r.byID = map[wire.ReaderID]*reader{}
			}
			r.byID[id] = known
			if slices.Contains(r.barrier, name) {
				r.awaited = append(r.awaited, awaited{id, name})
			}
		}
		known.receives[shard] = true
		if known.came != 0 && len(known.receives) == r.shards {
			r.joins.Record(int64(now - known.came))
			known.came = 0
		}
	case wire.SignalDone:
		if known != nil {
			known.done[shard] = true
		}
	case wire.SignalLeft:
		if known == nil {
			return
		}
		delete(known.receives, shard)
		if len(known.receives) == 0 && !r.finished(known) {
			r.left++
			delete(r.byID, id)
			r.awaited = slices.DeleteFunc(r.awaited, func(a awaited) bool { return a.id == id })
		}
	}
}

func (r *readers) finished(x *reader) bool { return len(x.done) == r.shards }

// receiving is how many readers receive on every shard.
func (r *readers) receiving() int { return len(r.names()) }

func (r *readers) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, x := range r.byID {
		if len(x.receives) == r.shards {
			names = append(names, x.name)
		}
	}
	slices.Sort(names)
	return names
}

// pending are the names of the readers that have not confirmed every end mark.
func (r *readers) pending() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, x := range r.byID {
		if !r.finished(x) {
			names = append(names, x.name)
		}
	}
	slices.Sort(names)
	return names
}

func (r *readers) allDone() bool { return len(r.pending()) == 0 }

func (r *readers) counts() (joined, left, finished int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.byID {
		if r.finished(x) {
			finished++
		}
	}
	return len(r.byID) + r.left, r.left, finished
}
