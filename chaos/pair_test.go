package chaos

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/chaos/ground"
	"github.com/tapedeck/tapedeck/chaos/rig"
)

// pairStage is a pair on hosts of their own, and who wants something from it.
type pairStage struct {
	*stage
	pairing
	members [2]*rig.Process
	killed  [2]bool
}

// pairing is what tells one kind of pair from another.
type pairing interface {
	// messages is what a member says every second.
	messages() string
	// arguments are those that start one; state is a directory of its own.
	arguments(p *pairStage, i int, state string) []string
	// ready reports whether one that is passive could take over, and everybody is there.
	ready(active, passive rig.Message) bool
	// flow waits until work goes on.
	flow(p *pairStage)
	// begin starts those who want something, and end holds that they got it.
	begin(p *pairStage)
	end(p *pairStage)
}

const pairHeartbeat = "100ms"

var pairHosts = [2]int{primaryHost, backupHost}

// troubles are what is done to pairs. After each one of the two serves, and the other
// one is ready to take over.
var troubles = map[string]func(*pairStage){
	"killed": func(p *pairStage) {
		for range 4 {
			i := p.settled()
			p.kill(i)
			p.await("a takeover", func() bool { return p.state(1-i) == "active" })
			p.start(i)
		}
	},
	"stopped": func(p *pairStage) {
		for range 3 {
			i := p.settled()
			p.members[i].Signal(syscall.SIGSTOP)
			p.await("a takeover", func() bool { return p.state(1-i) == "active" })
			p.pause(0, time.Second)
			p.members[i].Signal(syscall.SIGCONT)
		}
	},
	"link cut": func(p *pairStage) {
		p.settled()
		p.ground.SetBoth(linkNet, primaryHost, backupHost, ground.Rule{Cut: true})
		p.pause(time.Second, 2*time.Second)
		p.ground.SetBoth(linkNet, primaryHost, backupHost, ground.Rule{})
	},
	"link cut one way": func(p *pairStage) {
		for range 2 {
			i := p.settled()
			p.ground.Set(linkNet, pairHosts[i], pairHosts[1-i], ground.Rule{Cut: true})
			p.pause(time.Second, 2*time.Second)
			p.ground.Set(linkNet, pairHosts[i], pairHosts[1-i], ground.Rule{})
			p.settled()
			p.ground.Set(linkNet, pairHosts[1-i], pairHosts[i], ground.Rule{Cut: true})
			p.pause(time.Second, 2*time.Second)
			p.ground.Set(linkNet, pairHosts[1-i], pairHosts[i], ground.Rule{})
		}
	},
	"cut from each other one way": func(p *pairStage) {
		cut := func(from, to int, on bool) {
			for _, network := range []int{linkNet, frontNet} {
				p.ground.Set(network, pairHosts[from], pairHosts[to], ground.Rule{Cut: on})
			}
		}
		for range 2 {
			i := p.settled()
			cut(i, 1-i, true)
			p.pause(time.Second, 2*time.Second)
			cut(i, 1-i, false)
			p.settled()
			cut(1-i, i, true)
			p.pause(time.Second, 2*time.Second)
			cut(1-i, i, false)
		}
	},
	"cut from each other again and again": func(p *pairStage) {
		p.settled()
		for range 10 {
			for _, network := range []int{linkNet, frontNet} {
				p.ground.SetBoth(network, primaryHost, backupHost, ground.Rule{Cut: true})
			}
			p.pause(50*time.Millisecond, 500*time.Millisecond)
			for _, network := range []int{linkNet, frontNet} {
				p.ground.SetBoth(network, primaryHost, backupHost, ground.Rule{})
			}
			p.pause(50*time.Millisecond, 500*time.Millisecond)
		}
	},
	"link flaps": func(p *pairStage) {
		p.settled()
		for range 10 {
			p.ground.SetBoth(linkNet, primaryHost, backupHost, ground.Rule{Cut: true})
			p.pause(50*time.Millisecond, 500*time.Millisecond)
			p.ground.SetBoth(linkNet, primaryHost, backupHost, ground.Rule{})
			p.pause(50*time.Millisecond, 500*time.Millisecond)
		}
	},
	"clients cut from the active": func(p *pairStage) {
		i := p.settled()
		p.ground.SetBoth(frontNet, deskHost, pairHosts[i], ground.Rule{Cut: true})
		p.pause(time.Second, 2*time.Second)
		p.ground.SetBoth(frontNet, deskHost, pairHosts[i], ground.Rule{})
	},
	"active cut from everybody": func(p *pairStage) {
		for range 2 {
			i := p.settled()
			p.ground.Isolate(pairHosts[i], ground.Rule{Cut: true})
			p.await("a takeover", func() bool { return p.state(1-i) == "active" })
			p.pause(0, time.Second)
			p.ground.Isolate(pairHosts[i], ground.Rule{})
		}
	},
	"1 % loss and 20 ms, and a kill": func(p *pairStage) {
		for _, host := range pairHosts {
			p.ground.Isolate(host, ground.Rule{Loss: 0.01, Delay: 20 * time.Millisecond})
		}
		i := p.settled()
		p.kill(i)
		p.await("a takeover", func() bool { return p.state(1-i) == "active" })
		p.start(i)
	},
}

// torture does all of it to pairs of a kind.
func torture(t *testing.T, kind func() pairing) {
	t.Helper()
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &pairStage{stage: newStage(t), pairing: kind()}
			for i := range p.members {
				p.start(i)
			}
			p.await("an active one", func() bool { return p.state(0) == "active" && p.state(1) == "passive" })
			p.begin(p)
			trouble(p)
			p.settled()
			p.end(p)
		})
	}
}

// start starts a member of the pair.
func (p *pairStage) start(i int) {
	p.t.Helper()
	p.killed[i] = false
	role := []string{"primary", "backup"}[i]
	state := filepath.Join(p.dir, role)
	if err := os.MkdirAll(state, 0o700); err != nil {
		p.t.Fatal(err)
	}
	p.members[i] = p.stage.start(pairHosts[i], p.arguments(p, i, state)...)
}

// roles are the flags that make a member one of a pair.
func (p *pairStage) roles(i int, state string) []string {
	return []string{"--pair", []string{"primary", "backup"}[i], "--pair-bind", p.at(linkNet, pairHosts[i], 7290),
		"--pair-peer", p.at(linkNet, pairHosts[1-i], 7290), "--heartbeat", pairHeartbeat, "--pair-dir", state}
}

// kill kills a member.
func (p *pairStage) kill(i int) {
	p.members[i].Signal(os.Kill)
	p.members[i].End()
	p.killed[i] = true
}

func (p *pairStage) state(i int) string {
	return p.members[i].Last(p.messages()).Text("state")
}

// await waits until something is so, while everybody runs.
func (p *pairStage) await(what string, ok func() bool) {
	p.t.Helper()
	until(func() bool {
		if p.t.Failed() {
			p.t.FailNow()
		}
		for i, m := range p.members {
			if !m.Running() && !p.killed[i] {
				p.t.Fatalf("one of the pair ended before there was %s:\n%s", what, m.Stderr())
			}
		}
		return ok()
	})
}

// settled waits until one serves and the other one is ready to take over, and returns
// which one serves.
func (p *pairStage) settled() (active int) {
	p.t.Helper()
	p.await("one active and one ready", func() bool {
		for i := range p.members {
			own, other := p.members[i].Last(p.messages()), p.members[1-i].Last(p.messages())
			if p.state(i) == "active" && p.state(1-i) == "passive" && p.ready(own, other) {
				active = i
				return true
			}
		}
		return false
	})
	p.flow(p)
	p.pause(0, 300*time.Millisecond)
	return active
}

// interrupt ends a process.
func (p *pairStage) interrupt(m *rig.Process, exit int) {
	p.t.Helper()
	m.Signal(os.Interrupt)
	if code := m.End(); code != exit {
		p.t.Errorf("%s: exit code %d, want %d\n%s", m.Name(), code, exit, m.Stderr())
	}
}
