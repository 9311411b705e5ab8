package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestPolicySkip: a reader whose output is not read for a while drops everything,
// takes last values from the player or from a recorder, and goes on behind them: the
// last record of each topic is the tape's.
func TestPolicySkip(t *testing.T) {
	for _, from := range []string{"player", "recorder"} {
		t.Run(from, func(t *testing.T) {
			dir := t.TempDir()
			const records, passes = 20_000, 4
			src := paced(t, dir, records, 20_000)
			bind, player, refills := "ipc://"+filepath.Join(dir, "s-{shard}"), "ipc://"+filepath.Join(dir, "p"), "ipc://"+filepath.Join(dir, "r")
			wait := map[string]string{"player": "1", "recorder": "2"}[from]
			play := startReader(t, "play", src, "--shards", "2", "--wait", wait, "--live", "--loop", fmt.Sprint(passes), "--bind", bind, "--resync-bind", player, "--json")
			subArgs := []string{"sub", "--shards", "2", "--connect", bind, "--print", "--json", "--policy", "skip", "--lag-limit", "200ms"}
			var record *reader
			if from == "player" {
				subArgs = append(subArgs, "--resync", player)
			} else {
				// On a busy machine the recorder loses records, too.
				record = startReader(t, "record", "--shards", "2", "--connect", bind, "-o", filepath.Join(dir, "rec.tape"), "--resync", player, "--resync-bind", refills, "--json")
				subArgs = append(subArgs, "--resync", player, "--snapshot", refills)
			}
			sub := start(t, subArgs...)
			if !sub.stderr.await("is stuck on shard") {
				t.Fatal(sub.stderr)
			}
			out, code := sub.end()
			m := summary(t, out, "sub.summary")
			policy := part(t, m, "policy")
			if code != 0 || figure(t, m, "records") != passes*records || figure(t, policy, "snapshots") == 0 || figure(t, policy, "snapshot_entries") == 0 ||
				figure(t, policy, "discarded_records") == 0 || figure(t, policy, "passed_records")+figure(t, policy, "discarded_records") != passes*records {
				t.Errorf("exit code %d, %v\n%s", code, m, sub.stderr)
			}
			if !strings.Contains(sub.stderr.String(), "skipped to a fresh snapshot") {
				t.Errorf("it does not say so\n%s", sub.stderr)
			}
			last := func(list []printed) map[string]uint32 {
				m := map[string]uint32{}
				for _, p := range list {
					m[p.Topic] = p.Seq
				}
				return m
			}
			got := last(recordsIn(t, out))
			for topic, seq := range last(recordsIn(t, tapedeck(t, "last", src, "--json"))) {
				if got[topic] != seq {
					t.Errorf("%s: the last one is #%d, want #%d", topic, got[topic], seq)
				}
			}
			if record != nil {
				out, code = record.finish()
				if m := summary(t, out, "record.summary"); code != 0 || figure(t, part(t, m, "served"), "snapshots") == 0 {
					t.Errorf("record: exit code %d, %v", code, m)
				}
			}
			out, code = play.finish()
			if m := summary(t, out, "play.summary"); code != 0 || from == "player" && figure(t, part(t, m, "served"), "snapshots") == 0 {
				t.Errorf("play: exit code %d, %v", code, m)
			}
		})
	}
}

// TestPlayReaders: who reads is listed while play goes on and in its summary, and a
// reader that stands still is named at once, also without asking.
func TestPlayReaders(t *testing.T) {
	dir := t.TempDir()
	src := paced(t, dir, 20_000, 5000)
	bind := "ipc://" + filepath.Join(dir, "s")
	play := startReader(t, "play", src, "--wait", "2", "--live", "--bind", bind, "--readers", "--json")
	sub := startReader(t, "sub", "--connect", bind, "--name", "desk 4", "--print")
	other := startReader(t, "sub", "--connect", bind, "--name", "desk 7")
	sub.further(100)
	sub.signal(stopSignal)
	if !play.stderr.await("reader desk 4") {
		t.Fatal(play.stderr)
	}
	sub.signal(continueSignal)
	sub.finish()
	other.finish()
	out, code := play.finish()
	m := summary(t, out, "play.summary")
	names := map[string]string{}
	list, _ := m["reader_list"].([]any)
	for _, r := range list {
		r := r.(map[string]any)
		names[r["name"].(string)] = r["id"].(string)
	}
	if code != 0 || len(list) != 2 || names["desk 4"] == "" || names["desk 7"] == "" {
		t.Errorf("exit code %d, %v\n%s", code, m, play.stderr)
	}
	for _, want := range []string{`"message_type":"squawk"`, `"name":"desk 4"`, `"verdict":"stuck"`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in the output", want)
		}
	}
	if !strings.Contains(out, `{"message_type":"reader","id":"`+names["desk 7"]+`","name":"desk 7","verdict":"ok"`) {
		t.Errorf("desk 7 was not listed\n%s", out)
	}
}
