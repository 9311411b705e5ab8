package replay

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// TestAgain: however far its shards are apart, and whatever was gathered and had not gone
// out, a player that begins an epoch where it stands sends no record twice and leaves none
// out, and can give all of them once more.
func TestAgain(t *testing.T) {
	eachKind(t, 20_000, func(t *testing.T, f *fakeDeck, pub Publisher, cfg Config) {
		cfg.Hold = true
		s := start(t, f, pub, cfg)
		for range 30 {
			if s.p.State().Phase != Held {
				f.awaitMove()
			}
			must(t, s.p.Again(t.Context()))
		}
		for s.p.State().Phase != Held {
			f.awaitTicks(1)
		}
		must(t, s.p.Stop(t.Context()))
		readAll(t, s)
		s.end(t, nil)
		want := perShard(t, Config{Tape: cfg.Tape, Shards: cfg.Shards}, f.shards)
		for shard := range f.shards {
			var got []string
			for i, e := range f.epochs {
				if i > 0 && (e.start.Reason != wire.TakeoverReason || e.start.Snapshot) {
					t.Fatalf("epoch %d: %+v", i, e.start)
				}
				for _, it := range e.items(t, shard) {
					got = append(got, it.record)
				}
			}
			if !slices.Equal(got, want[shard]) {
				t.Errorf("shard %d: %d records, want %d: %s", shard, len(got), len(want[shard]), firstDifference(got, want[shard]))
			}
		}
	})
}

// TestAgainBehindLastValues: an epoch that is to begin while last values are on their way
// begins behind them.
func TestAgainBehindLastValues(t *testing.T) {
	tp := deckTape(t, 4000, 2)
	f := newFakeDeck(t, 2)
	s := start(t, f, f, Config{Tape: tp, Hold: true, Paused: true, BatchBytes: batchBytesMin})
	f.full(true)
	sought := make(chan error, 1)
	go func() { sought <- s.p.Seek(t.Context(), at(2000)) }()
	must(t, <-sought)
	f.awaitStanding()
	again := make(chan error, 1)
	go func() { again <- s.p.Again(t.Context()) }()
	f.full(false)
	must(t, <-again)
	must(t, s.p.Resume(t.Context()))
	for s.p.State().Phase != Held {
		f.awaitTicks(1)
	}
	must(t, s.p.Stop(t.Context()))
	readAll(t, s)
	s.end(t, nil)
	if len(f.epochs) != 3 {
		t.Fatalf("%d epochs", len(f.epochs))
	}
	values, behind := 0, 0
	for shard := range 2 {
		for _, it := range f.epochs[1].items(t, shard) {
			if it.last {
				values++
			}
		}
		for _, it := range f.epochs[2].items(t, shard) {
			if it.last {
				t.Fatal("a last value in the epoch behind")
			}
			behind++
		}
	}
	if values == 0 || behind != 2000 {
		t.Errorf("%d last values, and %d records behind them", values, behind)
	}
}

// TestTakeoverTwiceUnmoved: a player that was paused is killed, and so is the one that took
// over, before that had sent anything. The shards stand at different places, which nobody
// has seen on the stream.
func TestTakeoverTwiceUnmoved(t *testing.T) {
	cfg := Config{BatchBytes: 4 << 10, Tape: makeTape(t, tapeSpec{shards: 2, epochs: []int{24_000}, codec: tape.CodecPlain, topics: 50, body: 600})}
	all := perShard(t, cfg, 2)
	p := newPair(t, cfg, 2)
	for p.list[0].has() < 3000 || !p.other.ready(p.active.pub.Epoch(), len(p.list)) {
		for _, r := range p.list {
			r.may(5)
		}
		<-time.After(time.Millisecond)
	}
	must(t, p.active.player.Pause(t.Context()))
	for _, r := range p.list {
		r.may(1 << 30)
	}
	p.ready(func(d wire.DeckNotice) bool { return d.Phase == "paused" })
	for range 3 {
		p.kill(t)
		p.ready(func(d wire.DeckNotice) bool { return d.Phase == "paused" })
	}
	must(t, p.active.player.Resume(t.Context()))
	p.through(t)
	p.check(t, all)
}

// TestTakeoverOfOwn: a player that yielded to another one, of which it has heard nothing,
// goes on where it was itself, as if it had heard itself.
func TestTakeoverOfOwn(t *testing.T) {
	cfg := Config{Speed: 0.004, BatchBytes: 4 << 10, Tape: makeTape(t, tapeSpec{shards: 2, epochs: []int{24_000}, codec: tape.CodecPlain, topics: 50})}
	all := perShard(t, cfg, 2)
	p := newPair(t, cfg, 2)
	for _, r := range p.list {
		r.may(1 << 30)
	}
	ready := func() { p.ready(func(d wire.DeckNotice) bool { return d.Records > 500 }) }
	ready()
	p.kill(t) // what plays now has taken over, and its readers know of two epochs
	ready()
	for range 2 {
		was := p.active
		was.quit()
		was.done.Wait()
		<-was.result
		legacy := was.follow.Leave(was.pub.Lineage())
		must(t, was.pub.Close())
		was.player.Close()
		p.active = standBy(t, p.cfg, p.at, nil)
		p.active.follow.Inherit(legacy)
		for len(p.active.pub.Readers()) < len(p.list) {
			must(t, p.active.pub.Tick(t.Context()))
		}
		p.active.lead()
		ready()
	}
	must(t, p.active.player.SetSpeed(t.Context(), Max))
	p.through(t)
	p.check(t, all)
}

// TestLeaveNothing: who has neither played nor heard anything leaves nothing.
func TestLeaveNothing(t *testing.T) {
	p := newPlayer(t, Config{Tape: deckTape(t, 10, 1)})
	defer p.Close()
	f := NewFollower(p, pairTape, func(err error) { t.Error(err) })
	if l := f.Leave(nil); l != nil {
		t.Errorf("%+v", l)
	}
	f.Inherit(nil)
	if f.Following().Known {
		t.Error("it knows something")
	}
	if err := f.TakeOver(context.Background(), nil, 0, false); err == nil {
		t.Error("it took over")
	}
}

// awaitMove returns when another batch, or a tick, has come.
func (f *fakeDeck) awaitMove() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := f.sent + f.ticks; f.sent+f.ticks == n; {
		f.ticked.Wait()
	}
}

// TestLeaveEnd: who had played everything leaves that too, and it counts until the other
// one says that it plays.
func TestLeaveEnd(t *testing.T) {
	tp := deckTape(t, 1000, 2)
	f := newFakeDeck(t, 2)
	s := start(t, f, f, Config{Tape: tp, Paired: true})
	follow := NewFollower(s.p, pairTape, func(err error) { t.Error(err) })
	s.end(t, nil)
	legacy := follow.Leave(make([][]wire.SessionPlace, 2))
	p := newPlayer(t, Config{Tape: tp, Paired: true})
	defer p.Close()
	next := NewFollower(p, pairTape, func(err error) { t.Error(err) })
	next.Inherit(legacy)
	got := next.Following()
	if !got.Known || !got.Ended || got.Early || got.Deck.Epoch != 100 || got.Deck.Phase != Playing.String() || got.Deck.Records != 1000 {
		t.Errorf("%+v", got)
	}
	if _, _, err := p.Read(t.Context(), 100, 0, 0, 1, 0); err != nil {
		t.Errorf("what was sent is not there any more: %v", err)
	}
	next.HandleSession(0, 200, &wire.Session{Tape: pairTape})
	if next.Following().Ended {
		t.Error("the other one plays, and it has ended")
	}
}
