package freelance

import "time"

// Chooser knows of several servers which one to ask next. It is pure: times are
// durations since some start. It belongs to one goroutine.
//
// A server that is alive and has not failed of late comes first; of those the first
// in the list. Where nobody is known to be alive, who has not failed since its last
// answer comes first. One that fails rests for a while, which doubles with each failure
// and ends with an answer. When all rest, the one whose rest ends first is asked: to ask
// somebody is better than to ask nobody.
type Chooser struct {
	rest, restMax time.Duration
	servers       []server
}

type server struct {
	heard    bool
	expires  time.Duration // when it no longer counts as alive
	failures int           // since its last answer
	rests    time.Duration // until when
	answered uint64
	failed   uint64
}

// NewChooser returns a Chooser of n servers, none of them heard of. A server rests
// for rest after its first failure, and for no longer than most.
func NewChooser(n int, rest, most time.Duration) *Chooser {
	return &Chooser{rest: rest, restMax: most, servers: make([]server, n)}
}

// Heard says that something came from a server, which makes it alive until expires.
func (c *Chooser) Heard(i int, expires time.Duration) {
	c.servers[i].heard, c.servers[i].expires = true, expires
}

// Answered says that a server has answered a request.
func (c *Chooser) Answered(i int) {
	s := &c.servers[i]
	s.answered++
	s.failures, s.rests = 0, 0
}

// Failed says that a server has not answered a request in time, or could not be
// reached.
func (c *Chooser) Failed(i int, now time.Duration) {
	s := &c.servers[i]
	s.failed++
	s.rests = now + min(c.rest<<min(s.failures, 20), c.restMax)
	s.failures++
}

// Alive reports whether a server counts as alive.
func (c *Chooser) Alive(i int, now time.Duration) bool {
	return c.servers[i].heard && now < c.servers[i].expires
}

// Resting reports whether a server has failed, and is left alone for a while.
func (c *Chooser) Resting(i int, now time.Duration) bool { return c.servers[i].rests > now }

// Failures is how often a server has failed since its last answer.
func (c *Chooser) Failures(i int) int { return c.servers[i].failures }

// Counts is how often a server has answered, and how often it has failed.
func (c *Chooser) Counts(i int) (answered, failed uint64) {
	return c.servers[i].answered, c.servers[i].failed
}

// Pick returns the server to ask; tried says which have been asked for this request
// already, and are asked again only when all have. It returns -1 where there are no
// servers.
func (c *Chooser) Pick(now time.Duration, tried func(i int) bool) int {
	best := -1
	for i := range c.servers {
		if best < 0 || c.better(i, best, now, tried) {
			best = i
		}
	}
	return best
}

// better reports whether server i is to be asked before j, which is before it in the
// list.
func (c *Chooser) better(i, j int, now time.Duration, tried func(int) bool) bool {
	if a, b := tried(i), tried(j); a != b {
		return b
	}
	if a, b := c.servers[i].rests > now, c.servers[j].rests > now; a != b {
		return b
	} else if a {
		return c.servers[i].rests < c.servers[j].rests
	}
	if a, b := c.Alive(i, now), c.Alive(j, now); a || b {
		return a && !b
	}
	return c.servers[i].failures == 0 && c.servers[j].failures > 0
}
