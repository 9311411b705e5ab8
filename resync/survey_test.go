package resync

import (
	"slices"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// TestMerge: what several servers have, as one.
func TestMerge(t *testing.T) {
	shows := func(epochs ...wire.Epoch) func(wire.Epoch) bool {
		return func(e wire.Epoch) bool { return slices.Contains(epochs, e) }
	}
	for _, tc := range []struct {
		name  string
		shows func(wire.Epoch) bool
		lists [][]Span
		want  []Span
	}{
		{"none", shows(), nil, nil},
		{"one, as it is", shows(7), [][]Span{{{7, 1, 0, 9}, {7, 0, 0, 8}}}, []Span{{7, 1, 0, 9}, {7, 0, 0, 8}}},
		{"one that came late", shows(8), [][]Span{{{8, 0, 50, 90}}, {{7, 0, 0, 20}, {8, 0, 0, 80}}}, []Span{{7, 0, 0, 20}, {8, 0, 0, 90}}},
		{"holes in both", shows(8), [][]Span{{{8, 0, 0, 10}, {8, 0, 30, 40}}, {{8, 0, 5, 20}, {8, 0, 60, 70}}}, []Span{{8, 0, 0, 20}, {8, 0, 30, 40}, {8, 0, 60, 70}}},
		{"several shards", shows(8), [][]Span{{{8, 0, 3, 10}, {8, 1, 0, 5}}, {{8, 0, 0, 9}, {8, 1, 2, 7}}}, []Span{{8, 0, 0, 10}, {8, 1, 0, 7}}},
		{"an order that the numbers do not say", shows(3), [][]Span{{{9, 0, 0, 5}, {3, 0, 0, 5}}, {{3, 0, 2, 7}}}, []Span{{9, 0, 0, 5}, {3, 0, 0, 7}}},
		{"another stream", shows(8), [][]Span{{{100, 0, 0, 5}}, {{8, 0, 0, 5}}, {}}, []Span{{8, 0, 0, 5}}},
		{"one that knows another one's past", shows(8), [][]Span{{{6, 0, 0, 5}, {7, 0, 0, 5}}, {{8, 0, 0, 5}}, {{7, 0, 0, 9}, {8, 0, 0, 3}}},
			[]Span{{6, 0, 0, 5}, {7, 0, 0, 9}, {8, 0, 0, 5}}},
		{"nothing is shown: the first that has anything", shows(), [][]Span{{}, {{7, 0, 0, 5}}, {{8, 0, 0, 5}}, {{7, 0, 3, 6}}}, []Span{{7, 0, 0, 6}}},
	} {
		if got := merge(tc.lists, tc.shows); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// TestFromTimeAtSeveral: of the servers one has nothing, one has come late, one is of
// another stream, and one has everything: the reader begins where that says,
// whichever comes first in the list.
func TestFromTimeAtSeveral(t *testing.T) {
	all, late, other, empty := newHistory(1), newHistory(1), newHistory(1), newHistory(1)
	servers := []*testServer{startServer(t, empty), startServer(t, late), startServer(t, other), startServer(t, all)}
	l := &live{h: &Healer{shards: make([]*mender, 1)}, epoch: 7, kept: all}
	l.lose(20)
	b := l.batch(10)
	late.add(b)
	other.add(numbered(6, 0, 1, 0, 10, 16))
	l.seen = l.next
	k := newSink()
	h := startHealer(t, HealerConfig{Client: startClient(t, ClientConfig{}, servers...),
		Start: Start{From: 7e6 + 5, Clock: "event"}, Backoff: time.Millisecond}, k)
	l.h = h
	_ = l.send(10)
	l.end()
	settle(t, h)
	k.got(t, "shard 0 epoch 7 from 5", "shard 0 epoch 7 end at 40 complete true")
	if by := h.Refilled(); by[1]+by[3] != 25 || by[3] < 15 {
		t.Errorf("refilled by server: %v", by)
	}
}
