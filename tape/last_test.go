package tape

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// mixed appends records over three shards and two epochs, whose times go back
// now and then, by little or by much, with snapshots, send times on some
// shards, and topics that come late.
type mixed struct {
	rng   *rand.Rand
	epoch wire.Epoch
	seq   [3]wire.Seq
	next  wire.Ordinal
	count int
	back  int // greatest step back of a time, ns
}

func (m *mixed) append(t testing.TB, w *Writer, n int) {
	t.Helper()
	for range n {
		shard := m.rng.IntN(3)
		topics := 3 + m.count/400
		f := wire.Fields{Topic: fmt.Appendf(nil, "S%d.%04d", shard, m.rng.IntN(topics)),
			Body: make([]byte, m.rng.IntN(60)), TopicSeq: uint32(m.count), Kind: wire.Kind(m.rng.IntN(12))}
		for i := range f.Body {
			f.Body[i] = byte(m.rng.IntN(4))
		}
		f.Event = wire.Nanos(1_000_000_000 + m.count*1000)
		if m.rng.IntN(20) == 0 {
			f.Event -= wire.Nanos(m.rng.IntN(m.back))
		}
		if m.rng.IntN(100) == 0 {
			f.Flags, f.Event = wire.FlagSnapshot, 1
		}
		f.Receive = wire.Nanos(1_000_000_000 + m.count*1000 + m.rng.IntN(m.back))
		at := At{Shard: shard, Epoch: m.epoch, Seq: m.seq[shard], Ordinal: m.next}
		if shard > 0 {
			at.Send = f.Receive + 5000
		}
		if err := w.AppendFields(at, &f); err != nil {
			t.Fatal(err)
		}
		m.seq[shard]++
		m.next += wire.Ordinal(1 + m.rng.IntN(2))
		m.count++
	}
}

// newEpoch begins another epoch.
func (m *mixed) newEpoch() { m.epoch, m.seq, m.next = m.epoch-1, [3]wire.Seq{}, 0 }

// mixedTape makes a tape in several sessions; the last one is left open where
// closed is not set.
func mixedTape(t testing.TB, cfg Config, records, back int, closed bool) *Tape {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a.tape")
	cfg.Shards, cfg.BlockSize = 3, 1500
	if cfg.SegmentSize == 0 {
		cfg.SegmentSize = SegmentSizeMin
	}
	w, err := Create(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	m := &mixed{rng: rand.New(rand.NewPCG(3, uint64(back))), epoch: 1 << 60, back: back}
	m.append(t, w, records/3)
	m.newEpoch()
	m.append(t, w, records/3)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Shards = 0
	if w, err = OpenAppend(dir, cfg); err != nil {
		t.Fatal(err)
	}
	m.newEpoch()
	m.append(t, w, records/3)
	if err := w.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	if closed {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	} else {
		t.Cleanup(func() { _ = w.Abort() })
	}
	return open(t, dir)
}

// scannedRecord is a record found by reading everything.
type scannedRecord struct {
	rec   wire.Record
	at    At
	info  BlockInfo
	index int
}

func scanAll(t testing.TB, tp *Tape) (all []scannedRecord) {
	t.Helper()
	for n := range tp.Blocks() {
		b, err := tp.ReadBlock(n, false)
		if err != nil {
			t.Fatal(err)
		}
		ordinals, i := b.Ordinals(), 0
		for w := b.Records(); w.Next(); i++ {
			at := At{Shard: int(b.Shard), Epoch: b.Epoch, Seq: w.Seq(), Ordinal: ordinals.Next()}
			all = append(all, scannedRecord{bytes.Clone(w.Record()), at, b.Info, i})
		}
		b.Release()
	}
	return all
}

// bruteLast is the definition: of each topic the last wanted record.
func bruteLast(all []scannedRecord, wants func(*scannedRecord) bool) map[string]*scannedRecord {
	last := map[string]*scannedRecord{}
	for i := range all {
		if wants(&all[i]) {
			last[string(all[i].rec.Topic())] = &all[i]
		}
	}
	return last
}

// sameLast fails unless l has exactly want, in order.
func sameLast(t testing.TB, what string, l *Last, err error, want map[string]*scannedRecord) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if p := l.Stats().Passed; p != nil {
		t.Fatalf("%s: passed %+v", what, p)
	}
	topics := slices.Sorted(maps.Keys(want))
	if l.Len() != len(topics) {
		t.Fatalf("%s: %d topics, want %d", what, l.Len(), len(topics))
	}
	for _, topic := range topics {
		w := want[topic]
		if !l.Next() || !bytes.Equal(l.Record(), w.rec) || l.At() != w.at {
			t.Fatalf("%s: topic %s: at %+v, want %+v; or the bytes differ", what, topic, l.At(), w.at)
		}
		if rec, at, ok := l.Find([]byte(topic)); !ok || at != w.at || !bytes.Equal(rec, w.rec) {
			t.Fatalf("%s: topic %s is not found by name", what, topic)
		}
	}
	if l.Next() {
		t.Fatalf("%s: more topics than there are", what)
	}
	if _, _, ok := l.Find([]byte("~")); ok {
		t.Fatalf("%s: a topic is found that is not there", what)
	}
}

// atClock says whether a record counts at a time, by a clock.
func atClock(c Clock, at wire.Nanos) func(*scannedRecord) bool {
	return func(r *scannedRecord) bool {
		if c == ClockSend && !r.info.NoSend {
			return r.info.Send.Max <= at
		}
		return timeOf(r.rec, c) <= at
	}
}

func TestLastAgainstScan(t *testing.T) {
	for _, tc := range []struct {
		name     string
		cfg      Config
		back     int
		unclosed bool
	}{
		{"ordered", Config{KeyframeInterval: 20_000, SyncInterval: -1}, 2, false},
		{"disordered", Config{KeyframeInterval: 20_000, SyncInterval: -1, Codec: CodecZstd}, 3_000_000, false},
		{"one segment", Config{KeyframeInterval: 30_000, SyncInterval: -1, Codec: CodecPlain, SegmentSize: 1 << 24}, 100_000, false},
		{"no keyframes", Config{KeyframeInterval: -1, SyncInterval: -1}, 100_000, false},
		{"unclosed", Config{KeyframeInterval: 20_000}, 100_000, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const records = 24_000
			tp := mixedTape(t, tc.cfg, records, tc.back, !tc.unclosed)
			all := scanAll(t, tp)
			if len(all) != records {
				t.Fatalf("%d records", len(all))
			}
			rng := rand.New(rand.NewPCG(1, 2))
			keyframes := map[int]bool{}
			for range 1000 / stride(10) {
				c := Clock(rng.IntN(3))
				at := wire.Nanos(1_000_000_000 - 5_000 + rng.IntN(records*1000+10_000))
				what := fmt.Sprintf("%v %d", c, at)
				l, err := tp.Last(t.Context(), LastConfig{At: at, Clock: c})
				sameLast(t, what, l, err, bruteLast(all, atClock(c, at)))
				keyframes[l.Stats().Keyframe] = true
			}
			if tc.cfg.KeyframeInterval > 0 && len(keyframes) < 10 || tc.cfg.KeyframeInterval < 0 && len(keyframes) != 1 {
				t.Errorf("%d different keyframes were read from", len(keyframes))
			}
			for _, at := range []wire.Nanos{wire.NanosMin, 0, 1, wire.NanosMax - 1, wire.NanosMax} {
				l, err := tp.Last(t.Context(), LastConfig{At: at, Clock: ClockEvent})
				sameLast(t, fmt.Sprint(at), l, err, bruteLast(all, atClock(ClockEvent, at)))
			}
		})
	}
}

func TestLastBeforePositionAgainstScan(t *testing.T) {
	tp := mixedTape(t, Config{KeyframeInterval: 20_000, SyncInterval: -1}, 12_000, 100_000, true)
	all := scanAll(t, tp)
	epochs := tp.Epochs()
	rng := rand.New(rand.NewPCG(4, 4))
	for range 600 / stride(6) {
		r := &all[rng.IntN(len(all))]
		pos, err := tp.FindSeq(r.at.Epoch, r.at.Shard, r.at.Seq)
		if err != nil {
			t.Fatal(err)
		}
		l, err := tp.LastBefore(t.Context(), pos, nil)
		sameLast(t, fmt.Sprintf("before %+v", pos), l, err, bruteLast(all, func(o *scannedRecord) bool {
			return o.info.Number < pos.Block || o.info.Number == pos.Block && o.index < pos.Index
		}))
		ordinal := r.at.Ordinal + wire.Ordinal(rng.IntN(2))
		l, err = tp.LastBeforeOrdinal(t.Context(), r.at.Epoch, ordinal, nil)
		sameLast(t, fmt.Sprintf("before ordinal %d of epoch %d", ordinal, uint64(r.at.Epoch)), l, err, bruteLast(all, func(o *scannedRecord) bool {
			a, b := slices.Index(epochs, o.at.Epoch), slices.Index(epochs, r.at.Epoch)
			return a < b || a == b && o.at.Ordinal < ordinal
		}))
	}
	l, err := tp.LastBefore(t.Context(), Position{Block: tp.Blocks()}, nil)
	sameLast(t, "at the end", l, err, bruteLast(all, func(*scannedRecord) bool { return true }))
	l, err = tp.LastBefore(t.Context(), Position{}, nil)
	sameLast(t, "at the start", l, err, nil)
	if _, err := tp.LastBeforeOrdinal(t.Context(), 12345, 0, nil); err == nil {
		t.Error("an epoch that is not there was found")
	}
}

func TestLastOfSomeTopics(t *testing.T) {
	tp := mixedTape(t, Config{KeyframeInterval: 20_000, SyncInterval: -1}, 12_000, 100_000, true)
	all := scanAll(t, tp)
	wanted := func(topic []byte) bool { return bytes.HasPrefix(topic, []byte("S1.000")) }
	for at := wire.Nanos(1_000_000_000); at < 1_012_000_000; at += 700_001 {
		l, err := tp.Last(t.Context(), LastConfig{At: at, Topics: wanted})
		sameLast(t, fmt.Sprint(at), l, err, bruteLast(all, func(r *scannedRecord) bool {
			return r.rec.Receive() <= at && wanted(r.rec.Topic())
		}))
	}
}

func TestLastReadsNoMoreThanAnInterval(t *testing.T) {
	const interval = 400_000
	tp := mixedTape(t, Config{KeyframeInterval: interval, SyncInterval: -1, SegmentSize: 1 << 20}, 60_000, 2, true)
	info, err := tp.Info()
	if err != nil || info.Totals.PayloadBytes < 8*interval {
		t.Fatalf("%+v, %v", info.Totals, err)
	}
	rng := rand.New(rand.NewPCG(9, 9))
	for range 200 {
		l, err := tp.Last(t.Context(), LastConfig{At: wire.Nanos(1_000_000_000 + rng.IntN(60_000_000))})
		if err != nil {
			t.Fatal(err)
		}
		payload := uint64(0)
		s := l.Stats()
		for n := max(s.Keyframe, 0); n < max(s.Keyframe, 0)+s.Blocks; n++ {
			b := tp.Block(n)
			payload += uint64(b.PayloadSize)
		}
		// Three shards have a block open each, whose records lie side by side.
		if payload > interval+6*1500 {
			t.Fatalf("%+v: %d bytes of payload were read", s, payload)
		}
	}
}

func TestLastEndsWithItsContext(t *testing.T) {
	tp := mixedTape(t, Config{KeyframeInterval: -1, SyncInterval: -1}, 3000, 2, true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tp.Last(ctx, LastConfig{At: wire.NanosMax}); err != context.Canceled {
		t.Errorf("error %v", err)
	}
}
