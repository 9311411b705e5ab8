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

// pairStage is a pair of proxies on hosts of their own, who follow one player, and a
// reader of both.
type pairStage struct {
	*stage
	play, reader *rig.Process
	members      [2]*rig.Process
	killed       [2]bool
}

const (
	pairHeartbeat = "100ms"
	pairRate      = 4000
	pairRecords   = 600_000 // more than any run takes
)

var pairHosts = [2]int{primaryHost, backupHost}

// TestChaosPair does to a pair of proxies what the world does. After each trouble one
// of the two serves, the other one is ready to take over, and in the end a reader that
// is connected to both has had every record, once by sequence.
func TestChaosPair(t *testing.T) {
	for name, trouble := range map[string]func(*pairStage){
		"killed": func(p *pairStage) {
			for range 4 {
				i := p.settled()
				p.kill(i)
				p.await("a takeover", func() bool { return p.state(1-i) == "active" })
				p.begin(i)
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
			p.begin(i)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPairStage(t)
			trouble(p)
			p.finish()
		})
	}
}

func newPairStage(t *testing.T) *pairStage {
	t.Helper()
	p := &pairStage{stage: newStage(t)}
	for i := range p.members {
		p.begin(i)
	}
	p.await("an active one", func() bool { return p.state(0) == "active" && p.state(1) == "passive" })
	cmd := p.ground.Command(deskHost, os.Args[0])
	cmd.Env = append(os.Environ(), readerEnv+"="+p.at(frontNet, primaryHost, 7200)+","+p.at(frontNet, backupHost, 7200))
	p.reader = rig.StartCommand(t, "reader", cmd)
	p.await("a reader", func() bool { return p.readers(0) == 1 && p.readers(1) == 1 })
	p.play = p.start(deckHost, "play", p.tape(pairRecords, pairRate, 1), "--live", "--wait", "2", "--bind", p.at(frontNet, deckHost, 7100),
		"--resync-bind", p.at(frontNet, deckHost, 7300))
	return p
}

// flow waits until the reader has had some more records, in order.
func (p *pairStage) flow() {
	p.t.Helper()
	before := p.reader.Last("reader").Number("next")
	p.await("records for the reader", func() bool { return p.reader.Last("reader").Number("next") >= before+1000 })
}

// begin starts a member of the pair.
func (p *pairStage) begin(i int) {
	p.t.Helper()
	p.killed[i] = false
	role := []string{"primary", "backup"}[i]
	state := filepath.Join(p.dir, role)
	if err := os.MkdirAll(state, 0o700); err != nil {
		p.t.Fatal(err)
	}
	p.members[i] = p.start(pairHosts[i], "lvc", "--name", role, "--shards", p.at(frontNet, deckHost, 7100), "--resync", p.at(frontNet, deckHost, 7300),
		"--resync-attempts", "100", "--plain", p.at(frontNet, pairHosts[i], 7200), "--pair", role, "--pair-bind", p.at(linkNet, pairHosts[i], 7290),
		"--pair-peer", p.at(linkNet, pairHosts[1-i], 7290), "--heartbeat", pairHeartbeat, "--pair-dir", state)
}

// kill kills a member.
func (p *pairStage) kill(i int) {
	p.members[i].Signal(os.Kill)
	p.members[i].End()
	p.killed[i] = true
}

func (p *pairStage) state(i int) string {
	return p.members[i].Last("lvc.pair").Text("state")
}

func (p *pairStage) readers(i int) int {
	return int(p.members[i].Last("lvc.pair").Number("readers"))
}

// await waits until something is so, while everybody runs.
func (p *pairStage) await(what string, ok func() bool) {
	p.t.Helper()
	until(func() bool {
		for i, m := range p.members {
			if !m.Running() && !p.killed[i] {
				p.t.Fatalf("a proxy ended before there was %s:\n%s", what, m.Stderr())
			}
		}
		return ok()
	})
}

// settled waits until one serves and the other one is ready to take over, with the
// reader connected to both, and returns which one serves.
func (p *pairStage) settled() (active int) {
	p.t.Helper()
	p.await("one active and one ready", func() bool {
		for i := range p.members {
			other := p.members[1-i].Last("lvc.pair")
			if p.state(i) == "active" && other["ready"] == true && p.readers(i) == 1 && p.readers(1-i) == 1 {
				active = i
				return true
			}
		}
		return false
	})
	p.flow()
	p.pause(0, 300*time.Millisecond)
	return active
}

// finish ends the stream, and holds that the reader had all of it.
func (p *pairStage) finish() {
	t := p.t
	t.Helper()
	p.settled()
	p.play.Signal(os.Interrupt)
	if code := p.play.End(); code != 130 {
		t.Errorf("play: exit code %d\n%s", code, p.play.Stderr())
	}
	played := uint64(p.play.Last("play.summary").Number("records"))
	p.reader.Await("reader", func(m rig.Message) bool {
		return m["ended"] == true && (m.Number("missing") == 0 || m.Text("bad") != "")
	})
	p.reader.Signal(syscall.SIGTERM)
	if code := p.reader.End(); code != 0 {
		t.Errorf("the reader: exit code %d\n%s", code, p.reader.Stderr())
	}
	m := p.reader.Last("reader")
	t.Logf("%d records, %.0f came again and were dropped", played, m.Number("repeated"))
	if m.Text("bad") != "" || uint64(m.Number("next")) != played || uint64(m.Number("records")) != played || played == 0 {
		t.Errorf("the reader has %v of %d records", m, played)
	}
	for i, member := range p.members {
		member.Signal(os.Interrupt)
		if code := member.End(); code != 130 {
			t.Errorf("%v: exit code %d\n%s", pairHosts[i], code, member.Stderr())
		}
		if s := member.Last("lvc.summary"); s.Number("lost") != 0 {
			t.Errorf("a proxy lost records: %v", s)
		}
	}
}
