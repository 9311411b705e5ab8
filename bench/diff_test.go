package bench

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func reportLine(source, metric string, runs ...float64) string {
	list := strings.ReplaceAll(strings.Trim(fmt.Sprint(runs), "[]"), " ", ",")
	return fmt.Sprintf(`{"message_type":"bench.throughput","source":%q,"shards":1,%q:%v,"%s_min":1,"%s_max":9,"%s_runs":[%s]}`,
		source, metric, runs[0], metric, metric, metric, list)
}

func TestDiff(t *testing.T) {
	const rate, cost = "records_per_second", "cpu_seconds_per_million"
	for _, tc := range []struct {
		name, metric string
		a, b         []float64
		want         string
	}{
		{"faster", rate, []float64{10, 11, 10.5, 10.2, 10.8}, []float64{20, 21, 20.5, 20.2, 20.8}, "better"},
		{"slower", rate, []float64{20, 21, 20.5, 20.2, 20.8}, []float64{10, 11, 10.5, 10.2, 10.8}, "worse"},
		{"cheaper", cost, []float64{20, 21, 20.5, 20.2, 20.8}, []float64{10, 11, 10.5, 10.2, 10.8}, "better"},
		{"noise", rate, []float64{10, 14, 12, 11, 13}, []float64{11, 13, 12.5, 10.5, 13.5}, "no difference"},
		{"few", rate, []float64{10, 11, 12}, []float64{20, 21, 22}, "too few runs"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			diffs, err := Diff(strings.NewReader(reportLine("plain", tc.metric, tc.a...)), strings.NewReader(reportLine("plain", tc.metric, tc.b...)))
			if err != nil {
				t.Fatal(err)
			}
			if len(diffs) != 1 || diffs[0].Verdict != tc.want || diffs[0].Case != "throughput shards=1 source=plain" {
				t.Errorf("got %+v, want verdict %q", diffs, tc.want)
			}
		})
	}
}

func TestDiffRefuses(t *testing.T) {
	good := reportLine("plain", "records_per_second", 1, 2, 3, 4)
	for name, tc := range map[string]struct{ a, b string }{
		"not JSON":     {"{", good},
		"empty":        {good, ""},
		"other lines":  {good, `{"message_type":"sub.summary","records":1}`},
		"other case":   {good, reportLine("zstd", "records_per_second", 1, 2, 3, 4)},
		"other metric": {good, reportLine("plain", "gaps", 1, 2, 3, 4)},
	} {
		if diffs, err := Diff(strings.NewReader(tc.a), strings.NewReader(tc.b)); err == nil {
			t.Errorf("%s: got %+v", name, diffs)
		}
	}
	if _, err := Diff(strings.NewReader(good), strings.NewReader(reportLine("s2", "records_per_second", 1))); !errors.Is(err, ErrNothingInCommon) {
		t.Errorf("got %v, want ErrNothingInCommon", err)
	}
}
