package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/feed/synth"
	"github.com/tapedeck/tapedeck/recorder"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// PacingConfig says what Pacing measures. The zero value of a field means its
// default.
type PacingConfig struct {
	Tape    string         // to play; default: a generated tape with bursts
	Speeds  []replay.Speed // default 1x, 10x, 0.1x
	Seconds float64        // that a run takes; default 3
	Rate    float64        // records a second of the generated tape; default 20,000
}

// Pacing measures how late records leave, against the tape's own times, at
// several speeds, through bursts, when the player sleeps until shortly before a
// moment and when it sleeps all the way; and how far the schedule itself is off
// after a day.
func Pacing(ctx context.Context, env Env, cfg PacingConfig) (*Report, error) {
	if cfg.Speeds == nil {
		cfg.Speeds = []replay.Speed{1, 10, 0.1}
	}
	def(&cfg.Seconds, 3)
	def(&cfg.Rate, 20_000)
	def(&env.Runs, 2)
	rep := &Report{Mode: "pacing", Created: time.Now().UTC(), Machine: thisMachine(env.Version), Config: map[string]any{
		"seconds": cfg.Seconds, "rate": cfg.Rate, "runs": env.Runs, "tape": cfg.Tape,
	}}
	err := env.withDir(func(dir string) (err error) {
		t, err := pacingTape(ctx, dir, &cfg)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, t.Close()) }()
		for _, speed := range cfg.Speeds {
			for _, wait := range []struct {
				name string
				spin time.Duration
			}{{"sleep and spin", 0}, {"sleep", -1}} {
				env.say("%v, %s", speed, wait.name)
				c, err := pacingCase(ctx, env, t, &cfg, speed, wait.name, wait.spin)
				if err != nil {
					return fmt.Errorf("%v: %w", speed, err)
				}
				rep.Cases = append(rep.Cases, c)
			}
		}
		return nil
	})
	return rep, err
}

// pacingTape opens the tape to play, or makes one long enough for every speed.
func pacingTape(ctx context.Context, dir string, cfg *PacingConfig) (*tape.Tape, error) {
	if cfg.Tape != "" {
		return tape.Open(cfg.Tape)
	}
	longest := 0.0
	for _, s := range cfg.Speeds {
		longest = max(longest, float64(s)*cfg.Seconds)
	}
	src, err := synth.New(synth.Config{
		Seed: 1, Topics: 1000, Rate: cfg.Rate, Duration: time.Duration(longest * 1.1 * 1e9), BodySizeMin: 100, BodySizeMax: 100,
	})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "pacing.tape")
	w, err := tape.Create(path, tape.Config{SyncInterval: -1})
	if err != nil {
		return nil, err
	}
	_, err = recorder.Import(ctx, w, &synthSource{src: src}, recorder.ImportConfig{Shards: 1, Epoch: 1})
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return tape.Open(path)
}

// tapeSpan is how much tape passes in some seconds.
func tapeSpan(seconds float64, speed replay.Speed) wire.Nanos {
	return wire.Nanos(seconds * float64(speed) * 1e9)
}

func pacingCase(ctx context.Context, env Env, t *tape.Tape, cfg *PacingConfig, speed replay.Speed, name string, spin time.Duration) (Case, error) {
	tl := newTally(Label{"speed", speed.String()}, Label{"wait", name})
	info, err := t.Info()
	if err != nil {
		return Case{}, err
	}
	from := info.Totals.FirstReceive
	to := from + 1 + tapeSpan(cfg.Seconds, speed)
	for range env.Runs {
		var late replay.Report
		res, sent, _, err := playTo(ctx, 1, Job{Role: "subscriber"}, publisher.Config{Endpoints: wildcards(1), Lossless: true},
			func(s *session) (uint64, error) {
				var err error
				late, err = s.run(ctx, replay.Config{Tape: t, Shards: 1, Speed: speed, Spin: spin, From: from, To: to})
				return late.Records, err
			})
		if err != nil {
			return Case{}, err
		}
		if !res[0].Complete || res[0].Records != sent {
			return Case{}, fmt.Errorf("sent %d records, %d arrived, complete %v", sent, res[0].Records, res[0].Complete)
		}
		tl.addHist("error", late.Late)
		tl.add("records", float64(sent))
	}
	tl.add("drift_of_a_day_ns", float64(replay.Drift(speed, 24*time.Hour, 10*time.Second)))
	return tl.done(), nil
}
