package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/subscriber"
)

// policyFlags are the flags of a reader that minds whether it is too slow.
type policyFlags struct {
	policy string
	limit  time.Duration
}

const lagLimitDefault = time.Second

func (f *policyFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.policy, "policy", "", "what to do when this reader is too slow: "+strings.Join(snail.PolicyWords(), ", ")+" (default: nothing)")
	fl.DurationVar(&f.limit, "lag-limit", lagLimitDefault, "with --policy: how late is too slow")
	_ = cmd.RegisterFlagCompletionFunc("policy", cobra.FixedCompletions(snail.PolicyWords(), cobra.ShellCompDirectiveNoFileComp))
}

// slowConfig is what a slowWatch is made from.
type slowConfig struct {
	policy    snail.Policy
	limit     time.Duration
	name      string
	shards    int
	workers   int              // 0: the receive loops do the work
	topics    []string         // prefixes of those that are wanted
	snapshots resync.Snapshots // of PolicySkip
}

// watch returns what watches the reader, or nil without a policy. snapshots is
// where a fresh one comes from, or nil.
func (f *policyFlags) watch(cfg subscriber.Config, workers int, topics []string, snapshots resync.Snapshots, out *output) (*slowWatch, error) {
	if f.policy == "" {
		if f.limit != lagLimitDefault {
			return nil, usagef("--lag-limit says nothing without --policy")
		}
		return nil, nil
	}
	p, err := snail.ParsePolicy(f.policy)
	switch {
	case err != nil:
		return nil, usagef("--policy %q: want one of %s", f.policy, strings.Join(snail.PolicyWords(), ", "))
	case f.limit <= 0:
		return nil, usagef("--lag-limit %v: want a time above 0", f.limit)
	case p == snail.PolicySkip && snapshots == nil:
		return nil, usagef("--policy skip goes on behind a fresh snapshot and there is nowhere to take one from: it needs --snapshot or --resync")
	case workers > 0 && (p == snail.PolicyConflate || p == snail.PolicySkip):
		return nil, usagef("--policy %v works without --workers: what is skipped, each receive loop decides for its shard", p)
	}
	return newSlowWatch(slowConfig{
		policy: p, limit: f.limit, name: cfg.Name, shards: len(cfg.Endpoints), workers: workers,
		topics: topics, snapshots: snapshots,
	}, out)
}

// slowError says that the reader was too slow and its policy is to die of it.
type slowError struct {
	squawk snail.Squawk
	limit  time.Duration
}

func (e slowError) Error() string {
	return fmt.Sprintf("too slow, the limit is %v: %v", e.limit, &e.squawk)
}

// How long a reader that dies waits for what it is in the middle of: one that is
// stuck may be so for ever, another one ends what it is at.
const slowGrace, stuckGrace = 5 * time.Second, 500 * time.Millisecond

// run runs a box and watches it; without a watch it just runs it. stuck: the
// reader is too slow, stuck, and was left behind, so nothing that it holds may be
// touched.
func (w *slowWatch) run(ctx context.Context, run func(context.Context) error) (_ error, stuck bool) {
	if w == nil {
		return run(ctx), false
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	helpers := w.start(ctx, cancel)
	ended := make(chan error, 1)
	go func() {
		err := run(ctx)
		if err == nil && w.conflater != nil {
			err = w.conflater.Drain(ctx) // what waits is handed over, the latest of each topic
		}
		if err == nil && w.gate != nil {
			err = w.lastSkip(ctx)
		}
		cancel(err)
		helpers.Wait()
		ended <- err
	}()
	select {
	case err := <-ended:
		return err, false
	case <-w.dead:
	}
	slow, grace := w.died.Load(), slowGrace
	if slow.squawk.Verdict == snail.Stuck {
		grace = stuckGrace
	}
	cancel(*slow)
	select {
	case <-ended:
		return *slow, false
	case <-time.After(grace):
		return *slow, true
	}
}

// inTime makes a function give up when it takes too long: who was too slow may
// have a reader that does not read.
func inTime(f func() error) func() error {
	return func() error {
		done := make(chan error, 1)
		go func() { done <- f() }()
		select {
		case err := <-done:
			return err
		case <-time.After(slowGrace):
			return nil
		}
	}
}

// policySummary is the part of sub.summary that tells what a policy did.
type policySummary struct {
	Policy    snail.Policy `json:"policy"`
	LimitNs   int64        `json:"lag_limit_ns"`
	Squawks   uint64       `json:"squawks"`
	LagNs     int64        `json:"lag_ns"`
	SkewNs    int64        `json:"skew_ns"`
	Passed    uint64       `json:"passed_records"`
	Conflated uint64       `json:"conflated_records"`
	Skipped   uint64       `json:"skipped_records"`
	Dropped   uint64       `json:"dropped_records"`
	Waiting   int          `json:"waiting_records"`
	Times     uint64       `json:"times_conflated"`
	Snapshots uint64       `json:"snapshots"`
	Entries   uint64       `json:"snapshot_entries"`
	Discarded uint64       `json:"discarded_records"`
	Untold    uint64       `json:"untold"`
}

// summary is nil without a policy.
func (w *slowWatch) summary(records uint64) *policySummary {
	if w == nil {
		return nil
	}
	s := &policySummary{
		Policy: w.cfg.policy, LimitNs: int64(w.cfg.limit), Squawks: w.squawks.Load(), Passed: records,
		Snapshots: w.taken.Load(), Entries: w.entries.Load(), Untold: w.unsaid.Load(),
	}
	for shard := range w.lanes {
		one := w.status(shard)
		s.LagNs, s.SkewNs = max(s.LagNs, int64(one.Lag)), largest(s.SkewNs, int64(one.Skew))
	}
	if w.conflater != nil {
		c := w.conflater.Summary()
		s.Passed, s.Conflated, s.Skipped, s.Dropped = c.Passed, c.Conflated, c.Skipped, c.Dropped
		s.Waiting, s.Times, s.Untold = c.Waiting, c.Times, s.Untold+c.Untold
	}
	if w.gate != nil {
		g := w.gate.Summary()
		s.Discarded, s.Untold = g.Discarded+g.Kept, s.Untold+g.Untold
		s.Passed = records - s.Discarded
	}
	return s
}

// largest is the one that is further from 0.
func largest(a, b int64) int64 {
	if max(a, -a) >= max(b, -b) {
		return a
	}
	return b
}

func (s *policySummary) text() string {
	if s == nil {
		return ""
	}
	parts := []string{fmt.Sprintf("; policy %v: %s", s.Policy, count(s.Squawks, "squawk"))}
	for _, x := range []struct {
		n    uint64
		what string
	}{{s.Conflated, "conflated"}, {s.Skipped, "skipped"}, {s.Dropped, "dropped"}, {s.Discarded, "discarded"}} {
		if x.n > 0 {
			parts = append(parts, fmt.Sprintf("%s records %s", thousands(x.n), x.what))
		}
	}
	return strings.Join(parts, ", ")
}

// errSnapshotBehind: no snapshot was young enough to go on behind.
var errSnapshotBehind = errors.New("the snapshot is older than the stream that this reader still has")

// snapshotTries is how often another one is asked for.
const snapshotTries = 5

// skip drops everything, hands a fresh snapshot over, and goes on behind it.
func (w *slowWatch) skip(ctx context.Context) error {
	w.gate.Shut()
	if err := w.gate.Wait(ctx); err != nil {
		return err
	}
	for range snapshotTries {
		err := w.takeSnapshot(ctx)
		if !errors.Is(err, subscriber.ErrGateBehind) {
			return err
		}
	}
	return errSnapshotBehind
}

func (w *slowWatch) takeSnapshot(ctx context.Context) error {
	snap, err := w.cfg.snapshots.Snapshot(ctx, resync.Query{Prefixes: w.cfg.topics})
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	defer snap.Close()
	for {
		r, from, ok := snap.Next()
		if !ok {
			break
		}
		if from.Shard < 0 || from.Shard >= w.cfg.shards {
			return fmt.Errorf("snapshot: a record of shard %d, there are %d", from.Shard, w.cfg.shards)
		}
		w.entries.Add(1)
		if err := w.back.HandleConflated(&subscriber.Conflated{Shard: from.Shard, Record: r, Seq: from.From}); err != nil {
			return err
		}
	}
	if err := snap.Err(); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	// Where it goes on is known when all of it has come.
	at, err := gatePositions(snap.Positions(), w.cfg.shards)
	if err != nil {
		return err
	}
	w.taken.Add(1)
	return w.gate.Open(at)
}

// gatePositions are a snapshot's positions by shard. Each must be there.
func gatePositions(spans []resync.Span, shards int) ([]subscriber.GatePosition, error) {
	at := make([]subscriber.GatePosition, shards)
	for i := range at {
		k := slices.IndexFunc(spans, func(s resync.Span) bool { return s.Shard == i })
		if k < 0 {
			return nil, fmt.Errorf("snapshot: it does not say where shard %d goes on", i)
		}
		at[i] = subscriber.GatePosition{Epoch: spans[k].Epoch, Next: spans[k].To}
	}
	return at, nil
}
