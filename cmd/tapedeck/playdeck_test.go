package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// idleTape is a tape of three records, the last one ten seconds behind the others.
func idleTape(t *testing.T, dir string) string {
	t.Helper()
	csv, tp := filepath.Join(dir, "idle.csv"), filepath.Join(dir, "idle.tape")
	rows := "time,topic,price\n2024-01-02T14:30:00Z,A,1\n2024-01-02T14:30:00.001Z,B,2\n2024-01-02T14:30:10.001Z,A,3\n"
	if err := os.WriteFile(csv, []byte(rows), 0o666); err != nil {
		t.Fatal(err)
	}
	tapedeck(t, "import", csv, "--columns", "time=time,topic=topic", "-o", tp)
	return tp
}

// deckNotices are the sub.deck messages of an output.
func deckNotices(t *testing.T, out string) []wire.DeckNotice {
	t.Helper()
	var list []wire.DeckNotice
	for line := range strings.Lines(out) {
		if !strings.Contains(line, `"message_type":"sub.deck"`) {
			continue
		}
		var d wire.DeckNotice
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatal(err)
		}
		list = append(list, d)
	}
	return list
}

// TestPlayIsSqueezed: idle time is left out, and subscribers are told what the player
// does, with workers and without.
func TestPlayIsSqueezed(t *testing.T) {
	for _, workers := range []string{"0", "2"} {
		dir := t.TempDir()
		tp, bind := idleTape(t, dir), "ipc://"+filepath.Join(dir, "s")
		play := start(t, "play", tp, "--squeeze", "10ms", "--wait", "1", "--bind", bind, "--json")
		sub := start(t, "sub", "--connect", bind, "--workers", workers, "--policy", "warn", "--json")
		out, code := sub.end()
		if m := summary(t, out, "sub.summary"); code != 0 || m["complete"] != true || m["records"] != 3.0 {
			t.Errorf("workers %s: exit code %d, %v\n%s", workers, code, m, sub.stderr)
		}
		const left = 9_990_000_000
		list := deckNotices(t, out)
		if len(list) < 2 {
			t.Fatalf("workers %s: %+v\n%s", workers, list, out)
		}
		first, last := list[0], list[len(list)-1]
		if first.Command != "play" || first.Phase != "playing" || first.Speed != "1x" || first.Session != "idle" || first.SqueezeNs != 10_000_000 ||
			last.Command != "end" || last.Phase != "finished" || last.Records != 3 || last.SqueezedNs != left || last.Position == 0 {
			t.Errorf("workers %s: from %+v to %+v", workers, first, last)
		}
		for _, line := range []string{`deck "idle", play: playing at 1x, idle stretches of 10ms at most`, `deck "idle", end: finished at 1x, tape at 2024-01-02T14:30:10.001`} {
			if n := strings.Count(sub.stderr.String(), line); n != 1 {
				t.Errorf("workers %s: %q is said %d times\n%s", workers, line, n, sub.stderr)
			}
		}
		out, code = play.end()
		if m := summary(t, out, "play.summary"); code != 0 || figure(t, m, "squeezed_ns") != left {
			t.Errorf("exit code %d, %v\n%s", code, m, play.stderr)
		}
	}
}

// TestPlayLoops: a part of a tape is played until somebody ends it, each time as an
// epoch that begins with last values.
func TestPlayLoops(t *testing.T) {
	dir := t.TempDir()
	tp, bind := idleTape(t, dir), "ipc://"+filepath.Join(dir, "s")
	play := start(t, "play", tp, "--speed", "max", "--loop", "2024-01-02T14:30:00.001Z..2024-01-02T14:30:05Z", "--wait", "1", "--bind", bind, "--json")
	sub := startReader(t, "sub", "--connect", bind, "--json", "--print")
	if !sub.stderr.await("from 2024-01-02T14:30:00.001") || !sub.stderr.await(", round 3") {
		t.Fatal(sub.stderr)
	}
	play.signal(syscall.SIGINT)
	out, code := sub.finish()
	if m := summary(t, out, "sub.summary"); code != 3 || m["gaps"] != 0.0 || m["early"] != true || figure(t, m, "epochs") < 5 || m["topics"] != 2.0 {
		t.Errorf("exit code %d, %v\n%s", code, m, sub.stderr)
	}
	if n := strings.Count(out, `"start":{"reason":"loop","at":1704205800001000000,"clock":"receive","snapshot":true,`); n < 4 {
		t.Errorf("%d rounds\n%s", n, out)
	}
	out, code = play.end()
	if m := summary(t, out, "play.summary"); code != 130 || figure(t, m, "rounds") < 4 || figure(t, m, "records") < 3 {
		t.Errorf("exit code %d, %v\n%s", code, m, play.stderr)
	}
}

// TestPlayRefusesLoops that are no part of the tape, and squeezing what has no pace.
func TestPlayRefusesLoops(t *testing.T) {
	tp := idleTape(t, t.TempDir())
	for _, args := range [][]string{
		{"--loop", "0"}, {"--loop", "a..b"}, {"--loop", "@there..@nowhere"}, {"--loop", "2024-01-02T14:30:01Z..2024-01-02T14:30:02Z"},
		{"--loop", "2025-01-02T14:30:01Z.."}, {"--squeeze", "-1s"}, {"--squeeze", "1s", "--speed", "max"}, {"--squeeze", "0.1"},
	} {
		p := start(t, append([]string{"play", tp, "--bind", "ipc://" + filepath.Join(t.TempDir(), "s")}, args...)...)
		if out, code := p.end(); code != 2 || out != "" {
			t.Errorf("%v: exit code %d, %s%s", args, code, out, p.stderr)
		}
	}
}
