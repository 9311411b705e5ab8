package replay

import (
	"context"
	"sync"

	"github.com/tapedeck/tapedeck/tape"
)

// blocks hands out the blocks of a tape that a range wants, in tape order.
type blocks interface {
	// next returns the next block, retained, or nil after the last one.
	next(ctx context.Context) (*tape.Block, error)
	// close lets go of what was read and not taken.
	close()
}

// newBlocks begins at block first. It reads ahead where blocks must be decoded, with so many goroutines.
// unchecked leaves the checksums of plain blocks to whoever gets them.
func newBlocks(ctx context.Context, t *tape.Tape, first int, wanted func(*tape.BlockInfo) bool, decoders int, unchecked bool) blocks {
	if t.Codec() == tape.CodecPlain {
		return &inPlace{tape: t, n: first, wanted: wanted, unchecked: unchecked}
	}
	return newAhead(ctx, t, first, wanted, decoders, unchecked)
}

// inPlace hands out the mapped blocks of a plain tape: there is nothing to do
// ahead.
type inPlace struct {
	tape      *tape.Tape
	wanted    func(*tape.BlockInfo) bool
	unchecked bool
	n         int
	info      tape.BlockInfo // a variable would be moved to the heap for wanted
}

func (p *inPlace) next(ctx context.Context) (*tape.Block, error) {
	for ; p.n < p.tape.Blocks(); p.n++ {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		p.info = p.tape.Block(p.n)
		if p.wanted(&p.info) {
			p.n++
			return p.tape.ReadBlock(p.info.Number, p.unchecked)
		}
	}
	return nil, nil
}

func (*inPlace) close() {}

// ahead reads blocks before they are wanted, so that decoding them overlaps with
// sending.
type ahead struct {
	queue  chan *future // in order; its capacity bounds how far ahead it is
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// future is a block that is being read.
type future struct {
	done  chan struct{}
	block *tape.Block // retained
	err   error
}

// aheadMax is how many blocks wait, at most, to be sent.
const aheadMax = 4

// newAhead starts reading.
func newAhead(ctx context.Context, t *tape.Tape, first int, wanted func(*tape.BlockInfo) bool, decoders int, unchecked bool) *ahead {
	ctx, cancel := context.WithCancel(ctx)
	a := &ahead{queue: make(chan *future, aheadMax), cancel: cancel}
	work := make(chan func())
	for range decoders {
		a.wg.Go(func() {
			for f := range work {
				f()
			}
		})
	}
	a.wg.Go(func() {
		defer close(a.queue)
		defer close(work)
		for n := first; n < t.Blocks(); n++ {
			info := t.Block(n)
			if !wanted(&info) {
				continue
			}
			f := &future{done: make(chan struct{})}
			select {
			case a.queue <- f:
			case <-ctx.Done():
				return
			}
			work <- func() {
				defer close(f.done)
				f.block, f.err = t.ReadBlock(n, unchecked)
			}
		}
	})
	return a
}

func (a *ahead) next(ctx context.Context) (*tape.Block, error) {
	select {
	case f, ok := <-a.queue:
		if !ok {
			return nil, ctx.Err()
		}
		<-f.done
		return f.block, f.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (a *ahead) close() {
	a.cancel()
	for f := range a.queue {
		<-f.done
		if f.block != nil {
			f.block.Release()
		}
	}
	a.wg.Wait()
}
