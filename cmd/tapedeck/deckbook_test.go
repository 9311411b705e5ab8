package main

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// deckBook is a tape read from beginning to end, to hold streams against. A record is
// known by its place in the tape's one order.
type deckBook struct {
	list   []bookRecord
	shards int
	place  map[string]int32 // of a record, by all of its bytes
	last   map[string]int32 // of one that is sent as a last value
	plans  map[string]*deckPlan
}

type bookRecord struct {
	topic string
	shard int
	time  wire.Nanos // of receipt
}

// readBook reads a tape of one epoch, whose ordinals are places then.
func readBook(t *testing.T, path string) *deckBook {
	t.Helper()
	tp, err := tape.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b := &deckBook{shards: tp.Shards(), place: map[string]int32{}, last: map[string]int32{}, plans: map[string]*deckPlan{}}
	r := tp.Records(tape.ReadConfig{})
	for n := int32(0); r.Next(); n++ {
		rec, at := r.Record(), r.At()
		if at.Ordinal != wire.Ordinal(n) {
			t.Fatalf("record %d of the tape has ordinal %d", n, at.Ordinal)
		}
		b.list = append(b.list, bookRecord{string(rec.Topic()), at.Shard, rec.Receive()})
		b.place[string(rec)] = n
		marked := wire.Record(slices.Clone(rec))
		marked.SetSnapshot()
		b.last[string(marked)] = n
	}
	if err := errors.Join(r.Err(), r.Close(), tp.Close()); err != nil {
		t.Fatal(err)
	}
	if len(b.place) != len(b.list) || !slices.IsSortedFunc(b.list, func(x, y bookRecord) int { return int(x.time - y.time) }) {
		t.Fatal("the tape has the same record twice, or receive times that go back")
	}
	return b
}

// at is the first place at or after a time; behind the last one there is the end.
func (b *deckBook) at(t wire.Nanos) int {
	return sort.Search(len(b.list), func(i int) bool { return b.list[i].time >= t })
}

func (b *deckBook) end() int { return len(b.list) }

// time is that of a place; of the end, that of the last record.
func (b *deckBook) time(place int) wire.Nanos { return b.list[min(place, len(b.list)-1)].time }

// wanted reports whether a filter lets a record pass.
func (b *deckBook) wanted(place int, topics []string) bool {
	return len(topics) == 0 || slices.ContainsFunc(topics, func(p string) bool { return strings.HasPrefix(b.list[place].topic, p) })
}

// between are the places [from, to) that a filter lets pass, by shard.
func (b *deckBook) between(from, to int, topics []string) [][]int32 {
	places := make([][]int32, b.shards)
	for i := from; i < to; i++ {
		if b.wanted(i, topics) {
			places[b.list[i].shard] = append(places[b.list[i].shard], int32(i))
		}
	}
	return places
}

// lastBefore are the places of every topic's last record before a place, in order.
func (b *deckBook) lastBefore(place int, topics []string) []int32 {
	latest := map[string]int32{}
	for i := range place {
		if b.wanted(i, topics) {
			latest[b.list[i].topic] = int32(i)
		}
	}
	places := make([]int32, 0, len(latest))
	for _, i := range latest {
		places = append(places, i)
	}
	slices.Sort(places)
	return places
}

// deckSpan is a stretch that is played again and again.
type deckSpan struct {
	from, to int        // places, [from, to)
	at       wire.Nanos // the time that was given for from
}

// deckEpoch is what readers must get in an epoch of a deck's stream.
type deckEpoch struct {
	epoch  wire.Epoch
	reason string     // in its hello; "" for the stream's first
	at     wire.Nanos // likewise
	from   int        // place of its first record
	end    int        // of the first one that does not belong to it any more
	topics []string
	whole  bool // it came to its end
	loop   *deckSpan
	began  *deckSpan // loop, as the epoch began
	said   bool      // a command began it

	*deckPlan
}

// deckPlan is what an epoch has. It does not change.
type deckPlan struct {
	played [][]int32 // what is played of it, by shard
	last   []int32   // last values that it begins with
}

// plan makes the plan of an epoch, which many rounds of a loop have.
func (b *deckBook) plan(from, end int, topics []string, last bool) *deckPlan {
	key := fmt.Sprintf("%d %d %q %v", from, end, topics, last)
	p := b.plans[key]
	if p == nil {
		p = &deckPlan{played: b.between(from, end, topics)}
		if last {
			p.last = b.lastBefore(from, topics)
		}
		b.plans[key] = p
	}
	return p
}

// plan says what an epoch has, from where it begins and what is in force.
func (e *deckEpoch) plan(b *deckBook) {
	e.began, e.end = e.loop, b.end()
	if e.loop != nil {
		e.end = e.loop.to
	}
	e.deckPlan = b.plan(e.from, e.end, e.topics, e.reason != "")
}

// unloop lets an epoch go on behind the loop's end.
func (e *deckEpoch) unloop(b *deckBook) {
	e.loop = nil
	e.end = b.end()
	e.deckPlan = b.plan(e.from, e.end, e.topics, e.reason != "")
}

func (e *deckEpoch) String() string {
	text := fmt.Sprintf("epoch %d (%q at %d) from place %d to %d", e.epoch, e.reason, e.at, e.from, e.end)
	if len(e.topics) > 0 {
		text += fmt.Sprintf(" of %q", e.topics)
	}
	if e.loop != nil {
		text += fmt.Sprintf(", looping [%d, %d)", e.loop.from, e.loop.to)
	}
	return text
}

// checkNotices holds what the deck has said of an epoch against it, and reports whether
// it has told the command that began it.
func (e *deckEpoch) checkNotices(b *deckBook, seen *seenEpoch) (told bool, err error) {
	for _, n := range seen.notices {
		told = told || n.Command == e.reason
		switch {
		case !slices.Equal(n.Topics, e.topics):
		case n.Loop == nil && e.loop != nil:
		case n.Loop != nil && (e.began == nil || n.Loop.From != b.time(e.began.from)):
		default:
			continue
		}
		return told, fmt.Errorf("%v: the deck said %+v", e, n)
	}
	return told, nil
}

// check holds what a reader has seen of an epoch against what it must have got, so
// far; through says that its last values must be there.
func (e *deckEpoch) check(seen *seenEpoch, through bool) error {
	for s := range seen.shards {
		got := &seen.shards[s]
		if start := got.start; (start == nil) != (e.reason == "" || !got.greeted) {
			return fmt.Errorf("%v, shard %d: it begins with %+v", e, s, start)
		} else if start != nil && (start.Reason != e.reason || start.At != e.at || start.Clock != "receive" || !start.Snapshot) {
			return fmt.Errorf("%v, shard %d: it begins with %+v", e, s, *start)
		}
	}
	return e.checkRecords(seen, through)
}

// checkRecords is check for last values and records alone.
func (e *deckEpoch) checkRecords(seen *seenEpoch, through bool) error {
	var last []int32
	var ordinals []wire.Ordinal
	begun := false
	for s := range seen.shards {
		got, want := &seen.shards[s], e.played[s]
		begun = begun || len(got.played) > 0
		last, ordinals = append(last, got.last...), append(ordinals, got.lastOrdinals...)
		for i, place := range got.played {
			if i >= len(want) || place != want[i] {
				return fmt.Errorf("%v, shard %d: record %d is that at place %d; %d are wanted, %v next", e, s, i, place, len(want), want[min(i, len(want)):min(i+3, len(want))])
			}
		}
		if e.whole && len(got.played) != len(want) {
			return fmt.Errorf("%v, shard %d: it ends after %d of %d records", e, s, len(got.played), len(want))
		}
		if len(got.played) > 0 && got.lead != wire.Ordinal(len(e.last)) {
			return fmt.Errorf("%v, shard %d: ordinals are %d above the places, and there are %d last values", e, s, got.lead, len(e.last))
		}
	}
	slices.Sort(last)
	slices.Sort(ordinals)
	for i, o := range ordinals {
		if i > 0 && ordinals[i-1] == o || o >= wire.Ordinal(len(e.last)) {
			return fmt.Errorf("%v: of %d last values ordinals %v", e, len(e.last), ordinals)
		}
	}
	if begun || through || e.whole {
		if !slices.Equal(last, e.last) {
			return fmt.Errorf("%v: last values are those at %v, want %v", e, last, e.last)
		}
		return nil
	}
	for i, place := range last {
		if _, ok := slices.BinarySearch(e.last, place); !ok || i > 0 && last[i-1] == place {
			return fmt.Errorf("%v: what is at %d is no last value, or comes twice", e, place)
		}
	}
	return nil
}
