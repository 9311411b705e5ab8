package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// HandleNotice implements subscriber.NoticeHandler: what the player at the other end
// says of itself is shown. People are told of changes alone.
func (h *subHandler) HandleNotice(_ int, r wire.Record) {
	if string(r.Topic()) != wire.DeckTopic {
		return
	}
	d, err := wire.ParseDeck(r.Body())
	if err != nil {
		h.out.remark("warning: %v", err)
		return
	}
	_ = h.out.message("sub.deck", &d, "")
	h.mu.Lock()
	changed := d.Version != h.deck || d.Command != ""
	h.deck = d.Version
	h.mu.Unlock()
	if changed {
		h.out.remark("%s", deckNoticeText(&d))
	}
}

// HandleNotice implements subscriber.NoticeHandler.
func (w *subWorker) HandleNotice(shard int, r wire.Record) {
	if w.tells {
		w.subHandler.HandleNotice(shard, r)
	}
}

// deckNoticeText is a deck notice in one line.
func deckNoticeText(d *wire.DeckNotice) string {
	var b strings.Builder
	b.WriteString("deck")
	if d.Session != "" {
		fmt.Fprintf(&b, " %q", d.Session)
	}
	if d.Command != "" {
		fmt.Fprintf(&b, ", %s", d.Command)
	}
	fmt.Fprintf(&b, ": %s at %s", d.Phase, d.Speed)
	if d.Position != 0 {
		fmt.Fprintf(&b, ", tape at %v", d.Position)
	}
	if d.Loop != nil {
		end := "the end"
		if d.Loop.To != 0 {
			end = d.Loop.To.String()
		}
		fmt.Fprintf(&b, ", loop from %v to %s, round %d", d.Loop.From, end, d.Round)
	}
	if n := len(d.Topics); n > 0 {
		fmt.Fprintf(&b, ", only %s", strings.Join(d.Topics[:min(n, 5)], " "))
		if more := n + d.TopicsLeftOut - min(n, 5); more > 0 {
			fmt.Fprintf(&b, " and %d more", more)
		}
	}
	if d.SqueezeNs > 0 {
		fmt.Fprintf(&b, ", idle stretches of %v at most", time.Duration(d.SqueezeNs))
	}
	return b.String()
}
