package main

import (
	"sync/atomic"

	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/subscriber"
)

// checkLockStep refuses what a reader in lock-step cannot do.
func (f *subFlags) checkLockStep() error {
	switch policy := f.policy.policy; {
	case !f.lockStep:
		return nil
	case f.name == "":
		return withHint(usagef("--lock-step: play waits for subscribers by their names"), "--name NAME, the same as in play --barrier")
	case policy == snail.PolicyConflate.String() || policy == snail.PolicySkip.String():
		return usagef("--lock-step with --policy %s: in lock-step every record is handled, and play waits for it", policy)
	}
	return nil
}

// handledNews tells a receive loop in lock-step that a shard was handled further; it
// is set before anything comes.
type handledNews struct {
	changed atomic.Pointer[func(shard int)]
}

func (n *handledNews) say(shard int) {
	if changed := n.changed.Load(); changed != nil {
		(*changed)(shard)
	}
}

// Handled implements subscriber.LateHandler: what is behind a gap waits until that is
// filled.
func (h *healing) Handled(shard int) (subscriber.Position, bool) {
	at, ok := h.Position(shard)
	return subscriber.Position{Shard: shard, Epoch: at.Epoch, Next: at.To}, ok
}

// OnHandled implements subscriber.LateHandler.
func (h *healing) OnHandled(changed func(shard int)) { h.ledger.news.changed.Store(&changed) }
