package subscriber

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// Referred is a tape that batches refer to.
type Referred interface {
	// Bytes returns size bytes at a reference's place, borrowed until Close, or
	// nil where the tape does not have them.
	Bytes(at *wire.Reference, size int) []byte
	// Close lets go of the tape.
	Close() error
}

// OpenTape opens the tape with an identity at the place where a publisher says
// that it lies. It fails where that is not the same tape to this process.
type OpenTape func(id string, at wire.TapePlace) (Referred, error)

// references is a loop's way of taking batches by reference.
//
// Whoever takes references subscribes to everything but copies, see
// wire.ReferenceTopics. A publisher that has not heard so yet sends batches that
// are neither reference nor copy, which such a reader gets as well; one that has
// sends references for as long as anybody wants them. So at no moment does a
// batch go missing.
type references struct {
	tape  Referred // or nil
	id    string   // of the tape, and where the publisher says it is
	place wire.TapePlace
	taken bool // the socket is subscribed to wire.ReferenceTopics, not to everything
	at    wire.Reference
}

// errReference: a batch came by reference, and its bytes are not there.
var errReference = errors.New("a reference to bytes that are not on the tape")

// negotiate decides how this loop takes an epoch's batches.
func (l *loop) negotiate(s *wire.Session) error {
	r := &l.references
	if s.Start != nil && s.ByReference != nil && r.tape != nil && r.taken && r.id == s.Tape && r.place == *s.ByReference {
		return nil // the same publisher goes on with the same tape
	}
	if err := l.closeTape(); err != nil {
		return err
	}
	if open := l.sub.cfg.OpenTape; open != nil && s.ByReference != nil {
		if t, err := open(s.Tape, *s.ByReference); err == nil {
			r.tape, r.id, r.place = t, s.Tape, *s.ByReference
		}
	}
	return l.takeReferences(r.tape != nil)
}

// takeReferences subscribes to references instead of everything, or back. The
// new subscriptions come before the old ones go.
func (l *loop) takeReferences(take bool) error {
	if l.references.taken == take {
		return nil
	}
	l.references.taken = take
	on, off := wire.ReferenceTopics(), []string{""}
	if !take {
		on, off = off, on
	}
	for _, topic := range on {
		if err := l.socket.Subscribe(topic); err != nil {
			return fmt.Errorf("subscriber: shard %d: %w", l.shard, err)
		}
	}
	for _, topic := range off {
		if err := l.socket.Unsubscribe(topic); err != nil {
			return fmt.Errorf("subscriber: shard %d: %w", l.shard, err)
		}
	}
	return nil
}

// closeTape lets go of the tape, when no batch that lies in it is held any more.
func (l *loop) closeTape() error {
	if l.references.tape == nil {
		return nil
	}
	l.settle()
	err := l.references.tape.Close()
	l.references.tape = nil
	return err
}

// resolve makes a batch of a reference. It reports false where there is nothing
// to deliver: another reader's reference, a batch that has been seen, or one
// whose bytes are not there. In the last case the loop goes back to bytes.
func (l *loop) resolve(m *zsock.Message) (bool, error) {
	h, at, err := wire.ViewReference(m.Frame(0), m.Frame(1))
	if err == nil && m.Frames() != 2 {
		err = fmt.Errorf("reference of %d frames, want 2", m.Frames())
	}
	if err != nil {
		l.refuse(err)
		return false, nil
	}
	r := &l.references
	if !l.ours(&h) || r.tape == nil || l.seen(&h) {
		return false, nil
	}
	if l.stream.hasLeft(h.Epoch) {
		l.refuseStale(h.Epoch)
		return false, nil
	}
	r.at = at // a variable would be moved to the heap for the tape
	if l.batch, err = view(r.tape, &h, &r.at); err == nil {
		l.counters.referred.Add(1)
		return true, nil
	}
	if !r.taken {
		return false, nil // the bytes have been asked for
	}
	l.counters.fallbacks.Add(1)
	l.sub.cfg.Warn(l.shard, fmt.Errorf("shard %d (%s), sequence %d: %w; taking bytes from here on",
		l.shard, l.sub.cfg.Endpoints[l.shard], h.FirstSeq, err))
	return false, l.takeReferences(false)
}

// view returns the batch that a reference means, with its checksum checked. A
// file that was cut, or a disk that fails, shows as a fault of the memory that it
// is mapped to: here it is an error like any other.
func view(t Referred, h *wire.Header, ref *wire.Reference) (b wire.Batch, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%w: %v", errReference, fault)
		}
	}()
	bytes := t.Bytes(ref, int(h.PayloadSize)+int(h.OrderSize))
	if bytes == nil {
		return b, errReference
	}
	return h.Resolve(bytes)
}

// seen reports whether a batch that comes twice, as a copy and as a reference,
// has come before.
func (l *loop) seen(h *wire.Header) bool {
	return l.stream.Epoch() == h.Epoch && h.Next() <= l.stream.Next()
}
