package resync

import (
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// TestTakeoverRepeats: what the epoch of a publisher that takes over repeats is not
// delivered again, whatever of it comes live.
func TestTakeoverRepeats(t *testing.T) {
	for name, c := range map[string]struct {
		had   wire.Seq // records of the old epoch that came
		next  wire.Seq // that the new one goes on behind
		first wire.Seq // first record of the new one that comes live
		skip  uint32   // of these, where they are delivered at once
		asks  Span     // or what is asked for
	}{
		"all of them come":    {had: 100, next: 90, first: 0, skip: 10},
		"a part of them":      {had: 100, next: 90, first: 5, skip: 5},
		"none of them":        {had: 100, next: 90, first: 10},
		"there are none":      {had: 100, next: 100},
		"and more is missing": {had: 100, next: 90, first: 12, asks: Span{8, 0, 10, 12}},
		"the end is missing":  {had: 100, next: 110, asks: Span{7, 0, 100, 110}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newTester(1)
			m.bring(7, 0, int(c.had), false)
			m.mark(8, 0)
			start := wire.SessionStart{Reason: wire.TakeoverReason, PreviousEpoch: 7, PreviousNext: c.next}
			m.start(8, &start)
			m.start(8, &start)
			if m.bring(8, c.first, 20, false) != hold {
				t.Fatal("what comes is not held")
			}
			got := m.pump()
			last := got[len(got)-1]
			if c.asks != (Span{}) {
				if last.do != doRequest || last.span != c.asks {
					t.Fatalf("wants %+v", got)
				}
				return
			}
			if len(got) != 2 || got[0].do != doBegin || last.do != doDeliver || last.skip != c.skip {
				t.Fatalf("wants %+v", got)
			}
			m.finish(8, c.first+20, false)
			if a := only(t, m.pump(), doEnd); !a.complete || m.count.Contradicted+m.count.Broken+m.count.Diverged+m.count.Lost != 0 {
				t.Errorf("%+v, %+v", a, m.count)
			}
		})
	}
}

// TestTakeoverBehindAGap: what is missing of the old epoch is asked for as before, as far
// as that epoch came, and the new one begins behind it.
func TestTakeoverBehindAGap(t *testing.T) {
	m := newTester(1)
	m.bring(7, 0, 10, false)
	m.bring(7, 30, 70, false)
	ask := only(t, m.pump(), doRequest)
	m.mark(8, 0)
	m.start(8, &wire.SessionStart{Reason: wire.TakeoverReason, PreviousEpoch: 7, PreviousNext: 20})
	m.bring(8, 80, 40, false) // the subscriber has dropped what repeats
	if got := m.pump(); len(got) != 0 {
		t.Fatalf("wants %+v", got)
	}
	m.bring(7, 10, 20, true)
	m.machine.done(m.now, ask.id, 30, false, true)
	got := m.pump()
	if len(got) != 3 || got[0].do != doDeliver || got[1].do != doBegin || got[2].do != doDeliver || got[2].skip != 0 {
		t.Fatalf("wants %+v", got)
	}
	if _, next, _ := m.position(); next != 120 || m.count.Contradicted+m.count.Lost != 0 || !m.idle() {
		t.Errorf("at %d, %+v", next, m.count)
	}
}

// TestTakeoverKin: a reader that was in another epoch than the one that is gone on with
// knows what repeats all the same.
func TestTakeoverKin(t *testing.T) {
	start := func(epoch wire.Epoch, next wire.Seq, before ...wire.SessionPlace) *wire.SessionStart {
		return &wire.SessionStart{Reason: wire.TakeoverReason, PreviousEpoch: epoch, PreviousNext: next, Before: before}
	}
	for name, c := range map[string]struct {
		first   *wire.SessionStart // of epoch 8, which follows 100 records of 7; nil: it was not heard
		records int                // of it that came
		then    *wire.SessionStart // of epoch 9
		skip    uint32
		asks    Span
	}{
		"both took over from one":              {first: start(7, 90), records: 30, then: start(7, 95), skip: 25},
		"the other one began earlier":          {first: start(7, 100), records: 30, then: start(7, 60), skip: 70},
		"both did, and the later one is ahead": {first: start(7, 90), records: 15, then: start(7, 108), asks: Span{8, 0, 15, 18}},
		"one between was not heard":            {then: start(8, 3, wire.SessionPlace{Epoch: 7, Next: 93}), skip: 7},
		"and the reader is behind":             {then: start(8, 5, wire.SessionPlace{Epoch: 7, Next: 103}), asks: Span{8, 0, 2, 5}},
		"of another branch":                    {first: start(7, 90), records: 30, then: start(6, 3, wire.SessionPlace{Epoch: 7, Next: 110}), skip: 10},
	} {
		t.Run(name, func(t *testing.T) {
			m := newTester(1)
			m.bring(7, 0, 100, false)
			m.pump()
			if c.first != nil {
				m.mark(8, 0)
				m.start(8, c.first)
				m.bring(8, 0, c.records, false)
				m.pump()
			}
			m.mark(9, 0)
			m.start(9, c.then)
			m.bring(9, 0, 200, false)
			got := m.pump()
			last := got[len(got)-1]
			if c.asks != (Span{}) {
				if last.do != doRequest || last.span != c.asks {
					t.Fatalf("wants %+v", got)
				}
				return
			}
			if last.do != doDeliver || last.skip != c.skip {
				t.Fatalf("wants %+v", got)
			}
			if m.count.Contradicted+m.count.Diverged+m.count.Lost != 0 {
				t.Errorf("%+v", m.count)
			}
		})
	}
}
