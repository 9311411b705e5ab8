package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/replay/merge"
	"github.com/tapedeck/tapedeck/splice"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// playedTapes are the tapes of a player, one or several at once.
type playedTapes struct {
	dirs   []string
	list   []*tape.Tape
	source *merge.Source // nil where there is one tape
	about  splice.Description
}

// openPlayed opens tapes to be played as one, in the order of a clock.
func openPlayed(dirs []string, clock tape.Clock, out *output) (p *playedTapes, err error) {
	if err := differ(dirs); err != nil {
		return nil, err
	}
	p = &playedTapes{dirs: dirs}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	for _, dir := range dirs {
		t, err := openTape(dir, out)
		if err != nil {
			if len(dirs) > 1 {
				err = fmt.Errorf("%s: %w", dir, err)
			}
			return p, err
		}
		p.list = append(p.list, t)
	}
	if len(dirs) == 1 {
		info, err := p.list[0].Info()
		p.about = splice.Description{Records: info.Totals.Records, Shards: info.Shards, Sources: info.Sources, Encodings: info.Encodings}
		return p, err
	}
	if p.source, err = merge.New(p.list, clock); err != nil {
		return p, p.refusal(err)
	}
	p.about, err = splice.Describe(p.list)
	if n := p.about.Ambiguous; n > 0 {
		out.remark("%s with bodies that more than one encoding may fit", count(uint64(n), "topic"))
	}
	return p, err
}

// differ refuses a tape that is named twice.
func differ(dirs []string) error {
	seen := map[string]string{}
	for _, dir := range dirs {
		place, err := filepath.EvalSymlinks(dir)
		if err == nil {
			place, err = filepath.Abs(place)
		}
		if err != nil {
			place = filepath.Clean(dir) // whoever opens it is told
		}
		if first, ok := seen[place]; ok {
			return withHint(usagef("%s and %s are the same tape", first, dir), "name each tape once; --loop plays it several times")
		}
		seen[place] = dir
	}
	return nil
}

// refusal says by their names why tapes are not played together.
func (p *playedTapes) refusal(err error) error {
	var (
		same  *merge.SameError
		clock *merge.ClockError
	)
	switch {
	case errors.As(err, &same):
		return withHint(usagef("%s and %s are of one recording, and both have sequences %d to %d of shard %d: each of these would be played twice",
			p.dirs[same.First], p.dirs[same.Second], same.Span.From, same.Span.To-1, same.Span.Shard), "tapedeck cut makes tapes that do not overlap")
	case errors.As(err, &clock):
		other := tape.ClockReceive
		if clock.Clock == tape.ClockReceive {
			other = tape.ClockEvent
		}
		return withHint(usagef("%s has no %v times, and others have: there is no order of all by that clock", p.dirs[clock.Tape], clock.Clock), "--clock "+other.String())
	}
	return damagedError{err}
}

// close closes the tapes.
func (p *playedTapes) close() error {
	var errs []error
	for _, t := range p.list {
		errs = append(errs, t.Close())
	}
	p.list = nil
	return errors.Join(errs...)
}

// name names the tapes for people.
func (p *playedTapes) name() string { return strings.Join(p.dirs, ", ") }

// ids are the identities of the tapes, in their order.
func (p *playedTapes) ids() (string, error) {
	ids := make([]string, len(p.list))
	for i, t := range p.list {
		info, err := t.Info()
		if err != nil {
			return "", err
		}
		ids[i] = info.ID.String()
	}
	return strings.Join(ids, ","), nil
}

// put makes the tapes what a player plays.
func (p *playedTapes) put(cfg *replay.Config) {
	if p.source != nil {
		cfg.Source = p.source
		return
	}
	cfg.Tape = p.list[0]
}

// place is placeFor.
func (p *playedTapes) place(cfg *replay.Config) *wire.TapePlace {
	if p.source != nil {
		return nil
	}
	return placeFor(p.list[0], cfg)
}
