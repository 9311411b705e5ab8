package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/tape"
)

// Those who die are noticed soon; those who are only slow may be taken for dead, which
// costs time and nothing else.
const (
	killBeat     = 100 * time.Millisecond
	killLiveness = 3
	killLanes    = 8 // of a client: so many orders are under way
)

// TestBusKilled kills the broker, the process with the jobs, workers and clients at
// random while clients have work done, each in a process of its own, and starts them
// again. No job that was accepted is lost; no command and no job has its effect twice,
// though requests are said again by clients, by the broker and by the job log; and
// every request is answered, or its client is told that it is not.
func TestBusKilled(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	dir := t.TempDir()
	k := newBusKill(t, dir, "ipc://"+filepath.Join(dir, "bus"))
	k.add("broker", 1, func(int) *exec.Cmd { return k.serve("broker") })
	k.add("jobs", 1, func(int) *exec.Cmd { return k.serveJobs() })
	k.addUsers()
	k.rounds(rounds, func(p *busPart, _ *rand.Rand) {
		p.kill()
		p.start()
	})
	k.end()
	if k.counts["repeated"] == 0 && !testing.Short() {
		t.Error("no worker was asked again for what it had done: this run shows little")
	}
}

func newBusKill(t *testing.T, dir, bus string) *busKill {
	k := &busKill{T: t, dir: dir, bus: bus, effects: filepath.Join(dir, "effects"), orders: map[string]*killOrder{}, lines: map[string]int{}}
	k.more = sync.NewCond(&k.mu)
	if err := os.Mkdir(filepath.Join(dir, "tapes"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(k.effects, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	k.spawner = newSpawner(t)
	t.Cleanup(k.killAll)
	return k
}

// serve is a part of serve.
func (k *busKill) serve(part string, more ...string) *exec.Cmd {
	return exec.Command("tapedeck", append([]string{"serve", "--only", part, "--bus", k.bus, "--tapes", filepath.Join(k.dir, "tapes"), "--metrics", "",
		"--set", "broker.heartbeat=" + killBeat.String(), "--set", fmt.Sprint("broker.liveness=", killLiveness)}, more...)...)
}

func (k *busKill) serveJobs(more ...string) *exec.Cmd {
	return k.serve("jobs", append(more, "--set", "jobs.retry=5ms", "--set", "jobs.retry_max=100ms", "--set", "jobs.at_once=16", "--set", "jobs.workers=4")...)
}

// addUsers adds workers and clients.
func (k *busKill) addUsers() {
	k.add("worker", 2, func(int) *exec.Cmd {
		cmd := exec.Command("tapedeck-test-worker")
		cmd.Env = append(os.Environ(), killWorkerBus+"="+k.bus, killWorkerFile+"="+k.effects)
		return cmd
	})
	k.add("client", 3, k.client)
}

// rounds lets work go on for a while and has something done to a part, again and again.
func (k *busKill) rounds(n int, harm func(*busPart, *rand.Rand)) {
	rng := rand.New(rand.NewPCG(testSeed(k.T), 0))
	began := time.Now()
	roles := []string{"broker", "jobs", "worker", "client"}
	for range n {
		k.await(rng.IntN(60))
		of := k.parts[roles[rng.IntN(len(roles))]]
		harm(of[rng.IntN(len(of))], rng)
		k.check()
	}
	kills := k.kills()
	k.mu.Lock() // those who were not killed go on
	defer k.mu.Unlock()
	k.Logf("%d rounds in %v: killed %v; %d orders, %v, %d effects", n, time.Since(began), kills, len(k.orders), k.counts, len(k.lines))
}

// busKill is a bus whose parts are killed.
type busKill struct {
	*testing.T
	dir     string
	bus     string
	effects string
	parts   map[string][]*busPart // by role
	spawner *spawner

	mu       sync.Mutex
	more     *sync.Cond
	orders   map[string]*killOrder // by name: how far each has come
	clients  [][]killLane          // as they would go on
	progress int                   // steps that orders have come on
	counts   map[string]int        // of events
	wrong    []string

	read  int64          // bytes of the effects
	lines map[string]int // of the effects, by name
	made  map[string]time.Time
}

// busPart is a process that is killed and started again.
type busPart struct {
	k     *busKill
	name  string
	make  func() *exec.Cmd
	kills int

	cmd    *exec.Cmd
	stdin  io.Closer
	stderr *lines
	gone   chan struct{} // closed when it has ended, and what it said was read

	mu     sync.Mutex
	wanted bool // it is to end
}

func (k *busKill) add(role string, n int, command func(i int) *exec.Cmd) {
	if k.parts == nil {
		k.parts, k.counts, k.made = map[string][]*busPart{}, map[string]int{}, map[string]time.Time{}
	}
	for i := range n {
		p := &busPart{k: k, name: fmt.Sprint(role, i), make: func() *exec.Cmd { return command(i) }}
		k.parts[role] = append(k.parts[role], p)
		p.start()
	}
}

// start starts a part.
func (p *busPart) start() {
	p.k.Helper()
	p.cmd, p.stderr, p.gone, p.wanted = p.make(), newLines(), make(chan struct{}), false
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		p.k.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		p.k.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		p.k.Fatal(err)
	}
	if err := p.k.spawner.start(p.cmd); err != nil {
		p.k.Fatal(err)
	}
	go p.follow(p.cmd, p.gone, stdout, stderr)
}

// follow takes in what a process says, until it has ended.
func (p *busPart) follow(cmd *exec.Cmd, gone chan struct{}, stdout, stderr io.Reader) {
	defer close(gone)
	var reading sync.WaitGroup
	reading.Go(func() { p.stderr.read(stderr) })
	for said := bufio.NewScanner(stdout); said.Scan(); {
		var e killEvent
		if json.Unmarshal(said.Bytes(), &e) == nil {
			p.k.take(p, &e)
		}
	}
	reading.Wait()
	err := cmd.Wait()
	p.mu.Lock()
	wanted := p.wanted
	p.mu.Unlock()
	if !wanted {
		p.k.say(fmt.Sprintf("%s ended by itself: %v\n%s", p.name, err, p.stderr))
	}
}

// kill ends a part as a crash does, and returns when all that it has said is known.
func (p *busPart) kill() {
	p.mu.Lock()
	p.wanted = true
	p.mu.Unlock()
	p.kills++
	_ = p.cmd.Process.Kill()
	<-p.gone
}

func (k *busKill) killAll() {
	for _, of := range k.parts {
		for _, p := range of {
			p.kill()
		}
	}
}

func (k *busKill) kills() map[string]int {
	n := map[string]int{}
	for role, of := range k.parts {
		for _, p := range of {
			n[role] += p.kills
		}
	}
	return n
}

// client is a client process that goes on where the one before was killed. What that one
// had asked a service for directly nobody knows any more.
func (k *busKill) client(i int) *exec.Cmd {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.clients) <= i {
		k.clients = append(k.clients, make([]killLane, killLanes))
	}
	cfg := killClientConfig{Name: fmt.Sprint("c", i), Bus: k.bus, Lanes: slices.Clone(k.clients[i])}
	for n := range cfg.Lanes {
		if o := cfg.Lanes[n].Order; o != nil && o.Kind == "direct" {
			cfg.Lanes[n].Order, k.clients[i][n].Order = nil, nil
		}
	}
	b, err := json.Marshal(cfg)
	if err != nil {
		k.Fatal(err)
	}
	cmd := exec.Command("tapedeck-test-client")
	cmd.Env = append(os.Environ(), killClientEnv+"="+string(b))
	return cmd
}

// take takes in what a client or a worker says.
func (k *busKill) take(p *busPart, e *killEvent) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.counts[e.What]++
	i := slices.Index(k.parts["client"], p)
	if i < 0 {
		return // a worker has said it
	}
	l, o := &k.clients[i][e.Lane], e.Order
	switch e.What {
	case "sent":
		if k.orders[o.Name] != nil || o.Number != l.Next {
			k.wrong = append(k.wrong, fmt.Sprintf("%s: order %s comes again", p.name, o.Name))
		}
		l.Next = o.Number + 1
		fallthrough
	case "accepted", "answered", "closed":
		k.progress++
	case "wrong":
		k.wrong = append(k.wrong, fmt.Sprintf("%s: order %s: %s", p.name, o.Name, e.Text))
	}
	k.orders[o.Name], l.Order = &o, &o
	if e.What == "closed" || e.What == "answered" && o.Kind != "job" {
		l.Order = nil
	}
	k.more.Broadcast()
}

func (k *busKill) say(wrong string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wrong = append(k.wrong, wrong)
	k.more.Broadcast()
}

// await waits until orders have come so many steps on.
func (k *busKill) await(n int) {
	k.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for n += k.progress; k.progress < n && len(k.wrong) == 0; {
		k.more.Wait()
	}
	if len(k.wrong) > 0 {
		k.Fatal(strings.Join(k.wrong, "\n"))
	}
}

// check holds the effects that there are against what clients were told.
func (k *busKill) check() {
	k.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	b, err := os.ReadFile(k.effects)
	if err != nil {
		k.Fatal(err)
	}
	for line := range strings.Lines(string(b[k.read:])) {
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		k.read += int64(len(line))
		words := strings.Fields(line)
		name := words[len(words)-1]
		if k.lines[name] != 0 {
			k.Errorf("%s has its effect twice, in lines %d and %d", name, k.lines[name], len(k.lines)+1)
		}
		k.lines[name] = len(k.lines) + 1
	}
	for name, o := range k.orders {
		switch {
		case o.Answered == "":
		case o.Kind == "import":
			info, err := os.Stat(filepath.Join(k.dir, "tapes", killTape(name), manifestFile))
			if err != nil {
				k.Errorf("%s was imported: %v", name, err)
				continue
			}
			if made, ok := k.made[name]; ok && made != info.ModTime() {
				k.Errorf("%s was imported once more", name)
			}
			k.made[name] = info.ModTime()
		case o.Answered != fmt.Sprint(k.lines[name]):
			k.Errorf("%s is answered with line %s, and its effect is line %d", name, o.Answered, k.lines[name])
		}
	}
	if k.Failed() {
		k.FailNow()
	}
}

// end lets clients come to an end, and looks at what is left.
func (k *busKill) end() {
	k.Helper()
	for _, p := range k.parts["client"] {
		p.finish(func() { _ = p.stdin.Close() })
	}
	k.await(0)
	k.check()
	for name := range k.lines {
		if k.orders[name] == nil {
			k.Errorf("nobody has ordered %s", name)
		}
	}
	imports := 0
	for name, o := range k.orders {
		switch {
		case o.Kind == "import":
			imports++
			rep, err := tape.Verify(context.Background(), filepath.Join(k.dir, "tapes", killTape(name)), nil)
			if err != nil || !rep.OK() || !rep.Closed || rep.Records != killRecords {
				k.Errorf("%s: %v, %+v", name, err, rep)
			}
			fallthrough
		case o.Kind == "job":
			if o.Answered == "" {
				k.Errorf("%+v was not answered", *o)
			}
		}
	}
	found, err := filepath.Glob(filepath.Join(k.dir, "tapes", "[^.]*"))
	if err != nil || len(found) != imports {
		k.Errorf("%d tapes were imported, and there are %d files; %v", imports, len(found), err)
	}
	s := &stationTest{T: k.T, client: busClient(k.T, k.bus)}
	list := ask[control.JobList](s, control.ServiceJob, "list", nil)
	if len(list.Jobs)+list.More != imports {
		k.Errorf("%d jobs are left, of %d imports", len(list.Jobs)+list.More, imports)
	}
	for _, j := range list.Jobs {
		if j.Kind != control.JobImport || j.State != "done" {
			k.Errorf("a job is left: %+v", j)
		}
	}
	for _, role := range []string{"worker", "jobs", "broker"} {
		for _, p := range k.parts[role] {
			p.finish(func() { _ = p.cmd.Process.Signal(os.Interrupt) })
		}
	}
	k.await(0)
}

// finish tells a part to end, and waits until it has done so in order.
func (p *busPart) finish(tell func()) {
	p.k.Helper()
	p.mu.Lock()
	p.wanted = true
	p.mu.Unlock()
	tell()
	<-p.gone
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.k.Errorf("%s: exit code %d\n%s", p.name, code, p.stderr)
	}
}

// spawner starts processes that end with this one, whatever ends it: the kernel kills
// them when the thread that started them goes.
type spawner struct{ work chan func() }

func newSpawner(t *testing.T) *spawner {
	s := &spawner{make(chan func())}
	go func() {
		runtime.LockOSThread()
		for f := range s.work {
			f()
		}
	}()
	t.Cleanup(func() { close(s.work) })
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	s.work <- func() { started <- cmd.Start() }
	return <-started
}
