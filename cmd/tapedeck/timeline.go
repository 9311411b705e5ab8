package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/splice"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// timelineFlags are those of info --timeline.
type timelineFlags struct {
	on     bool
	bucket string
	clock  string
}

// timelineRows is about how many rows --bucket auto makes.
const timelineRows = 40

// infoBucket is one stretch of time.
type infoBucket struct {
	Clock   string `json:"clock"`
	From    int64  `json:"from_time"`
	To      int64  `json:"to_time"`
	Records uint64 `json:"records"`
	Bytes   uint64 `json:"payload_bytes"`
}

// check finds mistakes in the flags before the tape is opened.
func (f *timelineFlags) check() (tape.Clock, time.Duration, error) {
	clock, err := tape.ParseClock(f.clock)
	if err != nil {
		return clock, 0, usageError{err}
	}
	if f.bucket == "auto" {
		return clock, 0, nil
	}
	width, err := time.ParseDuration(f.bucket)
	if err != nil || width <= 0 {
		return clock, 0, usagef(`--bucket %q: want "auto" or a duration such as 1m or 500ms`, f.bucket)
	}
	return clock, width, nil
}

// print counts and draws the timeline.
func (f *timelineFlags) print(ctx context.Context, out *output, t *tape.Tape) error {
	clock, width, err := f.check()
	if err != nil {
		return err
	}
	if width == 0 {
		width = splice.BucketWidth(clockSpan(t, clock), timelineRows)
	}
	list, err := splice.Timeline(ctx, t, clock, width)
	if errors.Is(err, splice.ErrBuckets) {
		return usagef("--bucket %v: the tape is too long for so short a time", width)
	}
	if err != nil {
		return spliceError(err)
	}
	most := uint64(1)
	for i := range list {
		most = max(most, list[i].Records)
	}
	layout := timeLayout(width)
	for i := range list {
		b := &list[i]
		if i > 0 && !out.json {
			if empty := (uint64(b.From)-uint64(list[i-1].From))/uint64(width) - 1; empty > 0 {
				if err := out.message("", nil, fmt.Sprintf("%*s  (%s without records)", len(layout), "...", count(empty, "bucket"))); err != nil {
					return err
				}
			}
		}
		v := &infoBucket{clock.String(), int64(b.From), int64(b.From) + int64(width), b.Records, b.Bytes}
		rate := float64(b.Records) / width.Seconds()
		err := out.message("info.bucket", v, strings.TrimRight(fmt.Sprintf("%s %12s %12s/s  %s",
			b.From.Time().Format(layout), thousands(b.Records), rateText(rate), bar(b.Records, most, 40)), " "))
		if err != nil {
			return err
		}
	}
	return nil
}

// clockSpan is the range of a tape's times by a clock.
func clockSpan(t *tape.Tape, c tape.Clock) tape.Span {
	s := tape.Span{Min: wire.NanosMax, Max: wire.NanosMin}
	for n := range t.Blocks() {
		b := t.Block(n)
		x := b.Receive
		switch c {
		case tape.ClockEvent:
			x = b.Event
		case tape.ClockSend:
			x = b.Send
		}
		s.Min, s.Max = min(s.Min, x.Min), max(s.Max, x.Max)
	}
	if s.Min > s.Max {
		return tape.Span{}
	}
	return s
}

// timeLayout shows as much of a time as buckets of a width need.
func timeLayout(width time.Duration) string {
	switch {
	case width%time.Second == 0:
		return "2006-01-02 15:04:05"
	case width%time.Millisecond == 0:
		return "2006-01-02 15:04:05.000"
	case width%time.Microsecond == 0:
		return "2006-01-02 15:04:05.000000"
	}
	return "2006-01-02 15:04:05.000000000"
}

func rateText(perSecond float64) string {
	if perSecond < 10 {
		return fmt.Sprintf("%.2g", perSecond)
	}
	return thousands(uint64(perSecond))
}

// bar draws n of most as a bar of at most width characters, in eighths.
func bar(n, most uint64, width int) string {
	eighths := int(float64(n) / float64(most) * float64(width) * 8)
	if n > 0 {
		eighths = max(eighths, 1) // what is there shows
	}
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune(" ▏▎▍▌▋▊▉")[rest])
	}
	return s
}
