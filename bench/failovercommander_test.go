package bench

import (
	"errors"
	"testing"
)

// TestCommander: a kill is measured by the first command that was carried out behind it,
// and by the last of those that were on their way.
func TestCommander(t *testing.T) {
	type step func(c *commander)
	begin := func(c *commander) {
		if _, _, ok := c.begin(); !ok {
			t.Error("no command can be given")
		}
	}
	done := func(kill int, at int64, err error) step { return func(c *commander) { c.done(kill, at, err) } }
	kill := func(c *commander) { c.await(failoverNews{Killed: 100, Dead: 200}) }
	for name, tc := range map[string]struct {
		steps                            []step
		came, first, whole               bool
		requests, answered, failed, open uint64
	}{
		"none":                {[]step{begin, done(0, 50, nil)}, false, false, false, 1, 1, 0, 0},
		"carried out before":  {[]step{begin, begin, kill, done(0, 150, nil)}, false, false, false, 2, 1, 0, 1},
		"carried out behind":  {[]step{begin, begin, kill, done(0, 250, nil)}, false, true, false, 2, 1, 0, 1},
		"all":                 {[]step{begin, begin, kill, done(0, 250, nil), done(0, 150, nil)}, true, true, true, 2, 2, 0, 0},
		"all, then the first": {[]step{begin, kill, begin, done(0, 150, nil), done(1, 250, nil)}, true, true, true, 2, 2, 0, 0},
		"a later one first":   {[]step{begin, kill, begin, done(1, 250, nil)}, false, true, false, 2, 1, 0, 1},
		"none was on its way": {[]step{kill, begin, done(1, 250, nil), begin, done(1, 260, nil)}, true, true, true, 2, 2, 0, 0},
		"given up":            {[]step{begin, kill, begin, done(0, 0, errors.New("no reply")), done(1, 250, nil)}, true, true, true, 2, 1, 1, 0},
		"two kills":           {[]step{begin, kill, done(0, 250, nil), begin, kill, begin, done(2, 250, nil)}, true, true, false, 3, 2, 0, 1},
	} {
		came := make(chan struct{}, 2)
		c := &commander{came: came}
		for _, s := range tc.steps {
			s(c)
		}
		first, whole := c.saw()
		if (len(came) > 0) != tc.came || (first != 0) != tc.first || (whole != 0) != tc.whole || whole != 0 && whole < first ||
			c.tally.Requests != tc.requests || c.tally.Answered != tc.answered || c.tally.Failed != tc.failed || uint64(c.open) != tc.open {
			t.Errorf("%s: came %d, first %d, whole %d, %d open, %+v", name, len(came), first, whole, c.open, c.tally)
		}
		if tc.failed > 0 && c.tally.Why == "" {
			t.Errorf("%s: it is not said why", name)
		}
	}
}
