package chaos

import (
	"os"
	"syscall"
	"testing"

	"github.com/tapedeck/tapedeck/chaos/rig"
)

// TestChaosPair does to a pair of proxies what the world does. In the end a reader that
// is connected to both has had every record, once by sequence.
func TestChaosPair(t *testing.T) {
	torture(t, func() pairing { return &proxies{} })
}

const (
	proxiesRate    = 4000
	proxiesRecords = 600_000 // more than any run takes
)

// proxies are a pair of lvc, who follow one player, and a reader of both.
type proxies struct {
	play, reader *rig.Process
}

func (*proxies) messages() string { return "lvc.pair" }

func (*proxies) arguments(p *pairStage, i int, state string) []string {
	return append([]string{"lvc", "--shards", p.at(frontNet, deckHost, 7100), "--resync", p.at(frontNet, deckHost, 7300),
		"--resync-attempts", "100", "--plain", p.at(frontNet, pairHosts[i], 7200)}, p.roles(i, state)...)
}

func (*proxies) ready(active, passive rig.Message) bool {
	return passive["ready"] == true && active.Number("readers") == 1 && passive.Number("readers") == 1
}

func (x *proxies) begin(p *pairStage) {
	cmd := p.ground.Command(deskHost, os.Args[0])
	cmd.Env = append(os.Environ(), readerEnv+"="+p.at(frontNet, primaryHost, 7200)+","+p.at(frontNet, backupHost, 7200))
	x.reader = rig.StartCommand(p.t, "reader", cmd)
	p.await("a reader", func() bool {
		return p.members[0].Last("lvc.pair").Number("readers") == 1 && p.members[1].Last("lvc.pair").Number("readers") == 1
	})
	x.play = p.stage.start(deckHost, "play", p.tape(proxiesRecords, proxiesRate, 1), "--live", "--wait", "2", "--bind", p.at(frontNet, deckHost, 7100),
		"--resync-bind", p.at(frontNet, deckHost, 7300))
}

// flow waits until the reader has had some more records, in order.
func (x *proxies) flow(p *pairStage) {
	before := x.reader.Last("reader").Number("next")
	p.await("records for the reader", func() bool { return x.reader.Last("reader").Number("next") >= before+1000 })
}

func (x *proxies) end(p *pairStage) {
	t := p.t
	p.interrupt(x.play, 130)
	played := uint64(x.play.Last("play.summary").Number("records"))
	x.reader.Await("reader", func(m rig.Message) bool {
		return m["ended"] == true && (m.Number("missing") == 0 || m.Text("bad") != "")
	})
	x.reader.Signal(syscall.SIGTERM)
	if code := x.reader.End(); code != 0 {
		t.Errorf("the reader: exit code %d\n%s", code, x.reader.Stderr())
	}
	m := x.reader.Last("reader")
	t.Logf("%d records, %.0f came again and were dropped", played, m.Number("repeated"))
	if m.Text("bad") != "" || uint64(m.Number("next")) != played || uint64(m.Number("records")) != played || played == 0 {
		t.Errorf("the reader has %v of %d records", m, played)
	}
	for _, member := range p.members {
		p.interrupt(member, 130)
		if s := member.Last("lvc.summary"); s.Number("lost") != 0 {
			t.Errorf("a proxy lost records: %v", s)
		}
	}
}
