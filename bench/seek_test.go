package bench

import (
	"testing"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

func TestSeek(t *testing.T) {
	rep, err := Seek(t.Context(), Env{Dir: t.TempDir(), Runs: 1}, SeekConfig{
		Topics: []int{40}, Speeds: []replay.Speed{10, replay.Max}, Bytes: 4 << 20, Rate: 100_000, Seeks: 4, Check: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Cases) != 4 {
		t.Fatalf("%d cases, want 4", len(rep.Cases))
	}
	for i := range rep.Cases {
		c := &rep.Cases[i]
		wants(t, c, "seek_call_p50_ns", "first_record_p50_ns", "first_record_p99_ns")
		if n := c.Histograms["first_record"].TotalCount(); n != 4 {
			t.Errorf("%s: %d first records, want 4", c.title(), n)
		}
		values := c.Metrics["last_values_per_seek"].Median
		if c.Label("last_values") == "left out" {
			if _, ok := c.Metrics["all_last_values_p50_ns"]; ok || values != 0 {
				t.Errorf("%s: %v last values", c.title(), values)
			}
			continue
		}
		wants(t, c, "first_last_value_p50_ns", "all_last_values_p50_ns")
		if values <= 0 || values > 40 {
			t.Errorf("%s: %v last values, want up to 40", c.title(), values)
		}
	}
	for _, bad := range []SeekConfig{{Codec: "nonsense"}, {Topics: []int{0}}, {Topics: []int{1000}, Bytes: 10_000}, {Seeks: -1}, {Size: 31}} {
		if _, err := Seek(t.Context(), Env{Dir: t.TempDir()}, bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// TestSeekCheck: a place that is not what the tape has is found.
func TestSeekCheck(t *testing.T) {
	tp, err := makeTape(t.Context(), t.TempDir(), tapeSpec{records: 500, topics: 7, size: 40, shards: 1, codec: tape.CodecPlain})
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	const place = 300
	var at wire.Nanos
	last := map[string]uint64{}
	good := seekSeen{}
	r := tp.Records(tape.ReadConfig{})
	defer r.Close()
	for i := 0; r.Next(); i++ {
		if i == place {
			at, good.FirstSum = r.Record().Receive(), recordSum(r.Record())
			break
		}
		last[string(r.Record().Topic())] = recordSum(r.Record())
	}
	for _, sum := range last {
		good.Values++
		good.ValuesSum += sum
	}
	for name, tc := range map[string]struct {
		change func(s *seekSeen)
		ok     bool
	}{
		"as it is":           {func(*seekSeen) {}, true},
		"another record":     {func(s *seekSeen) { s.FirstSum++ }, false},
		"another value":      {func(s *seekSeen) { s.ValuesSum++ }, false},
		"a value too few":    {func(s *seekSeen) { s.Values-- }, false},
		"a value not marked": {func(s *seekSeen) { s.Unmarked++ }, false},
		"a value too late":   {func(s *seekSeen) { s.Late++ }, false},
	} {
		s := good
		tc.change(&s)
		if err := s.check(t.Context(), tp, at, true); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	none := seekSeen{FirstSum: good.FirstSum}
	if err := none.check(t.Context(), tp, at, false); err != nil {
		t.Error(err)
	}
	if err := good.check(t.Context(), tp, at, false); err == nil {
		t.Error("last values were not noticed where there are to be none")
	}
}

// TestSeekReaderAlloc: visiting what comes takes no memory.
func TestSeekReaderAlloc(t *testing.T) {
	s := &seekReader{enough: 1 << 62}
	batch := func(flags wire.HeaderFlags, mark wire.RecordFlags) *wire.Batch {
		b := &wire.Batch{Header: wire.Header{Epoch: 1, Count: 100, Flags: flags}}
		for range 100 {
			b.Payload, _ = wire.AppendRecord(b.Payload, &wire.Fields{Topic: []byte("A"), Body: []byte("body"), Flags: mark})
		}
		return b
	}
	values, records := batch(wire.FlagSnapshotBatch, wire.FlagSnapshot), batch(0, 0)
	if allocs := testing.AllocsPerRun(100, func() {
		if err := s.HandleBatch(values, 0); err != nil {
			t.Fatal(err)
		}
		if err := s.HandleBatch(records, 0); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if s.records != s.Values || s.Unmarked != 0 || s.Late != s.Values-100 || s.First == 0 || s.FirstValue > s.First || s.LastValue < s.FirstValue {
		t.Errorf("%+v, %d records", s.seekSeen, s.records)
	}
}
