package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/internal/prefix"
	"github.com/tapedeck/tapedeck/tape"
)

type catFlags struct {
	selection
	limit uint64
}

func newCat() *cobra.Command {
	var f catFlags
	cmd := &cobra.Command{
		Use:   "cat TAPE",
		Short: "Print the records of a tape, with their bodies decoded",
		Long: `Print the records of a tape in their one order over all shards: receive time,
topic, number within the topic, kind, and the fields of the body.`,
		Example: example(
			"tapedeck cat es.tape --limit 5",
			"tapedeck cat --json es.tape --from 2023-12-25T14:30:00Z | jq .body.price",
		),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := newOutput(cmd)
			if err := f.check(); err != nil {
				return err
			}
			t, err := openTape(args[0], out)
			if err != nil {
				return err
			}
			defer t.Close()
			cfg, err := f.config(t)
			if err != nil {
				return err
			}
			if err := f.print(cmd.Context(), out, t, cfg); err != nil {
				return err
			}
			return out.flush()
		},
	}
	fl := cmd.Flags()
	f.addFlags(fl, "print", "to")
	fl.Uint64Var(&f.limit, "limit", 0, "print at most so many records (0: all)")
	return cmd
}

func (f *catFlags) print(ctx context.Context, out *output, t *tape.Tape, cfg tape.ReadConfig) error {
	filter, p := prefix.New(f.topics), newRecordPrinter(out, t.Encodings())
	r := t.Records(cfg)
	defer r.Close()
	for n := uint64(0); r.Next(); {
		rec := r.Record()
		if !filter.Match(rec.Topic()) {
			continue
		}
		if err := p.print(rec); err != nil {
			return err
		}
		if n++; f.limit > 0 && n >= f.limit {
			return nil
		}
		if n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if err := r.Err(); err != nil {
		return damagedError{err}
	}
	return nil
}
