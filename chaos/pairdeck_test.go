package chaos

import (
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/chaos/rig"
)

// TestChaosPlayers does to a pair of players what the world does. A subscriber of both
// has every record of the tape, once, in order.
func TestChaosPlayers(t *testing.T) {
	torture(t, func() pairing { return &players{} })
}

const (
	playersRate    = 4000
	playersRecords = 120_000 // half a minute: longer than any trouble
)

// players are a pair of play, and a subscriber of both.
type players struct {
	tape string
	sub  *rig.Process
}

// open says what players do not get through each time.
func (*players) open(trouble string) string {
	switch trouble {
	case "link cut one way", "1 % loss and 20 ms, and a kill":
		return "where heartbeats are lost again and again both play in turn, and a subscriber may be given some " +
			"records twice, at times without a word"
	}
	return ""
}

func (*players) messages() string { return "play.pair" }

func (x *players) arguments(p *pairStage, i int, state string) []string {
	if x.tape == "" {
		x.tape = p.tape(playersRecords, playersRate, streamShards)
	}
	return append([]string{"play", x.tape, "--shards", "2", "--live", "--wait", "1", "--resync-linger", "5s", "--bind", p.at(frontNet, pairHosts[i], 7100) + "+",
		"--resync-bind", p.at(frontNet, pairHosts[i], 7300), "--pair-follow", p.at(frontNet, pairHosts[1-i], 7100) + "+"}, p.roles(i, state)...)
}

func (*players) ready(_, passive rig.Message) bool { return passive["ready"] == true }

func (x *players) begin(p *pairStage) {
	x.sub = p.stage.start(deskHost, "sub", "--shards", "2", "--connect", p.at(frontNet, primaryHost, 7100)+"+", "--standby", p.at(frontNet, backupHost, 7100)+"+",
		"--resync", p.at(frontNet, primaryHost, 7300)+","+p.at(frontNet, backupHost, 7300), "--resync-attempts", "10")
	x.sub.Await("sub.session", nil)
}

// flow lets them play on.
func (*players) flow(p *pairStage) { p.pause(300*time.Millisecond, 500*time.Millisecond) }

func (x *players) end(p *pairStage) {
	t := p.t
	if code := x.sub.End(); code != 0 {
		t.Errorf("sub: exit code %d\n%s", code, x.sub.Stderr())
	}
	m := x.sub.Last("sub.summary")
	t.Logf("%.0f records of %.0f epochs, %.0f came again and were dropped", m.Number("records"), m.Number("epochs"), m.Number("repeated"))
	if m["complete"] != true || m.Number("records") != playersRecords || m.Number("lost") != 0 {
		t.Errorf("sub: %v", m)
	}
	for i, member := range p.members {
		if code := member.End(); code != 0 {
			t.Errorf("player %d: exit code %d\n%s", i, code, member.Stderr())
		}
	}
}
