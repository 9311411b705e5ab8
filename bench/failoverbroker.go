package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// broker kills brokers of a pair, with workers that are at both, and clients that give
// commands.
func (p *failoverPair) broker(ctx context.Context, tl *tally) (err error) {
	cfg := p.cfg
	bus, err := fixedEndpoints(2)
	if err != nil {
		return err
	}
	p.says = "broker"
	p.arguments = func(side int) []string {
		args := []string{"serve", "--only", "broker,metrics", "--json", "--bus", bus[side] + "," + bus[1-side], "--tapes", filepath.Join(p.dir, sideNames[side]),
			"--metrics", "127.0.0.1:0", "--set", "broker.pair=" + sideNames[side], "--set", "broker.pair_bind=" + p.links[side], "--set", "broker.pair_peer=" + p.links[1-side]}
		if p.heartbeat != 0 {
			args = append(args, "--set", "broker.pair_heartbeat="+p.heartbeat.String())
		}
		return args
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.begin(ctx); err != nil {
		return err
	}
	var all []*worker
	defer func() {
		for _, w := range all {
			w.kill()
		}
	}()
	workers, err := startWorker(ctx, Job{Role: "bus-workers", Endpoints: bus, Bus: busOrders{Workers: cfg.AtOnce, Work: failoverWork, Commands: true}})
	if err != nil {
		return err
	}
	all = append(all, workers)
	// The passive one knows all workers: so a takeover finds them.
	ready := func(active, passive *memberSaid) bool {
		return active.Workers >= cfg.AtOnce && passive.Workers >= cfg.AtOnce
	}
	if err := p.await(ctx, "known to the workers", ready); err != nil {
		return err
	}
	clients, err := startWorker(ctx, Job{Role: "failover-commanders", Endpoints: bus, Failover: failoverOrders{
		Readers: cfg.Readers, AtOnce: max(cfg.Outstanding/cfg.Readers, 1), Heartbeat: p.heartbeat,
	}})
	if err != nil {
		return err
	}
	all = append(all, clients)
	began := monotonic()
	if err := p.kills(ctx, clients, ready, tl); err != nil {
		return err
	}
	if err := clients.tell(failoverNews{}); err != nil {
		return err
	}
	said, err := clients.result()
	all = all[:1]
	if err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	seconds := float64(monotonic()-began) / 1e9
	if err := workers.cue(); err != nil {
		return err
	}
	did, err := workers.result()
	all = nil
	if err != nil {
		return fmt.Errorf("workers: %w", err)
	}
	p.count(ctx)
	p.counted.report(tl)
	tl.commanded(&said.Failover, &did.Bus, seconds)
	return nil
}

// commanded adds what became of all commands.
func (t *tally) commanded(f *failoverTally, b *busTally, seconds float64) {
	t.add("requests", float64(f.Requests))
	t.add("requests_per_second", float64(f.Requests)/seconds)
	t.add("answered_requests", float64(f.Answered))
	t.add("lost_requests", float64(f.Requests-f.Answered))
	t.add("effects", float64(b.Effects))
	t.add("effects_twice", float64(b.Twice))
	t.add("handled_again", float64(b.Again))
	if f.Why != "" {
		t.note("a request was given up: " + strings.TrimSpace(f.Why))
	}
}
