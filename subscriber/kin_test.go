package subscriber

import (
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// TestTakeoverKin: a reader that was in another epoch than the one that is taken over
// from knows what repeats all the same.
func TestTakeoverKin(t *testing.T) {
	start := func(epoch wire.Epoch, next wire.Seq, before ...wire.SessionPlace) *wire.SessionStart {
		return &wire.SessionStart{Reason: wire.TakeoverReason, PreviousEpoch: epoch, PreviousNext: next, Before: before}
	}
	for name, c := range map[string]struct {
		first   *wire.SessionStart // of epoch 8, which follows 100 records of 7; nil: it was not heard
		records uint32             // of it that came
		then    *wire.SessionStart // of epoch 9
		repeat  wire.Seq
		tail    Missing
		broken  uint64
	}{
		"both took over from one":              {first: start(7, 90), records: 30, then: start(7, 95), repeat: 25},
		"the other one began earlier":          {first: start(7, 100), records: 30, then: start(7, 60), repeat: 70},
		"both did, and the later one is ahead": {first: start(7, 90), records: 5, then: start(7, 103), tail: Missing{7, 100, 103}},
		"one between was not heard":            {then: start(8, 3, wire.SessionPlace{Epoch: 7, Next: 93}), repeat: 7},
		"and the reader is behind":             {then: start(8, 3, wire.SessionPlace{Epoch: 7, Next: 103}), tail: Missing{8, 0, 3}},
		"and further behind":                   {then: start(8, 3, wire.SessionPlace{Epoch: 7, Next: 120}), tail: Missing{7, 100, 120}},
		"of another branch":                    {first: start(7, 90), records: 30, then: start(6, 3, wire.SessionPlace{Epoch: 7, Next: 110}), repeat: 10},
		"one that nobody knows":                {first: start(7, 90), records: 30, then: start(6, 3), broken: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var s Stream
			p := source{epoch: 7}
			h := p.batch(100, 1)
			s.Take(&h)
			if c.first != nil {
				q := source{epoch: 8}
				h := q.hello()
				s.Take(&h)
				s.Start(c.first)
				if c.records > 0 {
					h = q.batch(c.records, 2)
					s.Take(&h)
				}
			}
			q := source{epoch: 9}
			h = q.hello()
			s.Take(&h)
			tail, head := s.Start(c.then)
			if tail != c.tail || !head.None() || s.repeat != c.repeat || s.broken != c.broken {
				t.Errorf("tail %v, head %v, %d repeat, %d broken", tail, head, s.repeat, s.broken)
			}
			h = q.batch(200, 3)
			if step := s.Take(&h); wire.Seq(step.Skip) != c.repeat || step.GapFrom != step.GapTo {
				t.Errorf("%+v", step)
			}
		})
	}
}

// TestTakenOverFromGoesOn: an epoch that was taken over from goes on, its publisher having
// become active again in a later epoch of the pair, and a reader enters it that was only in
// the one that took over. It began behind nothing, or behind one that nobody knows; where the
// reader stands in it is known from the takeover all the same.
func TestTakenOverFromGoesOn(t *testing.T) {
	for name, c := range map[string]struct {
		start      *wire.SessionStart // of epoch 8, that goes on
		at         wire.Seq           // how far it has come when it is heard
		tail, head Missing
		skip       uint32 // of 200 records that follow
		broken     uint64
	}{
		"it is ahead":                   {at: 253, head: Missing{8, 166, 253}},
		"it is behind":                  {at: 120, skip: 46},
		"it is as far":                  {at: 166},
		"another play before it":        {start: &wire.SessionStart{Reason: wire.TakeoverReason, PreviousEpoch: 3, PreviousNext: 12}, at: 253, head: Missing{8, 166, 253}},
		"its publisher's own before it": {start: &wire.SessionStart{PreviousEpoch: 3, PreviousNext: 12}, at: 120, skip: 46},
	} {
		t.Run(name, func(t *testing.T) {
			var s Stream
			p := source{epoch: 9}
			h := p.hello()
			s.Take(&h)
			s.Start(&wire.SessionStart{Reason: wire.TakeoverReason, PreviousEpoch: 8, PreviousNext: 136})
			h = p.batch(30, 1)
			s.Take(&h)
			q := source{epoch: 8}
			q.batch(uint32(c.at), 2)
			h = q.hello()
			s.Take(&h)
			tail, head := s.Start(c.start)
			if tail != c.tail || head != c.head || s.broken != c.broken {
				t.Errorf("tail %v, head %v, %d broken", tail, head, s.broken)
			}
			h = q.batch(200, 3)
			if step := s.Take(&h); step.Skip != c.skip || step.GapFrom != step.GapTo {
				t.Errorf("%+v", step)
			}
			if s.diverged != 0 {
				t.Errorf("diverged %d times", s.diverged)
			}
		})
	}
}

// TestEnters: which messages of a pair count.
func TestEnters(t *testing.T) {
	hello := func(epoch wire.Epoch) wire.Header { return wire.Header{Epoch: epoch, Flags: wire.FlagHello} }
	for name, c := range map[string]struct {
		in     []wire.Epoch // hellos that came, of pair epochs 2, 3 and so on
		h      wire.Header
		pair   uint64
		enters bool
		ask    bool
	}{
		"a hello, at first":           {h: hello(5), enters: true},
		"no hello, at first":          {h: wire.Header{Epoch: 5}, ask: true},
		"of the epoch at hand":        {in: []wire.Epoch{5}, h: wire.Header{Epoch: 5}, enters: true},
		"a greater number":            {in: []wire.Epoch{5}, h: hello(6), pair: 2, enters: true},
		"a lesser number":             {in: []wire.Epoch{5}, h: hello(4), pair: 2},
		"a later epoch of the pair":   {in: []wire.Epoch{5}, h: hello(4), pair: 3, enters: true},
		"an earlier one":              {in: []wire.Epoch{5, 6}, h: hello(7), pair: 2},
		"one that does not say":       {in: []wire.Epoch{5}, h: hello(7)},
		"one that was left":           {in: []wire.Epoch{5, 6}, h: hello(5), pair: 9},
		"no hello, of another epoch":  {in: []wire.Epoch{5}, h: wire.Header{Epoch: 4}, ask: true},
		"no hello, of one left":       {in: []wire.Epoch{5, 6}, h: wire.Header{Epoch: 5}},
		"a lesser number, of another": {in: []wire.Epoch{9, 5}, h: hello(6), pair: 3, enters: true},
	} {
		t.Run(name, func(t *testing.T) {
			var s Stream
			for i, epoch := range c.in {
				h := hello(epoch)
				if enters, _ := s.Enters(&h, uint64(2+i)); !enters {
					t.Fatal("a hello of a later epoch of the pair does not count")
				}
				s.Take(&h)
			}
			if enters, ask := s.Enters(&c.h, c.pair); enters != c.enters || ask != c.ask {
				t.Errorf("enters %v, ask %v", enters, ask)
			}
		})
	}
}
