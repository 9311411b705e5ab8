package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/wire"
)

// resyncScene is a publisher of this process, a recorder that serves refills, and a
// reader to whom nothing is done.
type resyncScene struct {
	ctx      context.Context
	cfg      *ResyncConfig
	pub      *publisher.Publisher
	live     *live
	recorder *worker
	servers  []string // where it serves refills
	other    *worker

	sent   uint64 // records
	before uint64 // ... before the other reader came
	lag    *hdrhistogram.Histogram
}

// newScene starts publisher and recorder. The recorder says of the first count
// records how many it has, in steps of fillStep.
func (cfg *ResyncConfig) newScene(ctx context.Context, dir, codec string, count uint64) (s *resyncScene, err error) {
	s = &resyncScene{ctx: ctx, cfg: cfg, lag: newHistogram()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.pub, err = publisher.New(publisher.Config{Endpoints: wildcards(1)}); err != nil {
		return s, err
	}
	s.live = newLive(ctx, s.pub, cfg.Topics, cfg.Size)
	s.recorder, err = startWorker(ctx, Job{
		Role: "refill-recorder", Endpoints: s.pub.Endpoints(), Name: "recorder", Progress: fillStep, Count: count,
		Resync: resyncOrders{Tape: filepath.Join(dir, "recorded.tape"), Codec: codec, Rate: cfg.Rate, Size: cfg.Size, Budget: cfg.Budget},
	})
	if err == nil {
		s.servers = s.recorder.ready.Endpoints
	}
	return s, err
}

// stand starts the other reader and waits until n readers receive, it among them.
func (s *resyncScene) stand(n int) (err error) {
	if s.other, err = startWorker(s.ctx, Job{Role: "phased", Endpoints: s.pub.Endpoints(), Name: "other"}); err != nil {
		return err
	}
	s.before = s.sent
	return s.pub.WaitReaders(s.ctx, n)
}

// publish sends records of a kind on the schedule, for a time.
func (s *resyncScene) publish(kind wire.Kind, seconds float64) error {
	s.live.kind = kind
	count := uint64(s.cfg.Rate * seconds)
	s.sent += count
	late, err := openLoop(s.ctx, bursts(s.cfg.Rate, uint64(s.cfg.Rate/s.cfg.Tick)), count, s.live.emit, s.live.flush)
	if kind != kindWarm {
		s.lag.Merge(late)
	}
	return err
}

// publishUntil publishes until what does something else at the same time has ended,
// and returns how.
func (s *resyncScene) publishUntil(kind wire.Kind, done <-chan error) error {
	for {
		select {
		case err := <-done:
			return err
		default:
		}
		if err := s.publish(kind, 0.1); err != nil {
			return err
		}
	}
}

// meanwhile runs f beside the publisher.
func meanwhile(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// end ends the stream and adds to the tally what recorder and other reader found.
func (s *resyncScene) end(tl *tally) error {
	if err := s.pub.End(s.ctx); err != nil {
		return err
	}
	other, err := s.other.result()
	s.other = nil
	if err != nil {
		return fmt.Errorf("other reader: %w", err)
	}
	if want := s.sent - s.before; other.Records+other.Lost != want {
		return fmt.Errorf("%d records arrived at a reader that was sent %d and lost %d", other.Records, want, other.Lost)
	}
	if err := s.recorder.cue(); err != nil {
		return err
	}
	rec, err := s.recorder.result()
	s.recorder = nil
	if err != nil {
		return fmt.Errorf("recorder: %w", err)
	}
	if rec.Records+rec.Lost != s.sent {
		return fmt.Errorf("%d records were recorded of %d, %d lost", rec.Records, s.sent, rec.Lost)
	}
	tl.add("recorder_lost", float64(rec.Lost))
	tl.add("recorder_rss_bytes", float64(rec.RSSBytes))
	tl.add("other_lost", float64(other.Lost))
	tl.addHist("generator_lag", s.lag)
	return tl.moved("before", "after", other.Phases)
}

// moved adds the histograms of two phases, and how the second compares with the
// first.
func (t *tally) moved(before, after string, phases [][]byte) error {
	hists := newPhases().hists
	for i, h := range hists {
		if err := mergeEncoded(h, phases[i]); err != nil {
			return err
		}
	}
	t.addHist(before, hists[0])
	t.addHist(after, hists[1])
	for _, p := range percentiles[:4] {
		t.add(after+"_to_"+before+"_"+p.name, float64(hists[1].ValueAtQuantile(p.q))/float64(max(hists[0].ValueAtQuantile(p.q), 1)))
	}
	return nil
}

// close ends what is left of a scene.
func (s *resyncScene) close() error {
	for _, w := range []*worker{s.recorder, s.other} {
		if w != nil {
			w.kill()
		}
	}
	if s.pub == nil {
		return nil
	}
	return s.pub.Close()
}
