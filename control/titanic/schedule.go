package titanic

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
)

// schedule decides which job's service is asked next: pure, no clock and no socket.
//
// Services take turns, so that a slow one, or one with a thousand jobs, does not
// hold up the others. One without a worker costs nothing: the broker is asked about
// it, now and then, and its jobs wait. Retries count by a clock that nobody sets,
// first moments by the clock on the wall.
type schedule struct {
	most, each  int // asked at once: in all, and of one service
	first, last time.Duration
	random      func() float64 // in [0, 1)

	flying  int
	probing int
	tasks   map[ID]*task
	targets map[string]*target
	ring    []*target // those with something to ask, taken in turn
	turn    int
	retries waits // by the clock that nobody sets
	timed   waits // by the clock on the wall
}

// task is a job that is to be asked for.
type task struct {
	id     ID
	target *target
	state  taskState
	back   pirate.Backoff
}

type taskState uint8

const (
	taskReady taskState = iota
	taskFlying
	taskWaiting
	taskGone // while it flew or waited
)

// target is a service.
type target struct {
	name     string
	presence presence
	probeAt  time.Duration
	back     pirate.Backoff
	ready    []*task
	flying   int
	tasks    int
	inRing   bool
}

// presence is what is known of a service's workers.
type presence uint8

const (
	untried presence = iota
	asked            // the broker is being asked
	present
	absent
)

// probesMax is how many services the broker is asked about at once.
const probesMax = 16

// probeMost is the longest wait before it is asked again.
const probeMost = 5 * time.Second

func newSchedule(most, each int, first, last time.Duration) *schedule {
	return &schedule{most: most, each: each, first: first, last: last, random: rand.Float64, tasks: map[ID]*task{}, targets: map[string]*target{}}
}

// add takes in a job, to be asked for at once or not before a time, ns.
func (s *schedule) add(id ID, service string, notBefore, wall int64) {
	if s.tasks[id] != nil {
		return
	}
	t := s.targets[service]
	if t == nil {
		t = &target{name: service, back: pirate.Backoff{First: s.first, Most: max(s.first, min(s.last, probeMost)), Random: s.random}}
		s.targets[service] = t
	}
	k := &task{id: id, target: t, back: pirate.Backoff{First: s.first, Most: s.last, Random: s.random}}
	s.tasks[id] = k
	t.tasks++
	if notBefore > wall {
		k.state = taskWaiting
		heap.Push(&s.timed, wait{notBefore, k})
		return
	}
	s.line(k)
}

// line puts a task at the end of its service's line.
func (s *schedule) line(k *task) {
	k.state = taskReady
	k.target.ready = append(k.target.ready, k)
	if !k.target.inRing {
		k.target.inRing = true
		s.ring = append(s.ring, k.target)
	}
}

// remove forgets a job, whatever it does at the moment.
func (s *schedule) remove(id ID) {
	k := s.tasks[id]
	if k == nil {
		return
	}
	delete(s.tasks, id)
	flew := k.state == taskFlying
	k.state = taskGone
	if flew {
		return // finished will follow
	}
	s.left(k.target)
}

func (s *schedule) left(t *target) {
	if t.tasks--; t.tasks == 0 && t.presence != asked {
		s.forget(t)
	}
}

// forget drops a service that nothing is asked of. The ring lets it go in its turn.
func (s *schedule) forget(t *target) {
	if s.targets[t.name] == t {
		delete(s.targets, t.name)
	}
}

// act is what is to be done: ask for a job, or ask the broker about its service.
type act struct {
	service string
	id      ID
	probe   bool
}

// next returns the next thing to do, if there is one.
func (s *schedule) next(mono time.Duration, wall int64) (act, bool) {
	s.wake(&s.retries, int64(mono))
	s.wake(&s.timed, wall)
	for tried := 0; tried < len(s.ring); {
		if s.turn >= len(s.ring) {
			s.turn = 0
		}
		t := s.ring[s.turn]
		for len(t.ready) > 0 && t.ready[0].state != taskReady {
			t.ready = t.ready[1:]
		}
		if len(t.ready) == 0 {
			t.inRing = false
			s.ring = append(s.ring[:s.turn], s.ring[s.turn+1:]...)
			continue
		}
		s.turn++
		tried++
		if a, ok := s.of(t, mono); ok {
			return a, true
		}
	}
	return act{}, false
}

// of returns what is to be done for a service that has a task ready.
func (s *schedule) of(t *target, mono time.Duration) (act, bool) {
	switch {
	case t.presence == present && s.flying < s.most && t.flying < s.each:
		k := t.ready[0]
		t.ready = t.ready[1:]
		k.state = taskFlying
		t.flying++
		s.flying++
		return act{service: t.name, id: k.id}, true
	case (t.presence == untried || t.presence == absent && mono >= t.probeAt) && s.probing < probesMax:
		t.presence = asked
		s.probing++
		return act{service: t.name, probe: true}, true
	}
	return act{}, false
}

// wake lines up the tasks whose time has come.
func (s *schedule) wake(w *waits, now int64) {
	for len(*w) > 0 && (*w)[0].at <= now {
		if k := heap.Pop(w).(wait).task; k.state == taskWaiting {
			s.line(k)
		}
	}
}

// probed takes in what the broker said of a service.
func (s *schedule) probed(service string, there bool, mono time.Duration) {
	s.probing--
	t := s.targets[service]
	if t == nil {
		return
	}
	if there {
		t.presence = present
		t.back.Reset()
	} else {
		s.missing(t, mono)
	}
	if t.tasks == 0 {
		s.forget(t)
	}
}

func (s *schedule) missing(t *target, mono time.Duration) {
	t.presence, t.probeAt = absent, mono+t.back.Next()
}

// outcome is what came of asking for a job.
type outcome uint8

const (
	done    outcome = iota // it needs no more asking
	retry                  // later, and later each time
	soon                   // after the first wait again: somebody is at it
	nobody                 // the service has no worker
	unclear                // as retry, and the broker is asked about the service first
)

// finished takes in the end of an attempt.
func (s *schedule) finished(id ID, service string, o outcome, mono time.Duration) {
	s.flying--
	t, k := s.targets[service], s.tasks[id]
	if t == nil {
		return
	}
	t.flying--
	switch {
	case o == nobody && t.presence == present:
		s.missing(t, mono)
	case o == unclear && t.presence == present:
		t.presence = untried
	}
	if k == nil || k.state != taskFlying {
		s.left(t) // it was removed meanwhile
		return
	}
	switch o {
	case done:
		delete(s.tasks, id)
		k.state = taskGone
		s.left(t)
		return
	case nobody:
		k.state = taskReady
		t.ready = append([]*task{k}, t.ready...) // it was the first one, and is again
		if !t.inRing {
			t.inRing = true
			s.ring = append(s.ring, t)
		}
		return
	case soon:
		k.back.Reset()
	}
	k.state = taskWaiting
	heap.Push(&s.retries, wait{int64(mono + k.back.Next()), k})
}

// sleep is how long nothing needs to be done, if nothing happens: 0 is not at all.
func (s *schedule) sleep(mono time.Duration, wall int64, most time.Duration) time.Duration {
	d := most
	if len(s.retries) > 0 {
		d = min(d, time.Duration(s.retries[0].at)-mono)
	}
	if len(s.timed) > 0 {
		d = min(d, time.Duration(s.timed[0].at-wall))
	}
	for _, t := range s.ring {
		if t.presence == absent {
			d = min(d, t.probeAt-mono)
		}
	}
	return max(d, 0)
}

// wait is a task and its time.
type wait struct {
	at   int64
	task *task
}

type waits []wait

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (w waits) Len() int           { return len(w) }
func (w waits) Less(i, j int) bool { return w[i].at < w[j].at }
func (w waits) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waits) Push(x any)        { *w = append(*w, x.(wait)) }
func (w *waits) Pop() any {
	last := len(*w) - 1
	x := (*w)[last]
	(*w)[last] = wait{}
	*w = (*w)[:last]
	return x
}
