package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

func newInfo() *cobra.Command {
	var (
		topics bool
		line   timelineFlags
	)
	cmd := &cobra.Command{
		Use:     "info TAPE",
		Short:   "Show what is on a tape",
		Example: example("tapedeck info es.tape", "tapedeck info --json --list-topics es.tape", "tapedeck info --timeline --bucket 1m es.tape"),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runInfo(cmd.Context(), newOutput(cmd), args[0], topics, &line)
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&topics, "list-topics", false, "list every topic with its count")
	fl.BoolVar(&line.on, "timeline", false, "show how many records there are over time")
	fl.StringVar(&line.bucket, "bucket", "auto", `length of a stretch of the timeline, such as 1m, or "auto"`)
	fl.StringVar(&line.clock, "clock", "receive", "clock of the timeline: receive, event or send")
	return cmd
}

// tapeInfo is the JSON form of a tape's description.
type tapeInfo struct {
	Tape         string          `json:"tape"`
	ID           string          `json:"id"`
	Created      string          `json:"created"`
	Generator    string          `json:"generator"`
	Closed       bool            `json:"closed"`
	Records      uint64          `json:"records"`
	Topics       int             `json:"topics"`
	FirstEvent   int64           `json:"first_event_time"`
	LastEvent    int64           `json:"last_event_time"`
	MinEvent     int64           `json:"min_event_time"`
	MaxEvent     int64           `json:"max_event_time"`
	FirstReceive int64           `json:"first_receive_time"`
	LastReceive  int64           `json:"last_receive_time"`
	MinReceive   int64           `json:"min_receive_time"`
	MaxReceive   int64           `json:"max_receive_time"`
	Shards       int             `json:"shards"`
	Epochs       int             `json:"epochs"`
	Codec        string          `json:"codec"`
	PayloadBytes uint64          `json:"payload_bytes"`
	StoredBytes  uint64          `json:"stored_bytes"`
	Blocks       int             `json:"blocks"`
	Segments     int             `json:"segments"`
	Removed      uint64          `json:"removed_records"`
	RemovedSegs  int             `json:"removed_segments"`
	SyncInterval int64           `json:"sync_interval_ns"`
	Digest       string          `json:"digest"`
	Sources      []string        `json:"sources"`
	Encodings    []wire.Encoding `json:"encodings"`
	Torn         *tape.Torn      `json:"torn,omitempty"`
}

func runInfo(ctx context.Context, out *output, dir string, topics bool, line *timelineFlags) error {
	if _, _, err := line.check(); err != nil {
		return err
	}
	t, err := openTape(dir, out)
	if err != nil {
		return err
	}
	defer t.Close()
	info, err := t.Info()
	if err != nil {
		return err
	}
	v := newTapeInfo(dir, &info, t.Recovered().Torn)
	if err := out.message("info", v, v.text()); err != nil {
		return err
	}
	if line.on {
		if err := line.print(ctx, out, t); err != nil {
			return err
		}
	}
	if topics {
		return listTopics(out, t)
	}
	return nil
}

func newTapeInfo(dir string, i *tape.Info, torn *tape.Torn) *tapeInfo {
	s := &i.Totals
	return &tapeInfo{
		Tape: dir, ID: i.ID.String(), Created: i.Created.String(), Generator: i.Generator, Closed: i.Closed,
		Records: s.Records, Topics: s.Topics,
		FirstEvent: int64(s.FirstEvent), LastEvent: int64(s.LastEvent), MinEvent: int64(s.Event.Min), MaxEvent: int64(s.Event.Max),
		FirstReceive: int64(s.FirstReceive), LastReceive: int64(s.LastReceive), MinReceive: int64(s.Receive.Min), MaxReceive: int64(s.Receive.Max),
		Shards: i.Shards, Epochs: s.Epochs, Codec: i.Codec.String(), PayloadBytes: s.PayloadBytes, StoredBytes: s.StoredBytes,
		Blocks: s.Blocks, Segments: len(i.Segments), Removed: i.Removed.Records, RemovedSegs: i.Removed.Segments, SyncInterval: int64(i.SyncInterval), Digest: i.Digest.String(),
		Sources: i.Sources, Encodings: i.Encodings, Torn: torn,
	}
}

func (v *tapeInfo) text() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("tape", "%s", v.Tape)
	row("records", "%s on %s", thousands(v.Records), count(uint64(v.Topics), "topic"))
	if v.Records > 0 {
		row("received", "%v to %v", wire.Nanos(v.FirstReceive), wire.Nanos(v.LastReceive))
		row("happened", "%v to %v", wire.Nanos(v.FirstEvent), wire.Nanos(v.LastEvent))
		if v.MinEvent != v.FirstEvent || v.MaxEvent != v.LastEvent {
			row("", "(%v at the earliest, %v at the latest)", wire.Nanos(v.MinEvent), wire.Nanos(v.MaxEvent))
		}
	}
	for _, e := range v.Encodings {
		topics := ""
		if e.Topics != "" {
			topics = " of " + e.Topics + "*"
		}
		row("bodies", "%s%s%s", e.Format, topics, encodingDetail(e))
	}
	row("sources", "%s", strings.Join(v.Sources, ", "))
	row("size", "%s stored as %s, %s of records (%.2f to 1)", size(v.StoredBytes), v.Codec, size(v.PayloadBytes),
		float64(v.PayloadBytes)/float64(max(v.StoredBytes, 1)))
	if v.RemovedSegs > 0 {
		row("removed", "%s in %d segments, by retention", count(v.Removed, "record"), v.RemovedSegs)
	}
	row("layout", "%s, %s in %s, %s", count(uint64(v.Shards), "shard"), count(uint64(v.Blocks), "block"), count(uint64(v.Segments), "segment"), count(uint64(v.Epochs), "epoch"))
	state := "closed"
	if !v.Closed {
		state = "NOT CLOSED: its writer is running, or was killed"
	}
	row("state", "%s", state)
	row("created", "%s by %s", v.Created, v.Generator)
	row("digest", "%s", v.Digest)
	_ = w.Flush()
	return strings.TrimRight(b.String(), "\n")
}

// encodingDetail shows the short details of an encoding.
func encodingDetail(e wire.Encoding) string {
	var parts []string
	for _, key := range []string{"version", "dataset", "schema", "preset", "columns"} {
		if v := e.Detail[key]; v != "" && len(v) < 100 {
			parts = append(parts, key+" "+v)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func listTopics(out *output, t *tape.Tape) error {
	topics, err := t.Topics()
	if err != nil {
		return err
	}
	for _, x := range topics {
		err := out.message("info.topic", struct {
			Topic   string `json:"topic"`
			Records uint64 `json:"records"`
		}{x.Topic, x.Records}, fmt.Sprintf("%12s  %s", thousands(x.Records), x.Topic))
		if err != nil {
			return err
		}
	}
	return nil
}
