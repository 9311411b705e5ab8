package subscriber

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

func makeRecord(t testing.TB, topic string, body []byte, kind wire.Kind) wire.Record {
	t.Helper()
	r, err := wire.AppendRecord(nil, &wire.Fields{Topic: []byte(topic), Body: body, Kind: kind, Event: 1, Receive: 2})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// modelLatest is what latest shall do where there is room, in the simplest way.
type modelLatest struct {
	queue []modelItem
	era   int
}

type modelItem struct {
	topic   string
	record  []byte
	skipped uint64
	told    int // above 0: something told
	era     int
}

func (m *modelLatest) put(topic string, r []byte) {
	i := slices.IndexFunc(m.queue, func(x modelItem) bool { return x.told == 0 && x.topic == topic })
	if i < 0 {
		m.queue = append(m.queue, modelItem{topic: topic, record: r, era: m.era})
		return
	}
	x := m.queue[i]
	x.record, x.skipped = r, x.skipped+1
	if x.era == m.era {
		m.queue[i] = x
		return
	}
	x.era = m.era
	m.queue = append(slices.Delete(m.queue, i, i+1), x)
}

// TestLatestModel: with room for everything, it is the model.
func TestLatestModel(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		l, m := newLatest(100, 1<<20), &modelLatest{}
		var out taken
		told := 0
		for i := range 5000 {
			switch rng.IntN(10) {
			case 0:
				m.era++
				at := m.era
				if !l.tell(func() { told = at }) {
					t.Fatal("no room to tell")
				}
				m.queue = append(m.queue, modelItem{told: at})
			case 1, 2, 3, 4, 5:
				topic := fmt.Sprint(rng.IntN(60))
				r := makeRecord(t, topic, bytes.Repeat([]byte{byte(i)}, rng.IntN(40)), wire.KindData)
				at := recordPlace{seq: wire.Seq(i)}
				if _, dropped := l.put(r, &at); dropped != 0 {
					t.Fatalf("seed %d: dropped", seed)
				}
				m.put(topic, r)
			default:
				if ok := l.take(&out); ok != (len(m.queue) > 0) {
					t.Fatalf("seed %d: took %v, %d wait", seed, ok, len(m.queue))
				} else if !ok {
					continue
				}
				want := m.queue[0]
				m.queue = m.queue[1:]
				if out.tell != nil {
					out.tell()
					if told != want.told {
						t.Fatalf("seed %d: told %d, want %d", seed, told, want.told)
					}
				} else if want.told != 0 || !bytes.Equal(out.record, want.record) || out.skipped != want.skipped {
					t.Fatalf("seed %d: %q skipped %d, want %+v", seed, out.record, out.skipped, want)
				}
			}
			if l.waits() != len(m.queue) {
				t.Fatalf("seed %d: %d wait, want %d", seed, l.waits(), len(m.queue))
			}
		}
	}
}

// TestLatestBounds: however little room there is, it is kept to, every record is
// accounted for, and what is handed over is the last record of its topic there
// was room for, never one that a dropped one has outdated.
func TestLatestBounds(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 2))
		l := newLatest(1+rng.IntN(20), int64(500+rng.IntN(8000)))
		var out taken
		var put, took, skipped, dropped uint64
		last := map[string][]byte{}
		for range 3000 {
			if rng.IntN(3) > 0 {
				topic := fmt.Sprint(rng.IntN(40))
				r := makeRecord(t, topic, make([]byte, rng.IntN(700)), wire.KindData)
				one, two := l.put(r, &recordPlace{})
				put, skipped, dropped = put+1, skipped+one, dropped+two
				last[topic] = r
				if two > 0 {
					last[topic] = nil
				}
			} else if l.take(&out) {
				took++
				if want := last[string(out.record.Topic())]; !bytes.Equal(out.record, want) {
					t.Fatalf("seed %d: %.30q is not the latest", seed, out.record)
				}
			}
			if put != took+skipped+dropped+uint64(l.topics) {
				t.Fatalf("seed %d: %d put, %d took, %d skipped, %d dropped, %d wait", seed, put, took, skipped, dropped, l.topics)
			}
			held := int64(0)
			for topic, i := range l.index {
				held += int64(nodeCost + len(topic) + cap(l.nodes[i].record))
			}
			// What was taken last lent its memory to the topic.
			if held != l.bytes || l.bytes > l.bytesMax+1000 || len(l.index) > l.topicsMax {
				t.Fatalf("seed %d: %d bytes held, %d counted, %d allowed; %d topics", seed, held, l.bytes, l.bytesMax, len(l.index))
			}
		}
		if dropped == 0 && seed == 0 {
			t.Error("nothing was ever dropped: the test shows nothing")
		}
	}
}

// TestLatestTellBound: what is told is bounded, too.
func TestLatestTellBound(t *testing.T) {
	l := newLatest(1, 1<<20)
	for range toldMax {
		if !l.tell(func() {}) {
			t.Fatal("no room")
		}
	}
	if l.tell(func() {}) {
		t.Error("room for more")
	}
	var out taken
	for l.take(&out) {
	}
	if !l.tell(func() {}) {
		t.Error("no room again")
	}
}
