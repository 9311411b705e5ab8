package binarystar

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// link announces this server and hears the other one, until ctx ends. It owns the
// sockets. Whatever callbacks do meanwhile, heartbeats go out.
func (p *Pair) link(ctx context.Context) error {
	defer context.AfterFunc(ctx, p.waiter.Wake)()
	defer p.leave()
	var beat time.Duration
	for ctx.Err() == nil {
		if now := p.now(); p.announce.Swap(false) || now >= beat {
			if err := p.say(); err != nil {
				return err
			}
			beat = now + p.cfg.Heartbeat
		}
		if _, err := p.waiter.Wait(nil, max(beat-p.now(), 0)); err != nil {
			return fmt.Errorf("binarystar: %w", err)
		}
		if err := p.listen(); err != nil {
			return err
		}
	}
	return nil
}

// leave tells the other one that this server goes. Where that is not heard, silence says it.
func (p *Pair) leave() {
	if p.cfg.Compatible {
		return
	}
	note := []byte(farewell)
	p.note.Store(&note)
	_ = p.say()
}

func (p *Pair) say() error {
	var frame []byte
	p.locked(func(m *Machine) {
		s, e := m.State()
		frame = AppendAnnouncement(nil, s, e, p.cfg.Compatible)
	})
	if note := p.note.Load(); note != nil && !p.cfg.Compatible {
		frame = AppendNote(frame, *note)
	}
	err := p.pub.SendFrames(frame)
	if errors.Is(err, zsock.ErrAgain) {
		return nil // PUB drops rather than wait, and the next one says the same
	}
	if err != nil {
		return fmt.Errorf("binarystar: announce: %w", err)
	}
	return nil
}

// listen takes in all announcements that have come.
func (p *Pair) listen() error {
	for {
		frames, err := p.sub.RecvFrames()
		if errors.Is(err, zsock.ErrAgain) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("binarystar: hear the peer: %w", err)
		}
		if len(frames) != 1 {
			p.refuse(fmt.Errorf("binarystar: an announcement of %d frames", len(frames)))
			continue
		}
		s, epoch, err := ParseAnnouncement(frames[0])
		if err != nil {
			p.refuse(err)
			continue
		}
		p.heard(p.now(), s, epoch, Note(frames[0]))
	}
}

// refuse counts what is no announcement, and tells of the first.
func (p *Pair) refuse(err error) {
	first := false
	p.locked(func(*Machine) { first = p.bad == 0; p.bad++ })
	if first {
		p.cfg.Warn(fmt.Errorf("at %s: %w", p.cfg.Peer, err))
	}
}

// heard hands an announcement on, with the time when it came.
func (p *Pair) heard(at time.Duration, s State, epoch uint64, note []byte) {
	select {
	case p.events <- func() {
		var (
			out   Outcome
			taker func(note []byte)
		)
		p.locked(func(m *Machine) {
			switch {
			case s == Passive:
				taker = p.cfg.OnPassiveNote
			case s == Active && !m.fences(s, epoch):
				taker = p.cfg.OnNote
			}
			before := m.counters.SameRole
			leaves := string(note) == farewell && !m.fences(s, epoch)
			if leaves {
				taker = nil
			}
			if out = m.Peer(at, s, epoch); before == 0 && m.counters.SameRole == 1 {
				p.cfg.Warn(fmt.Errorf("binarystar: both servers are the %v: one must be the other", p.cfg.Role))
			}
			if leaves {
				m.Left(at)
				select {
				case p.hush <- struct{}{}:
				default:
				}
			}
		})
		p.act(out)
		if len(note) > 0 && taker != nil {
			taker(note)
		}
	}:
	default:
		p.locked(func(*Machine) { p.missed++ })
	}
}
