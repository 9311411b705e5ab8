package metrics

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tapedeck/tapedeck/internal/latency"
)

// emitter takes a part's numbers at one scrape.
type emitter struct {
	part *part
	out  []prometheus.Metric
}

// add takes a number of a counter or a gauge.
func (e *emitter) add(f *Family, v float64, labels ...string) {
	typ := prometheus.GaugeValue
	if f.Kind == Counter {
		typ = prometheus.CounterValue
	}
	m, err := prometheus.NewConstMetric(e.part.desc(f), typ, v, labels...)
	e.take(m, err)
}

// durations takes what histograms have counted, all together.
func (e *emitter) durations(f *Family, of []*latency.Histogram, labels ...string) {
	c := latency.NewCounts(f.bounds)
	for _, h := range of {
		c.Add(h)
	}
	buckets := make(map[float64]uint64, len(f.bounds))
	for i, b := range f.bounds {
		buckets[float64(b)/1e9] = c.AtMost[i]
	}
	m, err := prometheus.NewConstHistogram(e.part.desc(f), c.Count, c.Sum/1e9, buckets, labels...)
	e.take(m, err)
}

func (e *emitter) take(m prometheus.Metric, err error) {
	if err != nil {
		panic(fmt.Sprintf("BUG: metrics: %v", err)) // labels that do not fit the family
	}
	e.out = append(e.out, m)
}

// rows takes every column of a table.
func rows[T any](e *emitter, table []column[T], of *T) {
	for i := range table {
		e.add(table[i].family, table[i].of(of))
	}
}
