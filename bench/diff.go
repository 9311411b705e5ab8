package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"golang.org/x/perf/benchmath"
)

// Difference compares one metric of one case between two reports.
type Difference struct {
	Case    string  `json:"case"`
	Metric  string  `json:"metric"`
	A       float64 `json:"a"` // median
	B       float64 `json:"b"`
	Ratio   float64 `json:"ratio"` // b to a
	P       float64 `json:"p"`     // of the Mann-Whitney U test
	RunsA   int     `json:"runs_a"`
	RunsB   int     `json:"runs_b"`
	Verdict string  `json:"verdict"` // "better", "worse", "no difference" or "too few runs"
}

// ErrNothingInCommon: two reports have no case that both have.
var ErrNothingInCommon = errors.New("bench: the reports have no case in common")

// alpha is the level at which a difference is called one.
const alpha = 0.05

// Diff compares two reports, as --json printed them: does b differ from a, and
// with what confidence? The test assumes nothing about how figures are
// distributed; it needs four runs of each at least to tell anything.
func Diff(a, b io.Reader) ([]Difference, error) {
	casesA, err := readCases(a)
	if err != nil {
		return nil, fmt.Errorf("first report: %w", err)
	}
	casesB, err := readCases(b)
	if err != nil {
		return nil, fmt.Errorf("second report: %w", err)
	}
	var diffs []Difference
	for _, name := range slices.Sorted(maps.Keys(casesA)) {
		other, ok := casesB[name]
		if !ok {
			continue
		}
		for _, metric := range slices.Sorted(maps.Keys(casesA[name])) {
			if runs := other[metric]; runs != nil && higherIsBetter(metric) != 0 {
				diffs = append(diffs, compare(name, metric, casesA[name][metric], runs))
			}
		}
	}
	if len(diffs) == 0 {
		return nil, ErrNothingInCommon
	}
	return diffs, nil
}

func compare(name, metric string, a, b []float64) Difference {
	d := Difference{Case: name, Metric: metric, A: spread(a).Median, B: spread(b).Median, RunsA: len(a), RunsB: len(b)}
	if d.A != 0 {
		d.Ratio = d.B / d.A
	}
	th := &benchmath.Thresholds{CompareAlpha: alpha}
	d.P = benchmath.AssumeNothing.Compare(benchmath.NewSample(a, th), benchmath.NewSample(b, th)).P
	switch {
	case min(len(a), len(b)) < runsToTell:
		d.Verdict = "too few runs"
	case d.P > alpha || d.A == d.B:
		d.Verdict = "no difference"
	case (d.B > d.A) == (higherIsBetter(metric) > 0):
		d.Verdict = "better"
	default:
		d.Verdict = "worse"
	}
	return d
}

// runsToTell is the least number of runs of each report with which the test can
// reach alpha.
const runsToTell = 4

// higherIsBetter is 1 for rates and ratios, -1 for times and costs, 0 for what
// is no figure of merit.
func higherIsBetter(metric string) int {
	switch {
	case strings.HasPrefix(metric, "tcp_") || strings.HasPrefix(metric, "libzmq_"):
		return 0 // the machine's, not ours
	case strings.HasPrefix(metric, "ratio_to_libzmq_p"):
		return -1
	case strings.HasSuffix(metric, "_per_second") || strings.HasPrefix(metric, "ratio_"):
		return 1
	case strings.HasSuffix(metric, "_ns") || strings.HasPrefix(metric, "cpu_seconds") || strings.HasSuffix(metric, "rss_bytes"):
		return -1
	}
	return 0
}

// readCases reads the runs of each metric of each case of a report.
func readCases(r io.Reader) (map[string]map[string][]float64, error) {
	cases := map[string]map[string][]float64{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for n := 1; lines.Scan(); n++ {
		var line map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("line %d is not JSON: %w", n, err)
		}
		kind, _ := line["message_type"].(string)
		if !strings.HasPrefix(kind, "bench.") || kind == "bench.environment" {
			continue
		}
		name, metrics := caseOf(kind, line)
		cases[name] = metrics
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(cases) == 0 {
		return nil, errors.New("no bench cases: make one with tapedeck bench MODE --json")
	}
	return cases, nil
}

// caseOf takes a line apart into the case's name, made of its labels, and the
// runs of its metrics.
func caseOf(kind string, line map[string]any) (string, map[string][]float64) {
	metrics, name := map[string][]float64{}, strings.TrimPrefix(kind, "bench.")
	for _, key := range slices.Sorted(maps.Keys(line)) {
		base, isRuns := strings.CutSuffix(key, "_runs")
		values, isList := line[key].([]any)
		if isRuns && isList {
			for _, v := range values {
				if f, ok := v.(float64); ok {
					metrics[base] = append(metrics[base], f)
				}
			}
			continue
		}
		if _, isMetric := line[key+"_runs"]; isMetric || key == "message_type" ||
			strings.HasSuffix(key, "_min") || strings.HasSuffix(key, "_max") {
			continue
		}
		name += fmt.Sprintf(" %s=%v", key, line[key])
	}
	return name, metrics
}
