package main

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// timeForms says in a flag's help how a time is written.
const timeForms = "RFC 3339, to the nanosecond, nanoseconds since 1970, or @ and a mark's name"

// parseTime reads a time flag; "" is 0, an open end.
func parseTime(flag, s string) (wire.Nanos, error) {
	if s == "" {
		return 0, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return wire.Nanos(n), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, usagef("%s %q: want RFC 3339 such as 2023-12-25T14:30:00.000000001Z, or nanoseconds since 1970", flag, s)
	}
	return wire.NanosOf(t), nil
}

// checkTime finds mistakes in a time flag before a tape is opened.
func checkTime(flag, s string) error {
	if strings.HasPrefix(s, "@") {
		return nil // only the tape knows its marks
	}
	_, err := parseTime(flag, s)
	return err
}

// timeOn reads a time flag that may name a mark of the tape, as a time by clock.
func timeOn(t *tape.Tape, clock tape.Clock, flag, s string) (wire.Nanos, error) {
	return timeOnAny([]*tape.Tape{t}, clock, flag, s)
}

// timeOnAny is timeOn for a mark that any of the tapes may have.
func timeOnAny(tapes []*tape.Tape, clock tape.Clock, flag, s string) (wire.Nanos, error) {
	name, marked := strings.CutPrefix(s, "@")
	if !marked {
		return parseTime(flag, s)
	}
	m, err := markOn(tapes, name)
	switch {
	case errors.Is(err, tape.ErrNoMark):
		what := "the tape has"
		if len(tapes) > 1 {
			what = "the tapes have"
		}
		return 0, withHint(usagef("%s %s: %s no such mark", flag, s, what), "tapedeck marks list shows the marks of a tape")
	case errors.Is(err, errMarks):
		return 0, withHint(usagef("%s %s: %w", flag, s, err), "tapedeck marks list shows the marks of a tape, with their times")
	case err != nil:
		return 0, damagedError{err}
	case m.Clock != clock:
		return 0, withHint(usagef("%s %s: the mark is a time by the %v clock, not the %v clock", flag, s, m.Clock, clock), "--clock "+m.Clock.String())
	}
	return m.Time, nil
}

// errMarks: one name, several places.
var errMarks = errors.New("several of the tapes have a mark of that name, at different times")

// markOn returns the mark of a name that one of the tapes has, or several at the same
// time.
func markOn(tapes []*tape.Tape, name string) (found tape.Mark, err error) {
	any := false
	for _, t := range tapes {
		m, err := t.FindMark(name)
		switch {
		case errors.Is(err, tape.ErrNoMark):
			continue
		case err != nil:
			return m, err
		case any && (m.Time != found.Time || m.Clock != found.Clock):
			return m, errMarks
		}
		found, any = m, true
	}
	if !any {
		return found, tape.ErrNoMark
	}
	return found, nil
}
