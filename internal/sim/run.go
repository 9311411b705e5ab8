package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

// Scenario is a world of processes, and what must hold there.
type Scenario struct {
	Name string
	// About says in a line what is there.
	About string
	run   func(w *World)
}

// Scenarios returns all of them.
func Scenarios() []Scenario {
	return []Scenario{
		{"pair", "two servers of which one is active, and clients: binarystar", runPair},
		{"deck", "a tape that a pair plays, and readers of both: binarystar, subscriber", runDeck},
		{"heal", "a publisher, recorders, and readers that miss some of the stream: resync", runHeal},
		{"bus", "a broker, a service, Titanic, and clients with commands and jobs: control", runBus},
		{"buspair", "the same with two brokers, of which one is active: control, binarystar", runBusPair},
		{"lvc", "two proxies of last values that are a pair, and plain readers: lvc, binarystar", runLVC},
		{"meter", "readers that are judged while clocks are set: snail", runMeter},
	}
}

// Named returns the scenario of that name.
func Named(name string) (Scenario, error) {
	for _, s := range Scenarios() {
		if s.Name == name {
			return s, nil
		}
	}
	return Scenario{}, fmt.Errorf("sim: there is no scenario %q", name)
}

// Run runs the scenario with a seed. The error is a *Violation where a property did
// not hold. What happens is written to trace, unless that is nil.
func (s Scenario) Run(seed uint64, trace io.Writer) error { return s.with(noBug, seed, trace) }

// with runs the scenario with a mistake in it.
func (s Scenario) with(b bug, seed uint64, trace io.Writer) (err error) {
	w := newWorld(seed, s.Name, trace)
	w.bug = b
	defer func() {
		if r := recover(); r != nil {
			v, ok := r.(violated)
			if !ok {
				panic(fmt.Sprintf("BUG: sim: %s, seed %d, at %v: %v", s.Name, seed, w.now, r))
			}
			w.Logf("VIOLATION: %s", v.what)
			err = &Violation{Scenario: s.Name, Seed: seed, At: w.now, What: v.what}
		}
	}()
	s.run(w)
	w.Logf("the end, after %d events", w.events)
	w.close()
	return nil
}

// Tail is the end of a trace: at most so many bytes, of whole lines.
type Tail struct {
	Max int
	buf []byte
}

// Write implements io.Writer.
func (t *Tail) Write(b []byte) (int, error) {
	t.buf = append(t.buf, b...)
	if len(t.buf) > 2*t.Max {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-t.Max:]...)
		if i := bytes.IndexByte(t.buf, '\n'); i >= 0 {
			t.buf = append(t.buf[:0], t.buf[i+1:]...)
		}
	}
	return len(b), nil
}

// Bytes returns what was kept.
func (t *Tail) Bytes() []byte { return t.buf }

// Many runs the scenarios with the seeds first to first+n-1 on all CPUs, and tells of
// every run that is through. It returns the violation of the least seed that has one,
// and stops soon after it was found.
func Many(scenarios []Scenario, first, n uint64, told func()) error {
	var (
		next  atomic.Uint64
		worst atomic.Uint64 // the least seed that failed, counted from first
		mu    sync.Mutex
		found error
		wg    sync.WaitGroup
	)
	worst.Store(n)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= worst.Load() {
					return
				}
				for _, s := range scenarios {
					err := s.Run(first+i, nil)
					if err == nil {
						continue
					}
					mu.Lock()
					if i < worst.Load() {
						worst.Store(i)
						found = err
					}
					mu.Unlock()
					break
				}
				if told != nil {
					told()
				}
			}
		})
	}
	wg.Wait()
	return found
}

// Explain runs the scenario of a violation again, and returns the end of what had
// happened. The error says that it did not happen again.
func Explain(v *Violation) ([]byte, error) {
	s, err := Named(v.Scenario)
	if err != nil {
		return nil, err
	}
	t := &Tail{Max: 64 << 10}
	err = s.Run(v.Seed, t)
	var again *Violation
	if !errors.As(err, &again) || *again != *v {
		return t.Bytes(), fmt.Errorf("sim: the run was another one when it was run again: %v", err)
	}
	return t.Bytes(), nil
}
