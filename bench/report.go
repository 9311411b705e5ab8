package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is what a mode measured.
type Report struct {
	Mode    string         `json:"mode"`
	Created time.Time      `json:"created"`
	Machine Machine        `json:"machine"`
	Config  map[string]any `json:"config"`
	Cases   []Case         `json:"cases"`
	Notes   []string       `json:"notes,omitempty"`
	// Faults are what must not be, whatever the machine: broken promises, not figures.
	Faults []string `json:"faults,omitempty"`
}

// Case is one combination of settings that was measured, over several runs.
type Case struct {
	Labels  []Label           `json:"labels"`
	Metrics map[string]Spread `json:"metrics"`
	// Histograms are merged over the runs, ns.
	Histograms map[string]*hdrhistogram.Histogram `json:"-"`
}

// Label is one setting of a case.
type Label struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

// Spread is a metric over the runs of a case.
type Spread struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Runs   []float64 `json:"runs"`
}

// spread sums up the values of a metric, one per run. It keeps their order.
func spread(runs []float64) Spread {
	if len(runs) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(runs))
	return Spread{Median: quantile(sorted, 0.5), Min: sorted[0], Max: sorted[len(sorted)-1], Runs: runs}
}

// quantile interpolates between the neighbours of sorted values.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	lo := int(math.Floor(at))
	hi := min(lo+1, len(sorted)-1)
	return sorted[lo] + (sorted[hi]-sorted[lo])*(at-float64(lo))
}

// tally gathers the runs of a case.
type tally struct {
	labels []Label
	values map[string][]float64
	hists  map[string]*hdrhistogram.Histogram
	notes  []string
	faults []string
}

func newTally(labels ...Label) *tally {
	return &tally{labels: labels, values: map[string][]float64{}, hists: map[string]*hdrhistogram.Histogram{}}
}

func (t *tally) add(metric string, value float64) {
	t.values[metric] = append(t.values[metric], value)
}

// note adds what no figure says.
func (t *tally) note(text string) { t.notes = append(t.notes, text) }

// fault adds what must not be.
func (t *tally) fault(text string) { t.faults = append(t.faults, t.name()+": "+text) }

// name is the case's labels, for people.
func (t *tally) name() string {
	var b strings.Builder
	for i, l := range t.labels {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %v", l.Name, l.Value)
	}
	return b.String()
}

// addHist adds a run's histogram under a name and its percentiles as metrics.
func (t *tally) addHist(name string, h *hdrhistogram.Histogram) {
	for _, p := range percentiles {
		t.add(name+"_"+p.name+"_ns", float64(h.ValueAtQuantile(p.q)))
	}
	t.add(name+"_max_ns", float64(h.Max()))
	if t.hists[name] == nil {
		t.hists[name] = newHistogram()
	}
	t.hists[name].Merge(h)
}

// percentiles are those that reports name.
var percentiles = []struct {
	name string
	q    float64
}{{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p999", 99.9}, {"p9999", 99.99}}

func (t *tally) done() Case {
	c := Case{Labels: t.labels, Metrics: map[string]Spread{}, Histograms: t.hists}
	for name, values := range t.values {
		c.Metrics[name] = spread(values)
	}
	return c
}

// Label returns the value of a label, or nil.
func (c *Case) Label(name string) any {
	for _, l := range c.Labels {
		if l.Name == name {
			return l.Value
		}
	}
	return nil
}
