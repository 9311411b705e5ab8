package resync

import (
	"errors"
	"time"
)

// ServerStats are how one server fares, as a Client sees it.
type ServerStats struct {
	Endpoint string
	Alive    bool   // it has spoken within ClientConfig.Silence; known only while something is asked
	Resting  bool   // it has failed, and is left alone for a while
	Requests uint64 // sent to it
	Bytes    uint64 // received of it: payload and order or places
	Lacked   uint64 // requests that it answered with not having what was asked for
	Failed   uint64 // times that it did not answer, brought nothing, or failed
}

// ServerStats returns how the servers fare, in the order of the configuration.
func (c *Client) ServerStats() []ServerStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.since()
	list := make([]ServerStats, len(c.servers))
	for i, s := range c.servers {
		_, failed := c.chooser.Counts(i)
		list[i] = ServerStats{Endpoint: s.endpoint, Alive: c.chooser.Alive(i, now), Resting: c.chooser.Resting(i, now),
			Requests: s.requests, Bytes: s.bytes, Lacked: s.lacked, Failed: failed}
	}
	return list
}

// since is the time as the chooser, and the machines of a Healer, have it.
func (c *Client) since() time.Duration { return c.now().Sub(c.begun) }

// choice is a Client's chooser, for the requests of all shards.
type choice struct{ c *Client }

// Pick implements chooser.
func (h choice) Pick(now time.Duration, tried func(i int) bool) int {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	return h.c.chooser.Pick(now, tried)
}

// Resting implements chooser.
func (h choice) Resting(i int, now time.Duration) bool {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	return h.c.chooser.Resting(i, now)
}

// Failed implements chooser.
func (h choice) Failed(i int, now time.Duration) {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	h.c.chooser.Failed(i, now)
}

// Answered implements chooser.
func (h choice) Answered(i int) {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	h.c.chooser.Answered(i)
}

// ended takes note of how a request to a server has ended that is not a Healer's.
func (c *Client) ended(i int, err error) {
	if err == nil {
		choice{c}.Answered(i)
		return
	}
	switch f := failureOf(err); f.reason {
	case ReasonNoAnswer: // whoever found that out has said so
	case ReasonGone, ReasonUnknown, ReasonNotYet, ReasonRefused:
		choice{c}.Answered(i)
	default:
		choice{c}.Failed(i, c.since())
	}
}

// silent reports whether a server that owes an answer is to be taken for gone. c.mu is
// held.
func (c *Client) silent(i int, now time.Time) bool {
	silence := now.Sub(c.servers[i].heard)
	if silence > c.cfg.Silence {
		return true
	}
	if silence <= c.cfg.Switch || c.chooser.Failures(i) > 0 || c.servers[i].surveyed > 0 {
		return false
	}
	for j, s := range c.servers {
		if j != i && s.spoke.After(c.servers[i].heard) && !c.chooser.Resting(j, c.since()) {
			return true
		}
	}
	return false
}

// idle returns the servers that are not asked for anything, and are to be pinged: while
// something is asked of another one, so that it is known who is there. c.mu is held.
func (c *Client) idle(now time.Time, interval time.Duration) (list []*server) {
	for _, s := range c.servers {
		if s.pending == 0 && now.Sub(s.pinged) >= interval {
			s.pinged = now
			list = append(list, s)
		}
	}
	return list
}

// stuck reports whether a server keeps a request for longer than it may without bringing
// anything. c.mu is held.
func (c *Client) stuck(s *stream, now time.Time) bool {
	return len(s.queue) == 0 && s.current == nil && now.Sub(s.brought) > c.cfg.Deadline+c.cfg.Silence
}

// lacking reports whether an answer says that the server does not have what was asked for.
func lacking(e *RequestError) bool {
	return errors.Is(e, ErrGone) || errors.Is(e, ErrUnknownEpoch) || errors.Is(e, ErrNotYet) || e.Code == CodeNotServed
}
