package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/control/binarystar"
)

// Decks that stand by are looked at so often, and one that could not be opened is tried
// again so seldom.
const (
	standbyLook  = 100 * time.Millisecond
	standbyRetry = 2 * time.Second
)

// keep has the decks stand by for those of the other one, and tells it how they stand,
// until ctx ends.
func (l *decksLink) keep(ctx context.Context) error {
	tick := time.NewTicker(standbyLook)
	defer tick.Stop()
	var told []byte
	for {
		l.follow(ctx)
		note, err := json.Marshal(l.note())
		if err != nil {
			return fmt.Errorf("decks' pair: %w", err)
		}
		if !bytes.Equal(note, told) {
			if err := l.SetNote(note); err != nil {
				return err
			}
			told = note
			for _, d := range l.house.list() {
				d.show()
			}
		}
		select {
		case <-tick.C:
		case <-l.pending:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// follow makes the decks of a passive process those of the active one.
func (l *decksLink) follow(ctx context.Context) {
	if l.leads() {
		l.resume()
		return
	}
	note, state := l.heard()
	if note == nil || state != binarystar.Active.String() {
		return
	}
	l.forget(note)
	for _, d := range l.house.list() {
		e := note.entry(d.name)
		switch {
		case e == nil, e.Shards != nil && !sameArgs(e.Args, d.args):
			if err := l.house.close(ctx, d); err != nil {
				l.out.remark("deck %s: %v", d.name, err)
			}
		case e.Shards != nil:
			l.followDeck(d, e)
		}
	}
	for i := range note.Decks {
		if e := &note.Decks[i]; e.Shards != nil && !l.house.has(e.Args.Deck) {
			l.openStandby(e)
		}
	}
}

// forget lets go of what was the matter with decks that are gone.
func (l *decksLink) forget(note *decksNote) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.faults {
		if note.entry(name) == nil {
			delete(l.faults, name)
		}
	}
}

// troubled reports whether it is known that something is the matter with a deck.
func (l *decksLink) troubled(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.faults[name] != nil
}

// mayTry reports whether a deck that could not be had before is to be tried again.
func (l *decksLink) mayTry(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.faults[name]
	return f == nil || time.Since(f.at) >= standbyRetry
}

// tried notes how that went.
func (l *decksLink) tried(name string, err error) {
	l.mu.Lock()
	f := l.faults[name]
	if err == nil {
		delete(l.faults, name)
	} else {
		l.faults[name] = &deckFault{err: err, at: time.Now()}
	}
	l.mu.Unlock()
	if err != nil && (f == nil || f.err.Error() != err.Error()) {
		l.out.remark("warning: deck %s cannot stand by: %v", name, err)
	}
}

// openStandby opens a deck that is to stand by for that of the other one.
func (l *decksLink) openStandby(e *deckEntry) {
	name := e.Args.Deck
	if !l.mayTry(name) {
		return
	}
	args := e.Args
	args.Bind, args.ResyncBind = l.house.binds[name].bind, l.house.binds[name].resync
	_, err := l.house.openAs(&args, l.standbyOptions(e))
	l.tried(name, err)
}

func (l *decksLink) standbyOptions(e *deckEntry) runOptions {
	return runOptions{stream: e.Stream, follows: l.reach(e.Shards), rests: e.Over, at: e.Other}
}

// followDeck has a deck stand by for the stream that the other one plays now.
func (l *decksLink) followDeck(d *deck, e *deckEntry) {
	d.mu.Lock()
	r := d.run
	o := l.standbyOptions(e)
	same := r.stream == e.Stream && slices.Equal(r.follows, o.follows) && !r.over
	failed, over := r.err, r.over
	d.mu.Unlock()
	switch {
	case !r.stands.Load() && !over:
		return // it plays, and is about to yield
	case same:
		r.rests.Store(e.Over)
		if r.ready() {
			l.tried(d.name, nil)
		}
		return
	case !l.mayTry(d.name):
		return
	case failed != nil && !l.troubled(d.name):
		l.tried(d.name, failed)
		return
	}
	r.cancel()
	<-r.ended
	if err := d.renew(r, o); err != nil || failed != nil {
		l.tried(d.name, errors.Join(failed, err))
	}
}

// resume has decks play that yielded, and are to play again before they stood by.
func (l *decksLink) resume() {
	for _, d := range l.house.list() {
		d.mu.Lock()
		r := d.run
		yielded := r.over && r.yielded
		d.mu.Unlock()
		if !yielded {
			continue
		}
		if err := d.renew(r, runOptions{stream: r.stream}); err != nil {
			l.out.remark("deck %s: %v", d.name, err)
		}
	}
}
