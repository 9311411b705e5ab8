package freelance

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestChooser(t *testing.T) {
	const n = 3
	none := func(int) bool { return false }
	for _, tc := range []struct {
		name  string
		do    func(c *Chooser)
		now   time.Duration
		tried []int
		want  int
	}{
		{"nobody heard: the first", func(*Chooser) {}, 0, nil, 0},
		{"who is alive", func(c *Chooser) { c.Heard(2, 10) }, 0, nil, 2},
		{"the first of those alive", func(c *Chooser) { c.Heard(2, 10); c.Heard(1, 10) }, 0, nil, 1},
		{"who was alive is as the others", func(c *Chooser) { c.Heard(2, 10) }, 10, nil, 0},
		{"who failed rests, alive or not", func(c *Chooser) { c.Heard(0, 1000); c.Failed(0, 0) }, 1, nil, 1},
		{"and is asked again then", func(c *Chooser) { c.Heard(0, 1000); c.Failed(0, 0) }, 100, nil, 0},
		{"twice as long the second time", func(c *Chooser) { c.Heard(0, 1000); c.Failed(0, 0); c.Failed(0, 0) }, 199, nil, 1},
		{"nobody alive: who has not failed since", func(c *Chooser) { c.Failed(0, 0) }, 100, nil, 1},
		{"who failed and speaks again", func(c *Chooser) { c.Failed(0, 0); c.Heard(0, 1000) }, 100, nil, 0},
		{"an answer ends the rest", func(c *Chooser) { c.Failed(0, 0); c.Failed(0, 0); c.Answered(0) }, 1, nil, 0},
		{"all rest: the one whose rest ends first", func(c *Chooser) { c.Failed(0, 9); c.Failed(1, 5); c.Failed(2, 7) }, 10, nil, 1},
		{"not who was tried", func(c *Chooser) { c.Heard(0, 1000) }, 1, []int{0}, 1},
		{"who rests before who was tried", func(c *Chooser) { c.Failed(2, 0) }, 1, []int{0, 1}, 2},
		{"all were tried: another round", func(c *Chooser) { c.Failed(0, 0) }, 1, []int{0, 1, 2}, 1},
	} {
		c := NewChooser(n, 100, 1000)
		tc.do(c)
		tried := map[int]bool{}
		for _, i := range tc.tried {
			tried[i] = true
		}
		if got := c.Pick(tc.now, func(i int) bool { return tried[i] }); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
	c := NewChooser(n, 100, 1000)
	for range 200 {
		c.Failed(0, 0)
	}
	if !c.Resting(0, 999) || c.Resting(0, 1000) || c.Failures(0) != 200 {
		t.Error("a rest is not as long as it may be at most")
	}
	c.Answered(0)
	if answered, failed := c.Counts(0); answered != 1 || failed != 200 || c.Failures(0) != 0 || c.Resting(0, 0) {
		t.Errorf("answered %d, failed %d, %d failures since", answered, failed, c.Failures(0))
	}
	if NewChooser(0, 1, 1).Pick(0, none) != -1 {
		t.Error("picked one of none")
	}
}

// TestMachine drives requests with answers, silence and servers that cannot be reached,
// in any order: each request is sent a bounded number of times and ends once.
func TestMachine(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 2))
		cfg := machineConfig{
			servers: 1 + r.IntN(4), all: r.IntN(3) == 0, pings: true,
			try: 100, tries: 1 + r.IntN(5), ping: 500, dead: 1500, rest: 50, most: 1000,
		}
		m := newMachine(cfg)
		sent, ended := map[uint64]int{}, map[uint64]int{}
		var now time.Duration
		var perform func(acts []act)
		perform = func(acts []act) {
			for _, a := range append([]act(nil), acts...) {
				switch a.do {
				case actFail:
					ended[a.number]++
				case actSend:
					sent[a.number]++
					switch r.IntN(4) {
					case 0:
						perform(m.unsent(a.number, a.server, now))
					case 1:
						m.heard(a.server, now)
						if m.replied(a.server, a.number) {
							ended[a.number]++
						}
					}
				}
			}
		}
		for range 200 {
			if r.IntN(3) == 0 {
				_, acts := m.begin(now)
				perform(acts)
			}
			if due, ok := m.next(); ok && r.IntN(2) == 0 {
				now = max(now, due)
			}
			now += time.Duration(r.IntN(50))
			perform(m.tick(now))
		}
		for len(m.open) > 0 {
			due, ok := m.next()
			if !ok {
				t.Fatalf("seed %d: requests wait for nothing", seed)
			}
			now = max(now, due)
			perform(m.tick(now))
		}
		for number := range m.last {
			number++
			if ended[number] != 1 {
				t.Fatalf("seed %d: request %d ended %d times", seed, number, ended[number])
			}
			most := cfg.tries * cfg.servers * (2 + int(4*cfg.try/cfg.rest)) // again while nobody can be reached
			if sent[number] < 1 || sent[number] > most {
				t.Fatalf("seed %d: request %d was sent %d times, at most %d", seed, number, sent[number], most)
			}
		}
	}
}
