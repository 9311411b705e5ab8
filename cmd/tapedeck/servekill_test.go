package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/tape"
)

// serveProcess is tapedeck serve in a process of its own.
type serveProcess struct {
	*process
	serving serving
}

// startServe starts tapedeck serve at free ports, and waits until it serves.
func startServe(t *testing.T, dir string, args ...string) *serveProcess {
	t.Helper()
	p := &serveProcess{process: start(t, append([]string{"serve", "--json", "--tapes", dir, "--bus", "tcp://127.0.0.1:*", "--state", "tcp://127.0.0.1:*",
		"--metrics", "", "--set", "broker.heartbeat=100ms", "--set", "jobs.retry=10ms"}, args...)...)}
	line, err := bufio.NewReader(p.stdout).ReadBytes('\n')
	if err != nil {
		t.Fatalf("%v\n%s", err, p.stderr)
	}
	if err := json.Unmarshal(line, &p.serving); err != nil {
		t.Fatal(err)
	}
	return p
}

// on is a client on its bus.
func (p *serveProcess) on(t *testing.T) *stationTest {
	return &stationTest{T: t, client: busClient(t, p.serving.Bus)}
}

// TestServeKilled: serve is killed at work; when it comes back jobs go on, and each
// is done once.
func TestServeKilled(t *testing.T) {
	dir := t.TempDir()
	day(t, dir, 5000)
	first := startServe(t, dir)
	s := first.on(t)
	d := ask[control.DeckResult](s, control.ServiceDeck, "open", control.DeckOpen{Tapes: []string{"day.tape"}, Bind: "ipc://" + filepath.Join(dir, "s"), Speed: "max", Wait: 1})
	rec := s.addJob("record", control.RecordArgs{RecorderStart: control.RecorderStart{Connect: d.Shards[0], Tape: "copy.tape"}}, control.JobAdd{})
	for ask[control.DeckResult](s, control.ServiceDeck, "state", nil).Phase != "held" { // all of it has been sent
	}
	later := s.addJob("import", control.ImportArgs{File: synthArgs, Tape: "later.tape"}, control.JobAdd{At: "+1h", Key: "later"})
	imp := s.addJob("import", control.ImportArgs{File: strings.Replace(synthArgs, "500", "3000000", 1), Tape: "big.tape"}, control.JobAdd{})
	for ask[control.JobState](s, control.ServiceJob, "show", control.JobOf{ID: imp.ID}).State != "running" {
	}
	first.signal(os.Kill)
	if _, code := first.end(); code != -1 {
		t.Fatalf("exit code %d: %s", code, first.stderr)
	}

	second := startServe(t, dir)
	s = second.on(t)
	if j := ask[control.JobState](s, control.ServiceJob, "show", control.JobOf{ID: later.ID}); j.State != "stored" || j.Key != "later" {
		t.Errorf("the job of later: %+v", j)
	}
	if j := s.waitJob(imp.ID); j.State != "done" {
		t.Errorf("the import: %+v", j)
	}
	// The stream comes to the recording again.
	d = ask[control.DeckResult](s, control.ServiceDeck, "open", control.DeckOpen{Tapes: []string{"day.tape"}, Bind: "ipc://" + filepath.Join(dir, "s"), Speed: "max", Wait: 1})
	for ask[control.DeckResult](s, control.ServiceDeck, "state", nil).Phase != "held" {
	}
	ask[control.DeckResult](s, control.ServiceDeck, "stop", nil)
	if j := s.waitJob(rec.ID); j.State != "done" || j.Attempts < 2 {
		t.Errorf("the recording: %+v", j)
	}
	for _, name := range []string{"big.tape", "copy.tape"} {
		rep, err := tape.Verify(t.Context(), filepath.Join(dir, name), nil)
		if err != nil || !rep.OK() || !rep.Closed {
			t.Errorf("%s: %v, %v", name, rep.Problems, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.partial")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	// A second process has neither the bus nor the jobs.
	taken := start(t, "serve", "--tapes", dir, "--bus", second.serving.Bus)
	if _, code := taken.end(); code != 1 || !strings.Contains(taken.stderr.String(), "broker: ") || !strings.Contains(taken.stderr.String(), "hint: ") {
		t.Errorf("a bus in use: exit code %d\n%s", code, taken.stderr)
	}
	taken = start(t, "serve", "--tapes", dir, "--bus", "tcp://127.0.0.1:*", "--state", "tcp://127.0.0.1:*", "--metrics", "")
	if _, code := taken.end(); code != 1 || !strings.Contains(taken.stderr.String(), "another process") {
		t.Errorf("jobs in use: exit code %d\n%s", code, taken.stderr)
	}
	second.signal(os.Interrupt)
	if _, code := second.end(); code != 0 {
		t.Errorf("interrupted: exit code %d\n%s", code, second.stderr)
	}
}
