package snail

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

func newLadder(t testing.TB, cfg LadderConfig) *Ladder {
	t.Helper()
	if cfg.Shards == 0 {
		cfg.Shards = 1
	}
	l, err := NewLadder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestLadder: what each policy does when verdicts come one after the other.
func TestLadder(t *testing.T) {
	for _, c := range []struct {
		policy   Policy
		verdicts []Verdict
		want     string // of each squawk: before>verdict:action
	}{
		{PolicyWarn, []Verdict{OK, OK, Lagging, Lagging, Snail, Stuck, Snail, OK},
			"ok>lagging:warn lagging>snail:warn snail>stuck:warn stuck>snail:none snail>ok:none"},
		{PolicyWarn, []Verdict{Snail, Lagging, OK, Stuck}, "ok>snail:warn snail>lagging:none lagging>ok:none ok>stuck:warn"},
		{PolicyConflate, []Verdict{Lagging, Snail, Stuck, Snail, OK}, "ok>lagging:warn lagging>snail:conflate snail>stuck:warn stuck>snail:none snail>ok:none"},
		{PolicySkip, []Verdict{Snail, OK, Stuck, Snail}, "ok>snail:skip snail>ok:none ok>stuck:warn stuck>snail:none"},
		{PolicyDie, []Verdict{Lagging, OK, Snail, OK, Snail}, "ok>lagging:warn lagging>ok:none ok>snail:die"},
		{PolicyDie, []Verdict{Stuck}, "ok>stuck:die"},
	} {
		l := newLadder(t, LadderConfig{Policy: c.policy})
		var got []string
		for i, v := range c.verdicts {
			now := Instant{Wall: simWall, Mono: simMono + wire.Nanos(i)*wire.Nanos(100*ms)}
			if s, ok := l.Take(now, 0, Status{Verdict: v}, 0); ok {
				got = append(got, fmt.Sprintf("%v>%v:%v", s.Before, s.Verdict, s.Action))
			}
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%v, %v:\n%s, want\n%s", c.policy, c.verdicts, got, c.want)
		}
	}
}

// TestLadderConflates: shard by shard, and until nothing was skipped for a while.
func TestLadderConflates(t *testing.T) {
	l := newLadder(t, LadderConfig{Policy: PolicyConflate, Shards: 2, Calm: 3 * second})
	take := func(at time.Duration, shard int, v Verdict, skipped uint64) Action {
		s, ok := l.Take((&sim{}).instant(at), shard, Status{Verdict: v}, skipped)
		if !ok {
			return 99
		}
		return s.Action
	}
	for i, c := range []struct {
		at      time.Duration
		shard   int
		verdict Verdict
		skipped uint64
		want    Action
	}{
		{0, 0, Snail, 0, ActConflate},
		{0, 1, OK, 0, 99},
		{1 * second, 0, Snail, 50, 99},
		{2 * second, 0, OK, 90, ActNone}, // its loop keeps up, of course
		{4900 * ms, 0, OK, 90, 99},       // 2.9 s without a record to skip
		{4950 * ms, 0, OK, 91, 99},       // one
		{7900 * ms, 0, OK, 91, 99},
		{7950 * ms, 0, OK, 91, ActResume},
		{8 * second, 0, OK, 91, 99},
		{9 * second, 1, Stuck, 0, ActConflate},
		{10 * second, 0, Snail, 91, ActConflate},
		{20 * second, 1, Stuck, 0, 99}, // it does not move: nothing to skip, and not well
		{20 * second, 1, OK, 0, ActNone},
		{23 * second, 1, OK, 0, ActResume},
	} {
		if got := take(c.at, c.shard, c.verdict, c.skipped); got != c.want {
			t.Errorf("%d: %v, want %v", i, got, c.want)
		}
	}
	if !l.Conflating(0) || l.Conflating(1) {
		t.Error("conflating the wrong shard")
	}
}

// TestLadderSkips: one snapshot at a time, for all shards, and another one when
// it did not help.
func TestLadderSkips(t *testing.T) {
	l := newLadder(t, LadderConfig{Policy: PolicySkip, Shards: 2})
	now := (&sim{}).instant(0)
	if s, _ := l.Take(now, 0, Status{Verdict: Snail}, 0); s.Action != ActSkip {
		t.Errorf("%+v", s)
	}
	if s, _ := l.Take(now, 1, Status{Verdict: Snail}, 0); s.Action != ActWarn {
		t.Errorf("another shard while the snapshot is on its way: %+v", s)
	}
	l.Skipped()
	if s, ok := l.Take(now, 1, Status{Verdict: OK}, 0); ok {
		t.Errorf("%+v", s)
	}
	if s, _ := l.Take(now, 0, Status{Verdict: Snail}, 0); s.Action != ActSkip || s.Before != OK {
		t.Errorf("as slow as before: %+v", s)
	}
}

// TestLadderProperty: whatever verdicts come, an action is never begun twice
// without an end between, and nothing is said after death.
func TestLadderProperty(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		policy := Policy(r.IntN(4))
		const shards = 3
		l := newLadder(t, LadderConfig{Policy: policy, Shards: shards, Calm: second})
		var conflating [shards]bool
		var last [shards]Verdict
		skipping, dead := false, false
		var skipped [shards]uint64
		for i := range 2000 {
			shard := r.IntN(shards)
			if conflating[shard] && r.IntN(10) == 0 {
				skipped[shard]++
			}
			v := last[shard]
			if r.IntN(3) == 0 {
				v = Verdict(r.IntN(4))
			}
			s, ok := l.Take((&sim{}).instant(time.Duration(i)*100*ms), shard, Status{Verdict: v}, skipped[shard])
			switch {
			case ok && dead:
				t.Fatalf("seed %d: %v after death", seed, s)
			case ok && s.Before != last[shard], !ok && v != last[shard] && !dead:
				t.Fatalf("seed %d: %v, the last one was %v", seed, s, last[shard])
			case ok && s.Before == v && s.Action == ActNone:
				t.Fatalf("seed %d: a squawk about nothing: %v", seed, s)
			}
			last[shard] = v
			if !ok {
				continue
			}
			switch s.Action {
			case ActConflate, ActResume:
				if begin := s.Action == ActConflate; policy != PolicyConflate || conflating[shard] == begin {
					t.Fatalf("seed %d: %v, conflating: %v", seed, s, conflating[shard])
				}
				conflating[shard] = !conflating[shard]
			case ActSkip:
				if policy != PolicySkip || skipping {
					t.Fatalf("seed %d: %v, skipping: %v", seed, s, skipping)
				}
				skipping = true
			case ActDie:
				if policy != PolicyDie || !v.Slow() {
					t.Fatalf("seed %d: %v", seed, s)
				}
				dead = true
			}
			if skipping && r.IntN(20) == 0 {
				l.Skipped()
				skipping, last = false, [shards]Verdict{}
			}
		}
	}
}

func TestLadderConfig(t *testing.T) {
	for _, cfg := range []LadderConfig{{}, {Shards: 1, Policy: 9}, {Shards: 1, Calm: -1}} {
		if _, err := NewLadder(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// TestWords: each word is read as what wrote it, and no other is read.
func TestWords(t *testing.T) {
	for i, w := range []string{"warn", "conflate", "skip", "die"} {
		if p, err := ParsePolicy(w); err != nil || p != Policy(i) || p.String() != w {
			t.Errorf("%s: %v, %v", w, p, err)
		}
	}
	if !slices.Equal(PolicyWords(), policyWords) {
		t.Error(PolicyWords())
	}
	// Reports and squawks carry them.
	for i, w := range []string{"ok", "lagging", "snail", "stuck", "gone"} {
		if v, err := ParseVerdict(w); err != nil || v != Verdict(i) || v.String() != w || !wire.ValidVerdict(w) {
			t.Errorf("%s: %v, %v", w, v, err)
		}
	}
	for _, w := range []string{"", "OK", "verdict 1", "0"} {
		if _, err := ParseVerdict(w); err == nil {
			t.Errorf("%q is a verdict", w)
		}
		if _, err := ParsePolicy(w); err == nil {
			t.Errorf("%q is a policy", w)
		}
	}
	if got := fmt.Sprint(Verdict(9), Cause(9), Action(9), Policy(9)); got != "9 9 9 9" {
		t.Error(got)
	}
}
