package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/tape"
)

// refillArgs is a [[refill]] of the configuration: a tape that is served to readers
// who missed some of it.
type refillArgs struct {
	Tape       string `json:"tape"`
	Bind       string `json:"bind"`
	Rate       string `json:"rate"`
	Workers    int    `json:"workers"`
	PerAddress int    `json:"per_address"`
	Backend    string `json:"backend"`
}

// tapeRefills serves a tape.
type tapeRefills struct {
	name   string
	tape   *followedTape
	served *refillServer
}

func (s *station) startRefills(context.Context) error {
	for i, table := range s.cfg.refill {
		var args refillArgs
		if err := tableArgs(tableRefill, i, table, &args); err != nil {
			return err
		}
		r, err := s.openRefills(&args)
		if err != nil {
			return tableError(tableRefill, i, err)
		}
		s.refills = append(s.refills, r)
		s.start(partRefill+" "+r.name, func(ctx context.Context) error {
			r.tape.run(ctx)
			return ctx.Err()
		}, func() error {
			_, err := r.served.stop()
			return errors.Join(err, r.tape.close())
		})
		s.show(partRefill+" "+r.name, r.served.show, "resync", r.name)
	}
	return nil
}

func (s *station) openRefills(a *refillArgs) (*tapeRefills, error) {
	path, err := s.tapes.existing("tape", a.Tape)
	if err != nil {
		return nil, err
	}
	f, cmd := &serveFlags{}, &cobra.Command{}
	f.addLimits(cmd)
	f.bind = resyncEndpointDefault
	if a.Bind != "" {
		f.bind = a.Bind
	}
	for _, v := range [][2]string{{"rate", a.Rate}, {"backend", a.Backend}} {
		if v[1] != "" {
			if err := cmd.Flags().Set(v[0], v[1]); err != nil {
				return nil, usagef("%s: %w", v[0], err)
			}
		}
	}
	if a.Workers != 0 {
		if err := cmd.Flags().Set("workers", strconv.Itoa(a.Workers)); err != nil {
			return nil, usagef("workers: %w", err)
		}
	}
	f.perAddr = a.PerAddress
	cfg, err := f.config(cmd.Flags())
	if err != nil {
		return nil, err
	}
	for _, e := range append(cfg.Endpoints, cfg.Backends...) {
		if err := s.cfg.mayBind(e); err != nil {
			return nil, err
		}
	}
	t, err := tape.Open(path)
	if err != nil {
		return nil, err
	}
	src := follow(t)
	cfg.Refills, cfg.Snapshots = refills{src}, &tapeSnapshots{open: src.now}
	served, err := f.serve(cfg, s.out)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", a.Tape, err), src.close())
	}
	return &tapeRefills{name: a.Tape, tape: src, served: served}, nil
}
