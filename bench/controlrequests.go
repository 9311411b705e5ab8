package bench

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/control/majordomo"
)

// requestCases are requests through the broker, one at a time and many at once, to
// workers in the broker's process, as in serve, and in a process of their own.
func (cfg *ControlConfig) requestCases() []controlCase {
	var cases []controlCase
	for _, how := range []string{"synchronous", "pipelined"} {
		for _, workers := range []string{workersWithin, workersApart} {
			tl := newTally(Label{"case", caseRequests}, Label{"how", how}, Label{"workers", workers})
			cases = append(cases, controlCase{how + " requests, workers in " + workers, []*tally{tl}, func(ctx context.Context, _ *Env) error {
				return cfg.requests(ctx, how == "pipelined", workers, tl)
			}})
		}
	}
	return cases
}

// Where workers are.
const (
	workersWithin = "the broker's process"
	workersApart  = "another process"
)

// requests makes a run of requests to a bare echo, and one through the broker.
func (cfg *ControlConfig) requests(ctx context.Context, pipelined bool, workers string, tl *tally) error {
	d := time.Duration(cfg.Seconds * float64(time.Second))
	bare, err := cfg.bare(ctx, pipelined, d)
	if err != nil {
		return err
	}
	ours, err := cfg.ours(ctx, pipelined, workers, d)
	if err != nil {
		return err
	}
	for _, x := range []struct {
		prefix string
		r      *requested
	}{{"", &ours}, {"bare_", &bare}} {
		tl.add(x.prefix+"requests_per_second", x.r.rate())
		tl.add(x.prefix+"cpu_seconds_per_million", x.r.cpu/float64(max(x.r.count, 1))*1e6)
		if x.r.hist != nil {
			tl.addHist(x.prefix+"round_trip", x.r.hist)
		}
	}
	tl.add("ratio_to_bare", ours.rate()/bare.rate())
	return nil
}

// bare makes requests to a ROUTER in another process that does nothing else.
func (cfg *ControlConfig) bare(ctx context.Context, pipelined bool, d time.Duration) (r requested, err error) {
	echo, err := startWorker(ctx, Job{Role: "bare-echo"})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, dismiss(err, echo)) }()
	c, err := newBareClient(echo.ready.Endpoints[0], cfg.Size)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	// One request ahead, so that connecting is not measured.
	c.put()
	if err := c.exchange(); err != nil {
		return r, err
	}
	c.sent, c.came = 0, 0
	return measured(func() (requested, error) {
		if pipelined {
			return c.pipelined(ctx, d, uint64(cfg.Outstanding))
		}
		return c.synchronous(ctx, d)
	}, echo)
}

// ours makes the same requests to a service, through a broker.
func (cfg *ControlConfig) ours(ctx context.Context, pipelined bool, workers string, d time.Duration) (r requested, err error) {
	orders := busOrders{Prefetch: cfg.Prefetch}
	if workers == workersWithin {
		orders.Workers = 1
	}
	var all []*worker
	defer func() { err = errors.Join(err, dismiss(err, all...)) }()
	broker, err := startWorker(ctx, Job{Role: "bus-broker", Bus: orders})
	if err != nil {
		return r, err
	}
	all = append(all, broker)
	if workers == workersApart {
		orders.Workers = 1
		w, err := startWorker(ctx, Job{Role: "bus-workers", Endpoints: broker.ready.Endpoints, Bus: orders})
		if err != nil {
			return r, err
		}
		all = append([]*worker{w}, all...) // dismissed first
	}
	c, err := majordomo.NewClient(majordomo.ClientConfig{Endpoints: broker.ready.Endpoints, Outstanding: cfg.Outstanding})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	body := make([]byte, cfg.Size)
	if _, err := c.Request(ctx, benchService, body); err != nil {
		return r, err
	}
	return measured(func() (requested, error) {
		if pipelined {
			return pipelinedRequests(ctx, c, d, body)
		}
		return synchronousRequests(ctx, c, d, body)
	}, all...)
}

// measured makes requests and counts the CPU time of this process and the others.
func measured(do func() (requested, error), others ...*worker) (requested, error) {
	before, err := cpuOf(others)
	if err != nil {
		return requested{}, err
	}
	r, err := do()
	if err != nil {
		return r, err
	}
	after, err := cpuOf(others)
	r.cpu = after - before
	return r, err
}

// cpuOf is the CPU time that this process and others have used.
func cpuOf(others []*worker) (float64, error) {
	sum, err := cpuSeconds(os.Getpid())
	for _, w := range others {
		if err == nil {
			var s float64
			s, err = cpuSeconds(w.cmd.Process.Pid)
			sum += s
		}
	}
	return sum, err
}

// synchronousRequests makes one request after the other.
func synchronousRequests(ctx context.Context, c *majordomo.Client, d time.Duration, body []byte) (requested, error) {
	r := requested{hist: newHistogram()}
	for start := time.Now(); r.took < d && ctx.Err() == nil; r.took = time.Since(start) {
		begun := time.Now()
		if _, err := c.Request(ctx, benchService, body); err != nil {
			return r, err
		}
		_ = r.hist.RecordValue(min(int64(time.Since(begun)), latencyMax))
		r.count++
	}
	return r, ctx.Err()
}

// clockEvery is after how many requests of bulk work the clock is looked at.
const clockEvery = 64

// pipelinedRequests makes as many at once as the client holds.
func pipelinedRequests(ctx context.Context, c *majordomo.Client, d time.Duration, body []byte) (requested, error) {
	var (
		r       requested
		frames  = [][]byte{body}
		came    atomic.Uint64
		failure atomic.Pointer[error]
		all     = make(chan struct{})
		made    atomic.Uint64 // known when no more are made
	)
	count := func(reply [][]byte, err error) {
		if err == nil && (len(reply) != 1 || len(reply[0]) != len(body)) {
			err = errors.New("bench: a reply that is not the request")
		}
		if err != nil {
			failure.CompareAndSwap(nil, &err)
		}
		if came.Add(1) == made.Load() {
			close(all)
		}
	}
	start := time.Now()
	for r.count%clockEvery != 0 || time.Since(start) < d && ctx.Err() == nil && failure.Load() == nil {
		r.count++
		c.Go(ctx, benchService, frames, count)
	}
	// One more, that cannot have come before made is known.
	made.Store(r.count + 1)
	count(frames, nil)
	<-all
	r.took = time.Since(start)
	if err := failure.Load(); err != nil {
		return r, *err
	}
	return r, ctx.Err()
}

// dismiss ends workers, in order: with their cue where all went well.
func dismiss(failure error, workers ...*worker) error {
	var errs []error
	for _, w := range workers {
		if failure != nil {
			w.kill()
			continue
		}
		err := w.cue()
		if err == nil {
			_, err = w.result()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
