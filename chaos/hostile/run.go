package hostile

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
)

// Config is what is done to whom.
type Config struct {
	Ports []Port
	// Frames to send in all, to each port about as many; those over HTTP get a
	// hundredth of that.
	Frames uint64
	// Seed from which everything that is sent follows.
	Seed uint64
	// Peers at once; default 8.
	Peers int
}

// httpShare is how many frames a port of ZMTP gets for one request of HTTP, which
// costs whoever answers it as much as many frames.
const httpShare = 100

// Run attacks the ports until all frames are sent or ctx ends, and returns what was
// done to each. A port that takes no connections any more ends its part early: Refused
// says so.
func Run(ctx context.Context, cfg Config) []Tally {
	if cfg.Peers == 0 {
		cfg.Peers = 8
	}
	shares := 0
	for _, p := range cfg.Ports {
		shares += p.shares()
	}
	targets := make([]*target, len(cfg.Ports))
	for i := range cfg.Ports {
		p := &cfg.Ports[i]
		targets[i] = &target{port: p, seed: cfg.Seed ^ uint64(i)<<48, wanted: cfg.Frames * uint64(p.shares()) / uint64(max(shares, 1))}
		targets[i].tally.Port = p.Name
	}
	var wg sync.WaitGroup
	for i := range cfg.Peers {
		wg.Go(func() {
			for round := i; ctx.Err() == nil; round++ {
				if !slices.ContainsFunc(targets, (*target).open) {
					return
				}
				targets[round%len(targets)].attack()
			}
		})
	}
	wg.Wait()
	tallies := make([]Tally, len(targets))
	for i, t := range targets {
		tallies[i] = t.tally
	}
	return tallies
}

func (p *Port) shares() int {
	if p.Socket == "" {
		return 1
	}
	return httpShare
}

// refusedMax is how many connections in a row may be refused before a port is left.
const refusedMax = 100

// A port gets connectionsMin sessions at least, but none of less than framesMin frames.
const (
	connectionsMin = 32
	framesMin      = 64
)

// target is a port and how far it is.
type target struct {
	port   *Port
	seed   uint64
	wanted uint64

	connections atomic.Uint64

	mu      sync.Mutex // over what follows
	tally   Tally
	refused int // in a row
}

func (t *target) open() bool { return t.left() > 0 }

func (t *target) left() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tally.Frames >= t.wanted || t.refused >= refusedMax {
		return 0
	}
	return t.wanted - t.tally.Frames
}

// attack makes one connection, where some are to be made.
func (t *target) attack() {
	left := t.left()
	if left == 0 {
		return
	}
	var tally Tally
	attack(rand.New(rand.NewPCG(t.seed, t.connections.Add(1))), t.port, &tally, min(left, max(t.wanted/connectionsMin, framesMin)))
	t.mu.Lock()
	defer t.mu.Unlock()
	if tally.Refused > 0 {
		t.refused++
	} else {
		t.refused = 0
	}
	t.tally.add(tally)
}

func (t *Tally) add(u Tally) {
	t.Frames += u.Frames
	t.Connections += u.Connections
	t.Refused += u.Refused
	t.Cut += u.Cut
	t.Bytes += u.Bytes
	for i := range u.Moves {
		t.Moves[i] += u.Moves[i]
	}
}
