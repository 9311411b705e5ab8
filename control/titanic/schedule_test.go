package titanic

import (
	"fmt"
	"testing"
	"time"
)

// plan is a schedule with what it wants done, as text.
type plan struct {
	t *testing.T
	s *schedule
	n byte
}

func newPlan(t *testing.T, most, each int) *plan {
	return &plan{t: t, s: newSchedule(most, each, time.Second, time.Minute)}
}

func (p *plan) add(service string, notBefore int64) ID {
	p.n++
	id := ID{p.n}
	p.s.add(id, service, notBefore, 0)
	return id
}

// want looks what is to be done at a time, all of it.
func (p *plan) want(at time.Duration, want ...string) {
	p.t.Helper()
	var got []string
	for {
		a, ok := p.s.next(at, int64(at))
		if !ok {
			break
		}
		if a.probe {
			got = append(got, "probe "+a.service)
		} else {
			got = append(got, fmt.Sprintf("%s %d", a.service, a.id[0]))
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		p.t.Fatalf("at %v: %q, want %q", at, got, want)
	}
}

// sums looks whether the schedule counts right.
func (p *plan) sums() {
	p.t.Helper()
	flying, tasks := 0, 0
	for _, t := range p.s.targets {
		flying += t.flying
		tasks += t.tasks
	}
	if flying != p.s.flying || len(p.s.tasks) > tasks {
		p.t.Fatalf("%d fly, %d by service; %d tasks, %d by service", p.s.flying, flying, len(p.s.tasks), tasks)
	}
}

// TestServicesTakeTurns, and one of them never has all places.
func TestServicesTakeTurns(t *testing.T) {
	p := newPlan(t, 4, 2)
	for range 3 {
		p.add("slow", 0)
	}
	for range 3 {
		p.add("quick", 0)
	}
	p.want(0, "probe slow", "probe quick")
	p.s.probed("slow", true, 0)
	p.want(0, "slow 1", "slow 2")
	p.s.probed("quick", true, 0)
	p.want(0, "quick 4", "quick 5")
	p.s.finished(ID{4}, "quick", done, 0)
	p.want(0, "quick 6")
	p.s.finished(ID{5}, "quick", done, 0)
	p.s.finished(ID{6}, "quick", done, 0)
	p.want(0) // the slow one has as many as it may
	p.s.finished(ID{1}, "slow", done, 0)
	p.want(0, "slow 3")
	p.s.finished(ID{2}, "slow", done, 0)
	p.s.finished(ID{3}, "slow", done, 0)
	p.want(time.Hour)
	p.sums()
	if len(p.s.tasks) != 0 || len(p.s.targets) != 0 {
		t.Errorf("%d tasks, %d services are left", len(p.s.tasks), len(p.s.targets))
	}
}

// TestAbsentService: it costs a question now and then, not one for each of its jobs,
// and does not hold up others.
func TestAbsentService(t *testing.T) {
	p := newPlan(t, 2, 2)
	for range 100 {
		p.add("nobody", 0)
	}
	p.add("here", 0)
	p.want(0, "probe nobody", "probe here")
	p.s.probed("nobody", false, 0)
	p.s.probed("here", true, 0)
	p.want(0, "here 101")
	at := time.Duration(0)
	questions := 0
	for at < time.Minute {
		d := p.s.sleep(at, int64(at), time.Hour)
		if d <= 0 || d > probeMost {
			t.Fatalf("sleeps for %v", d)
		}
		at += d
		if questions++; questions < 20 {
			p.want(at, "probe nobody")
			p.s.probed("nobody", false, at)
		} else {
			break
		}
	}
	if questions < 12 {
		t.Errorf("asked %d times in %v", questions, at)
	}
	at += probeMost
	p.want(at, "probe nobody")
	p.s.probed("nobody", true, at)
	p.want(at, "nobody 1") // the other place is taken
	// The broker says that the worker has gone: the job is the first one again.
	p.s.finished(ID{1}, "nobody", nobody, at)
	p.want(at)
	at += probeMost
	p.want(at, "probe nobody")
	p.s.probed("nobody", true, at)
	p.want(at, "nobody 1")
	p.sums()
}

// TestRetries: later and later, each job by itself; a service that did not answer is
// looked for first.
func TestRetries(t *testing.T) {
	p := newPlan(t, 4, 4)
	p.add("s", 0)
	p.want(0, "probe s")
	p.s.probed("s", true, 0)
	p.want(0, "s 1")
	at, last := time.Duration(0), time.Duration(0)
	for range 12 {
		p.s.finished(ID{1}, "s", unclear, at)
		d := p.s.sleep(at, int64(at), time.Hour)
		if d < last/2 || d < time.Second/2 || d > time.Minute {
			t.Fatalf("waits %v after %v", d, last)
		}
		p.want(at + d - 1)
		at, last = at+d, d
		p.want(at, "probe s")
		p.s.probed("s", true, at)
		p.want(at, "s 1")
	}
	if last < 30*time.Second {
		t.Errorf("waits %v at last", last)
	}
	// Somebody is at it: soon, and not later each time.
	for range 5 {
		p.s.finished(ID{1}, "s", soon, at)
		d := p.s.sleep(at, int64(at), time.Hour)
		if d > time.Second {
			t.Fatalf("waits %v", d)
		}
		at += d
		p.want(at, "s 1")
	}
	p.sums()
}

// TestNotBefore: a job waits for its moment on the wall's clock.
func TestNotBefore(t *testing.T) {
	p := newPlan(t, 4, 4)
	p.add("s", int64(time.Minute))
	p.want(time.Minute - 1)
	if d := p.s.sleep(0, int64(59*time.Second), time.Hour); d != time.Second {
		t.Errorf("sleeps for %v", d)
	}
	p.want(time.Minute, "probe s")
}

// TestRemoved: whatever a job does, it can be removed, and nothing of it is left.
func TestRemoved(t *testing.T) {
	p := newPlan(t, 4, 4)
	ready, flying, waiting, timed := p.add("s", 0), p.add("s", 0), p.add("s", 0), p.add("s", int64(time.Hour))
	p.s.remove(ready)
	p.want(0, "probe s")
	p.s.probed("s", true, 0)
	p.want(0, "s 2", "s 3")
	p.s.finished(waiting, "s", retry, 0)
	p.s.remove(flying)
	p.s.remove(flying)
	p.s.remove(waiting)
	p.s.remove(timed)
	p.s.remove(ID{99})
	p.want(2 * time.Hour)
	p.s.finished(flying, "s", retry, 0)
	p.want(3 * time.Hour)
	p.sums()
	if len(p.s.tasks) != 0 || len(p.s.targets) != 0 || p.s.flying != 0 {
		t.Errorf("%d tasks, %d services, %d fly", len(p.s.tasks), len(p.s.targets), p.s.flying)
	}
	// The same job may come again, as after the log was opened again.
	p.s.add(ready, "s", 0, 0)
	p.s.add(ready, "s", 0, 0)
	p.want(0, "probe s")
	p.s.remove(ready) // while the broker is asked
	p.s.probed("s", true, 0)
	p.want(0)
	if len(p.s.targets) != 0 || p.s.probing != 0 {
		t.Errorf("%d services, %d questions", len(p.s.targets), p.s.probing)
	}
}
