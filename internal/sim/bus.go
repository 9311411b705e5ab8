package sim

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
)

// busRun is a control bus: a broker, that may come back elsewhere, a service that does
// commands once, Titanic on a disk that may forget, and clients that give commands and
// jobs. What must hold:
//
//  1. A command takes effect once, however often it was asked for: again only where the
//     process that did it ended before it had kept on its disk that it had.
//  2. A client that is told that a command is done is told of an effect that it had.
//  3. A job that Titanic has taken, over all losses of power, is done, and its reply is
//     there until it is closed. The same job given again is the same job.
//  4. When all is calm, every command and job is done soon, and then nothing is left:
//     no request at the broker, no job at Titanic; every worker is listed.
type busRun struct {
	w         *World
	heartbeat time.Duration
	paired    bool // the brokers are a pair, and run both
	endpoints []string
	brokers   []*busBroker
	service   *busService
	titanic   *busTitanic
	clients   []*busClient
	effects   map[string]int // how often it was done, by what it is
	left      int            // things that clients have yet to do
}

const busServiceName = "counter"

func runBus(w *World) { newBusRun(w, false).run() }

func newBusRun(w *World, paired bool) *busRun {
	return &busRun{w: w, paired: paired, heartbeat: one(w, 250*time.Millisecond, time.Second), effects: map[string]int{}}
}

func (r *busRun) run() {
	w := r.w
	t := &trouble{w: w, clocks: true, disks: true, flaps: true, longest: 20 * r.heartbeat}
	r.build()
	w.Logf("heartbeat %v, %d brokers, concurrency %d, prefetch %d, replies kept on the disk: %v", r.heartbeat, len(r.brokers), r.service.concurrency, r.service.prefetch, r.service.stored)
	t.processes = append(t.processes, r.service.p, r.titanic.p)
	for _, c := range r.clients {
		t.processes = append(t.processes, c.p)
	}
	switch {
	case r.paired:
		t.processes = append(t.processes, r.brokers[0].p, r.brokers[1].p)
		t.links = append(t.links, r.pair())
	case len(r.brokers) == 1:
		t.processes = append(t.processes, r.brokers[0].p)
	default:
		w.Every(func() time.Duration { return w.Between(0, 60*r.heartbeat) }, func() bool {
			if !t.over {
				r.move()
			}
			return !t.over
		})
	}
	r.brokers[0].p.Start()
	for _, p := range t.processes {
		w.After(w.Between(0, one(w, 0, 5*r.heartbeat)), p.Start)
	}
	hub := append([]*busBroker{}, r.brokers...)
	for _, p := range t.processes {
		for _, b := range hub {
			if p != b.p {
				t.links = append(t.links, []*link{w.way(p, b.p), w.way(b.p, p)})
			}
		}
	}
	t.run(w.Between(20*r.heartbeat, 120*r.heartbeat), w.Between(r.heartbeat/2, 10*r.heartbeat))
	t.end()
	r.settle()
}

func (r *busRun) build() {
	w := r.w
	brokers := 2
	if !r.paired {
		brokers = one(w, 1, 1, 2)
	}
	for i := range brokers {
		b := &busBroker{run: r, endpoint: []string{"tcp://here", "tcp://there"}[i]}
		b.p = w.Process("broker", b.boot)
		r.brokers, r.endpoints = append(r.brokers, b), append(r.endpoints, b.endpoint)
	}
	r.service = newBusService(r)
	r.titanic = newBusTitanic(r)
	for i := range 1 + w.IntN(3) {
		r.clients = append(r.clients, newBusClient(r, i))
	}
	for _, p := range w.processes {
		p.drift = float64(w.IntN(200) - 100)
	}
}

// move ends the broker that runs and starts another one elsewhere.
func (r *busRun) move() {
	for i, b := range r.brokers {
		if b.p.Up() {
			b.p.Kill()
			next := r.brokers[(i+1)%len(r.brokers)]
			r.w.After(r.w.Between(0, 10*r.heartbeat), func() {
				if !r.brokerUp() {
					next.p.Start()
				}
			})
			return
		}
	}
}

// brokerUp reports whether a broker runs: there are never two.
func (r *busRun) brokerUp() bool {
	return slices.ContainsFunc(r.brokers, func(b *busBroker) bool { return b.p.Up() })
}

// busBroker is a process with a majordomo.Broker.
type busBroker struct {
	run      *busRun
	p        *Process
	endpoint string
	broker   *majordomo.Broker
	half     *busHalf // of a pair, or nil
}

func (b *busBroker) boot() {
	cfg := majordomo.BrokerConfig{Endpoints: []string{b.endpoint}, Context: b.p.Context(), Heartbeat: b.run.heartbeat, Life: 60 * b.run.heartbeat}
	if b.half != nil {
		if !b.half.boot() {
			return
		}
		cfg.Accept = b.half.accept
	}
	var err error
	if b.broker, err = majordomo.NewBroker(cfg); err != nil {
		b.run.w.Fail("the broker does not start: %v", err)
	}
	b.p.Go(func() {
		err := b.broker.Run(context.Background())
		b.run.w.Fail("the broker has ended: %v", err)
	})
}

// did takes note of an effect. It is called by the service's command.
func (r *busRun) did(what string) int {
	r.effects[what]++
	return r.effects[what]
}

// check holds property 1, after a command was handled.
func (r *busRun) check() {
	for _, what := range slices.Sorted(maps.Keys(r.effects)) {
		if times := r.effects[what]; times > 1+r.service.excused[what] {
			r.w.Fail("%s was done %d times, and %d of them are excused", what, times, r.service.excused[what])
		}
	}
}

// told holds property 2.
func (r *busRun) told(what string, result *busResult) {
	if times := r.effects[what]; result.What != what || result.Times > times || result.Times < 1 {
		r.w.Fail("%s was done %d times, and its client is told %+v", what, times, *result)
	}
}

type busArgs struct {
	What string `json:"what"`
}

type busResult struct {
	What  string `json:"what"`
	Times int    `json:"times"`
}

// settle holds property 4.
func (r *busRun) settle() {
	if !r.brokerUp() {
		r.brokers[0].p.Start()
	}
	if !r.w.RunUntil(20*time.Minute, r.heartbeat, func() bool { return r.left == 0 }) {
		r.w.Fail("all is calm, and %d things are not done: %s", r.left, r.undone())
	}
	r.w.Run(100 * r.heartbeat)
	r.checkPair()
	for _, b := range r.brokers {
		if !b.p.Up() {
			continue
		}
		s := b.broker.State()
		if want := r.service.concurrency + 3*titanicConcurrency; s.Open != 0 || s.Workers != want {
			r.w.Fail("all is calm, and the broker holds %d requests of %d workers, want 0 and %d: %+v", s.Open, s.Workers, want, s.Services)
		}
	}
	jobs, err := r.titanic.titanic.List()
	if err != nil || len(jobs) > 0 {
		r.w.Fail("all is calm, and Titanic has jobs: %+v, %v", jobs, err)
	}
	r.check()
}

func (r *busRun) undone() (list string) {
	for _, c := range r.clients {
		list += c.p.name + ": " + c.doing + "; "
	}
	return list
}

// asked is a request for busServiceName.
func asked(id control.ClientID, number uint64, what string) (*control.Request, busArgs) {
	return &control.Request{Client: id, Number: number, Command: "do"}, busArgs{What: what}
}
