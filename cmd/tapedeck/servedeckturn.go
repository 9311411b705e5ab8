package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/replay"
)

// errStandby: a deck does not take over.
var errStandby = errors.New("what the other one of the pair played was not heard here, and readers were with it: play begins anew")

// perform plays a run to its end. One of a pair stands by until it is its turn.
func (d *deck) perform(ctx context.Context, r *deckRun) error {
	l := d.house.link
	if l == nil {
		_, err := r.player.Run(ctx)
		return err
	}
	turn, err := l.standBy(ctx, d, r)
	if err == nil {
		err = d.prepareToLead(ctx, r, turn)
	}
	if err != nil {
		// Whoever has given the player a command is to hear that nothing comes of it.
		over, cancel := context.WithCancel(ctx)
		cancel()
		_, _ = r.player.Run(over)
		return err
	}
	return l.lead(ctx, d, r, turn)
}

// standBy follows the other one until it is this one's turn.
func (l *decksLink) standBy(ctx context.Context, d *deck, r *deckRun) (turn deckTurn, err error) {
	if turn, _ = l.latest(); turn.active {
		return turn, nil
	}
	ended := make(chan error, 1)
	if len(r.follows) > 0 {
		sub, err := r.half.follow(r.follows, l.out)
		if err != nil {
			return turn, err
		}
		l.out.remark("deck %s: standing by on %v, following %v", d.name, r.endpoints, r.follows)
		following, stop := context.WithCancel(ctx)
		go func() { ended <- sub.Run(following) }()
		defer func() {
			stop()
			<-ended
		}()
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var moved <-chan struct{}
		if turn, moved = l.latest(); turn.active {
			return turn, nil
		}
		if err := r.pub.Tick(ctx); err != nil {
			return turn, err
		}
		if !r.half.follower.Following().Known {
			if err := r.half.listen(); err != nil {
				return turn, err
			}
		}
		select {
		case <-tick.C:
		case <-moved:
		case err := <-r.half.refused:
			return turn, err
		case err := <-ended:
			ended <- nil
			return turn, err
		}
	}
}

// prepareToLead makes the player go on where the other one was.
func (d *deck) prepareToLead(ctx context.Context, r *deckRun, turn deckTurn) error {
	l := d.house.link
	f := r.half.follower.Following()
	switch {
	case r.rests.Load() || f.Ended:
		return replay.ErrStopped
	case !f.Known && len(r.follows) > 0 && r.pub.Wanted():
		return errStandby
	}
	if err := r.half.takeOver(ctx, turn.Epoch, l.back, d.args.Live); err != nil {
		return err
	}
	d.mu.Lock()
	r.stands.Store(false)
	if r.stream == 0 {
		r.stream = uint64(time.Now().UnixNano())
	}
	if r.served != nil {
		r.resync = r.served.server.Endpoints()[0]
	}
	d.mu.Unlock()
	r.hide()
	r.hide = d.house.shown.showAs(r.playing.show, "deck", d.name)
	if f.Known {
		l.out.remark("deck %s: goes on with the other one's stream", d.name)
	}
	l.wake()
	return nil
}

// lead plays until the end, or until it is the other one's turn; then it returns
// errYield. Where this one is called again while it plays, in a later epoch of the pair,
// readers that were with the other one wait for a stream of that epoch, and one is begun
// where the player is.
func (l *decksLink) lead(ctx context.Context, d *deck, r *deckRun, turn deckTurn) error {
	ctx, yield := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		var again sync.WaitGroup
		defer close(done)
		defer again.Wait()
		for epoch := turn.Epoch; ; {
			turn, moved := l.latest()
			switch {
			case !turn.active:
				yield(errYield)
				return
			case turn.Epoch > epoch:
				epoch = turn.Epoch
				r.pub.SetPairEpoch(epoch)
				// It may have to wait, and this goroutine has to hear when to yield.
				again.Go(func() {
					if err := r.player.Again(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, replay.ErrOverruled) {
						l.out.remark("warning: deck %s: readers that were with the other one of the pair wait: %v", d.name, err)
					}
				})
			}
			select {
			case <-moved:
			case <-ctx.Done():
				return
			}
		}
	}()
	_, err := r.player.Run(ctx)
	cause := context.Cause(ctx)
	yield(nil)
	<-done
	if errors.Is(cause, errYield) {
		return errYield
	}
	return err
}

// leavesOpen reports whether a run that has ended so leaves its stream to the other one
// of a pair.
func (d *deck) leavesOpen(err error) bool {
	l := d.house.link
	if l == nil {
		return false
	}
	if errors.Is(err, errYield) || !l.leads() {
		return true
	}
	d.house.mu.Lock()
	stopping := d.house.closed
	d.house.mu.Unlock()
	return stopping && !l.alone()
}

// standing is the run of a deck that could be asked to go on; nil where there is none.
func (d *deck) standing() *deckRun {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.run; r.half != nil && !r.over && !r.rests.Load() {
		return r
	}
	return nil
}

// ready reports whether a run that stands by could go on where the other one is.
func (r *deckRun) ready() bool {
	if r.half == nil || !r.stands.Load() {
		return false
	}
	f := r.half.follower.Following()
	return r.rests.Load() || f.Known && time.Since(f.Heard) < readyWithin
}

// standbyState makes a state that of a deck that stands by: what the other one does.
func (r *deckRun) standbyState(s *control.DeckState) {
	s.Phase = "standby"
	f := r.half.follower.Following()
	if !f.Known {
		return
	}
	d := &f.Deck
	s.Speed, s.Topics, s.Squeeze, s.Squeezed = d.Speed, d.Topics, d.SqueezeNs, d.SqueezedNs
	s.DeckPosition = r.position()
	s.Loop = nil
	if d.Loop != nil {
		s.Loop = &control.DeckInterval{From: int64(d.Loop.From), To: int64(d.Loop.To)}
	}
}

// position is where a run is; of one that stands by, where the other one is.
func (r *deckRun) position() control.DeckPosition {
	if r.half != nil && r.stands.Load() {
		d := r.half.follower.Following().Deck
		return control.DeckPosition{
			PositionTime: int64(d.Position), Ordinal: uint64(d.Ordinal), Records: d.Records, Epoch: uint64(d.Epoch), Pass: d.Pass,
		}
	}
	st := r.player.State()
	return deckPosition(&st)
}
