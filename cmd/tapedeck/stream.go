package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/shard/placement"
)

const endpointDefault = "tcp://127.0.0.1:7100+"

// streamFlags are the flags of every command at the end of a stream.
type streamFlags struct {
	shards   int // also how many there are, once endpoints has been called
	endpoint string
	standby  string // the same shards at the other one of a pair; "": there is none
	pin      string
	file     string
	connects bool
	anyRole  bool // of doctor: the plan may be one to bind or to connect
	flags    *pflag.FlagSet
	workers  workersFlags // of sub alone
	plan     *placement.Plan
}

// add adds the flags; verb is "bind" or "connect".
func (f *streamFlags) add(cmd *cobra.Command, verb string, shardsHelp string) {
	f.connects, f.flags = verb == "connect", cmd.Flags()
	f.flags.IntVar(&f.shards, "shards", 1, shardsHelp)
	f.flags.StringVar(&f.endpoint, verb, endpointDefault, "endpoint of the shards: a tcp port followed by +, {shard} in a path, or a comma-separated list")
	if f.connects {
		f.addStandby()
	}
	f.flags.StringVar(&f.pin, "pin", "off", `pin hot threads: "off", "auto", or the CPUs to use, such as "2-5"`)
	f.flags.StringVar(&f.file, "placement", "", "TOML file with endpoints, interfaces and CPUs, see docs/PLACEMENT.md")
}

func (f *streamFlags) addStandby() {
	f.flags.StringVar(&f.standby, "standby", "", "endpoint of the same shards at the other one of a pair of players (play --pair)")
}

// pair returns the endpoint of each shard at the other one of a pair of publishers; nil
// where there is none.
func (f *streamFlags) pair() ([]string, error) {
	if f.standby == "" {
		return nil, nil
	}
	own, err := f.endpoints()
	if err != nil {
		return nil, err
	}
	list, err := shard.Endpoints(f.standby, len(own))
	if err != nil {
		return nil, usagef("--standby: %v", err)
	}
	return list, nil
}

func (f *streamFlags) verb() string {
	if f.connects {
		return "connect"
	}
	return "bind"
}

// endpoints returns the endpoint of each shard.
func (f *streamFlags) endpoints() ([]string, error) {
	plan, err := f.place()
	if err != nil {
		return nil, err
	}
	endpoints := make([]string, len(plan.Shards))
	for i, s := range plan.Shards {
		endpoints[i] = s.Endpoint
	}
	return endpoints, nil
}

// placement returns the CPUs of each shard's I/O thread and loop.
func (f *streamFlags) placement() (ioCPUs, loopCPUs []int, err error) {
	plan, err := f.place()
	if err != nil {
		return nil, nil, err
	}
	for _, s := range plan.Shards {
		ioCPUs, loopCPUs = append(ioCPUs, cpuNumber(s.IO)), append(loopCPUs, cpuNumber(s.Receive))
	}
	return ioCPUs, loopCPUs, nil
}

// workerCPUs returns the CPU of each worker, and how batches are dispatched. There
// are as many as there are workers.
func (f *streamFlags) workerCPUs() (cpus []int, dispatch string, err error) {
	plan, err := f.place()
	if err != nil {
		return nil, "", err
	}
	for _, cpu := range plan.Workers {
		cpus = append(cpus, cpuNumber(cpu))
	}
	return cpus, plan.Dispatch, nil
}

// place makes the plan, once, from the flags and the placement file.
func (f *streamFlags) place() (*placement.Plan, error) {
	if f.plan != nil {
		return f.plan, nil
	}
	cfg, err := f.config()
	if err != nil {
		return nil, err
	}
	m, err := thisMachine()
	if err != nil {
		return nil, err
	}
	plan, err := cfg.Plan(m)
	if err != nil {
		if f.file == "" {
			return nil, usageError{err}
		}
		return nil, withHint(err, "tapedeck doctor --placement "+f.file+" shows all of it")
	}
	if err := f.checkRole(plan); err != nil {
		return nil, err
	}
	f.plan, f.shards = plan, len(plan.Shards)
	return plan, nil
}

// checkRole refuses endpoints that one side of a stream alone can have.
func (f *streamFlags) checkRole(plan *placement.Plan) error {
	for _, s := range plan.Shards {
		switch {
		case f.anyRole:
		case f.connects && shard.BindOnly(s.Endpoint):
			return usagef("--connect %s: a wildcard is for --bind alone", s.Endpoint)
		case !f.connects && shard.Source(s.Endpoint) != "":
			return usagef("%s: an interface to connect from is for subscribers; a publisher binds to one: tcp://eth1:7100", s.Endpoint)
		}
	}
	return nil
}

// config joins the flags and the placement file. What both say is refused: one of
// them would do nothing.
func (f *streamFlags) config() (*placement.Config, error) {
	if f.shards < 1 {
		return nil, usagef("--shards %d: want 1 or more", f.shards)
	}
	var cfg placement.Config
	if f.file != "" {
		var err error
		if cfg, err = readPlacement(f.file); err != nil {
			return nil, err
		}
	}
	set := func(flag string, inFile bool, use func()) error {
		if inFile && f.flags.Changed(flag) {
			return usagef("--%s: %s says it too", flag, f.file)
		}
		if !inFile {
			use()
		}
		return nil
	}
	ownEndpoints := cfg.Endpoints != ""
	for _, s := range cfg.Shard {
		ownEndpoints = ownEndpoints || s.Endpoint != ""
	}
	steps := []error{
		set(f.verb(), ownEndpoints, func() { cfg.Endpoints = f.endpoint }),
		set("shards", cfg.Shards != 0 || len(cfg.Shard) > 0, func() { cfg.Shards = f.shards }),
		set("pin", cfg.CPUs != "", func() {
			if f.file == "" || f.flags.Changed("pin") {
				cfg.CPUs = f.pin
			}
		}),
	}
	if f.workers.added {
		steps = append(steps,
			set("workers", cfg.Workers.Count != 0 || cfg.Workers.CPUs != "", func() { cfg.Workers.Count = f.workers.count }),
			set("dispatch", cfg.Workers.Dispatch != "", func() { cfg.Workers.Dispatch = f.workers.dispatch }))
	}
	for _, err := range steps {
		if err != nil {
			return nil, err
		}
	}
	return &cfg, nil
}

// readPlacement reads a placement file.
func readPlacement(name string) (placement.Config, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return placement.Config{}, err
	}
	cfg, err := placement.Parse(text)
	if err != nil {
		return cfg, &os.PathError{Op: "read", Path: name, Err: err}
	}
	return cfg, nil
}

func cpuNumber(c shard.CPU) int {
	if c == shard.NoCPU {
		return zsock.NoCPU
	}
	return int(c)
}
