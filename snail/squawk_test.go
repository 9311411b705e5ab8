package snail

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// TestSquawkJSON holds the documented form.
func TestSquawkJSON(t *testing.T) {
	s := Squawk{
		Time: 1_700_000_000_000_000_000, Reader: hexID(wire.ReaderID{0: 0xab, 15: 1}), Name: "desk 4", Peer: "10.0.0.7:53122", Shard: 3,
		Verdict: Snail, Before: Lagging, Cause: CauseLag, Action: ActDie, LagNs: 1_200_000_000, Lost: 7, SkewNs: -31_000, QueuedBytes: 12,
	}
	const want = `{"time":1700000000000000000,"reader":"ab000000000000000000000000000001","name":"desk 4","peer":"10.0.0.7:53122",` +
		`"shard":3,"verdict":"snail","before":"lagging","cause":"lag","action":"die","lag_ns":1200000000,"lost":7,"skew_ns":-31000,"queued_bytes":12}`
	got := s.AppendJSON([]byte("x"))
	if string(got) != "x"+want {
		t.Errorf("%s, want\n%s", got, want)
	}
	if again, err := ParseSquawk(got[1:]); err != nil || again != s {
		t.Errorf("%+v, %v", again, err)
	}
	if again, err := ParseSquawk([]byte(`{"verdict":"stuck","to_come":[1]}`)); err != nil || again.Verdict != Stuck {
		t.Errorf("with a key that is not known: %+v, %v", again, err)
	}
	for _, bad := range []string{"", "[]", `{"verdict":"dead"}`, `{"cause":1}`, `{"action":""}`, `{"lost":-1}`} {
		if s, err := ParseSquawk([]byte(bad)); err == nil || s != (Squawk{}) {
			t.Errorf("%q: %+v, %v", bad, s, err)
		}
	}
}

func TestSquawkText(t *testing.T) {
	for _, c := range []struct {
		squawk Squawk
		want   string
	}{
		{Squawk{Name: "desk", Peer: "10.0.0.7:1", Shard: 1, Verdict: Stuck, Cause: CauseQueue, QueuedBytes: 99, Action: ActWarn},
			"reader desk at 10.0.0.7:1 is stuck on shard 1, was ok (99 bytes wait in its TCP queue and it takes none): lag 0s, 0 records lost"},
		{Squawk{Verdict: Snail, Before: Lagging, Cause: CauseLag, LagNs: int64(1234567 * time.Microsecond), Lost: 3, SkewNs: int64(-5 * second), Action: ActDie},
			"this reader is snail on shard 0, was lagging (lag): lag 1.235s, 3 records lost, clock skew -5s; die"},
		{Squawk{Reader: "ab", Verdict: OK, Before: Snail, LagNs: 12_345}, "reader ab is ok on shard 0, was snail: lag 12µs, 0 records lost"},
	} {
		if got := c.squawk.String(); got != c.want {
			t.Errorf("%s\nwant %s", got, c.want)
		}
	}
}

// FuzzParseSquawk: squawks come from the network; what is read is written as it
// was.
func FuzzParseSquawk(f *testing.F) {
	s := Squawk{Name: "desk", Verdict: Snail, Cause: CauseQueue, Action: ActDie}
	f.Add(s.AppendJSON(nil))
	f.Add([]byte(`{"verdict":"ok","lag_ns":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSquawk(b)
		if err != nil {
			return
		}
		_ = s.String()
		var plain map[string]any
		line := s.AppendJSON(nil)
		if err := json.Unmarshal(line, &plain); err != nil || len(plain) < 12 {
			t.Fatalf("%s: %v", line, err)
		}
		if again, err := ParseSquawk(line); err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v, then %+v, %v", s, again, err)
		}
	})
}
