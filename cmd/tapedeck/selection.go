package main

import (
	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/tape"
)

// selection is which records of a tape a command is about.
type selection struct {
	from, to string
	toFlag   string // name of the flag that sets to
	clock    string
	topics   []string
}

// addFlags declares the flags; verb says in their help what happens to records,
// and to is the name of the one for the end, "to" where that is free.
func (s *selection) addFlags(fl *pflag.FlagSet, verb, to string) {
	s.toFlag = to
	fl.StringVar(&s.from, "from", "", "start at this time: RFC 3339, to the nanosecond, or nanoseconds since 1970")
	fl.StringVar(&s.to, to, "", "stop before this time")
	fl.StringVar(&s.clock, "clock", "receive", "the time that --from and --"+to+" mean: receive, event or send")
	fl.StringSliceVar(&s.topics, "topics", nil, verb+" only topics with one of these prefixes")
}

// partial reports whether records are left out.
func (s *selection) partial() bool { return s.from != "" || s.to != "" || len(s.topics) > 0 }

// config returns the range of times. The topics are the caller's to filter.
func (s *selection) config() (tape.ReadConfig, error) {
	var (
		cfg tape.ReadConfig
		err error
	)
	if cfg.Clock, err = tape.ParseClock(s.clock); err != nil {
		return cfg, usageError{err}
	}
	if cfg.From, err = parseTime("--from", s.from); err != nil {
		return cfg, err
	}
	cfg.To, err = parseTime("--"+s.toFlag, s.to)
	return cfg, err
}
