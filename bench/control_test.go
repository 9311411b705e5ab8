package bench

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/wire"
)

// TestControlBus has the cases that need no serve; cmd/tapedeck tests the others.
func TestControlBus(t *testing.T) {
	rep, err := Control(t.Context(), Env{Runs: 1}, ControlConfig{
		Cases: []string{caseRequests, caseRestart}, Seconds: 0.05, Outstanding: 50, Requests: 400, Work: 100 * time.Microsecond, AtOnce: 4,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Cases) != 6 {
		t.Fatalf("%d cases, want 6", len(rep.Cases))
	}
	for i := range rep.Cases {
		c := &rep.Cases[i]
		if c.Label("case") == caseRequests {
			wants(t, c, "requests_per_second", "bare_requests_per_second", "ratio_to_bare", "cpu_seconds_per_million", "bare_cpu_seconds_per_million")
			if c.Label("how") == "synchronous" {
				wants(t, c, "round_trip_p50_ns", "bare_round_trip_p99_ns")
			}
			continue
		}
		is := func(metric string, want float64) {
			t.Helper()
			if m := c.Metrics[metric]; len(m.Runs) != 1 || m.Median != want {
				t.Errorf("%s: %s is %+v, want %v", c.title(), metric, m, want)
			}
		}
		wants(t, c, "outstanding_at_kill", "broker_away_ms", "all_answered_ms", "answered_after_kill_p50_ns")
		for metric, want := range map[string]float64{"requests": 400, "answered": 400, "answered_twice": 0, "answered_wrong": 0, "never_answered": 0, "given_up": 0} {
			is(metric, want)
		}
		if n, want := c.Histograms["answered_after_kill"].TotalCount(), c.Metrics["outstanding_at_kill"].Median; float64(n) != want {
			t.Errorf("%s: %d were answered afterwards, %v were outstanding", c.title(), n, want)
		}
		if c.Label("what") == "commands" {
			is("effects", 400)
			is("effects_twice", 0)
		}
	}
}

func TestControlConfig(t *testing.T) {
	serve := []string{"serve"}
	for _, bad := range []ControlConfig{
		{Cases: []string{"nonsense"}}, {}, {Cases: []string{caseData}}, {Serve: serve, Size: 7}, {Serve: serve, Outstanding: -1},
		{Serve: serve, Requests: 2000}, {Serve: serve, Commands: 3}, {Serve: serve, Slot: -1}, {Serve: serve, Topics: 100_001},
	} {
		if _, err := Control(t.Context(), Env{}, bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
	if _, err := Control(t.Context(), Env{Dir: t.TempDir(), Runs: 1}, ControlConfig{
		Cases: []string{caseDeck}, Serve: []string{"/nonexistent"}, DeckRate: 100, Topics: 10,
	}); err == nil || !strings.Contains(err.Error(), "nonexistent") {
		t.Errorf("without a program that serves: %v", err)
	}
}

// TestAnswers: what is not answered once is told.
func TestAnswers(t *testing.T) {
	a := newAnswers(5, 2)
	for range 5 {
		if _, ok := a.next(); !ok {
			t.Fatal("there are not five requests")
		}
	}
	if _, ok := a.next(); ok {
		t.Fatal("there is a sixth request")
	}
	a.note(0, 0, nil)
	a.note(1, 1, nil)
	<-a.enough
	killed := time.Now()
	a.note(1, 1, nil) // again
	a.note(2, 1, nil) // another's
	a.note(3, 0, errors.New("given up"))
	for a.note(4, 4, nil); !a.at[4].After(killed); a.at[4] = time.Now() { // the clock may stand still
	}
	tl := newTally()
	a.results(tl, 5, 2, killed, killed)
	c := tl.done()
	for metric, want := range map[string]float64{
		"requests": 5, "outstanding_at_kill": 3, "answered": 3, "answered_twice": 1, "answered_wrong": 1, "never_answered": 2, "given_up": 1,
	} {
		if got := c.Metrics[metric].Median; got != want {
			t.Errorf("%s is %v, want %v", metric, got, want)
		}
	}
	if n := c.Histograms["answered_after_kill"].TotalCount(); n != 1 {
		t.Errorf("%d were answered after the kill, want 1", n)
	}
}

// TestServed: what comes again is counted as such, and is not done again.
func TestServed(t *testing.T) {
	s := newServed(&Job{Bus: busOrders{Work: 1}})
	for _, body := range []string{"a", "b", "a"} {
		if r := s.echo(t.Context(), [][]byte{[]byte(body)}); len(r.Frames) != 1 || string(r.Frames[0]) != body {
			t.Errorf("%q comes back as %q", body, r.Frames)
		}
	}
	for _, n := range []uint64{1, 2, 2} {
		if _, err := s.count(context.Background(), &control.Request{}, &countArgs{Number: n}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := s.found(), (busTally{Handled: 3, Again: 1, Effects: 3, Twice: 1}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestSlots(t *testing.T) {
	s := slots{start: 1000, length: 100, rounds: 2}
	for ns, want := range map[int64]int{
		999: -1, 1000: -1, 1019: -1, 1020: 0, 1099: 0, 1100: -1, 1120: 1, 1199: 1, 1220: 2, 1399: 3, 1400: -1, 1450: -1,
	} {
		if got := s.slot(ns); got != want {
			t.Errorf("%d is in slot %d, want %d", ns, got, want)
		}
	}
	if s.end() != 1400 || s.with(1).UnixNano() != 1300 {
		t.Errorf("the end is %d, the second slot with is at %d", s.end(), s.with(1).UnixNano())
	}
}

// TestDueReader: a record counts from its own due moment, in the slot of that moment.
func TestDueReader(t *testing.T) {
	begin := time.Now().Add(-time.Hour).UnixNano()
	d := newDueReader(wallClock())
	var payload []byte
	for _, after := range []time.Duration{0, 30 * time.Millisecond, 130 * time.Millisecond} {
		var err error
		payload, err = wire.AppendRecord(payload, &wire.Fields{Topic: []byte("T"), Receive: 5000 + wire.Nanos(after)})
		if err != nil {
			t.Fatal(err)
		}
	}
	batch := wire.Batch{Header: wire.Header{Count: 3, Due: wire.Nanos(begin)}, Payload: payload}
	count := func() [phaseCount]int64 { return [...]int64{d.hists[0].TotalCount(), d.hists[1].TotalCount()} }
	for _, step := range []struct {
		slots *slots
		due   wire.Nanos
		skip  uint32
		want  [phaseCount]int64
	}{
		{nil, batch.Due, 0, [...]int64{0, 0}},
		{&slots{begin, 100 * time.Millisecond, 5}, 0, 0, [...]int64{0, 0}}, // last values
		{&slots{begin, 100 * time.Millisecond, 5}, batch.Due, 0, [...]int64{1, 1}},
		{&slots{begin, 100 * time.Millisecond, 5}, batch.Due, 2, [...]int64{1, 2}},
	} {
		d.slots.Store(step.slots)
		batch.Due = step.due
		if err := d.HandleBatch(&batch, step.skip); err != nil {
			t.Fatal(err)
		}
		if got := count(); got != step.want {
			t.Errorf("%v records in the phases, want %v", got, step.want)
		}
		batch.Due = wire.Nanos(begin)
	}
	d.each.end()
	if late := d.hists[0].Min(); late < latencyMax*99/100 {
		t.Errorf("a record that was due an hour ago is %v late, and a minute is the most that is told", time.Duration(late))
	}
	for phase, want := range []int{1, 1} {
		if len(d.each.p99s[phase]) != want {
			t.Errorf("phase %d: %d slots, want %d", phase, len(d.each.p99s[phase]), want)
		}
	}
}

// TestSlotHists: a slot that is bad is one of many.
func TestSlotHists(t *testing.T) {
	h := newDueReader(wallClock()).each
	for slot := range 10 {
		for range 100 {
			h.record(slot, map[bool]int64{true: 1000, false: 10}[slot == 4])
		}
	}
	h.end()
	if got := spread(h.p99s[0]); got.Median != 10 || got.Max != 1000 || len(got.Runs) != 5 {
		t.Errorf("the even slots: %+v", got)
	}
	if got := spread(h.p50s[1]); got.Max != 10 || len(got.Runs) != 5 {
		t.Errorf("the odd slots: %+v", got)
	}
}
