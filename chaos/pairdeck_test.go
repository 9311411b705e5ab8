package chaos

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/chaos/rig"
)

// TestChaosPlayers does to a pair of players what the world does. Subscribers of both
// have every record of the tape, once, in order. Lossless and live.
func TestChaosPlayers(t *testing.T) {
	for mode, flags := range map[string][]string{"lossless": nil, "live": {"--live"}} {
		t.Run(mode, func(t *testing.T) {
			torture(t, func() pairing { return &players{flags: flags} })
		})
	}
}

const (
	playersRate    = 4000
	playersRecords = 120_000 // half a minute: longer than any trouble
)

// players are a pair of play, and subscribers of both: one says how it fares, and one
// prints what it gets.
type players struct {
	tape    string
	flags   []string // of play
	sub     *rig.Process
	prints  *exec.Cmd
	printed *os.File
}

func (*players) messages() string { return "play.pair" }

func (x *players) arguments(p *pairStage, i int, state string) []string {
	if x.tape == "" {
		x.tape = p.tape(playersRecords, playersRate, streamShards)
	}
	flags := append([]string{"play", x.tape}, x.flags...)
	return append(append(flags, "--shards", "2", "--wait", "2", "--resync-linger", "5s", "--bind", p.at(frontNet, pairHosts[i], 7100)+"+",
		"--resync-bind", p.at(frontNet, pairHosts[i], 7300), "--pair-follow", p.at(frontNet, pairHosts[1-i], 7100)+"+"), p.roles(i, state)...)
}

func (*players) ready(_, passive rig.Message) bool { return passive["ready"] == true }

func (x *players) begin(p *pairStage) {
	args := []string{"sub", "--shards", "2", "--connect", p.at(frontNet, primaryHost, 7100) + "+", "--standby", p.at(frontNet, backupHost, 7100) + "+",
		"--resync", p.at(frontNet, primaryHost, 7300) + "," + p.at(frontNet, backupHost, 7300), "--resync-attempts", "10"}
	var err error
	if x.printed, err = os.Create(filepath.Join(p.dir, "printed.txt")); err != nil {
		p.t.Fatal(err)
	}
	x.prints = p.ground.Command(deskHost, rig.Binary(p.t), append(args, "--print")...)
	x.prints.Stdout = x.printed
	if err := x.prints.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = x.prints.Process.Kill() })
	x.sub = p.stage.start(deskHost, args...)
	x.sub.Await("sub.session", nil)
}

// flow lets them play on.
func (*players) flow(p *pairStage) { p.pause(300*time.Millisecond, 500*time.Millisecond) }

func (x *players) end(p *pairStage) {
	t := p.t
	defer x.tell(p)
	if code := x.sub.End(); code != 0 {
		t.Errorf("sub: exit code %d\n%s", code, x.sub.Stderr())
	}
	m := x.sub.Last("sub.summary")
	t.Logf("%.0f records of %.0f epochs, %.0f came again and were dropped", m.Number("records"), m.Number("epochs"), m.Number("repeated"))
	if m["complete"] != true || m.Number("records") != playersRecords || m.Number("lost") != 0 {
		t.Errorf("sub: %v", m)
	}
	if err := x.prints.Wait(); err != nil {
		t.Errorf("the one that prints: %v", err)
	}
	x.compare(t)
	for i, member := range p.members {
		if code := member.End(); code != 0 {
			t.Errorf("player %d: exit code %d\n%s", i, code, member.Stderr())
		}
	}
}

// tell says, where something is wrong, what everybody said.
func (x *players) tell(p *pairStage) {
	if !p.t.Failed() {
		return
	}
	for _, m := range x.sub.Said("sub.session") {
		p.t.Logf("sub.session: %v", m)
	}
	for i, member := range p.members {
		p.t.Logf("player %d: %s", i, member.Stderr())
	}
	p.t.Logf("sub: %s", x.sub.Stderr())
}

// compare holds what was printed against the tape: topic by topic, every record once, in
// order.
func (x *players) compare(t *testing.T) {
	t.Helper()
	cat := exec.Command(rig.Binary(t), "cat", x.tape)
	out, err := cat.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	want := byTopic(t, out)
	if err := cat.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := x.printed.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	got := byTopic(t, x.printed)
	for topic, lines := range want {
		for i, line := range got[topic] {
			if i >= len(lines) || line != lines[i] {
				t.Errorf("line %d of topic %s is %q, which is number %d of %d", i, topic, line, slices.Index(lines, line), len(lines))
				break
			}
		}
		if len(got[topic]) != len(lines) {
			t.Errorf("%d records of topic %s, want %d", len(got[topic]), topic, len(lines))
		}
	}
}

// byTopic are the printed records of each topic, in their order. Other lines, such as the
// summary, have no topic.
func byTopic(t *testing.T, r io.Reader) map[string][]string {
	t.Helper()
	topics := map[string][]string{}
	for lines := bufio.NewScanner(r); ; {
		if !lines.Scan() {
			if err := lines.Err(); err != nil {
				t.Fatal(err)
			}
			return topics
		}
		if fields := strings.Fields(lines.Text()); len(fields) > 2 && strings.HasPrefix(fields[2], "#") {
			topics[fields[1]] = append(topics[fields[1]], lines.Text())
		}
	}
}
