package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// heard is a deck notice, and what had been sent when it came.
type heard struct {
	wire.DeckNotice
	epoch wire.Epoch
	news  int // records sent in it
}

// noticingDeck hears what a player says.
type noticingDeck struct {
	*fakeDeck
	list []heard
}

func (f *noticingDeck) Notice(topic string, body []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, err := wire.ParseDeck(body)
	if topic != wire.DeckTopic || err != nil {
		f.t.Errorf("notice on %q: %s, %v", topic, body, err)
	}
	h := heard{DeckNotice: d, epoch: f.last().epoch}
	for _, batches := range f.last().batches {
		for _, b := range batches {
			if b.Flags&wire.FlagSnapshotBatch == 0 {
				h.news += int(b.Count)
			}
		}
	}
	f.list = append(f.list, h)
	f.ticked.Broadcast()
	return nil
}

// told is the notices so far.
func (f *noticingDeck) told() []heard {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}

// TestDeckNotices: readers are told of every change, in its place in the stream, with
// the command that brought it about.
func TestDeckNotices(t *testing.T) {
	f := &noticingDeck{fakeDeck: newFakeDeck(t, 1)}
	s := start(t, f.fakeDeck, f, Config{Tape: deckTape(t, 1000, 1), Paused: true, Hold: true, Session: "es", Speed: 1e6})
	ctx, p := t.Context(), s.p
	for _, command := range []func() error{
		func() error { return p.Step(ctx, 7) },
		func() error { return p.SetSpeed(ctx, Max) },
		func() error { return p.Seek(ctx, at(500)) },
		func() error { return p.SetTopics(ctx, []string{"T0", "T1"}) },
		func() error { return p.SetSqueeze(ctx, time.Second) },
		func() error { return p.Loop(ctx, at(200), at(210)) },
		func() error { return p.Unloop(ctx) },
		func() error { return p.Pause(ctx) }, // changes nothing
		func() error { return p.Resume(ctx) },
	} {
		must(t, command())
	}
	for p.State().Phase != Held {
		f.awaitTicks(1)
	}
	must(t, p.Stop(ctx))
	s.end(t, nil)
	var commands []string
	list := f.told()
	for i, h := range list {
		if h.Command != "" {
			commands = append(commands, h.Command)
		}
		if h.Session != "es" || h.Clock != "receive" || h.Epoch != h.epoch || h.Time == 0 ||
			i > 0 && (h.Version < list[i-1].Version || h.Time < list[i-1].Time) {
			t.Errorf("notice %d: %+v", i, h)
		}
	}
	if got := strings.Join(commands, " "); got != "play step speed seek filter squeeze loop unloop resume stop" {
		t.Errorf("commands %s", got)
	}
	for command, want := range map[string]string{
		"play":    "paused 1000000x at 0, ordinal 0, 0 of 0 records",
		"step":    "paused 1000000x at 6, ordinal 7, 7 of 7 records",
		"seek":    "paused max at 500, ordinal 500, 0 of 7 records",
		"filter":  "paused max at 500, ordinal 500, 0 of 7 records, topics [T0 T1]",
		"squeeze": "paused max at 500, ordinal 500, 0 of 7 records, topics [T0 T1], squeezed to 1s",
		"loop":    "paused max at 200, ordinal 200, 0 of 7 records, topics [T0 T1], squeezed to 1s, loop 200 to 210",
		"unloop":  "paused max at 200, ordinal 200, 0 of 7 records, topics [T0 T1], squeezed to 1s",
		"resume":  "playing max at 200, ordinal 200, 0 of 7 records, topics [T0 T1], squeezed to 1s",
	} {
		h := list[slices.IndexFunc(list, func(h heard) bool { return h.Command == command })]
		if got := deckLine(&h); got != want {
			t.Errorf("%s: %s\nwant %s", command, got, want)
		}
	}
	last := list[len(list)-1]
	if last.Phase != "finished" || last.Ordinal != 1000 || last.Version != p.State().Version {
		t.Errorf("the last: %+v", last)
	}
}

func deckLine(h *heard) string {
	n := func(t wire.Nanos) wire.Nanos { return max((t-firstTime)/1000, 0) }
	text := fmt.Sprintf("%s %s at %d, ordinal %d, %d of %d records", h.Phase, h.Speed, n(h.Position), h.Ordinal, h.news, h.Records)
	if h.Topics != nil {
		text += fmt.Sprintf(", topics %v", h.Topics)
	}
	if h.SqueezeNs > 0 {
		text += fmt.Sprintf(", squeezed to %v", time.Duration(h.SqueezeNs))
	}
	if h.Loop != nil {
		text += fmt.Sprintf(", loop %d to %d", n(h.Loop.From), n(h.Loop.To))
	}
	return text
}

// TestDeckNoticesGoOn: while nothing changes, readers are told how things stand.
func TestDeckNoticesGoOn(t *testing.T) {
	f := &noticingDeck{fakeDeck: newFakeDeck(t, 1)}
	p := newPlayer(t, Config{Tape: deckTape(t, 100, 1), Publisher: f, Paused: true})
	p.voice.every = time.Millisecond
	s := &session{p: p, f: f.fakeDeck, result: make(chan error, 1)}
	ctx := t.Context()
	go func() {
		_, err := p.Run(ctx)
		s.result <- err
	}()
	again := 0
	for again < 5 {
		f.awaitTicks(1)
		again = 0
		for _, h := range f.told() {
			if h.Command == "" && h.Phase == "paused" {
				again++
			}
		}
	}
	must(t, p.Stop(ctx))
	s.end(t, ErrStopped)
	n := len(f.told())
	if last := f.told()[n-1]; last.Phase != "finished" || last.Command != "stop" {
		t.Errorf("the last: %+v", last)
	}
}

// TestDeckNoticeHasRoom: of a long filter a notice lists what fits.
func TestDeckNoticeHasRoom(t *testing.T) {
	p := newPlayer(t, Config{Tape: deckTape(t, 100, 1), Publisher: newFakeDeck(t, 1)})
	defer p.Close()
	st := p.State()
	for i := range 10_000 {
		st.Topics = append(st.Topics, fmt.Sprintf("TOPIC%05d", i))
	}
	d := p.notice(st)
	if body := wire.AppendDeck(nil, &d); len(body) > 64<<10 || len(d.Topics) == 0 || len(d.Topics)+d.TopicsLeftOut != 10_000 {
		t.Errorf("%d bytes, %d topics, %d left out", len(body), len(d.Topics), d.TopicsLeftOut)
	}
}

// TestWait: whoever waits hears of changes, and of nothing else; at the end nobody waits
// for ever.
func TestWait(t *testing.T) {
	f := newFakeDeck(t, 1)
	s := start(t, f, f, Config{Tape: deckTape(t, 1000, 1), Paused: true})
	ctx := t.Context()
	s.until(t, func(st State) bool { return st.Phase == Paused })
	st := s.p.State()
	if got, err := s.p.Wait(ctx, st.Version-1); err != nil || got.Version != st.Version {
		t.Errorf("of what has changed: %+v, %v", got, err)
	}
	gone, cancel := context.WithCancelCause(ctx)
	why := errors.New("enough")
	waited := make(chan error, 1)
	go func() {
		_, err := s.p.Wait(gone, st.Version)
		waited <- err
	}()
	must(t, s.p.Step(ctx, 5)) // goes on by itself
	if now := s.p.State(); now.Version != st.Version || now.Records != 5 || now.Ordinal != 5 {
		t.Errorf("after steps: %+v, was %+v", now, st)
	}
	cancel(why)
	if err := <-waited; err != why {
		t.Errorf("with a context that ended: %v", err)
	}
	seen := make(chan State)
	go func() {
		defer close(seen)
		for version := st.Version; ; {
			st, err := s.p.Wait(context.Background(), version)
			if err != nil {
				if !errors.Is(err, ErrFinished) || st.Phase != Finished {
					t.Errorf("at the end: %+v, %v", st, err)
				}
				return
			}
			if st.Version <= version {
				t.Errorf("version %d behind %d", st.Version, version)
			}
			version = st.Version
			seen <- st
		}
	}()
	for _, tc := range []struct {
		command func() error
		is      func(st State) bool
	}{
		{func() error { return s.p.SetSpeed(ctx, 2) }, func(st State) bool { return st.Speed == 2 }},
		{func() error { return s.p.Seek(ctx, at(400)) }, func(st State) bool { return st.Epoch == 101 && st.Ordinal == 400 }},
		{func() error { return s.p.SetTopics(ctx, []string{"T"}) }, func(st State) bool { return st.Epoch == 102 && len(st.Topics) == 1 }},
		{func() error { return s.p.Loop(ctx, at(100), at(200)) }, func(st State) bool { return st.Looping && st.LoopTo == at(200).Time }},
		{func() error { return s.p.Stop(ctx) }, func(st State) bool { return st.Phase == Finished }},
	} {
		must(t, tc.command())
		for st := range seen {
			if tc.is(st) {
				break
			}
		}
	}
	s.end(t, ErrStopped)
	for range seen {
	}
}
