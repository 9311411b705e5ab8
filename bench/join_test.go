package bench

import (
	"errors"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

func TestJoin(t *testing.T) {
	cfg := JoinConfig{Topics: []int{300, 11_000}, Joins: 10, Joiners: 20, Stay: 200, Standing: 2, Rate: 5000, Tick: 500, Seconds: 0.3, Rounds: 3, Records: 40_000}
	rep, err := Join(t.Context(), Env{Runs: 1}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Cases) != 16 {
		t.Fatalf("%d cases, want 16", len(rep.Cases))
	}
	for i := range rep.Cases {
		c := &rep.Cases[i]
		joiners, _ := c.Label("joiners").(int)
		is := func(metric string, want float64) {
			t.Helper()
			if m := c.Metrics[metric]; len(m.Runs) != 1 || m.Median != want {
				t.Errorf("%s: %s is %+v, want %v", c.title(), metric, m, want)
			}
		}
		if joiners > 0 {
			wants(t, c, "connect_p50_ns", "join_p50_ns", "join_p99_ns")
			is("joined", float64(joiners))
			is("joiners_missing", 0)
		}
		switch c.Label("case") {
		case "idle":
			wants(t, c, "server_bytes_per_topic", "server_peak_rss_bytes")
		case "flow":
			wants(t, c, "before_p99_ns", "during_p99_ns", "during_to_before_p99", "generator_lag_p50_ns")
			if before, during := c.Histograms["before"].TotalCount(), c.Histograms["during"].TotalCount(); before != 3000 || during != 3000 {
				t.Errorf("%s: %d samples before, %d during, want 3000", c.title(), before, during)
			}
		case "throughput":
			wants(t, c, "records_per_second", "cpu_seconds_per_million", "cpu_seconds_server_per_million", "server_peak_rss_bytes")
		}
		is("standing_missing", 0)
		switch c.Label("server") {
		case "lvc":
			is("standing_repeated", 0)
			is("server_dropped", 0)
			if joiners > 0 {
				is("joiners_repeated", 0)
				is("joiners_early", 0)
			}
		case "xpub-cache":
			// Everybody gets again what a joiner is given.
			if joiners > 0 && c.Metrics["standing_repeated"].Median < float64(joiners)*299 {
				t.Errorf("%s: readers got %v records again", c.title(), c.Metrics["standing_repeated"].Median)
			}
		}
	}
	for _, bad := range []JoinConfig{{Servers: []string{"nonsense"}}, {Topics: []int{0}}, {Topics: []int{}}, {Size: 7}, {Rate: 10, Tick: 20}} {
		if _, err := Join(t.Context(), Env{}, bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// entry is a message of the plain stream, or a part of an answer.
func entry(topic, seq int, flags wire.PlainFlags, place int) [][]byte {
	h := wire.Plain{Epoch: 1, Shards: 1, TopicSeq: uint32(seq), Kind: wire.KindQuote, Flags: flags, Place: uint32(place)}
	return [][]byte{[]byte(benchTopic(topic)), wire.AppendPlain(nil, &h), nil}
}

// TestPlainReader holds that the check on which all figures rest finds what it is
// to find.
func TestPlainReader(t *testing.T) {
	const snapshot, last = wire.PlainSnapshot, wire.PlainSnapshot | wire.PlainLast
	answer := append(entry(0, 4, snapshot, 0), entry(1, 7, last, 1)...)
	for name, tc := range map[string]struct {
		messages [][][]byte
		want     plainTally
	}{
		"whole":            {[][][]byte{answer, entry(0, 5, 0, 0), entry(1, 8, 0, 0)}, plainTally{LastValues: 2, Live: 2}},
		"gap":              {[][][]byte{answer, entry(0, 7, 0, 0)}, plainTally{LastValues: 2, Live: 1, Missing: 2}},
		"again":            {[][][]byte{answer, entry(1, 7, 0, 0), entry(1, 8, 0, 0)}, plainTally{LastValues: 2, Live: 1, Repeated: 1}},
		"before":           {[][][]byte{entry(0, 4, 0, 0), answer}, plainTally{LastValues: 2, Live: 1, Early: 1}},
		"anew":             {[][][]byte{answer, answer, entry(0, 5, 0, 0)}, plainTally{LastValues: 4, Live: 1}},
		"anew after a gap": {[][][]byte{entry(0, 3, last, 0), answer}, plainTally{LastValues: 3, Missing: 1}},
		"anew, but older":  {[][][]byte{entry(0, 5, last, 0), answer}, plainTally{LastValues: 3, Repeated: 1}},
	} {
		r := &plainReader{topics: make([]topicState, 2)}
		for _, m := range tc.messages {
			if err := r.message(m); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if r.plainTally != tc.want {
			t.Errorf("%s: %+v, want %+v", name, r.plainTally, tc.want)
		}
	}
	for i, bad := range [][][]byte{
		answer[:2],
		answer[:3], // the last entry is not marked
		append(entry(0, 4, last, 0), answer[3:]...), // and another one is
		append(entry(0, 4, snapshot, 0), entry(1, 7, last, 2)...),
		entry(2, 1, 0, 0),
		{[]byte("OTHER"), answer[1], nil},
	} {
		if err := (&plainReader{topics: make([]topicState, 2)}).message(bad); !errors.Is(err, errPlainFrames) && !errors.Is(err, errPlainAnswer) {
			t.Errorf("message %d: %v", i, err)
		}
	}
}

// TestPlainReaderAlloc: checking a record takes no memory.
func TestPlainReaderAlloc(t *testing.T) {
	r, n := &plainReader{topics: make([]topicState, 2)}, 0
	var messages [][][]byte
	for i := range 2000 {
		messages = append(messages, entry(1, i, 0, 0))
	}
	if allocs := testing.AllocsPerRun(1000, func() {
		if err := r.message(messages[n]); err != nil {
			t.Fatal(err)
		}
		n++
	}); allocs != 0 {
		t.Errorf("%v allocations, want 0", allocs)
	}
	if r.Missing+r.Repeated != 0 || r.Live != uint64(n) {
		t.Errorf("%+v", r.plainTally)
	}
}
