package tape

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// walked is everything that a walk gives, in its order. Every few records its
// context ends, and another one goes on.
func walked(t testing.TB, w *LastWalk, rng *rand.Rand) []lastRecord {
	t.Helper()
	defer w.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var list []lastRecord
	for {
		ctx := t.Context()
		if rng != nil && rng.IntN(10) == 0 {
			ctx = ended
		}
		ok, err := w.Next(ctx)
		switch {
		case errors.Is(err, context.Canceled) && ctx == ended:
		case err != nil:
			t.Fatal(err)
		case !ok:
			return list
		default:
			at := w.At()
			list = append(list, lastRecord{rec: bytes.Clone(w.Record()),
				place: place{epoch: at.Epoch, seq: at.Seq, ordinal: at.Ordinal, shard: uint16(at.Shard)}})
		}
	}
}

// TestLastWalk: a walk has each topic once, the same records as LastBeforeOrdinal,
// and always in the same order, also where it was broken off in between.
func TestLastWalk(t *testing.T) {
	for _, cfg := range []Config{
		{KeyframeInterval: 20_000, SyncInterval: -1}, {KeyframeInterval: -1, SyncInterval: -1, Codec: CodecPlain},
	} {
		tp := mixedTape(t, cfg, 12_000, 100_000, true)
		all := scanAll(t, tp)
		rng := rand.New(rand.NewPCG(4, 5))
		odd := func(topic []byte) bool { return topic[len(topic)-1]%2 == 1 }
		for n := range 200 / stride(4) {
			r := &all[rng.IntN(len(all))]
			var topics func([]byte) bool
			if n%3 == 0 {
				topics = odd
			}
			want, err := tp.LastBeforeOrdinal(t.Context(), r.at.Epoch, r.at.Ordinal, topics)
			if err != nil {
				t.Fatal(err)
			}
			var lists [2][]lastRecord
			for i := range lists {
				w, err := tp.WalkLastBeforeOrdinal(r.at.Epoch, r.at.Ordinal, topics)
				if err != nil {
					t.Fatal(err)
				}
				lists[i] = walked(t, w, []*rand.Rand{nil, rng}[i])
			}
			if len(lists[0]) != want.Len() || len(lists[1]) != want.Len() {
				t.Fatalf("%d and %d topics, want %d", len(lists[0]), len(lists[1]), want.Len())
			}
			seen := map[string]bool{}
			for i, a := range lists[0] {
				if b := lists[1][i]; !bytes.Equal(a.rec, b.rec) || a.place != b.place {
					t.Fatalf("record %d of two walks differs: topic %s, then %s", i, a.rec.Topic(), b.rec.Topic())
				}
				rec, at, ok := want.Find(a.rec.Topic())
				if !ok || !bytes.Equal(rec, a.rec) || at != a.place.at() || seen[string(a.rec.Topic())] {
					t.Fatalf("topic %s: %+v, want %+v, once: %v", a.rec.Topic(), a.place, at, !seen[string(a.rec.Topic())])
				}
				seen[string(a.rec.Topic())] = true
			}
		}
	}
}

// TestLastWalkIsLeft: a walk that is closed in between, or never begun, leaves
// nothing behind: the tape can be closed. What follows a close is the end.
func TestLastWalkIsLeft(t *testing.T) {
	tp := mixedTape(t, Config{KeyframeInterval: 20_000, SyncInterval: -1, Codec: CodecZstd}, 12_000, 100_000, true)
	epochs := tp.Epochs()
	for n := range 50 {
		w, err := tp.WalkLastBeforeOrdinal(epochs[len(epochs)-1], wire.Ordinal(n*100), nil)
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			if _, err := w.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		w.Close()
		if ok, err := w.Next(t.Context()); ok || err != nil {
			t.Fatalf("after Close: %v, %v", ok, err)
		}
	}
	if err := tp.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := tp.WalkLastBeforeOrdinal(epochs[0], 0, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("of a closed tape: %v", err)
	}
}

// TestLastWalkHasAll: a walk ends when it has met every topic that there is, and
// does not read what can only be older.
func TestLastWalkHasAll(t *testing.T) {
	w, dir := create(t, Config{BlockSize: 1500, Codec: CodecPlain, KeyframeInterval: -1})
	const records = 5000
	for i := range records {
		topic := fmt.Sprint("T", i%20)
		if i == 10 {
			topic = "only once"
		}
		f := wire.Fields{Topic: []byte(topic), Body: make([]byte, 30), Event: wire.Nanos(i), Receive: wire.Nanos(i)}
		if err := w.AppendFields(At{Epoch: 1, Seq: wire.Seq(i), Ordinal: wire.Ordinal(i)}, &f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tp := open(t, dir)
	often := func(topic []byte) bool { return topic[0] == 'T' }
	for _, tc := range []struct {
		before wire.Ordinal
		topics func([]byte) bool
		want   int
		all    bool
	}{{records, nil, 21, true}, {records, often, 20, false}, {3000, often, 20, false}, {10, nil, 10, true}, {0, nil, 0, true}} {
		walk, err := tp.WalkLastBeforeOrdinal(1, tc.before, tc.topics)
		if err != nil {
			t.Fatal(err)
		}
		n := len(walked(t, walk, nil))
		looked := walk.Stats().Records
		if n != tc.want || !tc.all && looked > 1000 || tc.all && looked < uint64(tc.before) {
			t.Errorf("before %d: %d topics, want %d; %d records were looked at", tc.before, n, tc.want, looked)
		}
	}
}

// TestLastWalkMeetsDamage: a damaged block is an error, and stays one; a damaged
// keyframe is passed over.
func TestLastWalkMeetsDamage(t *testing.T) {
	tp := mixedTape(t, Config{KeyframeInterval: -1, SyncInterval: -1, Codec: CodecPlain}, 6000, 100_000, true)
	epochs := tp.Epochs()
	last := epochs[len(epochs)-1]
	info := tp.Block(tp.Blocks() - 3)
	s := tp.segmentNumber(info.Segment)
	m, err := tp.mapped(s)
	if err != nil {
		t.Fatal(err)
	}
	defer m.release()
	damaged := bytes.Clone(m.data)
	damaged[info.Offset+BlockHeaderSize+5] ^= 1
	s.file = &mapping{data: damaged, unmap: func() error { return nil }}
	s.file.refs.Store(1 << 20)
	w, err := tp.WalkLastBeforeOrdinal(last, 1<<40, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ok, n := true, 0
	for ; ok; n++ {
		ok, err = w.Next(t.Context())
	}
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || n < 2 {
		t.Fatalf("after %d records: %v", n, err)
	}
	if ok, again := w.Next(t.Context()); ok || !errors.Is(again, err) {
		t.Errorf("then %v, %v", ok, again)
	}
}
