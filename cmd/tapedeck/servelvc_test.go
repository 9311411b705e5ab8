package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestServeLVCPair: proxies of two serves are a pair; when one stops the other one
// takes over, for a client of both, and both say so in their metrics.
func TestServeLVCPair(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	at := func(name string) string { return "ipc://" + filepath.Join(dir, name) }
	start := func(role, other string) *stationTest {
		return serveFor(t, "tapes="+dir, "parts=metrics,broker,lvc", "lvc.shards="+at("nobody"), "lvc.plain="+at("plain-"+role), "lvc.pair="+role,
			"lvc.pair_bind="+at(role), "lvc.pair_peer="+at(other), "lvc.pair_heartbeat=50ms", "work="+filepath.Join(dir, "work"))
	}
	is := func(s *stationTest, state string) {
		t.Helper()
		for tick := time.NewTicker(time.Millisecond); ; {
			if st, _ := s.lvc.pair.State(); st.String() == state {
				tick.Stop()
				return
			}
			<-tick.C
		}
	}
	one, two := start("primary", "backup"), start("backup", "primary")
	is(one, "active")
	is(two, "passive")
	shows(t, two, `tapedeck_pair_state{lvc="lvc",part="lvc",state="passive"} 1`)
	pairSocket(t, [2]string{at("plain-primary"), at("plain-backup")}) // who would miss it
	for two.lvc.Stats().Readers == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := one.station.stop(); err != nil {
		t.Error(err)
	}
	is(two, "active")
	shows(t, two, `tapedeck_pair_takeovers_total{lvc="lvc",part="lvc"} 1`)
	if _, err := os.Stat(filepath.Join(dir, "work", "lvc-backup", "binarystar.epoch")); err != nil {
		t.Errorf("the epoch is not kept: %v", err)
	}
}

// shows holds a serve's metrics to have a line.
func shows(t *testing.T, s *stationTest, line string) {
	t.Helper()
	r, err := http.Get(s.metricsURL())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || !strings.Contains(string(b), line) {
		t.Errorf("metrics without %s: %v", line, err)
	}
	http.DefaultClient.CloseIdleConnections()
}
