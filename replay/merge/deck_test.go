package merge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/splice"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// sink is an EpochPublisher that writes down what it is sent.
type sink struct {
	mu     sync.Mutex
	shards int
	epochs []*sunk
	beaten *sync.Cond
}

// sunk is one epoch: of each shard the records in the order of their sequences.
type sunk struct {
	start   wire.SessionStart
	records [][]sent
	beaten  bool // its last values are through
}

type sent struct {
	ordinal wire.Ordinal
	last    bool // it came as a last value
	rec     string
}

func newSink(shards int) *sink {
	s := &sink{shards: shards}
	s.beaten = sync.NewCond(&s.mu)
	s.add(wire.SessionStart{})
	return s
}

func (s *sink) add(start wire.SessionStart) {
	s.epochs = append(s.epochs, &sunk{start: start, records: make([][]sent, s.shards)})
}

func (s *sink) WaitReaders(ctx context.Context, _ int) error { return ctx.Err() }
func (s *sink) Tick(ctx context.Context) error               { return ctx.Err() }
func (s *sink) End(ctx context.Context) error                { return ctx.Err() }

func (s *sink) Heartbeat(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epochs[len(s.epochs)-1].beaten = true
	s.beaten.Broadcast()
	return ctx.Err()
}

func (s *sink) Send(ctx context.Context, shard int, b *wire.Batch, done interface{ Release() }) error {
	defer done.Release()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.epochs[len(s.epochs)-1]
	e.records[shard] = append(e.records[shard], itemsOf(b)...)
	return nil
}

// itemsOf takes a batch apart.
func itemsOf(b *wire.Batch) (list []sent) {
	h := b.Header
	h.PayloadSize, h.OrderSize = uint32(len(b.Payload)), uint32(len(b.Order))
	whole := wire.Batch{Header: h, Payload: b.Payload, Order: b.Order}
	o, w := whole.Ordinals(), whole.Records()
	for w.Next() {
		list = append(list, sent{o.Next(), b.Flags&wire.FlagSnapshotBatch != 0, string(w.Record())})
	}
	if w.Err() != nil {
		panic(w.Err())
	}
	return list
}

func (s *sink) Begin(ctx context.Context, start wire.SessionStart) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(start)
	return ctx.Err()
}

func (s *sink) Epoch() wire.Epoch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return wire.Epoch(len(s.epochs))
}

// deck is a player that runs.
type deck struct {
	t      *testing.T
	player *replay.Player
	sink   *sink
	done   chan error
}

func newDeck(t *testing.T, cfg replay.Config, shards int) *deck {
	t.Helper()
	d := &deck{t: t, sink: newSink(shards), done: make(chan error, 1)}
	cfg.Publisher = d.sink
	var err error
	if d.player, err = replay.New(cfg); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := d.player.Run(context.Background())
		d.done <- err
	}()
	if err := d.until(replay.Paused); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *deck) end() {
	if err := d.player.Stop(context.Background()); err != nil {
		d.t.Fatal(err)
	}
	if err := <-d.done; err != nil && !errors.Is(err, replay.ErrStopped) {
		d.t.Fatal(err)
	}
}

// seek goes to a place.
func (d *deck) seek(to replay.Target) error {
	return d.begins(d.player.Seek(context.Background(), to))
}

// begins waits, behind a command that began an epoch, until its last values have been
// sent.
func (d *deck) begins(err error) error {
	if err != nil {
		return err
	}
	d.sink.mu.Lock()
	defer d.sink.mu.Unlock()
	for !d.sink.epochs[len(d.sink.epochs)-1].beaten {
		d.sink.beaten.Wait()
	}
	return nil
}

// held resumes and waits until the player is at the end.
func (d *deck) held() error {
	ctx := context.Background()
	if err := d.player.Unloop(ctx); err != nil {
		return err
	}
	if err := d.player.Resume(ctx); err != nil {
		return err
	}
	if err := d.until(replay.Held); err != nil {
		return err
	}
	return d.player.Pause(ctx)
}

// until waits for a phase.
func (d *deck) until(phase replay.Phase) (err error) {
	for st := d.player.State(); st.Phase != phase; {
		if st, err = d.player.Wait(context.Background(), st.Version); err != nil {
			return err
		}
	}
	return nil
}

// command is one of the commands, the same for both decks.
func (x *trial) command() (string, func(*deck) error) {
	ctx := context.Background()
	switch x.rng.IntN(10) {
	case 0, 1:
		n := 1 + x.rng.IntN(40)
		return fmt.Sprint("step ", n), func(d *deck) error { return d.player.Step(ctx, n) }
	case 2:
		to := replay.ToTime(x.anyTime(), clocks[x.rng.IntN(2)])
		return fmt.Sprintf("seek %+v", to), func(d *deck) error { return d.seek(to) }
	case 3:
		to := replay.By(time.Duration(x.rng.IntN(200) - 100))
		return fmt.Sprintf("seek %+v", to), func(d *deck) error { return d.seek(to) }
	case 4:
		prefixes := [][]string{nil, {"1", "0T01"}, {"2T0"}}[x.rng.IntN(3)]
		return fmt.Sprint("topics ", prefixes), func(d *deck) error { return d.begins(d.player.SetTopics(ctx, prefixes)) }
	case 5, 6:
		from, to := replay.ToTime(x.anyTime(), clocks[x.rng.IntN(2)]), replay.ToTime(x.anyTime(), clocks[x.rng.IntN(2)])
		return fmt.Sprintf("loop %+v %+v", from, to), func(d *deck) error { return d.begins(d.player.Loop(ctx, from, to)) }
	case 7:
		return "unloop", func(d *deck) error { return d.player.Unloop(ctx) }
	case 8:
		s := []replay.Speed{replay.Max, 1e9}[x.rng.IntN(2)]
		return fmt.Sprintf("speed %v", s), func(d *deck) error { return d.player.SetSpeed(ctx, s) }
	}
	return "resume", (*deck).held
}

// TestDeck gives the same commands to a player of several tapes and to one of the
// tape that they are merged into: readers get the same from both, and so do those
// who missed something.
func TestDeck(t *testing.T) {
	n := 400
	if testing.Short() {
		n = 40
	}
	for seed := range uint64(n) {
		rng := rand.New(rand.NewPCG(seed, 23))
		x := &trial{t: t, rng: rng, clock: clocks[rng.IntN(2)]}
		for i := range 1 + rng.IntN(3) {
			m := anyTape(rng, i)
			m.holes, m.seq, m.apart = false, 0, true // a merged tape has no holes, and numbers from 0
			x.tapes = append(x.tapes, m.write(t, rng))
		}
		x.decks(seed)
	}
}

func (x *trial) decks(seed uint64) {
	var did []string
	defer func() {
		if x.t.Failed() {
			x.t.Logf("seed %d: %v", seed, did)
		}
	}()
	src, err := New(x.tapes, x.clock)
	if err != nil {
		x.t.Fatal(err)
	}
	x.src, x.all, x.span = src, inMemory(x.t, x.tapes, x.clock), src.Span()
	shards := []int{src.Shards(), 1 + x.rng.IntN(3)}[x.rng.IntN(2)]
	fs := fsys.NewMem()
	_, err = splice.Merge(context.Background(), x.tapes, "/m.tape", splice.MergeConfig{Clock: x.clock, Tape: tape.Config{
		FS: fs, BlockSize: 300, KeyframeInterval: 1000,
		Shards: shards + 1, // so that its blocks do not go out whole, and a player's time is that of a record
	}})
	if err != nil {
		x.t.Fatal(err)
	}
	merged, err := tape.OpenFS(fs, "/m.tape")
	if err != nil {
		x.t.Fatal(err)
	}
	defer merged.Close()
	cfg := replay.Config{Shards: shards, Hold: true, Paused: true, Clock: x.clock, Passes: 1 + x.rng.IntN(2), BatchBytes: 1 << 10}
	r := x.anyRange()
	if cfg.From, cfg.To = r.From, r.To; cfg.From != 0 && cfg.To != 0 && cfg.From >= cfg.To {
		cfg.To = 0
	}
	if x.rng.IntN(3) == 0 {
		cfg.Topics = []string{"1", "0T01"}
	}
	one, several := cfg, cfg
	one.Tape, several.Source = merged, src
	a, b := newDeck(x.t, one, shards), newDeck(x.t, several, shards)
	for range x.rng.IntN(12) {
		what, do := x.command()
		errA, errB := do(a), do(b)
		did = append(did, fmt.Sprintf("%s (%v)", what, errA))
		if fmt.Sprint(errA) != fmt.Sprint(errB) {
			x.t.Fatalf("one tape: %v; several: %v", errA, errB)
		}
		if x.rng.IntN(3) == 0 {
			x.sameAnswers(a, b)
		}
	}
	x.sameAnswers(a, b)
	a.end()
	b.end()
	x.sameSent(a.sink, b.sink)
	a.player.Close()
	b.player.Close()
}

// sameSent compares what was sent, last values in any order.
func (x *trial) sameSent(a, b *sink) {
	x.t.Helper()
	if len(a.epochs) != len(b.epochs) {
		x.t.Fatalf("%d epochs and %d", len(a.epochs), len(b.epochs))
	}
	for e := range a.epochs {
		if diff := cmp.Diff(a.epochs[e].start, b.epochs[e].start); diff != "" {
			x.t.Fatal(diff)
		}
		for s := range a.shards {
			want, got := anyOrder(a.epochs[e].records[s]), anyOrder(b.epochs[e].records[s])
			if !slices.Equal(want, got) {
				x.t.Fatalf("epoch %d, shard %d: one tape gives %v, several %v", e+1, s, brief(want), brief(got))
			}
		}
	}
}

// anyOrder sorts the last values at the start, whose order is the source's.
func anyOrder(list []sent) []sent {
	list = slices.Clone(list)
	n := 0
	for ; n < len(list) && list[n].last; n++ {
		list[n].ordinal = 0
	}
	slices.SortFunc(list[:n], func(a, b sent) int { return bytes.Compare([]byte(a.rec), []byte(b.rec)) })
	return list
}

func brief(list []sent) (text []string) {
	for _, x := range list {
		r := wire.Record(x.rec)
		text = append(text, fmt.Sprintf("%d %s#%d %s %v", x.ordinal, r.Topic(), r.TopicSeq(), r.Body(), x.last))
	}
	return text
}

// sameAnswers compares what readers are told that missed something.
func (x *trial) sameAnswers(a, b *deck) {
	x.t.Helper()
	ctx := context.Background()
	if diff := cmp.Diff(a.player.Extents(), b.player.Extents()); diff != "" {
		x.t.Fatal(diff)
	}
	for _, d := range []*deck{a, b} {
		x.readsBack(d)
	}
	at, clock := x.anyTime(), clocks[x.rng.IntN(2)].String()
	want, errA := a.player.Find(ctx, at, clock)
	got, errB := b.player.Find(ctx, at, clock)
	if diff := cmp.Diff(want, got); diff != "" || errA != nil || errB != nil {
		x.t.Fatalf("find %s: %v %v", diff, errA, errB)
	}
	if x.rng.IntN(3) == 0 {
		clock = ""
	}
	valuesA, nextA, errA := a.player.LastValues(ctx, at, clock, nil)
	valuesB, nextB, errB := b.player.LastValues(ctx, at, clock, nil)
	if fmt.Sprint(errA) != fmt.Sprint(errB) {
		x.t.Fatalf("last values: %v; %v", errA, errB)
	}
	if diff := cmp.Diff(sortedValues(valuesA), sortedValues(valuesB)) + cmp.Diff(nextA, nextB); diff != "" {
		x.t.Fatalf("last values: %s", diff)
	}
}

func sortedValues(list []replay.LastValue) (text []string) {
	for _, v := range list {
		text = append(text, fmt.Sprintf("%d %q", v.Shard, string(v.Record)))
	}
	slices.Sort(text)
	return text
}

// readsBack reads some of what a player has sent, and holds it against that.
func (x *trial) readsBack(d *deck) {
	x.t.Helper()
	for _, span := range d.player.Extents() {
		from := span.From + wire.Seq(x.rng.IntN(int(span.To-span.From)))
		to := from + 1 + wire.Seq(x.rng.IntN(int(span.To-from)))
		var got []sent
		for from := from; from < to; {
			batch, release, err := d.player.Read(context.Background(), span.Epoch, span.Shard, from, to, 1+x.rng.IntN(2000))
			if err != nil {
				x.t.Fatalf("read %d of %+v: %v", from, span, err)
			}
			items := itemsOf(&batch)
			got = append(got, items...)
			from += wire.Seq(len(items))
			release()
		}
		d.sink.mu.Lock()
		want := d.sink.epochs[span.Epoch-1].records[span.Shard][from:to]
		if !slices.Equal(got, want) {
			x.t.Fatalf("read [%d, %d) of %+v: %v, was %v", from, to, span, brief(got), brief(want))
		}
		d.sink.mu.Unlock()
	}
}
