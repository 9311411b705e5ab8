package publisher

import (
	"slices"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// TestTakeOver: a publisher that stands by hears readers and says nothing, whatever
// is due; then it begins an epoch that joins on to another publisher's, shard by
// shard.
func TestTakeOver(t *testing.T) {
	p := open(t, Config{Endpoints: []string{anyPort, anyPort}, Epoch: 7, Lossless: true, Session: session, Standby: true, Heartbeat: time.Nanosecond})
	id := wire.ReaderID{1}
	step := wire.ReaderStep{Epoch: 1 << 62, Next: 40, Hello: 3}
	readers := []*raw{connect(t, p.Endpoints()[0], zsock.SUB), connect(t, p.Endpoints()[1], zsock.SUB)}
	for _, r := range readers {
		r.subscribe("")
		r.subscribe(wire.ReadyTopic(id, "desk"))
	}
	readers[1].subscribe(step.Topic(id))
	said := func() []Standing {
		list, err := p.Standings()
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	until(t, p, func() bool { list := said(); return len(list) == 2 && list[1].Epoch != 0 })
	if list := said(); list[0] != (Standing{Reader: id}) || list[1] != (Standing{Reader: id, Shard: 1, Epoch: step.Epoch, Next: 40}) {
		t.Errorf("%+v", list)
	}
	if err := p.Notice(wire.OperatorPrefix+"x", []byte("{}")); err != nil {
		t.Error(err)
	}
	until(t, p, p.Wanted)
	if p.Seen() != 1 || len(p.Readers()) != 1 {
		t.Errorf("%d readers seen, %v", p.Seen(), p.Readers())
	}
	p.Stop() // it has nothing to end
	start := wire.SessionStart{Reason: wire.TakeoverReason, At: 5}
	if err := p.TakeOver(t.Context(), start, step.Epoch, []wire.Seq{9}); err == nil {
		t.Error("it takes over at the place of one shard of two")
	}
	if err := p.TakeOver(t.Context(), start, step.Epoch, []wire.Seq{9, 40}); err != nil {
		t.Fatal(err)
	}
	for i, r := range readers {
		b := r.must() // the first message of all
		got := r.session(b)
		if got == nil || got.Reason != wire.TakeoverReason || got.At != 5 || got.PreviousEpoch != step.Epoch || got.PreviousNext != []wire.Seq{9, 40}[i] || got.PreviousHash != 0 ||
			b.Epoch <= step.Epoch || b.FirstSeq != 0 || b.Hash != 0 {
			t.Errorf("shard %d: %+v, %+v", i, b.Header, got)
		}
	}
	if p.Epoch() <= step.Epoch {
		t.Errorf("epoch %d", p.Epoch())
	}
	if err := p.Send(t.Context(), 0, makeBatch(t, 100), nil); err != nil {
		t.Error(err)
	}

	// What it goes on with is told in its next epoch, too, where that goes on as well.
	first := p.Epoch()
	readers[0].must() // the batch
	for _, reason := range []string{wire.TakeoverReason, "seek"} {
		if err := p.Begin(t.Context(), wire.SessionStart{Reason: reason}); err != nil {
			t.Fatal(err)
		}
		for i, r := range readers {
			got := r.session(r.must())
			sent := []wire.Seq{wire.Seq(makeBatch(t, 100).Count), 0}[i]
			if reason == "seek" {
				if got.Before != nil {
					t.Errorf("a seek goes on with %+v", got.Before)
				}
				continue
			}
			want := []wire.SessionPlace{{Epoch: step.Epoch, Next: []wire.Seq{9, 40}[i] + sent}}
			if got.PreviousEpoch != first || got.PreviousNext != sent || !slices.Equal(got.Before, want) {
				t.Errorf("shard %d: %+v, want before %+v", i, got, want)
			}
		}
	}
}

// TestTakeOverNothing: where there was no other publisher the stream begins.
func TestTakeOverNothing(t *testing.T) {
	p := open(t, Config{Epoch: 7, Session: session, Standby: true})
	r := connect(t, p.Endpoints()[0], zsock.SUB)
	r.subscribe("")
	until(t, p, p.Wanted)
	if err := p.TakeOver(t.Context(), wire.SessionStart{}, 0, nil); err != nil {
		t.Fatal(err)
	}
	if b := r.must(); r.session(b) != nil || b.Epoch <= 7 {
		t.Errorf("%+v", b.Header)
	}
}

// TestWatchersWantNothing: who takes marks alone is nobody who would miss records.
func TestWatchersWantNothing(t *testing.T) {
	p := open(t, Config{Session: session, Standby: true})
	r := connect(t, p.Endpoints()[0], zsock.SUB)
	for _, topic := range wire.MarkTopics() {
		r.subscribe(topic)
	}
	r.subscribe(wire.ReadyTopic(wire.ReaderID{2}, "")) // comes behind them
	until(t, p, func() bool { return p.Seen() == 1 })
	if p.Wanted() {
		t.Error("somebody wants records")
	}
}

// TestWantedOnAnyShard: a reader that is connected on one shard alone, whichever that is, is
// somebody who would miss records.
func TestWantedOnAnyShard(t *testing.T) {
	p := open(t, Config{Endpoints: []string{anyPort, anyPort}, Session: session, Standby: true})
	first, second := connect(t, p.Endpoints()[0], zsock.SUB), connect(t, p.Endpoints()[1], zsock.SUB)
	second.subscribe("")
	until(t, p, p.Wanted)
	first.subscribe("")
	until(t, p, func() bool { return p.wanted.Load() == 2 })
	if err := first.Unsubscribe(""); err != nil {
		t.Fatal(err)
	}
	until(t, p, func() bool { return p.wanted.Load() == 1 })
	if !p.Wanted() {
		t.Error("nobody wants records")
	}
	if err := second.Unsubscribe(""); err != nil {
		t.Fatal(err)
	}
	until(t, p, func() bool { return !p.Wanted() })
}
