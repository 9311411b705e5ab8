package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/shard/placement"
)

func checkTopology() check {
	c := check{Name: "topology", State: "ok"}
	t, err := placement.ReadTopology(os.DirFS("/"))
	if err != nil {
		return check{Name: "topology", State: "warn", Value: err.Error(), Advice: "a plan will take every CPU for a core of its own"}
	}
	c.Value = fmt.Sprintf("%s on %s, %s", count(uint64(len(t.CPUs)), "CPU"), count(uint64(t.Cores()), "core"), count(uint64(t.Nodes()), "node"))
	if isolated := t.Isolated(); isolated.Len() > 0 {
		c.Value += fmt.Sprintf(", %v isolated", isolated)
	}
	return c
}

// checkQuota looks whether the control group takes CPU time away from threads that
// never rest.
func checkQuota() check {
	quota, limited := placement.CgroupQuota(os.DirFS("/"))
	if !limited {
		return check{Name: "CPU quota", State: "ok", Value: "none"}
	}
	c := check{Name: "CPU quota", State: "ok", Value: fmt.Sprintf("%.2f CPUs", quota)}
	if set, err := allowedCPUs(); err == nil && quota < float64(set.Len()) {
		c.State, c.Advice = "warn", "the control group stops all threads for a while when it is used up: give whole CPUs (cpuset) instead"
	}
	return c
}

// checkPlacement is what a plan says of itself, and why there is none.
func checkPlacement(plan *placement.Plan, refused error) []check {
	if refused != nil {
		var list []check
		for line := range strings.Lines(refused.Error()) {
			list = append(list, check{Name: "placement", State: "fail", Value: strings.TrimPrefix(strings.TrimSpace(line), "placement: ")})
		}
		return list
	}
	if len(plan.Remarks) == 0 {
		return []check{{Name: "placement", State: "ok", Value: fmt.Sprintf("%s, %s", count(uint64(len(plan.Shards)), "shard"), count(uint64(len(plan.Workers)), "worker"))}}
	}
	var list []check
	for _, r := range plan.Remarks {
		list = append(list, check{Name: "placement", State: "warn", Value: r})
	}
	return list
}

// showPlan writes a plan as a table, or as one message for each shard and worker.
func showPlan(out *output, plan *placement.Plan) error {
	width := len("endpoint")
	for _, s := range plan.Shards {
		width = max(width, len(s.Endpoint))
	}
	head := fmt.Sprintf("\n%-8s %-*s  %-10s %7s %8s", "shard", width, "endpoint", "from", "I/O CPU", "loop CPU")
	for i, s := range plan.Shards {
		from := shard.Source(s.Endpoint)
		text := fmt.Sprintf("%-8d %-*s  %-10s %7v %8v", i, width, s.Endpoint, from, s.IO, s.Receive)
		if i == 0 {
			text = head + "\n" + text
		}
		err := out.message("doctor.placement", struct {
			Shard      int    `json:"shard"`
			Endpoint   string `json:"endpoint"`
			Interface  string `json:"interface"`
			IOCPU      int    `json:"io_cpu"`
			ReceiveCPU int    `json:"receive_cpu"`
		}{i, s.Endpoint, from, cpuNumber(s.IO), cpuNumber(s.Receive)}, text)
		if err != nil {
			return err
		}
	}
	for i, cpu := range plan.Workers {
		text := fmt.Sprintf("%-8d %*v", i, 4, cpu)
		if i == 0 {
			text = fmt.Sprintf("\n%-8s %4s\n", "worker", "CPU") + text
		}
		err := out.message("doctor.worker", struct {
			Worker int `json:"worker"`
			CPU    int `json:"cpu"`
		}{i, cpuNumber(cpu)}, text)
		if err != nil {
			return err
		}
	}
	return nil
}
