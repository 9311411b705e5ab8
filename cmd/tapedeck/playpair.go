package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/control/binarystar"
	"github.com/tapedeck/tapedeck/metrics"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/shard"
)

// deckPairFlags are the flags of a player that is one of a pair.
type deckPairFlags struct {
	pairFlags
	follow string
	back   time.Duration
}

func (f *deckPairFlags) add(fl *pflag.FlagSet) {
	f.pairFlags.add(fl)
	fl.StringVar(&f.follow, "pair-follow", "", "endpoint of the other one's shards, as its --bind has it: there a passive one follows what the active one does")
	fl.DurationVar(&f.back, "pair-back", time.Second, "how far to go back, in a takeover, for subscribers that do not say how far they have come")
}

// check refuses what makes no pair of players.
func (f *deckPairFlags) check(play *playFlags) error {
	if err := f.pairFlags.check(); err != nil {
		return err
	}
	switch {
	case !f.on() && f.follow != "":
		return usagef("--pair says which of a pair this one is: primary or backup")
	case !f.on():
		return nil
	case f.follow == "":
		return usagef("--pair needs --pair-follow, the other one's shards")
	case f.back < 0:
		return usagef("--pair-back %v: want a time such as 1s", f.back)
	case len(play.step.barrier) > 0 || play.step.faults != "":
		return usagef("--pair with --barrier or --faults: a pair plays to readers at their own pace, over a good network")
	}
	return nil
}

// deckPair is a player's half of a pair.
type deckPair struct {
	*pairLink
	flags *playFlags
	out   *output

	mu      sync.Mutex
	turn    deckTurn      // the latest
	turned  chan struct{} // something has come to turn
	current atomic.Pointer[deckHalf]
	began   time.Time
	warned  string         // of a voter that does not vote; the voter's own
	legacy  *replay.Legacy // of the half before
}

// deckTurn is what an operator is told when a player becomes active or passive.
type deckTurn struct {
	active bool
	Epoch  uint64 `json:"pair_epoch"`
	Reason string `json:"reason"`
}

var (
	errYield   = errors.New("the other one of the pair plays")
	errOver    = errors.New("the other one of the pair has played to the end")
	errUnasked = errors.New("no subscriber is there")
	errEarly   = errors.New("the other one may be there and not be heard yet")
)

// runPair plays a tape as one of a pair: it stands by and plays in turn, until the tape is
// through, whoever of the two played its end.
func (f *playFlags) runPair(cmd *cobra.Command, dirs []string) (err error) {
	out := newOutput(cmd)
	shown, err := f.metrics.listen(out)
	if err != nil {
		return err
	}
	defer shown.close()
	p := &deckPair{flags: f, out: out, began: time.Now(), turned: make(chan struct{}, 1)}
	cfg := f.pair.config(out)
	cfg.Vote, cfg.OnActive, cfg.OnPassive = p.vote, p.onTurn(true), p.onTurn(false)
	if p.pairLink, err = f.pair.open("deck", cfg); err != nil {
		return err
	}
	hide := shown.show(func(sc *metrics.Scope) { sc.Pair("deck", p.Pair) })
	defer hide()
	ctx, cancel := context.WithCancelCause(cmd.Context())
	// The link goes on until the play has ended: who leaves hears whether the other one does.
	linked, unlink := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	defer func() {
		cancel(nil)
		unlink()
		<-ended
		err = errors.Join(err, p.Close())
	}()
	go func() {
		defer close(ended)
		if err := p.Run(linked); err != nil {
			cancel(err)
		}
	}()
	for {
		err := p.half(ctx, dirs, shown)
		if errors.Is(err, errYield) {
			continue
		}
		if errors.Is(err, errOver) {
			out.remark("%v", err)
			return nil
		}
		return err
	}
}

func (p *deckPair) onTurn(active bool) func(uint64, string) {
	return func(epoch uint64, reason string) {
		p.mu.Lock()
		p.turn = deckTurn{active: active, Epoch: epoch, Reason: reason}
		p.mu.Unlock()
		select {
		case p.turned <- struct{}{}:
		default:
		}
	}
}

func (p *deckPair) latest() deckTurn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.turn
}

// half stands by until it is this one's turn, and plays until it is the other one's.
func (p *deckPair) half(ctx context.Context, dirs []string, shown *metricsService) (err error) {
	f := p.flags
	readers := newAudience(p.out, f.readers)
	h, err := f.openHalf(dirs, p.out, readers.squawk, nil)
	if err != nil {
		return err
	}
	defer func() {
		p.current.Store(nil)
		err = errors.Join(err, h.close())
	}()
	if f.at == nil {
		f.at = h.at
		f.pair.warnOfOnePath(p.out, f.at)
	}
	h.follower.Inherit(p.legacy)
	p.current.Store(h)
	stop := p.watch(ctx)
	defer stop()
	hide := shown.showAs(h.show)
	turn, err := p.standBy(ctx, h)
	hide()
	if err != nil {
		return err
	}
	err = p.lead(ctx, h, turn, readers, shown)
	if errors.Is(err, errYield) {
		p.legacy = h.follower.Leave(h.pub.Lineage())
	}
	return err
}

// standBy follows the other one until it is this one's turn, which it returns.
func (p *deckPair) standBy(ctx context.Context, h *deckHalf) (deckTurn, error) {
	none := deckTurn{}
	endpoints, err := shard.Endpoints(p.flags.pair.follow, p.flags.stream.shards)
	if err != nil {
		return none, usagef("--pair-follow: %v", err)
	}
	sub, err := h.follow(endpoints, p.out)
	if err != nil {
		return none, err
	}
	p.out.remark("standing by on %v, following %v", h.pub.Endpoints(), endpoints)
	following, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- sub.Run(following) }()
	defer func() {
		stop()
		<-ended
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for told := (deckTurn{}); ; {
		switch turn := p.latest(); {
		case turn.active:
			return turn, nil
		case turn != told:
			told = turn
			_ = p.out.message("play.passive", turn, "")
			p.out.remark("passive: %s; the epoch is %d", turn.Reason, turn.Epoch)
		}
		if err := h.pub.Tick(ctx); err != nil {
			return none, context.Cause(ctx)
		}
		switch f := h.follower.Following(); {
		case f.Ended && !h.pub.Wanted():
			return none, errOver
		case !f.Known:
			if err := h.listen(); err != nil {
				return none, err
			}
		}
		select {
		case <-tick.C:
		case <-p.turned:
		case err := <-h.refused:
			return none, err
		case err := <-ended:
			ended <- nil
			return none, err
		}
	}
}

// lead goes on with the other one's stream, or begins one. The turn is that which was seen
// to be this one's: the latest may be the other one's again, whose epoch no stream of this
// one may be in.
func (p *deckPair) lead(ctx context.Context, h *deckHalf, turn deckTurn, readers *audience, shown *metricsService) error {
	if err := h.takeOver(ctx, turn.Epoch, p.flags.pair.back, p.flags.live); err != nil {
		return err
	}
	p.saidActive(turn)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer func() {
		cancel(nil)
		<-done
	}()
	go func() {
		defer close(done)
		p.heed(ctx, cancel, h, turn.Epoch)
	}()
	err := p.flags.perform(ctx, p.out, h.playing, readers, shown, func() bool {
		// Who yields has no say in the end, though it may have been called again since.
		return !errors.Is(context.Cause(ctx), errYield) && p.alone()
	})
	if cause := context.Cause(ctx); errors.Is(cause, errYield) {
		return errYield
	}
	return err
}

// heed ends the play when it is the other one's turn, until ctx ends. Where this one is
// called again while it plays, in a later epoch of the pair than it began in, the other one
// was active meanwhile, and readers that were with it wait for a stream of that epoch: so
// one is begun, where the player is.
func (p *deckPair) heed(ctx context.Context, yield context.CancelCauseFunc, h *deckHalf, epoch uint64) {
	var again sync.WaitGroup
	defer again.Wait()
	for {
		select {
		case <-p.turned:
		case <-ctx.Done():
			return
		}
		turn := p.latest()
		switch {
		case !turn.active:
			yield(errYield)
		case turn.Epoch > epoch:
			epoch = turn.Epoch
			p.saidActive(turn)
			h.pub.SetPairEpoch(epoch)
			// It may have to wait, and this goroutine has to hear when to yield.
			again.Go(func() { p.again(ctx, h) })
		}
	}
}

func (p *deckPair) again(ctx context.Context, h *deckHalf) {
	err := h.player.Again(ctx)
	if err != nil && ctx.Err() == nil && !errors.Is(err, replay.ErrOverruled) {
		p.out.remark("warning: readers that were with the other one of the pair wait: %v", err)
	}
}

func (p *deckPair) saidActive(turn deckTurn) {
	_ = p.out.message("play.active", turn, "")
	p.out.remark("active in epoch %d: %s", turn.Epoch, turn.Reason)
}

// alone reports whether there is no other one that would go on. It gives that a heartbeat's
// time to say that it leaves, too: whoever stops one may be stopping both.
func (p *deckPair) alone() bool {
	for began := time.Now(); ; {
		st := p.Status()
		if st.State == binarystar.Active.String() && (st.Silent || st.Peer != binarystar.Passive.String()) {
			return true
		}
		if time.Since(began) > p.flags.pair.heartbeat {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	p.out.remark("leaving the stream to the other one")
	return false
}
