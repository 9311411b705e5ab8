package snail

import (
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// TestTotals: the totals are those of the list, whoever comes, stands still and goes.
func TestTotals(t *testing.T) {
	w := newRegistry(t, RegistryConfig{})
	a, b := wire.ReaderID{1}, wire.ReaderID{2}
	check := func(step string) {
		t.Helper()
		var want Totals
		for _, r := range w.List() {
			want.Verdicts[r.Verdict]++
			want.Lost += r.Lost
			want.LagMax = max(want.LagMax, time.Duration(r.LagNs))
			for _, c := range r.Connections {
				want.Connections++
				want.Queued += c.QueuedBytes
				want.QueuedMax = max(want.QueuedMax, c.QueuedBytes)
				want.StalledMax = max(want.StalledMax, time.Duration(c.StalledNs))
			}
		}
		if got := w.Totals(); got != want || got.Readers() != len(w.List()) {
			t.Errorf("%s: %+v, want %+v", step, got, want)
		}
	}
	check("nobody")
	w.join(a, "alice", 0, "10.0.0.1:1")
	w.join(a, "alice", 1, "10.0.0.1:2")
	w.join(b, "bob", 0, "10.0.0.2:1")
	w.join(wire.ReaderID{}, "", 0, "10.0.0.3:1")
	check("three readers")
	w.report(a, 1, Lagging)
	w.report(b, 0, Snail)
	check("reports")
	w.observe(0, 0, "10.0.0.1:1", 5000, 7)
	w.observe(800*ms, 0, "10.0.0.1:1", 9000, 7)
	w.observe(0, 0, "10.0.0.3:1", 100, 1)
	check("one stands still")
	if x := w.Totals(); x.Verdicts != [Gone]int{OK: 1, Snail: 1, Stuck: 1} || x.StalledMax != 800*ms || x.QueuedMax != 9000 || x.Queued != 9100 {
		t.Errorf("%+v", x)
	}
	w.Leave(w.now, a, 0)
	check("one connection less")
	w.Leave(w.now, a, 1)
	w.Leave(w.now, b, 0)
	check("one reader left")
}
