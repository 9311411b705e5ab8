package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/formats"
	"github.com/tapedeck/tapedeck/feed/synth"
	"github.com/tapedeck/tapedeck/recorder"
	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

type importFlags struct {
	opts    feed.Options
	output  string
	member  string
	codec   string
	shards  int
	block   int
	skipBad bool
	clock   string
	id      tape.ID // of the tape; zero: random
}

func newImport() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Turn a vendor file into a tape",
		Long: `Read a vendor file and write a tape. The format is recognised by the file's
content, also inside gzip, zstd and zip; FILE may be - for standard input, or
synth: and a specification, for a generated day.

Records keep the order of the file, the vendor's bytes and the vendor's times.
The tape appears under its name only when the whole file was read: a failed
import leaves nothing behind.

Formats:
` + formatList(),
		Example: example(
			"tapedeck import es.mbo.dbn.zst -o es.tape",
			"tapedeck import 20131008_trade.zip --preset lean-trades --topic SPY -o spy.tape",
			`tapedeck import ticks.csv --columns 'time=ts:us,topic=symbol' -o ticks.tape`,
			"zcat big.csv.gz | tapedeck import - -o big.tape",
			"tapedeck import synth:topics=1000,rate=100000,duration=60s -o made.tape",
		),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "tape to write (default: the file's name with .tape, in this folder)")
	fl.StringVar(&f.opts.Format, "format", "", "format of the file (default: recognised by content)")
	fl.StringVar(&f.opts.Preset, "preset", "", "csv, jsonl: a known layout; length-prefixed: u32be, u32le, u16be or u16le")
	fl.StringVar(&f.opts.Columns, "columns", "", "csv, jsonl, parquet: what the columns are, such as 'time=ts:us,topic=symbol'")
	fl.StringVar(&f.opts.Header, "header", "", `csv: "yes", "no" or "auto": whether the first line names the columns`)
	fl.StringVar(&f.opts.TimeUnit, "time-unit", "", `csv: unit of bare numbers in time columns: "s", "ms", "us", "ns" (default: by size)`)
	fl.StringVar(&f.opts.Date, "date", "", "YYYY-MM-DD: the date, where the file has only a time of day (default: from the file's name)")
	fl.StringVar(&f.opts.Zone, "zone", "", "time zone of times without one, such as America/New_York (default: UTC, or the preset's)")
	fl.StringVar(&f.opts.Topic, "topic", "", "topic prefix, or the whole topic where the file names none")
	fl.StringSliceVar(&f.opts.Groups, "group", nil, "captures: only these group:port, groups or ports")
	fl.StringVar(&f.opts.AB, "ab", "", "captures: \"merge\" the A and B lines by session and sequence, or \"keep\" both (default: keep)")
	fl.StringVar(&f.clock, "clock", "receive", "the times that the tape goes by: receive, or event: the event time stands for the receive time, too")
	fl.StringVar(&f.opts.Dataset, "dataset", "", "dbn: dataset of a fragment without a head; itch: venue")
	fl.StringVar(&f.member, "member", "", "zip: the member to read (default: the only one)")
	fl.StringVar(&f.codec, "codec", "", "compression of the tape: plain, s2, zstd or columns (default: "+tape.CodecDefault.String()+")")
	fl.IntVar(&f.shards, "shards", 1, "shards of the tape; a replay with as many sends blocks as they are")
	fl.IntVar(&f.block, "block-size", tape.BlockSizeDefault, "payload bytes of a block")
	fl.BoolVar(&f.skipBad, "skip-bad", false, "leave unreadable places out and count them, instead of failing")
	_ = cmd.RegisterFlagCompletionFunc("codec", cobra.FixedCompletions(tape.CodecNames(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func formatList() string {
	var b strings.Builder
	for _, f := range formats.All {
		fmt.Fprintf(&b, "  %-16s %s\n", f.Name, f.Title)
	}
	return strings.TrimRight(b.String(), "\n")
}

// importSummary is the last line of import.
type importSummary struct {
	Tape            string   `json:"tape"`
	Format          string   `json:"format"`
	Records         uint64   `json:"records"`
	Topics          int      `json:"topics"`
	FirstEvent      int64    `json:"first_event_time"`
	LastEvent       int64    `json:"last_event_time"`
	FirstReceive    int64    `json:"first_receive_time"`
	LastReceive     int64    `json:"last_receive_time"`
	Bad             uint64   `json:"bad"`
	BadPlaces       []string `json:"bad_places,omitempty"`
	Notes           []string `json:"notes,omitempty"`
	OutOfOrder      uint64   `json:"out_of_order"`
	FirstOutOfOrder *uint64  `json:"first_out_of_order,omitempty"`
	InputBytes      int64    `json:"input_bytes"`
	TapeBytes       uint64   `json:"tape_bytes"`
	Codec           string   `json:"codec"`
	Seconds         float64  `json:"seconds"`
	PerSecond       float64  `json:"records_per_second"`
}

func (f *importFlags) run(cmd *cobra.Command, path string) error {
	out := newOutput(cmd)
	sum, err := f.importFile(cmd.Context(), out, path)
	if err != nil {
		return err
	}
	return out.message("import.summary", sum, sum.text())
}

// importFile imports one file into a tape.
func (f *importFlags) importFile(ctx context.Context, out *output, path string) (sum *importSummary, err error) {
	if f.clock != "" && f.clock != "receive" && f.clock != "event" {
		return nil, usagef("--clock %q: want receive or event; a file has no send times of its own", f.clock)
	}
	codec, err := parseCodec(f.codec)
	if err != nil {
		return nil, err
	}
	if f.shards < 1 || f.shards > shard.Max {
		return nil, usagef("--shards %d: want 1 to %d", f.shards, shard.Max)
	}
	in, src, format, err := f.open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	if sum, err = f.write(ctx, out, in, src, codec); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	sum.Format = format
	return sum, nil
}

// synthScheme begins the name of an input that is generated.
const synthScheme = "synth:"

// open opens a file, or the generator, as a source.
func (f *importFlags) open(ctx context.Context, path string) (*feed.Input, feed.Source, string, error) {
	if spec, ok := strings.CutPrefix(path, synthScheme); ok {
		cfg, err := synth.ParseSpec(spec)
		if err != nil {
			return nil, nil, "", usageError{err}
		}
		src, err := synth.New(cfg)
		if err != nil {
			return nil, nil, "", usageError{err}
		}
		return &feed.Input{Name: path}, src, synth.Name, nil
	}
	in, err := feed.OpenMember(ctx, path, f.member)
	if err != nil {
		return nil, nil, "", err
	}
	format, err := feed.Detect(formats.All, in, f.opts.Format)
	if err != nil {
		return nil, nil, "", errors.Join(detectHint(err), in.Close())
	}
	src, err := format.Open(ctx, in, f.opts)
	if err != nil {
		return nil, nil, "", errors.Join(fmt.Errorf("%s: %w", path, err), in.Close())
	}
	return in, src, format.Name, nil
}

func parseCodec(name string) (tape.Codec, error) {
	if name == "" {
		return tape.CodecDefault, nil
	}
	c, err := tape.ParseCodec(name)
	if err != nil {
		return c, usageError{err}
	}
	return c, nil
}

// detectHint adds what to try when a format is not recognised.
func detectHint(err error) error {
	var names []string
	for _, f := range formats.All {
		names = append(names, f.Name)
	}
	var unknown *feed.ErrNoFormat
	if errors.As(err, &unknown) {
		return withHint(err, "--format is one of "+strings.Join(names, ", "))
	}
	return err
}

// tapeName is the name of the tape for an input without --output.
func (f *importFlags) tapeName(path string) string {
	if f.output != "" {
		return filepath.Clean(f.output)
	}
	base := filepath.Base(path)
	switch {
	case path == "-":
		base = "stdin"
	case strings.HasPrefix(path, synthScheme):
		base = "synth"
	}
	base, _, _ = strings.Cut(base, ".")
	return base + ".tape"
}

// write imports src into a tape that gets its name only at the end.
func (f *importFlags) write(ctx context.Context, out *output, in *feed.Input, src feed.Source, codec tape.Codec) (*importSummary, error) {
	dir := f.tapeName(in.Name)
	w, err := tape.Create(dir, tape.Config{
		Shards: f.shards, Codec: codec, BlockSize: f.block, SyncInterval: -1, Temporary: true, Generator: program(), ID: f.id,
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.Abort() }() // nothing after a good Close
	start := time.Now()
	stop := progressBar(ctx, out, "import", in.Size(), in.Consumed)
	defer stop()
	rep, err := recorder.Import(ctx, w, &sourceAdapter{src: src, byEvent: f.clock == "event"}, recorder.ImportConfig{
		Shards: f.shards, Epoch: wire.Epoch(start.UnixNano()), SkipBad: f.skipBad,
	})
	if err != nil {
		var bad *feed.BadRecord
		if errors.As(err, &bad) {
			err = withHint(err, "--skip-bad leaves unreadable places out and counts them")
		}
		return nil, err
	}
	if err := w.Describe([]wire.Encoding{src.Encoding()}, []string{sourceName(in)}); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	stop()
	f.report(out, in, &rep)
	sum, err := f.summary(dir, in, &rep, codec, time.Since(start))
	if noter, ok := src.(feed.Noter); ok && err == nil {
		sum.Notes = noter.Notes()
		for _, note := range sum.Notes {
			out.remark("%s: %s", in.Name, note)
		}
	}
	return sum, err
}

func sourceName(in *feed.Input) string {
	name := filepath.Base(in.Name)
	if in.Inner != "" {
		name += ":" + in.Inner
	}
	return name
}

// report remarks on what was odd about the input.
func (f *importFlags) report(out *output, in *feed.Input, rep *recorder.ImportReport) {
	for _, bad := range rep.BadFirst {
		out.remark("%s: skipped: %v", in.Name, bad)
	}
	if more := rep.Bad - uint64(len(rep.BadFirst)); more > 0 {
		out.remark("%s: skipped %d more bad places", in.Name, more)
	}
	if rep.OutOfOrder > 0 {
		out.remark("%s: %d records were received before the one before them, first record %d; they keep their place",
			in.Name, rep.OutOfOrder, rep.FirstOutOfOrder)
	}
	if rep.Records == 0 {
		out.remark("%s: no records", in.Name)
	}
}

func (f *importFlags) summary(dir string, in *feed.Input, rep *recorder.ImportReport, codec tape.Codec, took time.Duration) (*importSummary, error) {
	t, err := tape.Open(dir)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	info, err := t.Info()
	if err != nil {
		return nil, err
	}
	sum := &importSummary{
		Tape: dir, Records: rep.Records, Topics: rep.Topics,
		FirstEvent: int64(info.Totals.FirstEvent), LastEvent: int64(info.Totals.LastEvent),
		FirstReceive: int64(info.Totals.FirstReceive), LastReceive: int64(info.Totals.LastReceive),
		Bad: rep.Bad, OutOfOrder: rep.OutOfOrder, InputBytes: in.Size(), TapeBytes: info.Totals.StoredBytes,
		Codec: codec.String(), Seconds: took.Seconds(), PerSecond: float64(rep.Records) / max(took.Seconds(), 1e-9),
	}
	if rep.OutOfOrder > 0 {
		sum.FirstOutOfOrder = &rep.FirstOutOfOrder
	}
	for _, bad := range rep.BadFirst {
		sum.BadPlaces = append(sum.BadPlaces, bad.Error())
	}
	return sum, nil
}

func (s *importSummary) text() string {
	text := fmt.Sprintf("%s: %s records, %s from %s in %.2f s (%s records/s), %s as %s",
		s.Tape, thousands(s.Records), count(uint64(s.Topics), "topic"), s.Format, s.Seconds,
		thousands(uint64(s.PerSecond)), size(s.TapeBytes), s.Codec)
	if s.Bad > 0 {
		text += fmt.Sprintf(", %d bad places left out", s.Bad)
	}
	return text
}

// sourceAdapter gives a feed's records to the recorder.
type sourceAdapter struct {
	src     feed.Source
	fields  wire.Fields
	byEvent bool // the event time stands for the receive time, too
}

// Next implements recorder.Source.
func (a *sourceAdapter) Next() (*wire.Fields, error) {
	r, err := a.src.Next()
	if err != nil {
		var bad *feed.BadRecord
		if errors.As(err, &bad) {
			return nil, &recorder.BadRecord{Err: err}
		}
		return nil, err
	}
	a.fields = wire.Fields{Topic: r.Topic, Body: r.Body, Event: r.Event, Receive: r.Receive, Kind: r.Kind, Flags: r.Flags}
	if a.byEvent && r.Flags&wire.FlagNoEventTime == 0 {
		a.fields.Receive = r.Event
		a.fields.Flags |= wire.FlagNoReceiveTime
	}
	return &a.fields, nil
}
