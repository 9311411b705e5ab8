package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/internal/prefix"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

type lastFlags struct {
	at     string
	clock  string
	topics []string
}

func newLast() *cobra.Command {
	var f lastFlags
	cmd := &cobra.Command{
		Use:   "last TAPE",
		Short: "Print every topic's last record as of a moment",
		Long: `Print every topic's last record as of a moment, in order of the topics: of the
topic's records whose time is not after --at, the last one on the tape. Without
--at, the last records of the whole tape.

It reads one keyframe and at most one keyframe interval of records, wherever on
the tape the moment is.`,
		Example: example(
			"tapedeck last es.tape --at 2023-12-25T14:30:00Z",
			"tapedeck last --json es.tape --at 1703514600000000000 --clock event --topics ESH4 | jq .body",
		),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.at, "at", "", "the moment: "+timeForms+" (default: the end of the tape)")
	fl.StringVar(&f.clock, "clock", "receive", "the time that --at means: receive, event or send")
	fl.StringSliceVar(&f.topics, "topics", nil, "print only topics with one of these prefixes")
	return cmd
}

// config returns what to look for; of when, run reads from the tape, which may
// have marks.
func (f *lastFlags) config() (tape.LastConfig, error) {
	cfg := tape.LastConfig{At: wire.NanosMax}
	var err error
	if cfg.Clock, err = tape.ParseClock(f.clock); err != nil {
		return cfg, usageError{err}
	}
	if err = checkTime("--at", f.at); err != nil {
		return cfg, err
	}
	if filter := prefix.New(f.topics); !filter.All() {
		cfg.Topics = filter.Match
	}
	return cfg, nil
}

func (f *lastFlags) run(cmd *cobra.Command, dir string) error {
	out := newOutput(cmd)
	cfg, err := f.config()
	if err != nil {
		return err
	}
	t, err := openTape(dir, out)
	if err != nil {
		return err
	}
	defer t.Close()
	if f.at != "" {
		if cfg.At, err = timeOn(t, cfg.Clock, "--at", f.at); err != nil {
			return err
		}
	}
	start := time.Now()
	l, err := t.Last(cmd.Context(), cfg)
	var corrupt *tape.CorruptError
	if errors.As(err, &corrupt) {
		return damagedError{err}
	}
	if err != nil {
		return err
	}
	took := time.Since(start)
	p := newRecordPrinter(out, t.Encodings())
	for n := 1; l.Next(); n++ {
		if err := p.print(l.Record()); err != nil {
			return err
		}
		if n%1024 == 0 && cmd.Context().Err() != nil {
			return context.Cause(cmd.Context())
		}
	}
	stats := l.Stats()
	for i := range stats.Passed {
		out.remark("warning: %s: %s; tapedeck repair makes it anew", dir, stats.Passed[i].String())
	}
	if stats.Unknown > 0 {
		out.remark("warning: what %s had then lay in segments that were removed from the tape", count(uint64(stats.Unknown), "topic"))
	}
	if err := out.flush(); err != nil {
		return err
	}
	sum := newLastSummary(dir, cfg, l, took)
	if !out.json {
		out.remark("%s", sum.text())
		return nil
	}
	return out.message("last.summary", sum, "")
}

// lastSummary is the last line of last, in JSON.
type lastSummary struct {
	Tape          string  `json:"tape"`
	At            int64   `json:"at_time"`
	Clock         string  `json:"clock"`
	Topics        int     `json:"topics"`
	Unknown       int     `json:"unknown"`
	KeyframeBlock int     `json:"keyframe_block"`
	KeyframeBytes int64   `json:"keyframe_bytes"`
	Blocks        int     `json:"blocks"`
	BlockBytes    int64   `json:"block_bytes"`
	Records       uint64  `json:"records"`
	Passed        int     `json:"keyframes_passed"`
	Seconds       float64 `json:"seconds"`
}

func newLastSummary(dir string, cfg tape.LastConfig, l *tape.Last, took time.Duration) *lastSummary {
	s := l.Stats()
	return &lastSummary{
		Tape: dir, At: int64(cfg.At), Clock: cfg.Clock.String(), Topics: l.Len(), Unknown: s.Unknown,
		KeyframeBlock: s.Keyframe, KeyframeBytes: s.KeyframeBytes, Blocks: s.Blocks, BlockBytes: s.BlockBytes,
		Records: s.Records, Passed: len(s.Passed), Seconds: took.Seconds(),
	}
}

// text says it in one line.
func (s *lastSummary) text() string {
	keyframe := ""
	if s.KeyframeBytes > 0 {
		keyframe = fmt.Sprintf("a keyframe of %s and ", size(uint64(s.KeyframeBytes)))
	}
	return fmt.Sprintf("%s, from %s%s in %s", count(uint64(s.Topics), "topic"), keyframe, count(s.Records, "record"), count(uint64(s.Blocks), "block"))
}
