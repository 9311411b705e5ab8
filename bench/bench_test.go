package bench

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/replay"
)

// TestMain makes the test binary a worker where a mode starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		if err := RunWorker(context.Background(), os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// wants fails where a case lacks a metric, or has one that is not above zero.
func wants(t *testing.T, c *Case, metrics ...string) {
	t.Helper()
	for _, name := range metrics {
		s, ok := c.Metrics[name]
		if !ok || !(s.Median > 0) || len(s.Runs) == 0 || s.Min > s.Median || s.Max < s.Median {
			t.Errorf("%s: %s is %+v", c.title(), name, s)
		}
	}
}

func TestThroughput(t *testing.T) {
	rep, err := Throughput(t.Context(), Env{Dir: t.TempDir(), Runs: 2}, ThroughputConfig{
		Sources: []string{"memory", "reference", "plain", "s2", "zstd", "columns"}, Shards: 2, Records: 20_000, Seconds: 0.01, Block: 32 << 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Cases) != 6 {
		t.Fatalf("%d cases, want 6", len(rep.Cases))
	}
	for i := range rep.Cases {
		c := &rep.Cases[i]
		wants(t, c, "records_per_second", "bytes_per_second", "cpu_seconds_per_million", "tcp_bytes_per_second",
			"libzmq_messages_per_second", "ratio_to_tcp", "ratio_to_libzmq", "subscriber_rss_bytes")
		if g := c.Metrics["gaps"]; g.Max != 0 || len(g.Runs) != 2 {
			t.Errorf("%s: gaps %+v", c.title(), g)
		}
	}
	if _, err := Throughput(t.Context(), Env{Dir: t.TempDir()}, ThroughputConfig{Sources: []string{"nonsense"}}); err == nil {
		t.Error("an unknown source was accepted")
	}
}

func TestSnail(t *testing.T) {
	rep, err := Snail(t.Context(), Env{Runs: 1}, SnailConfig{Readers: 3, Rate: 4000, Tick: 500, Size: 4000, Seconds: 0.3})
	if err != nil {
		t.Fatal(err)
	}
	for i := range rep.Cases {
		c := &rep.Cases[i]
		wants(t, c, "before_p999_ns", "after_p999_ns", "after_to_before_p999")
		if n, want := c.Histograms["before"].TotalCount(), int64(1200*(3-i)); n != want {
			t.Errorf("%s: %d samples before, want %d", c.title(), n, want)
		}
	}
	wants(t, &rep.Cases[1], "named_after_ms")
	for i := range rep.Cases {
		if _, ok := rep.Cases[i].Metrics["healthy_readers_named"]; !ok {
			t.Errorf("%s: nothing about the healthy readers", rep.Cases[i].title())
		}
	}
}

func TestLatency(t *testing.T) {
	rep, err := Latency(t.Context(), Env{Runs: 1}, LatencyConfig{Rate: 5000, Seconds: 0.2, Burst: 50})
	if err != nil {
		t.Fatal(err)
	}
	for i := range rep.Cases {
		c := &rep.Cases[i]
		wants(t, c, "latency_p50_ns", "latency_p999_ns", "libzmq_p50_ns", "generator_lag_max_ns", "ratio_to_libzmq_p50", "ratio_to_libzmq_p99", "ratio_to_libzmq_p999")
		for _, name := range []string{"latency", "libzmq", "generator_lag"} {
			if n := c.Histograms[name].TotalCount(); n != 1000 {
				t.Errorf("%s: %s has %d samples, want 1000", c.title(), name, n)
			}
		}
	}
	var page bytes.Buffer
	if err := rep.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<svg", "shape steady", "latency_p99_ns"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if _, err := Latency(t.Context(), Env{}, LatencyConfig{Size: 7}); err == nil {
		t.Error("bodies without room for a time were accepted")
	}
}

func TestPacing(t *testing.T) {
	rep, err := Pacing(t.Context(), Env{Dir: t.TempDir(), Runs: 1}, PacingConfig{Speeds: []replay.Speed{1, 20}, Seconds: 0.1, Rate: 5000})
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Cases) != 4 {
		t.Fatalf("%d cases, want 4", len(rep.Cases))
	}
	for i := range rep.Cases {
		wants(t, &rep.Cases[i], "error_p50_ns", "error_p99_ns", "records")
		if d := rep.Cases[i].Metrics["drift_of_a_day_ns"].Max; d > 1 {
			t.Errorf("the schedule drifts by %v ns a day", d)
		}
	}
}

func TestScale(t *testing.T) {
	rep, err := Scale(t.Context(), Env{Dir: t.TempDir(), Runs: 1}, ScaleConfig{
		Shards: []int{2}, Topics: []int{10}, Subscribers: []int{2}, Sizes: []int{1000}, Seconds: 0.001,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range rep.Cases {
		wants(t, &rep.Cases[i], "records_per_second", "delivered_per_second", "bytes_per_second")
	}
	if two := &rep.Cases[2]; two.Label("along") != "subscribers" || two.Label("subscribers") != 2 {
		t.Errorf("the third case is %s", two.title())
	}
}

func TestLocal(t *testing.T) {
	rep, err := Local(t.Context(), Env{Dir: t.TempDir(), Runs: 1}, LocalConfig{Records: 10_000, Seconds: 0.01})
	if err != nil {
		t.Fatal(err)
	}
	for i := range rep.Cases {
		wants(t, &rep.Cases[i], "records_per_second", "bytes_per_second")
	}
}

func TestSpread(t *testing.T) {
	for _, tc := range []struct {
		runs           []float64
		median, lo, hi float64
	}{
		{[]float64{3}, 3, 3, 3},
		{[]float64{5, 1}, 3, 1, 5},
		{[]float64{9, 1, 4}, 4, 1, 9},
		{nil, 0, 0, 0},
	} {
		if s := spread(tc.runs); s.Median != tc.median || s.Min != tc.lo || s.Max != tc.hi || !slices.Equal(s.Runs, tc.runs) {
			t.Errorf("%v: %+v", tc.runs, s)
		}
	}
}

func TestSchedules(t *testing.T) {
	if s := steady(1000); s(0) != 0 || s(1) != 1e6 || s(1500) != 1.5e9 {
		t.Errorf("steady: %d, %d, %d", s(0), s(1), s(1500))
	}
	if s := bursts(1000, 10); s(0) != 0 || s(9) != 0 || s(10) != 1e7 || s(19) != 1e7 {
		t.Errorf("bursts: %d, %d, %d, %d", s(0), s(9), s(10), s(19))
	}
}
