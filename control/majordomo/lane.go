package majordomo

import (
	"errors"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/zsock"
)

// lane is a connection of a client to a broker: the one that most requests go
// through, many at a time, or one of a service whose replies carry no number, one
// request at a time.
type lane struct {
	l       *clientLoop
	single  bool // one at a time
	numbers bool // requests carry theirs
	service string

	line
	heard time.Duration // anything from the broker
	quiet time.Duration // since when the broker has said nothing, though it was asked
	asked time.Duration // since when it has not said that it is there; 0: it was not asked
	again time.Duration // when a socket may be opened, at the soonest
	used  time.Duration // when it last had a call

	queue  list[call] // to be sent
	flight list[call] // sent, or in the outbox
	out    zsock.Outbox
	put    uint64          // messages ever put into the outbox
	sent   uint64          // of those, sent or dropped with the connection
	number []byte          // scratch
	left   map[string]bool // services with requests that were sent on this socket and are not waited for any more
}

// leftMax bounds lane.left; leftAny stands for all services beyond it.
const (
	leftMax = 1000
	leftAny = ""
)

// idleLane is for how long a lane of one service stays without requests.
const idleLane = 10 * time.Second

func (n *lane) open() (err error) {
	n.left = nil
	n.line, err = n.l.dial(n.l.at)
	n.quiet, n.asked = n.l.now, 0
	n.l.watch()
	return err
}

func (n *lane) endpoint() string { return n.l.c.cfg.Endpoints[n.at] }

// close closes the socket. What was in flight waits again.
func (n *lane) close() error {
	if n.socket == nil {
		return nil
	}
	n.requeue()
	err := n.line.close()
	n.l.watch()
	return err
}

// requeue makes what is in flight wait again, in front of what waits: the
// connection that it was sent on is no more.
func (n *lane) requeue() {
	for n.flight.len > 0 {
		k := n.flight.last.value
		if k.put < n.sent {
			k.sentTo(n.endpoint())
			n.l.count.Resent++
		}
		k.position.leave()
		n.queue.insert(&k.position, n.queue.first)
		k.phase = phaseWaiting
	}
	n.out.Reset()
	n.sent = n.put
}

// add has a call sent. A try begins.
func (n *lane) add(k *call) {
	k.lane, k.phase, k.turn, k.began, n.used = n, phaseWaiting, false, n.l.now, n.l.now
	k.due = n.l.now + n.l.c.cfg.Timeout
	n.queue.push(&k.position)
}

// pump sends what waits, as far as the connection takes it.
func (n *lane) pump() error {
	if n.queue.len == 0 && n.out.Messages() == 0 {
		return nil
	}
	if n.l.at == nowhere {
		return n.l.search()
	}
	if n.socket == nil && n.l.now < n.again {
		return nil
	}
	if n.socket == nil {
		if err := n.open(); err != nil {
			return err
		}
	}
	if n.down {
		return nil // until there is a connection
	}
	for {
		for n.queue.len > 0 && n.out.Size() < batchBytes && (!n.single || n.flight.len == 0) {
			n.load(n.queue.front())
		}
		sent, err := n.socket.SendMany(&n.out)
		n.sent += uint64(sent)
		n.l.count.Sent += uint64(sent)
		switch {
		case errors.Is(err, zsock.ErrAgain):
			return nil // there was none yet
		case err != nil:
			return err
		case n.queue.len == 0 || n.single:
			return nil
		}
	}
}

// load puts a call into the outbox.
func (n *lane) load(k *call) {
	if n.single && !k.turn {
		k.turn, k.began, k.due = true, n.l.now, n.l.now+n.l.c.cfg.Timeout
	}
	if n.flight.len == 0 {
		n.quiet, n.asked = n.l.now, 0
	}
	k.position.leave()
	n.flight.push(&k.position)
	k.phase, k.put = phaseFlying, n.put
	n.put++
	n.out.Frame(frameEmpty, false)
	n.out.Frame(frameClient, false)
	last := k.content.len() - 1
	n.out.Frame(k.content.at(0), false)
	if n.numbers {
		n.number = pirate.AppendNumber(n.number[:0], k.number, false)
		n.out.Frame(n.number, last == 0)
	} else if last == 0 {
		n.out.Frame(frameEmpty, true)
	}
	for i := 1; i <= last; i++ {
		n.out.Frame(k.content.at(i), i == last)
	}
}

// dialAgain is how long after a socket was opened whose connection has ended the next
// one is opened, at the soonest.
const dialAgain = 100 * time.Millisecond

// heed takes note of what became of the connection.
func (n *lane) heed() error {
	for n.socket != nil {
		changed, err := n.line.heed(n.l)
		switch {
		case err != nil:
			return err
		case !changed:
			return nil
		case n.down:
			n.l.astray = n.l.astray || n.l.several()
			n.again = n.opened + dialAgain
			return n.close()
		}
	}
	return nil
}

// read takes in what the broker has sent, up to a bound.
func (n *lane) read() error {
	for range batchesMax {
		err := n.socket.RecvMany(n.l.in, batchMessages, batchBytes)
		if errors.Is(err, zsock.ErrAgain) {
			return nil
		}
		if err != nil {
			return err
		}
		n.heard, n.quiet, n.asked = n.l.now, n.l.now, 0
		size := 0
		var m message
		for frames := n.l.in.Next(); frames != nil; frames = n.l.in.Next() {
			for _, f := range frames {
				size += len(f)
			}
			if parseAtClient(&m, frames); m.command != clientReply {
				n.l.count.Malformed++
				continue
			}
			n.match(&m)
		}
		if size > largeBatch {
			n.l.in.Close()
			n.l.in = zsock.NewInbox()
		}
	}
	return nil
}

// match finds the call that a reply is to.
func (n *lane) match(m *message) {
	if string(m.service) == ServicePing {
		n.l.astray = n.l.astray || refuses(m)
		n.l.talks = true
		return
	}
	if n.numbers {
		if number, failed, ok := pirate.ParseNumber(m.body[0]); ok {
			n.matchNumber(m, number, failed)
			return
		}
	}
	switch {
	case !n.single:
		n.matchService(m)
	case n.flight.len == 1 && n.flight.front().is(m.service):
		n.l.answer(n.flight.front(), m.body)
	default:
		n.l.count.Late++
	}
}

func (n *lane) matchNumber(m *message, number uint64, failed bool) {
	k := n.l.numbers[number]
	switch {
	case k == nil || !k.is(m.service):
		n.l.count.Late++
	case failed:
		reason := "failed"
		if len(m.body) > 1 {
			reason = string(m.body[1])
		}
		n.l.failed(k, reason)
	default:
		n.l.answer(k, m.body[1:])
	}
}

// matchService finds the call that a reply without a number is to, if it can be
// said, and has the service's further ones go one at a time.
func (n *lane) matchService(m *message) {
	if n.l.plain[string(m.service)] != nil {
		n.l.count.Late++ // of the time before that was known
		return
	}
	var found *call
	several := n.left[string(m.service)] || n.left[leftAny]
	for p := n.flight.first; p != nil; p = p.next {
		if k := p.value; k.is(m.service) && k.put < n.sent {
			several = several || found != nil || k.tries > 0
			found = k
		}
	}
	if found == nil {
		n.l.count.Late++
		return
	}
	if several {
		n.l.count.Mismatched++
	} else {
		n.l.answer(found, m.body)
	}
	n.l.part(string(m.service))
}

// leave takes note that a call is not waited for on this connection any more,
// though it was sent.
func (n *lane) leave(k *call) {
	if n.single || k.phase != phaseFlying && k.tries == 0 {
		return
	}
	if n.left == nil {
		n.left = map[string]bool{}
	}
	if len(n.left) < leftMax {
		n.left[k.service()] = true
	} else {
		n.left[leftAny] = true
	}
}
