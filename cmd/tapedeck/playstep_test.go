package main

import (
	"bufio"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestPlayInLockStep: two runs of a tape of two shards, at different speeds, print the
// same records in the same order over both shards; a reader with workers is waited for
// as well, and one that is not named is not, though it stands still.
func TestPlayInLockStep(t *testing.T) {
	dir := t.TempDir()
	src := day(t, dir, 3000)
	var before []string
	for run, speed := range []string{"max", "20x"} {
		bind := fmt.Sprintf("ipc://%s/%d-{shard}", dir, run)
		play := start(t, "play", src, "--shards", "2", "--speed", speed, "--wait", "3", "--barrier", "desk,crew", "--bind", bind, "--json")
		desk := start(t, "sub", "--shards", "2", "--connect", bind, "--name", "desk", "--lock-step", "--print", "--json")
		crew := start(t, "sub", "--shards", "2", "--connect", bind, "--name", "crew", "--lock-step", "--workers", "3", "--json")
		other := start(t, "sub", "--shards", "2", "--connect", bind)
		var records []string
		lines := bufio.NewScanner(desk.stdout)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), `{"message_type":"record"`) {
				records = append(records, lines.Text())
			}
			if len(records) == 1 {
				other.signal(syscall.SIGSTOP)
			}
		}
		if code := desk.code(); code != 0 {
			t.Fatalf("sub exits with %d: %s", code, desk.stderr)
		}
		out, code := crew.end()
		if m := summary(t, out, "sub.summary"); code != 0 || m["complete"] != true || m["records"] != 3000.0 {
			t.Errorf("sub with workers exits with %d: %v\n%s", code, m, crew.stderr)
		}
		other.signal(syscall.SIGKILL) // play would wait a while for its word that it has the end
		out, code = play.end()
		m := summary(t, out, "play.summary")
		if code != 0 || m["records"] != 3000.0 || m["batches"] != 3000.0 || m["readers_finished"] != 2.0 || m["awaited_seconds"] == nil {
			t.Errorf("play exits with %d: %v\n%s", code, m, play.stderr)
		}
		if len(records) != 3000 || run == 1 && !slices.Equal(records, before) {
			t.Errorf("%d records were printed, %d before, not the same", len(records), len(before))
		}
		before = records
	}
}

// TestPlayWaitsForWhoIsKilled: play stands still while a reader that it names is gone,
// says so, and goes on when it is there again; the new one gets what the old one had not
// written down, and the other has seen nothing of it.
func TestPlayWaitsForWhoIsKilled(t *testing.T) {
	dir := t.TempDir()
	src := day(t, dir, 4000)
	bind, refills, at := "ipc://"+dir+"/s-{shard}", "ipc://"+dir+"/r", filepath.Join(dir, "risk.json")
	play := start(t, "play", src, "--shards", "2", "--speed", "max", "--barrier", "desk,risk", "--barrier-window", "5",
		"--bind", bind, "--resync-bind", refills, "--resync-linger", "0s", "--json")
	desk := start(t, "sub", "--shards", "2", "--connect", bind, "--name", "desk", "--lock-step", "--json")
	args := []string{"sub", "--shards", "2", "--connect", bind, "--name", "risk", "--lock-step", "--resync", refills, "--from", "start", "--resume", at}
	risk := start(t, append(args, "--print")...)
	r := bufio.NewReader(risk.stdout)
	for range 500 {
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err, risk.stderr)
		}
	}
	risk.signal(syscall.SIGKILL)
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	risk.code()
	if !play.stderr.await(`for reader "risk", which is not there`) {
		t.Fatal(play.stderr)
	}
	again := start(t, append(args, "--json")...)
	out, code := again.end()
	// It begins with what the one before had written down, or with the epoch.
	m := summary(t, out, "sub.summary")
	if heal, _ := m["resync"].(map[string]any); code != 0 || m["complete"] != true || heal["lost"] != 0.0 || heal["twice"] != 0.0 || heal["refilled"] == 0.0 {
		t.Errorf("the second reader exits with %d: %v\n%s", code, m, again.stderr)
	}
	out, code = desk.end()
	if m := summary(t, out, "sub.summary"); code != 0 || m["complete"] != true || m["records"] != 4000.0 || m["gaps"] != 0.0 {
		t.Errorf("the other reader exits with %d: %v\n%s", code, m, desk.stderr)
	}
	out, code = play.end()
	if m := summary(t, out, "play.summary"); code != 0 || m["records"] != 4000.0 || m["readers_left"] != 1.0 {
		t.Errorf("play exits with %d: %v\n%s", code, m, play.stderr)
	}
}

// TestBarrierTimeout: play ends with an error that names who is missing.
func TestBarrierTimeout(t *testing.T) {
	dir := t.TempDir()
	src := day(t, dir, 100)
	bind := "ipc://" + dir + "/s"
	// It reads, but does not say what it handles.
	sub := start(t, "sub", "--connect", bind, "--name", "desk", "--json")
	play := start(t, "play", src, "--wait", "1", "--barrier", "desk,nobody", "--barrier-timeout", "300ms", "--bind", bind)
	_, code := play.end()
	text := play.stderr.String()
	for _, want := range []string{"in lock-step", `"desk", which does not say what it handles of shard 0: is it in lock-step?`, `"nobody", which is not there`} {
		if code != 1 || !strings.Contains(text, want) {
			t.Errorf("exit code %d, not %q in\n%s", code, want, text)
		}
	}
	if out, code := sub.end(); code != 3 || summary(t, out, "sub.summary")["early"] != true {
		t.Errorf("sub exits with %d: %s", code, out)
	}
}

// faulty is what play --faults does in the tests.
const faulty = "drop=2%,dup=1%,reorder=1%,corrupt=1%,delay=0.3%:1ms,seed=7"

// TestPlayWithFaults: in lock-step two runs have the very same faults; a reader that asks
// for nothing misses the records that play counts, and one with --resync has all.
func TestPlayWithFaults(t *testing.T) {
	dir := t.TempDir()
	src := day(t, dir, 3000)
	var before map[string]any
	for run := range 2 {
		bind, refills := fmt.Sprintf("ipc://%s/s%d-{shard}", dir, run), fmt.Sprintf("ipc://%s/r%d", dir, run)
		play := start(t, "play", src, "--shards", "2", "--speed", "max", "--barrier", "plain,healed", "--barrier-window", "10", "--faults", faulty,
			"--bind", bind, "--resync-bind", refills, "--resync-linger", "0s", "--json")
		plain := start(t, "sub", "--shards", "2", "--connect", bind, "--name", "plain", "--lock-step", "--json")
		healed := start(t, "sub", "--shards", "2", "--connect", bind, "--name", "healed", "--lock-step", "--resync", refills, "--json")
		out, code := plain.end()
		lost := summary(t, out, "sub.summary")
		if code != 3 || lost["complete"] != false || lost["ended"] != true {
			t.Errorf("sub exits with %d: %v", code, lost)
		}
		out, code = healed.end()
		if m := summary(t, out, "sub.summary"); code != 0 || m["complete"] != true || m["records"] != 3000.0 {
			t.Errorf("sub --resync exits with %d: %v\n%s", code, m, healed.stderr)
		}
		out, code = play.end()
		m := summary(t, out, "play.summary")
		f, _ := m["faults"].(map[string]any)
		if code != 0 || f == nil || f["missing_records"] != lost["lost"] || f["corrupted"] != lost["corrupt"] || f["marks"] != 0.0 {
			t.Fatalf("play exits with %d: %v; the reader lost %v\n%s", code, f, lost, play.stderr)
		}
		for _, kind := range []string{"dropped", "corrupted", "duplicated", "reordered", "delayed"} {
			if f[kind] == 0.0 || run == 1 && f[kind] != before[kind] {
				t.Errorf("%s: %v, before %v", kind, f[kind], before[kind])
			}
		}
		if run == 1 && f["missing_records"] != before["missing_records"] {
			t.Errorf("%v records are missing, before %v", f["missing_records"], before["missing_records"])
		}
		before = f
	}
}

// TestFaultsAreHealed: without lock-step, lossless and live, a reader with --resync ends
// complete, also where marks are lost; play waits for its end.
func TestFaultsAreHealed(t *testing.T) {
	dir := t.TempDir()
	src := day(t, dir, 3000)
	for i, args := range [][]string{
		{"--faults", faulty}, {"--faults", faulty, "--live"}, {"--faults", "drop=20%,dup=5%,marks,seed=3"},
	} {
		bind, refills := fmt.Sprintf("ipc://%s/s%d-{shard}", dir, i), fmt.Sprintf("ipc://%s/r%d", dir, i)
		play := start(t, append([]string{"play", src, "--shards", "2", "--speed", "20x", "--wait", "1", "--bind", bind, "--resync-bind", refills,
			"--resync-linger", "100ms", "--json"}, args...)...)
		out, code := start(t, "sub", "--shards", "2", "--connect", bind, "--resync", refills, "--from", "start", "--json").end()
		if m := summary(t, out, "sub.summary"); code != 0 || m["complete"] != true || m["records"] != 3000.0 {
			t.Errorf("%v: sub exits with %d: %v", args, code, m)
		}
		out, code = play.end()
		m := summary(t, out, "play.summary")
		if f, _ := m["faults"].(map[string]any); code != 0 || m["readers_finished"] != 1.0 || f["missing_records"] == 0.0 {
			t.Errorf("%v: play exits with %d: %v\n%s", args, code, m, play.stderr)
		}
	}
}
