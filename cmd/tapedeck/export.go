package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/export"
	"github.com/tapedeck/tapedeck/internal/prefix"
	"github.com/tapedeck/tapedeck/tape"
)

type exportFlags struct {
	selection
	target  string
	output  string
	force   bool
	zstd    bool
	group   string
	session string
	mtu     int
}

func newExport() *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export TAPE --to FORMAT -o FILE",
		Short: "Write the records of a tape as a file of another format",
		Long: `Write the records of a tape, or those that --from, --until and --topics select,
as a file. FILE may be - for standard output. A name that ends in .zst or .gz is
compressed so. The file appears under its name only when it is whole.

Formats:
` + targetList() + `

A tape that came from one DBN, CSV or JSON lines file gives that file back byte
for byte, before compression.`,
		Example: example(
			"tapedeck export es.tape --to dbn -o es.mbo.dbn.zst",
			"tapedeck export es.tape --to parquet --topics GLBX.MDP3.ESH4 -o esh4.parquet",
			"tapedeck export es.tape --to csv --from 2023-12-25T14:30:00Z -o - | head",
			"tapedeck export itch.tape --to pcap --group 233.54.12.111:26477 -o itch.pcap",
		),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	fl := cmd.Flags()
	f.addFlags(fl, "write", "until") // --to names the format
	fl.StringVar(&f.target, "to", "", "format to write: "+strings.Join(targetNames(), ", "))
	fl.StringVarP(&f.output, "output", "o", "", "file to write; - is standard output")
	fl.BoolVar(&f.force, "force", false, "replace a file that exists")
	fl.BoolVar(&f.zstd, "zstd", false, "compress with zstd, whatever the file's name")
	fl.StringVar(&f.group, "group", "", "pcap of ITCH: group and port that packets go to (default 233.54.12.111:26477)")
	fl.StringVar(&f.session, "session", "", "pcap of ITCH: MoldUDP64 session, up to 10 letters and digits (default TAPEDECK)")
	fl.IntVar(&f.mtu, "mtu", 0, "pcap of ITCH: largest IP packet that messages are put together in, bytes (default 1500)")
	_ = cmd.MarkFlagRequired("to")
	_ = cmd.MarkFlagRequired("output")
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.FixedCompletions(targetNames(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func targetNames() []string {
	var names []string
	for _, t := range export.Targets {
		names = append(names, t.Name)
	}
	return names
}

func targetList() string {
	var b strings.Builder
	for _, t := range export.Targets {
		fmt.Fprintf(&b, "  %-8s %s\n", t.Name, t.Title)
	}
	return strings.TrimRight(b.String(), "\n")
}

// exportSummary is the last line of export.
type exportSummary struct {
	File         string   `json:"file"`
	Format       string   `json:"format"`
	Records      uint64   `json:"records"`
	ContentBytes uint64   `json:"content_bytes"`
	FileBytes    uint64   `json:"file_bytes"`
	Notes        []string `json:"notes,omitempty"`
	Seconds      float64  `json:"seconds"`
	PerSecond    float64  `json:"records_per_second"`
}

func (f *exportFlags) run(cmd *cobra.Command, dir string) error {
	out := newOutput(cmd)
	sum, err := f.exportTape(cmd.Context(), out, dir, cmd.OutOrStdout())
	if err != nil || f.output == "-" { // standard output is the data
		return err
	}
	return out.message("export.summary", sum, sum.text())
}

// exportTape exports a tape to the file, or to standard output.
func (f *exportFlags) exportTape(ctx context.Context, out *output, dir string, stdout io.Writer) (*exportSummary, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	t, err := openTape(dir, out)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	rng, err := f.config(t)
	if err != nil {
		return nil, err
	}
	w := &exportWalk{tape: t, cfg: rng, filter: prefix.New(f.topics)}
	cfg, err := f.exportConfig(t, w)
	if err != nil {
		return nil, err
	}
	x, err := export.New(f.target, cfg)
	if err != nil {
		return nil, exportHint(err)
	}
	start := time.Now()
	stop, err := f.progress(ctx, out, t, x, w)
	if err != nil {
		return nil, err
	}
	rep, err := f.write(ctx, x, stdout)
	stop()
	if err != nil {
		return nil, exportError(err)
	}
	for _, note := range rep.Notes {
		out.remark("%s: %s", dir, note)
	}
	took := time.Since(start)
	return &exportSummary{
		File: f.output, Format: f.target, Records: rep.Records, ContentBytes: rep.Content, FileBytes: rep.Bytes,
		Notes: rep.Notes, Seconds: took.Seconds(), PerSecond: float64(rep.Records) / max(took.Seconds(), 1e-9),
	}, nil
}

func (s *exportSummary) text() string {
	return fmt.Sprintf("%s: %s as %s in %.2f s (%s records/s), %s",
		s.File, count(s.Records, "record"), s.Format, s.Seconds, thousands(uint64(s.PerSecond)), size(s.FileBytes))
}

// exportConfig puts the flags together.
func (f *exportFlags) exportConfig(t *tape.Tape, w *exportWalk) (export.Config, error) {
	topics, err := t.Topics()
	if err != nil {
		return export.Config{}, damagedError{err}
	}
	cfg := export.Config{
		Open: w.open, Encodings: t.Encodings(), Part: f.partial(),
		Compression: export.CompressionOf(f.output), Session: f.session, MTU: f.mtu,
	}
	for i := range topics {
		if name := topics[i].Topic; w.filter.Match([]byte(name)) {
			cfg.Topics = append(cfg.Topics, name)
		}
	}
	if f.zstd {
		cfg.Compression = export.Zstd
	}
	if f.group != "" {
		group, err := netip.ParseAddrPort(f.group)
		if err != nil {
			return cfg, usagef("--group %q: want an address and a port, such as 233.54.12.111:26477", f.group)
		}
		cfg.Group = group
	}
	return cfg, nil
}

// exportHint makes mistakes in the options usage errors, and adds what to try.
func exportHint(err error) error {
	switch {
	case errors.Is(err, export.ErrTarget), errors.Is(err, export.ErrOption):
		return usageError{err}
	case errors.Is(err, export.ErrEncoding):
		return withHint(err, "csv, jsonl and parquet are written of any records")
	}
	return err
}

// exportError sorts errors of writing.
func exportError(err error) error {
	var read *export.ReadError
	switch {
	case errors.As(err, &read):
		return damagedError{err}
	case errors.Is(err, fs.ErrExist):
		return withHint(err, "--force replaces it")
	}
	return err
}

// write writes to the file, or to standard output.
func (f *exportFlags) write(ctx context.Context, x *export.Export, stdout io.Writer) (export.Report, error) {
	if f.output == "-" {
		return x.Write(ctx, stdout)
	}
	file, err := export.Create(f.output, f.force)
	if err != nil {
		return export.Report{}, err
	}
	defer file.Abort() // nothing after a good Commit
	rep, err := x.Write(ctx, file)
	if err != nil {
		return rep, err
	}
	return rep, file.Commit()
}

// progress shows how far an export is. How many records a range of times has is
// not known before, so then it shows how many there were.
func (f *exportFlags) progress(ctx context.Context, out *output, t *tape.Tape, x *export.Export, w *exportWalk) (stop func(), err error) {
	if f.from != "" || f.to != "" {
		return watch(ctx, out, func() string {
			return "export: " + count(uint64(w.seen.Load()), "record")
		}), nil
	}
	info, err := t.Info()
	if err != nil {
		return nil, err
	}
	return progressBar(ctx, out, "export", int64(info.Totals.Records)*int64(x.Passes), w.seen.Load), nil
}
