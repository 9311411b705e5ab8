package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"time"
)

// failoverPair is a pair, and what is done to it.
type failoverPair struct {
	cfg       *FailoverConfig
	part      string
	heartbeat time.Duration // 0: the default of the command
	dir       string
	say       func(format string, args ...any)
	moments   *rand.Rand

	arguments func(side int) []string // the command
	says      string                  // what the types of its messages begin with
	links     []string                // where the two announce themselves
	sides     [2]*member              // the primary and the backup; nil: not started
	active    int                     // the side that was active when it was looked at last
	counted   counted
}

// The two of a pair.
var sideNames = [2]string{"primary", "backup"}

// failoverMax is how long anything may take that must come: a bench that hangs tells
// nothing.
const failoverMax = 2 * time.Minute

// begin starts both, and waits until the primary is active.
func (p *failoverPair) begin(ctx context.Context) (err error) {
	if p.links, err = fixedEndpoints(2); err != nil {
		return err
	}
	for side := range p.sides {
		if err := p.start(ctx, side); err != nil {
			return err
		}
	}
	return p.await(ctx, "there", func(_, _ *memberSaid) bool { return true })
}

// start starts one of the two.
func (p *failoverPair) start(ctx context.Context, side int) (err error) {
	if err := os.MkdirAll(filepath.Join(p.dir, sideNames[side]), 0o700); err != nil {
		return err
	}
	program := append(p.cfg.Program[:len(p.cfg.Program):len(p.cfg.Program)], p.arguments(side)...)
	p.sides[side], err = startMember(ctx, sideNames[side], p.says, program)
	return err
}

// flags are those of every command that can be one of a pair.
func (p *failoverPair) flags(side int) []string {
	flags := []string{"--json", "--metrics", "127.0.0.1:0", "--pair", sideNames[side], "--pair-bind", p.links[side], "--pair-peer", p.links[1-side],
		"--pair-dir", filepath.Join(p.dir, sideNames[side])}
	if p.heartbeat != 0 {
		flags = append(flags, "--heartbeat", p.heartbeat.String())
	}
	return flags
}

// lookEvery is how often it is looked whether a pair is ready.
const lookEvery = 5 * time.Millisecond

// await waits until one is active and the other one passive, whichever that is, and both
// are as wanted.
func (p *failoverPair) await(ctx context.Context, what string, wanted func(active, passive *memberSaid) bool) error {
	ctx, cancel := context.WithTimeout(ctx, failoverMax)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		var said [2]memberSaid
		for side, m := range p.sides {
			var err error
			if said[side], err = m.look(); err != nil {
				return err
			}
		}
		for active := range p.sides {
			if said[active].State == stateActive && said[1-active].State == statePassive && wanted(&said[active], &said[1-active]) {
				p.active = active
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("bench: the pair is not %s: %+v: %w", what, said, context.Cause(ctx))
		}
	}
}

// kills kills the active one so many times, each time when the pair is ready again, and
// has the clients say how they fared.
func (p *failoverPair) kills(ctx context.Context, clients *worker, ready func(active, passive *memberSaid) bool, tl *tally) error {
	found := newFailoverFound()
	for found.kills < p.cfg.Kills {
		p.say("%s, kill %d of %d", p.part, found.kills+1, p.cfg.Kills)
		waited := monotonic()
		if err := p.await(ctx, "ready", ready); err != nil {
			return err
		}
		found.ready(monotonic() - waited)
		select {
		case <-time.After(time.Duration(p.moments.Float64() * float64(p.cfg.Pause))):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := p.one(ctx, clients, found); err != nil {
			return fmt.Errorf("kill %d: %w", found.kills+1, err)
		}
	}
	found.add(tl)
	return p.await(ctx, "ready", ready) // for its end, too
}

// one kills the active one, and starts it again when the clients have what they wait
// for.
func (p *failoverPair) one(ctx context.Context, clients *worker, found *failoverFound) error {
	old, next := p.sides[p.active], p.sides[1-p.active]
	asked, before := monotonic(), p.counted.sums["dropped_records"]
	p.counted.add(ctx, old)
	killed, dead := old.kill()
	if p.counted.sums["dropped_records"] > before {
		p.counted.unseen += dead - asked
	}
	patience := time.AfterFunc(failoverMax, func() { _ = clients.cmd.Process.Kill() })
	defer patience.Stop()
	if err := clients.tell(failoverNews{Killed: killed, Dead: dead}); err != nil {
		return err
	}
	if err := clients.hear(); err != nil {
		return errors.Join(fmt.Errorf("bench: what clients have %v after the kill: %w", time.Duration(monotonic()-killed), err),
			fmt.Errorf("the %s: %s", next.name, next.remarks()))
	}
	turnCtx, cancel := context.WithTimeout(ctx, failoverMax)
	defer cancel()
	at, turn, err := next.awaitTurn(turnCtx)
	if err != nil {
		return err
	}
	if at > killed {
		found.kill(dead-killed, at-killed, &turn, &clients.ready.Failover)
	} else {
		found.idle++ // the machine was so busy that the other one had taken over before
	}
	p.active = 1 - p.active
	return p.start(ctx, 1-p.active)
}

// count asks both what they have counted, at the end.
func (p *failoverPair) count(ctx context.Context) (active map[string]float64) {
	p.counted.add(ctx, p.sides[1-p.active])
	return p.counted.add(ctx, p.sides[p.active])
}

// close ends the two, the passive one first: it does not take the other one's end for a
// kill.
func (p *failoverPair) close() error {
	var err error
	for _, side := range [2]int{1 - p.active, p.active} {
		if m := p.sides[side]; m != nil {
			err = errors.Join(err, m.close())
		}
	}
	return err
}

// fixedEndpoints returns tcp endpoints with ports that are free, and that the system
// gives nobody else: a process that is killed comes back to its own. Whoever tries to
// connect to a port of the range that connections get theirs from may meet itself there.
func fixedEndpoints(n int) (endpoints []string, err error) {
	const low = 10_000
	high := 32_768
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(text), &high)
	}
	high = max(high, low+1000)
	for tries := 0; len(endpoints) < n; tries++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", low+rand.IntN(high-low)))
		switch {
		case err == nil:
			defer l.Close() // when all are there, so that none is there twice
			endpoints = append(endpoints, "tcp://"+l.Addr().String())
		case tries > 1000:
			return nil, fmt.Errorf("bench: no free port: %w", err)
		}
	}
	return endpoints, nil
}
