package metrics

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/control/binarystar"
	"github.com/tapedeck/tapedeck/subscriber"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gather is a scrape: every metric of the set by name and labels, with what a
// histogram has counted for its value.
func gather(t testing.TB, s *Set) (map[string]float64, []*dto.MetricFamily) {
	t.Helper()
	families, err := s.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			key := f.GetName()
			for _, l := range m.Label {
				key += fmt.Sprintf(",%s=%s", l.GetName(), l.GetValue())
			}
			switch {
			case m.Counter != nil:
				values[key] = m.Counter.GetValue()
			case m.Gauge != nil:
				values[key] = m.Gauge.GetValue()
			case m.Histogram != nil:
				values[key] = float64(m.Histogram.GetSampleCount())
			}
		}
	}
	return values, families
}

// TestEverythingIsShown: a process with all parts shows every family of the catalogue
// and nothing else of Tapedeck, with the type, help and labels that are said.
func TestEverythingIsShown(t *testing.T) {
	_, shown := gather(t, everything(t, &numbers{}))
	names := map[string]*dto.MetricFamily{}
	for _, f := range shown {
		names[f.GetName()] = f
	}
	known := map[string]bool{}
	for _, f := range Families() {
		if known[f.Name] {
			t.Errorf("%s is in the catalogue twice", f.Name)
		}
		known[f.Name] = true
		got := names[f.Name]
		if got == nil {
			t.Errorf("%s is not shown", f.Name)
			continue
		}
		if kind := strings.ToLower(got.GetType().String()); kind != string(f.Kind) || got.GetHelp() != f.Help {
			t.Errorf("%s is a %s, %q; want a %s, %q", f.Name, kind, got.GetHelp(), f.Kind, f.Help)
		}
		for _, m := range got.Metric {
			var labels []string
			for _, l := range m.Label {
				if l.GetName() != "deck" { // the scope's
					labels = append(labels, l.GetName())
				}
			}
			if want := slices.Sorted(slices.Values(f.Labels)); !slices.Equal(labels, want) {
				t.Errorf("%s has labels %q, want %q", f.Name, labels, want)
			}
		}
	}
	for name := range names {
		if strings.HasPrefix(name, Prefix) && !known[name] {
			t.Errorf("%s is shown and not in the catalogue", name)
		}
	}
}

// TestLint: names and help are as the linter of Prometheus wants them, and a unit is
// the one that the name says.
func TestLint(t *testing.T) {
	_, families := gather(t, everything(t, &numbers{}))
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, Prefix) {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	for _, f := range Families() {
		name := strings.TrimSuffix(f.Name, "_total")
		for _, unit := range []string{"seconds", "bytes", "ratio"} {
			if strings.HasSuffix(name, "_"+unit) != (f.Unit == unit) {
				t.Errorf("%s: unit %q", f.Name, f.Unit)
			}
		}
		if (f.Kind == Counter) != strings.HasSuffix(f.Name, "_total") {
			t.Errorf("%s is a %s", f.Name, f.Kind)
		}
		if !strings.HasSuffix(f.Help, ".") || strings.Contains(f.Help, "|") {
			t.Errorf("%s: help %q is no sentence", f.Name, f.Help)
		}
	}
}

// labelValues bounds the values of every label: how many there can be, and why.
var labelValues = map[string]int{
	"version": 1, "go_version": 1, "libzmq_version": 1,
	"check":   16, // words of the program
	"verdict": 4, "phase": 5, "command": 3, "code": 10, "reason": 11, "channel": 11, "fault": 6, "how": 4,
	"worker":  math.MaxInt, // as many as --workers says
	"service": 13,
	"client":  4,           // words of the program
	"server":  math.MaxInt, // as many as --resync names
	"part":    3, "state": 3,
}

// TestLabelsAreBounded: no label has values that a peer or a record can choose.
func TestLabelsAreBounded(t *testing.T) {
	n := &numbers{}
	for i := range 1000 { // whatever peers offer on the bus
		n.brokerHolds.Services = append(n.brokerHolds.Services, serviceState(fmt.Sprint("made up ", i)))
	}
	_, families := gather(t, everything(t, n))
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), Prefix) {
			continue
		}
		values := map[string]map[string]bool{}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if values[l.GetName()] == nil {
					values[l.GetName()] = map[string]bool{}
				}
				values[l.GetName()][l.GetValue()] = true
			}
		}
		delete(values, "deck") // the scope's: the operator has named it
		for label, seen := range values {
			if bound, ok := labelValues[label]; !ok || len(seen) > bound {
				t.Errorf("%s: label %s has %d values; how many can there be?", f.GetName(), label, len(seen))
			}
		}
	}
}

// unshown are fields of the rooms' numbers that no metric shows, and why.
var unshown = map[string]string{
	"subscriber.Complete":  "while it runs nothing is complete yet",
	"subscriber.Early":     "the end of a run is for its summary",
	"subscriber.FirstSend": "it never changes",
	"state.Epoch":          "an identity, not a number",
	"state.LoopFrom":       "a place that was chosen, not measured", "state.LoopTo": "likewise",
	"state.Topics": "text that was chosen", "state.Squeeze": "a choice",
	"workers.Summary": "shown as the subscriber's", "workers.Workers": "see TestWorkers",
	"tape.SyncTotal": "in the histogram", "tape.Syncs": "in the histogram", "tape.SyncMax": "in the histogram", "tape.SyncLast": "in the histogram",
	"lvc.Epochs": "the subscriber's", "lvc.Readers": "by verdict", "healer.Epochs": "the subscriber's",
	"healer.Lost": "by reason", "healer.Held": "what is held now tells more", "healer.HeldPeak": "a maximum since the start: max_over_time of what is held now", "healer.Stale": "part of seeks",
	"healer.Completed": "ends are for the summary", "healer.Partial": "likewise",
	"clone.RequestsRepeated": "they are requests that were answered", "clone.EntriesBad": "they are updates that have no form", "clone.Sequence": "a place, not a number",
	"asked.Endpoint": "the label",
	"server.Pongs":   "no work", "server.Redone": "the pool's", "server.Abandoned": "a cancelled request's", "server.Shared": "requests less captures",
	"server.Repeated": "of cancelled requests", "server.Stray": "of requests that are over", "server.Fallbacks": "the clones'", "server.Declined": "the clones'",
	"serverHolds.Readers": "the pool's",
	"pool.Answered":       "requests less failed", "pool.Malformed": "our own process's", "pool.Late": "of reads that were redone", "pool.Unasked": "our own process's",
	"pool.Unreachable": "our own process's", "pool.Dropped": "our own process's", "pool.Left": "said by readers that end in order",
	"pool.Strangers": "of readers that expired", "pool.Refused": "of readers beyond the bound",
	"poolHolds.Open": "the server's reads", "poolHolds.Bytes": "the server's",
	"brokerHolds.Services": "see TestServices",
	"pair.Role":            "see TestPair", "pair.State": "see TestPair", "pair.Peer": "see TestPair", "pair.Reason": "for people",
	"door.Refused": "see TestDoor", "door.Listed": "for people",
}

// TestEveryNumberIsShown: whatever a room counts changes a metric when it changes, or
// it is said above why not. So a new counter is not forgotten.
func TestEveryNumberIsShown(t *testing.T) {
	n := &numbers{}
	s := everything(t, n)
	before, _ := gather(t, s)
	used := map[string]bool{}
	var check func(path string, v reflect.Value)
	check = func(path string, v reflect.Value) {
		if _, skip := unshown[path]; skip {
			used[path] = true
			return
		}
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		switch v.Kind() {
		case reflect.Uint64, reflect.Uint:
			v.SetUint(1_000_000_007)
		case reflect.Int, reflect.Int64:
			v.SetInt(1_000_000_007)
			if path == "state.Phase" {
				v.SetInt(1)
			}
		case reflect.Float64:
			v.SetFloat(77)
		case reflect.Bool:
			v.SetBool(true)
		case reflect.String:
			v.SetString("somebody")
		case reflect.Interface:
			v.Set(reflect.ValueOf(fmt.Errorf("no")))
		case reflect.Array:
			for i := range v.Len() {
				if path == "healer.LostBy" && i == 0 {
					continue // there is no such reason
				}
				check(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
			}
			return
		case reflect.Struct:
			for i := range v.NumField() {
				name := path + "." + v.Type().Field(i).Name
				if v.Type().Field(i).Anonymous && path != "workers" {
					name = path
				}
				check(name, v.Field(i))
			}
			return
		default:
			t.Fatalf("%s is a %v: teach this test", path, v.Kind())
		}
		after, _ := gather(t, s)
		shown := false
		for key, x := range after {
			if strings.HasPrefix(key, Prefix) && x != before[key] {
				shown = true
			}
		}
		if !shown {
			t.Errorf("%s is shown by no metric: add one, or say in unshown why not", path)
		}
		v.Set(old)
	}
	all := reflect.ValueOf(n).Elem()
	for i := range all.NumField() {
		switch name := all.Type().Field(i).Name; name {
		case "latency", "serviceNamed", "progress":
		default:
			check(name, reflect.NewAt(all.Field(i).Type(), all.Field(i).Addr().UnsafePointer()).Elem())
		}
	}
	n.progress.Bytes.Store(5)
	if after, _ := gather(t, s); after["tapedeck_player_bytes_total,deck=es"] != 5 {
		t.Errorf("progress is not shown")
	}
	for path := range unshown {
		if !used[path] {
			t.Errorf("unshown: there is no %s", path)
		}
	}
}

// TestWorkers: each worker has its own.
func TestWorkers(t *testing.T) {
	n := &numbers{}
	n.workers.Workers = []subscriber.WorkerSummary{{Batches: 1, Records: 2}, {Batches: 3, Records: 4}}
	v, _ := gather(t, everything(t, n))
	for key, want := range map[string]float64{
		"tapedeck_workers_batches_total,worker=0": 1, "tapedeck_workers_records_total,worker=0": 2,
		"tapedeck_workers_batches_total,worker=1": 3, "tapedeck_workers_records_total,worker=1": 4,
	} {
		if v[key] != want {
			t.Errorf("%s is %v, want %v", key, v[key], want)
		}
	}
}

// TestServices: services of Tapedeck have their names, all others are one.
func TestServices(t *testing.T) {
	n := &numbers{}
	n.brokerHolds.Services = append(n.brokerHolds.Services, serviceState("a"), serviceState("deck"), serviceState("other"))
	v, _ := gather(t, everything(t, n))
	for key, want := range map[string]float64{
		"tapedeck_broker_service_workers,service=deck": 3, "tapedeck_broker_service_workers,service=other": 6, "tapedeck_broker_service_workers,service=job": 0,
		"tapedeck_broker_service_busy_workers,service=other": 4, "tapedeck_broker_service_waiting_requests,service=other": 2,
	} {
		if v[key] != want {
			t.Errorf("%s is %v, want %v", key, v[key], want)
		}
	}
}

// TestPair: what a server of a pair is, and what the other one is to it.
func TestPair(t *testing.T) {
	n := &numbers{pair: binarystar.Status{Role: "primary", State: "passive", Peer: "active", Since: 1_500_000_000}}
	v, _ := gather(t, everything(t, n))
	for key, want := range map[string]float64{
		"tapedeck_pair_state,part=lvc,state=passive": 1, "tapedeck_pair_state,part=lvc,state=active": 0, "tapedeck_pair_state,part=lvc,state=waiting": 0,
		"tapedeck_pair_primary,part=lvc": 1, "tapedeck_pair_peer_active,part=lvc": 1, "tapedeck_pair_state_seconds,part=lvc": 1.5,
	} {
		if got, there := v[key]; !there || got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
}

// TestHistogram: buckets, count and sum of durations, in seconds.
func TestHistogram(t *testing.T) {
	n := &numbers{}
	for _, ns := range []int64{1, 1000, 1001, 50_000_000, 20_000_000_000} {
		n.latency.Record(ns)
	}
	_, families := gather(t, everything(t, n))
	for _, f := range families {
		if f.GetName() != "tapedeck_player_pacing_error_seconds" {
			continue
		}
		h := f.Metric[0].Histogram
		if h.GetSampleCount() != 5 || math.Abs(h.GetSampleSum()-20.050002) > 0.02 {
			t.Errorf("%d of %v s", h.GetSampleCount(), h.GetSampleSum())
		}
		at := map[float64]uint64{}
		for _, b := range h.Bucket {
			at[b.GetUpperBound()] = b.GetCumulativeCount()
		}
		for bound, want := range map[float64]uint64{1e-6: 2, 2e-6: 3, 0.02: 3, 0.1: 4, 10: 4} {
			if at[bound] != want {
				t.Errorf("%d at most %g s, want %d (%v)", at[bound], bound, want, at)
			}
		}
		return
	}
	t.Error("no such histogram")
}
