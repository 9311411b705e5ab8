package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/recorder"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
)

type recordFlags struct {
	stream  streamFlags
	expect  expectFlags
	output  string
	codec   string
	block   int
	sync    time.Duration
	append  bool
	follow  bool
	silence time.Duration
	name    string
	byRef   string
	keep    keepFlags
	resync  recordResyncFlags
	id      tape.ID      // of a new tape; zero: random
	metrics metricsFlags // of the command alone
	lag     bool         // measure it, for metrics
}

func newRecord() *cobra.Command {
	var f recordFlags
	cmd := &cobra.Command{
		Use:   "record",
		Short: "Record a stream to a tape",
		Long: `Record every shard of a stream to a tape, with its epochs, sequences and times.
Recording ends with the stream, or with Ctrl-C; the tape is then closed. Should
the process or the machine die, the tape still opens and lacks at most what came
in the last --sync interval.

With --retain-size or --retain-age the oldest segments are removed as new ones
come, but none that somebody who reads the tape may still want.

With --ring it is a flight recorder: --output is a directory, ring.tape in it
keeps the last minutes, and on a signal, or when a file appears or changes, they
are written to dump-TIME.tape beside it, while recording goes on.

With --resync-bind readers get from here what they missed, up to the last record that
came, and last values; with --resync this recorder gets what it missed from another
one, or from the player. Both can be given. A tape that is gone on with is then
healed from where it ends.

The exit code is 0 when the recording is complete, and 3 when records are missing
from it.`,
		Example: example(
			"tapedeck record --shards 2 -o copy.tape",
			"tapedeck record -o day.tape --follow --append --codec zstd",
			"tapedeck record -o flight --ring 10m --dump-on SIGUSR1 --follow",
			"tapedeck record -o day.tape --follow --append --resync-bind tcp://*:7300 --resync tcp://other:7300",
		),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.add(cmd)
	f.metrics.add(cmd)
	_ = cmd.MarkFlagRequired("output")
	return cmd
}

// add declares the flags.
func (f *recordFlags) add(cmd *cobra.Command) {
	f.stream.add(cmd, "connect", "number of shards in the stream")
	f.expect.add(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "tape to write (required)")
	fl.StringVar(&f.codec, "codec", "", "compression of the tape: plain, s2, zstd or columns (default: "+tape.CodecDefault.String()+")")
	fl.IntVar(&f.block, "block-size", tape.BlockSizeDefault, "payload bytes of a block")
	fl.DurationVar(&f.sync, "sync", tape.SyncIntervalDefault, "longest time until what was received is safe on disk")
	addByReference(cmd, &f.byRef)
	f.keep.add(cmd)
	f.resync.add(cmd)
	fl.BoolVar(&f.append, "append", false, "go on with a tape that exists")
	fl.BoolVar(&f.follow, "follow", false, "stay after the end, for the next session")
	fl.DurationVar(&f.silence, "silence", 0, "stop when a shard says nothing, heartbeats included, for this long (0: wait for ever)")
	fl.StringVar(&f.name, "name", "recorder", "name of this reader, shown to the publisher's operator")
	_ = cmd.RegisterFlagCompletionFunc("codec", cobra.FixedCompletions(tape.CodecNames(), cobra.ShellCompDirectiveNoFileComp))
}

// tape is the name of the tape.
func (f *recordFlags) tape() string {
	if f.keep.ring > 0 {
		return filepath.Join(f.output, ringName)
	}
	return filepath.Clean(f.output)
}

// writer opens the tape to record to.
func (f *recordFlags) writer() (*tape.Writer, error) {
	codec, err := parseCodec(f.codec)
	if err != nil {
		return nil, err
	}
	if f.sync <= 0 {
		return nil, usagef("--sync %v: want a time above 0", f.sync)
	}
	cfg := tape.Config{
		Shards: f.stream.shards, Codec: codec, BlockSize: f.block, SyncInterval: f.sync, Generator: program(),
	}
	if err := f.keep.config(&cfg); err != nil {
		return nil, err
	}
	dir := f.tape()
	if f.append || f.keep.ring > 0 {
		w, err := tape.OpenAppend(dir, cfg)
		if !errors.Is(err, tape.ErrNotTape) {
			return w, err
		}
	}
	cfg.ID = f.id
	w, err := tape.Create(dir, cfg)
	if errors.Is(err, tape.ErrExists) {
		err = withHint(err, "--append goes on with a tape that exists")
	}
	return w, err
}

// recordSummary is the last line of record.
type recordSummary struct {
	Tape         string  `json:"tape"`
	Records      uint64  `json:"records"`
	Gaps         uint64  `json:"gaps"`
	Lost         uint64  `json:"lost"`
	Repeated     uint64  `json:"repeated"`
	Refused      uint64  `json:"refused"`
	Corrupt      uint64  `json:"corrupt"`
	Epochs       uint64  `json:"epochs"`
	Early        bool    `json:"early"`
	Complete     bool    `json:"complete"`
	Referred     uint64  `json:"referred_batches"`
	Fallbacks    uint64  `json:"fallbacks"`
	Bytes        uint64  `json:"payload_bytes"`
	Stored       uint64  `json:"stored_bytes"`
	Blocks       uint64  `json:"blocks"`
	Syncs        uint64  `json:"syncs"`
	SyncMax      int64   `json:"sync_max_ns"`
	Removed      uint64  `json:"removed_records"`
	RemovedBytes int64   `json:"removed_bytes"`
	Seconds      float64 `json:"seconds"`
	PerSecond    float64 `json:"records_per_second"`

	Resync *healSummary  `json:"resync,omitempty"`
	Served *serveSummary `json:"served,omitempty"`
}

// taping is a stream that is written to a tape.
type taping struct {
	flags  *recordFlags
	out    *output
	w      *tape.Writer
	rec    *recorder.Recorder
	stream *recording
	lag    *lagMeter // nil: it is not measured
	took   time.Duration
}

// begin puts together what records. What is wrong with the flags shows before a
// tape is made.
func (f *recordFlags) begin(out *output) (*taping, error) {
	endpoints, err := f.stream.endpoints()
	if err != nil {
		return nil, err
	}
	pair, err := f.stream.pair()
	if err != nil {
		return nil, err
	}
	ioCPUs, loopCPUs, err := f.stream.placement()
	if err != nil {
		return nil, err
	}
	open, err := opener(out, f.byRef)
	if err != nil {
		return nil, err
	}
	cfg := subscriber.Config{
		Endpoints: endpoints, Pair: pair, Name: f.name, IOCPUs: ioCPUs, ReceiveCPUs: loopCPUs, Follow: f.follow, Silence: f.silence,
		OpenTape: open,
		Warn:     func(_ int, err error) { out.remark("warning: %v", err) },
	}
	if err := f.expect.apply(&cfg); err != nil {
		return nil, err
	}
	if _, err := subscriber.New(cfg, nil); err != nil {
		return nil, usageError{err}
	}
	t := &taping{flags: f, out: out}
	if f.lag {
		t.lag = &lagMeter{}
		cfg.Lag = t.lag.count
	}
	if t.stream, err = f.resync.check(f.stream.flags, out); err != nil {
		return nil, err
	}
	if t.w, err = f.writer(); err != nil {
		return nil, errors.Join(err, t.stream.abandon())
	}
	t.rec = recorder.New(t.w)
	if err := t.stream.open(cfg, t.rec); err != nil {
		return nil, errors.Join(err, t.w.Close(), t.stream.abandon())
	}
	return t, nil
}

// run records until the stream has ended and is as whole as it can be.
func (t *taping) run(ctx context.Context) error {
	start := time.Now()
	err := t.stream.run(ctx)
	t.took = time.Since(start)
	return err
}

// end closes the tape: what was received is kept in any case. It returns what was
// recorded, and in words why that is not complete.
func (t *taping) end(ctx context.Context) (sum *recordSummary, why string, err error) {
	err = errors.Join(t.rec.Err(), t.w.Close())
	served, closeErr := t.stream.close(ctx)
	err = errors.Join(err, closeErr)
	stats := t.w.Stats()
	if stats.RetainErr != nil {
		t.out.remark("warning: old segments could not be removed: %v", stats.RetainErr)
	} else if stats.RetainHeld != "" {
		t.out.remark("old segments were not removed: %s", stats.RetainHeld)
	}
	in, healed, why := t.stream.outcome()
	sum = t.flags.summary(in, stats, t.took)
	sum.Resync, sum.Served = healed, served
	return sum, why, err
}

func (f *recordFlags) run(cmd *cobra.Command) error {
	out := newOutput(cmd)
	shown, err := f.metrics.listen(out)
	if err != nil {
		return err
	}
	defer shown.close()
	f.lag = shown != nil
	dumps := f.keep.catch(out)
	defer dumps.close()
	t, err := f.begin(out)
	if err != nil {
		return err
	}
	defer shown.show(t.show)()
	dumps.start(t.w, filepath.Clean(f.output))
	stop := watch(cmd.Context(), out, func() string {
		st := t.w.Stats()
		return fmt.Sprintf("%s records, %s stored", thousands(st.Records), size(st.StoredBytes))
	})
	runErr := t.run(cmd.Context())
	stop()
	dumps.close()
	// Errors come after the summary.
	sum, why, closeErr := t.end(cmd.Context())
	if err := out.message("record.summary", sum, sum.text()); err != nil {
		return err
	}
	switch {
	case closeErr != nil:
		return closeErr
	case errors.Is(runErr, context.Canceled) && sum.Lost == 0 && sum.Corrupt == 0:
		return runErr // stopped by the user; the tape is whole as far as it goes
	case runErr != nil && !errors.Is(runErr, context.Canceled):
		return runErr
	case !sum.Complete:
		return damagedf("the recording is not complete: %s", why)
	}
	return nil
}

func (f *recordFlags) summary(s subscriber.Summary, st tape.Stats, took time.Duration) *recordSummary {
	return &recordSummary{
		Tape: f.tape(), Records: s.Records, Gaps: s.Gaps, Lost: s.Lost, Repeated: s.Repeated,
		Refused: s.Refused, Corrupt: s.Corrupt, Epochs: s.Epochs, Early: s.Early, Complete: s.Complete,
		Referred: s.Referred, Fallbacks: s.Fallbacks,
		Bytes: st.PayloadBytes, Stored: st.StoredBytes, Blocks: st.Blocks, Syncs: st.Syncs, SyncMax: int64(st.SyncMax),
		Removed: st.RemovedRecords, RemovedBytes: st.RemovedBytes,
		Seconds: took.Seconds(), PerSecond: float64(s.Records) / max(took.Seconds(), 1e-9),
	}
}

func (s *recordSummary) text() string {
	state := "complete"
	if !s.Complete {
		state = "not complete"
	}
	return fmt.Sprintf("%s: %s records, %d gaps, %s stored, longest sync %v: %s",
		s.Tape, thousands(s.Records), s.Gaps, size(s.Stored), round(s.SyncMax), state) + s.Resync.text() + s.Served.after()
}
