package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

func newMarks() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "marks",
		Short: "Name moments on a tape, to find them again",
		Long: `Name moments on a tape. Where a command takes a time for --from or --to, @NAME
is that of a mark. Marks lie beside the records: they change none, nor the tape's
digest, and can be added while the tape is recorded.`,
		Example: example(
			"tapedeck marks add es.tape --at 2023-12-25T14:30:00Z --name open",
			"tapedeck play es.tape --from @open",
		),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newMarksAdd(), newMarksList(), newMarksRemove())
	for _, sub := range cmd.Commands() {
		sub.Args = usageArgs(sub.Args)
	}
	return cmd
}

type marksAddFlags struct {
	at, atSeq, clock, name, note string
}

func newMarksAdd() *cobra.Command {
	var f marksAddFlags
	cmd := &cobra.Command{
		Use:   "add TAPE --name NAME",
		Short: "Add a mark",
		Example: example(
			"tapedeck marks add es.tape --name open --at 2023-12-25T14:30:00Z --note 'cash open'",
			"tapedeck marks add live.tape --name news --at now",
			"tapedeck marks add es.tape --name odd --at-seq 0:68790",
		),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.name, "name", "", "name of the mark (required)")
	fl.StringVar(&f.at, "at", "", `its time: RFC 3339, to the nanosecond, nanoseconds since 1970, or "now"`)
	fl.StringVar(&f.atSeq, "at-seq", "", "instead of --at, the record it stands at: SHARD:SEQUENCE, or EPOCH:SHARD:SEQUENCE on a tape of several")
	fl.StringVar(&f.clock, "clock", "receive", "the clock that its time is by: receive or event")
	fl.StringVar(&f.note, "note", "", "what it is about")
	_ = cmd.MarkFlagRequired("name")
	return cmd
}

// markLine is one mark.
type markLine struct {
	Name  string  `json:"name"`
	Clock string  `json:"clock"`
	Time  int64   `json:"time"`
	Epoch *uint64 `json:"epoch,omitempty"`
	Shard *int    `json:"shard,omitempty"`
	Seq   *uint64 `json:"seq,omitempty"`
	Note  string  `json:"note,omitempty"`
}

func printMark(out *output, m *tape.Mark) error {
	v := &markLine{Name: m.Name, Clock: m.Clock.String(), Time: int64(m.Time), Note: m.Note}
	text := fmt.Sprintf("%-16s %v", m.Name, m.Time)
	if m.Clock != tape.ClockReceive {
		text += " (" + v.Clock + ")"
	}
	if m.At != nil {
		epoch, seq := uint64(m.At.Epoch), uint64(m.At.Seq)
		v.Epoch, v.Shard, v.Seq = &epoch, &m.At.Shard, &seq
		text += fmt.Sprintf("  %d:%d:%d", epoch, m.At.Shard, seq)
	}
	if m.Note != "" {
		text += "  " + m.Note
	}
	return out.message("mark", v, text)
}

func (f *marksAddFlags) run(cmd *cobra.Command, dir string) error {
	out := newOutput(cmd)
	m := tape.Mark{Name: f.name, Note: f.note}
	var err error
	if m.Clock, err = tape.ParseClock(f.clock); err != nil || m.Clock == tape.ClockSend {
		return usagef("--clock %s: want receive or event; records have no send time of their own", f.clock)
	}
	switch {
	case (f.at == "") == (f.atSeq == ""):
		return usagef("want one of --at and --at-seq")
	case f.atSeq != "":
		err = f.locate(out, dir, &m)
	case f.at == "now":
		m.Time = wire.NanosOf(time.Now())
	default:
		m.Time, err = parseTime("--at", f.at)
	}
	if err != nil {
		return err
	}
	err = tape.AddMark(dir, m)
	switch {
	case errors.Is(err, tape.ErrMarkName):
		return usageError{err}
	case errors.Is(err, tape.ErrMarkExists):
		return withHint(err, "tapedeck marks remove takes the old one away")
	case err != nil:
		return marksError(err)
	}
	return printMark(out, &m)
}

// marksError tells damage apart.
func marksError(err error) error {
	var corrupt *tape.CorruptError
	if errors.As(err, &corrupt) {
		return damagedError{err}
	}
	return err
}

// locate finds the record of --at-seq.
func (f *marksAddFlags) locate(out *output, dir string, m *tape.Mark) error {
	t, err := openTape(dir, out)
	if err != nil {
		return err
	}
	defer t.Close()
	at, err := f.place(t)
	if err != nil {
		return err
	}
	pos, err := t.FindSeq(at.Epoch, at.Shard, at.Seq)
	if err != nil {
		return err
	}
	if pos.Seq != at.Seq {
		return fmt.Errorf("%s: sequence %d of shard %d is in a gap; the next one is %d", dir, at.Seq, at.Shard, pos.Seq)
	}
	b, err := t.ReadBlock(pos.Block, false)
	if err != nil {
		return damagedError{err}
	}
	defer b.Release()
	w := b.Records()
	for range pos.Index + 1 {
		w.Next()
	}
	m.At, m.Time = at, w.Record().Receive()
	if m.Clock == tape.ClockEvent {
		m.Time = w.Record().Event()
	}
	return nil
}

// place reads --at-seq. A tape of one epoch, or one shard, needs no word of it.
func (f *marksAddFlags) place(t *tape.Tape) (*tape.MarkAt, error) {
	parts := strings.Split(f.atSeq, ":")
	var n [3]uint64
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 64)
		if err != nil || len(parts) > len(n) {
			return nil, usagef("--at-seq %q: want SHARD:SEQUENCE or EPOCH:SHARD:SEQUENCE", f.atSeq)
		}
		n[len(n)-len(parts)+i] = v
	}
	epochs := t.Epochs()
	if len(parts) < 3 {
		if len(epochs) != 1 {
			return nil, usagef("--at-seq %q: the tape has %d epochs: want EPOCH:SHARD:SEQUENCE", f.atSeq, len(epochs))
		}
		n[0] = uint64(epochs[0])
	}
	if len(parts) < 2 && t.Shards() != 1 {
		return nil, usagef("--at-seq %q: the tape has %d shards: want SHARD:SEQUENCE", f.atSeq, t.Shards())
	}
	if n[1] >= uint64(t.Shards()) {
		return nil, usagef("--at-seq %q: the tape has %d shards", f.atSeq, t.Shards())
	}
	return &tape.MarkAt{Epoch: wire.Epoch(n[0]), Shard: int(n[1]), Seq: wire.Seq(n[2])}, nil
}

func newMarksList() *cobra.Command {
	return &cobra.Command{
		Use:     "list TAPE",
		Short:   "List the marks of a tape by their times",
		Example: example("tapedeck marks list es.tape"),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := newOutput(cmd)
			t, err := openTape(args[0], out)
			if err != nil {
				return err
			}
			defer t.Close()
			list, err := t.Marks()
			if err != nil {
				return marksError(err)
			}
			for i := range list {
				if err := printMark(out, &list[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func newMarksRemove() *cobra.Command {
	return &cobra.Command{
		Use:     "remove TAPE NAME",
		Short:   "Remove a mark",
		Example: example("tapedeck marks remove es.tape open"),
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := tape.RemoveMark(args[0], args[1]); err != nil {
				return marksError(err)
			}
			return newOutput(cmd).message("mark.removed", struct {
				Name string `json:"name"`
			}{args[1]}, args[1]+": removed")
		},
	}
}
