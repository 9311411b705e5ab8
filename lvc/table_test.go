package lvc

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

func header(seq uint64) *wire.Plain {
	return &wire.Plain{Epoch: 1, Shards: 1, Seq: wire.Seq(seq), Kind: wire.KindQuote}
}

// model is what the table is held against: all of it, copied for every capture.
type model map[string]string

// modelled is a capture and what it must turn out to be.
type modelled struct {
	c    *capture
	want model
	got  model
}

func (m *modelled) step(t *testing.T, n int) bool {
	t.Helper()
	return m.c.next(n, func(e *entry, v *value) {
		if _, twice := m.got[e.topic]; twice {
			t.Fatalf("%s comes twice", e.topic)
		}
		m.got[e.topic] = fmt.Sprint(v.header.Seq, " ", string(v.body))
	})
}

// TestCaptures holds the table against a model: whatever happens between the
// slices of a capture, it is the table as it was at one moment. Merges happen at
// any time, and are done while the table goes on.
func TestCaptures(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		tab, now, open, work := newTable(1<<20, 1<<40), model{}, []*modelled(nil), (*merge)(nil)
		topics := []int{3, 30, 3000}[seed%3]
		name := func() string { return fmt.Sprintf("%c%c.%d", 'A'+r.IntN(2), 'A'+r.IntN(3), r.IntN(topics)) }
		finish := func(i int) {
			m := open[i]
			for m.step(t, 1+r.IntN(50)) {
			}
			if !maps.Equal(m.got, m.want) || m.c.total != len(m.want) {
				t.Fatalf("seed %d: a capture of %d topics has %d, want %d", seed, m.c.total, len(m.got), len(m.want))
			}
			m.c.close()
			open = append(open[:i], open[i+1:]...)
			for tab.settleSome(7) {
			}
			if len(open) == 0 && (tab.kept != 0 || len(tab.preserved) != 0) {
				t.Fatalf("seed %d: %d bytes of %d topics are kept for nobody", seed, tab.kept, len(tab.preserved))
			}
		}
		for seq := range uint64(4000) {
			topic := name()
			switch x := r.IntN(100); {
			case x < 80:
				body := strings.Repeat("b", r.IntN(20))
				if tab.put([]byte(topic), header(seq), []byte(body)) == nil {
					t.Fatal("refused")
				}
				now[topic] = fmt.Sprint(seq, " ", body)
			case x < 92:
				_, was := now[topic]
				if tab.remove([]byte(topic)) != was {
					t.Fatalf("seed %d: remove of %s, which was there: %v", seed, topic, was)
				}
				delete(now, topic)
			case x < 94 && len(open) < 5:
				prefixes := [][]string{nil, {""}, {"A"}, {"AB."}, {topic}, {"nothing"}, {"AA", "B", "BC.1"}}[r.IntN(7)]
				m := &modelled{c: tab.capture(prefixes...), want: model{}, got: model{}}
				for k, v := range now {
					for _, p := range distinct(prefixes) {
						if strings.HasPrefix(k, p) {
							m.want[k] = v
						}
					}
				}
				open = append(open, m)
			case x < 97 && len(open) > 0:
				open[r.IntN(len(open))].step(t, 1+r.IntN(20))
			case x < 98 && len(open) > 0:
				finish(r.IntN(len(open)))
			case work != nil:
				work.do()
				tab.index.take(work)
				work = nil
			default:
				work = tab.index.ready()
			}
		}
		for len(open) > 0 {
			finish(0)
		}
		if tab.len() != len(now) || tab.index.living != len(now) {
			t.Fatalf("seed %d: %d topics, want %d", seed, tab.len(), len(now))
		}
	}
}

// TestBounds: what does not fit is refused and counted, and never an old value in
// the place of the last.
func TestBounds(t *testing.T) {
	tab := newTable(2, 1<<20)
	for i, topic := range []string{"A", "B", "C", "A"} {
		e := tab.put([]byte(topic), header(uint64(i)), []byte("x"))
		if (e == nil) != (topic == "C") {
			t.Errorf("%s: %v", topic, e)
		}
	}
	if tab.len() != 2 || tab.refused != 1 || !tab.full() {
		t.Errorf("%d topics, %d refused", tab.len(), tab.refused)
	}
	if tab.remove([]byte("B")); tab.put([]byte("C"), header(5), nil) == nil {
		t.Error("no room where a topic was deleted")
	}

	tab = newTable(1<<20, 4*overhead)
	for _, topic := range []string{"A", "B"} {
		if tab.put([]byte(topic), header(1), make([]byte, 100)) == nil {
			t.Fatal("refused")
		}
	}
	c := tab.capture()
	if tab.put([]byte("A"), header(2), make([]byte, 3*overhead)) != nil || tab.find([]byte("A")) != nil || tab.evicted != 1 {
		t.Errorf("a value that does not fit is kept, or the one before it: %d evicted", tab.evicted)
	}
	n := 0
	for c.next(1, func(_ *entry, v *value) { n += len(v.body) }) {
	}
	if n != 200 {
		t.Errorf("an earlier capture has %d bytes, want 200", n)
	}
	c.close()
	for tab.settleSome(1) {
	}
	tab.remove([]byte("B"))
	if tab.bytes != 0 || tab.kept != 0 {
		t.Errorf("%d bytes, %d kept, of nothing", tab.bytes, tab.kept)
	}
}

// TestLostCapture: what is set aside for captures is bounded too; the oldest is
// given up.
func TestLostCapture(t *testing.T) {
	tab := newTable(1<<20, 1<<20)
	for i := range 100 {
		tab.put(fmt.Appendf(nil, "T%d", i), header(1), make([]byte, 1000))
	}
	var captures []*capture
	for round := uint64(0); len(captures) == 0 || !captures[0].lost; round++ {
		captures = append(captures, tab.capture())
		for i := range 100 {
			tab.put(fmt.Appendf(nil, "T%d", i), header(round), make([]byte, 1000))
		}
		if round > 20 {
			t.Fatal("what is kept has no bound")
		}
	}
	if captures[0].next(10, func(*entry, *value) { t.Error("a lost capture has values") }) {
		t.Error("a lost capture goes on")
	}
	last := captures[len(captures)-1]
	n := 0
	for last.next(10, func(*entry, *value) { n++ }) {
	}
	if n != 100 || last.lost || tab.kept > 1<<20 {
		t.Errorf("the newest has %d values; %d bytes are kept", n, tab.kept)
	}
}

// TestUpdateAlloc: a new value of a known topic takes no memory.
func TestUpdateAlloc(t *testing.T) {
	tab, topic, h, body := newTable(1<<20, 1<<40), []byte("XNAS.AAPL"), header(1), make([]byte, 100)
	if allocs := testing.AllocsPerRun(1000, func() { tab.put(topic, h, body) }); allocs != 0 {
		t.Errorf("%v allocations, want 0", allocs)
	}
}

func topicNames(n int) [][]byte {
	names := make([][]byte, n)
	for i := range names {
		names[i] = fmt.Appendf(nil, "SYNTH.%06d", i)
	}
	return names
}

func filled(names [][]byte, body int) *table {
	tab := newTable(1<<24, 1<<40)
	b := bytes.Repeat([]byte{1}, body)
	for i, name := range names {
		tab.put(name, header(uint64(i)), b)
		for m := tab.index.ready(); m != nil; m = tab.index.ready() {
			m.do()
			tab.index.take(m)
		}
	}
	tab.index.sort()
	return tab
}

// TestMemoryPerTopic holds the documented figure: what the table says it has is
// what it takes.
func TestMemoryPerTopic(t *testing.T) {
	const topics, body = 200_000, 64
	names := topicNames(topics)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	tab := filled(names, body)
	runtime.GC()
	runtime.ReadMemStats(&after)
	took := float64(after.HeapAlloc - before.HeapAlloc)
	said := float64(tab.bytes)
	t.Logf("%.0f bytes a topic beside topic and body; the table says %d", took/topics-body-float64(len(names[0])), overhead)
	if took > said || took < 0.7*said {
		t.Errorf("%d topics take %.0f bytes, the table says %.0f", topics, took, said)
	}
	runtime.KeepAlive(names)
}

func BenchmarkPut(b *testing.B) {
	for _, topics := range []int{1000, 100_000} {
		for _, capture := range []bool{false, true} {
			b.Run(fmt.Sprintf("topics=%d/capture=%v", topics, capture), func(b *testing.B) {
				names := topicNames(topics)
				tab, h, body := filled(names, 100), header(1), make([]byte, 100)
				r := rand.New(rand.NewPCG(1, 1))
				r.Shuffle(topics, func(i, j int) { names[i], names[j] = names[j], names[i] })
				if capture {
					defer tab.capture().close()
				}
				b.ReportAllocs()
				b.SetBytes(int64(len(body)))
				i := 0
				for b.Loop() {
					tab.put(names[i], h, body)
					if i++; i == topics {
						i = 0
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

// BenchmarkCapture is what a subscription costs: finding its topics, and walking
// them.
func BenchmarkCapture(b *testing.B) {
	names := topicNames(100_000)
	tab := filled(names, 100)
	for _, prefix := range []string{"SYNTH.000123", "SYNTH.000", ""} {
		b.Run(fmt.Sprintf("prefix=%q", prefix), func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n = 0
				c := tab.capture(prefix)
				for c.next(256, func(*entry, *value) { n++ }) {
				}
				c.close()
			}
			b.ReportMetric(float64(n), "topics")
		})
	}
}

// BenchmarkMerge is what the index costs beside the lock.
func BenchmarkMerge(b *testing.B) {
	names := topicNames(100_000)
	var even, odd []*entry
	for i, name := range names {
		e := &entry{topic: string(name)}
		if i%2 == 0 {
			even = append(even, e)
		} else {
			odd = append(odd, e)
		}
	}
	for b.Loop() {
		m := &merge{runs: [][]*entry{even, odd}}
		m.do()
	}
}
