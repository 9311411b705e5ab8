package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/wire"
)

const snapshotDefault = "tcp://127.0.0.1:7210"

// snapshotFlags are the flags of lvc's snapshot services.
type snapshotFlags struct {
	snapshot string
	clone    string
	rate     string
}

func (f *snapshotFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.snapshot, "snapshot", "", "endpoint to serve snapshots at, such as "+snapshotDefault+": to --snapshot of sub, and to Clone clients (CHP), whose updates are at the next port (default: none)")
	fl.StringVar(&f.clone, "clone", "", "as --snapshot, for Clone clients of models 2 to 4 alone, whose messages have three frames (default: none)")
	fl.StringVar(&f.rate, "snapshot-rate", "0", "bytes a second of snapshots to all readers together, such as 100MB (0: no bound)")
}

// snapshotService serves a proxy's last values to who asks for them.
type snapshotService struct {
	values lvcValues
	server *resync.Server // nil without --snapshot
	clones []*cloneServer
	silent atomic.Bool // the passive one of a pair
}

// open binds the endpoints. What is served is said by serve.
func (f *snapshotFlags) open() (_ *snapshotService, err error) {
	s := &snapshotService{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	cfg := resync.ServerConfig{Snapshots: &s.values}
	if f.rate != "0" {
		if cfg.Rate, err = parseBytes(f.rate); err != nil {
			return s, usagef("--snapshot-rate: %v", err)
		}
	}
	if f.snapshot == "" && f.rate != "0" {
		return s, usagef("--snapshot-rate says nothing without --snapshot")
	}
	if f.snapshot != "" {
		c, err := openClone(&s.values, f.snapshot, false, s.silent.Load)
		if err != nil {
			return s, fmt.Errorf("--snapshot: %w", err)
		}
		s.clones = append(s.clones, c)
		cfg.Endpoints, cfg.Fallback = []string{c.at.Snapshot}, c.server.Serve
		if s.server, err = resync.NewServer(cfg); err != nil {
			return s, withHint(err, "--snapshot chooses another endpoint")
		}
	}
	if f.clone != "" {
		c, err := openClone(&s.values, f.clone, true, s.silent.Load)
		if err != nil {
			return s, fmt.Errorf("--clone: %w", err)
		}
		s.clones = append(s.clones, c)
	}
	return s, nil
}

// HandleChange implements lvc.Watcher.
func (s *snapshotService) HandleChange(version uint64, topic []byte, h *wire.Plain, body []byte) {
	if s.silent.Load() {
		return // who goes over to this one asks for a snapshot
	}
	for _, c := range s.clones {
		c.change(version, topic, h, body)
	}
}

// watcher is the service where somebody must be told of changes, or nil.
func (s *snapshotService) watcher() lvc.Watcher {
	if len(s.clones) == 0 {
		return nil
	}
	return s
}

// run serves until the context ends, or one of the services fails.
func (s *snapshotService) run(ctx context.Context) error {
	var serve []func(context.Context) error
	if s.server != nil {
		serve = append(serve, s.server.Run)
	}
	for _, c := range s.clones {
		serve = append(serve, c.server.Run)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{}, len(serve))
	for _, run := range serve {
		go func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("snapshots: %w", err))
			}
			ended <- struct{}{}
		}()
	}
	<-ctx.Done()
	for range serve {
		<-ended
	}
	return context.Cause(ctx)
}

func (s *snapshotService) close() error {
	var errs []error
	if s.server != nil {
		errs = append(errs, s.server.Close())
	}
	for _, c := range s.clones {
		errs = append(errs, c.server.Close())
	}
	return errors.Join(errs...)
}

// snapshotServing says where snapshots are served.
type snapshotServing struct {
	Snapshot string   `json:"snapshot,omitempty"`
	Updates  string   `json:"snapshot_updates,omitempty"`
	Clone    []string `json:"clone,omitempty"` // snapshots and updates of models 2 to 4
}

func (s *snapshotService) serving() (at snapshotServing) {
	for _, c := range s.clones {
		e := c.server.Endpoints()
		if c.simple {
			at.Clone = []string{e.Snapshot, e.Updates}
		} else {
			at.Snapshot, at.Updates = s.server.Endpoints()[0], e.Updates
		}
	}
	return at
}

// snapshotSummary counts what was served.
type snapshotSummary struct {
	Snapshots uint64 `json:"snapshots"`        // to our own clients
	Entries   uint64 `json:"snapshot_entries"` // ... in them
	Errors    uint64 `json:"snapshot_errors"`
	Clones    uint64 `json:"clone_snapshots"` // to Clone clients
	Updates   uint64 `json:"clone_updates"`
	NotSet    uint64 `json:"clone_changes_refused"` // what Clone clients wanted to set
	CutOff    uint64 `json:"clone_dropped"`         // Clone clients that did not take their snapshot
}

func (s *snapshotService) summary() *snapshotSummary {
	sum := &snapshotSummary{}
	if s.server != nil {
		c := s.server.Counters()
		sum.Snapshots, sum.Entries, sum.Errors = c.Snapshots, c.Records, c.Errors.Total()
	}
	for _, c := range s.clones {
		st := c.server.Stats()
		sum.Clones += st.Served
		sum.Updates += st.Updates
		sum.NotSet += st.SetsReadOnly
		sum.CutOff += st.Dropped
	}
	return sum
}

// lvcValues are a proxy's last values for those who ask for a snapshot.
type lvcValues struct {
	proxy *lvc.Proxy
	pair  *lvcPair // nil: it is alone
}

// Snapshot implements resync.Snapshots. The past is a tape's to tell.
func (v *lvcValues) Snapshot(_ context.Context, q resync.Query) (resync.Snapshot, error) {
	if q.Clock != "" {
		return nil, errors.New("a last-value cache knows the last values of now alone: ask record, play or resync for those of another time")
	}
	if err := v.pair.accept(); err != nil {
		return nil, err
	}
	s := v.proxy.Snapshot(q.Prefixes...)
	if q.Epoch != 0 {
		for _, at := range s.Positions() {
			if at.Epoch != q.Epoch {
				s.Close()
				return nil, fmt.Errorf("%w: shard %d is in epoch %d", resync.ErrUnknownEpoch, at.Shard, at.Epoch)
			}
		}
	}
	return &lvcValue{s}, nil
}

// lvcValue is a snapshot in the words of resync.
type lvcValue struct{ *lvc.Snapshot }

// Positions implements resync.Snapshot.
func (s *lvcValue) Positions() []resync.Span {
	var spans []resync.Span
	for _, at := range s.Snapshot.Positions() {
		spans = append(spans, resync.Span{Epoch: at.Epoch, Shard: at.Shard, To: at.Next})
	}
	return spans
}

// Next implements resync.Snapshot.
func (s *lvcValue) Next() (wire.Record, resync.Span, bool) {
	r, from, ok := s.Snapshot.Next()
	return r, resync.Span{Epoch: from.Epoch, Shard: int(from.Shard), From: from.Seq}, ok
}
