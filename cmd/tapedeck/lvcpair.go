package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/control/binarystar"
	"github.com/tapedeck/tapedeck/lvc"
)

// lvcPairFlags are the flags of a proxy that is one of a pair.
type lvcPairFlags struct {
	pairFlags
	keep  time.Duration
	bytes string
}

func (f *lvcPairFlags) add(fl *pflag.FlagSet) {
	f.pairFlags.add(fl)
	fl.DurationVar(&f.keep, "pair-keep", 0, "how far behind a reader may be that is waited for, and loses nothing at a takeover; further where most are slow (default: 4 heartbeats and 500ms)")
	fl.StringVar(&f.bytes, "pair-bytes", "128MiB", "memory for what a passive one keeps to send again when it takes over")
}

// keepFor is how far back a passive proxy goes: over the other one's silence before
// it counts, the vote, and what the other one had not sent yet.
func (f *lvcPairFlags) keepFor() time.Duration {
	if f.keep > 0 {
		return f.keep
	}
	return 4*f.heartbeat + 500*time.Millisecond
}

func (f *lvcPairFlags) check() error {
	if err := f.pairFlags.check(); err != nil {
		return err
	}
	switch {
	case !f.on() && f.keep != 0:
		return usagef("--pair says which of a pair this one is: primary or backup")
	case f.keep < 0:
		return usagef("--pair-keep %v: want a time such as 1s", f.keep)
	case f.keep > 0 && f.keep < 2*f.heartbeat:
		return usagef("--pair-keep %v: a takeover takes as long as two heartbeats, %v", f.keep, 2*f.heartbeat)
	}
	return nil
}

// lvcPair is a proxy's half of a pair: it makes the proxy active and passive. A nil
// one is no pair, and always active.
type lvcPair struct {
	*pairLink
	handler *lvcHandler
	warned  sync.Once // of a voter that cannot reach its own proxy
	noted   sync.Once // that the other one says what this one does not understand
	ready   bool      // what the proxy keeps reaches back for long enough; of run alone
	keep    time.Duration
	beat    time.Duration
}

// shardsTold is of how many shards it fits into a note where readers are.
const shardsTold = (binarystar.NoteMax - 64) / len("18446744073709551615.18446744073709551615,")

// standby is what a passive proxy keeps of a stream of so many shards; nil without
// --pair.
func (f *lvcPairFlags) standby(shards int) (*lvc.Standby, error) {
	if err := f.check(); err != nil || !f.on() {
		return nil, err
	}
	s := &lvc.Standby{Keep: f.keepFor(), Untold: shards > shardsTold}
	var err error
	if s.Bytes, err = parseBytes(f.bytes); err != nil || s.Bytes < 1 {
		return nil, usagef("--pair-bytes %s: want a size such as 128MiB", f.bytes)
	}
	return s, nil
}

// open opens the link to the other one, for a proxy that is open; nil without --pair.
func (f *lvcPairFlags) open(h *lvcHandler) (*lvcPair, error) {
	if !f.on() {
		return nil, nil
	}
	p := &lvcPair{handler: h, keep: f.keepFor(), beat: f.heartbeat}
	cfg := f.config(h.out)
	cfg.Vote = p.vote
	cfg.OnActive, cfg.OnPassive, cfg.OnNote = p.onActive, p.onPassive, p.onNote
	h.snapshots.silent.Store(true)
	var err error
	if p.pairLink, err = f.pairFlags.open("lvc", cfg); err != nil {
		return nil, err
	}
	h.snapshots.values.pair = p
	f.warnOfOnePath(h.out, p.Endpoints())
	return p, nil
}

// Endpoints are where the proxy's clients come.
func (p *lvcPair) Endpoints() []string { return p.handler.Proxy.Endpoints() }

func (p *lvcPair) endpoint() string {
	if p == nil {
		return ""
	}
	return p.Endpoint()
}

func (p *lvcPair) busEndpoint() string {
	if p == nil {
		return ""
	}
	return p.bus.endpoint()
}

// vote tries a client's way. That it fails while there are no clients is as it should be.
func (p *lvcPair) vote(ctx context.Context) error {
	err := p.handler.TryClientsWay(ctx)
	if err != nil && !errors.Is(err, lvc.ErrNoReaders) && ctx.Err() == nil {
		p.warned.Do(func() {
			p.handler.out.remark("warning: the other one is silent, and this one does not take over: %v", err)
		})
	}
	return err
}

func (p *lvcPair) onActive(epoch uint64, reason string) {
	h := p.handler
	h.snapshots.silent.Store(false)
	kept := h.Activate(epoch, reason)
	h.say(func() {
		_ = h.out.message("lvc.active", lvcTurn{epoch, reason, kept}, "")
		h.out.remark("active in epoch %d: %s; %s of the last %v sent again", epoch, reason,
			count(uint64(kept.Messages), "message"), kept.Reach.Round(time.Millisecond))
		if kept.Missing > 0 {
			h.out.remark("warning: %s before that had to go for want of room (--pair-bytes), and not all readers are known to have them", count(kept.Missing, "message"))
		}
		if kept.Behind > 0 {
			h.out.remark("warning: %s further behind than that (--pair-keep), or had a full queue: they have lost records, and get last values", readersWere(kept.Behind))
		}
	})
}

func readersWere(n int) string {
	if n == 1 {
		return "1 reader was"
	}
	return fmt.Sprintf("%d readers were", n)
}

func (p *lvcPair) onPassive(epoch uint64, reason string) {
	h := p.handler
	h.snapshots.silent.Store(true)
	h.Deactivate(epoch, reason)
	h.say(func() {
		_ = h.out.message("lvc.passive", lvcTurn{Epoch: epoch, Reason: reason}, "")
		h.out.remark("passive: %s; the epoch is %d", reason, epoch)
	})
}

// onNote: the active one says up to where all readers have the stream.
func (p *lvcPair) onNote(note []byte) {
	have, behind, err := lvc.ParseHave(note)
	if err != nil {
		p.noted.Do(func() { p.handler.out.remark("warning: from the other one: %v", err) })
		return
	}
	p.handler.Confirmed(have, behind)
}

// confirm tells the other one, a few times a heartbeat, up to where all readers have
// the stream: it has not to send that again.
func (p *lvcPair) confirm(ctx context.Context) error {
	tick := time.NewTicker(p.beat / confirmsABeat)
	defer tick.Stop()
	said := false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		have, behind := p.handler.Confirm()
		if have == nil && !said {
			continue
		}
		said = have != nil
		var note []byte
		if said && len(have) <= shardsTold { // else what is kept is bounded by time
			note = lvc.AppendHave(nil, have, behind)
		}
		if err := p.SetNote(note); err != nil {
			return err
		}
	}
}

// confirmsABeat is how many times a heartbeat it is said up to where readers are.
const confirmsABeat = 4

// lvcTurn is what an operator is told when a proxy becomes active or passive.
type lvcTurn struct {
	Epoch  uint64        `json:"pair_epoch"`
	Reason string        `json:"reason"`
	Kept   lvc.RingState `json:"kept"`
}

// accept asks whether a request may be served, and takes it for a client's vote.
func (p *lvcPair) accept() error {
	if p == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if refused := p.Accept(ctx); refused != "" {
		return errors.New(string(refused))
	}
	return nil
}

// run keeps the link until ctx ends, and says every second how the pair fares.
func (p *lvcPair) run(ctx context.Context) error {
	if p == nil {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() {
		if err := p.confirm(ctx); err != nil {
			p.handler.out.remark("warning: %v", err)
		}
	})
	wg.Go(func() {
		tick := time.NewTicker(min(time.Second, p.keep/4))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.show()
			case <-ctx.Done():
				return
			}
		}
	})
	if err := p.Run(ctx); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// show says how the pair fares, and when a passive one has become ready.
func (p *lvcPair) show() {
	h, st := p.handler, p.status()
	if st.Ready && !p.ready {
		h.say(func() { h.out.remark("ready to take over: all of the last %v is kept", p.keep) })
	}
	p.ready = st.Ready
	h.say(func() { _ = h.out.message("lvc.pair", st, "") })
}

// lvcPairStatus is how a pair fares, with what a passive proxy keeps.
type lvcPairStatus struct {
	binarystar.Status
	Readers int           `json:"readers"`
	Kept    lvc.RingState `json:"kept"`
	Ready   bool          `json:"ready"` // a passive one keeps what a takeover needs
}

func (p *lvcPair) status() *lvcPairStatus {
	if p == nil {
		return nil
	}
	s := &lvcPairStatus{Status: p.Status(), Readers: p.handler.Stats().Readers}
	var passive bool
	s.Kept, passive = p.handler.Passive()
	s.Ready = passive && s.State == binarystar.Passive.String() && s.Kept.Reach >= p.keep
	return s
}

func (p *lvcPair) close() error {
	if p == nil {
		return nil
	}
	return p.Close()
}
