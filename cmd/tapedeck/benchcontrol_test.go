package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestBenchControl has the cases of bench control that need a serve.
func TestBenchControl(t *testing.T) {
	out := tapedeck(t, "bench", "control", "--cases", "deck,data", "--json", "--runs", "1", "--dir", t.TempDir(),
		"--readers", "3", "--commands", "8", "--deck-rate", "500", "--pause", "1ms",
		"--rate", "2000", "--hammer-rate", "200", "--hammer-at-once", "4", "--slot", "0.2", "--rounds", "3")
	seen := map[string]map[string]any{}
	for line := range strings.Lines(out) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		for _, label := range []string{"command", "hammered"} {
			if name, ok := m[label].(string); ok && m["message_type"] == "bench.control" {
				seen[name] = m
			}
		}
	}
	above := func(name string, metrics ...string) {
		t.Helper()
		for _, metric := range metrics {
			if v, ok := seen[name][metric].(float64); !ok || v <= 0 {
				t.Errorf("%s: %s is %v", name, metric, seen[name][metric])
			}
		}
	}
	for _, command := range []string{"all", "pause", "resume", "seek", "speed"} {
		above(command, "effect_p50_ns", "effect_p99_ns", "reply_p99_ns", "deck_p50_ns")
		effect, _ := seen[command]["effect_p50_ns"].(float64)
		if reply, _ := seen[command]["reply_max_ns"].(float64); effect > reply {
			t.Errorf("%s takes effect after its reply: %v", command, seen[command])
		}
	}
	above("all", "records_per_reader", "epochs")
	for _, hammered := range []string{"by nobody", "at a rate", "at a rate, another serve", "at full rate", "at full rate, another serve"} {
		above(hammered, "with_p99_ns", "without_p99_ns", "with_to_without_p99")
		if hammered != "by nobody" {
			above(hammered, "control_requests_per_second", "control_reply_p99_ns")
		}
	}
	if len(seen) != 10 {
		t.Errorf("%d cases, want 10", len(seen))
	}
}
