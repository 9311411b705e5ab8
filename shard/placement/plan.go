package placement

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/shard"
)

// Plan is where everything of a stream goes.
type Plan struct {
	Shards   []ShardPlan
	Workers  []shard.CPU // of each worker; shard.NoCPU where it is not pinned
	Dispatch string      // as configured, or ""
	Remarks  []string    // what is possible but slow
}

// ShardPlan is where one shard goes.
type ShardPlan struct {
	Endpoint string
	shard.Placement
}

// filesOfShard is how many files a shard's context, socket and connection have
// open, with some to spare; filesOfProcess is for everything else.
const (
	filesOfShard   = 16
	filesOfProcess = 64
)

// Plan makes the plan for a machine. The error says everything that cannot be
// done: what libzmq would abort the process for, such as a forbidden CPU or too
// few files, what it would wait for for ever without a word, such as an interface
// that is not there, and what contradicts itself. It may hold several errors,
// joined.
func (c *Config) Plan(m *Machine) (*Plan, error) {
	endpoints, err := c.endpoints()
	if err != nil {
		return nil, fmt.Errorf("placement: %w", err)
	}
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf("placement: "+format, args...)) }
	p := &Plan{Dispatch: c.Workers.Dispatch}
	for i, e := range endpoints {
		p.Shards = append(p.Shards, ShardPlan{Endpoint: e, Placement: shard.Placement{IO: shard.NoCPU, Receive: shard.NoCPU}})
		if reason := m.refuses(e); reason != "" {
			refuse("shard %d: %s", i, reason)
		}
		if f, ok := m.source(shard.Source(e)); ok && f.Down {
			p.remark("shard %d: interface %s is down", i, f.Name)
		}
	}
	if need := uint64(filesOfProcess + filesOfShard*len(endpoints)); m.OpenFiles > 0 && need > m.OpenFiles {
		refuse("%d shards need %d open files, the limit is %d; libzmq aborts when there are no more: ulimit -n %d",
			len(endpoints), need, m.OpenFiles, need)
	}
	a := newAssigner(m)
	c.placeFixed(p, a, refuse)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	c.placeFree(p, a, refuse)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	p.remarkOn(m)
	return p, nil
}

// refuses says why an endpoint cannot work on this machine, or "".
func (m *Machine) refuses(endpoint string) string {
	scheme, addr, _ := strings.Cut(endpoint, "://")
	if slices.Contains(m.Lacks, scheme) {
		return fmt.Sprintf("this libzmq was built without %s", scheme)
	}
	source := shard.Source(endpoint)
	if scheme == "epgm" || scheme == "pgm" {
		source, _, _ = strings.Cut(addr, ";")
	}
	if source == "" {
		return ""
	}
	if _, ok := m.source(source); !ok {
		var names []string
		for _, f := range m.Interfaces {
			names = append(names, f.Name)
		}
		return fmt.Sprintf("no interface or address %s on this machine, which has %s; libzmq would try for ever", source, strings.Join(names, ", "))
	}
	return ""
}

// placeFixed places what the configuration gives a CPU, and checks those.
func (c *Config) placeFixed(p *Plan, a *assigner, refuse func(string, ...any)) {
	fix := func(what string, at *shard.CPU, choice Choice, io bool) {
		if choice.kind != choiceCPU {
			return
		}
		if reason := a.refuses(choice.cpu); reason != "" {
			refuse("%s: CPU %v %s", what, choice.cpu, reason)
			return
		}
		*at = choice.cpu
		a.use(choice.cpu, io)
	}
	for i, s := range c.Shard {
		fix(fmt.Sprintf("shard %d: io_cpu", i), &p.Shards[i].IO, s.IOCPU, true)
		fix(fmt.Sprintf("shard %d: receive_cpu", i), &p.Shards[i].Receive, s.ReceiveCPU, false)
	}
	count, cpus, err := c.Workers.fixed()
	if err != nil {
		refuse("workers: %v", err)
		return
	}
	p.Workers = slices.Repeat([]shard.CPU{shard.NoCPU}, count)
	for i, cpu := range cpus {
		fix(fmt.Sprintf("worker %d", i), &p.Workers[i], On(cpu), false)
	}
}

// fixed returns how many workers there are, and the CPUs that are listed for them.
func (w *Workers) fixed() (count int, cpus []shard.CPU, err error) {
	if w.Count < 0 || w.Count > shard.CPUMax {
		return 0, nil, fmt.Errorf("count: %d, want 0 to %d", w.Count, shard.CPUMax)
	}
	switch w.CPUs {
	case "", "auto", "off":
		return w.Count, nil, nil
	}
	set, err := shard.ParseCPUs(w.CPUs)
	if err != nil {
		return 0, nil, fmt.Errorf("cpus: %w", err)
	}
	if w.Count != 0 && w.Count != set.Len() {
		return 0, nil, fmt.Errorf("cpus: %d CPUs (%v) for %d workers", set.Len(), set, w.Count)
	}
	return set.Len(), set.List(), nil
}

// placeFree chooses CPUs for what has none yet.
func (c *Config) placeFree(p *Plan, a *assigner, refuse func(string, ...any)) {
	switch c.CPUs {
	case "", "auto":
	case "off":
		a.usable = shard.CPUSet{}
	default:
		set, err := shard.ParseCPUs(c.CPUs)
		if err != nil {
			refuse("cpus: %v", err)
			return
		}
		for _, cpu := range set.List() {
			if reason := a.refuses(cpu); reason != "" {
				refuse("cpus: CPU %v %s", cpu, reason)
				return
			}
		}
		a.usable = set
	}
	c.placeShards(p, a)
	c.placeWorkers(p, a)
}

// placeShards chooses for the shards. With one CPU to choose from there is nothing
// to gain, and the threads would stay on it if more were allowed later.
func (c *Config) placeShards(p *Plan, a *assigner) {
	if a.usable.Len() < 2 {
		return
	}
	choices := make([]Shard, len(p.Shards))
	copy(choices, c.Shard)
	free := 0
	for _, s := range choices {
		free += truth(s.IOCPU.kind == choiceAuto) + truth(s.ReceiveCPU.kind == choiceAuto)
	}
	a.tight = free > a.cores()
	for i, choice := range choices {
		s := &p.Shards[i]
		if choice.IOCPU.kind == choiceAuto {
			s.IO = a.pick(s.Receive, true)
		}
		if choice.ReceiveCPU.kind == choiceAuto {
			s.Receive = a.pick(s.IO, false)
		}
	}
}

// placeWorkers gives workers the CPUs that are left, each near a shard. Where none
// is left a worker is not pinned: the system finds it a place better than beside a
// thread that never rests.
func (c *Config) placeWorkers(p *Plan, a *assigner) {
	if c.Workers.CPUs == "off" {
		return
	}
	for i := range p.Workers {
		if p.Workers[i] == shard.NoCPU {
			p.Workers[i] = a.pickFree(p.Shards[i%len(p.Shards)].Receive)
		}
	}
}

func (p *Plan) remark(format string, args ...any) {
	p.Remarks = append(p.Remarks, fmt.Sprintf(format, args...))
}

// remarkOn says what will cost speed.
func (p *Plan) remarkOn(m *Machine) {
	type thread struct {
		name string
		cpu  CPU
	}
	var all []thread
	add := func(cpu shard.CPU, format string, args ...any) {
		if c, ok := m.Topology.of(cpu); ok {
			all = append(all, thread{fmt.Sprintf(format, args...), c})
		}
	}
	for i, s := range p.Shards {
		add(s.IO, "I/O thread of shard %d", i)
		add(s.Receive, "loop of shard %d", i)
		io, ok1 := m.Topology.of(s.IO)
		receive, ok2 := m.Topology.of(s.Receive)
		if ok1 && ok2 && io.Node != receive.Node {
			p.remark("shard %d: I/O thread on node %d, loop on node %d: every byte crosses", i, io.Node, receive.Node)
		}
	}
	for i, cpu := range p.Workers {
		add(cpu, "worker %d", i)
	}
	onCPU, onCore := map[shard.CPU][]string{}, map[shard.CPU][]string{}
	for _, t := range all {
		onCPU[t.cpu.Number] = append(onCPU[t.cpu.Number], t.name)
		onCore[t.cpu.Core] = append(onCore[t.cpu.Core], t.name)
	}
	for _, c := range m.Topology.CPUs {
		if names := onCPU[c.Number]; len(names) > 1 {
			p.remark("CPU %v is shared: %s", c.Number, strings.Join(names, ", "))
		} else if names := onCore[c.Core]; c.Core == c.Number && len(names) > 1 {
			p.remark("the siblings of core %v are both used: %s", c.Core, strings.Join(names, ", "))
		}
	}
	if left := m.Topology.Isolated(); left.Without(m.Allowed).Len() > 0 {
		p.remark("CPUs %v are isolated, but not allowed to this process: taskset -c gives them", left.Without(m.Allowed))
	}
}
