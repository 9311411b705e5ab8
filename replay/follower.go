package replay

import (
	"fmt"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/wire"
	"github.com/tapedeck/tapedeck/wire/lineage"
)

// Follower follows another player of the same tape by what that says on its stream, so
// that this one can go on in its place: TakeOver, and then the player's Run. It takes a
// subscriber's calls, marks and notices alone: records it need not be given, for the
// tape has them. What the other one has sent, the player's Read gives from then on, too.
//
// The other player must be Config.Paired. Its methods may be called from any goroutine.
type Follower struct {
	player *Player
	tape   string
	refuse func(error)

	mu    sync.Mutex
	deck  wire.DeckNotice // the latest
	heard time.Time       // when it came
	alive time.Time       // when the other one said anything last
	epoch *sentEpoch      // that it is of; nil before the first
	own   bool            // it is what this process played itself, before it yielded
	kin   []lineage.Book  // per shard, how epochs lie beside one another there
	ended map[int]bool    // shards whose end mark has come
	early bool            // one of them said that there was more to play
}

// NewFollower returns a Follower for a player that has not run. tape is what the other
// one's session must name as its tape. refuse is called, once, with why the other one
// cannot be followed: it plays something else.
func NewFollower(p *Player, tape string, refuse func(error)) *Follower {
	var once sync.Once
	return &Follower{player: p, tape: tape, kin: make([]lineage.Book, p.cfg.Shards), refuse: func(err error) { once.Do(func() { refuse(err) }) }}
}

// Following is what a Follower knows.
type Following struct {
	Known bool            // the other player has been heard
	Heard time.Time       // last, or when this process left what it knows
	Alive time.Time       // when it said something last, of whatever epoch; zero: nothing yet
	Deck  wire.DeckNotice // what it said then
	// Ended: it has ended the stream on every shard. Early: before its tape was through.
	Ended, Early bool
}

// Following returns what is known of the other player.
func (f *Follower) Following() Following {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Following{
		Known: f.epoch != nil, Heard: f.heard, Alive: f.alive, Deck: f.deck,
		Ended: len(f.ended) == f.player.cfg.Shards, Early: f.early,
	}
}

// HandleBatch implements subscriber.Handler: the tape has the records.
func (f *Follower) HandleBatch(*wire.Batch, uint32) error { return nil }

// HandleGap implements subscriber.Handler, likewise.
func (f *Follower) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq) {}

// HandleSession implements subscriber.Handler: the other player must play the same.
func (f *Follower) HandleSession(shard int, epoch wire.Epoch, s *wire.Session) {
	if s.Tape != f.tape {
		f.refuse(fmt.Errorf("replay: the other one of the pair plays tape %s, and this one %s", s.Tape, f.tape))
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended, f.early = nil, false
	f.kin[shard].Start(epoch, s.Start)
}

// beforeMax is how many epochs a takeover names beyond the one that it goes on with.
const beforeMax = 16

// HandleMark implements subscriber.MarkHandler.
func (f *Follower) HandleMark(shard int, h *wire.Header) {
	if !h.End() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended == nil {
		f.ended = map[int]bool{}
	}
	f.ended[shard] = true
	f.early = f.early || h.Flags&wire.FlagEarly != 0
}

// HandleEnd implements subscriber.Handler; HandleMark says more.
func (f *Follower) HandleEnd(int, wire.Epoch, bool) {}

// HandleNotice implements subscriber.NoticeHandler.
func (f *Follower) HandleNotice(_ int, r wire.Record) {
	if string(r.Topic()) != wire.DeckTopic {
		return
	}
	d, err := wire.ParseDeck(r.Body())
	if err != nil || d.Stream == nil {
		return
	}
	if err := f.check(&d); err != nil {
		f.refuse(err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alive = time.Now()
	f.note(&d, f.alive)
}

// check refuses a player that plays something else of the same tape.
func (f *Follower) check(d *wire.DeckNotice) error {
	c, s := &f.player.cfg, d.Stream
	switch {
	case d.Clock != c.Clock.String():
		return fmt.Errorf("replay: the other one of the pair goes by %s times, and this one by %v times", d.Clock, c.Clock)
	case s.From != c.From || s.To != c.To || s.Passes != c.Passes:
		return fmt.Errorf("replay: the other one of the pair plays [%v, %v) %d times, and this one [%v, %v) %d times",
			s.From, s.To, s.Passes, c.From, c.To, c.Passes)
	case s.Starts != nil && len(s.Starts) != c.Shards:
		return fmt.Errorf("replay: the other one of the pair begins at places of %d shards, and this one plays to %d", len(s.Starts), c.Shards)
	case s.Points != nil && len(s.Points) != c.Shards:
		return fmt.Errorf("replay: the other one of the pair plays to %d shards, and this one to %d", len(s.Points), c.Shards)
	}
	if _, err := ParseSpeed(d.Speed); err != nil {
		return fmt.Errorf("replay: the other one of the pair: %w", err)
	}
	return nil
}

// note takes in a notice. f.mu is held.
func (f *Follower) note(d *wire.DeckNotice, now time.Time) {
	if f.epoch != nil && !f.own && d.Epoch < f.epoch.epoch {
		return
	}
	if f.epoch != nil && d.Phase == Finished.String() {
		return // it goes; what it was doing before is what this one may go on with
	}
	f.own = false
	paused := d.Phase != Playing.String()
	if f.epoch != nil && paused && f.deck.Phase == d.Phase && f.deck.Version == d.Version {
		d.Stream.Clock = f.deck.Stream.Clock // it stands
	}
	e := f.epoch
	if e == nil || e.epoch != d.Epoch {
		e = f.begin(d, now)
	}
	f.deck, f.heard, f.epoch = *d, now, e
	if v := d.Stream.Values; v != nil && e.lead.Load() == leadUnknown {
		e.lead.Store(uint64(*v))
	}
	for s, pt := range d.Stream.Points {
		if pt != nil {
			e.trails[s].heard(pt, wire.NanosOf(now))
		}
	}
}

// begin notes an epoch of the other player, as one that this one can give again.
func (f *Follower) begin(d *wire.DeckNotice, now time.Time) *sentEpoch {
	p, s := f.player, d.Stream
	if e, _, err := p.history.find(d.Epoch); err == nil {
		return e // this process heard it before
	}
	e := &sentEpoch{epoch: d.Epoch, began: wire.NanosOf(now), start: s.Start, topics: newTopics(d.Topics), trails: make([]*trail, p.cfg.Shards)}
	if d.TopicsLeftOut > 0 {
		e.topics = newTopics(p.cfg.Topics) // the notice had no room for them
	}
	if s.AsOf != nil {
		e.asOf = lastPlace{place: *s.AsOf, known: true}
	}
	for i := range e.trails {
		e.trails[i] = newTrail()
	}
	if e.places = s.Starts; e.places != nil {
		for i, place := range e.places {
			e.trails[i].from(place)
		}
	}
	e.lead.Store(leadUnknown)
	p.history.add(e)
	return e
}

// heard takes in where records of the shard are.
func (t *trail) heard(pt *wire.DeckPoint, now wire.Nanos) {
	if t.points.Load().n.Load() == 0 {
		t.mark(point{seq: 0, ordinal: pt.First, sent: now})
	}
	if _, latest, _ := t.ends(); pt.Seq > latest.seq {
		t.mark(point{seq: pt.Seq, ordinal: pt.Ordinal, sent: now})
	}
	t.has(pt.Seq + 1)
}

// has takes note that sequences before next were sent.
func (t *trail) has(next wire.Seq) {
	if uint64(next) > t.next.Load() {
		t.next.Store(uint64(next))
	}
}
