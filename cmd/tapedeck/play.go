package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

type playFlags struct {
	stream   streamFlags
	speed    string
	from, to string
	clock    string
	topics   []string
	loop     string
	wait     int
	live     bool
	batch    int
	squeeze  time.Duration
	readers  bool
	step     stepFlags
	serve    serveFlags
	metrics  metricsFlags // of the command alone
	pair     deckPairFlags
	at       []string // where the shards were bound before, of a pair
}

func newPlay() *cobra.Command {
	var f playFlags
	cmd := &cobra.Command{
		Use:   "play TAPE...",
		Short: "Play a tape to subscribers, at any speed, or several as one",
		Long: `Play a tape to N shards. Play begins when --wait subscribers have confirmed, on
the data sockets themselves, that they receive. Each shard ends with a mark that
lets a subscriber prove it has everything, and play returns when every subscriber
has confirmed it.

By default nothing is lost: play waits for the slowest subscriber. With --live a
slow subscriber loses records, and knows it; the others do not.

Several tapes are played as one, in the order of their times by --clock: what
tapedeck merge would make of them, without making it. Each tape keeps its own order,
also where its times go back; records of the same time come in the order in which the
tapes are named.

--loop A..B with two times, or marks, plays what lies between them again and again, each
round as a new epoch that begins with every topic's last values before A. --squeeze 1s
leaves out what is longer than a second of each stretch of the tape in which nothing
happens; what happens keeps its pace. Subscribers are told on the stream what the player
does.

With --barrier desk,risk play is in lock-step with the subscribers of these names: it
plays --barrier-window records in the one order over all shards, and the next ones only
when all of them have handled these. The same tape then gives the same batches, in the
same order, on every run, whatever the speed and the machine. Two subscribers of one
name are both waited for, one that goes until it is there again; who is not named holds
nobody up, and may lose records.

With --faults messages fare as on a bad network: readers see gaps, repeats and damage,
and what they miss they get with sub --resync. The same seed picks the same messages, as
far as the batches are the same, as they are with --barrier.

With --pair two players of the same tape stand in for each other: one plays, the other one
follows it, and goes on where readers are when it is gone. Subscribers connect to both
(sub --standby). docs/OPERATIONS.md says how to run a pair.

With --resync-bind subscribers get from here what they missed, and last values.
--readers says every second who reads, and how late; whoever becomes slow or stuck is
named in any case, at once and in the summary.`,
		Example: example(
			"tapedeck play es.tape --wait 1",
			"tapedeck play es.tape --speed 10x --from 2023-12-25T14:30:00Z --to 2023-12-25T15:00:00Z",
			"tapedeck play es.tape --shards 4 --bind ipc:///tmp/deck-{shard} --loop 3",
			"tapedeck play es.tape nq.tape --clock event --speed 10x",
			"tapedeck play es.tape --topics GLBX.MDP3.ES --live",
			"tapedeck play es.tape --squeeze 1s",
			"tapedeck play es.tape --loop @open..2023-12-25T14:31:00Z",
			"tapedeck play es.tape --live --readers --resync-bind tcp://127.0.0.1:7300",
			"tapedeck play es.tape --speed max --barrier desk,risk --barrier-window 100",
			"tapedeck play es.tape --pair primary --pair-bind tcp://127.0.0.1:7270 --pair-peer tcp://127.0.0.1:7271 --pair-follow tcp://127.0.0.1:7200+",
			"tapedeck play es.tape --faults drop=0.1%,delay=0.5%:20ms,seed=7 --resync-bind tcp://127.0.0.1:7300",
		),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.add(cmd)
	f.metrics.add(cmd)
	f.pair.add(cmd.Flags())
	return cmd
}

// add declares the flags.
func (f *playFlags) add(cmd *cobra.Command) {
	f.stream.add(cmd, "bind", "number of shards to play to (default: as the tape has, the most that one of several has)")
	fl := cmd.Flags()
	fl.StringVar(&f.speed, "speed", "1x", `"max", or a factor such as 1x, 10x, 0.5x`)
	fl.StringVar(&f.from, "from", "", "start at this time: "+timeForms)
	fl.StringVar(&f.to, "to", "", "stop before this time")
	fl.StringVar(&f.clock, "clock", "receive", "the times to go by, and to put several tapes in order by: receive, event or send")
	fl.StringSliceVar(&f.topics, "topics", nil, "play only topics with one of these prefixes, or those in @FILE")
	fl.StringVar(&f.loop, "loop", "1", loopForms)
	fl.DurationVar(&f.squeeze, "squeeze", 0, "let idle stretches of the tape that are longer last only this long, such as 1s")
	fl.IntVar(&f.wait, "wait", 0, "subscribers to wait for before the first record")
	fl.BoolVar(&f.live, "live", false, "let a slow subscriber lose records instead of waiting for it")
	fl.IntVar(&f.batch, "batch-size", 0, "payload bytes at which a batch is full (default 256 KiB)")
	fl.BoolVar(&f.readers, "readers", false, "list the subscribers every second, with how late they are")
	f.step.add(cmd)
	f.serve.add(cmd, "of what was played")
	_ = cmd.RegisterFlagCompletionFunc("clock", cobra.FixedCompletions([]string{"receive", "event", "send"}, cobra.ShellCompDirectiveNoFileComp))
}

// config turns the flags into a player's configuration.
func (f *playFlags) config() (replay.Config, error) {
	var (
		cfg replay.Config
		err error
	)
	if cfg.Speed, err = replay.ParseSpeed(f.speed); err != nil {
		return cfg, usageError{err}
	}
	if cfg.Clock, err = tape.ParseClock(f.clock); err != nil {
		return cfg, usageError{err}
	}
	if err = checkTime("--from", f.from); err != nil {
		return cfg, err
	}
	if err = checkTime("--to", f.to); err != nil {
		return cfg, err
	}
	loop, err := parseLoopFlag(f.loop)
	if err != nil {
		return cfg, err
	}
	if f.squeeze < 0 || f.squeeze > 0 && cfg.Speed == replay.Max {
		return cfg, usagef("--squeeze %v: want a length of tape time above 0, and a --speed that is no max", f.squeeze)
	}
	cfg.Passes, cfg.Squeeze = loop.passes, f.squeeze
	if f.wait < 0 {
		return cfg, usagef("--wait %d: want 0 or more", f.wait)
	}
	if err := f.step.check(f.live); err != nil {
		return cfg, err
	}
	f.step.player(&cfg)
	cfg.Wait, cfg.BatchBytes = f.wait, f.batch
	cfg.Topics, err = topicPrefixes(f.topics)
	return cfg, err
}

// playing is a player with its tapes and its publisher, and with what serves its
// readers what they missed.
type playing struct {
	tapes  *playedTapes
	cfg    replay.Config
	player *replay.Player
	pub    *publisher.Publisher
	served *refillServer
	serve  func() error // of a pair: begins to serve
}

// open puts together what plays tapes. adjust, where it is not nil, has the last
// word about the player.
func (f *playFlags) open(dirs []string, out *output, squawk func(snail.Squawk), adjust func(*replay.Config)) (p *playing, err error) {
	cfg, err := f.config()
	if err != nil {
		return nil, err
	}
	serve, err := f.serve.config(f.stream.flags)
	if err != nil {
		return nil, err
	}
	t, err := openPlayed(dirs, cfg.Clock, out)
	if err != nil {
		return nil, err
	}
	p = &playing{tapes: t}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if cfg.From, err = timeOnAny(t.list, cfg.Clock, "--from", f.from); err != nil {
		return p, err
	}
	if cfg.To, err = timeOnAny(t.list, cfg.Clock, "--to", f.to); err != nil {
		return p, err
	}
	loop, err := parseLoopFlag(f.loop)
	if err != nil {
		return p, err
	}
	if cfg.Loop, err = loop.part(t.list, cfg.Clock); err != nil {
		return p, err
	}
	cfg.Session, cfg.Paired = sessionName(dirs), f.pair.on()
	if cfg.Paired {
		cfg.NoticeEvery = f.pair.heartbeat / 2 // by which the other one knows that this one plays
	}
	if !f.stream.flags.Changed("shards") {
		f.stream.shards = t.about.Shards
	}
	if _, err := f.stream.place(); err != nil { // a placement file may say how many shards
		return p, err
	}
	t.put(&cfg)
	cfg.Shards = f.stream.shards
	ioCPUs, loopCPUs, err := f.stream.placement()
	if err != nil {
		return p, err
	}
	cfg.CPUs = loopCPUs
	if adjust != nil {
		adjust(&cfg)
	}
	if p.pub, err = f.publisher(t, t.place(&cfg), ioCPUs, squawk, out); err != nil {
		return p, err
	}
	cfg.Publisher, p.cfg = p.pub, cfg
	if p.player, err = replay.New(cfg); err != nil {
		return p, usageError{err}
	}
	if f.pair.on() {
		p.serve = func() (err error) {
			p.served, err = f.serve.servePlayer(serve, p.player, out)
			return err
		}
		return p, nil
	}
	p.served, err = f.serve.servePlayer(serve, p.player, out)
	return p, err
}

// close lets go of everything. The publisher may hold the player's memory, so it
// goes first; it may have been closed before.
func (p *playing) close() error {
	_, err := p.served.stop()
	if p.pub != nil {
		err = errors.Join(err, p.pub.Close())
	}
	if p.player != nil {
		p.player.Close()
	}
	return errors.Join(err, p.tapes.close())
}

func (f *playFlags) run(cmd *cobra.Command, dirs []string) (err error) {
	if err := f.pair.check(f); err != nil {
		return err
	}
	if f.pair.on() {
		return f.runPair(cmd, dirs)
	}
	out := newOutput(cmd)
	shown, err := f.metrics.listen(out)
	if err != nil {
		return err
	}
	defer shown.close()
	readers := newAudience(out, f.readers)
	p, err := f.open(dirs, out, readers.squawk, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	return f.perform(cmd.Context(), out, p, readers, shown, func() bool { return true })
}

// perform plays to the end, and says what was done. Where that is broken off, readers are
// told, unless the end is not ours to tell: another one goes on.
func (f *playFlags) perform(ctx context.Context, out *output, p *playing, readers *audience, shown *metricsService, ours func() bool) error {
	hide := shown.show(p.show)
	defer hide()
	t, cfg, player, pub := p.tapes, p.cfg, p.player, p.pub
	out.remark("playing %s at %s on %v", t.name(), cfg.Speed, pub.Endpoints())
	stopWatch := readers.watch(pub.ReaderList)
	rep, runErr := f.play(ctx, out, player, t.about.Records)
	if runErr != nil && ours() {
		pub.Stop() // readers must not wait for what will not come
	}
	stopWatch()
	stats := pub.Stats()
	hide()
	closeErr := pub.Close()
	p.served.stay(ctx)
	sum := newPlaySummary(&rep, &stats, cfg.Speed)
	if f.step.plan != nil {
		sum.Faults = &stats.Faults
	}
	var err error
	sum.Served, err = p.served.stop()
	closeErr = errors.Join(closeErr, err)
	sum.List, sum.Untold = readers.all(), readers.unsaid.Load()
	if err := out.message("play.summary", sum, sum.text()); err != nil {
		return err
	}
	if runErr != nil {
		return runErr
	}
	if sum.Readers == 0 && sum.Records > 0 {
		out.remark("no subscriber was there: --wait 1 waits for one")
	}
	if sum.Records == 0 {
		out.remark("nothing to play: %s records there, %s left out by --topics, the rest by --from and --to",
			thousands(t.about.Records), thousands(sum.Filtered))
	}
	return closeErr
}

func (f *playFlags) publisher(t *playedTapes, at *wire.TapePlace, ioCPUs []int, squawk func(snail.Squawk), out *output) (*publisher.Publisher, error) {
	endpoints, err := f.stream.endpoints()
	if err != nil {
		return nil, err
	}
	if f.at != nil {
		endpoints = f.at
	}
	ids, err := t.ids()
	if err != nil {
		return nil, err
	}
	mode := "lossless"
	if f.live {
		mode = "live"
	}
	cfg := publisher.Config{
		Endpoints: endpoints, Lossless: !f.live, IOCPUs: ioCPUs, Squawk: squawk, Standby: f.pair.on(),
		Session: wire.Session{
			Publisher: program(), Mode: mode, Speed: f.speed, Tape: ids,
			Sources: t.about.Sources, Encodings: t.about.Encodings, ByReference: at,
		},
	}
	f.step.publisher(&cfg, out)
	warnOpen(out, endpoints...)
	pub, err := publisher.New(cfg)
	return pub, withHint(err, "is another player running? --bind chooses other endpoints, and tcp://127.0.0.1:* a free port")
}

// play runs the player while a line on the terminal follows it.
func (f *playFlags) play(ctx context.Context, out *output, player *replay.Player, records uint64) (replay.Report, error) {
	p := player.Progress()
	stop := watch(ctx, out, func() string {
		line := thousands(p.Records.Load()) + " of " + thousands(records) + " records"
		if at := p.Time.Load(); at != 0 {
			line += ", tape at " + wire.Nanos(at).Time().Format("2006-01-02 15:04:05.000")
		}
		return line
	})
	defer stop()
	return player.Run(ctx)
}
