package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// deckHalf is the player and the publisher that stand by, or play.
type deckHalf struct {
	*playing
	follower *replay.Follower
	refused  chan error
	at       []string // where its shards are bound, also once its publisher is closed

	said   map[standingOf]publisher.Standing // how far readers have come, as they said last
	served atomic.Int64                      // wall clock when one of them said that it had come further; 0: none did
}

// standingOf is a reader on a shard.
type standingOf struct {
	reader wire.ReaderID
	shard  int
}

// listen looks whether readers go on with somebody else: what they say of how far they have
// come changes, though this one is silent. It is for who sends nothing.
func (h *deckHalf) listen() error {
	list, err := h.pub.Standings()
	if err != nil {
		return err
	}
	said := make(map[standingOf]publisher.Standing, len(list))
	for _, s := range list {
		at := standingOf{s.Reader, s.Shard}
		said[at] = s
		if was, known := h.said[at]; known && was.Epoch != 0 && was != s {
			h.served.Store(time.Now().UnixNano())
		}
	}
	h.said = said
	return nil
}

// elsewhere reports whether readers were served by somebody else of late.
func (h *deckHalf) elsewhere() bool {
	at := h.served.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < aloneWait
}

// openHalf puts together what stands by, as open does what plays. The flags must be those
// of one of a pair.
func (f *playFlags) openHalf(dirs []string, out *output, squawk func(snail.Squawk), adjust func(*replay.Config)) (*deckHalf, error) {
	p, err := f.open(dirs, out, squawk, adjust)
	if err != nil {
		return nil, err
	}
	ids, err := p.tapes.ids()
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	h := &deckHalf{playing: p, refused: make(chan error, 1), at: p.pub.Endpoints()}
	h.follower = replay.NewFollower(h.player, ids, func(err error) { h.refused <- err })
	return h, nil
}

// follow makes what hears the other one at its endpoints, while it runs.
func (h *deckHalf) follow(endpoints []string, out *output) (*subscriber.Subscriber, error) {
	return subscriber.New(subscriber.Config{
		Endpoints: endpoints, Watch: true, Follow: true,
		Warn: func(_ int, err error) { out.remark("warning: %v", err) },
	}, h.follower)
}

// takeOver makes what stands by go on with the other one's stream, in an epoch of the
// pair, when the player runs; or begin one, where the other one was not heard. back is
// how far to go back for readers that do not say how far they have come.
func (h *deckHalf) takeOver(ctx context.Context, epoch uint64, back time.Duration, live bool) error {
	h.pub.SetPairEpoch(epoch)
	standings, err := h.pub.Standings()
	if err != nil {
		return err
	}
	list := make([]replay.Standing, len(standings))
	for i, s := range standings {
		list[i] = replay.Standing{Shard: s.Shard, Epoch: s.Epoch, Next: s.Next}
	}
	err = h.follower.TakeOver(ctx, list, back, live)
	if errors.Is(err, replay.ErrUnheard) {
		err = h.pub.TakeOver(ctx, wire.SessionStart{}, 0, nil)
	}
	if err != nil {
		return err
	}
	return h.serve()
}

// plays reports whether the other one is heard to play, where its readers hear it: it says
// where it is twice a heartbeat. What says nothing for two heartbeats does not play; where it
// has been silent for one, plays waits for the rest.
func (h *deckHalf) plays(ctx context.Context, heartbeat time.Duration) bool {
	for {
		left := 2*heartbeat - time.Since(h.follower.Following().Alive)
		if left > heartbeat {
			return true
		}
		if left <= 0 {
			return false
		}
		select {
		case <-time.After(left):
		case <-ctx.Done():
			return true // who is told to end does not take over
		}
	}
}

// aloneWait is how long a primary that was just started, and has heard nothing of the other
// one, waits before it begins the stream, and how long it waits once readers have said that
// somebody else serves them: it may have been active before, and the other one may be playing.
const aloneWait = 3 * time.Second

// greetWait is how long a voter's way to its own endpoint may take.
const greetWait = time.Second

// greets connects to an endpoint and sees the beginning of a ZMTP greeting.
func greets(ctx context.Context, endpoint string) error {
	network, address, _ := strings.Cut(strings.Replace(endpoint, "://0.0.0.0:", "://127.0.0.1:", 1), "://")
	if network == "ipc" {
		network = "unix"
	}
	ctx, cancel := context.WithTimeout(ctx, greetWait)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	var signature [10]byte
	if _, err = io.ReadFull(conn, signature[:]); err != nil {
		return fmt.Errorf("no greeting from %s: %w", endpoint, err)
	}
	if signature[0] != 0xff || signature[9] != 0x7f {
		return fmt.Errorf("no greeting of ZMTP from %s: %x", endpoint, signature)
	}
	return nil
}
