package main

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/tape"
)

// commands are those of the service deck.
func (h *deckHouse) commands() []control.Command {
	return []control.Command{
		deckChange(h, "open", "open a deck: tapes, and endpoints that readers stay connected to", h.cmdOpen),
		busLookup("list", "every open deck", h.cmdList),
		deckChange(h, "close", "end a deck and let go of its endpoints", h.cmdClose),
		deckChange(h, "play", "play, at another speed where one is given; at the end from the start", deckCommand(h, (*deck).doPlay)),
		deckChange(h, "pause", "stand still", deckCommand(h, (*deck).doPause)),
		deckChange(h, "resume", "go on after a pause, or at the end from the start", deckCommand(h, (*deck).doResume)),
		deckChange(h, "step", "pause, and send the next records in the tape's one order", deckCommand(h, (*deck).doStep)),
		deckChange(h, "seek", "go to another place: a new epoch, last values, and what follows", deckCommand(h, (*deck).doSeek)),
		deckChange(h, "mark", "put a mark where the deck is, on its tape", h.cmdMark),
		deckChange(h, "speed", "change the pace from here on", deckCommand(h, (*deck).doSpeed)),
		deckChange(h, "squeeze", "cut stretches without records down to a duration, or, with off, no more", deckCommand(h, (*deck).doSqueeze)),
		deckChange(h, "loop", "play a stretch again and again, or, with off, go on", deckCommand(h, (*deck).doLoop)),
		deckChange(h, "filter", "change which topics are played: a new epoch", deckCommand(h, (*deck).doFilter)),
		deckChange(h, "stop", "end the stream; the endpoints stay, and play begins anew", deckCommand(h, (*deck).doStop)),
		busLookup("state", "a deck as it is", deckCommand(h, func(*deck, context.Context, *deckRun, *control.DeckOf) error { return nil })),
		busLookup("watch", "where a deck's keys are shared as a Clone", h.cmdWatch),
	}
}

// deckChange is a command that changes a deck: of a pair, where the decks play.
func deckChange[A any](h *deckHouse, name, summary string, do func(context.Context, *A) (any, error)) control.Command {
	return busCommand(name, summary, func(ctx context.Context, args *A) (any, error) {
		if err := h.link.accept(ctx); err != nil {
			return nil, err
		}
		result, err := do(ctx, args)
		if err != nil && !h.link.leads() {
			return nil, h.link.refusal("they yielded meanwhile")
		}
		return result, err
	})
}

// busCommand is a command that changes something.
func busCommand[A any](name, summary string, do func(context.Context, *A) (any, error)) control.Command {
	return control.Command{Name: name, Summary: summary, Do: control.With(func(ctx context.Context, _ *control.Request, args *A) (any, error) {
		result, err := do(ctx, args)
		if err != nil {
			return nil, commandError(err)
		}
		return result, nil
	})}
}

// busLookup is a command that changes nothing.
func busLookup[A any](name, summary string, do func(context.Context, *A) (any, error)) control.Command {
	c := busCommand(name, summary, do)
	c.Repeat = true
	return c
}

// deckCommand finds the deck of a command, does it, and answers with the deck as it
// is then.
func deckCommand[A any](h *deckHouse, do func(*deck, context.Context, *deckRun, *A) error) func(context.Context, *A) (any, error) {
	return func(ctx context.Context, args *A) (any, error) {
		start := time.Now()
		d, err := h.find(deckOf(args))
		if err != nil {
			return nil, err
		}
		r, err := d.current()
		if err != nil {
			return nil, err
		}
		if err := do(d, ctx, r, args); err != nil {
			return nil, err
		}
		return d.result(start), nil
	}
}

// deckOf is the name in the arguments of a command of one deck.
func deckOf(args any) string {
	switch a := args.(type) {
	case *control.DeckOf:
		return a.Deck
	case *control.DeckPlay:
		return a.Deck
	case *control.DeckStep:
		return a.Deck
	case *control.DeckSeek:
		return a.Deck
	case *control.DeckSpeed:
		return a.Deck
	case *control.DeckSqueeze:
		return a.Deck
	case *control.DeckLoop:
		return a.Deck
	case *control.DeckFilter:
		return a.Deck
	}
	panic("BUG: arguments of no deck")
}

// result is a deck after a command.
func (d *deck) result(start time.Time) control.DeckResult {
	took := time.Since(start)
	return control.DeckResult{DeckState: d.state(), TookUs: took.Microseconds()}
}

func (h *deckHouse) cmdOpen(ctx context.Context, args *control.DeckOpen) (any, error) {
	start := time.Now()
	d, err := h.open(args, false)
	if err != nil {
		return nil, err
	}
	d.awaitBegin(ctx)
	h.link.awaitStandby(ctx, d)
	return d.result(start), nil
}

// awaitBegin waits until a deck that waits for no readers plays, or is paused.
func (d *deck) awaitBegin(ctx context.Context) {
	r, err := d.current()
	if err != nil || d.args.Wait > 0 || len(d.args.Barrier) > 0 {
		return
	}
	for st := r.player.State(); err == nil && st.Phase == replay.Waiting; {
		st, err = r.player.Wait(ctx, st.Version)
	}
}

func (h *deckHouse) cmdList(context.Context, *struct{}) (any, error) {
	return control.DeckList{Decks: h.states()}, nil
}

func (h *deckHouse) cmdClose(ctx context.Context, args *control.DeckOf) (any, error) {
	start := time.Now()
	d, err := h.find(args.Deck)
	if err != nil {
		return nil, err
	}
	if _, err := d.current(); err != nil {
		return nil, err
	}
	if err := h.close(ctx, d); err != nil {
		return nil, err
	}
	return d.result(start), nil
}

func (h *deckHouse) cmdWatch(_ context.Context, args *control.DeckOf) (any, error) {
	d, err := h.find(args.Deck)
	if err != nil {
		return nil, err
	}
	if h.board == nil {
		return nil, &control.Error{Code: control.Refused, Reason: "this process shares no state", Try: "start serve with the part state"}
	}
	return control.DeckWatch{ClonePlace: h.board.place(), Prefix: d.keys.prefix, State: d.state()}, nil
}

func (d *deck) doPlay(ctx context.Context, r *deckRun, a *control.DeckPlay) error {
	if a.Speed != "" {
		if _, err := replay.ParseSpeed(a.Speed); err != nil {
			return usageError{err}
		}
	}
	st := r.player.State()
	if st.Phase == replay.Finished || d.isOver(r) {
		if err := d.again(ctx, r, a.Speed); err != nil {
			return err
		}
		d.awaitBegin(ctx)
		return nil
	}
	if err := setSpeed(ctx, r, a.Speed); err != nil {
		return err
	}
	if st.Phase == replay.Held && !st.Looping {
		return r.player.Seek(ctx, replay.ToTime(r.first, r.cfg.Clock))
	}
	return r.player.Resume(ctx)
}

// isOver reports whether a run has ended, though its player may not say so.
func (d *deck) isOver(r *deckRun) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return r.over
}

func (*deck) doPause(ctx context.Context, r *deckRun, _ *control.DeckOf) error {
	return r.player.Pause(ctx)
}

func (d *deck) doResume(ctx context.Context, r *deckRun, _ *control.DeckOf) error {
	if r.player.State().Phase == replay.Finished || d.isOver(r) {
		return replay.ErrFinished
	}
	return d.doPlay(ctx, r, &control.DeckPlay{})
}

func (*deck) doStep(ctx context.Context, r *deckRun, a *control.DeckStep) error {
	n := cmp.Or(a.N, 1)
	if n < 1 {
		return usagef("n %d: want 1 or more", a.N)
	}
	return r.player.Step(ctx, n)
}

func (*deck) doSeek(ctx context.Context, r *deckRun, a *control.DeckSeek) error {
	to, err := r.target(a.To)
	if err != nil {
		return err
	}
	return r.player.Seek(ctx, to)
}

// target is a place of what the run plays.
func (r *deckRun) target(place string) (replay.Target, error) {
	return deckTarget(r.tapes.list, r.cfg.Clock, r.first, place)
}

func (*deck) doSpeed(ctx context.Context, r *deckRun, a *control.DeckSpeed) error {
	if a.Speed == "" {
		return usagef("no speed was given: want max, or a factor such as 10x")
	}
	return setSpeed(ctx, r, a.Speed)
}

func setSpeed(ctx context.Context, r *deckRun, text string) error {
	if text == "" {
		return nil
	}
	s, err := replay.ParseSpeed(text)
	if err != nil {
		return usageError{err}
	}
	return r.player.SetSpeed(ctx, s)
}

func (*deck) doSqueeze(ctx context.Context, r *deckRun, a *control.DeckSqueeze) error {
	if a.Squeeze == "" {
		return usagef("no duration was given: want one such as 1s, or off")
	}
	d, err := parseSqueeze(a.Squeeze)
	if err != nil {
		return err
	}
	return r.player.SetSqueeze(ctx, d)
}

// parseSqueeze reads what idle stretches are to last; 0 leaves them as they are.
func parseSqueeze(text string) (time.Duration, error) {
	if text == "" || text == "off" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, usagef("squeeze %q: want a duration above 0 such as 1s, or off", text)
	}
	return d, nil
}

func (*deck) doLoop(ctx context.Context, r *deckRun, a *control.DeckLoop) error {
	if a.Off {
		if a.From != "" || a.To != "" {
			return usagef("off goes without from and to")
		}
		return r.player.Unloop(ctx)
	}
	l, err := loopRange(r.tapes.list, r.cfg.Clock, r.first, a.From, a.To)
	if err != nil {
		return err
	}
	return r.player.Loop(ctx, l.From, l.To)
}

func (*deck) doFilter(ctx context.Context, r *deckRun, a *control.DeckFilter) error {
	return r.player.SetTopics(ctx, a.Topics)
}

func (*deck) doStop(ctx context.Context, r *deckRun, _ *control.DeckOf) error {
	err := r.player.Stop(ctx)
	if err != nil && !errors.Is(err, replay.ErrStopped) {
		return err
	}
	select {
	case <-r.ended: // readers have been told
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cmdMark puts a mark where the deck is.
func (h *deckHouse) cmdMark(_ context.Context, a *control.DeckMark) (any, error) {
	start := time.Now()
	d, err := h.find(a.Deck)
	if err != nil {
		return nil, err
	}
	r, err := d.current()
	if err != nil {
		return nil, err
	}
	m := tape.Mark{Name: a.Name, Note: a.Note, Clock: r.cfg.Clock, Time: r.player.State().Time}
	switch {
	case m.Clock == tape.ClockSend:
		return nil, &control.Error{Code: control.Refused, Reason: "a mark is a time by the clock receive or event, and the deck goes by send",
			Try: "open the deck with another clock"}
	case m.Time == 0:
		return nil, &control.Error{Code: control.Refused, Reason: "the deck has not sent a record yet", Try: "mark it when it has begun, or tapedeck marks add"}
	}
	if err := tape.AddMark(d.paths[0], m); err != nil {
		return nil, err
	}
	return control.DeckMarked{
		DeckResult: d.result(start), Tape: h.tapes.name(d.paths[0]),
		Mark: control.TapeMark{Name: m.Name, Clock: m.Clock.String(), Time: int64(m.Time), Note: m.Note},
	}, nil
}

// readersCommands are those of the service readers.
func (h *deckHouse) readersCommands() []control.Command {
	return []control.Command{busLookup("list", "who reads a deck, or all of them", func(_ context.Context, a *control.DeckOf) (any, error) {
		decks := h.list()
		if a.Deck != "" {
			d, err := h.find(a.Deck)
			if err != nil {
				return nil, err
			}
			decks = []*deck{d}
		}
		all := control.ReadersList{Readers: []control.ReaderState{}}
		for _, d := range decks {
			list := d.readers()
			for i := range list {
				if list[i].Verdict != snail.Gone {
					all.Readers = append(all.Readers, readerState(d.name, &list[i]))
				}
			}
		}
		return all, nil
	})}
}
