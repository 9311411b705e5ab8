package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/control/binarystar"
)

// vote tries the way that subscribers take, where there are any. Who hears the other one
// play, where its subscribers do, does not take over, though the pair's link is silent; nor
// does who has not heard what the other one plays.
func (p *deckPair) vote(ctx context.Context) error {
	err := p.mayLead(ctx)
	if err == nil || errors.Is(err, errUnasked) || errors.Is(err, errEarly) || ctx.Err() != nil {
		return err
	}
	if why := err.Error(); why != p.warned {
		p.warned = why
		p.out.remark("warning: the other one is silent, and this one does not take over: %v", err)
	}
	return err
}

func (p *deckPair) mayLead(ctx context.Context) error {
	h := p.current.Load()
	if h == nil || !h.pub.Wanted() {
		return errUnasked
	}
	at := p.flags.pair.follow
	switch {
	case h.plays(ctx, p.flags.pair.heartbeat):
		return fmt.Errorf("it plays, as is heard at %s", at)
	case h.follower.Following().Known:
	case p.Status().State == binarystar.Passive.String():
		return fmt.Errorf("what it plays was not heard at %s", at)
	case h.elsewhere():
		return errors.New("readers go on with a stream that was not heard here")
	case time.Since(p.began) < aloneWait:
		return errEarly
	}
	return greets(ctx, h.at[0])
}
