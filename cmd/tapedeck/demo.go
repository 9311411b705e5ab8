package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/formats"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// demoFlags are demo's. The zero value is what make demo runs.
type demoFlags struct {
	data  string
	dir   string
	speed string
	stay  bool
}

// demoSynth is the generated day for machines without market data.
const demoSynth = synthScheme + "topics=500,rate=20000,duration=60s,size=100,seed=1"

func newDemo() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Import a real day, play it to a subscriber, and prove it arrived",
		Long: `Take the largest market-data file in the data folder, import it, play it at full
speed and then its busiest minute at a visible pace, to a two-shard subscriber in
another process, and show what arrived. With --stay play on, with a last-value cache
before it, for examples and tools to be tried on.

The data folder is --data, else the one that TAPEDECK_DATA names, else
../shared/data. Without one the day is generated.`,
		Example: example("tapedeck demo", "tapedeck demo --data ~/captures --speed 1x"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	cmd.Flags().StringVar(&f.data, "data", "", "folder with market-data files")
	cmd.Flags().StringVar(&f.dir, "dir", ".demo", "folder for the tape")
	cmd.Flags().StringVar(&f.speed, "speed", "10x", "pace of the busiest minute")
	cmd.Flags().BoolVar(&f.stay, "stay", false, "afterwards, play on until Ctrl-C")
	return cmd
}

// demoSummary is the last line of demo.
type demoSummary struct {
	Input      string         `json:"input"`
	Generated  bool           `json:"generated"`
	Import     *importSummary `json:"import"`
	Full       *demoPlay      `json:"full_speed"`
	Paced      *demoPlay      `json:"paced"`
	Complete   bool           `json:"complete"`
	Tape       string         `json:"tape"`
	MinuteFrom int64          `json:"minute_from"`
}

func (f *demoFlags) run(cmd *cobra.Command) error {
	ctx, out := cmd.Context(), newOutput(cmd)
	say := func(format string, args ...any) {
		if !out.json {
			fmt.Fprintf(out.w, format+"\n", args...)
			_ = out.flush()
		}
	}
	speed, err := replay.ParseSpeed(f.speed)
	if err != nil {
		return usageError{err}
	}
	sum := &demoSummary{Tape: filepath.Join(f.dir, "day.tape")}
	f.chooseInput(ctx, sum, say)
	if sum.Import, err = f.importDay(ctx, out, sum); err != nil {
		return err
	}
	say("1. import   %s records on %s in %.2f s, %s records/s; tape %s",
		thousands(sum.Import.Records), count(uint64(sum.Import.Topics), "topic"), sum.Import.Seconds, thousands(uint64(sum.Import.PerSecond)), sum.Tape)
	t, err := tape.Open(sum.Tape)
	if err != nil {
		return err
	}
	defer t.Close()

	say("2. play     all of it at full speed, 2 shards, to a subscriber in another process")
	if sum.Full, err = playDemo(ctx, out, t, replay.Config{Speed: replay.Max}, nil); err != nil {
		return err
	}
	say("            %s", sum.Full.text())

	from, to, err := busiestMinute(ctx, t)
	if err != nil {
		return err
	}
	sum.MinuteFrom = int64(from)
	say("3. play     its busiest minute, from %s, at %v", from.Time().Format("2006-01-02 15:04:05 MST"), speed)
	if sum.Paced, err = playDemo(ctx, out, t, replay.Config{Speed: speed, From: from, To: to}, say); err != nil {
		return err
	}
	say("            %s", sum.Paced.text())
	sum.Complete = sum.Full.Sub.Complete && sum.Paced.Sub.Complete
	if err := out.message("demo.summary", sum, sum.text()); err != nil {
		return err
	}
	if !sum.Complete {
		return damagedf("the subscriber is missing records")
	}
	if f.stay {
		return f.playOn(ctx, out, sum.Tape, from)
	}
	return nil
}

// chooseInput takes the largest file that is of a known format.
func (f *demoFlags) chooseInput(ctx context.Context, sum *demoSummary, say func(string, ...any)) {
	dir := f.data
	if dir == "" {
		dir = os.Getenv("TAPEDECK_DATA")
	}
	if dir == "" {
		dir = filepath.Join("..", "shared", "data")
	}
	var bytes int64
	_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || ctx.Err() != nil {
			return nil // what cannot be read is no candidate
		}
		if info, err := e.Info(); err == nil && info.Size() > bytes && recognised(ctx, path) {
			sum.Input, bytes = path, info.Size()
		}
		return nil
	})
	if sum.Input == "" {
		sum.Input, sum.Generated = demoSynth, true
		say("no market data in %s (TAPEDECK_DATA names another folder): using a generated minute, %s", dir, demoSynth)
		return
	}
	say("input: %s, %s, the largest known file in %s", sum.Input, size(uint64(bytes)), dir)
}

// recognised reports whether the file is of a known format and opens as it.
func recognised(ctx context.Context, path string) bool {
	in, err := feed.OpenInput(ctx, path)
	if err != nil {
		return false
	}
	defer in.Close()
	format, err := feed.Detect(formats.All, in, "")
	if err != nil {
		return false
	}
	_, err = format.Open(ctx, in, feed.Options{})
	return err == nil
}

func (f *demoFlags) importDay(ctx context.Context, out *output, sum *demoSummary) (*importSummary, error) {
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return nil, err
	}
	// An earlier demo's tape is the demo's own to replace; anything else is not.
	if _, err := tape.Open(sum.Tape); err == nil {
		if err := os.RemoveAll(sum.Tape); err != nil {
			return nil, err
		}
	}
	imp := importFlags{output: sum.Tape, shards: 1, block: tape.BlockSizeDefault}
	return imp.importFile(ctx, out, sum.Input)
}

// busiestMinute returns the minute of the tape with the most records.
func busiestMinute(ctx context.Context, t *tape.Tape) (from, to wire.Nanos, err error) {
	counts := map[wire.Nanos]int{}
	r := t.Records(tape.ReadConfig{})
	defer r.Close()
	const minute = wire.Nanos(time.Minute)
	best := 0
	for n := 0; r.Next(); n++ {
		at := r.Record().Receive()
		at -= at % minute
		counts[at]++
		if c := counts[at]; c > best {
			best, from = c, at
		}
		if n%(1<<16) == 0 && ctx.Err() != nil {
			return 0, 0, context.Cause(ctx)
		}
	}
	if best == 0 {
		return 0, 0, errors.Join(r.Err(), errors.New("the tape has no records"))
	}
	return from, from + minute, r.Err()
}

func (s *demoSummary) text() string {
	state := "complete: every record arrived, in order, exactly as sent"
	if !s.Complete {
		state = "NOT COMPLETE"
	}
	late := s.Paced.Play.Pacing
	if late == nil {
		late = &pacing{} // the minute had no records
	}
	return fmt.Sprintf(`
records   %s on %s
rate      %s records/s at full speed, into a handler that visits every record
pacing    p50 %v, p99 %v, max %v late at %s
result    %s

Next: %[10]s info %[9]s; %[10]s cat %[9]s --limit 5; %[10]s --help`,
		thousands(s.Import.Records), count(uint64(s.Import.Topics), "topic"), thousands(uint64(s.Full.Sub.PerSecond)),
		round(late.P50), round(late.P99), round(late.Max), s.Paced.Play.Speed, state, s.Tape, os.Args[0])
}
