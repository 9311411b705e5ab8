package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/control"
)

func newJob() *cobra.Command {
	var f busFlags
	cmd := &cobra.Command{
		Use:   "job",
		Short: "Have imports, exports and recordings done, whatever dies meanwhile",
		Long: `Give work to tapedeck serve that outlives this command, and serve: a job that was
added is on the disk, and is done once, now or at its time, also where serve or the
machine was killed meanwhile.`,
		Example: example(
			"tapedeck job add import es.mbo.dbn.zst -o es.tape",
			"tapedeck job add export es.tape --to csv -o es.csv --wait",
			"tapedeck job add record -o day.tape --at 2023-12-26T14:25:00Z --for 6h40m",
			"tapedeck job list",
		),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f.add(cmd)
	cmd.AddCommand(newJobAdd(&f), newJobList(&f), newJobShow(&f), newJobWait(&f), newJobCancel(&f))
	for _, sub := range cmd.Commands() {
		sub.Args = usageArgs(sub.Args)
	}
	return cmd
}

func newJobList(f *busFlags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the jobs, the newest first",
		Long:    "List the jobs, the newest first. Those that are done stay in the list for a while.",
		Example: example("tapedeck job list", "tapedeck job list --json | jq 'select(.state == \"failed\")'"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := newOutput(cmd)
			var list control.JobList
			if err := f.ask(cmd.Context(), control.ServiceJob, "list", nil, &list); err != nil {
				return err
			}
			if list.More > 0 {
				defer out.remark("%s more", count(uint64(list.More), "job"))
			}
			if !out.json {
				if len(list.Jobs) == 0 {
					out.remark("there are no jobs: tapedeck job add gives one")
					return nil
				}
				return out.text(jobTable(list.Jobs))
			}
			for i := range list.Jobs {
				if err := out.message("job", &list.Jobs[i], ""); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func jobTable(jobs []control.JobState) string {
	return table("JOB\tKIND\tSTATE\tADDED\tNOTE", len(jobs), func(i int) string {
		j := &jobs[i]
		note := j.Note
		if j.Reason != "" {
			note = strings.TrimSpace(note + " " + j.Reason)
		}
		return fmt.Sprintf("%s\t%s\t%s\t%s\t%s", j.ID, j.Kind, j.State, tapeTime(j.AddedTime)[:19], note)
	})
}

// jobOf gives a command to a job and prints how it is then.
func jobOf(cmd *cobra.Command, f *busFlags, command, id string) error {
	var j control.JobState
	if err := f.ask(cmd.Context(), control.ServiceJob, command, control.JobOf{ID: id}, &j); err != nil {
		return err
	}
	if err := newOutput(cmd).message("job", &j, jobText(&j)); err != nil {
		return err
	}
	if command == "wait" {
		return jobFailed(&j)
	}
	return nil
}

// jobFailed is the error of a job that has ended and was not done.
func jobFailed(j *control.JobState) error {
	switch j.State {
	case "failed":
		return withHint(fmt.Errorf("job %s failed: %s", j.ID, j.Reason), j.Try)
	case "cancelled", "expired":
		return fmt.Errorf("job %s was %s", j.ID, j.State)
	}
	return nil
}

func newJobShow(f *busFlags) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a job, and what came of it",
		Long:    "Show a job: what it is, how it stands, and what came of it.",
		Example: example("tapedeck job show 5F1C0A62B3D94E0E8A7C1D2E3F405162"),
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return jobOf(cmd, f, "show", args[0]) },
	}
}

func newJobWait(f *busFlags) *cobra.Command {
	return &cobra.Command{
		Use: "wait ID", Short: "Wait until a job has ended",
		Long: `Wait until a job has ended, and show it. The exit code is 1 where it was not done.
--timeout (a day, unless given) is how long to wait; the job goes on all the same.`,
		Example: example("tapedeck job wait 5F1C0A62B3D94E0E8A7C1D2E3F405162"),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			waitLong(cmd, f)
			return jobOf(cmd, f, "wait", args[0])
		},
	}
}

// waitLong makes a day of the timeout, where nobody has given one.
func waitLong(cmd *cobra.Command, f *busFlags) {
	if !cmd.Flags().Changed("timeout") {
		f.timeout = 24 * time.Hour
	}
}

func newJobCancel(f *busFlags) *cobra.Command {
	return &cobra.Command{
		Use: "cancel ID", Short: "Cancel a job",
		Long:    "Cancel a job that has not begun, or break off one that is running.",
		Example: example("tapedeck job cancel 5F1C0A62B3D94E0E8A7C1D2E3F405162"),
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return jobOf(cmd, f, "cancel", args[0]) },
	}
}

// jobText is all of a job, for people.
func jobText(j *control.JobState) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" && value != "null" {
			fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	at := func(name string, ns int64) {
		if ns != 0 {
			row(name, tapeTime(ns))
		}
	}
	row("job", j.ID)
	row("kind", j.Kind+" "+string(j.Args))
	state := j.State
	if j.Attempts > 1 {
		state += fmt.Sprintf(", begun %d times", j.Attempts)
	}
	row("state", state)
	row("reason", j.Reason)
	row("try", j.Try)
	row("note", j.Note)
	row("key", j.Key)
	at("added", j.AddedTime)
	at("begins at", j.AtTime)
	at("expires", j.ExpireTime)
	at("ended", j.EndedTime)
	row("result", compactJSON(j.Result))
	_ = w.Flush()
	return strings.TrimRight(b.String(), "\n")
}

func compactJSON(b json.RawMessage) string { return strings.Join(strings.Fields(string(b)), " ") }
