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
	seen := benchFailover(t, "lvc", "--kills", "2", "--readers", "3", "--libzmq", "1", "--rate", "2000", "--topics", "50")
	lvc := seen["lvc"]
	for metric, want := range map[string]float64{"kills": 2, "lost_records": 0, "repeated_records": 0, "wrong_records": 0} {
		if got, ok := lvc[metric].(float64); !ok || got != want {
			t.Errorf("%s is %v, want %v", metric, lvc[metric], want)
		}
	}
	for _, metric := range []string{"first_p50_ns", "first_max_ns", "last_first_max_ns", "whole_max_ns", "active_p50_ns", "late_p50_ns", "sent_per_second", "pair_notices"} {
		if got, ok := lvc[metric].(float64); !ok || got <= 0 {
			t.Errorf("%s is %v", metric, lvc[metric])
		}
	}
	sent, _ := lvc["sent_records"].(float64)
	if delivered, _ := lvc["delivered_records"].(float64); sent == 0 || delivered != 3*sent {
		t.Errorf("%v records of %v were delivered to 3 readers", delivered, sent)
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
