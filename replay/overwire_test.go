package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// epochReader writes down what a subscriber hands over, per epoch.
type epochReader struct {
	shards int

	mu     sync.Mutex
	epochs []*fakeEpoch
	starts map[wire.Epoch]wire.SessionStart
	gaps   int
}

func (r *epochReader) epoch(e wire.Epoch) *fakeEpoch {
	i := slices.IndexFunc(r.epochs, func(x *fakeEpoch) bool { return x.epoch == e })
	if i < 0 {
		i = len(r.epochs)
		r.epochs = append(r.epochs, newFakeEpoch(e, wire.SessionStart{}, r.shards))
	}
	return r.epochs[i]
}

func (r *epochReader) HandleBatch(b *wire.Batch, skip uint32) error {
	if skip != 0 {
		return fmt.Errorf("%d records come again", skip)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.epoch(b.Epoch)
	c := *b
	c.Payload, c.Order = bytes.Clone(b.Payload), bytes.Clone(b.Order)
	e.batches[b.Shard] = append(e.batches[b.Shard], c)
	e.next[b.Shard] = b.Next()
	return nil
}

func (r *epochReader) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq) {
	r.mu.Lock()
	r.gaps++
	r.mu.Unlock()
}

func (r *epochReader) HandleSession(_ int, epoch wire.Epoch, s *wire.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.Start != nil {
		start := *s.Start
		start.PreviousEpoch, start.PreviousNext, start.PreviousHash = 0, 0, 0 // per shard
		r.starts[epoch] = start
	}
}

func (*epochReader) HandleEnd(int, wire.Epoch, bool) {}

// idlePublisher says when it is looked after.
type idlePublisher struct {
	*publisher.Publisher
	ticks chan struct{}
}

func (p *idlePublisher) Tick(ctx context.Context) error {
	select {
	case p.ticks <- struct{}{}:
	default:
	}
	return p.Publisher.Tick(ctx)
}

// TestDeckOverTheWire: readers on sockets follow every command without a gap, by
// bytes and by reference, at full speed, resharded and paced; and what they were
// sent can be read back, sequence by sequence.
func TestDeckOverTheWire(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg   Config
		tape  tapeSpec
		place bool
	}{
		"one shard":    {tape: tapeSpec{shards: 1, epochs: []int{30_000}, codec: tape.CodecPlain, topics: 50}},
		"lanes":        {tape: tapeSpec{shards: 3, epochs: []int{20_000, 9000}, codec: tape.CodecS2, topics: 50}},
		"by reference": {tape: tapeSpec{shards: 2, epochs: []int{30_000}, codec: tape.CodecPlain, topics: 50}, place: true},
		"resharded":    {tape: tapeSpec{shards: 1, epochs: []int{30_000}, codec: tape.CodecZstd, topics: 50}, cfg: Config{Shards: 2, BatchBytes: 4 << 10}},
		"paced":        {tape: tapeSpec{shards: 2, epochs: []int{30_000}, codec: tape.CodecPlain, topics: 50}, cfg: Config{Speed: 0.1, BatchBytes: 4 << 10}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := tc.cfg
			cfg.Tape, cfg.Hold, cfg.Wait = makeTape(t, tc.tape), true, 2
			overTheWire(t, cfg, tc.place)
		})
	}
}

func overTheWire(t *testing.T, cfg Config, place bool) {
	m := newModel(t, cfg)
	session := wire.Session{Publisher: "test"}
	var open subscriber.OpenTape
	if place {
		info, err := cfg.Tape.Info()
		must(t, err)
		at, err := tape.Place(cfg.Tape.Dir())
		must(t, err)
		session.Tape, session.ByReference = info.ID.String(), &at
		open = func(id string, at wire.TapePlace) (subscriber.Referred, error) { return tape.OpenReferences(id, at) }
	}
	pub, err := publisher.New(publisher.Config{
		Endpoints: slices.Repeat([]string{"tcp://127.0.0.1:*"}, m.shards), Lossless: true, Session: session, QueueBytes: 64 << 10,
	})
	must(t, err)
	var (
		readers []*epochReader
		subs    []*subscriber.Subscriber
		done    = make(chan error, 2)
	)
	for range 2 {
		r := &epochReader{shards: m.shards, starts: map[wire.Epoch]wire.SessionStart{}}
		sub, err := subscriber.New(subscriber.Config{Endpoints: pub.Endpoints(), OpenTape: open}, r)
		must(t, err)
		readers, subs = append(readers, r), append(subs, sub)
		ctx := t.Context()
		go func() { done <- sub.Run(ctx) }()
		open = nil // the second one takes bytes
	}
	idle := &idlePublisher{pub, make(chan struct{})}
	s := start(t, nil, idle, cfg)
	ctx := t.Context()
	epochs, places := []wire.Epoch{pub.Epoch()}, []int{0}
	rng := rand.New(rand.NewPCG(5, 6))
	for n := range 30 {
		switch n % 5 {
		case 0:
			must(t, s.p.Pause(ctx))
		case 1:
			if err := s.p.Step(ctx, 1+rng.IntN(500)); err != nil && !errors.Is(err, ErrBeyond) {
				t.Fatal(err)
			}
		case 2:
			must(t, s.p.Resume(ctx))
		default:
			i := rng.IntN(len(m.all))
			at := m.time(wire.Record(m.all[i].rec), tape.ClockReceive)
			must(t, s.p.Seek(ctx, ToTime(at, tape.ClockReceive)))
			epochs, places = append(epochs, pub.Epoch()), append(places, m.seek(at, tape.ClockReceive))
		}
	}
	must(t, s.p.SetSpeed(ctx, Max))
	must(t, s.p.Resume(ctx))
	for s.p.State().Phase != Held {
		<-idle.ticks
	}
	must(t, s.p.Stop(ctx))
	must(t, <-s.result)
	must(t, <-done)
	must(t, <-done)
	for i, r := range readers {
		if sum := subs[i].Summary(); !sum.Complete || sum.Lost+sum.Broken+sum.Refused+sum.Repeated+sum.Diverged+sum.Corrupt != 0 || r.gaps != 0 || place && i == 0 && sum.Referred == 0 {
			t.Errorf("reader %d: %+v", i, sum)
		}
		for n, e := range epochs {
			start, seen := r.starts[e]
			if n > 0 && !seen && slices.Max(r.epoch(e).next) == 0 {
				continue // it was over before there was room for its hello
			}
			if n > 0 && (start.Reason != "seek" || !start.Snapshot) {
				t.Errorf("reader %d: epoch %d starts with %+v", i, e, start)
			}
			m.check(t, r.epoch(e), places[n], 1, n == len(epochs)-1, n > 0)
		}
		if len(r.epochs) != len(epochs) {
			t.Errorf("reader %d saw %d epochs, want %d", i, len(r.epochs), len(epochs))
		}
	}
	s.f = &fakeDeck{t: t, shards: m.shards, epochs: readers[1].epochs}
	for _, span := range s.p.Extents() {
		readBack(t, s, sentItems(t, s.f, span.Epoch, span.Shard), span.Epoch, span.Shard, 0, span.To, 3000)
	}
	must(t, pub.Close())
	s.p.Close()
}
