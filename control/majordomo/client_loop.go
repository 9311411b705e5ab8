package majordomo

import (
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/zsock"
)

// clientLoop is what belongs to the goroutine of a client.
type clientLoop struct {
	c       *Client
	clock   func() time.Duration
	now     time.Duration // of this turn
	ticked  time.Duration
	at      int           // endpoint that lanes are opened to, or nowhere
	last    int           // the one before
	lost    bool          // the last one was found to be gone
	astray  bool          // the one that lanes are at is not the right one any more
	talks   bool          // it says that it is there when it is asked
	scouts  []*scout      // that look for the right one
	sought  time.Duration // since when
	passive bool          // one of them was refused
	asking  zsock.Outbox  // scratch
	main    *lane
	plain   map[string]*lane // of services whose replies carry no number
	lanes   []*lane          // all, main first
	ready   []int            // scratch
	readers []watched        // scratch
	watched []watched
	in      *zsock.Inbox
	open    list[call]
	paused  list[call]
	numbers map[uint64]*call
	freed   int // calls that ended in this turn
	count   ClientCounters
	taken   []*call // scratch
	given   []given // scratch
}

// watched is what a socket of the waiter is: of a lane, or of a scout.
type watched struct {
	lane    *lane
	scout   *scout
	monitor bool
}

func (l *clientLoop) init(c *Client) {
	l.c, l.plain, l.numbers = c, map[string]*lane{}, map[uint64]*call{}
	if l.several() {
		l.at = nowhere
	}
	l.main = &lane{l: l, numbers: true}
	l.lanes = []*lane{l.main}
	for _, s := range c.cfg.Plain {
		l.newLane(s, false)
	}
}

// newLane makes a lane for a service whose replies carry no number.
func (l *clientLoop) newLane(service string, numbers bool) {
	if l.plain[service] == nil {
		n := &lane{l: l, single: true, numbers: numbers, service: service}
		l.plain[service] = n
		l.lanes = append(l.lanes, n)
	}
}

// run is the goroutine of a client: it has calls answered until the client is
// closed, or a socket cannot be used at all.
func (c *Client) run() {
	defer close(c.ended)
	l := &c.loop
	l.clock, l.in = c.zctx.Clock(), zsock.NewInbox()
	defer l.in.Close()
	var err error
	for err == nil {
		err = l.turn()
	}
	if errors.Is(err, ErrClosed) {
		err = nil
	} else {
		err = fmt.Errorf("majordomo: client: %w", err)
	}
	for _, n := range l.lanes {
		_ = n.close() // it has nothing left to send that anybody waits for
	}
	_ = l.recall(nil)
	c.mu.Lock()
	c.broken = err
	c.mu.Unlock()
	l.take()
	for l.open.len > 0 {
		if k := l.open.front(); err != nil {
			l.end(k, nil, k.unanswered(err))
		} else {
			l.end(k, nil, ErrClosed)
		}
	}
	l.publish()
}

// step is how often the calls are looked at for what time brings.
func (l *clientLoop) step() time.Duration {
	return min(max(min(l.c.cfg.Timeout/16, l.c.cfg.Backoff), time.Millisecond), 100*time.Millisecond)
}

// turn waits for something to do and does it.
func (l *clientLoop) turn() error {
	wait := zsock.Forever
	if l.open.len > 0 || l.anyPlain() {
		wait = max(min(l.ticked+l.step(), l.scoutsDue())-l.clock(), 0)
	}
	ready, err := l.c.waiter.Wait(l.ready[:0], wait)
	if err != nil {
		return err
	}
	l.ready, l.now, l.readers = ready, l.clock(), l.readers[:0]
	for _, i := range ready {
		l.readers = append(l.readers, l.watched[i]) // by now: lanes may open and close below
	}
	if closed := l.take(); closed {
		return ErrClosed
	}
	if err := l.attend(); err != nil {
		return err
	}
	if l.now-l.ticked >= l.step() {
		l.ticked = l.now
		if err := l.tick(); err != nil {
			return err
		}
	}
	if err := l.roam(); err != nil {
		return err
	}
	for _, n := range l.lanes {
		if err := n.pump(); err != nil {
			return err
		}
	}
	l.publish()
	return nil
}

// anyPlain reports whether a lane of one service is open, to be closed some time.
func (l *clientLoop) anyPlain() bool {
	for _, n := range l.lanes[1:] {
		if n.socket != nil {
			return true
		}
	}
	return false
}

// attend takes in what has come.
func (l *clientLoop) attend() error {
	for _, w := range l.readers {
		var err error
		switch {
		case w.scout != nil:
			err = w.scout.attend(w.monitor)
		case w.lane.socket == nil:
		case w.monitor:
			err = w.lane.heed()
		default:
			err = w.lane.read()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// take takes in the requests that were submitted, and those that were given up.
func (l *clientLoop) take() (closed bool) {
	c := l.c
	c.mu.Lock()
	l.taken, c.incoming = c.incoming, l.taken[:0]
	l.given, c.given = c.given, l.given[:0]
	closed = c.closed
	c.mu.Unlock()
	for _, k := range l.taken {
		k.back = pirate.Backoff{First: c.cfg.Backoff, Most: c.cfg.BackoffMax, Random: c.zctx.Random}
		l.open.push(&k.all)
		l.numbers[k.number] = k
		l.laneOf(k).add(k)
	}
	for _, g := range l.given {
		if k := l.numbers[g.number]; k != nil && k == g.call {
			l.abandon(k, g.cause)
		}
	}
	clear(l.taken)
	clear(l.given)
	return closed
}

func (l *clientLoop) laneOf(k *call) *lane {
	if len(l.plain) > 0 {
		if n := l.plain[k.service()]; n != nil {
			return n
		}
	}
	return l.main
}

// tick does what time brings.
func (l *clientLoop) tick() error {
	for p := l.open.first; p != nil; {
		k := p.value
		p = p.next // k may go
		if l.now < k.due {
			continue
		}
		switch {
		case k.phase == phasePaused:
			k.position.leave()
			l.laneOf(k).add(k)
		case k.lane.single && k.phase == phaseWaiting && k.lane.flight.len > 0:
			// It waits for its turn, which is no try.
		default:
			if err := l.timeout(k); err != nil {
				return err
			}
		}
	}
	l.askSilent()
	for _, n := range l.lanes[1:] {
		if n.socket != nil && n.queue.len == 0 && n.flight.len == 0 && l.now-n.used >= idleLane {
			if err := n.close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// timeout ends a try that was not answered. Where the broker has said nothing all
// the while another one is asked, on another connection.
func (l *clientLoop) timeout(k *call) error {
	n := k.lane
	l.count.Unanswered++
	n.leave(k)
	silent := n.heard < k.began && n.opened <= k.began
	if silent && n.socket != nil && n.at == l.at && l.several() {
		l.astray = true
	}
	if l.passive {
		l.retry(k, string(ReasonPassive))
	} else {
		l.retry(k, "timeout")
	}
	if silent || n.single {
		return n.close()
	}
	return nil
}

// failed takes note that a broker has failed the request.
func (l *clientLoop) failed(k *call, reason string) {
	l.count.Failed++
	if l.several() && elsewhere(reason) {
		l.note(k)
		l.astray = true // and what is in flight goes again, to another one
		return
	}
	if reason == string(ReasonTooLarge) || reason == string(ReasonNoRight) { // it would not become smaller, nor allowed
		l.note(k)
		k.ended(reason)
		l.end(k, nil, k.unanswered(nil))
		return
	}
	l.retry(k, reason)
}

// retry ends a try and has another one made, or gives up.
func (l *clientLoop) retry(k *call, reason string) {
	l.note(k)
	k.ended(reason)
	if k.tries >= l.c.cfg.Tries {
		l.end(k, nil, k.unanswered(nil))
		return
	}
	k.position.leave()
	l.paused.push(&k.position)
	k.phase, k.due = phasePaused, l.now+k.back.Next()
}

// note takes note of where a call was sent.
func (l *clientLoop) note(k *call) {
	if k.phase == phaseFlying && k.put < k.lane.sent {
		k.sentTo(k.lane.endpoint())
	}
}

// abandon ends a call that nobody waits for.
func (l *clientLoop) abandon(k *call, cause error) {
	l.note(k)
	k.lane.leave(k)
	single := k.lane.single && k.phase == phaseFlying
	n := k.lane
	l.end(k, nil, k.unanswered(cause))
	if single {
		_ = n.close() // its answer is to meet nobody
	}
}

// answer ends a call with its reply.
func (l *clientLoop) answer(k *call, reply [][]byte) {
	l.count.Answered++
	l.end(k, reply, nil)
}

// end tells whoever asked, and lets the call go.
func (l *clientLoop) end(k *call, reply [][]byte, err error) {
	if err != nil {
		l.count.GivenUp++
	}
	if k.lane != nil {
		k.lane.used = l.now
	}
	delete(l.numbers, k.number)
	k.all.leave()
	k.position.leave()
	l.freed++
	if k.unwatch != nil {
		k.unwatch()
	}
	if done := k.done; done != nil {
		l.c.recycle(k)
		done(reply, err)
		return
	}
	k.answered <- answer{cloneFrames(reply), err} // and k is the caller's
}

// cloneFrames copies frames in two allocations.
func cloneFrames(frames [][]byte) [][]byte {
	if len(frames) == 0 {
		return nil
	}
	n := 0
	for _, f := range frames {
		n += len(f)
	}
	data, copied := make([]byte, 0, n), make([][]byte, len(frames))
	for i, f := range frames {
		data = append(data, f...)
		copied[i] = data[len(data)-len(f) : len(data) : len(data)]
	}
	return copied
}

// part has the calls of a service go one at a time from now on, on a connection of
// their own. Those in flight go again.
func (l *clientLoop) part(service string) {
	l.newLane(service, true)
	n := l.plain[service]
	var again []*call
	for _, from := range []*list[call]{&l.main.flight, &l.main.queue} {
		for p := from.first; p != nil; p = p.next {
			if p.value.is([]byte(service)) {
				again = append(again, p.value)
			}
		}
	}
	for _, k := range again {
		l.note(k)
		due := k.due
		k.position.leave()
		n.add(k)
		k.due = due
	}
}

// watch has the waiter watch the lanes that are open.
func (l *clientLoop) watch() {
	l.watched = l.watched[:0]
	var sockets []*zsock.Socket
	for _, n := range l.lanes {
		if n.socket != nil {
			l.watched = append(l.watched, watched{lane: n, monitor: true}, watched{lane: n})
			sockets = append(sockets, n.monitor.Socket(), n.socket)
		}
	}
	for _, s := range l.scouts {
		l.watched = append(l.watched, watched{scout: s, monitor: true}, watched{scout: s})
		sockets = append(sockets, s.monitor.Socket(), s.socket)
	}
	l.c.waiter.Watch(sockets...)
}

// publish lets others see the counters, and those in who wait for room.
func (l *clientLoop) publish() {
	c := l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	requests := c.counters.Requests
	c.counters = l.count
	c.counters.Requests = requests
	c.held -= l.freed
	if l.freed > 0 && c.room != nil {
		close(c.room)
		c.room = nil
	}
	l.freed = 0
}
