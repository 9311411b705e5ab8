package publisher

import (
	"context"
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// SendStored is Send for a batch that lies in a tape as it is: ref says where.
// Readers that take references get that instead of the bytes; the bytes go out
// only where somebody wants them. Config.Session must say where the tape is, or
// nobody asks for references.
func (p *Publisher) SendStored(ctx context.Context, shardNo int, b *wire.Batch, ref *wire.Reference, done interface{ Release() }) error {
	return p.send(ctx, shardNo, b, ref, done)
}

// form is how a batch goes out.
type form int

const (
	asBytes     form = iota // to everybody
	asReference             // nobody wants more
	asBoth                  // bytes marked as a copy, then the reference
)

// flags are those that the bytes, or the reference, go out with.
func (f form) flags() wire.HeaderFlags {
	switch f {
	case asReference:
		return wire.FlagReference
	case asBoth:
		return wire.FlagCopy
	}
	return 0
}

// form decides how a batch goes out, from what has been heard.
func (s *shard) form(flags wire.HeaderFlags, ref *wire.Reference) form {
	switch {
	case ref == nil || flags != 0 || !s.filters.references:
		// Readers that take references get what is none, too: one that has
		// asked for them and was not heard yet misses nothing.
		return asBytes
	case s.filters.wantCopies():
		return asBoth
	}
	return asReference
}

// hearNewcomers takes in what the shard's readers have said, and greets those
// that came, until nobody says anything new. Whoever got a mark before a batch
// that goes out as a reference alone has then been heard: it must have the bytes,
// or would begin its stream with a gap.
func (p *Publisher) hearNewcomers(s *shard) error {
	for s.socket.Readable() {
		if err := p.hear(s); err != nil {
			return err
		}
		if !s.greet {
			continue
		}
		sent, err := p.tryMark(s, wire.FlagHello)
		if err != nil {
			return err
		}
		if s.greet = !sent; s.greet {
			return nil
		}
	}
	return nil
}

// owe makes a reference the next message of the shard, whatever happens to the
// call that wanted it sent: its copy has gone out. h is the copy's header.
func (s *shard) owe(h *wire.Header, ref *wire.Reference) {
	h.Flags = wire.FlagReference
	wire.PutHeader(s.owedHeader, h)
	s.reference = wire.AppendReference(s.reference[:0], ref)
	s.owed = true
}

// tryOwed sends what must go out before anything else: the reference of a batch
// whose copy has gone out, and the hello of an epoch that has begun. It reports
// whether nothing of it is left.
func (p *Publisher) tryOwed(s *shard) (bool, error) {
	if s.owed {
		err := s.socket.TrySend(s.owedHeader, s.reference)
		if errors.Is(err, zsock.ErrAgain) {
			return false, nil
		}
		s.owed = err != nil
		if err != nil {
			return false, fmt.Errorf("publisher: shard %d: %w", s.number, err)
		}
	}
	if s.owesHello {
		sent, err := p.put(s, wire.FlagHello, s.hello)
		s.owesHello = !sent
		return sent, err
	}
	return true, nil
}
