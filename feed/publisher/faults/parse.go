package faults

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Parse reads a Spec's text, a list such as
//
//	drop=0.1%,dup=0.05%,reorder=0.1%,delay=0.5%:20ms,corrupt=0.01%,seed=7,marks
//
// A rate is a percentage, or a part of one such as 0.001. Nothing may come twice. The
// seed is 0 where it is left out.
func Parse(text string) (Spec, error) {
	var s Spec
	seen := map[string]bool{}
	for item := range strings.SplitSeq(text, ",") {
		key, value, has := strings.Cut(item, "=")
		if seen[key] {
			return Spec{}, fmt.Errorf("%w: %s comes twice", ErrSpec, key)
		}
		seen[key] = true
		if has == (key == "marks") {
			return Spec{}, unknown(item)
		}
		if err := s.set(key, value); err != nil {
			return Spec{}, err
		}
	}
	return s, s.check()
}

func unknown(item string) error {
	return fmt.Errorf("%w: %q: want drop=, dup=, reorder=, corrupt= and a rate, delay= a rate:time, seed= a number, or marks", ErrSpec, item)
}

func (s *Spec) set(key, value string) (err error) {
	switch key {
	case "drop":
		s.Drop, err = parseRate(key, value)
	case "corrupt":
		s.Corrupt, err = parseRate(key, value)
	case "dup":
		s.Dup, err = parseRate(key, value)
	case "reorder":
		s.Reorder, err = parseRate(key, value)
	case "delay":
		err = s.setDelay(value)
	case "marks":
		s.Marks = true
	case "seed":
		if s.Seed, err = strconv.ParseUint(value, 10, 64); err != nil {
			err = fmt.Errorf("%w: seed=%s: want a number from 0 to 2^64-1", ErrSpec, value)
		}
	default:
		err = unknown(key)
	}
	return err
}

func (s *Spec) setDelay(value string) (err error) {
	rate, long, ok := strings.Cut(value, ":")
	if !ok {
		return fmt.Errorf("%w: delay=%s: how long? For example delay=0.5%%:20ms", ErrSpec, value)
	}
	if s.Delay, err = parseRate("delay", rate); err != nil {
		return err
	}
	if s.DelayFor, err = time.ParseDuration(long); err != nil {
		return fmt.Errorf("%w: delay=%s: %q is no time such as 20ms", ErrSpec, value, long)
	}
	return nil
}

func parseRate(key, text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	rate, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %s=%s: want a rate such as 0.1%%", ErrSpec, key, text)
	}
	if percent {
		rate /= 100
	}
	return rate, nil
}

// String returns a text that Parse makes the same Spec of.
func (s Spec) String() string {
	var items []string
	for i, rate := range s.rates() {
		if rate == 0 && !(Kind(i+1) == Delay && s.DelayFor != 0) {
			continue
		}
		item := Kind(i+1).String() + "=" + strconv.FormatFloat(rate, 'g', -1, 64)
		if Kind(i+1) == Delay {
			item += ":" + s.DelayFor.String()
		}
		items = append(items, item)
	}
	if s.Marks {
		items = append(items, "marks")
	}
	return strings.Join(append(items, "seed="+strconv.FormatUint(s.Seed, 10)), ",")
}
