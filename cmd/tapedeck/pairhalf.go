package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

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
