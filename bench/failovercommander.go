package bench

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
)

// failoverCommanders are clients of a pair of brokers, each of which gives commands
// without end, several at once, until the measuring process says that it is enough.
func failoverCommanders(ctx context.Context, job *Job, say func(ready) error) (res Result, err error) {
	o := &job.Failover
	f := newFailoverClients(ctx, o.Readers)
	defer func() { err = errors.Join(err, f.stop()) }()
	all := make([]*commander, o.Readers)
	for i := range all {
		bus, err := majordomo.NewClient(majordomo.ClientConfig{
			Endpoints: job.Endpoints, Heartbeat: o.Heartbeat, Tries: commandTries, Outstanding: o.AtOnce,
		})
		if err != nil {
			return res, err
		}
		defer func() { err = errors.Join(err, bus.Close()) }()
		all[i] = &commander{client: control.NewClient(bus), next: uint64(i) << 32, came: f.came}
		f.add(all[i])
	}
	if err := say(ready{}); err != nil {
		return res, err
	}
	for _, c := range all {
		for range o.AtOnce {
			c.slots.Go(func() { c.give(f.ctx) })
		}
	}
	if _, err := f.serve(job, say); err != nil {
		return res, err
	}
	for _, c := range all {
		t := c.end()
		res.Failover.merge(&t)
	}
	return res, nil
}

// commandTries is how often a command is tried: by its number it is done once.
const commandTries = 20

// commander is a client that gives commands, several at once.
type commander struct {
	client *control.Client
	came   chan<- struct{}
	slots  sync.WaitGroup

	mu    sync.Mutex
	tally failoverTally
	next  uint64 // the number of the next command; those of all clients differ
	open  int    // commands that are on their way
	ended bool

	kill   int          // how many there were
	news   failoverNews // the latest
	before int          // commands that are on their way since before it
	first  int64
	whole  int64
}

// give gives one command after the other.
func (c *commander) give(ctx context.Context) {
	for {
		number, kill, ok := c.begin()
		if !ok || ctx.Err() != nil {
			return
		}
		var result countArgs
		err := c.client.Do(ctx, benchService, benchCommand, countArgs{Number: number}, &result)
		if err == nil && result.Number != number {
			err = errors.New("bench: the reply to another command")
		}
		c.done(kill, result.At, err)
	}
}

func (c *commander) begin() (number uint64, kill int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return 0, 0, false
	}
	c.next++
	c.open++
	c.tally.Requests++
	return c.next, c.kill, true
}

// done takes how a command went that was given when there had been so many kills, and
// that was carried out at a time.
func (c *commander) done(kill int, at int64, err error) {
	now := monotonic()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if err != nil {
		c.tally.Failed++
		if c.tally.Why == "" {
			c.tally.Why = err.Error()
		}
	} else {
		c.tally.Answered++
	}
	if c.kill == 0 || c.first != 0 && c.whole != 0 {
		return
	}
	if kill < c.kill {
		c.before--
	}
	// What was carried out when the killed broker was gone, that one has not answered.
	if err == nil && at > c.news.Dead && c.first == 0 {
		c.first = now - c.news.Killed
	}
	if c.before == 0 && c.first != 0 {
		c.whole = now - c.news.Killed
		c.came <- struct{}{}
	}
}

// await implements failoverClient.
func (c *commander) await(n failoverNews) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kill++
	c.news, c.before, c.first, c.whole = n, c.open, 0, 0
}

// saw implements failoverClient.
func (c *commander) saw() (first, whole int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first, c.whole
}

// end gives no more commands, and returns what became of all when none is on its way.
func (c *commander) end() failoverTally {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.slots.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tally
}

// failoverWork is how long a command takes its worker.
const failoverWork = 2 * time.Millisecond
