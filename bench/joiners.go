package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// joinOrders is what a worker of joiners is to do.
type joinOrders struct {
	Count  int `json:"count"`
	Rounds int `json:"rounds,omitempty"` // cues that there are; the joiners spread over them
	// ByName subscribes to each topic by its name, for servers that answer nothing
	// else.
	ByName bool `json:"by_name,omitempty"`
	// Seconds are those after a cue in which joiners come, at random moments.
	Seconds float64 `json:"seconds,omitempty"`
	Seed    uint64  `json:"seed,omitempty"`
	// Stay is how many new records each one takes before it leaves.
	Stay uint64 `json:"stay,omitempty"`
}

// joins are what a worker's joiners found, one after the other or at once.
type joins struct {
	job *Job
	ctx *zsock.Context

	mu      sync.Mutex
	tally   plainTally
	connect *hdrhistogram.Histogram // from nothing to the first value
	join    *hdrhistogram.Histogram // from the subscription to the last value
}

func newJoins(job *Job) (*joins, error) {
	ctx, err := zsock.NewContext(zsock.NoCPU)
	return &joins{job: job, ctx: ctx, connect: newHistogram(), join: newHistogram()}, err
}

// idleJoins joins again and again, one reader at a time.
func idleJoins(ctx context.Context, job *Job, say func(ready) error) (Result, error) {
	j, err := newJoins(job)
	if err != nil {
		return Result{}, err
	}
	err = errors.Join(say(ready{}), job.waitCue())
	for range job.Joins.Count {
		if err == nil && ctx.Err() == nil {
			err = j.one()
		}
	}
	return j.result(err)
}

// busyJoins joins at random moments after each cue, with as many readers at once as
// there happen to be.
func busyJoins(ctx context.Context, job *Job, say func(ready) error) (Result, error) {
	j, err := newJoins(job)
	if err != nil {
		return Result{}, err
	}
	var (
		orders  = &job.Joins
		wg      sync.WaitGroup
		errs    = make([]error, orders.Count)
		moments = rand.New(rand.NewPCG(orders.Seed, 0))
	)
	err = say(ready{})
	for round := 0; round < orders.Rounds && err == nil; round++ {
		err = job.waitCue()
		for i := orders.Count * round / orders.Rounds; i < orders.Count*(round+1)/orders.Rounds; i++ {
			after := time.Duration(moments.Float64() * orders.Seconds * float64(time.Second))
			wg.Go(func() {
				select {
				case <-time.After(after):
					errs[i] = j.one()
				case <-ctx.Done():
				}
			})
		}
	}
	wg.Wait()
	return j.result(errors.Join(append(errs, err)...))
}

// one is the life of a joiner: it connects, subscribes, has the value of every
// topic, stays for a while, and leaves.
func (j *joins) one() (err error) {
	start := time.Now()
	r, err := newPlainReader(j.ctx, j.job.Endpoints[0], j.job.Topics)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	// One topic first: when it is answered, the connection is there.
	if err = r.socket.Subscribe(benchTopic(0)); err == nil {
		err = r.until(func() bool { return r.seen > 0 })
	}
	if err != nil {
		return err
	}
	connected := time.Now()
	if err = r.subscribe(j.job.Joins.ByName); err == nil {
		err = r.until(func() bool { return r.seen == len(r.topics) })
	}
	complete := time.Now()
	if err == nil {
		r.Complete = 1
		came := r.Live
		err = r.until(func() bool { return r.Live >= came+j.job.Joins.Stay })
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tally.merge(&r.plainTally)
	_ = j.connect.RecordValue(min(int64(connected.Sub(start)), latencyMax))
	_ = j.join.RecordValue(min(int64(complete.Sub(connected)), latencyMax))
	return err
}

// subscribe asks for the topics that one which has the first of them lacks.
func (r *plainReader) subscribe(byName bool) error {
	if !byName {
		return r.socket.Subscribe(benchTopics)
	}
	for n := 1; n < len(r.topics); n++ {
		if err := r.socket.Subscribe(benchTopic(n)); err != nil {
			return err
		}
	}
	return nil
}

func (r *plainReader) until(enough func() bool) error {
	for !enough() {
		if err := r.receive(); err != nil {
			return err
		}
	}
	return nil
}

func (j *joins) result(err error) (Result, error) {
	err = errors.Join(err, j.ctx.Close())
	r := Result{Plain: j.tally, Complete: j.tally.Complete == j.job.Joins.Count}
	for _, h := range []*hdrhistogram.Histogram{j.connect, j.join} {
		encoded, encErr := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		r.Phases, err = append(r.Phases, encoded), errors.Join(err, encErr)
	}
	return r, err
}
