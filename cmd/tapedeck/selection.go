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
	fl.StringVar(&s.from, "from", "", "start at this time: "+timeForms)
	fl.StringVar(&s.to, to, "", "stop before this time")
	fl.StringVar(&s.clock, "clock", "receive", "the time that --from and --"+to+" mean: receive, event or send")
	fl.StringSliceVar(&s.topics, "topics", nil, verb+" only topics with one of these prefixes")
}

// partial reports whether records are left out.
func (s *selection) partial() bool { return s.from != "" || s.to != "" || len(s.topics) > 0 }

// check finds mistakes in the flags before a tape is opened.
func (s *selection) check() error {
	if _, err := tape.ParseClock(s.clock); err != nil {
		return usageError{err}
	}
	if err := checkTime("--from", s.from); err != nil {
		return err
	}
	return checkTime("--"+s.toFlag, s.to)
}

// config returns the range of times on a tape, whose marks may be named. The
// topics are the caller's to filter.
func (s *selection) config(t *tape.Tape) (tape.ReadConfig, error) {
	var cfg tape.ReadConfig
	err := s.check()
	if err != nil {
		return cfg, err
	}
	cfg.Clock, _ = tape.ParseClock(s.clock) // check has looked at it
	if cfg.From, err = timeOn(t, cfg.Clock, "--from", s.from); err != nil {
		return cfg, err
	}
	cfg.To, err = timeOn(t, cfg.Clock, "--"+s.toFlag, s.to)
	return cfg, err
}
