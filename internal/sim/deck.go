package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// deckRun is a tape that is played by a pair: the active one sends, the other one hears
// the stream and what readers say that they have, and goes on in an epoch of its own
// when it takes over. Readers receive from both. What must hold, for every reader and
// shard, until both are gone and the play begins anew:
//
//  1. Its handler is given the tape's records, in order, each once, over all takeovers,
//     also while both believe that they are active.
//  2. What it is not given it is told of, or of an epoch whose end or beginning it does
//     not know.
//  3. Where only the pair has trouble, nothing is lost, unless both were active and the
//     later one went before the other one had heard of it.
//  4. When all is calm, one is active, and every reader comes to the end of the tape.
//
// Of 3 and 4 those runs are free in which one was active in an epoch that its disk, which
// was failing, did not keep.
type deckRun struct {
	w       *World
	shards  int
	records []deckRecord
	places  [][]int // of each shard's records, rising
	pause   time.Duration
	gentle  bool // only the pair has trouble
	pair    [2]*deckServer
	readers []*deckReader
	epochs  map[wire.Epoch]*deckEpoch
}

// deckRecord is one of the tape's.
type deckRecord struct{ shard, index int }

// deckEpoch is how an epoch lies on the tape.
type deckEpoch struct {
	id    wire.Epoch
	place int         // of its first record
	first []int       // of each shard, index of the first record
	start *wire.Epoch // the one that it goes on with
}

const deckHeartbeat = 200 * time.Millisecond

func runDeck(w *World) {
	r := &deckRun{w: w, shards: one(w, 1, 1, 2, 3), epochs: map[wire.Epoch]*deckEpoch{}, gentle: w.Chance(0.5)}
	trouble := trouble{w: w, disks: true, clocks: true, longest: 5 * time.Second}
	lasts := w.Between(5*time.Second, 40*time.Second)
	r.tape(100+w.IntN(2000), lasts)
	halves := pairOf(w, deckHeartbeat, one(w, 0, 0, 3*time.Second), func(i int) { r.pair[i].boot() })
	for i, h := range halves {
		r.pair[i] = newDeckServer(r, h)
		trouble.processes = append(trouble.processes, h.p)
	}
	r.pair[0].peer, r.pair[1].peer = r.pair[1], r.pair[0]
	trouble.links = append(trouble.links, []*link{halves[0].out, halves[1].out})
	for i := range 2 + w.IntN(3) {
		d := newDeckReader(r, i)
		r.readers = append(r.readers, d)
		if !r.gentle {
			trouble.processes = append(trouble.processes, d.p)
			for k := range r.pair {
				trouble.links = append(trouble.links, []*link{d.from[k], d.to[k]})
			}
		}
	}
	w.Logf("%d records on %d shards, one every %v, gentle: %v", len(r.records), r.shards, r.pause, r.gentle)
	for _, p := range w.processes {
		w.After(w.Between(0, one(w, 0, 2*time.Second)), p.Start)
	}
	if r.gentle {
		w.Run(3 * time.Second) // all are there
	}
	trouble.run(lasts, w.Between(100*time.Millisecond, 4*time.Second))
	trouble.end()
	r.settle(lasts)
}

// tape makes the records.
func (r *deckRun) tape(n int, lasts time.Duration) {
	r.pause = max(lasts/time.Duration(n), time.Microsecond)
	r.places = make([][]int, r.shards)
	for place := range n {
		shard := r.w.IntN(r.shards)
		r.records = append(r.records, deckRecord{shard, len(r.places[shard])})
		r.places[shard] = append(r.places[shard], place)
	}
}

// from returns, per shard, the index of the first record at or behind a place.
func (r *deckRun) from(place int) []int {
	first := make([]int, r.shards)
	for i, places := range r.places {
		first[i], _ = slices.BinarySearch(places, place)
	}
	return first
}

// settle holds property 4.
func (r *deckRun) settle(lasts time.Duration) {
	through := func() bool {
		return !slices.ContainsFunc(r.readers, func(d *deckReader) bool { return !d.through() })
	}
	if !r.w.RunUntil(2*lasts+time.Minute, 100*time.Millisecond, through) && !r.forgot() {
		r.w.Fail("all is calm, and not all readers come to the end: %s", r.standing())
	}
	if !r.w.RunUntil(5*time.Second, 100*time.Millisecond, func() bool { return r.pair[0].active != r.pair[1].active }) {
		r.w.Fail("all is calm, and the primary is active: %v, the backup: %v", r.pair[0].active, r.pair[1].active)
	}
}

// forgot reports whether one was active in an epoch that nobody remembers: readers that
// were with it wait for a later one.
func (r *deckRun) forgot() bool { return r.pair[0].forgot || r.pair[1].forgot }

func (r *deckRun) standing() (list string) {
	for _, d := range r.readers {
		list += fmt.Sprintf("%s at %v in %v; ", d.p.name, d.at, d.epoch)
	}
	for _, s := range r.pair {
		list += fmt.Sprintf("%v active %v at %d; ", s.role, s.active, s.place)
	}
	return list
}

// kin reports whether two epochs are of one play.
func (r *deckRun) kin(a, b wire.Epoch) bool { return r.root(a) == r.root(b) }

func (r *deckRun) root(id wire.Epoch) wire.Epoch {
	for e := r.epochs[id]; e.start != nil; e = r.epochs[id] {
		id = *e.start
	}
	return id
}
