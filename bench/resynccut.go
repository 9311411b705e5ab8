package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// cutOff cuts a reader off from the publisher while records flow, and measures how
// long it takes from the moment at which it could be reached again until it has
// delivered everything and is with the live stream again; or, of a reader without
// resync, until it is told what it has lost.
func (cfg *ResyncConfig) cutOff(ctx context.Context, dir string, heal bool, tl *tally) (err error) {
	s, err := cfg.newScene(ctx, dir, cfg.Codecs[0], 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	way, err := newForwarder(s.pub.Endpoints()[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, way.close()) }()
	job := Job{Role: "healed", Endpoints: []string{way.endpoint()}, Name: "cut off", Resync: resyncOrders{Topics: cfg.Topics}}
	if heal {
		job.Resync.Servers = s.servers
	}
	reader, err := startWorker(ctx, job)
	if err != nil {
		return err
	}
	defer func() {
		if reader != nil {
			reader.kill()
		}
	}()
	if err := s.stand(3); err != nil {
		return err
	}
	back, err := cfg.cutAndMend(s, way, reader)
	if err != nil {
		return err
	}
	ended := meanwhile(func() error { return s.end(tl) })
	r, err := reader.result()
	reader = nil
	if err := errors.Join(err, <-ended); err != nil {
		return err
	}
	return tl.mended(&r, s.sent, back)
}

// back is when the reader could be reached again, and when it was.
type back struct{ reachable, connected time.Time }

// healMax is for how long records are published for a reader to become whole.
const healMax = 60 * time.Second

// cutAndMend publishes while the reader is there, while it is cut off, and until it
// says that it is through with it.
func (cfg *ResyncConfig) cutAndMend(s *resyncScene, way *forwarder, reader *worker) (b back, err error) {
	if err := errors.Join(s.publish(kindWarm, warmSeconds), s.publish(kindBefore, cfg.Seconds)); err != nil {
		return b, err
	}
	way.cut()
	if err := s.publish(kindWarm, cfg.Cut); err != nil {
		return b, err
	}
	b.reachable = way.mend()
	patience := time.AfterFunc(healMax, func() { _ = reader.cmd.Process.Kill() })
	defer patience.Stop()
	through := meanwhile(reader.hear)
	if err := s.publish(kindAfter, cfg.Seconds); err != nil {
		return b, err
	}
	if err := s.publishUntil(kindWarm, through); err != nil {
		return b, fmt.Errorf("%v after the reader could be reached again: %w", time.Since(b.reachable), err)
	}
	b.connected = way.connected()
	return b, nil
}

// mended adds what a reader that was cut off has found.
func (t *tally) mended(r *Result, sent uint64, b back) error {
	f := &r.Resync
	if r.Records+f.Missing != sent {
		return fmt.Errorf("%d records were delivered to the reader that was cut off and %d are missing, of %d", r.Records, f.Missing, sent)
	}
	t.add("delivered_records", float64(r.Records))
	t.add("missing_records", float64(f.Missing))
	t.add("told_lost_records", float64(f.Told))
	t.add("repeated_records", float64(f.Repeated))
	t.add("wrong_records", float64(f.Wrong))
	t.add("reconnected_after_ns", float64(b.connected.Sub(b.reachable)))
	t.add("gap_seen_after_ns", float64(f.GapSeen-b.reachable.UnixNano()))
	if f.Servers == 0 {
		return nil
	}
	t.add("whole_after_ns", float64(f.Whole-b.reachable.UnixNano()))
	t.add("times_behind", float64(f.Behind))
	t.add("refilled_records", float64(f.Refilled))
	t.add("refill_requests", float64(f.Requests))
	t.add("held_peak_bytes", float64(f.HeldPeak))
	return nil
}
