package sim

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// Process is a program on a machine of its own: it has a disk and clocks, which
// outlive it, and what it does until it is killed.
type Process struct {
	w    *World
	name string
	boot func() // makes it do what it does, at every start

	life    int // starts so far
	up      bool
	stopped bool     // SIGSTOP: it does nothing, and does not know
	late    []func() // what happened to it meanwhile
	threads []*thread
	ports   []*port
	streams []*stream

	born  time.Duration // of this life
	drift float64       // of its clocks, millionths
	wall  time.Duration // how far its wall clock is ahead, as it was set

	dark func() // told of a loss of power; may be nil
	disk *fsys.Mem
	fs   *lifeFS // the disk, as this life may use it
}

// Process makes a process that is not started yet.
func (w *World) Process(name string, boot func()) *Process {
	p := &Process{w: w, name: name, boot: boot, disk: fsys.NewMem()}
	w.processes = append(w.processes, p)
	return p
}

// Start starts the process, unless it is up.
func (p *Process) Start() {
	if p.up {
		return
	}
	if p.disk.Failing() { // it is about to lose power, and has when the process starts
		p.LosePower()
	}
	p.life++
	p.up, p.stopped, p.late, p.born = true, false, nil, p.w.now
	p.fs = &lifeFS{FS: p.disk, p: p, life: p.life}
	p.w.Logf("%s: start %d", p.name, p.life)
	p.boot()
	p.settle()
}

// Kill ends the process at once. What it has written its disk has.
func (p *Process) Kill() {
	if !p.up {
		return
	}
	p.w.Logf("%s: killed", p.name)
	p.up, p.stopped, p.late = false, false, nil
	threads := p.threads
	p.threads = nil
	for _, t := range threads {
		t.end()
	}
	ports := p.ports
	p.ports = nil
	for _, s := range ports {
		s.Close()
	}
	for _, s := range slices.Clone(p.streams) {
		s.abort()
	}
}

// Again starts a process anew, in a while, that found that it cannot run.
func (p *Process) Again() {
	life := p.life
	p.w.After(time.Second, func() {
		if p.up && p.life == life {
			p.Kill()
			p.Start()
		}
	})
}

// LosePower ends the process, and its disk forgets some of what was not synced.
func (p *Process) LosePower() {
	p.w.Logf("%s: power lost", p.name)
	p.Kill()
	if p.dark != nil {
		p.dark()
	}
	// Not the world's own numbers: how many of them a disk draws is its own affair.
	p.disk = p.disk.AfterPowerLoss(rand.New(rand.NewPCG(p.w.rng.Uint64(), 1)))
}

// Stop makes the process stand still until Continue, without its knowing.
func (p *Process) Stop() {
	if p.up && !p.stopped {
		p.w.Logf("%s: stands still", p.name)
		p.stopped = true
	}
}

// Continue lets a process go on that stood still: what has come meanwhile comes now.
func (p *Process) Continue() {
	if !p.up || !p.stopped {
		return
	}
	p.w.Logf("%s: goes on", p.name)
	p.stopped = false
	late, life := p.late, p.life
	p.late = nil
	for _, do := range late {
		if p.up && p.life == life {
			do()
		}
	}
	p.settle()
}

// Up reports whether the process is there, standing still or not.
func (p *Process) Up() bool { return p.up }

// Well reports whether it is there and goes on.
func (p *Process) Well() bool { return p.up && !p.stopped }

// Now is the time of the process's clock that is never set, since its start.
func (p *Process) Now() time.Duration { return p.scaled(p.w.now - p.born) }

// scaled is a true duration as the process's clock has it.
func (p *Process) scaled(d time.Duration) time.Duration {
	return d + time.Duration(float64(d)*p.drift/1e6)
}

// Wall is the process's clock that may be set, ns since the Unix epoch.
func (p *Process) Wall() int64 { return int64(worldBegan + p.scaled(p.w.now) + p.wall) }

// worldBegan is the wall time of the world's beginning.
const worldBegan = time.Duration(1_700_000_000_000_000_000)

// SetClock sets the wall clock, by d.
func (p *Process) SetClock(d time.Duration) {
	p.w.Logf("%s: the clock is set by %v", p.name, d)
	p.wall += d
}

// After makes do happen in this life of the process, when d has passed by its clock;
// later, while it stands still.
func (p *Process) After(d time.Duration, do func()) {
	if p.drift != 0 {
		d = time.Duration(float64(d)/(1+p.drift/1e6)) + 1 // never early, and never nothing
	}
	life := p.life
	p.w.After(d, func() { p.at(life, do) })
}

// Every is After again and again.
func (p *Process) Every(pause func() time.Duration, do func()) {
	p.After(pause(), func() {
		do()
		if p.up {
			p.Every(pause, do)
		}
	})
}

// at has do happen in a life of the process, if that is not over.
func (p *Process) at(life int, do func()) {
	switch {
	case !p.up || p.life != life:
	case p.stopped:
		p.late = append(p.late, do)
	default:
		do()
		p.settle()
	}
}

// thread is a coroutine of a process.
type thread struct {
	p      *Process
	life   int
	next   func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	until  time.Duration // by the process's clock; below 0: for ever
	ready  func() bool   // nil: only the time counts
	slept  uint64        // sleeps so far
	over   bool
	failed any // what it panicked with
}

// killed unwinds a coroutine whose process is no more.
type killed struct{}

// Go makes f run beside the caller. It may be called before Start has returned, by
// boot and what boot starts.
func (p *Process) Go(f func()) {
	t := &thread{p: p, life: p.life}
	t.next, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		defer func() {
			t.over = true
			if r := recover(); r != nil {
				if _, ok := r.(killed); !ok {
					t.failed = r
				}
			}
		}()
		f()
	})
	p.threads = append(p.threads, t)
}

// Sleep makes the thread that calls it wait until d has passed by the process's clock,
// below 0 for ever, or until ready, where it is given, reports true. That is looked
// at whenever something has happened in the process. A thread whose process is killed
// never returns from it.
func (p *Process) Sleep(d time.Duration, ready func() bool) {
	t := p.w.running
	if t == nil || t.p != p {
		panic(fmt.Sprintf("BUG: %s: only a thread of its own can sleep", p.name))
	}
	if !p.up || p.life != t.life {
		panic(killed{}) // a deferred call of one that is being ended
	}
	t.slept++
	t.ready, t.until = ready, -1
	if d >= 0 {
		t.until = p.Now() + d
		slept := t.slept
		p.After(d, func() {
			if t.slept == slept {
				t.until = min(t.until, p.Now()) // whatever rounding says
			}
		})
	}
	p.w.running = nil
	alive := t.yield(struct{}{})
	p.w.running = t
	if !alive || !p.up || p.life != t.life {
		panic(killed{})
	}
}

// awake reports whether the thread can go on.
func (t *thread) awake() bool {
	return t.slept == 0 || t.until >= 0 && t.p.Now() >= t.until || t.ready != nil && t.ready()
}

// poke lets the threads look at what has come.
func (p *Process) poke() {
	if p.Well() {
		p.settle()
	}
}

// settle lets the threads go on that can, until none can.
func (p *Process) settle() {
	if p.w.running != nil {
		return // a thread of the process is at work, and settle follows
	}
	life := p.life
	for again := true; again; {
		again = false
		for i := 0; i < len(p.threads); i++ {
			t := p.threads[i]
			if t.over || !t.awake() {
				continue
			}
			again = true
			p.w.step(t)
			if !p.up || p.stopped || p.life != life {
				return
			}
		}
	}
	rest := p.threads[:0]
	for _, t := range p.threads {
		if !t.over {
			rest = append(rest, t)
		}
	}
	clear(p.threads[len(rest):])
	p.threads = rest
}

// step lets a thread go on until it sleeps again.
func (w *World) step(t *thread) {
	if w.busy++; w.busy > busyMax {
		w.Fail("%s does not stop doing things, and no time passes", t.p.name)
	}
	w.running = t
	t.next()
	w.running = nil
	if w.failed != nil {
		panic(*w.failed)
	}
	if t.failed != nil {
		panic(t.failed)
	}
}

// end unwinds a thread.
func (t *thread) end() {
	if t.over {
		return
	}
	outer := t.p.w.running
	if outer == t {
		return // it ends its own process: it does so when it sleeps
	}
	t.p.w.running = t
	t.stop()
	t.p.w.running = outer
}

// close ends everything.
func (w *World) close() {
	w.trace = nil
	for _, p := range w.processes {
		p.Kill()
	}
}
