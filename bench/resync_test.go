package bench

import (
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

func TestResync(t *testing.T) {
	const records, sent = 10_000, 4000 * (warmSeconds + 0.3)
	rep, err := Resync(t.Context(), Env{Dir: t.TempDir(), Runs: 1}, ResyncConfig{
		Rate: 4000, Tick: 500, Topics: 30, Cut: 0.3, Seconds: 0.3, Records: records,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Cases) != 6 {
		t.Fatalf("%d cases, want 6", len(rep.Cases))
	}
	for i := range rep.Cases {
		c := &rep.Cases[i]
		m := func(name string) float64 {
			s, ok := c.Metrics[name]
			if !ok {
				t.Errorf("%s: no %s", c.title(), name)
			}
			return s.Median
		}
		if c.Label("case") == "refill" {
			wants(t, c, "records_per_second", "bytes_per_second", "cpu_seconds_client_per_million")
			if n := m("refilled_records"); n < records || int(n)%records != 0 {
				t.Errorf("%s: %v records, want a multiple of %d", c.title(), n, records)
			}
			continue
		}
		wants(t, c, "delivered_records", "before_p999_ns", "after_p999_ns", "after_to_before_p999", "gap_seen_after_ns", "reconnected_after_ns")
		if m("repeated_records")+m("wrong_records")+m("recorder_lost") != 0 {
			t.Errorf("%s: %+v", c.title(), c.Metrics)
		}
		missing, told := m("missing_records"), m("told_lost_records")
		if c.Label("reader") == "plain" {
			// All of the cut, or nearly, and it is told.
			if missing == 0 || missing != told {
				t.Errorf("a plain reader misses %v records and was told of %v", missing, told)
			}
			continue
		}
		wants(t, c, "whole_after_ns", "refilled_records", "times_behind", "held_peak_bytes", "refill_requests")
		if missing != 0 || told != 0 || m("delivered_records") <= sent {
			t.Errorf("a reader with resync has %v records, misses %v and was told of %v", m("delivered_records"), missing, told)
		}
	}
	for _, bad := range []ResyncConfig{{Cases: []string{"nonsense"}}, {Codecs: []string{"nonsense"}}, {Size: 7}, {Rate: 10, Tick: 20}} {
		if _, err := Resync(t.Context(), Env{}, bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// TestContinuity: what is missing, comes again, or is something else is found.
func TestContinuity(t *testing.T) {
	batch := func(first, topic, topicSeq int, count uint32) *wire.Batch {
		b := &wire.Batch{Header: wire.Header{FirstSeq: wire.Seq(first), Count: count}}
		for i := range int(count) {
			b.Payload, _ = wire.AppendRecord(b.Payload, &wire.Fields{
				Topic: []byte(benchTopic((topic + i) % 3)), TopicSeq: uint32(topicSeq + (topic+i)/3),
			})
		}
		return b
	}
	at := func(first int, count uint32) *wire.Batch { return batch(first, first%3, first/3, count) }
	for name, tc := range map[string]struct {
		batches []*wire.Batch
		skip    uint32 // of the last
		records uint64
		want    resyncTally
	}{
		"whole":          {[]*wire.Batch{at(0, 4), at(4, 5)}, 0, 9, resyncTally{}},
		"missing":        {[]*wire.Batch{at(0, 4), at(6, 3)}, 0, 7, resyncTally{Missing: 2}},
		"again":          {[]*wire.Batch{at(0, 4), at(2, 4)}, 0, 6, resyncTally{Repeated: 2}},
		"skipped":        {[]*wire.Batch{at(0, 4), at(2, 4)}, 2, 6, resyncTally{}},
		"late":           {[]*wire.Batch{at(0, 1), at(3, 1), at(1, 2)}, 0, 2, resyncTally{Missing: 2, Repeated: 2}},
		"other topic":    {[]*wire.Batch{at(0, 3), batch(3, 1, 1, 1)}, 0, 4, resyncTally{Wrong: 1}},
		"other sequence": {[]*wire.Batch{at(0, 3), batch(3, 0, 2, 1)}, 0, 4, resyncTally{Wrong: 1}},
	} {
		c := newContinuity(3)
		for i, b := range tc.batches {
			skip := uint32(0)
			if i == len(tc.batches)-1 {
				skip = tc.skip
			}
			if err := c.take(b, skip); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if c.resyncTally != tc.want || c.records != tc.records {
			t.Errorf("%s: %d records, %+v, want %d and %+v", name, c.records, c.resyncTally, tc.records, tc.want)
		}
	}
}

// TestContinuityAlloc: checking a record takes no memory.
func TestContinuityAlloc(t *testing.T) {
	c, b := newContinuity(10), &wire.Batch{Header: wire.Header{Count: 1000}}
	for i := range 1000 {
		b.Payload, _ = wire.AppendRecord(b.Payload, &wire.Fields{Topic: []byte(benchTopic(i % 10)), TopicSeq: uint32(i / 10)})
	}
	if allocs := testing.AllocsPerRun(100, func() {
		c.next = 0
		if err := c.take(b, 0); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 || c.records == 0 || c.resyncTally != (resyncTally{}) {
		t.Errorf("%v allocations, %d records, %+v", allocs, c.records, c.resyncTally)
	}
}
