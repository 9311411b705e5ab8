package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/wire"
)

// refillRate measures the rate at which another process gets what a recorder has
// recorded: while it does nothing else, and while it goes on recording.
func (cfg *ResyncConfig) refillRate(ctx context.Context, dir, codec string, idle, recording *tally) (err error) {
	count := (cfg.Records + fillStep - 1) / fillStep * fillStep
	s, err := cfg.newScene(ctx, dir, codec, count)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.pub.WaitReaders(ctx, 1); err != nil {
		return err
	}
	if err := s.record(count); err != nil {
		return err
	}
	// Without a reader nothing but the refill goes on.
	if err := s.refill(idle, func(done <-chan error) error { return <-done }); err != nil {
		return fmt.Errorf("idle recorder: %w", err)
	}
	bare, err := tcpBaseline(ctx, 256<<10, 300*time.Millisecond)
	if err != nil {
		return err
	}
	idle.add("tcp_bytes_per_second", bare)
	rate := idle.values["bytes_per_second"]
	idle.add("ratio_to_tcp", rate[len(rate)-1]/max(bare, 1))
	if err := s.stand(2); err != nil {
		return err
	}
	if err := errors.Join(s.publish(kindWarm, warmSeconds), s.publish(kindBefore, cfg.Seconds)); err != nil {
		return err
	}
	err = s.refill(recording, func(done <-chan error) error { return s.publishUntil(kindAfter, done) })
	if err != nil {
		return fmt.Errorf("recorder at work: %w", err)
	}
	return s.end(recording)
}

const (
	fillStep  = 20_000       // records after which the recorder says that it has them
	fillAhead = 4 * fillStep // records that are sent before it does
)

// record publishes count records as fast as they are recorded.
func (s *resyncScene) record(count uint64) error {
	recorded := uint64(0)
	wait := func(until uint64) error {
		for recorded < until {
			if err := s.recorder.hear(); err != nil {
				return fmt.Errorf("recorder: %w", err)
			}
			recorded = s.recorder.ready.Records
		}
		return nil
	}
	for s.live.kind = kindWarm; s.sent < count; {
		if s.sent > fillAhead {
			if err := wait(s.sent - fillAhead); err != nil {
				return err
			}
		}
		now := time.Now().UnixNano()
		n := min(pourBatch, count-s.sent)
		for range n {
			if err := s.live.emit(now); err != nil {
				return err
			}
		}
		if err := s.live.flush(); err != nil {
			return err
		}
		s.sent += n
	}
	return wait(count)
}

// refill lets another process ask for the records, again and again, while during
// runs, which gets a channel that tells the end.
func (s *resyncScene) refill(tl *tally, during func(done <-chan error) error) error {
	w, err := startWorker(s.ctx, Job{Role: "refiller", Resync: resyncOrders{
		Servers: s.servers, Topics: s.cfg.Topics, Epoch: s.pub.Epoch(), To: wire.Seq(s.cfg.Records), Seconds: s.cfg.Seconds,
	}})
	if err != nil {
		return err
	}
	before, err := cpuSeconds(s.recorder.cmd.Process.Pid)
	if err := errors.Join(err, w.cue()); err != nil {
		w.kill()
		return err
	}
	var r Result
	done := meanwhile(func() (err error) {
		r, err = w.result()
		return err
	})
	if err := during(done); err != nil {
		w.kill()
		return err
	}
	after, err := cpuSeconds(s.recorder.cmd.Process.Pid)
	if err != nil {
		return err
	}
	if f := &r.Resync; f.Missing+f.Repeated+f.Wrong != 0 || r.Records%s.cfg.Records != 0 {
		return fmt.Errorf("%d records were refilled: %d missing, %d repeated, %d wrong", r.Records, f.Missing, f.Repeated, f.Wrong)
	}
	tl.add("refilled_records", float64(r.Records))
	tl.add("records_per_second", float64(r.Records)/max(r.Seconds, 1e-9))
	tl.add("bytes_per_second", float64(r.Bytes)/max(r.Seconds, 1e-9))
	tl.add("cpu_seconds_client_per_million", r.Resync.CPUSeconds/float64(r.Records)*1e6)
	tl.add("cpu_seconds_recorder_per_million", (after-before)/float64(r.Records)*1e6)
	return nil
}

// refiller asks for the same records until its time is over, and checks each.
func refiller(ctx context.Context, job *Job, say func(ready) error) (res Result, err error) {
	o := &job.Resync
	client, err := resync.NewClient(resync.ClientConfig{Endpoints: o.Servers})
	if err != nil {
		return res, err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	defer func() {
		stop()
		if e := <-ended; !errors.Is(e, context.Canceled) {
			err = errors.Join(err, e)
		}
	}()
	// A question ahead, so that connecting is not measured.
	if _, err := client.Find(ctx, wire.NanosMin, resync.Clocks()[0]); err != nil {
		return res, err
	}
	if err := errors.Join(say(ready{}), job.waitCue()); err != nil {
		return res, err
	}
	check := newContinuity(o.Topics)
	before, _ := usage()
	start := time.Now()
	for passed := 0.0; passed < o.Seconds; passed = time.Since(start).Seconds() {
		check.next = 0
		_, _, err := client.Refill(ctx, resync.Span{Epoch: o.Epoch, To: o.To}, func(b *wire.Batch) error { return check.take(b, 0) })
		if err != nil {
			return res, err
		}
		check.Missing += uint64(o.To - check.next)
	}
	res = Result{Records: check.records, Bytes: check.bytes, Seconds: time.Since(start).Seconds(), Resync: check.resyncTally}
	after, _ := usage()
	res.Resync.CPUSeconds = after - before
	return res, nil
}
