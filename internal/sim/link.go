package sim

import "time"

// weather is what a network does to messages, one way.
type weather struct {
	lose, repeat, overtake float64       // probabilities
	least, most            time.Duration // that a message takes
	delay                  time.Duration // beyond that, of those that are overtaken
}

// calm is a network that does nothing to messages.
var calm = weather{least: 50 * time.Microsecond, most: 500 * time.Microsecond}

// roughly draws a network that is bad in some way.
func roughly(w *World) weather {
	c := weather{least: w.Between(0, time.Millisecond)}
	c.most = c.least + w.Between(0, one(w, time.Millisecond, 5*time.Millisecond, 40*time.Millisecond))
	c.lose = one(w, 0, 0.001, 0.01, 0.1, 0.3)
	c.repeat = one(w, 0, 0, 0.01, 0.1)
	c.overtake = one(w, 0, 0, 0.01, 0.1)
	c.delay = w.Between(time.Millisecond, one(w, 10*time.Millisecond, 300*time.Millisecond, 3*time.Second))
	return c
}

// link carries messages one way from a process to another. What is not lost comes in
// the order in which it was sent, but for what is overtaken.
type link struct {
	w        *World
	from, to *Process
	weather  weather
	cut      bool
	clear    time.Duration // when the last message in order arrives
}

func (w *World) link(from, to *Process) *link { return &link{w: w, from: from, to: to, weather: calm} }

// send makes do happen at the receiver, once, several times, or never.
func (l *link) send(do func()) {
	c := &l.weather
	if l.cut || l.w.Chance(c.lose) {
		return
	}
	at := l.w.now + l.w.Between(c.least, c.most)
	if l.w.Chance(c.overtake) {
		at += l.w.Between(0, c.delay)
	} else {
		at = max(at, l.clear)
		l.clear = at
	}
	l.deliver(at, do)
	if l.w.Chance(c.repeat) {
		l.deliver(at+l.w.Between(0, c.delay), do)
	}
}

func (l *link) deliver(at time.Duration, do func()) {
	// Whoever has the receiver's address then, gets it: a restart changes nothing.
	l.w.After(at-l.w.now, func() { l.to.at(l.to.life, do) })
}
