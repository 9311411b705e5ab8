package lvc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/internal/zmtp"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// PairTopic is the topic of notices about which of a pair of proxies is active.
const PairTopic = wire.OperatorPrefix + "pair"

// PairNotice is the body of a notice on PairTopic. It is the first thing that an
// active proxy sends, and the last of one that becomes passive.
type PairNotice struct {
	State  string `json:"state"` // active or passive
	Epoch  uint64 `json:"pair_epoch"`
	Reason string `json:"reason"`
	// Of an active one: what it sends again, from before it was active, and how far
	// that goes back, in time and by shard: a reader that lacks something before these
	// positions, in their epochs, does not get it from this one.
	Again     int        `json:"again,omitempty"`
	ReachNS   int64      `json:"reach_ns,omitempty"`
	Positions []Position `json:"positions,omitempty"`
	// Missing are messages before these positions that not all readers are known to have.
	Missing uint64 `json:"missing,omitempty"`
	// Behind are readers of the other one that lack more than what is sent again: they
	// were too far behind. They get last values.
	Behind int `json:"behind,omitempty"`
}

// Standby makes a proxy one of a pair: it begins passive.
type Standby struct {
	// Keep is how far behind a reader may be that an active proxy waits for, and further
	// where half of the readers lag, see Confirm.
	// Of what all others do not have yet a passive one keeps everything. Untold, it is how
	// long live messages are kept: longer than it takes from the other one's end until this
	// one is active. Default 5 s.
	Keep time.Duration
	// Untold: Confirmed is never called, as whoever is active cannot say what readers have.
	Untold bool
	// Bytes bounds what is kept. As much more may wait for each reader. Default
	// 128 MiB.
	Bytes int64
}

// ring returns an empty ring that begins where the shards are.
func (s *Standby) ring(now time.Time, from []Position) *ring {
	g := newRing(s.Keep, s.Bytes, now, from)
	g.told = !s.Untold
	return g
}

func (s *Standby) fill() (err error) {
	if s.Keep < 0 || s.Bytes < 0 {
		err = errors.New("lvc: a bound of what a passive proxy keeps is negative")
	}
	if s.Keep == 0 {
		s.Keep = ringKeepDefault
	}
	if s.Bytes == 0 {
		s.Bytes = ringBytesDefault
	}
	return err
}

// Activate makes a passive proxy active. Every reader gets the live messages that were
// kept and that it wants; then, where it has subscribed to anything, the last values,
// as one answer; then what comes. It returns what was kept.
func (p *Proxy) Activate(epoch uint64, reason string) RingState {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	g := p.hub.ring
	if g == nil {
		return RingState{}
	}
	now := p.world.Now()
	g.trim(now)
	kept := g.state(now)
	p.hub.ring = nil
	p.hub.confirms.restart(p.hub.readers)
	p.stats.Activations++
	p.stats.SentAgain += uint64(kept.Messages)
	p.stats.RingShort += g.short
	p.stats.RingHad += g.had
	p.stats.RingMissing += g.missing
	p.stats.LeftBehind += uint64(g.behind)
	if kept.Reach < p.cfg.Standby.Keep {
		p.stats.RingYoung++
	}
	p.noticeLocked(PairTopic, PairNotice{
		State: "active", Epoch: epoch, Reason: reason, Again: kept.Messages, ReachNS: int64(kept.Reach),
		Positions: g.begin(p.positionsLocked()), Missing: kept.Missing, Behind: kept.Behind,
	})
	g.each(func(topic []byte, h *wire.Plain, body []byte) {
		p.hub.sendLocked(topic, h, body, p.hub.filters.find(topic))
	})
	p.hub.flushLocked()
	for r := range p.hub.readers {
		if r.conn != nil {
			r.asked = now
			p.recover(r)
		}
	}
	return kept
}

// Deactivate makes an active proxy passive. From then on nothing goes into any
// reader's queue; what is in it, which readers may get from the other one, too, goes
// out.
func (p *Proxy) Deactivate(epoch uint64, reason string) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if p.hub.ring != nil || p.cfg.Standby == nil {
		return
	}
	p.noticeLocked(PairTopic, PairNotice{State: "passive", Epoch: epoch, Reason: reason})
	p.hub.ring = p.cfg.Standby.ring(p.world.Now(), p.positionsLocked())
}

// Passive reports whether the proxy is one of a pair, and not the active one; and what
// it keeps.
func (p *Proxy) Passive() (RingState, bool) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if p.hub.ring == nil {
		return RingState{}, false
	}
	return p.hub.ring.state(p.world.Now()), true
}

// ErrNoReaders: nobody is connected who would want the proxy to be active.
var ErrNoReaders = errors.New("lvc: nobody is connected")

// votePrefix begins the subscription of a proxy's own voter.
const votePrefix = signalPrefix + "vote:"

// voteWait is how long a voter's way to the proxy may take.
const voteWait = time.Second

// TryClientsWay does what a client does: it connects to the proxy's first plain
// endpoint, greets, subscribes, and sees that the subscription has come. It fails
// with ErrNoReaders where no reader is connected: nobody has lost anything then. Where
// there is a lock, whose keys it does not have, it sees the greeting of the listener.
func (p *Proxy) TryClientsWay(ctx context.Context) error {
	endpoint := ""
	for _, e := range p.endpoints {
		if zmtp.Serves(e) {
			endpoint = strings.Replace(e, "://0.0.0.0:", "://127.0.0.1:", 1)
			break
		}
	}
	if endpoint == "" {
		return fmt.Errorf("lvc: no endpoint that a client can ask at: %v", p.endpoints)
	}
	p.hub.mu.Lock()
	readers := len(p.hub.readers) - len(p.outlets)
	p.hub.mu.Unlock()
	if readers == 0 {
		return ErrNoReaders
	}
	ctx, cancel := context.WithTimeout(ctx, voteWait)
	defer cancel()
	if p.cfg.Lock != nil {
		return greeted(ctx, endpoint)
	}
	return p.subscribes(ctx, endpoint)
}

// greeted connects and sees the beginning of a ZMTP greeting.
func greeted(ctx context.Context, endpoint string) error {
	network, address, _ := strings.Cut(endpoint, "://")
	if network == "ipc" {
		network = "unix"
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return fmt.Errorf("lvc: vote: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	var signature [10]byte
	if _, err = io.ReadFull(conn, signature[:]); err != nil {
		return fmt.Errorf("lvc: vote: no greeting: %w", err)
	}
	if signature[0] != 0xff || signature[9] != 0x7f {
		return fmt.Errorf("lvc: vote: no greeting of ZMTP from %s: %x", endpoint, signature)
	}
	return nil
}

// subscribes subscribes to a word that nobody else says, and waits until the proxy
// has heard it.
func (p *Proxy) subscribes(ctx context.Context, endpoint string) (err error) {
	heard := make(chan struct{})
	p.hub.mu.Lock()
	p.votes++
	word := votePrefix + strconv.FormatUint(p.votes, 36)
	p.voter, p.voted = word, heard
	p.hub.mu.Unlock()
	zctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, zctx.Close()) }()
	s, err := zctx.NewSocket(zsock.SUB, zsock.SocketConfig{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := errors.Join(s.Subscribe(word), s.Connect(endpoint)); err != nil {
		return fmt.Errorf("lvc: vote: %w", err)
	}
	select {
	case <-heard:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("lvc: vote: a subscription does not come through %s: %w", endpoint, ctx.Err())
	}
}

// heardVoteLocked takes note of the voter's word, and reports whether it was one.
func (p *Proxy) heardVoteLocked(word string) bool {
	if !strings.HasPrefix(word, votePrefix) {
		return false
	}
	if p.voted != nil && word == p.voter {
		close(p.voted)
		p.voted = nil
	}
	return true
}
