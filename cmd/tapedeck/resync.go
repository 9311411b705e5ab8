package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/metrics"
	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/tape"
)

const resyncEndpointDefault = "tcp://127.0.0.1:7300"

func newResync() *cobra.Command {
	var (
		f     serveFlags
		shows metricsFlags
	)
	cmd := &cobra.Command{
		Use:   "resync TAPE",
		Short: "Serve what is on a tape to readers that missed it",
		Long: `Serve refills, places in time, and last values from a tape until Ctrl-C: what sub,
record and lvc ask for with --resync. The records must be those of the stream, with
its epochs and sequences: the tape is one that record has written.

The tape may be one that another process is recording. It is then opened again as
it grows, and gives out what is on the disk, which is what came before the
recorder's last --sync; record --resync-bind gives out what came since as well.
While it is open the recorder cannot remove old segments; so it is opened again
every few seconds in any case.`,
		Example: example(
			"tapedeck resync day.tape",
			"tapedeck resync day.tape --bind tcp://eth1:7300,ipc:///tmp/refills --rate 100MB",
		),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runResync(cmd, &f, &shows, args[0]) },
	}
	cmd.Flags().StringVar(&f.bind, "bind", resyncEndpointDefault, "endpoints to serve at, separated by commas")
	f.addLimits(cmd)
	shows.add(cmd)
	return cmd
}

func runResync(cmd *cobra.Command, f *serveFlags, shows *metricsFlags, dir string) (err error) {
	out := newOutput(cmd)
	cfg, err := f.config(cmd.Flags())
	if err != nil {
		return err
	}
	if len(cfg.Endpoints) == 0 {
		return usagef("--bind names no endpoint")
	}
	shown, err := shows.listen(out)
	if err != nil {
		return err
	}
	defer shown.close()
	t, err := openTape(dir, out)
	if err != nil {
		return err
	}
	src := follow(t)
	defer func() { err = errors.Join(err, src.close()) }()
	cfg.Refills, cfg.Snapshots = refills{src}, &tapeSnapshots{open: src.now}
	s, err := f.serve(cfg, out)
	if err != nil {
		return err
	}
	defer shown.show(s.show)()
	stop := watch(cmd.Context(), out, func() string { return newServeSummary(s.server.Counters()).text() })
	src.run(cmd.Context())
	stop()
	sum, err := s.stop()
	return errors.Join(out.message("resync.summary", sum, sum.text()), err, context.Cause(cmd.Context()))
}

func newResyncWorker() *cobra.Command {
	var (
		connect string
		workers int
		shows   metricsFlags
	)
	cmd := &cobra.Command{
		Use:   "resync-worker TAPE",
		Short: "Read a tape for a server of refills in another process",
		Long: `Read a tape for a command that serves refills with --resync-backend (resync:
--backend), until Ctrl-C. The server gives each read to whoever is free; when a
tape reader dies, or hangs, its read is given to another one. Any number of them may
come and go.

The tape is the one that the server records or serves, seen by way of the disk.`,
		Example: example("tapedeck resync-worker day.tape --connect ipc:///tmp/readers"),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if workers < 1 {
				return usagef("--workers %d: want 1 or more", workers)
			}
			return runResyncWorker(cmd, &shows, connect, workers, args[0])
		},
	}
	cmd.Flags().StringVar(&connect, "connect", "", "the server's backend (required)")
	cmd.Flags().IntVar(&workers, "workers", 1, "tape readers")
	shows.add(cmd)
	_ = cmd.MarkFlagRequired("connect")
	return cmd
}

func runResyncWorker(cmd *cobra.Command, shows *metricsFlags, endpoint string, workers int, dir string) (err error) {
	out := newOutput(cmd)
	shown, err := shows.listen(out)
	if err != nil {
		return err
	}
	defer shown.close()
	t, err := tape.Open(dir)
	if err != nil {
		return err
	}
	src := follow(t)
	defer func() { err = errors.Join(err, src.close()) }()
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	var (
		wg      sync.WaitGroup
		readers tapeReaders
	)
	defer wg.Wait()
	defer shown.show(func(sc *metrics.Scope) { sc.TapeReaders(readers.counters) })()
	for range workers {
		wg.Go(func() {
			if err := resync.TapeWorker(ctx, resync.TapeWorkerConfig{Endpoint: endpoint, Worker: readers.add}, refills{src}); err != nil {
				cancel(fmt.Errorf("%s: %w", endpoint, err))
			}
		})
	}
	out.remark("reading %s for %s", dir, endpoint)
	src.run(ctx)
	return context.Cause(ctx)
}
