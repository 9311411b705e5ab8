package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
)

// restartCases kill the broker and start another one while requests are outstanding.
func (cfg *ControlConfig) restartCases() []controlCase {
	var cases []controlCase
	for _, what := range []string{"requests", "commands"} {
		tl := newTally(Label{"case", caseRestart}, Label{"what", what}, Label{"outstanding", cfg.Outstanding})
		cases = append(cases, controlCase{"restart of the broker, " + what, []*tally{tl}, func(ctx context.Context, _ *Env) error {
			return cfg.restart(ctx, what == "commands", tl)
		}})
	}
	return cases
}

// answers are what became of each request, by its place.
type answers struct {
	mu     sync.Mutex
	at     []time.Time // of the first answer; zero: none came
	again  int         // answers after the first one
	wrong  int         // answers that are another request's
	failed int         // requests that were given up
	why    error       // why the first of those was
	came   int         // requests with an answer
	made   int
	early  int // that came before early is signalled
	enough chan struct{}
}

func newAnswers(requests, early int) *answers {
	return &answers{at: make([]time.Time, requests), early: early, enough: make(chan struct{})}
}

// next returns the place of the next request, and whether there is one.
func (a *answers) next() (place int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.made == len(a.at) {
		return 0, false
	}
	a.made++
	return a.made - 1, true
}

// note takes an answer: what it says is the place it answers.
func (a *answers) note(place int, says uint64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err != nil:
		a.failed++
		if a.why == nil {
			a.why = err
		}
	case says != uint64(place):
		a.wrong++
	case !a.at[place].IsZero():
		a.again++
	default:
		a.at[place] = time.Now()
		if a.came++; a.came == a.early {
			close(a.enough)
		}
	}
}

// restart has requests made without end, so many at once, kills the broker, starts
// another one at the same endpoint, and looks what became of each request.
func (cfg *ControlConfig) restart(ctx context.Context, commands bool, tl *tally) (err error) {
	var all []*worker
	defer func() {
		for _, w := range all {
			w.kill()
		}
	}()
	first, err := startWorker(ctx, Job{Role: "bus-broker"})
	if err != nil {
		return err
	}
	endpoints := first.ready.Endpoints
	all = append(all, first)
	served, err := startWorker(ctx, Job{Role: "bus-workers", Endpoints: endpoints, Bus: busOrders{Workers: cfg.AtOnce, Work: cfg.Work, Commands: commands}})
	if err != nil {
		return err
	}
	all = append(all, served)
	c, err := majordomo.NewClient(majordomo.ClientConfig{Endpoints: endpoints, Outstanding: cfg.Outstanding})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	a := newAnswers(cfg.Requests, cfg.Outstanding)
	request := func() error { return makeRequests(ctx, c, a) }
	if commands {
		request = func() error { return giveCommands(ctx, c, a, cfg.Outstanding) }
	}
	through := meanwhile(request)
	select {
	case <-a.enough:
	case err := <-through:
		return errors.Join(fmt.Errorf("bench: requests ended before there were enough: %w", a.why), err)
	}
	a.mu.Lock()
	answered, made, killed := a.came, a.made, time.Now()
	first.kill()
	a.mu.Unlock()
	second, err := startWorker(ctx, Job{Role: "bus-broker", Endpoints: endpoints})
	if err != nil {
		return err
	}
	back := time.Now()
	all = []*worker{served, second}
	if err := <-through; err != nil {
		return err
	}
	a.results(tl, made, answered, killed, back)
	if err := served.cue(); err != nil {
		return err
	}
	r, err := served.result()
	all = all[1:]
	if err != nil {
		return err
	}
	tl.add("handled_again", float64(r.Bus.Again))
	if commands {
		tl.add("effects", float64(r.Bus.Effects))
		tl.add("effects_twice", float64(r.Bus.Twice))
	}
	all = nil
	return dismiss(nil, second)
}

// results adds what became of the requests, when nothing comes any more.
// made and answered are how many there were when the broker was killed.
func (a *answers) results(tl *tally, made, answered int, killed, back time.Time) {
	waited := newHistogram()
	never, last := 0, killed
	for place, at := range a.at {
		switch {
		case at.IsZero():
			never++
		case place < made && at.After(killed):
			_ = waited.RecordValue(min(int64(at.Sub(killed)), latencyMax))
			if at.After(last) {
				last = at
			}
		}
	}
	tl.add("requests", float64(len(a.at)))
	tl.add("outstanding_at_kill", float64(made-answered))
	tl.add("answered_before", float64(answered))
	tl.add("answered", float64(a.came))
	tl.add("answered_twice", float64(a.again))
	tl.add("answered_wrong", float64(a.wrong))
	tl.add("never_answered", float64(never))
	tl.add("given_up", float64(a.failed))
	tl.add("broker_away_ms", back.Sub(killed).Seconds()*1e3)
	tl.add("all_answered_ms", last.Sub(killed).Seconds()*1e3)
	tl.add("all_answered_after_return_ms", max(last.Sub(back).Seconds(), 0)*1e3)
	tl.addHist("answered_after_kill", waited)
}

// makeRequests makes requests through the client's bulk form, which lets as many be
// outstanding as it may hold.
func makeRequests(ctx context.Context, c *majordomo.Client, a *answers) error {
	var all sync.WaitGroup
	var body [8]byte
	for place, ok := a.next(); ok; place, ok = a.next() {
		binary.LittleEndian.PutUint64(body[:], uint64(place))
		all.Add(1)
		answered := false
		c.Go(ctx, benchService, [][]byte{body[:]}, func(reply [][]byte, err error) {
			if !answered { // a second answer is counted, and not waited for
				answered = true
				defer all.Done()
			}
			says := ^uint64(0)
			if err == nil && len(reply) == 1 && len(reply[0]) == len(body) {
				says = binary.LittleEndian.Uint64(reply[0])
			}
			a.note(place, says, err)
		})
	}
	all.Wait()
	return ctx.Err()
}

// giveCommands gives commands from so many goroutines at once.
func giveCommands(ctx context.Context, c *majordomo.Client, a *answers, atOnce int) error {
	commander := control.NewClient(c)
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for place, ok := a.next(); ok; place, ok = a.next() {
				var result countArgs
				err := commander.Do(ctx, benchService, benchCommand, countArgs{Number: uint64(place)}, &result)
				a.note(place, result.Number, err)
			}
		})
	}
	all.Wait()
	return ctx.Err()
}
