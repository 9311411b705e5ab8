package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
)

// ScaleConfig says what Scale measures. The zero value of a field means its
// default.
type ScaleConfig struct {
	Shards      []int   // default 1, 2, 4
	Topics      []int   // default 10, 1000, 100,000
	Subscribers []int   // default 1, 2, 4
	Sizes       []int   // of a body, bytes; default 40, 100, 1000
	Seconds     float64 // that a run takes, about; default 0.5
}

// scalePoint is one combination: the defaults, and one thing changed.
type scalePoint struct {
	along                             string
	shards, topics, subscribers, size int
}

func (c *ScaleConfig) points() []scalePoint {
	base := scalePoint{shards: 1, topics: 1000, subscribers: 1, size: 100}
	var points []scalePoint
	along := func(name string, values, fallback []int, field func(*scalePoint) *int) {
		if values == nil {
			values = fallback
		}
		for _, v := range values {
			p := base
			p.along = name
			*field(&p) = v
			points = append(points, p)
		}
	}
	along("shards", c.Shards, []int{1, 2, 4}, func(p *scalePoint) *int { return &p.shards })
	along("topics", c.Topics, []int{10, 1000, 100_000}, func(p *scalePoint) *int { return &p.topics })
	along("subscribers", c.Subscribers, []int{1, 2, 4}, func(p *scalePoint) *int { return &p.subscribers })
	along("body_bytes", c.Sizes, []int{40, 100, 1000}, func(p *scalePoint) *int { return &p.size })
	return points
}

// Scale measures throughput from a plain tape along shards, topics, subscribers
// and record size, one at a time.
func Scale(ctx context.Context, env Env, cfg ScaleConfig) (*Report, error) {
	def(&cfg.Seconds, 0.5)
	def(&env.Runs, 1)
	rep := &Report{Mode: "scale", Created: time.Now().UTC(), Machine: thisMachine(env.Version), Config: map[string]any{"runs": env.Runs}}
	for _, p := range cfg.points() {
		env.say("%s: %d shards, %d topics, %d subscribers, %d bytes", p.along, p.shards, p.topics, p.subscribers, p.size)
		c, err := scaleCase(ctx, env, p, cfg.Seconds)
		if err != nil {
			return rep, fmt.Errorf("%s: %w", p.along, err)
		}
		rep.Cases = append(rep.Cases, c)
	}
	return rep, nil
}

func scaleCase(ctx context.Context, env Env, p scalePoint, seconds float64) (c Case, err error) {
	tl := newTally(Label{"along", p.along}, Label{"shards", p.shards}, Label{"topics", p.topics},
		Label{"subscribers", p.subscribers}, Label{"body_bytes", p.size})
	err = env.withDir(func(dir string) error {
		const bytes = 64 << 20 // of a tape: enough for many blocks, little to make
		records := uint64(bytes / (p.size + 40))
		t, err := makeTape(ctx, dir, tapeSpec{records: records, topics: p.topics, size: p.size, shards: p.shards, codec: tape.CodecPlain})
		if err != nil {
			return err
		}
		defer t.Close()
		rate := 2e9 / float64(p.size+40) / float64(p.subscribers)
		passes := max(1, int(seconds*rate/float64(records)))
		for range env.Runs {
			if err := scaleRun(ctx, p, t, passes, tl); err != nil {
				return err
			}
		}
		return nil
	})
	return tl.done(), err
}

func scaleRun(ctx context.Context, p scalePoint, t *tape.Tape, passes int, tl *tally) error {
	res, sent, cpu, err := playTo(ctx, p.subscribers, Job{Role: "subscriber"},
		publisher.Config{Endpoints: wildcards(p.shards), Lossless: true},
		func(s *session) (uint64, error) {
			return s.play(ctx, replay.Config{Tape: t, Shards: p.shards, Passes: passes})
		})
	if err != nil {
		return err
	}
	var total, bytes, slowest float64
	for i := range res {
		r := &res[i]
		if !r.Complete || r.Records != sent {
			return fmt.Errorf("sent %d records, %d arrived, complete %v", sent, r.Records, r.Complete)
		}
		total += float64(r.Records)
		bytes += float64(r.Bytes)
		slowest = max(slowest, r.Seconds)
		cpu += r.CPUSeconds
	}
	tl.add("records_per_second", float64(sent)/slowest)
	tl.add("delivered_per_second", total/slowest)
	tl.add("bytes_per_second", bytes/slowest)
	tl.add("cpu_seconds_per_million", cpu/(total/1e6))
	return nil
}
