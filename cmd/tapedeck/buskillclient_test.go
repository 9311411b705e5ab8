package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/control/titanic"
)

// killClientEnv says to a client process of TestBusKilled what it is: a killClientConfig.
const killClientEnv = "TAPEDECK_TEST_KILL_CLIENT"

// killClientConfig is a client process: how to reach the bus, and where each of its
// lanes goes on.
type killClientConfig struct {
	Name  string
	Bus   string
	Lanes []killLane
}

// killLane is a lane of a client, which has one order after the other carried out.
type killLane struct {
	Next  int        // number of the next order
	Order *killOrder // that is under way, or nil
}

// killOrder is one piece of work: its effect must be there once.
type killOrder struct {
	Name     string // of the effect
	Number   int    // in its lane
	Kind     string // "direct", "job", "import"
	Accepted string // id of the job, once it has been accepted
	Answered string // what was answered, once it was
}

// killEvent is what a client says, a line each. It is said before what it announces is
// begun, and after what it reports is certain; so what is known when the client is
// killed is true.
type killEvent struct {
	Lane  int
	What  string // "sent", "accepted", "answered", "closed", "told", "wrong"; of workers, "repeated"
	Order killOrder
	Text  string `json:",omitempty"` // why, of those told or wrong
}

// killClient is the client process.
type killClient struct {
	killClientConfig
	bus  *majordomo.Client
	jobs *titanic.Client
	stop chan struct{}

	mu  sync.Mutex // of out
	out *json.Encoder
}

// runKillClient gives orders until its standard input ends; it ends when those under way
// are through.
func runKillClient() error {
	c := &killClient{stop: make(chan struct{}), out: json.NewEncoder(os.Stdout)}
	if err := json.Unmarshal([]byte(os.Getenv(killClientEnv)), &c.killClientConfig); err != nil {
		return err
	}
	var err error
	if c.bus, err = majordomo.NewClient(majordomo.ClientConfig{
		Endpoints: strings.Split(c.Bus, ","), Heartbeat: killBeat, Timeout: 2 * time.Second, Backoff: time.Millisecond, BackoffMax: 50 * time.Millisecond,
	}); err != nil {
		return err
	}
	if c.jobs, err = titanic.NewClient(titanic.ClientConfig{Bus: c.bus, First: time.Millisecond, Most: 50 * time.Millisecond}); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is all it says
		close(c.stop)
	}()
	var lanes sync.WaitGroup
	for i := range c.Lanes {
		lanes.Go(func() { c.lane(i, &c.Lanes[i], control.NewClient(c.bus)) })
	}
	lanes.Wait()
	return c.bus.Close()
}

// say says one thing, in one write.
func (c *killClient) say(e killEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.out.Encode(e) // nobody to tell: then the test has gone
}

func (c *killClient) lane(n int, l *killLane, client *control.Client) {
	for {
		o := l.Order
		if l.Order = nil; o == nil {
			select {
			case <-c.stop:
				return
			default:
			}
			o = &killOrder{Name: fmt.Sprintf("%s-%d-%d", c.Name, n, l.Next), Number: l.Next, Kind: []string{"job", "direct", "job", "direct", "import", "direct"}[l.Next%6]}
			l.Next++
			c.say(killEvent{Lane: n, What: "sent", Order: *o})
		}
		if err := c.carryOut(n, o, client); err != nil {
			c.say(killEvent{Lane: n, What: "wrong", Order: *o, Text: err.Error()})
			return
		}
	}
}

// patient tries until it works, and says each time that it was told that it had not.
func (c *killClient) patient(n int, o *killOrder, try func() error) {
	for {
		err := try()
		if err == nil {
			return
		}
		c.say(killEvent{Lane: n, What: "told", Order: *o, Text: err.Error()})
	}
}

// carryOut sees an order through, from wherever it is.
func (c *killClient) carryOut(n int, o *killOrder, client *control.Client) error {
	answered := func(answer string) {
		o.Answered = answer
		c.say(killEvent{Lane: n, What: "answered", Order: *o})
	}
	switch o.Kind {
	case "direct":
		var done killEffect
		c.patient(n, o, func() error {
			return client.Again(context.Background(), uint64(o.Number+1), killService, killCommand, killArgs{o.Name}, &done)
		})
		answered(fmt.Sprint(done.Line))
		return done.of(o.Name)
	case "import":
		return c.importOrder(n, o, client, answered)
	}
	return c.jobOrder(n, o, answered)
}

// jobOrder has Titanic keep a command for the service until it is done. The command has
// the client and number of its lane and order, whoever stores it.
func (c *killClient) jobOrder(n int, o *killOrder, answered func(string)) error {
	ctx := context.Background()
	if o.Answered == "" {
		var id control.ClientID
		copy(id[:], fmt.Sprintf("%-8.8s%-8d", c.Name, n))
		args, err := json.Marshal(killArgs{o.Name})
		if err != nil {
			return err
		}
		body, err := control.AppendRequest(nil, &control.Request{Client: id, Number: uint64(o.Number + 1), Command: killCommand, Args: args})
		if err != nil {
			return err
		}
		var job string
		c.patient(n, o, func() (err error) {
			job, err = c.jobs.Request(ctx, killService, body...)
			return err
		})
		if err := c.accepted(n, o, job); err != nil {
			return err
		}
		reply, err := c.jobs.Wait(ctx, job)
		if err != nil {
			return fmt.Errorf("job %s was accepted, and is lost: %w", job, err)
		}
		r, err := control.ParseReply(reply)
		if err == nil {
			err = r.Err()
		}
		var done killEffect
		if err == nil {
			err = json.Unmarshal(r.Result, &done)
		}
		if err == nil {
			err = done.of(o.Name)
		}
		if err != nil {
			return fmt.Errorf("job %s: %w", job, err)
		}
		answered(fmt.Sprint(done.Line))
	}
	c.patient(n, o, func() error { return c.jobs.Close(ctx, o.Accepted) })
	c.say(killEvent{Lane: n, What: "closed", Order: *o})
	return nil
}

// accepted takes note of a job's id. One that was accepted before keeps its own.
func (c *killClient) accepted(n int, o *killOrder, id string) error {
	if o.Accepted != "" && o.Accepted != id {
		return fmt.Errorf("one order, two jobs: %s and %s", o.Accepted, id)
	}
	if o.Accepted == "" {
		o.Accepted = id
		c.say(killEvent{Lane: n, What: "accepted", Order: *o})
	}
	return nil
}

// importOrder has a tape made by a job of the serving process.
func (c *killClient) importOrder(n int, o *killOrder, client *control.Client, answered func(string)) error {
	ctx := context.Background()
	args, err := json.Marshal(control.ImportArgs{File: killImport, Tape: killTape(o.Name)})
	if err != nil {
		return err
	}
	var added control.JobAdded
	c.patient(n, o, func() error {
		return client.Again(ctx, uint64(2*o.Number+1), control.ServiceJob, "add", control.JobAdd{Kind: control.JobImport, Key: o.Name, Args: args}, &added)
	})
	if err := c.accepted(n, o, added.ID); err != nil {
		return err
	}
	var job control.JobState
	var lost error
	c.patient(n, o, func() error {
		err := client.Again(ctx, uint64(2*o.Number+2), control.ServiceJob, "wait", control.JobOf{ID: added.ID}, &job)
		if errors.Is(err, &control.Error{Code: control.NotFound}) {
			lost, err = fmt.Errorf("job %s was accepted, and is lost: %w", added.ID, err), nil
		}
		return err
	})
	var sum importSummary
	switch {
	case lost != nil:
		return lost
	case job.State != "done":
		return fmt.Errorf("job %s: %+v", added.ID, job)
	}
	if err := json.Unmarshal(job.Result, &sum); err != nil || sum.Records != killRecords || sum.Tape != killTape(o.Name) {
		return fmt.Errorf("job %s: its result is %s", added.ID, job.Result)
	}
	answered("imported")
	return nil
}

// What an order of an import makes.
const (
	killRecords = 50
	killImport  = "synth:topics=5,records=50,rate=1000,size=64,seed=5"
)

func killTape(name string) string { return strings.ToLower(name) + ".tape" }
