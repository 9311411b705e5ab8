package chaos

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/chaos/ground"
	"github.com/tapedeck/tapedeck/chaos/rig"
)

// streamed is a player and those who want all of what it plays.
type streamed struct {
	*stage
	play, sub, record *rig.Process
	recordArgs        []string
}

const (
	streamRecords = 24_000
	streamRate    = 4000
	streamShards  = 2
)

// TestChaosStream: whatever is done to the network, or to who reads, a reader and a
// recorder with --resync have every record once, in order, and prove it. Lossless and
// live.
func TestChaosStream(t *testing.T) {
	both := func(s *streamed, rule ground.Rule) {
		s.ground.SetBoth(frontNet, deckHost, deskHost, rule)
		s.ground.SetBoth(frontNet, deckHost, archiveHost, rule)
	}
	for name, trouble := range map[string]func(*streamed){
		"1 % loss and 20 ms": func(s *streamed) { both(s, ground.Rule{Loss: 0.01, Delay: 20 * time.Millisecond}) },
		"loss one way": func(s *streamed) {
			s.ground.Set(frontNet, deckHost, deskHost, ground.Rule{Loss: 0.03})
			s.ground.Set(frontNet, archiveHost, deckHost, ground.Rule{Loss: 0.05})
		},
		"flapping link": func(s *streamed) {
			for range 8 {
				both(s, ground.Rule{Cut: true})
				s.pause(50*time.Millisecond, 400*time.Millisecond)
				both(s, ground.Rule{})
				s.pause(50*time.Millisecond, 600*time.Millisecond)
			}
		},
		"partition": func(s *streamed) {
			s.pause(0, time.Second)
			both(s, ground.Rule{Cut: true})
			s.pause(2*time.Second, 3*time.Second)
			both(s, ground.Rule{})
		},
		"stopped readers": func(s *streamed) {
			for _, p := range []*rig.Process{s.sub, s.record} {
				p.Signal(syscall.SIGSTOP)
				s.pause(time.Second, 2*time.Second)
				p.Signal(syscall.SIGCONT)
			}
		},
		"killed recorder": func(s *streamed) {
			for range 3 {
				s.pause(500*time.Millisecond, time.Second)
				s.record.Signal(os.Kill)
				s.record.End()
				s.record = s.start(archiveHost, s.recordArgs...)
			}
		},
	} {
		for _, mode := range []string{"lossless", "live"} {
			t.Run(name+", "+mode, func(t *testing.T) {
				t.Parallel()
				s := newStreamed(t, mode)
				trouble(s)
				s.finish()
			})
		}
	}
}

func newStreamed(t *testing.T, mode string) *streamed {
	t.Helper()
	s := &streamed{stage: newStage(t)}
	tape := s.tape(streamRecords, streamRate, streamShards)
	shards, refill := s.at(frontNet, deckHost, 7100)+"+", s.at(frontNet, deckHost, 7300)
	args := []string{"play", tape, "--shards", "2", "--wait", "2", "--bind", shards, "--resync-bind", refill, "--resync-linger", "3s"}
	if mode == "live" {
		args = append(args, "--live")
	}
	s.play = s.start(deckHost, args...)
	s.sub = s.start(deskHost, "sub", "--shards", "2", "--connect", shards, "--resync", refill, "--resync-attempts", "100")
	s.recordArgs = []string{"record", "--shards", "2", "--connect", shards, "--resync", refill, "--resync-attempts", "100", "-o", filepath.Join(s.dir, "copy.tape"), "--append"}
	s.record = s.start(archiveHost, s.recordArgs...)
	s.sub.Await("sub.session", nil)
	return s
}

// finish waits for the end and holds that nothing is missing.
func (s *streamed) finish() {
	t := s.t
	t.Helper()
	for _, p := range []*rig.Process{s.sub, s.record, s.play} {
		if code := p.End(); code != 0 {
			t.Errorf("%s: exit code %d\n%s", p.Name(), code, p.Stderr())
		}
	}
	m := s.sub.Last("sub.summary")
	if m["complete"] != true || m.Number("records") != streamRecords || m.Number("lost") != 0 {
		t.Errorf("sub: %v", m)
	}
	s.checkTape(filepath.Join(s.dir, "copy.tape"), streamRecords)
	for _, to := range []int{deskHost, archiveHost} {
		sent, lost := s.ground.Packets(deckHost, to)
		back, lostBack := s.ground.Packets(to, deckHost)
		t.Logf("packets to %s: %d, %d lost; back: %d, %d lost", []string{deskHost: "desk", archiveHost: "archive"}[to], sent, lost, back, lostBack)
	}
	if strings.Contains(s.play.Stderr(), "panic") {
		t.Error(s.play.Stderr())
	}
}
