package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
)

// SeekConfig says what Seek measures. The zero value of a field means its default.
type SeekConfig struct {
	Topics []int          // of the tapes; default 1,000 and 100,000
	Speeds []replay.Speed // at which they play; default 1x and max
	Bytes  int64          // payload of a tape; default 1 GB
	Codec  string         // of the tapes; default that of a tape
	Size   int            // of a body, bytes; default 100
	Rate   float64        // records a second of the tapes' own time; default 100,000
	Seeks  int            // of a run; default 100
	Check  int            // one of so many seeks is compared with the tape; default 10
}

func (cfg *SeekConfig) fill() (codec tape.Codec, err error) {
	if cfg.Topics == nil {
		cfg.Topics = []int{1000, 100_000}
	}
	if cfg.Speeds == nil {
		cfg.Speeds = []replay.Speed{1, replay.Max}
	}
	if cfg.Codec == "" {
		cfg.Codec = tape.CodecDefault.String()
	}
	def(&cfg.Bytes, 1_000_000_000)
	def(&cfg.Size, 100)
	def(&cfg.Rate, 100_000)
	def(&cfg.Seeks, 100)
	def(&cfg.Check, 10)
	if codec, err = tape.ParseCodec(cfg.Codec); err != nil {
		return codec, err
	}
	if len(cfg.Topics) == 0 || slices.Min(cfg.Topics) < 1 || cfg.Size < 32 || cfg.Seeks < 1 || cfg.Check < 1 ||
		cfg.records() < uint64(slices.Max(cfg.Topics)) {
		return codec, fmt.Errorf("bench: a tape of %d bytes for %v topics, bodies of %d bytes, %d seeks, one of %d checked: "+
			"want 32 bytes, 1 of all else, and a record of each topic on the tape, or more", cfg.Bytes, cfg.Topics, cfg.Size, cfg.Seeks, cfg.Check)
	}
	return codec, nil
}

// headAndTopic is about what a generated record takes beside its body, bytes.
const headAndTopic = 33

// records is how many a tape has.
func (cfg *SeekConfig) records() uint64 { return uint64(cfg.Bytes) / uint64(cfg.Size+headAndTopic) }

// Seek measures what a reader sees of a seek in a tape that is playing: the time
// from the command until the first record of the new place arrives in another
// process, and until every topic's last value as of that place has. Places are
// random. A part of the seeks is compared with what the tape says.
func Seek(ctx context.Context, env Env, cfg SeekConfig) (*Report, error) {
	codec, err := cfg.fill()
	if err != nil {
		return nil, err
	}
	def(&env.Runs, 3)
	rep := &Report{Mode: "seek", Created: time.Now().UTC(), Machine: thisMachine(env.Version), Config: map[string]any{
		"tape_bytes": cfg.Bytes, "tape_records": cfg.records(), "tape_rate": cfg.Rate, "codec": cfg.Codec, "body_bytes": cfg.Size,
		"seeks": cfg.Seeks, "checked_each": cfg.Check, "runs": env.Runs,
	}}
	err = env.withDir(func(dir string) (err error) {
		cases := cfg.cases()
		tapes := map[int]*tape.Tape{}
		defer func() {
			for _, t := range tapes {
				err = errors.Join(err, t.Close())
			}
		}()
		for _, topics := range cfg.Topics {
			env.say("a tape of %d records of %d topics", cfg.records(), topics)
			tapes[topics], err = makeTape(ctx, dir, tapeSpec{
				records: cfg.records(), topics: topics, size: cfg.Size, shards: 1, codec: codec, rate: cfg.Rate,
			})
			if err != nil {
				return err
			}
		}
		for run := range env.Runs {
			for _, c := range cases {
				env.say("%d topics at %v, run %d of %d", c.topics, c.speed, run+1, env.Runs)
				c.seed = uint64(run)
				if err := c.run(ctx, &cfg, tapes[c.topics]); err != nil {
					return fmt.Errorf("%d topics at %v: %w", c.topics, c.speed, err)
				}
			}
		}
		for _, c := range cases {
			rep.Cases = append(rep.Cases, c.tally.done())
		}
		return nil
	})
	return rep, err
}

// seekCase is one setting.
type seekCase struct {
	topics int
	speed  replay.Speed
	values bool // last values come first
	seed   uint64
	tally  *tally
}

func (cfg *SeekConfig) cases() []*seekCase {
	var cases []*seekCase
	for _, topics := range cfg.Topics {
		for _, speed := range cfg.Speeds {
			for _, values := range []bool{true, false} {
				said := "sent"
				if !values {
					said = "left out"
				}
				cases = append(cases, &seekCase{topics: topics, speed: speed, values: values, tally: newTally(
					Label{"topics", topics}, Label{"speed", speed.String()}, Label{"last_values", said})})
			}
		}
	}
	return cases
}
