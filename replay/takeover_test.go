package replay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// half is one player of a pair, over real sockets.
type half struct {
	t      *testing.T
	pub    *publisher.Publisher
	player *Player
	follow *Follower // while it stands by
	quit   context.CancelFunc
	done   sync.WaitGroup
	result chan error // of Run
}

const pairTape = "the tape"

// standBy opens a half that follows the one at peer.
func standBy(t *testing.T, cfg Config, at, peer []string) *half {
	t.Helper()
	h := &half{t: t, result: make(chan error, 1)}
	var err error
	h.pub, err = publisher.New(publisher.Config{
		Endpoints: at, Lossless: true, Standby: true, QueueBytes: 64 << 10, Heartbeat: 50 * time.Millisecond,
		Session: wire.Session{Publisher: "test", Tape: pairTape},
	})
	must(t, err)
	cfg.Publisher, cfg.Paired = h.pub, true
	h.player, err = New(cfg)
	must(t, err)
	h.follow = NewFollower(h.player, pairTape, func(err error) { t.Error(err) })
	var ctx context.Context
	ctx, h.quit = context.WithCancel(t.Context())
	if peer == nil {
		return h
	}
	sub, err := subscriber.New(subscriber.Config{Endpoints: peer, Watch: true, Follow: true}, h.follow)
	must(t, err)
	h.done.Go(func() { _ = sub.Run(ctx) }) // until the takeover
	return h
}

// lead makes it send: the stream's beginning, or what the other one left.
func (h *half) lead() {
	h.t.Helper()
	h.quit()
	h.done.Wait()
	standings, err := h.pub.Standings()
	must(h.t, err)
	var list []Standing
	for _, s := range standings {
		list = append(list, Standing{Shard: s.Shard, Epoch: s.Epoch, Next: s.Next})
	}
	err = h.follow.TakeOver(h.t.Context(), list, time.Second, false)
	if errors.Is(err, ErrUnheard) {
		err = h.pub.TakeOver(h.t.Context(), wire.SessionStart{}, 0, nil)
	}
	must(h.t, err)
	var ctx context.Context
	ctx, h.quit = context.WithCancel(h.t.Context())
	h.done.Go(func() {
		_, err := h.player.Run(ctx)
		h.result <- err
	})
}

// kill ends it without a word.
func (h *half) kill() {
	h.quit()
	h.done.Wait()
	must(h.t, h.pub.Close())
	h.player.Close()
}

// ready reports whether a half that stands by has heard of an epoch, and of all readers.
func (h *half) ready(epoch wire.Epoch, readers int) bool {
	must(h.t, h.pub.Tick(h.t.Context()))
	f := h.follow.Following()
	return f.Known && f.Deck.Epoch == epoch && len(h.pub.Readers()) == readers
}

// pairReader writes down the records of each shard, last values left out.
type pairReader struct {
	mu     sync.Mutex
	more   sync.Cond // of mu
	limit  int       // of records: there it stops taking any until that is raised
	shards map[int][]string
	count  int
	gaps   []string
}

func newPairReader() *pairReader {
	r := &pairReader{shards: map[int][]string{}}
	r.more.L = &r.mu
	return r
}

// may lets it take so many more records.
func (r *pairReader) may(more int) {
	r.mu.Lock()
	r.limit += more
	r.mu.Unlock()
	r.more.Broadcast()
}

func (r *pairReader) HandleBatch(b *wire.Batch, skip uint32) error {
	if b.Flags&wire.FlagSnapshotBatch != 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.count >= r.limit {
		r.more.Wait()
	}
	for w := b.Records(); w.Next(); {
		if skip > 0 {
			skip--
			continue
		}
		r.shards[int(b.Shard)] = append(r.shards[int(b.Shard)], string(w.Record()))
		r.count++
	}
	return nil
}

func (r *pairReader) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gaps = append(r.gaps, fmt.Sprintf("shard %d: [%d, %d) of epoch %d", shard, from, to, epoch))
}

func (r *pairReader) has() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

func (*pairReader) HandleSession(int, wire.Epoch, *wire.Session) {}
func (*pairReader) HandleEnd(int, wire.Epoch, bool)              {}

// TestTakeover: players of one tape are killed one after the other while they play, and
// the other one goes on each time. Every reader gets every record of the tape once, in
// order.
func TestTakeover(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg  Config
		tape tapeSpec
	}{
		"one shard":      {tape: tapeSpec{shards: 1, epochs: []int{24_000}, codec: tape.CodecPlain, topics: 50, body: 600}},
		"lanes":          {tape: tapeSpec{shards: 3, epochs: []int{16_000, 8_000}, codec: tape.CodecS2, topics: 50, body: 600}},
		"resharded":      {tape: tapeSpec{shards: 1, epochs: []int{24_000}, codec: tape.CodecPlain, topics: 50, body: 600}, cfg: Config{Shards: 2, BatchBytes: 4 << 10}},
		"paced":          {tape: tapeSpec{shards: 2, epochs: []int{24_000}, codec: tape.CodecPlain, topics: 50, body: 600}, cfg: Config{Speed: 0.05, BatchBytes: 4 << 10}},
		"several passes": {tape: tapeSpec{shards: 2, epochs: []int{6_000}, codec: tape.CodecPlain, topics: 50, body: 600}, cfg: Config{Passes: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := tc.cfg
			cfg.Tape = makeTape(t, tc.tape)
			takeovers(t, cfg, 3)
		})
	}
}

func takeovers(t *testing.T, cfg Config, kills int) {
	const readers = 3
	cfg.Wait = readers
	shards := cfg.Shards
	if shards == 0 {
		shards = cfg.Tape.Shards()
	}
	wild := slices.Repeat([]string{"tcp://127.0.0.1:*"}, shards)
	active := standBy(t, cfg, wild, nil)
	at := active.pub.Endpoints()
	other := standBy(t, cfg, wild, at)
	there := other.pub.Endpoints()
	var (
		list []*pairReader
		subs []*subscriber.Subscriber
		done = make(chan error, readers)
	)
	for range readers {
		r := newPairReader()
		sub, err := subscriber.New(subscriber.Config{Endpoints: at, Pair: there, QueueBytes: 32 << 10, BatchBytes: 4 << 10}, r)
		must(t, err)
		list, subs = append(list, r), append(subs, sub)
		go func() { done <- sub.Run(t.Context()) }()
	}
	active.lead()
	want := perShard(t, cfg, shards)
	total := 0
	for _, records := range want {
		total += len(records)
	}
	rng := rand.New(rand.NewPCG(uint64(total), 3))
	for n := range kills {
		// The readers are slow, so that it does not end meanwhile, and not equally slow.
		for more := rng.IntN(60); more > 0; {
			if other.ready(active.pub.Epoch(), readers) && list[0].has() >= total*(n+1)/(kills+2) {
				more--
			}
			for i, r := range list {
				r.may((1 + total/3000) * (i + 9) / 9)
			}
			<-time.After(time.Millisecond)
		}
		select {
		case err := <-active.result:
			t.Fatalf("it was through before kill %d: %v", n, err)
		default:
		}
		active.kill()
		other.lead()
		active, other = other, standBy(t, cfg, at, there)
		at, there = there, at
	}
	for _, r := range list {
		r.may(total + 1)
	}
	for range readers {
		must(t, <-done)
	}
	must(t, <-active.result)
	active.kill()
	other.kill()
	for i, r := range list {
		sum := subs[i].Summary()
		if !sum.Ended || sum.Lost+sum.Broken+sum.Diverged+sum.Corrupt != 0 || len(r.gaps) != 0 || sum.Epochs != uint64(kills)+1 {
			t.Errorf("reader %d: %+v, %v", i, sum, r.gaps)
		}
		for s := range shards {
			if !slices.Equal(r.shards[s], want[s]) {
				t.Errorf("reader %d, shard %d: %d records, want %d: %s", i, s, len(r.shards[s]), len(want[s]), firstDifference(r.shards[s], want[s]))
			}
		}
		t.Logf("reader %d: %d records, %d repeated", i, sum.Records, sum.Repeated)
	}
}

func firstDifference(got, want []string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("record %d is number %d", i, slices.Index(want, got[i]))
		}
	}
	return "one is the other's beginning"
}

// perShard are the records that each shard has to be sent.
func perShard(t *testing.T, cfg Config, shards int) [][]string {
	t.Helper()
	f := &fakePublisher{t: t}
	cfg.Publisher, cfg.Wait, cfg.Speed = f, 0, Max
	_, err := run(t, cfg)
	must(t, err)
	list := make([][]string, shards)
	for _, it := range f.items() {
		list[it.shard] = append(list[it.shard], it.record)
	}
	return list
}
