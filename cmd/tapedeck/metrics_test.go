package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/tapedeck/tapedeck/metrics"
)

var metricsLine = regexp.MustCompile(`metrics on (http://\S+)/metrics`)

// shown is a process that shows its metrics.
type shown struct {
	*process
	url string
}

// startShown starts tapedeck with metrics at a free port.
func startShown(t *testing.T, args ...string) *shown {
	t.Helper()
	p := start(t, append(args, "--metrics", "0")...)
	if !p.stderr.await("/metrics\n") {
		t.Fatalf("%s shows no metrics: %s", args[0], p.stderr)
	}
	return &shown{p, metricsLine.FindStringSubmatch(p.stderr.String())[1]}
}

// get returns what is at a path.
func (s *shown) get(path string) (int, string) {
	s.t.Helper()
	r, err := http.Get(s.url + path)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.stderr)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// scrape returns every sample, by name and labels as they are written.
func (s *shown) scrape() map[string]float64 {
	s.t.Helper()
	code, text := s.get("/metrics")
	if code != http.StatusOK {
		s.t.Fatalf("/metrics: %d", code)
	}
	samples := map[string]float64{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			s.t.Fatalf("%q: %v", line, err)
		}
		samples[name] = v
	}
	return samples
}

// until scrapes until ok says that all is there.
func (s *shown) until(what string, ok func(map[string]float64) bool) map[string]float64 {
	s.t.Helper()
	for n := 0; ; n++ {
		if n == 1 {
			s.t.Logf("waiting: %s", what)
		}
		if m := s.scrape(); ok(m) {
			return m
		}
		if s.t.Context().Err() != nil {
			s.t.Fatalf("waited in vain: %s\n%s", what, s.stderr)
		}
	}
}

// above reports whether every sample is there, and above 0.
func above(names ...string) func(map[string]float64) bool {
	return func(m map[string]float64) bool {
		for _, name := range names {
			if m[name] <= 0 {
				return false
			}
		}
		return true
	}
}

// TestMetricsOfProcesses is a player, a reader with workers and a policy, a recorder
// and a last-value proxy as they run, looked at from outside.
func TestMetricsOfProcesses(t *testing.T) {
	dir := t.TempDir()
	src := day(t, dir, 5_000)
	bind := "ipc://" + filepath.Join(dir, "s-{shard}")
	connect := []string{"--shards", "2", "--connect", bind}
	play := startShown(t, "play", src, "--shards", "2", "--speed", "2x", "--loop", "forever", "--wait", "3", "--bind", bind, "--resync-bind", "tcp://127.0.0.1:*")
	play.until("it waits for readers", above(`tapedeck_player_phase{phase="waiting"}`))
	sub := startShown(t, append([]string{"sub", "--workers", "2", "--policy", "warn"}, connect...)...)
	record := startShown(t, append([]string{"record", "-o", filepath.Join(dir, "copy.tape"), "--sync", "10ms"}, connect...)...)
	proxy := startShown(t, "lvc", "--shards", bind, "--shard-count", "2", "--plain", "ipc://"+filepath.Join(dir, "plain"))

	m := play.until("it plays to three", func(m map[string]float64) bool {
		return m[`tapedeck_readers{verdict="ok"}`] == 3 && above("tapedeck_publisher_records_total", "tapedeck_player_pacing_error_seconds_count")(m)
	})
	if m["tapedeck_publisher_readers_joined_total"] != 3 || m["tapedeck_publisher_join_seconds_count"] != 3 || m["tapedeck_reader_connections"] != 6 ||
		m["tapedeck_player_speed_ratio"] != 2 || m[`tapedeck_player_phase{phase="playing"}`] != 1 || m["tapedeck_publisher_stalled_shards"] != 0 ||
		m["tapedeck_resync_pool_readers"] == 0 || m["tapedeck_player_pacing_error_seconds_sum"] <= 0 ||
		m["go_goroutines"] == 0 || m["process_resident_memory_bytes"] == 0 {
		t.Errorf("play: %v", m)
	}
	again := play.until("it goes on", func(n map[string]float64) bool {
		return n["tapedeck_publisher_records_total"] > m["tapedeck_publisher_records_total"]
	})
	if again["tapedeck_player_pacing_error_seconds_count"] < m["tapedeck_player_pacing_error_seconds_count"] {
		t.Error("a counter went back")
	}

	m = sub.until("the reader reads", above("tapedeck_subscriber_records_total", "tapedeck_subscriber_lag_seconds_count",
		`tapedeck_workers_records_total{worker="0"}`, `tapedeck_workers_records_total{worker="1"}`, "tapedeck_subscriber_last_send_timestamp_seconds"))
	if m["tapedeck_subscriber_gaps_total"] != 0 || m[`tapedeck_policy_shards{verdict="ok"}`]+m[`tapedeck_policy_shards{verdict="lagging"}`]+m[`tapedeck_policy_shards{verdict="snail"}`]+m[`tapedeck_policy_shards{verdict="stuck"}`] != 2 {
		t.Errorf("sub: %v", m)
	}
	record.until("it is recorded, and safe", above("tapedeck_subscriber_records_total", "tapedeck_recorder_records_total", "tapedeck_recorder_synced_records_total",
		"tapedeck_recorder_sync_seconds_count", "tapedeck_recorder_sync_seconds_sum", "tapedeck_recorder_stored_bytes_total", "tapedeck_subscriber_lag_seconds_count"))
	m = proxy.until("last values are there", func(m map[string]float64) bool {
		return m["tapedeck_lvc_topics"] == 20 && above("tapedeck_lvc_records_total", "tapedeck_lvc_table_bytes", "tapedeck_subscriber_lag_seconds_count")(m)
	})
	if m["tapedeck_lvc_full"] != 0 || m["tapedeck_readers_queue_bytes"] != 0 {
		t.Errorf("lvc: %v", m)
	}

	known := map[string]bool{}
	for _, f := range metrics.Families() {
		known[f.Name] = true
	}
	for name, p := range map[string]*shown{"play": play, "sub": sub, "record": record, "lvc": proxy} {
		if code, body := p.get("/healthz"); code != http.StatusOK || body != "ok\n" {
			t.Errorf("%s: /healthz: %d %q", name, code, body)
		}
		var st metrics.Status
		code, body := p.get("/readyz")
		if err := json.Unmarshal([]byte(body), &st); err != nil || code != http.StatusOK || !st.Ready || len(st.Checks) == 0 {
			t.Errorf("%s: /readyz: %d %s", name, code, body)
		}
		samples := 0
		_, text := p.get("/metrics")
		for line := range strings.Lines(text) {
			if help, ok := strings.CutPrefix(line, "# HELP "); ok && strings.HasPrefix(help, metrics.Prefix) && !known[strings.Fields(help)[0]] {
				t.Errorf("%s shows %s, which is in no catalogue", name, help)
			}
			if !strings.HasPrefix(line, "#") {
				samples++
			}
		}
		if samples > 1000 {
			t.Errorf("%s has %d samples", name, samples)
		}
	}

	play.signal(os.Interrupt)
	if _, code := play.end(); code != exitInterrupted {
		t.Errorf("play exits with %d: %s", code, play.stderr)
	}
	for _, p := range []*shown{sub, record} { // the stream has ended early
		if _, code := p.end(); code != exitDamaged {
			t.Errorf("exit code %d: %s", code, p.stderr)
		}
	}
	proxy.signal(syscall.SIGINT)
	if _, code := proxy.end(); code != exitInterrupted {
		t.Errorf("lvc exits with %d: %s", code, proxy.stderr)
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(play.url, "http://")); err == nil {
		t.Error("the address is still served")
	}
}

// TestMetricsOfResync: a server of refills and readers in another process.
func TestMetricsOfResync(t *testing.T) {
	dir := t.TempDir()
	src := day(t, dir, 1_000)
	backend := "ipc://" + filepath.Join(dir, "backend")
	server := startShown(t, "resync", src, "--bind", "tcp://127.0.0.1:*", "--backend", backend, "--workers", "2")
	worker := startShown(t, "resync-worker", src, "--connect", backend, "--workers", "3")
	m := server.until("five tape readers", func(m map[string]float64) bool { return m["tapedeck_resync_pool_readers"] == 5 })
	if _, there := m[`tapedeck_resync_server_requests_total{command="refill"}`]; !there || m["tapedeck_resync_server_clients"] != 0 {
		t.Errorf("resync: %v", m)
	}
	worker.until("three are here", func(m map[string]float64) bool {
		return m["tapedeck_tape_readers"] == 3 && m["tapedeck_tape_reader_connects_total"] >= 3
	})
	for _, p := range []*shown{worker, server} {
		p.signal(os.Interrupt)
		if _, code := p.end(); code != exitInterrupted {
			t.Errorf("exit code %d: %s", code, p.stderr)
		}
	}
}

// TestMetricsNotReady: a reader without a publisher is alive and not ready, and says
// why.
func TestMetricsNotReady(t *testing.T) {
	p := startShown(t, "sub", "--connect", "ipc://"+filepath.Join(t.TempDir(), "nobody"))
	if code, _ := p.get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}
	p.until("it has begun", func(m map[string]float64) bool { _, ok := m[`tapedeck_check_ok{check="stream"}`]; return ok })
	if code, body := p.get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, `"name":"stream","ok":false`) {
		t.Errorf("/readyz: %d %s", code, body)
	}
}

// TestMetricsAddress: an address that will not do ends the command before it has done
// anything.
func TestMetricsAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tape := filepath.Join(t.TempDir(), "new.tape")
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--metrics", l.Addr().String()}, exitFailed, "address already in use"},
		{[]string{"--metrics", "0.0.0.0:0"}, exitUsage, "--metrics-open"},
		{[]string{"--metrics", ":0"}, exitUsage, "other machines can reach"},
		{[]string{"--metrics", "nonsense"}, exitUsage, "nonsense"},
		{[]string{"--metrics-open"}, exitUsage, "says nothing without --metrics"},
	} {
		p := start(t, append([]string{"record", "-o", tape, "--connect", "ipc://" + filepath.Join(t.TempDir(), "s")}, tc.args...)...)
		if out, code := p.end(); code != tc.code || !strings.Contains(p.stderr.String(), tc.says) || out != "" {
			t.Errorf("%v: exit code %d, %q %s", tc.args, code, out, p.stderr)
		}
		if _, err := os.Stat(tape); err == nil {
			t.Fatalf("%v: a tape was made", tc.args)
		}
	}
	p := startShown(t, "sub", "--connect", "ipc://"+filepath.Join(t.TempDir(), "s"), "--json")
	var first struct {
		Type    string `json:"message_type"`
		Address string `json:"address"`
	}
	if err := json.NewDecoder(p.stdout).Decode(&first); err != nil || first.Type != "metrics.serving" || fmt.Sprint("http://", first.Address) != p.url {
		t.Errorf("%+v, %v, want metrics.serving and %s", first, err, p.url)
	}
}
