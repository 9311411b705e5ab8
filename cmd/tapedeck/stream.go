package main

import (
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/shard"
)

const endpointDefault = "tcp://127.0.0.1:7100+"

// streamFlags are the flags of every command at the end of a stream.
type streamFlags struct {
	shards   int
	endpoint string
	pin      string
	connects bool
}

// add adds the flags; verb is "bind" or "connect".
func (f *streamFlags) add(cmd *cobra.Command, verb string, shardsHelp string) {
	f.connects = verb == "connect"
	cmd.Flags().IntVar(&f.shards, "shards", 1, shardsHelp)
	cmd.Flags().StringVar(&f.endpoint, verb, endpointDefault, "endpoint of the shards: a tcp port followed by +, {shard} in a path, or a comma-separated list")
	cmd.Flags().StringVar(&f.pin, "pin", "off", `pin hot threads: "off", "auto", or the CPUs to use, such as "2-5"`)
}

func (f *streamFlags) endpoints() ([]string, error) {
	endpoints, err := shard.Endpoints(f.endpoint, f.shards)
	if err != nil {
		return nil, usageError{err}
	}
	for _, e := range endpoints {
		if f.connects && shard.BindOnly(e) {
			return nil, usagef("--connect %s: a wildcard is for --bind alone", e)
		}
	}
	return endpoints, nil
}

// placement returns the CPUs of each shard's I/O thread and loop.
func (f *streamFlags) placement() (ioCPUs, loopCPUs []int, err error) {
	set, err := pinSet(f.pin)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range shard.Plan(f.shards, set) {
		ioCPUs, loopCPUs = append(ioCPUs, cpuNumber(p.IO)), append(loopCPUs, cpuNumber(p.Receive))
	}
	return ioCPUs, loopCPUs, nil
}

func cpuNumber(c shard.CPU) int {
	if c == shard.NoCPU {
		return zsock.NoCPU
	}
	return int(c)
}

// pinSet reads a --pin flag into the set of CPUs to use; the empty set pins
// nothing.
func pinSet(pin string) (shard.CPUSet, error) {
	if pin == "off" {
		return shard.CPUSet{}, nil
	}
	allowed, err := allowedCPUs()
	if err != nil || pin == "auto" {
		return allowed, err
	}
	set, err := shard.ParseCPUs(pin)
	if err != nil {
		return set, usageError{err}
	}
	if beyond := set.Without(allowed); beyond.Len() > 0 {
		return set, usagef("--pin %s: CPU %v is not among those this process may use (%v)", pin, beyond, allowed)
	}
	return set, nil
}

// allowedCPUs is the set of CPUs that this process may use.
func allowedCPUs() (shard.CPUSet, error) {
	var (
		set  shard.CPUSet
		mask unix.CPUSet
	)
	if err := unix.SchedGetaffinity(0, &mask); err != nil {
		return set, err
	}
	for i := range shard.CPUMax {
		if mask.IsSet(i) {
			set.Add(shard.CPU(i))
		}
	}
	return set, nil
}
