package main

import (
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// loopFlag is what --loop says: how often a tape is played, or what part of it again
// and again.
type loopFlag struct {
	passes   int
	ranged   bool
	from, to string // of the part; "" is where the tape begins or ends
}

const loopForms = `how often to play: a number, or "forever"; or A..B: what lies between these times, again and again`

func parseLoopFlag(s string) (loopFlag, error) {
	if from, to, ok := strings.Cut(s, ".."); ok {
		f := loopFlag{passes: 1, ranged: true, from: from, to: to}
		if err := checkTime("--loop", from); err != nil {
			return f, err
		}
		return f, checkTime("--loop", to)
	}
	passes, err := parseLoop(s)
	return loopFlag{passes: passes}, err
}

func parseLoop(s string) (int, error) {
	if s == "forever" {
		return -1, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, usagef(`--loop %q: want a number from 1, "forever", or A..B with two times or marks`, s)
	}
	return n, nil
}

// part returns the part of the tapes that is played again and again, or nil.
func (f *loopFlag) part(tapes []*tape.Tape, clock tape.Clock) (*replay.Range, error) {
	if !f.ranged {
		return nil, nil
	}
	from, to := wire.Nanos(math.MinInt64), wire.Nanos(math.MaxInt64)
	var err error
	if f.from != "" {
		if from, err = timeOnAny(tapes, clock, "--loop", f.from); err != nil {
			return nil, err
		}
	}
	if f.to != "" {
		if to, err = timeOnAny(tapes, clock, "--loop", f.to); err != nil {
			return nil, err
		}
	}
	return &replay.Range{From: replay.ToTime(from, clock), To: replay.ToTime(to, clock)}, nil
}

// sessionName is what a player calls itself: after its tapes.
func sessionName(dirs []string) string {
	names := make([]string, len(dirs))
	for i, dir := range dirs {
		names[i] = deckName(filepath.ToSlash(dir))
	}
	return strings.Join(names, ",")
}
