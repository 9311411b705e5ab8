package chp

import (
	"context"
	"errors"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

const (
	turnMessages = 256       // entries that a requester gets before others have their turn
	turnBytes    = 256 << 10 // or so many bytes
	// lookAgain is when a requester whose queue was full is tried again, at the
	// latest. libzmq does not tell when one peer of a ROUTER can be sent to.
	lookAgain = time.Millisecond
)

// request is one requester's, from its ICANHAZ? on.
type request struct {
	identity string
	subtree  []byte
	answer   *Answer // nil: it waits
	out      zsock.Outbox
	began    time.Time // when the answer began
	moved    time.Time // when the requester's queue last took something
}

// snapshots is the loop that owns the ROUTER. A bounded number of requesters are
// sent to in turn, each as fast as its queue takes messages; others wait, and who
// comes when too many wait is refused. A client that asks again while it waits or
// is being sent to gets one answer: the guide's clients would take a second for
// the answer to their next question.
type snapshots struct {
	s       *Server
	by      map[string]*request // by identity: waiting and active
	waiting []*request
	active  []*request
}

// serveSnapshots owns the ROUTER.
func (s *Server) serveSnapshots(ctx context.Context) error {
	l := &snapshots{s: s, by: map[string]*request{}}
	defer l.close()
	in := zsock.NewInbox()
	defer in.Close()
	var ready []int
	for ctx.Err() == nil {
		if err := l.read(in); err != nil {
			return ended(ctx, err)
		}
		l.admit()
		progress, err := l.turn()
		if err != nil {
			return ended(ctx, err)
		}
		if progress {
			continue
		}
		wait := zsock.Forever
		if len(l.active) > 0 {
			wait = lookAgain
		}
		if ready, err = s.snapshotting.Wait(ready[:0], wait); err != nil {
			return ended(ctx, err)
		}
	}
	return nil
}

func (l *snapshots) close() {
	for _, r := range l.active {
		r.answer.Close()
	}
}

// read takes in every request that waits at the socket, so that repeats meet the
// request that they repeat.
func (l *snapshots) read(in *zsock.Inbox) error {
	for range 64 {
		err := l.s.router.RecvMany(in, collectMessages, collectBytes)
		if errors.Is(err, zsock.ErrAgain) {
			return nil
		}
		if err != nil {
			return err
		}
		for frames := in.Next(); frames != nil; frames = in.Next() {
			l.ask(frames)
		}
	}
	return nil
}

func (l *snapshots) ask(frames [][]byte) {
	c := &l.s.counters
	c.requests.Add(1)
	subtree, err := ParseRequest(frames[1:])
	if err != nil {
		c.requestsBad.Add(1)
		return
	}
	if r := l.by[string(frames[0])]; r != nil {
		if r.answer == nil {
			r.subtree = append([]byte(nil), subtree...) // the last word counts
		}
		c.requestsRepeated.Add(1)
		return
	}
	if len(l.waiting) >= l.s.cfg.Waiting {
		c.requestsBusy.Add(1)
		return
	}
	r := &request{identity: string(frames[0]), subtree: append([]byte(nil), subtree...)}
	l.by[r.identity] = r
	l.waiting = append(l.waiting, r)
}

// admit begins the answers that there is room for.
func (l *snapshots) admit() {
	settled := false
	for len(l.waiting) > 0 && len(l.active) < l.s.cfg.Requesters {
		if !settled {
			l.s.settle.wait(l.s.publishing.Wake)
			settled = true
		}
		r := l.waiting[0]
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		answer, err := l.s.answer(r.subtree)
		if err != nil {
			l.s.counters.failed.Add(1)
			delete(l.by, r.identity)
			continue
		}
		r.answer = answer
		r.began = l.s.now()
		r.moved = r.began
		l.active = append(l.active, r)
	}
}

// turn sends a bit to each requester and lets go those who are done. It reports
// whether anything moved.
func (l *snapshots) turn() (progress bool, err error) {
	now := l.s.now()
	kept := l.active[:0]
	for i, r := range l.active {
		moved, over, err := l.send(r, now)
		if err != nil {
			l.active = append(kept, l.active[i:]...)
			return false, err
		}
		progress = progress || moved || over
		if over {
			r.answer.Close()
			delete(l.by, r.identity)
			continue
		}
		kept = append(kept, r)
	}
	clear(l.active[len(kept):])
	l.active = kept
	return progress, nil
}

// send gives a requester its turn. over: nothing more is sent to it.
func (l *snapshots) send(r *request, now time.Time) (moved, over bool, err error) {
	c := &l.s.counters
	for r.out.Messages() < turnMessages && r.out.Size() < turnBytes {
		m, ok := r.answer.message()
		if !ok {
			break
		}
		m.put(&r.out, l.s.cfg.Form, []byte(r.identity))
	}
	sent, err := l.s.router.SendMany(&r.out)
	if sent > 0 {
		r.moved = now
	}
	switch {
	case errors.Is(err, zsock.ErrUnreachable):
		c.gone.Add(1)
		return true, true, nil
	case err != nil && !errors.Is(err, zsock.ErrAgain):
		return false, false, err
	}
	switch {
	case r.out.Messages() == 0 && r.answer.err != nil:
		c.failed.Add(1)
		return true, true, nil
	case r.out.Messages() == 0 && r.answer.ended:
		c.served.Add(1)
		return true, true, nil
	case now.Sub(r.moved) > l.s.cfg.Stall || now.Sub(r.began) > l.s.cfg.Patience:
		// Without a KTHXBAI it knows that it has not got everything.
		c.dropped.Add(1)
		return true, true, nil
	}
	return sent > 0, false, nil
}
