package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/control/binarystar"
)

func (s *station) startLVC(ctx context.Context) error {
	c := &s.cfg.lvc
	if c.shards == "" {
		return nil
	}
	f, cmd := &lvcFlags{}, &cobra.Command{}
	f.add(cmd)
	f.shards, f.count, f.plain, f.tap, f.tapRate = c.shards, c.count, c.plain, c.tap, c.tapRate
	f.snapshot.snapshot, f.snapshot.clone, f.heal.servers = c.snapshot, c.clone, c.resync
	f.maxTopics, f.perAddr, f.maxBytes, f.queue = c.maxTopics, c.perAddress, sizeText(c.maxBytes), sizeText(c.queueSize)
	f.pair.keep, f.pair.bytes = c.keep, sizeText(c.keepBytes)
	if f.pair.pairFlags = c.pair.flags(); f.pair.on() {
		f.pair.dir = filepath.Join(s.cfg.workDir(s.tapes.root), partLVC+"-"+f.pair.role)
	}
	if c.warm != "" {
		path, err := s.tapes.existing("tape", c.warm)
		if err != nil {
			return err
		}
		f.warm = path
	}
	f.lag = s.shown != nil
	h, err := f.begin(ctx, cmd.Flags(), s.out)
	if err != nil {
		return err
	}
	s.lvc = h
	s.start(partLVC, h.serve, func() error {
		h.close()
		return nil
	})
	s.show(partLVC, h.show, partLVC, partLVC)
	return nil
}

// pairSettings are the settings of a part of serve that is one of a pair.
type pairSettings struct {
	role, bind, peer, bus string
	heartbeat, failback   time.Duration
}

// flags are the settings in the words of the flags.
func (p *pairSettings) flags() pairFlags {
	return pairFlags{role: p.role, bind: p.bind, peer: p.peer, heartbeat: p.heartbeat, failback: p.failback, bus: p.bus}
}

// settings are a part's.
func (p *pairSettings) settings(part, what string) []setting {
	return []setting{
		textSetting(part+".pair", &p.role, `which of a pair of `+what+` this one is: "primary" or "backup"; "": it is alone`),
		textSetting(part+".pair_bind", &p.bind, "endpoint where this one announces itself to the other one, best on a link of their own"),
		textSetting(part+".pair_peer", &p.peer, "endpoint where the other one announces itself"),
		timeSetting(part+".pair_heartbeat", &p.heartbeat, time.Millisecond, "between announcements; one that is silent for two of them is gone; the same on both"),
		timeSetting(part+".pair_failback", &p.failback, 0, "how long a primary must have been well before the backup gives the work back to it; 0s: it does not"),
		textSetting(part+".pair_bus", &p.bus, `endpoint where tapedeck pair asks this one how it stands, and promotes it; "": nowhere`),
	}
}

// check refuses what makes no pair.
func (p *pairSettings) check(part string) error {
	switch {
	case p.role == "" && (p.bind != "" || p.peer != "" || p.bus != "" || p.failback != 0):
		return usagef("%s.pair says which of a pair this one is: primary or backup", part)
	case p.role == "":
		return nil
	case p.role != binarystar.Primary.String() && p.role != binarystar.Backup.String():
		return usagef("%s.pair %q: want primary or backup", part, p.role)
	case p.bind == "" || p.peer == "":
		return usagef("%s.pair needs %s.pair_bind and %s.pair_peer", part, part, part)
	}
	return nil
}

// checkLVC refuses what makes no pair of proxies.
func (c *serveConfig) checkLVC() error {
	l := &c.lvc
	switch err := l.pair.check(partLVC); {
	case err != nil:
		return err
	case l.pair.role == "" && l.keep != 0:
		return usagef("lvc.pair says which of a pair this one is: primary or backup")
	case l.pair.role != "" && l.shards == "":
		return usagef("lvc.pair: lvc.shards says which stream the pair serves")
	case l.keep > 0 && l.keep < 2*l.pair.heartbeat:
		return usagef("lvc.pair_keep %v: a takeover takes as long as two heartbeats, %v", l.keep, 2*l.pair.heartbeat)
	}
	return nil
}
