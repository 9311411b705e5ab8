package chaos

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tapedeck/tapedeck/chaos/rig"
)

// TestChaosBrokers does to a pair of brokers what the world does. A client gives one
// command after the other; each is done, once.
func TestChaosBrokers(t *testing.T) {
	torture(t, func() pairing { return &brokers{} })
}

// brokers are a pair of serve, a deck behind both, and a client of both who puts marks
// on its tape. A mark of a name can be put once: a command that was done twice fails.
type brokers struct {
	tape  string
	decks *rig.Process

	stop context.CancelFunc
	wg   sync.WaitGroup
	done atomic.Int64 // commands
}

func (*brokers) messages() string { return "broker.pair" }

// bus are the endpoints of both, a member's own first.
func (*brokers) bus(p *pairStage, first int) string {
	return p.at(frontNet, pairHosts[first], 7400) + "," + p.at(frontNet, pairHosts[1-first], 7400)
}

func (x *brokers) arguments(p *pairStage, i int, state string) []string {
	return []string{"serve", "--only", "broker", "--listen", "*", "--bus", x.bus(p, i), "--tapes", state, "--work", state,
		"--set", "broker.pair=" + []string{"primary", "backup"}[i], "--set", "broker.pair_heartbeat=" + pairHeartbeat,
		"--set", "broker.pair_bind=" + p.at(linkNet, pairHosts[i], 7290), "--set", "broker.pair_peer=" + p.at(linkNet, pairHosts[1-i], 7290)}
}

func (*brokers) ready(active, passive rig.Message) bool {
	return active.Number("workers") > 0 && passive.Number("workers") == active.Number("workers")
}

func (x *brokers) begin(p *pairStage) {
	x.tape = p.tape(100_000, 1000, 1)
	x.decks = p.stage.start(deckHost, "serve", "--only", "state,decks,tapes", "--listen", "*", "--bus", x.bus(p, 0), "--tapes", p.dir)
	x.decks.Await("serve.serving", nil)
	if out, err := x.command(p, "open", filepath.Base(x.tape), "--speed", "1x"); err != nil {
		p.t.Fatalf("deck open: %v: %s", err, out)
	}
	var ctx context.Context
	ctx, x.stop = context.WithCancel(context.Background())
	p.t.Cleanup(func() { x.stop(); x.wg.Wait() })
	x.wg.Go(func() {
		for ctx.Err() == nil {
			if out, err := x.command(p, "mark", fmt.Sprintf("m%06d", x.done.Load())); err != nil {
				if strings.Contains(out, "not sent a record yet") {
					continue
				}
				p.t.Errorf("command %d: %v: %s", x.done.Load(), err, out)
				return
			}
			x.done.Add(1)
		}
	})
}

// command gives a command to the deck from the desk.
func (x *brokers) command(p *pairStage, args ...string) (string, error) {
	cmd := p.ground.Command(deskHost, rig.Binary(p.t), append([]string{"deck", "--bus", x.bus(p, 0), "--timeout", "60s"}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// flow waits until some more commands are done.
func (x *brokers) flow(p *pairStage) {
	before := x.done.Load()
	p.await("commands that are done", func() bool { return x.done.Load() >= before+5 })
}

func (x *brokers) end(p *pairStage) {
	t := p.t
	x.stop()
	x.wg.Wait()
	out, err := exec.Command(rig.Binary(t), "marks", "list", x.tape).Output()
	if err != nil {
		t.Fatal(err)
	}
	for i := range x.done.Load() {
		if n := strings.Count(string(out), fmt.Sprintf("m%06d", i)); n != 1 {
			t.Errorf("command %d was done %d times", i, n)
		}
	}
	t.Logf("%d commands", x.done.Load())
	p.interrupt(x.decks, 0)
	for _, member := range p.members {
		p.interrupt(member, 0)
	}
}
