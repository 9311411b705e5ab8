package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// benchFailover runs bench failover and returns its cases by part.
func benchFailover(t *testing.T, args ...string) map[string]map[string]any {
	t.Helper()
	out := tapedeck(t, append([]string{"bench", "failover", "--json", "--dir", t.TempDir(), "--heartbeat", "100ms", "--pause", "50ms"}, args...)...)
	seen := map[string]map[string]any{}
	for line := range strings.Lines(out) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if part, ok := m["part"].(string); ok && m["message_type"] == "bench.failover" {
			seen[part] = m
		}
	}
	return seen
}

// TestBenchFailover: pairs of real processes, whose active one is killed.
func TestBenchFailover(t *testing.T) {
	seen := benchFailover(t, "all", "--kills", "2", "--readers", "3", "--libzmq", "1", "--rate", "2000", "--topics", "50",
		"--outstanding", "30", "--at-once", "4")
	if len(seen) != 3 {
		t.Fatalf("%d parts, want 3", len(seen))
	}
	zero := map[string][]string{
		"lvc": {"lost_records", "repeated_records", "wrong_records", "lost_tail_records", "lost_untold_records", "servers_unread",
			"incomplete_records", "missing_messages"},
		"broker": {"lost_requests", "effects_twice", "servers_unread"},
		"deck":   {"lost_records", "repeated_records", "wrong_records", "lost_tail_records", "lost_untold_records", "servers_unread"},
	}
	above := map[string][]string{
		"lvc":    {"late_p50_ns", "sent_per_second", "pair_notices", "sent_records"},
		"broker": {"requests", "requests_per_second"},
		"deck":   {"sent_records", "epochs"},
	}
	for part, m := range seen {
		if m["kills"] != 2.0 {
			t.Errorf("%s: %v kills", part, m["kills"])
		}
		for _, metric := range zero[part] {
			if got, ok := m[metric].(float64); !ok || got != 0 {
				t.Errorf("%s: %s is %v", part, metric, m[metric])
			}
		}
		for _, metric := range append(above[part], "first_p50_ns", "first_max_ns", "last_first_max_ns", "whole_max_ns", "active_p50_ns", "ready_again_p50_ns") {
			if got, ok := m[metric].(float64); !ok || got <= 0 {
				t.Errorf("%s: %s is %v", part, metric, m[metric])
			}
		}
	}
	sent, _ := seen["lvc"]["sent_records"].(float64)
	if delivered, _ := seen["lvc"]["delivered_records"].(float64); delivered != 3*sent {
		t.Errorf("%v records of %v were delivered to 3 readers", delivered, sent)
	}
	requests, _ := seen["broker"]["requests"].(float64)
	if effects, _ := seen["broker"]["effects"].(float64); effects != requests {
		t.Errorf("%v commands, %v effects", requests, effects)
	}
}

func TestBenchFailoverFlags(t *testing.T) {
	for _, args := range [][]string{{"nonsense"}, {"--heartbeat", "soon"}, {"--kills", "-1"}, {"--readers", "1", "--libzmq", "2"}} {
		p := start(t, append([]string{"bench", "failover"}, args...)...)
		if _, code := p.end(); code == 0 {
			t.Errorf("%q was accepted", args)
		}
	}
}
