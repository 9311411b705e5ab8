package majordomo

import (
	"errors"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/zsock"
)

// A client of several brokers has to know which of them takes requests. Scouts find
// out: one for each endpoint, all at once, asks for ServicePing. Brokers of others say
// that there is no such service, which is an answer. One that refuses is asked again,
// and again. To a pair of which one is gone, that is the vote that makes the other one
// active; so whoever only looks which one it is says that, and gives no vote before the
// others have had their time.

// nowhere is the endpoint of lanes while scouts look for one.
const nowhere = -1

// Times of scouts.
const (
	// askPause is how soon one that has refused is asked again at first, and
	// askPauseMax how soon after long.
	askPause, askPauseMax = 25 * time.Millisecond, 250 * time.Millisecond
	// grace is for how long the broker that the client was at last, or the first one,
	// comes before others that take requests, too.
	grace = 100 * time.Millisecond
	// lookFor is for how long scouts only look.
	lookFor = 150 * time.Millisecond
)

// scout looks whether the broker at an endpoint takes requests.
type scout struct {
	line
	l       *clientLoop
	stands  time.Duration // since when its connection does
	ask     time.Duration // when to ask
	asked   bool          // and it has refused
	refused bool          // as it said last
	takes   bool          // it takes requests
}

func (l *clientLoop) several() bool { return len(l.c.cfg.Endpoints) > 1 }

// search sends scouts out, where they are not.
func (l *clientLoop) search() error {
	if len(l.scouts) > 0 {
		return nil
	}
	l.sought, l.passive = l.now, false
	for at := range l.c.cfg.Endpoints {
		to, err := l.dial(at)
		if err != nil {
			return err
		}
		l.scouts = append(l.scouts, &scout{line: to, l: l, stands: l.now, ask: l.now})
	}
	l.watch()
	return nil
}

// recall closes the lines of the scouts, but for one's.
func (l *clientLoop) recall(but *scout) error {
	var errs []error
	for _, s := range l.scouts {
		if s != but {
			errs = append(errs, s.close())
		}
	}
	clear(l.scouts)
	l.scouts = l.scouts[:0]
	return errors.Join(errs...)
}

// scoutsDue is when scouts have something to do by themselves.
func (l *clientLoop) scoutsDue() time.Duration {
	due := never
	for _, s := range l.scouts {
		switch {
		case s.takes:
			due = min(due, l.sought+grace)
		case !s.down:
			due = min(due, s.ask)
		}
	}
	return due
}

// roam leaves a broker that is not the right one any more, and goes to one that scouts
// have found.
func (l *clientLoop) roam() error {
	if l.astray {
		l.astray = false
		if err := l.leave(); err != nil {
			return err
		}
	}
	if len(l.scouts) == 0 {
		return nil
	}
	if l.open.len == 0 { // nobody waits any more
		err := l.recall(nil)
		l.watch()
		return err
	}
	for _, s := range l.scouts {
		if err := s.question(); err != nil {
			return err
		}
	}
	s := l.choice()
	if s == nil {
		return nil
	}
	if s.at != l.last {
		l.count.Moved++
	}
	l.at, l.last, l.lost, l.talks, l.passive = s.at, s.at, false, s.takes, false
	err := l.recall(s)
	n := l.main
	n.line, n.left, n.heard, n.quiet, n.asked = s.line, nil, l.now, l.now, 0
	l.watch()
	return err
}

// leave closes all lanes, whose requests wait for another broker.
func (l *clientLoop) leave() error {
	if l.at == nowhere {
		return nil
	}
	l.at, l.lost = nowhere, true
	var errs []error
	for _, n := range l.lanes {
		errs = append(errs, n.close())
	}
	if l.open.len > 0 {
		errs = append(errs, l.search())
	}
	return errors.Join(errs...)
}

// choice is the scout whose broker is the right one, if it can be said yet.
func (l *clientLoop) choice() *scout {
	var mute *scout
	for i := range l.scouts {
		s := l.scouts[(l.last+i)%len(l.scouts)]
		first := l.scouts[l.last]
		switch {
		case s.takes && (s == first || l.lost || first.refused || l.now-l.sought >= grace):
			return s
		case !s.down && !s.takes && !s.refused && !l.passive && l.now-s.stands >= l.c.cfg.Heartbeat && (mute == nil || mute.at == l.last && l.lost):
			mute = s
		case s.takes:
			return nil // the first one has its grace
		}
	}
	return mute // brokers of others may know nothing of such questions
}

// question asks, where it is time.
func (s *scout) question() error {
	if s.down || s.takes || s.l.now < s.ask {
		return nil
	}
	s.ask = s.l.now + s.l.c.cfg.Heartbeat
	return s.l.ping(&s.line, !s.asked || s.l.now-s.l.sought < lookFor)
}

// attend takes in what has come.
func (s *scout) attend(monitor bool) error {
	if s.socket == nil {
		return nil
	}
	if !monitor {
		return s.read()
	}
	for {
		changed, err := s.heed(s.l)
		if err != nil || !changed {
			return err
		}
		s.takes, s.refused = false, false
		s.stands, s.ask = s.l.now, s.l.now
	}
}

func (s *scout) read() error {
	err := s.socket.RecvMany(s.l.in, batchMessages, batchBytes)
	if errors.Is(err, zsock.ErrAgain) {
		return nil
	}
	if err != nil {
		return err
	}
	var m message
	for frames := s.l.in.Next(); frames != nil; frames = s.l.in.Next() {
		if parseAtClient(&m, frames); m.command != clientReply {
			s.l.count.Malformed++
			continue
		}
		if s.refused = refuses(&m); s.refused {
			s.asked, s.l.passive = true, true
			s.takes, s.ask = false, s.l.now+min(askPause+(s.l.now-s.l.sought)/20, askPauseMax)
			continue
		}
		s.takes = true
	}
	return nil
}

// ping asks a broker whether it takes requests. That gives no vote where it only looks.
func (l *clientLoop) ping(to *line, looks bool) error {
	l.asking.Reset()
	l.asking.Frame(frameEmpty, false)
	l.asking.Frame(frameClient, false)
	l.asking.Frame([]byte(ServicePing), false)
	l.asking.Frame(pirate.AppendNumber(nil, 0, false), !looks)
	if looks {
		l.asking.Frame(frameLook, true)
	}
	_, err := to.socket.SendMany(&l.asking)
	l.asking.Reset()
	if errors.Is(err, zsock.ErrAgain) {
		return nil // the connection has just ended, and it will be known
	}
	return err
}

// votes reports whether what a client asks for is a vote for this broker.
func (m *message) votes() bool {
	looks := string(m.service) == ServicePing && len(m.body) > 1 && string(m.body[1]) == string(frameLook)
	return !looks && !local(m.from)
}

// refuses reports whether a broker says that requests are to go to another one.
func refuses(m *message) bool {
	_, failed, ok := pirate.ParseNumber(m.body[0])
	return ok && failed && len(m.body) > 1 && elsewhere(string(m.body[1]))
}

// elsewhere reports whether a broker's reason is that another one is to be asked.
func elsewhere(reason string) bool {
	return reason == string(ReasonPassive) || reason == string(ReasonStopping)
}

// askSilent asks a broker of several that owes replies, and has been silent, whether it
// is there; one that does not say so is left.
func (l *clientLoop) askSilent() {
	if l.at == nowhere || !l.several() {
		return
	}
	for _, n := range l.lanes {
		switch beat := l.c.cfg.Heartbeat; {
		case n.socket == nil || n.flight.len == 0 && n.queue.len == 0:
		case n.down && l.now-n.opened >= 2*beat && l.now-n.quiet >= 2*beat:
			l.astray = true
		case n.down || !l.talks || n.flight.len == 0:
		case n.asked != 0 && l.now-n.asked >= beat:
			l.count.Silent++
			l.astray = true
		case n.asked == 0 && l.now-n.quiet >= beat:
			n.asked = l.now
			_ = l.ping(&n.line, false) // an error is the next one's, too
		}
	}
}
