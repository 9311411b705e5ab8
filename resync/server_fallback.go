package resync

import (
	"bytes"
	"errors"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// talks are the requests of another protocol that are being answered.
type talks struct {
	desk *desk
	list []*talk
}

// talk is one of them: a goroutine that says what is to be sent, message by
// message, and waits while too much of it waits.
type talk struct {
	id    []byte
	out   chan [][]byte // closed when the fallback has returned
	ended chan struct{} // closed when nothing more is sent
	err   error         // why, once ended is closed
	next  [][]byte      // to be sent
	moved time.Duration
}

const (
	talksMax    = 64 // at once
	talkAhead   = 64 // messages
	talkPerTurn = 64
	talkPatient = 10 * time.Second // with a client that takes nothing
)

var errStopping = errors.New("resync: the server is stopping")

// begin hands a message of another protocol to the fallback.
func (t *talks) begin(id []byte, in *zsock.Parts) {
	d := t.desk
	fallback := d.s.cfg.Fallback
	if fallback == nil || in.Len() < 2 {
		d.count.Foreign++
		return
	}
	if len(t.list) >= talksMax {
		d.count.Declined++
		return
	}
	d.count.Fallbacks++
	k := &talk{id: bytes.Clone(id), out: make(chan [][]byte, talkAhead), ended: make(chan struct{}), moved: d.s.now()}
	frames := make([][]byte, in.Len()-1)
	for i := range frames {
		frames[i] = bytes.Clone(in.Frame(i + 1))
	}
	t.list = append(t.list, k)
	d.workers.Go(func() {
		defer d.s.waiter.Wake()
		defer close(k.out)
		fallback(bytes.Clone(k.id), frames, func(frames [][]byte) error { return k.send(d.s.waiter, frames) })
	})
}

// send is the fallback's way out.
func (k *talk) send(w *zsock.Waiter, frames [][]byte) error {
	message := make([][]byte, len(frames))
	for i, f := range frames {
		message[i] = bytes.Clone(f)
	}
	select {
	case <-k.ended:
		return k.err
	default:
	}
	select {
	case k.out <- message:
		w.Wake()
		return nil
	case <-k.ended:
		return k.err
	}
}

// turn sends what the fallbacks have said, each a part of it, and reports whether
// some is left.
func (t *talks) turn(now time.Duration) (more bool) {
	list := t.list[:0]
	for _, k := range t.list {
		alive, left := t.serve(now, k)
		if alive {
			list = append(list, k)
		}
		more = more || left
	}
	clear(t.list[len(list):])
	t.list = list
	return more
}

func (t *talks) serve(now time.Duration, k *talk) (alive, more bool) {
	for range talkPerTurn {
		if k.next == nil {
			select {
			case m, open := <-k.out:
				if !open {
					return false, false
				}
				k.next, k.moved = m, now
			default:
				return true, false
			}
		}
		err := t.desk.s.front.SendParts(nil, 0, append([][]byte{k.id}, k.next...)...)
		switch {
		case err == nil:
			k.next = nil
		case errors.Is(err, zsock.ErrAgain) && now-k.moved < talkPatient:
			t.desk.hindered = true
			return true, false
		default:
			k.end(err)
			return false, false
		}
	}
	return true, true
}

// end makes every further send fail.
func (k *talk) end(err error) {
	k.err = err
	close(k.ended)
}

func (t *talks) stop() {
	for _, k := range t.list {
		k.end(errStopping)
	}
	t.list = nil
}
