package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// TakeoverPublisher is a Publisher that can go on with the stream of another one.
type TakeoverPublisher interface {
	EpochPublisher
	// TakeOver begins a new epoch, with a number above from, as one that goes on where the
	// other publisher's epoch from had come to next on each shard.
	TakeOver(ctx context.Context, start wire.SessionStart, from wire.Epoch, next []wire.Seq, before ...[]wire.SessionPlace) error
	// Seen is how many readers have ever been there.
	Seen() int
}

// Standing is how far a reader says that it has come on a shard.
type Standing struct {
	Shard int
	Epoch wire.Epoch // 0: it does not say
	Next  wire.Seq   // it has everything of the epoch before, as far as it was there
}

// ErrUnheard: the other player has not been heard, so there is nothing to go on with.
var ErrUnheard = errors.New("replay: the other one of the pair has not been heard")

// takeover is how a player goes on with another one's stream.
type takeover struct {
	deck   wire.DeckNotice
	heard  time.Time
	epoch  *sentEpoch            // the other one's
	next   []wire.Seq            // per shard, how far it is held to have come in it
	before [][]wire.SessionPlace // per shard, and in those that it went on with
	places []wire.Ordinal        // per shard, of the first record to be played, through all passes; nil: the epoch again
	place  wire.Ordinal          // the least of them
	first  wire.Nanos            // time of the record there, or 0
}

// readersWait is how long a player that takes over waits for readers that it was told to
// wait for and that it has never seen: they may have gone before it was there.
const readersWait = 5 * time.Second

// TakeOver makes the player go on with the other one's stream when it runs: in a new
// epoch, behind what every reader says that it has, or, for readers that do not say, what
// the other one had sent some time before it was last heard, which is back. Where readers
// may lose records, live, nobody is waited for for longer than that either. Readers that
// were not through with an epoch's last values make it begin that epoch anew. Speed,
// squeeze, topics, loop and whether it is paused are the other one's, and the schedule is:
// what is overdue by it goes out at once.
//
// It must come before Run, whose Publisher must be a TakeoverPublisher. The Follower is of
// no use afterwards.
func (f *Follower) TakeOver(ctx context.Context, readers []Standing, back time.Duration, live bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.epoch == nil {
		return ErrUnheard // nor has this one played
	}
	p, e := f.player, f.epoch
	t := &takeover{deck: f.deck, heard: f.heard, epoch: e, next: make([]wire.Seq, p.cfg.Shards)}
	for s := range t.next {
		t.next[s] = f.common(s, readers, back, live)
	}
	for _, r := range readers {
		if r.Epoch == e.epoch {
			e.trails[r.Shard].has(r.Next)
		}
	}
	again, err := p.findPlaces(ctx, t)
	if err != nil {
		return fmt.Errorf("replay: take over: %w", err)
	}
	if again {
		clear(t.next)
		t.places, t.place = nil, e.start
	}
	for s, next := range t.next {
		t.before = append(t.before, f.kin[s].Before(e.epoch, next, beforeMax))
	}
	p.takeover = t
	return nil
}

// common is how far all readers of a shard have come. f.mu is held.
func (f *Follower) common(s int, readers []Standing, back time.Duration, live bool) wire.Seq {
	t := f.epoch.trails[s]
	sure := wire.Seq(0) // what was sent so long ago that who is behind has lost it, or would not say
	before := wire.NanosOf(f.heard.Add(-back))
	if pt, ok := t.before(func(pt *point) bool { return pt.sent > before }); ok && pt.sent <= before {
		sure = pt.seq
	}
	common, any := wire.Seq(math.MaxUint64), false
	for _, r := range readers {
		if r.Shard != s || r.Epoch > f.epoch.epoch {
			continue // it is where nobody can follow
		}
		next := sure
		switch {
		case r.Epoch == f.epoch.epoch && live:
			next = max(r.Next, sure)
		case r.Epoch == f.epoch.epoch:
			next = r.Next
		case r.Epoch != 0 && !live:
			next = 0 // it has not begun this one
		}
		common, any = min(common, next), true
	}
	if any {
		return common
	}
	if f.own {
		return sure // readers may have gone on with the other one, and say nothing of this epoch
	}
	_, latest, _ := t.ends()
	return latest.seq
}

// findPlaces finds where on the tape each shard goes on. again: not all readers have the
// epoch's last values, or nobody knows how many these are.
func (p *Player) findPlaces(ctx context.Context, t *takeover) (again bool, err error) {
	e := t.epoch
	lead := e.lead.Load()
	if lead == leadUnknown && e.asOf.known {
		return true, nil
	}
	if lead == leadUnknown {
		lead = 0
		e.lead.Store(0)
	}
	end, bounded := p.endOf(&t.deck)
	t.places = make([]wire.Ordinal, p.cfg.Shards)
	t.place = wire.Ordinal(math.MaxUint64)
	for s := range t.places {
		o, err := p.ordinalAt(ctx, e, s, t.next[s])
		switch {
		case errors.Is(err, errNotThere):
			t.places[s] = e.start // it has no records
			continue
		case err != nil:
			return false, err
		case uint64(o) < lead:
			return true, nil
		}
		place := o - wire.Ordinal(lead)
		if bounded {
			place = min(place, end)
		}
		t.places[s], t.place = place, min(t.place, place)
	}
	if t.place == wire.Ordinal(math.MaxUint64) {
		t.place = e.start
	}
	_, rest := p.ordinals.split(t.place)
	t.first, _, err = p.timeOf(rest)
	return false, err
}

// endOf is the place behind all that the other player was to play.
func (p *Player) endOf(d *wire.DeckNotice) (end wire.Ordinal, bounded bool) {
	switch {
	case d.Loop != nil:
		return wire.Ordinal(d.Pass)*p.ordinals.span + d.Stream.LoopTo, true
	case p.cfg.Passes >= 0:
		return wire.Ordinal(p.cfg.Passes) * p.ordinals.span, true
	}
	return 0, false
}

// ordinalAt returns the ordinal that the record with a sequence has in an epoch, or will
// have.
func (p *Player) ordinalAt(ctx context.Context, e *sentEpoch, shard int, seq wire.Seq) (wire.Ordinal, error) {
	if err := p.anchorTrail(ctx, e, shard); err != nil {
		return 0, err
	}
	w, err := p.rewindTo(ctx, e, shard, seq)
	if err != nil {
		return 0, err
	}
	defer w.close()
	return w.ordinal, nil
}

// anchorTrail gives the trail of a shard, of which nobody has said where a record is, the
// point that follows from how the epoch began.
func (p *Player) anchorTrail(ctx context.Context, e *sentEpoch, shard int) error {
	t := e.trails[shard]
	if _, _, ok := t.ends(); ok {
		return nil
	}
	first := e.start + wire.Ordinal(e.lead.Load())
	if e.asOf.known {
		values, err := p.lastOf(ctx, e)
		if err != nil {
			return err
		}
		if list := values.shards[shard]; len(list) > 0 {
			first = list[0].ordinal
		}
	}
	t.mark(point{ordinal: first})
	return nil
}

// takeUp begins the epoch of a takeover.
func (p *Player) takeUp(ctx context.Context) error {
	t := p.takeover
	pub, ok := p.cfg.Publisher.(TakeoverPublisher)
	if !ok {
		return ErrNoEpochs
	}
	p.setTopics(t.epoch.topics)
	start := wire.SessionStart{Reason: wire.TakeoverReason, At: t.first, Clock: p.recordClock().String()}
	asOf := lastPlace{}
	if t.places == nil {
		asOf = t.epoch.asOf
		start.Snapshot = asOf.known
	}
	if err := pub.TakeOver(ctx, start, t.epoch.epoch, t.next, t.before...); err != nil {
		return err
	}
	p.startEpoch(t.place, asOf)
	if t.places != nil {
		p.standAt(t.places)
	}
	if err := p.adopt(); err != nil {
		return err
	}
	p.voice.command = "takeover"
	p.nameEpoch(pub.Epoch())
	p.voice.command = ""
	if asOf.known {
		return p.startLast()
	}
	return nil
}

// adopt does as the other player did.
func (p *Player) adopt() error {
	d := &p.takeover.deck
	speed, err := ParseSpeed(d.Speed)
	if err != nil {
		return err
	}
	p.status.mu.Lock()
	p.status.version = max(p.status.version, d.Version)
	p.status.mu.Unlock()
	p.squeeze = time.Duration(d.SqueezeNs)
	p.setSpeed(speed)
	p.progress.Time.Store(int64(d.Position))
	p.progress.Squeezed.Store(d.SqueezedNs)
	p.progress.Records.Store(d.Records)
	if d.Phase == Waiting.String() {
		return nil
	}
	p.waiting, p.paused = false, d.Phase == Paused.String()
	p.adoptLoop(d)
	if at := d.Stream.Clock; at != 0 && speed != Max {
		if !p.paused {
			at = later(at, wire.Nanos(float64(time.Since(p.takeover.heard))*float64(speed)))
		}
		p.resume = tapeTime{at, true}
		p.progress.clock.stands(at)
	}
	return nil
}

// adoptLoop plays the loop that the other player played, if it did.
func (p *Player) adoptLoop(d *wire.DeckNotice) {
	p.seek, p.rounds = nil, rounds{}
	if d.Loop == nil {
		return
	}
	l := &loop{from: d.Stream.LoopFrom, to: d.Stream.LoopTo, fromTime: d.Loop.From, toTime: d.Loop.To, waits: d.Stream.LoopWaits}
	l.start = wire.SessionStart{Reason: "loop", At: l.fromTime, Clock: p.recordClock().String(), Snapshot: !p.cfg.NoSnapshot}
	p.rounds = rounds{loop: l, loopPass: d.Pass, round: d.Round, roundBegan: p.wait.now()}
	if p.takeover.place < wire.Ordinal(d.Pass)*p.ordinals.span+l.from {
		// It had been wanted, and had not begun.
		p.seek = &seek{start: l.start, place: l.from, time: l.fromTime, loop: l}
	}
}

// awaitReaders waits for the readers that were wanted. Who takes over waits for those that
// it has not seen, and not for ever: they may have left before it came.
func (p *Player) awaitReaders(ctx context.Context) error {
	pub, ok := p.cfg.Publisher.(TakeoverPublisher)
	if p.takeover == nil || p.waiting || !ok {
		return p.cfg.Publisher.WaitReaders(ctx, p.cfg.Wait)
	}
	if pub.Seen() >= p.cfg.Wait {
		return ctx.Err()
	}
	limited, cancel := context.WithTimeout(ctx, readersWait)
	defer cancel()
	if err := pub.WaitReaders(limited, p.cfg.Wait); err != nil && (ctx.Err() != nil || limited.Err() == nil) {
		return err
	}
	return nil
}
