package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
)

// LocalConfig says what Local measures. The zero value of a field means its
// default.
type LocalConfig struct {
	Sources []string // codecs, or plain-unchecked; default plain, plain-unchecked, s2, zstd
	Size    int      // of a body, bytes; default 100
	Topics  int      // default 1000
	Records uint64   // default 1,000,000
	Seconds float64  // that a run takes; default 1
}

// Local measures in-process replay: iterating over a tape's batches and visiting
// every record, without sockets.
func Local(ctx context.Context, env Env, cfg LocalConfig) (*Report, error) {
	if cfg.Sources == nil {
		cfg.Sources = []string{"plain", "plain-unchecked", "s2", "zstd"}
	}
	def(&cfg.Size, 100)
	def(&cfg.Topics, 1000)
	def(&cfg.Records, 1_000_000)
	def(&cfg.Seconds, 1)
	def(&env.Runs, 3)
	rep := &Report{Mode: "replay-local", Created: time.Now().UTC(), Machine: thisMachine(env.Version), Config: map[string]any{
		"body_bytes": cfg.Size, "topics": cfg.Topics, "records": cfg.Records, "runs": env.Runs,
	}}
	err := env.withDir(func(top string) error {
		for i, source := range cfg.Sources {
			dir := filepath.Join(top, strconv.Itoa(i))
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			c, err := localCase(ctx, env, dir, &cfg, source)
			if err != nil {
				return fmt.Errorf("%s: %w", source, err)
			}
			rep.Cases = append(rep.Cases, c)
		}
		return nil
	})
	return rep, err
}

func localCase(ctx context.Context, env Env, dir string, cfg *LocalConfig, source string) (c Case, err error) {
	name, unchecked := strings.CutSuffix(source, "-unchecked")
	codec, err := tape.ParseCodec(name)
	if err != nil {
		return c, err
	}
	t, err := makeTape(ctx, dir, tapeSpec{records: cfg.Records, topics: cfg.Topics, size: cfg.Size, shards: 1, codec: codec})
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	tl := newTally(Label{"source", source}, Label{"body_bytes", cfg.Size}, Label{"topics", cfg.Topics})
	for run := range env.Runs {
		env.say("%s, run %d of %d", source, run+1, env.Runs)
		records, bytes, took, err := iterate(ctx, t, unchecked, time.Duration(cfg.Seconds*1e9))
		if err != nil {
			return c, err
		}
		tl.add("records_per_second", float64(records)/took.Seconds())
		tl.add("bytes_per_second", float64(bytes)/took.Seconds())
	}
	return tl.done(), nil
}

// iterate visits every record of the tape, over and over for about d.
func iterate(ctx context.Context, t *tape.Tape, unchecked bool, d time.Duration) (records, bytes uint64, took time.Duration, err error) {
	p, err := replay.New(replay.Config{Tape: t, Passes: -1, Unchecked: unchecked})
	if err != nil {
		return 0, 0, 0, err
	}
	v := newVisitor(1, false)
	start := time.Now()
	for b, err := range p.Batches(ctx) {
		if err == nil {
			err = v.HandleBatch(b, 0)
		}
		if err != nil {
			return 0, 0, 0, err
		}
		bytes += uint64(len(b.Payload))
		if time.Since(start) > d {
			break
		}
	}
	return v.shards[0].records, bytes, time.Since(start), nil
}
