package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// deck kills players of a pair that have the same tape, with readers that are connected
// to both.
func (p *failoverPair) deck(ctx context.Context, tl *tally) (err error) {
	cfg := p.cfg
	tape, err := cfg.numberedTape(ctx, p.dir, uint64(cfg.Rate*p.deckSeconds()))
	if err != nil {
		return err
	}
	shards, err := fixedEndpoints(2)
	if err != nil {
		return err
	}
	p.says = "play"
	p.arguments = func(side int) []string {
		return append([]string{"play", tape, "--bind", shards[side], "--pair-follow", shards[1-side], "--speed", "1x",
			"--wait", strconv.Itoa(cfg.Readers)}, p.flags(side)...)
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.begin(ctx); err != nil {
		return err
	}
	readers, err := startWorker(ctx, Job{Role: "failover-subscribers", Endpoints: shards, Topics: cfg.Topics, Failover: failoverOrders{Readers: cfg.Readers}})
	if err != nil {
		return err
	}
	defer func() {
		if readers != nil {
			readers.kill()
		}
	}()
	ready := func(active, passive *memberSaid) bool {
		return passive.Ready && active.Readers >= cfg.Readers && passive.Readers >= cfg.Readers
	}
	if err := p.kills(ctx, readers, ready, tl); err != nil {
		return err
	}
	sent := p.count(ctx)[metricPosition] // more will follow: all have to come that far
	if err := readers.tell(failoverNews{Sent: uint64(sent)}); err != nil {
		return err
	}
	r, err := readers.result()
	readers = nil
	if err != nil {
		return fmt.Errorf("readers: %w", err)
	}
	p.counted.report(tl)
	tl.lost(&r.Failover, 0, p.counted.unread)
	tl.played(&r)
	return nil
}

// deckSeconds is how long the tape plays: longer than all kills take.
func (p *failoverPair) deckSeconds() float64 {
	each := p.cfg.Pause + 30*p.heartbeat + 3*time.Second
	if p.heartbeat == 0 {
		each += 10 * time.Second
	}
	return (time.Minute + time.Duration(p.cfg.Kills)*each).Seconds()
}

// played adds what the readers of a pair of players found. What was sent is what the
// one has that came furthest; what is missing lies before that, or before where the player
// was when it was all over.
func (t *tally) played(r *Result) {
	f := &r.Failover
	t.add("sent_records", float64(f.Reached))
	t.add("delivered_records", float64(f.Records))
	t.add("repeated_records", float64(f.Repeated))
	t.add("wrong_records", float64(f.Wrong))
	t.add("came_twice_records", float64(f.CameTwice))
	t.add("epochs", float64(r.Epochs))
	t.add("readers_cpu_seconds", r.CPUSeconds)
}
