package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

const (
	plainDefault = "tcp://127.0.0.1:7200"
	tapDefault   = "tcp://127.0.0.1:7201"
)

type lvcFlags struct {
	stream    streamFlags
	expect    expectFlags
	shards    string
	count     int
	plain     []string
	tap       string
	tapRate   int
	warm      string
	maxTopics int
	maxBytes  string
	perAddr   int
	queue     string
	silence   time.Duration
	name      string
	readers   bool
	snapshot  snapshotFlags
	pair      lvcPairFlags
	heal      healFlags
	metrics   metricsFlags // of the command alone
	lag       bool         // measure it, for metrics
}

func newLVC() *cobra.Command {
	var f lvcFlags
	cmd := &cobra.Command{
		Use:   "lvc",
		Short: "Serve last values and a plain stream to any ZeroMQ subscriber",
		Long: `Take every shard of a stream, keep the last record of every topic, and serve both
to ZeroMQ SUB clients of any language: who subscribes gets, alone and as one
message, the last record of every topic that matches, then every new one, without
gap or repetition. The messages are described in docs/WIRE.md, section 12.

It stays from session to session until it is stopped. What a slow client loses is
dropped for that client alone, counted and reported. With --tap, tapedeck tap shows
what goes through.

With --snapshot whoever asks gets a snapshot: sub --policy skip, a program that
speaks docs/RESYNC.md, or a Clone client as the ZeroMQ guide has it (models 5 and 6;
--clone serves models 2 to 4), which gets the updates, too. With --resync the proxy
begins with the last values as of now, and fills its own gaps before it passes
anything on: so one that is started again has every topic.

With --pair two proxies that follow the same stream are one: clients connect to both,
the active one serves, and the passive one takes over when the active one is gone, with
what it has kept of the last seconds. Clients drop what comes twice (docs/WIRE.md,
section 12); docs/OPERATIONS.md says how to run a pair.`,
		Example: example(
			"tapedeck lvc --shards tcp://127.0.0.1:7100,tcp://127.0.0.1:7101 --plain tcp://*:7200",
			"tapedeck lvc --shards tcp://127.0.0.1:7100+ --shard-count 4 --plain tcp://*:7200,ipc:///run/last --tap tcp://127.0.0.1:7201",
			"tapedeck lvc --warm yesterday.tape --snapshot "+snapshotDefault,
			"tapedeck lvc --shards tcp://10.0.0.9:7100 --plain tcp://*:7200 --pair primary --pair-bind tcp://10.1.0.1:7290 --pair-peer tcp://10.1.0.2:7290",
		),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.add(cmd)
	f.metrics.add(cmd)
	return cmd
}

// add declares the flags.
func (f *lvcFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.shards, "shards", endpointDefault, "endpoints of the stream's shards: a comma-separated list, a tcp port followed by +, or {shard} in a path")
	fl.IntVar(&f.count, "shard-count", 0, "number of shards, where --shards is a pattern (default: 1, or as many as are listed)")
	fl.StringVar(&f.stream.pin, "pin", "off", `pin hot threads: "off", "auto", or the CPUs to use, such as "2-5"`)
	fl.StringVar(&f.stream.file, "placement", "", "TOML file with endpoints, interfaces and CPUs, see docs/PLACEMENT.md")
	f.expect.add(cmd)
	fl.StringSliceVar(&f.plain, "plain", []string{plainDefault}, "endpoints to serve the plain stream at: tcp, ipc, and multicast (epgm) where libzmq has it")
	f.snapshot.add(cmd)
	f.pair.add(fl)
	fl.BoolVar(&f.readers, "readers", false, "list the clients every second, with what waits for them")
	f.heal.add(cmd)
	f.stream.flags = fl
	f.stream.addStandby()
	fl.StringVar(&f.tap, "tap", "", "endpoint that shows what goes through, such as "+tapDefault+" (default: none)")
	fl.IntVar(&f.tapRate, "tap-rate", 10_000, "messages a second that the tap shows at most")
	fl.StringVar(&f.warm, "warm", "", "tape whose last values to begin with")
	fl.IntVar(&f.maxTopics, "max-topics", 1_000_000, "topics whose last value is kept at most")
	fl.StringVar(&f.maxBytes, "max-bytes", "1GiB", "memory for last values at most")
	fl.IntVar(&f.perAddr, "per-address", 0, "plain clients from one address at most (0: as many as there can be at all)")
	fl.StringVar(&f.queue, "queue", "64MiB", "bytes that wait for one client at most")
	fl.DurationVar(&f.silence, "silence", 0, "fail when a shard says nothing, heartbeats included, for this long (0: wait for ever)")
	fl.StringVar(&f.name, "name", "lvc", "name of this reader, shown to the publisher's operator")
}

// subscriber returns how the stream is received.
func (f *lvcFlags) subscriber(fl *pflag.FlagSet, out *output) (subscriber.Config, error) {
	s := &f.stream
	s.connects, s.flags, s.endpoint, s.shards = true, fl, f.shards, f.count
	if s.shards == 0 {
		s.shards = 1 + strings.Count(f.shards, ",")
	}
	cfg := subscriber.Config{
		Name: f.name, Follow: true, Silence: f.silence,
		Warn: func(_ int, err error) { out.remark("warning: %v", err) },
	}
	var err error
	if cfg.Endpoints, err = s.endpoints(); err != nil {
		return cfg, err
	}
	if cfg.Pair, err = s.pair(); err != nil {
		return cfg, err
	}
	for _, e := range cfg.Endpoints {
		if strings.HasPrefix(e, "epgm://") || strings.HasPrefix(e, "pgm://") {
			out.remark("warning: %s: libzmq's multicast receiver ends the process when it loses what cannot be sent again; keep the rate low", e)
		}
	}
	if cfg.IOCPUs, cfg.ReceiveCPUs, err = s.placement(); err != nil {
		return cfg, err
	}
	return cfg, f.expect.apply(&cfg)
}

// proxy returns how it is served.
func (f *lvcFlags) proxy(shards int) (lvc.Config, error) {
	cfg := lvc.Config{Shards: shards, Plain: f.plain, Tap: f.tap, TapRate: f.tapRate, MaxTopics: f.maxTopics, MaxPerAddress: f.perAddr}
	if f.maxTopics < 1 || f.tapRate < 1 {
		return cfg, usagef("--max-topics and --tap-rate: want 1 or more")
	}
	if f.perAddr < 0 {
		return cfg, usagef("--per-address %d: want 0 or more", f.perAddr)
	}
	var err error
	if cfg.MaxBytes, err = parseBytes(f.maxBytes); err != nil || cfg.MaxBytes < 1 {
		return cfg, usagef("--max-bytes %s: want a size such as 1GiB", f.maxBytes)
	}
	if cfg.QueueBytes, err = parseBytes(f.queue); err != nil || cfg.QueueBytes < 1 {
		return cfg, usagef("--queue %s: want a size such as 64MiB", f.queue)
	}
	return cfg, nil
}

func (f *lvcFlags) run(cmd *cobra.Command) error {
	out := newOutput(cmd)
	shown, err := f.metrics.listen(out)
	if err != nil {
		return err
	}
	defer shown.close()
	f.lag = shown != nil
	h, err := f.begin(cmd.Context(), cmd.Flags(), out)
	if err != nil {
		return err
	}
	defer h.close()
	defer shown.show(h.show)()
	return h.serve(cmd.Context())
}

// begin puts a proxy together, which serve then runs; close comes after it.
func (f *lvcFlags) begin(ctx context.Context, fl *pflag.FlagSet, out *output) (h *lvcHandler, err error) {
	in, err := f.subscriber(fl, out)
	if err != nil {
		return nil, err
	}
	cfg, err := f.proxy(len(in.Endpoints))
	if err != nil {
		return nil, err
	}
	h = newLVCHandler(out)
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	h.shards, h.audience = in.Endpoints, newAudience(out, f.readers)
	if f.lag {
		h.lag = &lagMeter{}
		in.Lag = h.lag.count
	}
	cfg.Squawk = h.audience.squawk
	if f.warm != "" {
		if h.warm, err = openTape(f.warm, out); err != nil {
			return h, err
		}
		if cfg.Warm, err = lastOf(ctx, h.warm); err != nil {
			return h, err
		}
	}
	client, err := f.heal.client()
	if err != nil {
		return h, err
	}
	var begin resync.Start
	if client != nil && f.warm == "" {
		if w := f.heal.warmUp(ctx, len(in.Endpoints), out); w != nil {
			cfg.Warm, cfg.WarmTo, begin = w.values(), w.to, w.start()
		}
	}
	if cfg.Standby, err = f.pair.standby(len(in.Endpoints)); err != nil {
		return h, err
	}
	snapshots, err := f.snapshot.open()
	if err != nil {
		return h, err
	}
	cfg.Watcher, cfg.Lock = snapshots.watcher(), locks.Load().plain()
	warnOpen(out, append([]string{f.tap, f.snapshot.snapshot, f.snapshot.clone}, f.plain...)...)
	p, err := lvc.New(cfg)
	if err != nil {
		return h, withHint(errors.Join(err, snapshots.close()), "--plain and --tap say where to serve")
	}
	h.Proxy, h.snapshots, h.unlock, snapshots.values.proxy = p, snapshots, locks.Load().onChange(p.Recheck), p
	if h.pair, err = f.pair.open(h); err != nil {
		return h, errors.Join(err, p.Close(), snapshots.close())
	}
	if err := h.attach(in, client, &f.heal, begin); err != nil {
		return h, errors.Join(err, h.pair.close(), p.Close(), snapshots.close())
	}
	return h, nil
}

// attach puts the receive loops before the proxy, and what fills gaps between them.
func (h *lvcHandler) attach(in subscriber.Config, client *resync.Client, f *healFlags, begin resync.Start) (err error) {
	var first subscriber.Handler = h
	if client != nil {
		if h.healing, err = f.heal(client, len(in.Endpoints), begin, h, h.out); err != nil {
			return err
		}
		first = h.healing
	}
	if h.sub, err = subscriber.New(in, first); err != nil {
		return usageError{err}
	}
	return nil
}

// serve runs the proxy to its end, and says what it did.
func (h *lvcHandler) serve(ctx context.Context) error {
	p, out := h.Proxy, h.out
	serving := &lvcServing{Shards: h.shards, Plain: p.Endpoints(), Tap: p.TapEndpoint(), snapshotServing: h.snapshots.serving(), Warm: p.Stats().Topics, Pair: h.pair.endpoint(), Bus: h.pair.busEndpoint()}
	out.remark("%s", serving.text())
	if err := out.message("lvc.serving", serving, ""); err != nil {
		return errors.Join(err, p.Close(), h.snapshots.close())
	}
	stop := watch(ctx, out, func() string {
		st := p.Stats()
		return fmt.Sprintf("%s records, %s, %s", thousands(st.Records), count(uint64(st.Topics), "topic"), count(uint64(st.Readers), "reader"))
	})
	unwatch := h.audience.watch(p.Registry().List)
	runErr := h.run(ctx)
	unwatch()
	stop()
	runErr = errors.Join(runErr, h.pair.close(), p.Close())
	h.close()
	sum := &lvcSummary{Pair: h.pair.status(), Stats: p.Stats(), snapshotSummary: h.snapshots.summary(), List: h.audience.all()}
	in := h.sub.Summary()
	if h.healing != nil {
		in, sum.Resync, _ = h.healing.outcome(in)
	}
	sum.RefusedBatches, sum.Corrupt, sum.Broken = in.Refused, in.Corrupt, in.Broken
	runErr = errors.Join(runErr, h.snapshots.close())
	return errors.Join(out.message("lvc.summary", sum, sum.text()), runErr)
}

// run receives the stream into the proxy and serves it, until the context ends or
// one of them fails.
func (h *lvcHandler) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	services := []func(context.Context) error{
		h.Proxy.Run,
		h.snapshots.run,
		h.pair.run,
	}
	done := make(chan struct{}, len(services))
	for _, service := range services {
		go func() {
			cancel(service(ctx))
			done <- struct{}{}
		}()
	}
	receive := h.sub.Run
	if h.healing != nil {
		receive = func(ctx context.Context) error { return h.healing.receive(ctx, h.sub.Run) }
	}
	err := receive(ctx)
	cancel(err)
	for range services {
		<-done
	}
	return err
}

// lastOf returns a tape's last values. They are read while they are walked.
func lastOf(ctx context.Context, t *tape.Tape) (iter.Seq2[wire.Record, lvc.Origin], error) {
	last, err := t.Last(ctx, tape.LastConfig{At: wire.NanosMax})
	var corrupt *tape.CorruptError
	if errors.As(err, &corrupt) {
		return nil, damagedError{err}
	}
	if err != nil {
		return nil, err
	}
	shards := uint16(t.Shards())
	return func(yield func(wire.Record, lvc.Origin) bool) {
		for last.Next() {
			at := last.At()
			if !yield(last.Record(), lvc.Origin{Epoch: at.Epoch, Seq: at.Seq, Shard: uint16(at.Shard), Shards: shards, Send: at.Send}) {
				return
			}
		}
	}, nil
}

// lvcHandler is the proxy, with what an operator should see written out. Nobody
// may read our output: the stream does not wait for that.
type lvcHandler struct {
	*lvc.Proxy
	shards    []string   // endpoints of the stream
	warm      *tape.Tape // that the table began with; may be nil
	sub       *subscriber.Subscriber
	healing   *healing // nil: gaps stay
	snapshots *snapshotService
	pair      *lvcPair // nil: it is alone
	audience  *audience
	lag       *lagMeter // nil: it is not measured
	out       *output
	lines     chan func()
	closed    chan struct{}
	once      func()
	unlock    func() // nil before there is a proxy
}

func newLVCHandler(out *output) *lvcHandler {
	h := &lvcHandler{out: out, lines: make(chan func(), 1024), closed: make(chan struct{})}
	go func() {
		defer close(h.closed)
		for line := range h.lines {
			line()
		}
	}()
	h.once = func() { close(h.lines) }
	return h
}

// close ends the writing of lines. Nobody says anything any more.
func (h *lvcHandler) close() {
	if h.unlock != nil {
		h.unlock()
	}
	if h.warm != nil {
		_ = h.warm.Close() // it was open for reading
		h.warm = nil
	}
	if h.once != nil {
		h.once()
		h.once = nil
		<-h.closed
	}
}

// say writes a line when there is time; where too many wait it is left out.
func (h *lvcHandler) say(line func()) {
	select {
	case h.lines <- line:
	default:
	}
}

// HandleGap implements subscriber.Handler.
func (h *lvcHandler) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	h.Proxy.HandleGap(shard, epoch, from, to)
	h.say(func() {
		_ = h.out.message("lvc.gap", lvc.GapNotice{Shard: shard, Epoch: epoch, From: from, To: to}, "")
		h.out.remark("gap on shard %d: sequences [%d, %d) are missing, %d records", shard, from, to, to-from)
	})
}

// HandleEnd implements subscriber.Handler.
func (h *lvcHandler) HandleEnd(shard int, epoch wire.Epoch, complete bool) {
	h.Proxy.HandleEnd(shard, epoch, complete)
	h.say(func() {
		_ = h.out.message("lvc.end", lvc.EndNotice{Shard: shard, Epoch: epoch, Complete: complete}, "")
	})
}

// lvcServing is the first line of lvc.
type lvcServing struct {
	Shards []string `json:"shards"`
	Plain  []string `json:"plain"`
	Tap    string   `json:"tap,omitempty"`
	snapshotServing
	Warm int    `json:"warm_topics"`
	Pair string `json:"pair,omitempty"` // where it announces itself
	Bus  string `json:"pair_bus,omitempty"`
}

func (s *lvcServing) text() string {
	text := fmt.Sprintf("serving %v on %v", s.Shards, s.Plain)
	if s.Tap != "" {
		text += ", tap on " + s.Tap
	}
	if s.Snapshot != "" {
		text += fmt.Sprintf(", snapshots on %s, Clone updates on %s", s.Snapshot, s.Updates)
	}
	if len(s.Clone) > 0 {
		text += fmt.Sprintf(", Clone models 2 to 4 on %v", s.Clone)
	}
	if s.Pair != "" {
		text += ", one of a pair, announced on " + s.Pair
	}
	if s.Warm > 0 {
		text += ", with " + count(uint64(s.Warm), "last value")
	}
	return text
}

// lvcSummary is the last line of lvc.
type lvcSummary struct {
	lvc.Stats
	*snapshotSummary
	Pair           *lvcPairStatus `json:"pair,omitempty"`
	Resync         *healSummary   `json:"resync,omitempty"`
	List           []snail.Reader `json:"reader_list"`     // as each was seen last
	RefusedBatches uint64         `json:"refused_batches"` // messages on the shards that were none of the stream
	Corrupt        uint64         `json:"corrupt"`
	Broken         uint64         `json:"broken"`
}

func (s *lvcSummary) text() string {
	text := fmt.Sprintf("%s records, %s, %s joined, %s", thousands(s.Records), count(uint64(s.Topics), "topic"),
		count(s.Joined, "reader"), count(s.Subscriptions, "subscription"))
	if n := s.Snapshots + s.Clones; n > 0 {
		text += ", " + count(n, "snapshot") + " served"
	}
	if s.Resync != nil && s.Resync.Refilled > 0 {
		text += fmt.Sprintf(", %s records refilled", thousands(s.Resync.Refilled))
	}
	if s.Lost > 0 {
		text += fmt.Sprintf(", %s records never came", thousands(s.Lost))
	}
	if s.Dropped > 0 {
		text += fmt.Sprintf(", %s dropped for slow readers", thousands(s.Dropped))
	}
	if s.Partial {
		text += ", not all of the stream came: topics may have old last values, or none"
	}
	if s.Full {
		text += ", the table was full: topics have no last value"
	}
	return text
}
