package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/wire"
)

// deck is an open deck. It keeps its endpoints until it is closed; what plays there
// is a run, and another one after it has been stopped and told to play again.
type deck struct {
	house *deckHouse
	name  string
	args  control.DeckOpen // as it was opened
	paths []string         // of the tapes
	port  int              // the first of its own, 0 where it was told where to bind
	keys  deckKeys

	closing  sync.Once
	closeErr error

	mu       sync.Mutex
	run      *deckRun
	closed   bool   // no more commands
	version  uint64 // of what was shown last
	shown    []byte // that, without what goes on by itself
	shownRun *deckRun
	legacy   *replay.Legacy // of a pair: of the run before, which yielded
	legacyOf uint64         // the stream of that

	showing      sync.Mutex // before mu
	shownVersion uint64     // on the board
}

// deckRun is a player from its first record to its end.
type deckRun struct {
	*playing
	endpoints []string
	resync    string
	cancel    context.CancelFunc
	hide      func()        // its numbers
	ended     chan struct{} // closed when the publisher is
	followers sync.WaitGroup

	// Of one of a pair.
	half    *deckHalf   // nil: it is none
	follows []string    // shards of the other one; none: it is not known
	stands  atomic.Bool // it stands by
	rests   atomic.Bool // the stream that it stands by for has ended

	// Of the tapes, by the clock that the deck goes by.
	first, last wire.Nanos
	total       uint64

	pacing atomic.Pointer[control.Pacing] // as it was seen last

	// Guarded by the deck's mu until ended is closed, and not changed after.
	over    bool // the publisher is closed, or about to be
	yielded bool // the other one of the pair plays
	err     error
	stream  uint64 // of a pair: which one it is; 0 before it is known
}

// newServedDeck puts a deck together. begin makes it play.
func newServedDeck(h *deckHouse, args *control.DeckOpen, o runOptions) (*deck, error) {
	d := &deck{house: h, name: args.Deck, args: *args, keys: keysOf(args.Deck)}
	for _, name := range args.Tapes {
		path, err := h.tapes.existing("tape", name)
		if err != nil {
			return nil, err
		}
		d.paths = append(d.paths, path)
	}
	var err error
	if args.Bind != "" {
		o.bind = args.Bind
		d.run, err = d.open(o)
	} else {
		err = d.openAtPorts(o)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// begin makes the deck play, and shows it.
func (d *deck) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.beginLocked()
}

func (d *deck) beginLocked() {
	r := d.run
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(d.house.life)
	d.house.out.remark("deck %s: %v on %v", d.name, d.args.Tapes, r.endpoints)
	r.hide = d.house.shown.showAs(r.playing.show, "deck", d.name)
	go d.play(ctx, r)
	r.followers.Go(func() { d.follow(r) })
	r.followers.Go(func() { d.watch(r) })
}

// play runs a player to its end. A deck that fails says so in its state; nothing
// else ends with it.
func (d *deck) play(ctx context.Context, r *deckRun) {
	defer close(r.ended)
	err := d.perform(ctx, r)
	if err != nil && !d.leavesOpen(err) {
		r.pub.Stop() // readers must not wait for what will not come
	}
	d.mu.Lock()
	r.over = true // from here on nobody uses the publisher
	if r.yielded = errors.Is(err, errYield); r.yielded {
		d.legacy, d.legacyOf = r.half.follower.Leave(r.pub.Lineage()), r.stream
	}
	d.mu.Unlock()
	r.hide()
	closeErr := r.pub.Close()
	if r.yielded || errors.Is(err, replay.ErrStopped) || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	d.mu.Lock()
	r.err = errors.Join(err, closeErr)
	d.mu.Unlock()
	if r.err != nil {
		d.house.out.remark("deck %s: %v", d.name, r.err)
	}
	d.house.link.wake()
}

// current is the run at hand, for a command.
func (d *deck) current() (*deckRun, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, &control.Error{Code: control.Refused, Reason: "deck " + d.name + " is being closed", Try: "tapedeck deck open opens it anew"}
	}
	return d.run, nil
}

// again begins a new run of a deck that has ended, at the same endpoints.
func (d *deck) again(ctx context.Context, old *deckRun, speed string) error {
	select {
	case <-old.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	return d.renew(old, runOptions{speed: speed, again: true})
}

// renew puts another run in the place of one that has ended, at the same endpoints.
func (d *deck) renew(old *deckRun, o runOptions) error {
	old.followers.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.run != old {
		return &control.Error{Code: control.Refused, Reason: "deck " + d.name + " was told something else meanwhile", Try: "tapedeck deck state shows what"}
	}
	if _, err := old.served.stop(); err != nil {
		d.house.out.remark("deck %s: %v", d.name, err)
	}
	o.bind = strings.Join(old.endpoints, ",")
	if d.house.link == nil { // of a pair it is bound when it plays
		o.resync = cmp.Or(old.resync, "off")
	}
	r, err := d.open(o)
	if err != nil {
		return err
	}
	if err := old.close(); err != nil {
		d.house.out.remark("deck %s: %v", d.name, err)
	}
	d.run = r
	d.beginLocked()
	return nil
}

// close ends the deck and returns when nothing of it is left.
func (d *deck) close() error {
	d.closing.Do(func() {
		d.mu.Lock()
		d.closed = true
		r := d.run
		d.mu.Unlock()
		if r.cancel != nil { // it has begun
			r.cancel()
			<-r.ended
			r.followers.Wait()
		}
		d.closeErr = r.close()
		if d.port != 0 {
			d.house.ports.give(d.port, len(r.endpoints))
		}
		d.house.board.hide(d.keys.state, d.keys.position)
	})
	return d.closeErr
}

// state is the deck as it is.
func (d *deck) state() control.DeckState {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stateLocked()
}

func (d *deck) stateLocked() control.DeckState {
	s := d.look()
	d.noteLocked(&s)
	return s
}

// look assembles the state. d.mu is held.
func (d *deck) look() control.DeckState {
	r := d.run
	st := r.player.State()
	s := control.DeckState{
		Deck: d.name, Phase: st.Phase.String(), UpdatedTime: time.Now().UnixNano(),
		Tapes: d.args.Tapes, Clock: r.cfg.Clock.String(), Session: d.name,
		FirstTime: int64(r.first), LastTime: int64(r.last), TotalRecords: r.total,
		Speed: st.Speed.String(), Topics: st.Topics, Squeeze: int64(st.Squeeze), Squeezed: int64(st.Squeezed),
		Lossless: !d.args.Live && len(d.args.Barrier) == 0, Barrier: d.args.Barrier, Faults: d.args.Faults,
		DeckPosition: deckPosition(&st),
		Shards:       r.endpoints, Resync: r.resync,
	}
	if st.Looping {
		s.Loop = &control.DeckInterval{From: int64(st.LoopFrom), To: int64(st.LoopTo)}
	}
	s.Pair = d.house.link.pairOf(d)
	switch {
	case r.err != nil:
		s.Phase, s.Error = "failed", firstLine(r.err.Error())
	case r.half != nil && (r.yielded || r.stands.Load() && !r.over):
		r.standbyState(&s)
	case r.over:
		s.Phase = replay.Finished.String()
	}
	if !r.over {
		for _, reader := range r.pub.ReaderList() {
			// The other one of a pair listens, and says no name: it is no reader.
			if reader.Verdict != snail.Gone && (r.half == nil || reader.ID != "") {
				s.Readers++
			}
		}
	}
	s.Pacing = r.pacing.Load()
	return s
}

// lookAtPacing notes how late records have left so far. It reads all that was counted,
// so it is for every now and then.
func (r *deckRun) lookAtPacing() {
	h := r.player.PacingError().HDR()
	if h.TotalCount() == 0 {
		return
	}
	r.pacing.Store(&control.Pacing{
		P50: h.ValueAtQuantile(50), P90: h.ValueAtQuantile(90), P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9), Max: h.Max(),
	})
}

func deckPosition(st *replay.State) control.DeckPosition {
	return control.DeckPosition{
		PositionTime: int64(st.Time), Ordinal: uint64(st.Ordinal), Records: st.Records, Epoch: uint64(st.Epoch), Pass: st.Pass,
	}
}

// noteLocked gives a state its version: one more than the last, where anything has
// changed but what goes on by itself.
func (d *deck) noteLocked(s *control.DeckState) {
	fixed := *s
	fixed.Version, fixed.UpdatedTime, fixed.Squeezed, fixed.Pacing = 0, 0, 0, nil
	fixed.DeckPosition = control.DeckPosition{Epoch: s.Epoch}
	b, err := json.Marshal(&fixed)
	if err != nil {
		panic("BUG: a deck's state does not marshal: " + err.Error())
	}
	if !bytes.Equal(b, d.shown) || d.shownRun != d.run {
		d.version++
		d.shown, d.shownRun = b, d.run
	}
	s.Version = d.version
}

// readers are who reads the deck.
func (d *deck) readers() []snail.Reader {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.run.over {
		return nil
	}
	return slices.Clone(d.run.pub.ReaderList())
}
