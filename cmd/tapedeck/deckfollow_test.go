package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/wire"
)

// deckStand is where the epoch at hand is: so many records of each shard.
type deckStand struct {
	*deckEpoch
	at []int
}

// standing is where a deck that is settled stands; nil where it is not.
func (s *deckScript) standing() *deckStand {
	if !s.settled {
		return nil
	}
	stand := &deckStand{deckEpoch: s.cur, at: make([]int, s.book.shards)}
	r := s.readers[0]
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range stand.at {
		stand.at[i] = len(r.shard(s.cur.epoch, i).played)
	}
	return stand
}

// after is how far each shard is when the next n records have gone out.
func (d *deckStand) after(n int) []int {
	at := slices.Clone(d.at)
	for range n {
		first := -1
		for s := range at {
			if at[s] < len(d.played[s]) && (first < 0 || d.played[s][at[s]] < d.played[first][at[first]]) {
				first = s
			}
		}
		if first < 0 {
			break
		}
		at[first]++
	}
	return at
}

// settle waits until every reader has all that a deck has sent which stands still, and
// holds it against what the deck was told.
func (s *deckScript) settle() {
	s.Helper()
	for _, r := range s.readers {
		err := r.await(func() bool {
			e := r.epoch(wire.Epoch(s.state.Epoch))
			if slices.ContainsFunc(e.shards, func(seen seenShard) bool { return !seen.greeted || !seen.through && e.epoch != s.first }) {
				return false
			}
			if r.records > s.state.Records {
				r.wrong = fmt.Errorf("%d records have come, and the deck has sent %d", r.records, s.state.Records)
			}
			return r.records == s.state.Records
		})
		if err != nil {
			s.Fatal(err)
		}
	}
	for i := range s.said {
		s.follow(&s.said[i])
	}
	s.said = s.said[:0]
	s.check()
	s.settled = true
	s.checkState()
	if s.Failed() {
		s.FailNow()
	}
}

// check holds every reader's stream against the epochs that were followed, with the one
// at hand.
func (s *deckScript) check() {
	s.Helper()
	for _, e := range append(s.over, s.cur) {
		var digests []uint64
		for _, r := range s.readers {
			r.mu.Lock()
			seen := r.epoch(e.epoch)
			err := e.check(seen, e == s.cur)
			told, noticed := e.checkNotices(s.book, seen)
			same := make([]uint64, 0, s.book.shards)
			for i := range seen.shards {
				same = append(same, seen.shards[i].digest.Sum64())
			}
			if e != s.cur {
				s.mute += map[bool]int{true: 1}[e.said && !told]
				for i := range seen.shards { // its bytes were looked at
					seen.shards[i].last, seen.shards[i].lastOrdinals, seen.shards[i].played = nil, nil, nil
				}
				seen.notices = nil
			}
			r.mu.Unlock()
			if digests == nil {
				digests = same
			}
			if !slices.Equal(same, digests) {
				err = errors.Join(err, fmt.Errorf("%v: it has not what %s has", e, s.readers[0].name))
			}
			if err = errors.Join(err, noticed); err != nil {
				s.Fatalf("%s: %v", r.name, err)
			}
		}
	}
	s.epochs += len(s.over)
	s.over = nil
}

// follow goes through the epochs that a command, or the loop, has begun.
func (s *deckScript) follow(said *deckSaid) {
	s.Helper()
	r := s.readers[0]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch(wire.Epoch(said.state.Epoch)) // it may have been over before anybody was told
	found := false
	for _, seen := range r.epochs {
		if seen.epoch <= s.cur.epoch || uint64(seen.epoch) > said.state.Epoch {
			continue
		}
		start := seen.begins()
		switch {
		case said.own != nil && !found && (start == nil || start.Reason == said.own.reason && (said.own.at == 0 || start.At == said.own.at)):
			found = true
			s.begin(said, seen, start)
		case s.cur.loop != nil && (start == nil || start.Reason == "loop" && start.At == s.cur.loop.at):
			s.cur.whole = true // the next round
			s.enter(&deckEpoch{epoch: seen.epoch, reason: "loop", at: s.cur.loop.at, from: s.cur.loop.from, topics: s.cur.topics, loop: s.cur.loop})
		default:
			s.Fatalf("command %d, %s: an epoch begins with %+v behind %v", s.given, said.name, start, s.cur)
		}
	}
	if said.own != nil && !found && !said.may {
		s.Fatalf("command %d, %s: no epoch has begun behind %v", s.given, said.name, s.cur)
	}
	if said.off {
		s.cur.unloop(s.book)
	}
	if l := said.state.Loop; (l == nil) != (s.cur.loop == nil) || l != nil && l.From != int64(s.book.time(s.cur.loop.from)) {
		s.Fatalf("command %d, %s: the deck says that it loops %+v, at %v", s.given, said.name, l, s.cur)
	}
	if !slices.Equal(said.state.Topics, s.cur.topics) {
		s.Fatalf("command %d, %s: the deck plays %q, at %v", s.given, said.name, said.state.Topics, s.cur)
	}
}

// begins is how an epoch's hello says that it begins; nil where none was seen.
func (e *seenEpoch) begins() *wire.SessionStart {
	for i := range e.shards {
		if e.shards[i].start != nil {
			return e.shards[i].start
		}
	}
	return nil
}

// enter goes on with another epoch.
func (s *deckScript) enter(e *deckEpoch) {
	e.plan(s.book)
	s.over = append(s.over, s.cur)
	s.cur = e
}

// begin is enter for the epoch that a command begins.
func (s *deckScript) begin(said *deckSaid, seen *seenEpoch, start *wire.SessionStart) {
	s.Helper()
	e := &deckEpoch{epoch: seen.epoch, reason: said.own.reason, at: said.own.at, topics: s.cur.topics, loop: s.cur.loop, said: true}
	if start != nil {
		e.at = start.At
	}
	switch e.reason {
	case "filter":
		e.topics = said.topics
		e.from = s.filterPlace(seen, start, e.topics)
	case "loop":
		e.loop, e.from = said.loop, said.loop.from
	default:
		if said.may && s.cur.loop == nil {
			s.cur.whole = true // only from the end play goes to the start
		}
		if e.from = s.book.at(e.at); e.loop != nil && (e.from < e.loop.from || e.from >= e.loop.to) {
			e.loop = nil
		}
	}
	s.enter(e)
	s.cur.said = start != nil
}

// filterPlace is where the epoch of another filter goes on: where the one at hand stood.
// The time in the hello tells it, and where several places have that time, what came;
// what had gone out before says where it can be. The first reader's lock is held.
func (s *deckScript) filterPlace(seen *seenEpoch, start *wire.SessionStart, topics []string) int {
	s.Helper()
	low, high := s.cur.end, s.cur.end
	before := s.readers[0].epoch(s.cur.epoch)
	for i := range before.shards {
		played, next := before.shards[i].played, s.cur.from
		if n := len(played); n > 0 {
			next = int(played[n-1]) + 1
		}
		if len(played) < len(s.cur.played[i]) {
			high = min(high, int(s.cur.played[i][len(played)]))
		}
		low = min(low, next) // that of the shard that is furthest behind
	}
	for place := low; place <= high; place++ {
		e := &deckEpoch{reason: "filter", from: place, topics: topics}
		switch {
		case start == nil:
			return place
		case place < s.book.end() && s.book.time(place) != start.At: // the end has no time of its own
		default:
			if e.plan(s.book); e.checkRecords(seen, false) == nil {
				return place
			}
		}
	}
	s.Fatalf("the filter's epoch begins with %+v, and goes on at a place in [%d, %d] of %v", start, low, high, s.cur)
	return 0
}

// checkState holds what a deck that stands still says of itself against what readers
// have.
func (s *deckScript) checkState() {
	s.Helper()
	now := ask[control.DeckResult](s.stationTest, control.ServiceDeck, "state", nil).DeckState
	if now.DeckPosition != s.state.DeckPosition || now.Version != s.state.Version || now.Phase != s.state.Phase {
		s.Errorf("it stands still, at %+v, and then at %+v", s.state, now)
	}
	stood := s.standing()
	next, least, times, sent := s.book.end(), s.book.end(), []int64{}, 0
	for i, n := range stood.at {
		if n < len(stood.played[i]) {
			next = min(next, int(stood.played[i][n]))
		}
		gone := stood.from
		if n > 0 {
			place := int(stood.played[i][n-1])
			gone, times = place+1, append(times, int64(s.book.time(place)))
		}
		least, sent = min(least, gone), sent+n
	}
	switch {
	case now.Readers != len(s.readers), !now.Lossless, now.Error != "", now.Pass != 0:
	case now.Speed != s.speed, now.Squeeze != int64(s.squeeze):
	case wire.Epoch(now.Epoch) != stood.epoch:
	case int(now.Ordinal) > next, int(now.Ordinal) < least:
	case sent > 0 && !slices.Contains(times, now.PositionTime):
	case sent == 0 && stood.reason != "filter" && stood.reason != "" && now.PositionTime != int64(s.book.time(stood.from)):
	case now.Phase == "held" && stood.loop == nil && (next != s.book.end() || int(now.Ordinal) != s.book.end()):
	case now.Phase == "held" && stood.loop != nil && sent > 0 && stood.reason != "filter":
	default:
		return
	}
	s.Errorf("the deck says %+v; readers have %d records of %v, all before %d; the next one is at %d", now, sent, stood.deckEpoch, least, next)
}
