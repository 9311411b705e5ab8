package itch

import (
	"fmt"
	"regexp"
	"time"
	_ "time/tzdata" // zones must be known where the system has none

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// defaultZone is where the exchange's midnight is.
const defaultZone = "America/New_York"

// halfDay is how far a message's time and its capture may lie apart before it is
// taken to be of another day.
const halfDay = wire.Nanos(12 * time.Hour)

// clock turns nanoseconds since midnight into times.
type clock struct {
	loc   *time.Location
	dated bool // the day is given; else it is that of the capture
	// Midnights of the day, and of those around it where the day is not given.
	before, midnight, after wire.Nanos
}

func newClock(opts *feed.Options) (clock, error) {
	zone := opts.Zone
	if zone == "" {
		zone = defaultZone
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return clock{}, fmt.Errorf("itch: zone %q: %w", zone, err)
	}
	return clock{loc: loc}, nil
}

// setDate fixes the day, given as YYYY-MM-DD.
func (c *clock) setDate(date string) error {
	t, err := time.ParseInLocation(time.DateOnly, date, c.loc)
	if err != nil || t.Year() < 1970 || t.Year() > 2261 {
		return fmt.Errorf("itch: date %q is not YYYY-MM-DD within 1970 and 2261", date)
	}
	c.dated, c.midnight = true, c.midnightOf(t, 0)
	return nil
}

// midnightOf is the start of the day of t, or of one some days from it.
func (c *clock) midnightOf(t time.Time, days int) wire.Nanos {
	y, m, d := t.Date()
	return wire.NanosOf(time.Date(y, m, d+days, 0, 0, 0, 0, c.loc))
}

// time returns the time of a message that was captured at a time.
func (c *clock) time(since uint64, captured wire.Nanos) wire.Nanos {
	if c.dated {
		return c.midnight + wire.Nanos(since)
	}
	if captured < c.midnight || captured >= c.after {
		t := captured.Time().In(c.loc)
		c.before, c.midnight, c.after = c.midnightOf(t, -1), c.midnightOf(t, 0), c.midnightOf(t, 1)
	}
	at := c.midnight + wire.Nanos(since)
	switch {
	case at-captured > halfDay:
		return c.before + wire.Nanos(since)
	case captured-at > halfDay:
		return c.after + wire.Nanos(since)
	}
	return at
}

// vendorName is how Nasdaq names its sample days beside MMDDYYYY: S013020-v50.
var vendorName = regexp.MustCompile(`(?:^|[/\\])S(\d\d)(\d\d)(\d\d)-v\d`)

// dateOf returns the date of a file: the option, else what its name holds.
func dateOf(in *feed.Input, opts *feed.Options) (string, error) {
	if opts.Date != "" {
		return opts.Date, nil
	}
	date, ok, err := feed.NameDate(in)
	if err != nil {
		return "", fmt.Errorf("itch: %w", err)
	}
	if ok {
		return date, nil
	}
	for _, name := range []string{in.Inner, in.Name} {
		if m := vendorName.FindStringSubmatch(name); m != nil {
			return "20" + m[3] + "-" + m[1] + "-" + m[2], nil
		}
	}
	return "", ErrDate
}
