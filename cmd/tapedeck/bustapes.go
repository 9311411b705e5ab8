package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/control"
)

func newTapes() *cobra.Command {
	var f busFlags
	cmd := &cobra.Command{
		Use:   "tapes",
		Short: "List, check and look at the tapes of tapedeck serve",
		Long: `Look at the tapes in the directory of a tapedeck serve, which may be on another
machine. Tapes are named relative to that directory.`,
		Example: example("tapedeck tapes list", "tapedeck tapes info es.tape", "tapedeck tapes last es.tape --at @open --topics GLBX.MDP3.ES"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f.add(cmd)
	cmd.AddCommand(newTapesList(&f), newTapesInfo(&f), newTapesVerify(&f), newTapesLast(&f))
	for _, sub := range cmd.Commands() {
		sub.Args = usageArgs(sub.Args)
	}
	return cmd
}

func newTapesList(f *busFlags) *cobra.Command {
	return &cobra.Command{
		Use: "list [DIR]", Short: "List the tapes",
		Long:    "List the tapes in the directory, or in one below it.",
		Example: example("tapedeck tapes list", "tapedeck tapes list --json | jq -r .tape"),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := newOutput(cmd)
			var (
				ask  control.TapesList
				list control.TapesListed
			)
			if len(args) > 0 {
				ask.Dir = args[0]
			}
			if err := f.ask(cmd.Context(), control.ServiceTapes, "list", ask, &list); err != nil {
				return err
			}
			if list.More > 0 {
				defer out.remark("%s more: name a directory below %s", count(uint64(list.More), "tape"), list.Dir)
			}
			if !out.json {
				if len(list.Tapes) == 0 {
					out.remark("there are no tapes in %s", list.Dir)
					return nil
				}
				return out.text(tapeTable(list.Tapes))
			}
			for i := range list.Tapes {
				if err := out.message("tape", &list.Tapes[i], ""); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func tapeTable(tapes []control.TapeEntry) string {
	return table("TAPE\tRECORDS\tTOPICS\tSTORED\tRECEIVED", len(tapes), func(i int) string {
		t := &tapes[i]
		if t.Error != "" {
			return fmt.Sprintf("%s\t-\t-\t-\t%s", t.Tape, t.Error)
		}
		state := ""
		if !t.Closed {
			state = ", not closed"
		}
		return fmt.Sprintf("%s\t%s\t%s\t%s\t%s to %s%s", t.Tape, thousands(t.Records), thousands(uint64(t.Topics)), size(t.StoredBytes),
			tapeTime(t.FirstTime), tapeTime(t.LastTime), state)
	})
}

func newTapesInfo(f *busFlags) *cobra.Command {
	return &cobra.Command{
		Use: "info TAPE", Short: "Show what is on a tape",
		Long:    "Show what is on a tape, as tapedeck info does.",
		Example: example("tapedeck tapes info es.tape"),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var info tapeInfo // the same as control.TapeInfo, and more of our own
			if err := f.ask(cmd.Context(), control.ServiceTapes, "info", control.TapeOf{Tape: args[0]}, &info); err != nil {
				return err
			}
			return newOutput(cmd).message("info", &info, info.text())
		},
	}
}

func newTapesVerify(f *busFlags) *cobra.Command {
	return &cobra.Command{
		Use: "verify TAPE", Short: "Check every byte of a tape",
		Long: `Check every byte of a tape, as tapedeck verify does, on the machine where it is. The
exit code is 0 for a sound tape and 3 for a damaged one. --timeout (an hour, unless
given) is how long it may take.`,
		Example: example("tapedeck tapes verify es.tape"),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("timeout") {
				f.timeout = time.Hour
			}
			var v control.TapeVerified
			if err := f.ask(cmd.Context(), control.ServiceTapes, "verify", control.TapeOf{Tape: args[0]}, &v); err != nil {
				return err
			}
			if err := newOutput(cmd).message("verify.summary", &v, verifiedText(&v)); err != nil {
				return err
			}
			if !v.OK {
				return damagedf("%s is damaged in %d places", v.Tape, v.Problems)
			}
			return nil
		},
	}
}

func verifiedText(v *control.TapeVerified) string {
	state := "sound"
	if !v.OK {
		state = "DAMAGED"
	}
	text := fmt.Sprintf("%s: %s, %s records in %d blocks, %s, digest %s", v.Tape, state, thousands(v.Records), v.Blocks, size(uint64(v.Bytes)), v.Digest)
	if !v.Closed {
		text += "\nnot closed: its writer is running, or was killed"
	}
	for _, found := range v.Found {
		text += "\n" + found
	}
	return text
}

func newTapesLast(f *busFlags) *cobra.Command {
	var a control.TapesLast
	cmd := &cobra.Command{
		Use: "last TAPE", Short: "Print every topic's last record as of a moment",
		Long:    "Print every topic's last record as of a moment, as tapedeck last does: at most\n--limit of them.",
		Example: example("tapedeck tapes last es.tape", "tapedeck tapes last es.tape --at 2023-12-25T14:30:00Z --topics GLBX.MDP3.ES"),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.Tape = args[0]
			var last control.TapeLast
			if err := f.ask(cmd.Context(), control.ServiceTapes, "last", a, &last); err != nil {
				return err
			}
			out := newOutput(cmd)
			for _, r := range last.Records {
				if err := printTapeRecord(out, r); err != nil {
					return err
				}
			}
			if n := last.Topics - len(last.Records); n > 0 {
				out.remark("%s more: --topics names some, --limit takes up to 1000", count(uint64(n), "topic"))
			}
			if last.Unknown > 0 {
				out.remark("warning: what %s had then lay in segments that were removed from the tape", count(uint64(last.Unknown), "topic"))
			}
			return nil
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&a.At, "at", "", "the moment: "+timeForms+" (default: the end of the tape)")
	fl.StringVar(&a.Clock, "clock", "", "the time that --at means: receive, event or send (default receive)")
	fl.StringSliceVar(&a.Topics, "topics", nil, "print only topics with one of these prefixes")
	fl.IntVar(&a.Limit, "limit", 0, "records to print at most (default 1000)")
	return cmd
}

// printTapeRecord prints a record that came as JSON.
func printTapeRecord(out *output, record json.RawMessage) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(record, &members); err != nil {
		return fmt.Errorf("a record that came is none: %w", err)
	}
	if out.json {
		if members["message_type"] != nil {
			return out.text(string(record))
		}
		return out.message("record", record, "")
	}
	var r control.TapeRecord
	if err := json.Unmarshal(record, &r); err != nil {
		return fmt.Errorf("a record that came is none: %w", err)
	}
	body := string(members["body"])
	if body == "" {
		body = r.BodyBase64
	}
	return out.text(strings.Join([]string{tapeTime(r.EventTime), r.Topic, fmt.Sprint(r.TopicSeq), r.Kind, body}, " "))
}
