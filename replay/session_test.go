package replay

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// watchedPublisher writes down the epochs that begin, and how much goes out in them.
type watchedPublisher struct {
	*publisher.Publisher
	shards int

	mu     sync.Mutex
	epochs []*fakeEpoch
	idle   *sync.Cond // Tick was called
	ticks  int
}

func watchPublisher(pub *publisher.Publisher, shards int) *watchedPublisher {
	w := &watchedPublisher{Publisher: pub, shards: shards}
	w.idle = sync.NewCond(&w.mu)
	w.epochs = []*fakeEpoch{newFakeEpoch(pub.Epoch(), wire.SessionStart{}, shards)}
	return w
}

func (w *watchedPublisher) Begin(ctx context.Context, start wire.SessionStart) error {
	if err := w.Publisher.Begin(ctx, start); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.epochs = append(w.epochs, newFakeEpoch(w.Epoch(), start, w.shards))
	return nil
}

func (w *watchedPublisher) Send(ctx context.Context, shard int, b *wire.Batch, done interface{ Release() }) error {
	return w.sent(shard, b.Flags, b.Count, w.Publisher.Send(ctx, shard, b, done))
}

func (w *watchedPublisher) SendStored(ctx context.Context, shard int, b *wire.Batch, ref *wire.Reference, done interface{ Release() }) error {
	return w.sent(shard, b.Flags, b.Count, w.Publisher.SendStored(ctx, shard, b, ref, done))
}

func (w *watchedPublisher) sent(shard int, flags wire.HeaderFlags, count uint32, err error) error {
	if err != nil || flags&wire.FlagSnapshotBatch != 0 {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.epochs[len(w.epochs)-1].news[shard] += int(count)
	return nil
}

func (w *watchedPublisher) Tick(ctx context.Context) error {
	w.mu.Lock()
	w.ticks++
	w.idle.Broadcast()
	w.mu.Unlock()
	return w.Publisher.Tick(ctx)
}

func (w *watchedPublisher) list() []*fakeEpoch {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.epochs)
}

// awaitTick returns when the player has looked after readers once more.
func (w *watchedPublisher) awaitTick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := w.ticks; w.ticks == n; {
		w.idle.Wait()
	}
}

// sumReader adds up what a subscriber hands over, per epoch and shard, and follows the
// deck by its notices.
type sumReader struct {
	mu      sync.Mutex
	sums    map[sumKey]uint32
	gaps    int
	version uint64
	wrong   string
}

type sumKey struct {
	epoch wire.Epoch
	shard int
}

func (r *sumReader) HandleBatch(b *wire.Batch, skip uint32) error {
	if skip != 0 {
		return fmt.Errorf("%d records come again", skip)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := sumKey{b.Epoch, int(b.Shard)}
	r.sums[key] = sumBatch(r.sums[key], b)
	return nil
}

// sumBatch goes on with a checksum over records and their ordinals.
func sumBatch(sum uint32, b *wire.Batch) uint32 {
	o := b.Ordinals()
	for w := b.Records(); w.Next(); {
		sum = crc32.Update(sum, crc32.IEEETable, fmt.Append([]byte(w.Record()), o.Next(), w.Seq()))
	}
	return sum
}

func (r *sumReader) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq) {
	r.mu.Lock()
	r.gaps++
	r.mu.Unlock()
}

func (*sumReader) HandleSession(int, wire.Epoch, *wire.Session) {}
func (*sumReader) HandleEnd(int, wire.Epoch, bool)              {}

// HandleNotice implements subscriber.NoticeHandler.
func (r *sumReader) HandleNotice(shard int, n wire.Record) {
	d, err := wire.ParseDeck(n.Body())
	r.mu.Lock()
	defer r.mu.Unlock()
	if string(n.Topic()) != wire.DeckTopic || err != nil || shard != 0 || d.Version < r.version {
		r.wrong = fmt.Sprintf("%q %q behind version %d: %v", n.Topic(), n.Body(), r.version, err)
	}
	r.version = d.Version
}

// TestDeckSession: twenty readers on sockets and two hundred commands at random. Every
// reader has the right records in the right order after each of them, hears of it, and
// is connected once.
func TestDeckSession(t *testing.T) {
	for name, tc := range map[string]struct {
		tape tapeSpec
		cfg  Config
	}{
		"blocks":    {tapeSpec{shards: 1, epochs: []int{12_000}, codec: tape.CodecPlain, topics: 60}, Config{}},
		"lanes":     {tapeSpec{shards: 2, epochs: []int{9000, 6000}, codec: tape.CodecS2, topics: 60}, Config{Passes: 2}},
		"resharded": {tapeSpec{shards: 1, epochs: []int{12_000}, codec: tape.CodecZstd, topics: 60}, Config{Shards: 2, BatchBytes: 4 << 10}},
		"paced":     {tapeSpec{shards: 2, epochs: []int{12_000}, codec: tape.CodecPlain, topics: 60}, Config{Speed: 0.2, BatchBytes: 4 << 10}},
	} {
		seeds := uint64(2)
		if testing.Short() {
			seeds = 1
		}
		for seed := range seeds {
			t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) {
				cfg := tc.cfg
				cfg.Tape, cfg.Hold, cfg.Session = makeTape(t, tc.tape), true, name
				deckSession(t, cfg, rand.New(rand.NewPCG(seed, 42)))
			})
		}
	}
}

func deckSession(t *testing.T, cfg Config, rng *rand.Rand) {
	const commands = 200
	cfg.Wait = 20
	m := newModel(t, cfg)
	socket, err := publisher.New(publisher.Config{Endpoints: slices.Repeat([]string{"tcp://127.0.0.1:*"}, m.shards), Lossless: true, QueueBytes: 256 << 10})
	must(t, err)
	pub := watchPublisher(socket, m.shards)
	first := &epochReader{shards: m.shards, starts: map[wire.Epoch]wire.SessionStart{}}
	handlers, done := []subscriber.Handler{first}, make(chan error, cfg.Wait)
	for range cfg.Wait - 1 {
		handlers = append(handlers, &sumReader{sums: map[sumKey]uint32{}})
	}
	var subs []*subscriber.Subscriber
	ctx := t.Context()
	for _, h := range handlers {
		sub, err := subscriber.New(subscriber.Config{Endpoints: socket.Endpoints()}, h)
		must(t, err)
		subs = append(subs, sub)
		go func() { done <- sub.Run(ctx) }()
	}
	s := start(t, nil, pub, cfg)
	follow := newFollower(t, s, m, pub.list)
	for range commands {
		command(t, follow, pub, rng)
	}
	follow.filter(nil)
	follow.leave()
	must(t, s.p.SetSpeed(ctx, Max))
	must(t, s.p.Resume(ctx))
	for s.p.State().Phase != Held {
		pub.awaitTick()
	}
	must(t, s.p.Stop(ctx))
	must(t, <-s.result)
	for range subs {
		must(t, <-done)
	}
	if st := socket.Stats(); st.Joined != cfg.Wait || st.Finished != cfg.Wait || st.Left != 0 {
		t.Errorf("%d readers, %d left, %d had the end", st.Joined, st.Left, st.Finished)
	}
	checkSession(t, follow, first, handlers[1:], subs)
	s.f = &fakeDeck{t: t, shards: m.shards, epochs: first.epochs}
	for _, span := range s.p.Extents() {
		readBack(t, s, sentItems(t, s.f, span.Epoch, span.Shard), span.Epoch, span.Shard, 0, span.To, 3000)
	}
	must(t, socket.Close())
	s.p.Close()
}

// command gives a command at random.
func command(t *testing.T, follow *follower, pub *watchedPublisher, rng *rand.Rand) {
	t.Helper()
	p, ctx := follow.s.p, t.Context()
	switch rng.IntN(14) {
	case 0:
		must(t, p.Pause(ctx))
	case 1, 2, 3:
		must(t, p.Resume(ctx))
	case 4:
		if err := p.Step(ctx, 1+rng.IntN(300)); err != nil && !errors.Is(err, ErrBeyond) {
			t.Fatal(err)
		}
	case 5:
		must(t, p.SetSpeed(ctx, []Speed{Max, 0.2, 1, 1e5}[rng.IntN(4)]))
	case 6:
		must(t, p.SetSqueeze(ctx, time.Duration(rng.IntN(3000))))
	case 7, 8:
		follow.filter([][]string{nil, {"T0"}, {"T1", "T03"}, {"T"}, {"none"}}[rng.IntN(5)])
	case 9, 10:
		follow.begin(rng)
	case 11:
		follow.leave()
	case 12: // let it play
		pub.awaitTick()
	default:
		follow.seek(rng)
	}
}

// checkSession checks what the readers have: one of them record by record, the others
// against it.
func checkSession(t *testing.T, follow *follower, first *epochReader, others []subscriber.Handler, subs []*subscriber.Subscriber) {
	t.Helper()
	begun := follow.epochs()
	for _, e := range begun {
		got := first.epoch(e.epoch)
		if start, seen := first.starts[e.epoch]; e.start.Reason != "" && !reflect.DeepEqual(start, e.start) && (seen || slices.Max(got.next) > 0) {
			t.Errorf("epoch %d starts with %+v, want %+v", e.epoch, start, e.start)
		}
		e.batches = got.batches
	}
	if len(first.epochs) != len(begun) {
		t.Errorf("a reader saw %d epochs of %d", len(first.epochs), len(begun))
	}
	follow.check()
	want := map[sumKey]uint32{}
	for _, e := range first.epochs {
		for shard, batches := range e.batches {
			for i := range batches {
				key := sumKey{e.epoch, shard}
				want[key] = sumBatch(want[key], &batches[i])
			}
		}
	}
	version := follow.s.p.State().Version
	for i, sub := range subs {
		if sum := sub.Summary(); !sum.Complete || sum.Lost+sum.Broken+sum.Refused+sum.Repeated+sum.Diverged+sum.Corrupt != 0 {
			t.Errorf("reader %d: %+v", i, sum)
		}
	}
	for i, h := range others {
		r := h.(*sumReader)
		if !maps.Equal(r.sums, want) || r.gaps != 0 || r.wrong != "" || r.version != version {
			t.Errorf("reader %d has something else: %d gaps, version %d, want %d; %s", i+1, r.gaps, r.version, version, r.wrong)
		}
	}
}
