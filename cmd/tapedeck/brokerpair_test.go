package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// pairedBrokers are where two brokers are.
type pairedBrokers struct {
	*pairPlace
	bus [2]string
}

func newPairedBrokers(t *testing.T) *pairedBrokers {
	place := newPairPlace(t)
	return &pairedBrokers{place, place.endpoints("bus")}
}

// arguments are those of serve that make it one of the brokers.
func (p *pairedBrokers) arguments(i int) []string {
	return []string{
		"--bus", p.bus[i] + "," + p.bus[1-i], "--set", "broker.pair=" + pairRoles[i],
		"--set", "broker.pair_bind=" + p.links[i], "--set", "broker.pair_peer=" + p.links[1-i], "--set", "broker.pair_heartbeat=" + killBeat.String(),
	}
}

// TestBrokerPairKilled is TestBusKilled with a pair of brokers, and of processes of which
// one has the jobs. Parts are also stopped for a while and go on, so that a broker comes
// back that thinks it is the active one.
func TestBrokerPairKilled(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	p := newPairedBrokers(t)
	k := newBusKill(t, p.dir, strings.Join(p.bus[:], ","))
	k.add("broker", 2, func(i int) *exec.Cmd { return k.serve("broker", p.arguments(i)...) })
	k.add("jobs", 2, func(int) *exec.Cmd { return k.serveJobs("--set", "jobs.locked=wait") })
	k.addUsers()
	stopped := 0
	k.rounds(rounds, func(p *busPart, rng *rand.Rand) {
		if p.name[:len(p.name)-1] != "broker" || rng.IntN(3) > 0 {
			p.kill()
			p.start()
			return
		}
		stopped++
		p.signal(syscall.SIGSTOP)
		// Not until work goes on: a backup that has just been started, and never heard
		// the primary that stands still, waits for an operator.
		time.Sleep(time.Duration(rng.IntN(600)) * time.Millisecond) // the moments are the test's input
		p.signal(syscall.SIGCONT)
	})
	k.end()
	if (k.counts["repeated"] == 0 || stopped == 0) && !testing.Short() {
		t.Errorf("stopped %d times, and worker asked again %d times: this run shows little", stopped, k.counts["repeated"])
	}
}

func (p *busPart) signal(s syscall.Signal) {
	p.k.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.k.Fatal(err)
	}
}

type brokerMember = pairMember[brokerPairStatus]

func (p *pairedBrokers) start(t *testing.T, i int, heartbeat time.Duration) *brokerMember {
	t.Helper()
	args := append([]string{"serve", "--only", "broker", "--json", "--tapes", p.dir, "--metrics", "", "--set", "broker.life=1h"}, p.arguments(i)...)
	return startMember[brokerPairStatus](t, p.pairPlace, "broker.pair", append(args, "--set", "broker.pair_heartbeat="+heartbeat.String())...)
}

// awaitBroker waits until a broker is in a state, and knows so many workers.
func awaitBroker(m *brokerMember, state string, workers int) {
	m.t.Helper()
	first := ""
	m.await(state, func(s brokerPairStatus) bool {
		first = m.first
		return s.State == state && s.Workers == workers
	})
	if first != "serve.serving" {
		m.t.Errorf("the first message is %s", first)
	}
}

// pairOnce is a service that does each command once, and tells when.
type pairOnce struct {
	mu   sync.Mutex
	done map[control.Key]int
}

type pairDone struct {
	At time.Time `json:"at"` // of the doing
}

const pairWorkers = 4

func (o *pairOnce) run(t *testing.T, endpoints []string) {
	t.Helper()
	service, err := control.NewService("once", control.ServiceConfig{}, control.Command{Name: "do", Summary: "take effect", Do: func(_ context.Context, r *control.Request) (any, error) {
		at := time.Now()
		o.mu.Lock()
		o.done[control.Key{Client: r.Client, Number: r.Number}]++
		o.mu.Unlock()
		time.Sleep(time.Millisecond) // it is work, so that requests are outstanding
		return pairDone{at}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	w, err := majordomo.NewWorker(majordomo.WorkerConfig{Endpoints: endpoints, Service: "once", Handler: service.Handle, Concurrency: pairWorkers, BackoffMax: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, service.Close()); err != nil {
			t.Error(err)
		}
	})
}

// pairLoad is a client with a thousand commands under way, each of which is followed by
// another one.
type pairLoad struct {
	t       *testing.T
	client  *control.Client
	lanes   sync.WaitGroup
	stop    atomic.Bool
	answers atomic.Int64

	mu    sync.Mutex
	after time.Time     // the first that was done after this
	took  chan struct{} // closed when it was answered
}

const pairOutstanding = 1000

func startPairLoad(t *testing.T, endpoints []string) *pairLoad {
	t.Helper()
	m, err := majordomo.NewClient(majordomo.ClientConfig{Endpoints: endpoints, Outstanding: pairOutstanding, Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	l := &pairLoad{t: t, client: control.NewClient(m)}
	for range pairOutstanding {
		l.lanes.Go(func() {
			for !l.stop.Load() {
				var done pairDone
				if err := l.client.Do(context.Background(), "once", "do", nil, &done); err != nil {
					if !l.stop.Load() {
						t.Errorf("a command: %v", err)
					}
					return
				}
				l.answers.Add(1)
				l.answered(done.At)
			}
		})
	}
	t.Cleanup(func() {
		l.stop.Store(true)
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		l.lanes.Wait()
	})
	return l
}

func (l *pairLoad) answered(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.took != nil && at.After(l.after) {
		close(l.took)
		l.took = nil
	}
}

// await is closed when a command has been answered that was done after a moment.
func (l *pairLoad) await(after time.Time) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.after, l.took = after, make(chan struct{})
	return l.took
}

// TestBrokerPairTakesOver: the active one of a pair of brokers is killed, and at last
// stopped, with a thousand commands outstanding: each is answered, and done once, in less
// time than clients of one broker wait.
func TestBrokerPairTakesOver(t *testing.T) {
	kills := 5
	if testing.Short() {
		kills = 1
	}
	for _, heartbeat := range []time.Duration{100 * time.Millisecond, pairHeartbeat} {
		t.Run(heartbeat.String(), func(t *testing.T) {
			p := newPairedBrokers(t)
			members := [2]*brokerMember{p.start(t, 0, heartbeat), p.start(t, 1, heartbeat)}
			o := &pairOnce{done: map[control.Key]int{}}
			o.run(t, p.bus[:])
			awaitBroker(members[0], "active", pairWorkers)
			load := startPairLoad(t, p.bus[:])
			rng := rand.New(rand.NewPCG(testSeed(t), 0))
			active := 0
			var times []time.Duration
			takeover := func(harm func(*brokerMember)) {
				awaitBroker(members[1-active], "passive", pairWorkers)
				awaitBroker(members[active], "active", pairWorkers)
				time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond) // the moments are the test's input
				began := time.Now()
				harm(members[active])
				<-load.await(time.Now())
				times = append(times, time.Since(began))
				active = 1 - active
			}
			for range kills {
				takeover(func(m *brokerMember) {
					m.signal(syscall.SIGKILL)
					m.code()
				})
				members[1-active] = p.start(t, 1-active, heartbeat)
			}
			killed := slices.Clone(times)
			takeover(func(m *brokerMember) { m.signal(syscall.SIGSTOP) })
			members[1-active].signal(syscall.SIGCONT)
			awaitBroker(members[1-active], "passive", pairWorkers) // it yields
			load.stop.Store(true)
			load.lanes.Wait()
			o.mu.Lock()
			defer o.mu.Unlock()
			for key, n := range o.done {
				if n != 1 {
					t.Errorf("%v was done %d times", key, n)
				}
			}
			if got := load.answers.Load(); got != int64(len(o.done)) {
				t.Errorf("%d commands were done, and %d answered", len(o.done), got)
			}
			slices.Sort(killed)
			t.Logf("%d commands, %d outstanding; kill to a reply to what was done after it: median %v, longest %v; of one that was stopped %v",
				len(o.done), pairOutstanding, killed[len(killed)/2], killed[len(killed)-1], times[len(times)-1])
			for _, m := range members {
				m.signal(syscall.SIGINT)
				if code := m.code(); code != 0 {
					t.Errorf("exit code %d: %s", code, m.stderr)
				}
			}
		})
	}
}

// TestBrokerPairOfOthers: a client and workers written from the specifications work with
// the pair, also where the active one is killed. Their requests carry no numbers, so they
// hear nothing from the passive one, and go by their timeout; the worker of each broker
// is another one.
func TestBrokerPairOfOthers(t *testing.T) {
	interpreter := zsocktest.Python(t)
	const peers = "../../control/majordomo/testdata/"
	p := newPairedBrokers(t)
	members := [2]*brokerMember{p.start(t, 0, killBeat), p.start(t, 1, killBeat)}
	for _, bus := range p.bus {
		startProgram(t, interpreter, peers+"mdp_worker.py", bus, "shout", "2500", "3")
	}
	awaitBroker(members[0], "active", 1)
	awaitBroker(members[1], "passive", 1)
	const count = 100
	// It begins at the passive one.
	client := startProgram(t, interpreter, peers+"mdp_pair_client.py", p.bus[1], p.bus[0], "shout", fmt.Sprint(count), "250")
	lines := bufio.NewScanner(client.stdout)
	for i := range count {
		if !lines.Scan() || lines.Text() != fmt.Sprintf("REQUEST %d", i) {
			t.Fatalf("reply %d is %q\n%s", i, lines.Text(), client.stderr)
		}
		if i == count/2 {
			members[0].signal(syscall.SIGKILL)
			members[0].code()
		}
	}
	moved := 0
	if !lines.Scan() {
		t.Fatal(client.stderr)
	}
	if _, err := fmt.Sscanf(lines.Text(), "moved %d", &moved); err != nil || moved < 2 {
		t.Errorf("the client ends with %q, want that it went to the other broker twice", lines.Text())
	}
	awaitBroker(members[1], "active", 1)
}
