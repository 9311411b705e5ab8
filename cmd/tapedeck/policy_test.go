package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPolicyDie: a reader whose output nobody reads ends with exit code 4 and says
// why; the one beside it has everything that was sent to it.
func TestPolicyDie(t *testing.T) {
	dir := t.TempDir()
	src := day(t, dir, 50_000)
	bind := "ipc://" + filepath.Join(dir, "s-{shard}")
	play := start(t, "play", src, "--speed", "max", "--live", "--loop", "forever", "--wait", "1", "--shards", "2", "--bind", bind)
	for _, args := range [][]string{{"--name", "desk 4"}, {"--json"}, {"--workers", "2"}} {
		sub := start(t, append([]string{"sub", "--connect", bind, "--shards", "2", "--print", "--policy", "die", "--lag-limit", "250ms"}, args...)...)
		if code := sub.code(); code != exitSlow {
			t.Errorf("%v: exit code %d\n%s", args, code, sub.stderr)
		}
		lines := strings.Split(strings.TrimSpace(sub.stderr.String()), "\n")
		last := lines[len(lines)-1]
		who := "this reader"
		if args[0] == "--name" {
			who = "reader desk 4"
		}
		for _, want := range []string{"tapedeck: too slow, the limit is 250ms: " + who + " is stuck on shard ", "its handler does not return", "; die"} {
			if !strings.Contains(last, want) {
				t.Errorf("%v: %q does not say %q", args, last, want)
			}
		}
	}
	play.signal(os.Interrupt)
	if _, code := play.end(); code != 130 {
		t.Errorf("play: exit code %d\n%s", code, play.stderr)
	}
}

// TestPolicyDieLate: a reader that loses records, and is never stuck, dies too,
// with everything in order: summary and squawk are written.
func TestPolicyDieLate(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "large.tape") // its records soon fill every queue
	tapedeck(t, "import", "synth:topics=20,records=10000,rate=1000,size=4000,seed=5", "-o", src)
	bind := "ipc://" + filepath.Join(dir, "s")
	play := start(t, "play", src, "--speed", "max", "--live", "--loop", "forever", "--wait", "1", "--bind", bind)
	sub := start(t, "sub", "--connect", bind, "--print", "--json", "--policy", "die", "--lag-limit", "1h", "--silence", "30s")
	out, code := sub.end()
	m := summary(t, out, "sub.summary")
	policy, _ := m["policy"].(map[string]any)
	if code != exitSlow || m["gaps"] == 0.0 || policy["policy"] != "die" || policy["squawks"] != 1.0 {
		t.Errorf("exit code %d, %v\n%s", code, m, sub.stderr)
	}
	if !strings.Contains(out, `"message_type":"squawk"`) || !strings.Contains(out, `"verdict":"snail","before":"ok","cause":"lost","action":"die"`) {
		t.Errorf("no squawk in the output\n%s", sub.stderr)
	}
	if !strings.Contains(sub.stderr.String(), "records are missing") {
		t.Errorf("%s", sub.stderr)
	}
	play.signal(os.Interrupt)
	play.end()
}

// TestPolicyConflate: a reader whose output is not read for a while conflates, and
// when it is read again everything is accounted for, and the last record of each
// topic has come.
func TestPolicyConflate(t *testing.T) {
	dir := t.TempDir()
	const records = 400_000
	src := day(t, dir, records)
	bind := "ipc://" + filepath.Join(dir, "s-{shard}")
	play := start(t, "play", src, "--speed", "max", "--wait", "1", "--shards", "2", "--bind", bind)
	sub := start(t, "sub", "--connect", bind, "--shards", "2", "--print", "--json", "--policy", "conflate", "--lag-limit", "200ms")
	// Both shards' loops are stuck, and both will be conflated.
	for _, shard := range []string{"shard 0", "shard 1"} {
		if !sub.stderr.await("is stuck on " + shard) {
			t.Fatal(sub.stderr)
		}
	}
	type record struct {
		Message string         `json:"message_type"`
		Topic   string         `json:"topic"`
		Seq     uint32         `json:"topic_seq"`
		Skipped uint32         `json:"skipped"`
		Action  string         `json:"action"`
		Records uint64         `json:"records"`
		Visited uint64         `json:"visited"`
		Lost    uint64         `json:"lost"`
		Whole   bool           `json:"complete"`
		Policy  *policySummary `json:"policy"`
	}
	next, conflating := map[string]uint32{}, 0
	var sum record
	for lines := bufio.NewScanner(sub.stdout); lines.Scan(); {
		sum = record{}
		if err := json.Unmarshal(lines.Bytes(), &sum); err != nil {
			t.Fatal(err)
		}
		switch sum.Message {
		case "record":
			if want := next[sum.Topic] + sum.Skipped; sum.Seq != want {
				t.Fatalf("%s: #%d, want #%d: %d skipped", sum.Topic, sum.Seq, want, sum.Skipped)
			}
			next[sum.Topic] = sum.Seq + 1
		case "squawk":
			if sum.Action == "conflate" {
				conflating++
			}
		}
	}
	if code := sub.code(); code != 0 || sum.Message != "sub.summary" || !sum.Whole || sum.Records != records {
		t.Errorf("exit code %d, %+v\n%s", code, sum, sub.stderr)
	}
	p := sum.Policy
	if p == nil || conflating < 2 || p.Conflated == 0 || p.Skipped == 0 || p.Dropped != 0 || p.Waiting != 0 ||
		p.Passed+p.Conflated+p.Skipped != records || sum.Visited != p.Passed+p.Conflated {
		t.Errorf("conflated %d times, %d visited, %+v", conflating, sum.Visited, p)
	}
	total := uint64(0)
	for _, n := range next {
		total += uint64(n)
	}
	if total != records {
		t.Errorf("the last records of the topics are numbers that add up to %d, want %d", total, records)
	}
	if _, code := play.end(); code != 0 {
		t.Errorf("play: exit code %d\n%s", code, play.stderr)
	}
}

// TestPolicyWarn: a reader that keeps up has nothing to tell, and its summary says
// so.
func TestPolicyWarn(t *testing.T) {
	dir := t.TempDir()
	src := day(t, dir, 20_000)
	bind := "ipc://" + filepath.Join(dir, "s")
	play := start(t, "play", src, "--speed", "max", "--wait", "1", "--bind", bind)
	sub := start(t, "sub", "--connect", bind, "--json", "--policy", "warn", "--lag-limit", "1h")
	out, code := sub.end()
	m := summary(t, out, "sub.summary")
	policy, _ := m["policy"].(map[string]any)
	if code != 0 || m["complete"] != true || policy["policy"] != "warn" || policy["squawks"] != 0.0 || policy["passed_records"] != 20_000.0 {
		t.Errorf("exit code %d, %v\n%s", code, m, sub.stderr)
	}
	if _, err := io.Copy(io.Discard, play.stdout); err != nil {
		t.Error(err)
	}
	if code := play.code(); code != 0 {
		t.Errorf("play: exit code %d\n%s", code, play.stderr)
	}
}
