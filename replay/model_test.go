package replay

import (
	"slices"
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
	played []int         // of all, those that are in the range and pass the filter
	shards int
}

type modelRecord struct {
	place  wire.Ordinal
	rec    string
	shard  int // of the stream
	in     bool
	topics bool // passes the filter
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
		topic := string(rec.Topic())
		x := modelRecord{place: at.Ordinal + numbers.offsets[at.Epoch], rec: string(rec), shard: int(mp.Of(rec.Topic()))}
		when := m.time(rec, cfg.Clock)
		x.in = (cfg.From == 0 || when >= cfg.From) && (cfg.To == 0 || when < cfg.To)
		x.topics = len(cfg.Topics) == 0 || slices.ContainsFunc(cfg.Topics, func(p string) bool { return strings.HasPrefix(topic, p) })
		if x.in && x.topics {
			m.played = append(m.played, len(m.all))
		}
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

// last returns the last values before a record, by topic, marked.
func (m *model) last(i int) map[string]string {
	values := map[string]string{}
	for _, x := range m.all[:i] {
		if x.topics {
			rec := []byte(x.rec)
			wire.Record(rec).SetSnapshot()
			values[string(wire.Record(rec).Topic())] = string(rec)
		}
	}
	return values
}

// check compares an epoch with what follows a seek to a record; whole says that
// the epoch must have everything to the end of the last pass, which passes are
// still to come, with the one at hand.
func (m *model) check(t testing.TB, e *fakeEpoch, from, passes int, whole, values bool) {
	t.Helper()
	wants := make([]wanted, m.shards)
	for _, i := range m.played {
		w := &wants[m.all[i].shard]
		w.full, w.passes = append(w.full, m.all[i].rec), passes
		if i >= from {
			w.first = append(w.first, m.all[i].rec)
		}
	}
	last := map[string]string{}
	if values {
		last = m.last(from)
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
				t.Fatalf("epoch %d, shard %d: %s is not the last value before %q", e.epoch, s, short(items[n]), m.all[from].rec)
			}
			delete(last, topic)
		}
		started = started || n < len(items)
		want := &wants[s]
		for i, it := range items[n:] {
			if i >= want.len() || it.record != want.at(i) {
				t.Fatalf("epoch %d, shard %d: record %d is %s; %d wanted", e.epoch, s, i, short(it), want.len())
			}
		}
		if whole && len(items)-n != want.len() {
			t.Fatalf("epoch %d, shard %d: %d records, want %d", e.epoch, s, len(items)-n, want.len())
		}
	}
	if (started || whole) && len(last) > 0 {
		t.Fatalf("epoch %d: %d last values are missing", e.epoch, len(last))
	}
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
