package replay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
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
	values []string // topics of last values, in the order in which they came

	slowValues int // what each of them takes off the limit
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
		if b.Flags&wire.FlagSnapshotBatch != 0 {
			r.values = append(r.values, string(w.Record().Topic()))
			r.limit -= r.slowValues
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

// pair is two halves, one of which plays, and readers of both.
type pair struct {
	cfg           Config
	active, other *half
	at, there     []string
	list          []*pairReader
	subs          []*subscriber.Subscriber
	done          chan error
}

func newPair(t *testing.T, cfg Config, readers int) *pair {
	t.Helper()
	cfg.Wait = readers
	shards := cfg.Shards
	if shards == 0 {
		shards = cfg.Tape.Shards()
	}
	p := &pair{cfg: cfg, done: make(chan error, readers)}
	wild := slices.Repeat([]string{"tcp://127.0.0.1:*"}, shards)
	p.active = standBy(t, cfg, wild, nil)
	p.at = p.active.pub.Endpoints()
	p.other = standBy(t, cfg, wild, p.at)
	p.there = p.other.pub.Endpoints()
	for range readers {
		r := newPairReader()
		sub, err := subscriber.New(subscriber.Config{Endpoints: p.at, Pair: p.there, QueueBytes: 32 << 10, BatchBytes: 4 << 10}, r)
		must(t, err)
		p.list, p.subs = append(p.list, r), append(p.subs, sub)
		go func() { p.done <- sub.Run(t.Context()) }()
	}
	p.active.lead()
	return p
}

// ready waits until the other one could take over, and said is true of what it has heard.
func (p *pair) ready(said func(wire.DeckNotice) bool) {
	for !p.other.ready(p.active.pub.Epoch(), len(p.list)) || !said(p.other.follow.Following().Deck) {
		<-time.After(time.Millisecond)
	}
}

// kill ends the active one; the other one takes over, and another one stands by.
func (p *pair) kill(t *testing.T) {
	t.Helper()
	select {
	case err := <-p.active.result:
		t.Fatalf("it was through before it was killed: %v", err)
	default:
	}
	p.active.kill()
	p.other.lead()
	p.active, p.other = p.other, standBy(t, p.cfg, p.at, p.there)
	p.at, p.there = p.there, p.at
}

// through waits until the stream has ended, and checks that nothing was lost.
func (p *pair) through(t *testing.T) {
	t.Helper()
	for _, r := range p.list {
		r.may(1 << 30)
	}
	for range p.list {
		must(t, <-p.done)
	}
	must(t, <-p.active.result)
	p.active.kill()
	p.other.kill()
	for i, r := range p.list {
		sum := p.subs[i].Summary()
		if !sum.Ended || sum.Lost+sum.Broken+sum.Diverged+sum.Corrupt != 0 || len(r.gaps) != 0 {
			t.Errorf("reader %d: %+v, %v", i, sum, r.gaps)
		}
		t.Logf("reader %d: %d records, %d repeated", i, sum.Records, sum.Repeated)
	}
}

func takeovers(t *testing.T, cfg Config, kills int) {
	const readers = 3
	p := newPair(t, cfg, readers)
	list, shards := p.list, len(p.at)
	want := perShard(t, cfg, shards)
	total := 0
	for _, records := range want {
		total += len(records)
	}
	rng := rand.New(rand.NewPCG(uint64(total), 3))
	for n := range kills {
		// The readers are slow, so that it does not end meanwhile, and not equally slow.
		for more := rng.IntN(60); more > 0; {
			if p.other.ready(p.active.pub.Epoch(), readers) && list[0].has() >= total*(n+1)/(kills+2) {
				more--
			}
			step := 1 + total/3000
			if list[0].has() >= total*(n+1)/(kills+2) {
				step = 1 // the machine may be busy, and nothing is to end before it is ready
			}
			for i, r := range list {
				r.may(step * (i + 9) / 9)
			}
			select {
			case err := <-p.active.result:
				t.Fatalf("it was through before kill %d: %v", n, err)
			case <-time.After(time.Millisecond):
			}
		}
		p.kill(t)
	}
	p.through(t)
	p.check(t, want)
}

// check holds what all readers have against what each shard had to be sent.
func (p *pair) check(t *testing.T, want [][]string) {
	t.Helper()
	for i, r := range p.list {
		for s := range want {
			if !slices.Equal(r.shards[s], want[s]) {
				t.Errorf("reader %d, shard %d: %d records, want %d: %s", i, s, len(r.shards[s]), len(want[s]), firstDifference(r.shards[s], want[s]))
			}
		}
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

// TestTakeoverKeepsState: what commands had made of a session before its player was
// killed, it is afterwards.
func TestTakeoverKeepsState(t *testing.T) {
	at := func(n int) Target { return ToTime(firstTime+wire.Nanos(n)*1000, tape.ClockReceive) }
	ctx := func(t *testing.T) context.Context { return t.Context() }
	for name, tc := range map[string]struct {
		before func(t *testing.T, p *Player) // the kill
		heard  func(d wire.DeckNotice) bool
		after  func(t *testing.T, p *Player)
		// want is what follows the first k records of a shard, whose number in the tape is in
		// each record.
		want func(all []string, k int) []string
	}{
		"paused": {
			before: func(t *testing.T, p *Player) { must(t, p.Pause(ctx(t))) },
			heard:  func(d wire.DeckNotice) bool { return d.Phase == "paused" },
			after: func(t *testing.T, p *Player) {
				for st := p.State(); st.Phase != Paused; {
					var err error
					st, err = p.Wait(ctx(t), st.Version)
					must(t, err)
				}
				must(t, p.Resume(ctx(t)))
			},
			want: func(all []string, k int) []string { return all[k:] },
		},
		"another speed": {
			before: func(t *testing.T, p *Player) { must(t, p.SetSpeed(ctx(t), 0.01)) },
			heard:  func(d wire.DeckNotice) bool { return d.Speed == "0.01x" },
			after: func(t *testing.T, p *Player) {
				if st := p.State(); st.Phase != Waiting && st.Speed != 0.01 {
					t.Errorf("%+v", st)
				}
			},
			want: func(all []string, k int) []string { return all[k:] },
		},
		"sought": {
			before: func(t *testing.T, p *Player) { must(t, p.Seek(ctx(t), at(20_000))) },
			heard:  func(d wire.DeckNotice) bool { return d.Stream.Values != nil && *d.Stream.Values > 0 },
			after:  func(*testing.T, *Player) {},
			want:   func(all []string, _ int) []string { return fromNumber(all, 20_000) },
		},
		"filtered": {
			before: func(t *testing.T, p *Player) { must(t, p.SetTopics(ctx(t), []string{"T1", "T04"})) },
			heard:  func(d wire.DeckNotice) bool { return len(d.Topics) == 2 && d.Stream.Values != nil },
			after:  func(*testing.T, *Player) {},
			want: func(all []string, k int) []string {
				return slices.DeleteFunc(slices.Clone(all[k:]), func(r string) bool {
					topic := string(wire.Record(r).Topic())
					return topic[:2] != "T1" && topic != "T04"
				})
			},
		},
		"in a loop": {
			before: func(t *testing.T, p *Player) { must(t, p.Loop(ctx(t), at(3000), at(4000))) },
			heard:  func(d wire.DeckNotice) bool { return d.Round > 1 && d.Stream.Values != nil },
			after: func(t *testing.T, p *Player) {
				for st := p.State(); st.Round < 5; {
					var err error
					st, err = p.Wait(ctx(t), st.Version)
					must(t, err)
				}
				must(t, p.Unloop(ctx(t)))
			},
			want: nil, // rounds, and then what lies behind them
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Speed: 0.004, BatchBytes: 4 << 10, Tape: makeTape(t, tapeSpec{shards: 2, epochs: []int{24_000}, codec: tape.CodecPlain, topics: 50})}
			all := perShard(t, cfg, 2)
			p := newPair(t, cfg, 2)
			for _, r := range p.list {
				r.may(1 << 30)
			}
			p.ready(func(d wire.DeckNotice) bool { return d.Records > 500 })
			tc.before(t, p.active.player)
			p.ready(tc.heard)
			p.kill(t)
			tc.after(t, p.active.player)
			must(t, p.active.player.SetSpeed(t.Context(), Max))
			p.through(t)
			for i, r := range p.list {
				for s := range all {
					if !continues(r.shards[s], all[s], tc.want) {
						t.Errorf("reader %d, shard %d: %d records, of the tape's %d, are not as they should be", i, s, len(r.shards[s]), len(all[s]))
					}
				}
			}
		})
	}
}

// number is a record's on the tape.
func number(r string) (n int) {
	_, _ = fmt.Sscan(string(wire.Record(r).Body()), &n)
	return n
}

func fromNumber(all []string, n int) []string {
	return all[sort.Search(len(all), func(i int) bool { return number(all[i]) >= n }):]
}

// continues reports whether what came is the beginning of a shard, up to somewhere, and then
// what is wanted behind that; with no want rounds of a loop of records 3000 to 4000, whole
// ones, and all that is behind.
func continues(got, all []string, want func([]string, int) []string) bool {
	if want == nil {
		lo := slices.Index(all, fromNumber(all, 3000)[0])
		round := all[lo:slices.Index(all, fromNumber(all, 4000)[0])]
		want = func(all []string, k int) []string {
			var list []string
			for n := (len(got) - k - len(all) + lo) / len(round); n > 0; n-- {
				list = append(list, round...)
			}
			return append(list, all[lo:]...)
		}
	}
	for k := range min(len(got), len(all)) {
		if slices.Equal(got[k:], want(all, k)) {
			return true
		}
		if got[k] != all[k] {
			return false
		}
	}
	return false
}

// TestTakeoverAmongLastValues: a player is killed while the last values that follow a
// seek are on their way. Each reader gets each of them once, and the records behind them.
func TestTakeoverAmongLastValues(t *testing.T) {
	cfg := Config{BatchBytes: 1 << 10, Tape: makeTape(t, tapeSpec{shards: 2, epochs: []int{8000}, codec: tape.CodecPlain, topics: 2000, body: 3000})}
	all := perShard(t, cfg, 2)
	cfg.Paused = true
	p := newPair(t, cfg, 2)
	for _, r := range p.list {
		r.may(400)
		r.slowValues = 1
	}
	p.ready(func(wire.DeckNotice) bool { return true })
	must(t, p.active.player.Seek(t.Context(), ToTime(firstTime+7000*1000, tape.ClockReceive)))
	epoch := p.active.pub.Epoch()
	p.ready(func(d wire.DeckNotice) bool { return d.Epoch == epoch })
	p.kill(t)
	for _, r := range p.list {
		r.may(1 << 30)
	}
	must(t, p.active.player.Resume(t.Context()))
	p.through(t)
	topics := map[string]bool{}
	for _, list := range all {
		for _, r := range list[:len(list)-len(fromNumber(list, 7000))] {
			topics[string(wire.Record(r).Topic())] = true
		}
	}
	for i, r := range p.list {
		seen := map[string]bool{}
		for _, topic := range r.values {
			seen[topic] = true
		}
		if len(r.values) != len(topics) || len(seen) != len(topics) {
			t.Errorf("reader %d: %d last values of %d topics, want %d", i, len(r.values), len(seen), len(topics))
		}
		for s := range all {
			if want := fromNumber(all[s], 7000); !slices.Equal(r.shards[s], want) {
				t.Errorf("reader %d, shard %d: %d records, want %d", i, s, len(r.shards[s]), len(want))
			}
		}
	}
}
