package main

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// pairedBrokers are the endpoints of two brokers, and of their link.
type pairedBrokers struct{ bus, link [2]string }

func newPairedBrokers(dir string) (p pairedBrokers) {
	for i := range 2 {
		p.bus[i], p.link[i] = "ipc://"+filepath.Join(dir, fmt.Sprint("bus", i)), "ipc://"+filepath.Join(dir, fmt.Sprint("link", i))
	}
	return p
}

// arguments are those of serve that make it one of the brokers.
func (p *pairedBrokers) arguments(i int) []string {
	return []string{
		"--bus", p.bus[i] + "," + p.bus[1-i], "--set", "broker.pair=" + []string{"primary", "backup"}[i],
		"--set", "broker.pair_bind=" + p.link[i], "--set", "broker.pair_peer=" + p.link[1-i], "--set", "broker.pair_heartbeat=" + killBeat.String(),
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
	dir := t.TempDir()
	p := newPairedBrokers(dir)
	k := newBusKill(t, dir, strings.Join(p.bus[:], ","))
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
		k.await(rng.IntN(60))
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
