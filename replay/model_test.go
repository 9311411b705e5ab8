package replay

import (
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// model is what a player must send, by reading the whole tape.
type model struct {
	cfg    Config
	all    []modelRecord // in the one order
	shards int
}

type modelRecord struct {
	place wire.Ordinal
	rec   string
	shard int  // of the stream
	in    bool // the range
}

func newModel(t testing.TB, cfg Config) *model {
	t.Helper()
	m := &model{cfg: cfg, shards: cfg.Shards}
	if m.shards == 0 {
		m.shards = cfg.Tape.Shards()
	}
	mp, err := shard.NewMap(m.shards)
	if err != nil {
		t.Fatal(err)
	}
	numbers := newNumbering(cfg.Tape)
	r := cfg.Tape.Records(tape.ReadConfig{})
	defer r.Close()
	for r.Next() {
		rec, at := r.Record(), r.At()
		x := modelRecord{place: at.Ordinal + numbers.offsets[at.Epoch], rec: string(rec), shard: int(mp.Of(rec.Topic()))}
		when := m.time(rec, cfg.Clock)
		x.in = (cfg.From == 0 || when >= cfg.From) && (cfg.To == 0 || when < cfg.To)
		m.all = append(m.all, x)
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return m
}

func (m *model) time(r wire.Record, c tape.Clock) wire.Nanos {
	if c == tape.ClockEvent {
		return r.Event()
	}
	return r.Receive()
}

// find returns the first record in all at or behind a place, or the end.
func (m *model) find(place wire.Ordinal) int {
	return sort.Search(len(m.all), func(i int) bool { return m.all[i].place >= place })
}

// seek returns where in all a seek goes, or -1.
func (m *model) seek(at wire.Nanos, c tape.Clock) int {
	i := 0
	for ; i < len(m.all) && m.cfg.From != 0 && m.time(wire.Record(m.all[i].rec), m.cfg.Clock) < m.cfg.From; i++ {
	}
	for ; i < len(m.all) && m.time(wire.Record(m.all[i].rec), c) < at; i++ {
	}
	for ; i < len(m.all) && !m.all[i].in; i++ {
	}
	if i == len(m.all) {
		return -1
	}
	return i
}

// endOfPass is where in all a pass ends.
func (m *model) endOfPass() int {
	i := 0
	for ; i < len(m.all) && (m.cfg.To == 0 || m.time(wire.Record(m.all[i].rec), m.cfg.Clock) < m.cfg.To); i++ {
	}
	return i
}

// last returns the last values before a record, by topic, marked.
func (m *model) last(i int, topics []string) map[string]string {
	values := map[string]string{}
	for _, x := range m.all[:i] {
		if passes(x.rec, topics) {
			rec := []byte(x.rec)
			wire.Record(rec).SetSnapshot()
			values[string(wire.Record(rec).Topic())] = string(rec)
		}
	}
	return values
}

// epochWant is what an epoch must have.
type epochWant struct {
	from   int      // of all: its first record, in a pass
	end    int      // of all: the loop's end that it stops at; 0: none
	asOf   int      // of all: what last values come before; below 0: there are none
	topics []string // that are played
	passes int      // still to come, with the one at hand
	whole  bool     // nothing broke it off
}

// check compares an epoch with what follows a seek to a record; whole says that
// the epoch must have everything to the end of the last pass, which passes are
// still to come, with the one at hand.
func (m *model) check(t testing.TB, e *fakeEpoch, from, passes int, whole, values bool) {
	t.Helper()
	w := epochWant{from: from, asOf: from, topics: m.cfg.Topics, passes: passes, whole: whole}
	if !values {
		w.asOf = -1
	}
	m.checkEpoch(t, e, &w)
}

// played says which records each shard is to get.
func (m *model) played(w *epochWant) []wanted {
	end, wants := w.end, make([]wanted, m.shards)
	if end == 0 {
		end = len(m.all)
	}
	for i := range m.all {
		x := &m.all[i]
		if !x.in || !passes(x.rec, w.topics) {
			continue
		}
		want := &wants[x.shard]
		want.full, want.passes = append(want.full, x.rec), w.passes
		if w.end > 0 {
			want.passes = min(w.passes, 1)
		}
		if i >= w.from && i < end {
			want.first = append(want.first, x.rec)
		}
	}
	return wants
}

// checkEpoch compares an epoch with what it must have.
func (m *model) checkEpoch(t testing.TB, e *fakeEpoch, w *epochWant) {
	t.Helper()
	wants, last := m.played(w), map[string]string{}
	if w.asOf >= 0 {
		last = m.last(w.asOf, w.topics)
	}
	ordinals := map[wire.Ordinal]bool{}
	started := false
	for s := range m.shards {
		items := e.items(t, s)
		for _, it := range items {
			if ordinals[it.ordinal] {
				t.Fatalf("epoch %d, shard %d: %s comes twice", e.epoch, s, short(it))
			}
			ordinals[it.ordinal] = true
		}
		n := 0
		for ; n < len(items) && items[n].last; n++ {
			topic := string(wire.Record(items[n].record).Topic())
			if last[topic] != items[n].record {
				t.Fatalf("epoch %d, shard %d: %s is not the last value before record %d", e.epoch, s, short(items[n]), w.asOf)
			}
			delete(last, topic)
		}
		started = started || n < len(items)
		want := &wants[s]
		for i, it := range items[n:] {
			if i >= want.len() || it.record != want.at(i) {
				t.Fatalf("epoch %d (%+v), shard %d: record %d is %s; %d wanted; %+v", e.epoch, e.start, s, i, short(it), want.len(), *w)
			}
		}
		if w.whole && len(items)-n != want.len() {
			t.Fatalf("epoch %d (%+v), shard %d: %d records, want %d; %+v", e.epoch, e.start, s, len(items)-n, want.len(), *w)
		}
	}
	if (started || w.whole) && len(last) > 0 {
		t.Fatalf("epoch %d: %d last values are missing", e.epoch, len(last))
	}
}

// passes reports whether a filter lets a record pass.
func passes(rec string, topics []string) bool {
	topic := string(wire.Record(rec).Topic())
	return len(topics) == 0 || slices.ContainsFunc(topics, func(p string) bool { return strings.HasPrefix(topic, p) })
}

// wanted is what one shard is to get: the rest of a pass, and whole ones.
type wanted struct {
	first, full []string
	passes      int
}

func (w *wanted) len() int {
	if w.passes == 0 {
		return 0
	}
	return len(w.first) + (w.passes-1)*len(w.full)
}

func (w *wanted) at(i int) string {
	if i < len(w.first) {
		return w.first[i]
	}
	return w.full[(i-len(w.first))%len(w.full)]
}
