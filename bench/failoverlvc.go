package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/feed/publisher"
)

// lvc kills proxies of a pair that follow one publisher, with readers that are
// connected to both.
func (p *failoverPair) lvc(ctx context.Context, tl *tally) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil) // when both have ended
	cfg := p.cfg
	pub, err := publisher.New(publisher.Config{Endpoints: wildcards(1), Lossless: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pub.Close()) }()
	plain, err := fixedEndpoints(2)
	if err != nil {
		return err
	}
	p.says = "lvc"
	p.arguments = func(side int) []string {
		return append([]string{"lvc", "--shards", strings.Join(pub.Endpoints(), ","), "--plain", plain[side], "--name", sideNames[side]}, p.flags(side)...)
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.begin(ctx); err != nil {
		return err
	}
	readers, err := startWorker(ctx, Job{Role: "failover-readers", Endpoints: plain, Topics: cfg.Topics, Failover: failoverOrders{
		Readers: cfg.Readers, Libzmq: cfg.Libzmq, Clock: wallClock(),
	}})
	if err != nil {
		return err
	}
	defer func() {
		if readers != nil {
			readers.kill()
		}
	}()
	connected := func(active, passive *memberSaid) bool {
		return active.Readers == cfg.Readers && passive.Readers == cfg.Readers
	}
	if err := errors.Join(pub.WaitReaders(ctx, 2), p.await(ctx, "connected", connected)); err != nil {
		return err
	}
	load, began := startLoad(ctx, cfg, pub, cancel), monotonic()
	err = p.kills(ctx, readers, func(active, passive *memberSaid) bool { return passive.Ready && connected(active, passive) }, tl)
	sent, lag, loadErr := load.end()
	tl.add("sent_per_second", float64(sent)/time.Duration(monotonic()-began).Seconds())
	if err := errors.Join(err, loadErr); err != nil {
		return err
	}
	if err := errors.Join(pub.End(ctx), readers.tell(failoverNews{Sent: sent})); err != nil {
		return err
	}
	r, err := readers.result()
	readers = nil
	if err != nil {
		return fmt.Errorf("readers: %w", err)
	}
	tl.addHist("generator_lag", lag)
	p.count(ctx)
	p.counted.report(tl)
	unseen := time.Duration(p.counted.unseen).Seconds() * cfg.Rate * float64(cfg.Readers)
	tl.lost(&r.Failover, p.counted.sums["dropped_records"]+2*unseen, p.counted.unread)
	return tl.failedOver(&r, sent)
}

// failedOver adds what the readers found.
func (t *tally) failedOver(r *Result, sent uint64) error {
	f := &r.Failover
	t.add("sent_records", float64(sent))
	t.add("delivered_records", float64(f.Records))
	t.add("repeated_records", float64(f.Repeated))
	t.add("wrong_records", float64(f.Wrong+f.Foreign))
	t.add("came_twice_records", float64(f.CameTwice))
	t.add("last_values", float64(f.Values))
	t.add("pair_notices", float64(f.Notices))
	t.add("pieces_ahead_max", float64(f.Pieces))
	t.add("readers_cpu_seconds", r.CPUSeconds)
	late, err := hdrhistogram.Decode(r.Histogram)
	if err == nil {
		t.addHist("late", late)
	}
	return err
}

// lost adds what became of records that were lost: whether and by whom readers or
// operators were told. dropped is what proxies counted for readers with a full queue, and
// what they can have dropped beside, at twice the rate, between being asked and their end.
func (t *tally) lost(f *failoverTally, dropped float64, unread int) {
	rest := float64(f.Missing - min(f.Incomplete+f.AtTakeover, f.Missing))
	queues := min(rest, dropped)
	untold := rest - queues
	t.add("lost_records", float64(f.Missing))
	t.add("lost_tail_records", float64(f.Tail))
	t.add("lost_incomplete_records", float64(min(f.Incomplete, f.Missing)))
	t.add("lost_at_takeover_records", float64(f.AtTakeover))
	t.add("lost_dropped_records", queues)
	t.add("lost_untold_records", untold)
	if f.Missing > 0 {
		t.note(fmt.Sprintf("%s: %d records lost, %d of them at the end; %d were told of as gaps, %.0f were dropped for readers with a full queue, %d are those of readers that were too far behind at a takeover; the first of one reader: %s. At takeovers: %s",
			t.name(), f.Missing, f.Tail, f.Incomplete, queues, f.AtTakeover, f.Holes, cmp.Or(f.Takeovers, "none")))
	}
	if untold > 0 {
		t.fault(fmt.Sprintf("%.0f records were lost, and nobody was told; %d servers did not say what they had counted", untold, unread))
	}
}

// load is records that are published at a rate beside everything else.
type load struct {
	live *live
	stop atomic.Bool
	done chan error
	lag  *hdrhistogram.Histogram // how late the generator was
}

// errEnough ends a load.
var errEnough = errors.New("bench: enough")

// startLoad starts a load. Where it fails it says why to failed.
func startLoad(ctx context.Context, cfg *FailoverConfig, pub sender, failed func(error)) *load {
	l := &load{live: newLive(ctx, pub, cfg.Topics, cfg.Size), done: make(chan error, 1)}
	go func() {
		var err error
		l.lag, err = openLoop(ctx, bursts(cfg.Rate, max(uint64(cfg.Rate/cfg.Tick), 1)), math.MaxUint64, l.emit, l.live.flush)
		if err != nil && !errors.Is(err, errEnough) {
			failed(err)
		}
		l.done <- err
	}()
	return l
}

func (l *load) emit(intended int64) error {
	if l.stop.Load() {
		return errEnough
	}
	return l.live.emit(intended)
}

// end ends it, and returns how many records were sent.
func (l *load) end() (sent uint64, lag *hdrhistogram.Histogram, err error) {
	l.stop.Store(true)
	if err = <-l.done; errors.Is(err, errEnough) {
		err = l.live.flush()
	}
	return uint64(l.live.ordinal), l.lag, err
}
