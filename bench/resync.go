package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/tape"
)

// ResyncConfig says what Resync measures. The zero value of a field means its
// default.
type ResyncConfig struct {
	Cases   []string // of "cut", "refill". Default: both
	Codecs  []string // of the recorder's tape, one after the other; cut takes the first. Default plain, s2
	Rate    float64  // records a second; default 100,000
	Tick    float64  // bursts a second that the rate is sent in; default 1000
	Size    int      // of a body, bytes; default 100
	Topics  int      // default 1000
	Cut     float64  // seconds for which the reader is cut off; default 5
	Seconds float64  // that each measured part of a run takes, about; default 3
	Records uint64   // that are asked for at once to measure the refill rate; default 4,000,000
	Budget  int64    // of the refill server, bytes a second; default no bound
}

func (cfg *ResyncConfig) fill() error {
	cases := []string{"cut", "refill"}
	if cfg.Cases == nil {
		cfg.Cases = cases
	}
	for _, c := range cfg.Cases {
		if !slices.Contains(cases, c) {
			return fmt.Errorf("bench: unknown case %q: want cut or refill", c)
		}
	}
	if cfg.Codecs == nil {
		cfg.Codecs = []string{"plain", "s2"}
	}
	for _, c := range cfg.Codecs {
		if _, err := tape.ParseCodec(c); err != nil {
			return err
		}
	}
	def(&cfg.Rate, 100_000)
	def(&cfg.Tick, 1000)
	def(&cfg.Size, 100)
	def(&cfg.Topics, 1000)
	def(&cfg.Cut, 5)
	def(&cfg.Seconds, 3)
	def(&cfg.Records, 4_000_000)
	if len(cfg.Codecs) == 0 || cfg.Size < 8 || cfg.Tick > cfg.Rate || cfg.Topics < 1 || cfg.Budget < 0 {
		return fmt.Errorf("bench: %d codecs, bodies of %d bytes, %d topics, %v bursts of %v records a second, %d bytes a second: "+
			"want a codec, 8 bytes, a topic, a record a burst, and 0 bytes a second, or more",
			len(cfg.Codecs), cfg.Size, cfg.Topics, cfg.Tick, cfg.Rate, cfg.Budget)
	}
	return nil
}

// Resync measures what it takes to make a stream whole again: a reader that is cut
// off from the publisher and comes back, and the rate at which a recorder's tape is
// sent again, while it records and while it does not. A reader without resync, cut
// off in the same way, stands beside the first. Every reader checks every record
// against what was published at its sequence.
func Resync(ctx context.Context, env Env, cfg ResyncConfig) (*Report, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	def(&env.Runs, 3)
	rep := &Report{Mode: "resync", Created: time.Now().UTC(), Machine: thisMachine(env.Version), Config: map[string]any{
		"rate": cfg.Rate, "bursts_per_second": cfg.Tick, "body_bytes": cfg.Size, "topics": cfg.Topics, "cut_seconds": cfg.Cut,
		"seconds": cfg.Seconds, "records": cfg.Records, "budget_bytes_per_second": cfg.Budget, "runs": env.Runs,
	}}
	cases := cfg.cases()
	for run := range env.Runs {
		for _, c := range cases {
			env.say("%s, run %d of %d", c.title, run+1, env.Runs)
			err := env.withDir(func(dir string) error { return c.run(ctx, dir, c.tallies) })
			if err != nil {
				return rep, fmt.Errorf("%s: %w", c.title, err)
			}
		}
	}
	for _, c := range cases {
		for _, tl := range c.tallies {
			rep.Cases = append(rep.Cases, tl.done())
		}
	}
	return rep, nil
}

// resyncCase is one setting, whose run may measure several cases of the report.
type resyncCase struct {
	title   string
	run     func(ctx context.Context, dir string, tallies []*tally) error
	tallies []*tally
}

func (cfg *ResyncConfig) cases() []resyncCase {
	var cases []resyncCase
	if slices.Contains(cfg.Cases, "cut") {
		for _, reader := range []string{"resync", "plain"} {
			cases = append(cases, resyncCase{
				title: "cut off, " + reader,
				run: func(ctx context.Context, dir string, tallies []*tally) error {
					return cfg.cutOff(ctx, dir, reader == "resync", tallies[0])
				},
				tallies: []*tally{newTally(Label{"case", "cut"}, Label{"reader", reader}, Label{"codec", cfg.Codecs[0]})},
			})
		}
	}
	if slices.Contains(cfg.Cases, "refill") {
		for _, codec := range cfg.Codecs {
			c := resyncCase{
				title: "refill, " + codec,
				run: func(ctx context.Context, dir string, tallies []*tally) error {
					return cfg.refillRate(ctx, dir, codec, tallies[0], tallies[1])
				},
			}
			for _, recorder := range []string{"idle", "recording"} {
				c.tallies = append(c.tallies, newTally(Label{"case", "refill"}, Label{"recorder", recorder}, Label{"codec", codec}))
			}
			cases = append(cases, c)
		}
	}
	return cases
}
