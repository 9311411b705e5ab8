package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"sync"
)

// failoverTally is what readers and clients of a pair found, all together.
type failoverTally struct {
	// Of readers.
	Records   uint64 `json:"records"`    // that were new
	CameTwice uint64 `json:"came_twice"` // and were dropped by epoch, shard and sequence
	Repeated  uint64 `json:"repeated"`   // handed on though the same record had been before
	Wrong     uint64 `json:"wrong"`      // not what was published at their sequence
	Missing   uint64 `json:"missing"`    // never came
	Tail      uint64 `json:"tail"`       // of these, behind the last one that came
	// Of these.
	Incomplete uint64 `json:"incomplete"`  // were told of as gaps: they did not come to a server either, or to the subscriber
	AtTakeover uint64 `json:"at_takeover"` // the one that took over said that it does not have them for all
	Holes      string `json:"holes"`       // where the first of one reader lie
	Takeovers  string `json:"takeovers"`   // what was lost at each
	Foreign    uint64 `json:"foreign"`     // of another epoch
	Values     uint64 `json:"values"`      // last values
	Notices    uint64 `json:"notices"`     // by which a server said that it is active or passive
	Pieces     int    `json:"pieces"`      // beyond a hole, the most at once
	Connects   uint64 `json:"connects"`    // connections that were made
	Reached    uint64 `json:"reached"`     // numbers up to the greatest that came
	// Of clients that make requests.
	Requests uint64 `json:"requests"`
	Answered uint64 `json:"answered"` // by the reply to this request
	Failed   uint64 `json:"failed"`   // given up
	Why      string `json:"why"`      // the first of those was
}

func (t *failoverTally) merge(o *failoverTally) {
	t.Records += o.Records
	t.CameTwice += o.CameTwice
	t.Repeated += o.Repeated
	t.Wrong += o.Wrong
	t.Missing += o.Missing
	t.Tail += o.Tail
	t.Incomplete += o.Incomplete
	t.AtTakeover += o.AtTakeover
	t.Holes, t.Takeovers = cmp.Or(t.Holes, o.Holes), cmp.Or(t.Takeovers, o.Takeovers)
	t.Foreign += o.Foreign
	t.Values += o.Values
	t.Notices += o.Notices
	t.Pieces = max(t.Pieces, o.Pieces)
	t.Connects += o.Connects
	t.Reached = max(t.Reached, o.Reached)
	t.Requests += o.Requests
	t.Answered += o.Answered
	t.Failed += o.Failed
	t.Why = cmp.Or(t.Why, o.Why)
}

// failoverNews is what the measuring process tells clients of a pair: a kill, or the
// end.
type failoverNews struct {
	Killed int64  `json:"killed,omitempty"` // when the signal was sent; monotonic, ns
	Dead   int64  `json:"dead,omitempty"`   // when the process was gone
	Sent   uint64 `json:"sent,omitempty"`   // at the end: records of all
}

// failoverSeen is what they answer to a kill: when the first record or reply came to
// each that the killed process cannot have sent, and when nothing was missing any more;
// from the kill, ns; 0: not yet.
type failoverSeen struct {
	First []int64 `json:"first,omitempty"`
	Whole []int64 `json:"whole,omitempty"`
}

// failoverClient is a client of a pair, of whatever kind.
type failoverClient interface {
	// await has it measure a kill. It puts something into the channel that it was made
	// with when it has seen what it waits for.
	await(n failoverNews)
	// saw returns when the first record or reply came, and when nothing was missing any
	// more; from the kill, ns; 0: not yet.
	saw() (first, whole int64)
}

// failoverClients are the clients of a pair in one process, with what runs them.
type failoverClients struct {
	ctx    context.Context
	cancel context.CancelFunc
	all    []failoverClient
	came   chan struct{} // from each client after each kill

	running sync.WaitGroup
	mu      sync.Mutex
	errs    []error
	failed  chan struct{} // closed when something that runs has failed
}

func newFailoverClients(ctx context.Context, clients int) *failoverClients {
	f := &failoverClients{came: make(chan struct{}, clients), failed: make(chan struct{})}
	f.ctx, f.cancel = context.WithCancel(ctx)
	return f
}

func (f *failoverClients) add(c failoverClient) { f.all = append(f.all, c) }

// run runs a part of a client until stop is called.
func (f *failoverClients) run(part func(context.Context) error) {
	f.running.Go(func() {
		if err := part(f.ctx); err != nil && !errors.Is(err, context.Canceled) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.errs = append(f.errs, err); len(f.errs) == 1 {
				close(f.failed)
			}
		}
	})
}

// stop ends what runs, and returns how it failed.
func (f *failoverClients) stop() error {
	f.cancel()
	f.running.Wait()
	return errors.Join(f.errs...)
}

// errClientEnded: why, stop says.
var errClientEnded = errors.New("bench: a client ended")

// serve measures kills as it is told of them, until it is told the end: how many
// records there were.
func (f *failoverClients) serve(job *Job, say func(ready) error) (sent uint64, err error) {
	for {
		n, err := job.hearNews()
		if err != nil || n.Killed == 0 {
			return n.Sent, err
		}
		for _, c := range f.all {
			c.await(n)
		}
		for range f.all {
			select {
			case <-f.came:
			case <-f.failed:
				return 0, errClientEnded
			case <-f.ctx.Done():
				return 0, context.Cause(f.ctx)
			}
		}
		var seen failoverSeen
		for _, c := range f.all {
			first, whole := c.saw()
			seen.First, seen.Whole = append(seen.First, first), append(seen.Whole, whole)
		}
		if err := say(ready{Failover: seen}); err != nil {
			return 0, err
		}
	}
}

// hearNews waits, in the worker, for what the measuring process tells next.
func (job *Job) hearNews() (n failoverNews, err error) {
	line, err := job.in.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &n)
	}
	return n, err
}
