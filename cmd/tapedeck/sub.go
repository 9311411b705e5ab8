package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/metrics"
	"github.com/tapedeck/tapedeck/subscriber"
)

type subFlags struct {
	stream  streamFlags
	expect  expectFlags
	policy  policyFlags
	catchUp catchUpFlags
	name    string
	topics  []string
	print   bool
	follow  bool
	silence time.Duration
	byRef   string
	metrics metricsFlags

	lockStep bool
}

func newSub() *cobra.Command {
	var f subFlags
	cmd := &cobra.Command{
		Use:   "sub",
		Short: "Subscribe to a stream, count it, and say whether anything is missing",
		Long: `Subscribe to every shard of a stream. Every record is visited. Gaps are reported
as they are found; at the end mark the summary says whether the stream is
complete: every record from the first to the last, exactly as sent.

The exit code is 0 when it is, and 3 when records are missing.

With --resync what is missing is asked for, and put where it belongs: order is
kept, nothing comes twice, and what nobody has is reported. A recorder, a player and
tapedeck resync can be asked. --from begins in the past, and goes over into the live
stream where the past ends: with --from 2023-12-25T14:30:00Z what was recorded since
half past two comes first, as fast as it is taken, and the summary says how many
records came from the tape, how many live, and where they were spliced.

With --resume this reader writes down every second, and when it ends, how far it is;
started again, it goes on with the very next record. Where it was killed it gets
again what it had handled since it last wrote that down, a second's records or so.

With --lock-step this reader says what it has handled, workers included, and play
--barrier, which names it, plays on only then.`,
		Example: example(
			"tapedeck sub --shards 2 --json",
			"tapedeck sub --shards 4 --workers 4 --pin auto --topics @watchlist.txt",
			"tapedeck sub --placement box.toml",
			"tapedeck sub --print --topics GLBX.MDP3.ES",
			"tapedeck sub --connect ipc:///tmp/deck-{shard} --shards 4 --pin auto",
			"tapedeck sub --resync tcp://127.0.0.1:7300 --from 2023-12-25T14:30:00Z",
			"tapedeck sub --resync tcp://127.0.0.1:7300 --resume desk4.json --follow",
			"tapedeck sub --lock-step --name desk --shards 2",
			"tapedeck sub --connect tcp://10.0.0.1:7100 --standby tcp://10.0.0.2:7100",
		),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.stream.add(cmd, "connect", "number of shards in the stream")
	f.stream.workers.add(cmd)
	f.expect.add(cmd)
	f.policy.add(cmd)
	f.catchUp.add(cmd)
	f.metrics.add(cmd)
	cmd.Flags().StringVar(&f.name, "name", "", "name of this reader, shown to the publisher's operator")
	cmd.Flags().StringSliceVar(&f.topics, "topics", nil, "visit only topics with one of these prefixes, or those in @FILE")
	cmd.Flags().BoolVar(&f.print, "print", false, "print each record, as text or JSON, as cat does")
	addByReference(cmd, &f.byRef)
	cmd.Flags().BoolVar(&f.lockStep, "lock-step", false, "say what was handled, for play --barrier, which waits for it by --name")
	cmd.Flags().BoolVar(&f.follow, "follow", false, "stay after the end, for the next session")
	cmd.Flags().DurationVar(&f.silence, "silence", 0, "fail when a shard says nothing, heartbeats included, for this long (0: wait for ever)")
	return cmd
}

func (f *subFlags) run(cmd *cobra.Command) error {
	out := newOutput(cmd)
	cfg, err := f.config(out)
	if err != nil {
		return err
	}
	topics, err := topicPrefixes(f.topics)
	if err != nil {
		return err
	}
	cpus, name, err := f.stream.workerCPUs()
	if err != nil {
		return err
	}
	dispatch := subscriber.ByTopic
	if name != "" {
		if dispatch, err = subscriber.ParseDispatch(name); err != nil {
			return usageError{err}
		}
	}
	tallies := len(cpus)
	if tallies == 0 {
		tallies = len(cfg.Endpoints)
	}
	shown, err := f.metrics.listen(out)
	if err != nil {
		return err
	}
	defer shown.close()
	h := newSubHandler(out, tallies, topics, f.print)
	catchUp, err := f.catchUp.open(cmd, f.policy.policy, out)
	if err != nil {
		return err
	}
	snapshots, client, err := f.catchUp.snapshots(f.policy.policy, catchUp)
	if err != nil {
		return err
	}
	slow, err := f.policy.watch(cfg, len(cpus), topics, snapshots, out)
	if err != nil {
		return err
	}
	box, err := newBox(boxConfig{in: cfg, cpus: cpus, dispatch: dispatch, watch: slow, catchUp: catchUp}, h)
	if err != nil {
		return usageError{err}
	}
	defer shown.show(func(sc *metrics.Scope) { box.show(sc, h, slow) })()
	stop := watch(cmd.Context(), out, func() string {
		s, _, _ := box.outcome()
		return fmt.Sprintf("%s records, %d gaps", thousands(s.Records), s.Gaps)
	})
	runErr, stuck := slow.run(cmd.Context(), func(ctx context.Context) error {
		return withClient(ctx, client, func(ctx context.Context) error { return catchUp.run(ctx, box) })
	})
	stop()
	var tooSlow slowError
	dies := errors.As(runErr, &tooSlow)
	if stuck || runErr != nil && !dies && !errors.Is(runErr, context.Canceled) && !errors.Is(runErr, subscriber.ErrSilence) {
		return noAnswer(runErr)
	}
	in, healed, why := box.outcome()
	sum := h.summary(in)
	sum.Resync, sum.why = healed, why
	box.workers(sum)
	sum.Policy = slow.summary(sum.Records)
	say := func() error { return out.message("sub.summary", sum, sum.text()) }
	if dies {
		say = inTime(say)
	}
	if err := say(); err != nil {
		return err
	}
	switch {
	case runErr != nil:
		return runErr
	case !sum.Complete:
		return damagedf("the stream is not complete: %s", sum.why)
	}
	return nil
}

func (f *subFlags) config(out *output) (subscriber.Config, error) {
	cfg := subscriber.Config{
		Name: f.name, Follow: f.follow, Silence: f.silence, LockStep: f.lockStep,
		Warn: func(_ int, err error) { out.remark("warning: %v", err) },
	}
	err := f.checkLockStep()
	if err != nil {
		return cfg, err
	}
	if cfg.Endpoints, err = f.stream.endpoints(); err != nil {
		return cfg, err
	}
	if cfg.Pair, err = f.stream.pair(); err != nil {
		return cfg, err
	}
	if cfg.IOCPUs, cfg.ReceiveCPUs, err = f.stream.placement(); err != nil {
		return cfg, err
	}
	if cfg.OpenTape, err = opener(out, f.byRef); err != nil {
		return cfg, err
	}
	return cfg, f.expect.apply(&cfg)
}
