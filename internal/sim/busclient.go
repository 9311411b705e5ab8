package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/control/titanic"
)

// busClient is a process that gives commands and jobs, one after the other. What it
// was at when it was killed it takes up again, as one does that keeps a number with
// each thing that it wants done.
type busClient struct {
	run    *busRun
	p      *Process
	id     control.ClientID
	todo   int
	number uint64
	job    string // that it has given, and is to fetch
	closes bool   // the job: its reply is here
	isJob  bool   // what it is at
	begun  bool
	doing  string
}

func newBusClient(r *busRun, i int) *busClient {
	c := &busClient{run: r, todo: 3 + r.w.IntN(10)}
	c.id[0], c.id[15] = 1, byte(i)
	c.p = r.w.Process(fmt.Sprintf("client %d", i), c.boot)
	r.left += c.todo
	return c
}

func (c *busClient) boot() {
	if c.todo == 0 {
		return
	}
	bus, err := majordomo.NewClient(majordomo.ClientConfig{Endpoints: c.run.endpoints, Context: c.p.Context(), Timeout: 10 * c.run.heartbeat})
	if err != nil {
		c.run.w.Fail("no client: %v", err)
	}
	jobs, err := titanic.NewClient(titanic.ClientConfig{Bus: bus})
	if err != nil {
		c.run.w.Fail("no client of Titanic: %v", err)
	}
	c.p.Go(func() {
		for c.todo > 0 {
			if !c.begun {
				c.p.Sleep(c.run.w.Between(0, 20*c.run.heartbeat), nil)
				c.begun, c.isJob, c.job, c.closes = true, c.run.w.Chance(0.5), "", false
				c.number++
			}
			what := fmt.Sprintf("%s, %d", c.p.name, c.number)
			if c.isJob {
				c.give(jobs, what)
			} else {
				c.command(bus, what)
			}
			c.begun = false
			c.todo--
			c.run.left--
		}
		c.doing = "nothing"
	})
}

// pause is before something is tried again.
func (c *busClient) pause() { c.p.Sleep(c.run.w.Between(0, 4*c.run.heartbeat), nil) }

// command has a command done, for as long as it takes.
func (c *busClient) command(bus *majordomo.Client, what string) {
	w := c.run.w
	for {
		c.doing = "command " + what
		w.Logf("%s: command", what)
		r, args := asked(c.id, c.number, what)
		reply, err := c.ask(bus, r, &args)
		switch {
		case err != nil:
			w.Logf("%s: %v", what, err)
		case reply.Code == control.Done:
			c.done(what, reply)
			return
		case reply.Code != control.NotAvailable && reply.Code != control.Busy && reply.Code != control.Pending:
			w.Fail("%s: refused: %v", what, reply.Err())
		}
		c.pause()
	}
}

func (c *busClient) ask(bus *majordomo.Client, r *control.Request, args *busArgs) (*control.Reply, error) {
	reply, err := bus.Request(context.Background(), busServiceName, c.frames(r, args)...)
	if err != nil {
		return nil, err
	}
	parsed, err := control.ParseReply(reply)
	if err != nil || parsed.Client != r.Client || parsed.Number != r.Number {
		c.run.w.Fail("a reply to something else: %q, %v", reply, err)
	}
	return &parsed, nil
}

func (c *busClient) frames(r *control.Request, args *busArgs) [][]byte {
	r.Args = fmt.Appendf(nil, "{%q:%q}", "what", args.What)
	frames, err := control.AppendRequest(nil, r)
	if err != nil {
		c.run.w.Fail("no request: %v", err)
	}
	return frames
}

func (c *busClient) done(what string, reply *control.Reply) {
	var result busResult
	if err := (&control.Request{Args: reply.Result}).Decode(&result); err != nil {
		c.run.w.Fail("%s: the result is %s: %v", what, reply.Result, err)
	}
	c.run.told(what, &result)
	c.run.w.Logf("%s: done", what)
}

// give has a job done, and forgotten when its reply is here.
func (c *busClient) give(jobs *titanic.Client, what string) {
	w, ctx := c.run.w, context.Background()
	r, args := asked(c.id, c.number, what)
	frames := c.frames(r, &args)
	for c.job == "" || !c.closes && w.Chance(0.2) {
		c.doing = "giving job " + what
		w.Logf("%s: job", what)
		id, err := jobs.Request(ctx, busServiceName, frames...)
		switch {
		case err != nil:
			w.Logf("%s: %v", what, err)
			c.pause()
		case c.job != "" && c.job != id:
			w.Fail("%s, given again, is another job", what)
		default:
			c.job = id
		}
	}
	if !c.closes {
		c.fetched(r, what, c.fetch(jobs, what))
	}
	for c.closes = true; ; {
		c.doing = "closing job " + what
		if w.bug == bugBusClose {
			return
		}
		if err := jobs.Close(ctx, c.job); err == nil {
			return
		}
		c.pause()
	}
}

// fetched looks at the reply of a job.
func (c *busClient) fetched(r *control.Request, what string, reply [][]byte) {
	parsed, err := control.ParseReply(reply)
	if err != nil || parsed.Client != r.Client || parsed.Number != r.Number {
		c.run.w.Fail("%s: the reply is to something else: %q, %v", what, reply, err)
	}
	if parsed.Code != control.Done {
		c.run.w.Fail("%s: the reply of the job is %v: %v", what, parsed.Code, parsed.Err())
	}
	c.done(what, &parsed)
}

// fetch holds property 3.
func (c *busClient) fetch(jobs *titanic.Client, what string) [][]byte {
	for {
		c.doing = "fetching job " + what
		reply, ready, err := jobs.Reply(context.Background(), c.job)
		switch {
		case errors.Is(err, titanic.ErrUnknown):
			c.run.w.Fail("%s: Titanic has taken the job, and does not know it", what)
		case ready:
			return reply
		}
		c.p.Sleep(c.run.w.Between(0, 4*c.run.heartbeat)+time.Millisecond, nil)
	}
}
