package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/wire"
)

// SnailConfig says what Snail measures. The zero value of a field means its
// default.
type SnailConfig struct {
	Readers int     // default 20
	Rate    float64 // records a second; default 100,000
	Tick    float64 // bursts a second that the rate is sent in; default 1000
	Size    int     // of a body, bytes; default 100
	Topics  int     // default 1000
	Seconds float64 // that each half of a run takes; default 3
}

// Snail measures what one reader that stops reading does to the others: their
// latency before and after, what they lose, and how long it takes until the
// publisher has named it. The same with nobody stopped says how much the figures
// move by themselves.
func Snail(ctx context.Context, env Env, cfg SnailConfig) (*Report, error) {
	def(&cfg.Readers, 20)
	def(&cfg.Rate, 100_000)
	def(&cfg.Tick, 1000)
	def(&cfg.Size, 100)
	def(&cfg.Topics, 1000)
	def(&cfg.Seconds, 3)
	def(&env.Runs, 3)
	if cfg.Readers < 2 || cfg.Size < 8 || cfg.Tick > cfg.Rate {
		return nil, fmt.Errorf("bench: %d readers, bodies of %d bytes, %v bursts of %v records a second: want 2 readers, 8 bytes and a record a burst, or more",
			cfg.Readers, cfg.Size, cfg.Tick, cfg.Rate)
	}
	rep := &Report{Mode: "snail", Created: time.Now().UTC(), Machine: thisMachine(env.Version), Config: map[string]any{
		"readers": cfg.Readers, "rate": cfg.Rate, "bursts_per_second": cfg.Tick, "body_bytes": cfg.Size, "topics": cfg.Topics,
		"seconds": cfg.Seconds, "runs": env.Runs,
	}}
	names := []string{"nobody", "one reader"}
	tallies := []*tally{newTally(Label{"stopped", names[0]}), newTally(Label{"stopped", names[1]})}
	for run := range env.Runs {
		for stopped, tl := range tallies {
			env.say("%s stopped, run %d of %d", names[stopped], run+1, env.Runs)
			if err := snailRun(ctx, &cfg, stopped == 1, tl); err != nil {
				return rep, fmt.Errorf("%s stopped: %w", names[stopped], err)
			}
		}
	}
	for _, tl := range tallies {
		rep.Cases = append(rep.Cases, tl.done())
	}
	return rep, nil
}

// naming notes when the publisher first called a reader slow.
type naming struct {
	mu    sync.Mutex
	first map[string]time.Time
}

func (n *naming) squawk(s snail.Squawk) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.first[s.Name]; !known && s.Verdict.Slow() {
		n.first[s.Name] = time.Now()
	}
}

func (n *naming) of(name string) (time.Time, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t, ok := n.first[name]
	return t, ok
}

// What the reader that stops calls itself, and what all others do.
const snailName, healthyName = "snail", "healthy"

func snailRun(ctx context.Context, cfg *SnailConfig, stop bool, tl *tally) error {
	named := &naming{first: map[string]time.Time{}}
	pub, err := publisher.New(publisher.Config{Endpoints: wildcards(1), Squawk: named.squawk})
	if err != nil {
		return err
	}
	defer pub.Close()
	job := Job{Role: "phased", Endpoints: pub.Endpoints(), Name: healthyName}
	others, err := startWorkers(ctx, cfg.Readers-1, job)
	if err != nil {
		return err
	}
	defer func() {
		for _, w := range others {
			w.kill()
		}
	}()
	job.Name = snailName
	slow, err := startWorker(ctx, job)
	if err != nil {
		return err
	}
	defer slow.kill()
	if err := pub.WaitReaders(ctx, cfg.Readers); err != nil {
		return err
	}
	var stoppedAt time.Time
	sent, lag, err := cfg.send(ctx, pub, func() error {
		if !stop {
			return nil
		}
		stoppedAt = time.Now()
		return slow.cmd.Process.Signal(unix.SIGSTOP)
	}, func() bool {
		_, ok := named.of(snailName)
		return ok || !stop || time.Since(stoppedAt) > namingMax
	})
	if err != nil {
		return err
	}
	if stop {
		// Nobody waits for it at the end.
		if err := slow.cmd.Process.Kill(); err != nil {
			return err
		}
	} else {
		others = append(others, slow)
	}
	if err := pub.End(ctx); err != nil {
		return err
	}
	tl.addHist("generator_lag", lag)
	if at, ok := named.of(snailName); stop {
		if !ok {
			return fmt.Errorf("the reader that stopped was not named in %.3g s", time.Since(stoppedAt).Seconds())
		}
		tl.add("named_after_ms", at.Sub(stoppedAt).Seconds()*1e3)
	}
	_, wronged := named.of(healthyName)
	tl.add("healthy_readers_named", map[bool]float64{true: 1}[wronged])
	return cfg.results(tl, &others, sent)
}

const (
	warmSeconds = 0.5              // that a run goes on before it is measured
	namingMax   = 30 * time.Second // that a run goes on for a reader to be named
)

// send publishes on the schedule, calls change between the halves, and goes on,
// unmeasured, until through says that it is enough.
func (cfg *SnailConfig) send(ctx context.Context, pub *publisher.Publisher, change func() error, through func() bool) (sent uint64, lag *hdrhistogram.Histogram, err error) {
	live := newLive(ctx, pub, cfg.Topics, cfg.Size)
	at := bursts(cfg.Rate, uint64(cfg.Rate/cfg.Tick))
	lag = newHistogram()
	part := func(kind wire.Kind, seconds float64) (*hdrhistogram.Histogram, error) {
		live.kind = kind
		count := uint64(cfg.Rate * seconds)
		sent += count
		return openLoop(ctx, at, count, live.emit, live.flush)
	}
	if _, err := part(kindWarm, warmSeconds); err != nil {
		return sent, lag, err
	}
	for _, kind := range []wire.Kind{kindBefore, kindAfter} {
		if kind == kindAfter {
			if err := change(); err != nil {
				return sent, lag, err
			}
		}
		late, err := part(kind, cfg.Seconds)
		lag.Merge(late)
		if err != nil {
			return sent, lag, err
		}
	}
	for !through() {
		if _, err := part(kindWarm, 0.1); err != nil {
			return sent, lag, err
		}
	}
	return sent, lag, nil
}

// results takes the workers' results, of all that did not stop.
func (cfg *SnailConfig) results(tl *tally, workers *[]*worker, sent uint64) error {
	var lost uint64
	hists := [phaseCount]*hdrhistogram.Histogram{newHistogram(), newHistogram()}
	for len(*workers) > 0 {
		r, err := (*workers)[0].result()
		*workers = (*workers)[1:]
		if err != nil {
			return err
		}
		lost += r.Lost
		if !r.Complete && r.Lost == 0 || r.Records+r.Lost != sent {
			return fmt.Errorf("sent %d records, %d arrived at a reader that lost %d", sent, r.Records, r.Lost)
		}
		for i := range hists {
			h, err := hdrhistogram.Decode(r.Phases[i])
			if err != nil {
				return err
			}
			hists[i].Merge(h)
		}
	}
	tl.add("others_lost", float64(lost))
	tl.addHist("before", hists[0])
	tl.addHist("after", hists[1])
	for _, p := range percentiles[:4] {
		tl.add("after_to_before_"+p.name, float64(hists[1].ValueAtQuantile(p.q))/float64(max(hists[0].ValueAtQuantile(p.q), 1)))
	}
	return nil
}
