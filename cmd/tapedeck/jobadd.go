package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/control"
)

// jobFlags are the flags of every job.
type jobFlags struct {
	bus  *busFlags
	args control.JobAdd
	wait bool
}

func newJobAdd(f *busFlags) *cobra.Command {
	j := jobFlags{bus: f}
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Add a job",
		Long: `Add a job. It is on the disk when this returns; --wait waits until it is done.

With --key it can be added again without harm: what has the same key is the same job.`,
		Example: example(
			"tapedeck job add import es.mbo.dbn.zst -o es.tape --key es-2023-12-25",
			"tapedeck job add record -o day.tape --at 2023-12-26T14:25:00Z --for 6h40m",
		),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	fl := cmd.PersistentFlags()
	fl.StringVar(&j.args.Key, "key", "", "what makes it the same job when it is added again")
	fl.StringVar(&j.args.At, "at", "", "when to begin: RFC 3339, nanoseconds since 1970, or +1h from now (default: now)")
	fl.StringVar(&j.args.Expires, "expires", "", "when not to begin any more, in the same form")
	fl.StringVar(&j.args.Note, "note", "", "what it is about")
	fl.BoolVar(&j.wait, "wait", false, "wait until it has ended; --timeout is then a day unless given")
	cmd.AddCommand(newJobImport(&j), newJobExport(&j), newJobRecord(&j))
	for _, sub := range cmd.Commands() {
		sub.Args = usageArgs(sub.Args)
	}
	return cmd
}

// add adds a job, and waits for it where that is wanted.
func (j *jobFlags) add(cmd *cobra.Command, kind string, args any) (err error) {
	if j.args.Args, err = json.Marshal(args); err != nil {
		return err
	}
	j.args.Kind = kind
	if j.wait {
		waitLong(cmd, j.bus)
	}
	b, err := j.bus.open(cmd.Context())
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := b.close(); err == nil {
			err = closeErr
		}
	}()
	var added control.JobAdded
	if err := b.do(cmd.Context(), control.ServiceJob, "add", j.args, &added); err != nil {
		return err
	}
	text := "added job " + added.ID
	if !added.Created {
		text = "job " + added.ID + " is there already: " + added.State
	}
	out := newOutput(cmd)
	if err := out.message("job", &added, text); err != nil || !j.wait {
		return err
	}
	var ended control.JobState
	if err := b.do(cmd.Context(), control.ServiceJob, "wait", control.JobOf{ID: added.ID}, &ended); err != nil {
		return err
	}
	if err := out.message("job", &ended, jobText(&ended)); err != nil {
		return err
	}
	return jobFailed(&ended)
}

// elsewhere is a file's name as another process on this machine finds it; a file
// that is not here is the serving process's to find.
func elsewhere(name string) string {
	if full, err := filepath.Abs(name); err == nil {
		if _, err := os.Stat(full); err == nil {
			return full
		}
	}
	return name
}

func newJobImport(j *jobFlags) *cobra.Command {
	var a control.ImportArgs
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Import a vendor's file",
		Long: `Import a vendor's file to a tape in the tapes directory. The flags are those of
tapedeck import.`,
		Example: example("tapedeck job add import es.mbo.dbn.zst -o es.tape", "tapedeck job add import trades.csv --columns time=ts:us,topic=symbol --wait"),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.File = elsewhere(args[0])
			if a.Tape == "" {
				a.Tape = (&importFlags{}).tapeName(args[0])
			}
			return j.add(cmd, control.JobImport, a)
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&a.Tape, "output", "o", "", "tape to write, in the tapes directory (default: the file's name with .tape)")
	fl.StringVar(&a.Format, "format", "", "format of the file (default: recognised by content)")
	fl.StringVar(&a.Preset, "preset", "", "csv, jsonl: a known layout")
	fl.StringVar(&a.Columns, "columns", "", "csv, jsonl, parquet: what the columns are")
	fl.StringVar(&a.Header, "header", "", `csv: "yes", "no" or "auto": whether the first line names the columns`)
	fl.StringVar(&a.TimeUnit, "time-unit", "", "csv: unit of bare numbers in time columns")
	fl.StringVar(&a.Date, "date", "", "YYYY-MM-DD: the date, where the file has only a time of day")
	fl.StringVar(&a.Zone, "zone", "", "time zone of times without one")
	fl.StringVar(&a.Topic, "topic", "", "topic prefix, or the whole topic where the file names none")
	fl.StringSliceVar(&a.Groups, "group", nil, "captures: only these group:port, groups or ports")
	fl.StringVar(&a.AB, "ab", "", `captures: "merge" the A and B lines, or "keep" both`)
	fl.StringVar(&a.Clock, "clock", "", "the times that the tape goes by: receive or event")
	fl.StringVar(&a.Dataset, "dataset", "", "dbn: dataset of a fragment without a head; itch: venue")
	fl.StringVar(&a.Member, "member", "", "zip: the member to read")
	fl.StringVar(&a.Codec, "codec", "", "compression of the tape: plain, s2, zstd or columns")
	fl.IntVar(&a.Shards, "shards", 0, "shards of the tape (default 1)")
	fl.IntVar(&a.BlockSize, "block-size", 0, "payload bytes of a block")
	fl.BoolVar(&a.SkipBad, "skip-bad", false, "leave unreadable places out and count them, instead of failing")
	return cmd
}

func newJobExport(j *jobFlags) *cobra.Command {
	var a control.ExportArgs
	cmd := &cobra.Command{
		Use: "export TAPE --to FORMAT -o FILE", Short: "Export a tape to a file",
		Long:    "Export a tape, or some of its records, to a file. The flags are those of tapedeck export.",
		Example: example("tapedeck job add export es.tape --to csv -o es.csv.zst", "tapedeck job add export es.tape --to parquet -o es.parquet --topics GLBX.MDP3.ES --wait"),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.Tape = args[0]
			if full, err := filepath.Abs(a.File); err == nil {
				a.File = full
			}
			return j.add(cmd, control.JobExport, a)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&a.To, "to", "", "format to write: "+strings.Join(targetNames(), ", "))
	fl.StringVarP(&a.File, "output", "o", "", "file to write")
	fl.StringVar(&a.From, "from", "", "start at this time: "+timeForms)
	fl.StringVar(&a.Until, "until", "", "stop before this time")
	fl.StringVar(&a.Clock, "clock", "", "the time that --from and --until mean: receive, event or send")
	fl.StringSliceVar(&a.Topics, "topics", nil, "export only topics with one of these prefixes")
	fl.BoolVar(&a.Force, "force", false, "replace a file that exists")
	fl.BoolVar(&a.Zstd, "zstd", false, "compress with zstd, whatever the file's name")
	_ = cmd.MarkFlagRequired("to")
	_ = cmd.MarkFlagRequired("output")
	return cmd
}

func newJobRecord(j *jobFlags) *cobra.Command {
	var a control.RecordArgs
	cmd := &cobra.Command{
		Use: "record -o TAPE", Short: "Record a stream, now or at a time",
		Long: `Record a stream to a tape in the tapes directory, from --at on, for --for or to the end
of the stream. Where serve was killed meanwhile the recording goes on with the same tape.`,
		Example: example("tapedeck job add record -o day.tape --connect tcp://feed:7100+ --shards 4 --at 2023-12-26T14:25:00Z --for 6h40m"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return j.add(cmd, control.JobRecord, a)
		},
	}
	addRecorder(cmd, &a.RecorderStart)
	cmd.Flags().StringVar(&a.For, "for", "", "how long to record, such as 6h40m (default: to the end of the stream)")
	return cmd
}
