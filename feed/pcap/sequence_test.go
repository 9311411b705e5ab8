package pcap

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// admit gives a sequencer datagrams in the form line, seq, count and returns the
// numbers that it lets through.
func admit(q *Sequencer, steps ...[3]uint64) []uint64 {
	var out []uint64
	for _, s := range steps {
		for _, span := range q.Admit(uint32(s[0]), Stream{}, s[1], int(s[2])) {
			for i := span.From; i < span.To; i++ {
				out = append(out, s[1]+uint64(i))
			}
		}
	}
	return out
}

func TestSequencer(t *testing.T) {
	type step = [3]uint64
	for _, tt := range []struct {
		name   string
		merge  bool
		steps  []step
		want   []uint64
		totals Totals
	}{
		{"in order", false, []step{{0, 1, 2}, {0, 3, 1}, {0, 4, 0}, {0, 4, 1}}, []uint64{1, 2, 3, 4}, Totals{}},
		{"begins anywhere", false, []step{{0, 77, 2}, {0, 79, 1}}, []uint64{77, 78, 79}, Totals{}},
		{"gap", false, []step{{0, 5, 1}, {0, 9, 1}}, []uint64{5, 9}, Totals{Gaps: 1, Missing: 3}},
		{"gap by heartbeat", false, []step{{0, 5, 1}, {0, 9, 0}, {0, 9, 1}}, []uint64{5, 9}, Totals{Gaps: 1, Missing: 3}},
		{"late fills", false, []step{{0, 5, 1}, {0, 9, 1}, {0, 6, 3}}, []uint64{5, 9, 6, 7, 8}, Totals{Late: 3}},
		{"late fills the middle", false, []step{{0, 5, 1}, {0, 9, 1}, {0, 7, 1}}, []uint64{5, 9, 7},
			Totals{Late: 1, Gaps: 2, Missing: 2}},
		{"repeated, kept", false, []step{{0, 5, 2}, {0, 5, 2}, {0, 7, 1}}, []uint64{5, 6, 5, 6, 7}, Totals{Repeated: 2}},
		{"repeated, merged", true, []step{{0, 5, 2}, {0, 5, 2}, {0, 7, 1}}, []uint64{5, 6, 7}, Totals{Repeated: 2}},
		{"first repeated is no restart", true, []step{{0, 1, 2}, {0, 1, 2}, {0, 3, 1}}, []uint64{1, 2, 3}, Totals{Repeated: 2}},
		{"two lines kept", false, []step{{0, 1, 1}, {1, 1, 1}, {1, 2, 1}, {0, 2, 1}}, []uint64{1, 1, 2, 2}, Totals{}},
		{"two lines merged", true, []step{{0, 1, 1}, {1, 1, 1}, {1, 2, 1}, {0, 2, 1}}, []uint64{1, 2}, Totals{Repeated: 2}},
		{"other line fills", true, []step{{0, 1, 1}, {1, 1, 1}, {0, 4, 1}, {1, 2, 1}, {1, 3, 1}, {1, 4, 1}},
			[]uint64{1, 4, 2, 3}, Totals{Repeated: 2, Late: 2}},
		{"cut otherwise", true, []step{{0, 1, 3}, {1, 1, 2}, {1, 3, 4}, {0, 4, 3}}, []uint64{1, 2, 3, 4, 5, 6}, Totals{Repeated: 6}},
		{"second line begins earlier", true, []step{{0, 10, 1}, {1, 7, 2}, {1, 9, 3}}, []uint64{10, 7, 8, 9, 11},
			Totals{Late: 3, Repeated: 1}},
		{"restart", false, []step{{0, 5, 2}, {0, 1, 1}, {0, 2, 1}}, []uint64{5, 6, 1, 2}, Totals{Restarts: 1}},
		{"restart at 0", false, []step{{0, 5, 2}, {0, 0, 1}, {0, 1, 1}}, []uint64{5, 6, 0, 1}, Totals{Restarts: 1}},
		{"restart far back", false, []step{{0, 100_000, 1}, {0, 30, 1}, {0, 31, 1}}, []uint64{100_000, 30, 31}, Totals{Restarts: 1}},
		{"gap before a restart", false, []step{{0, 5, 1}, {0, 7, 1}, {0, 1, 1}}, []uint64{5, 7, 1},
			Totals{Restarts: 1, Gaps: 1, Missing: 1}},
		{"unsound numbers", true, []step{{0, math.MaxUint64, 2}, {0, math.MaxUint64, 2}},
			[]uint64{math.MaxUint64, 0, math.MaxUint64, 0}, Totals{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := NewSequencer(tt.merge)
			if got := admit(q, tt.steps...); !slices.Equal(got, tt.want) {
				t.Errorf("let %v through, want %v", got, tt.want)
			}
			if got := q.Totals(); got != tt.totals {
				t.Errorf("totals %+v, want %+v", got, tt.totals)
			}
		})
	}
}

// TestRestartOnTwoLines holds that a line which lags behind a restart of the other
// is followed in its own run, and meets the other again behind its own restart.
func TestRestartOnTwoLines(t *testing.T) {
	q := NewSequencer(true)
	got := admit(q, [3]uint64{0, 1, 2}, [3]uint64{1, 1, 2}, [3]uint64{0, 3, 2}, // 3 and 4 by line 0
		[3]uint64{0, 1, 2},                     // restart of line 0
		[3]uint64{1, 3, 2}, [3]uint64{1, 5, 1}, // line 1 is still before it: 5 is new
		[3]uint64{1, 1, 2}, [3]uint64{1, 3, 1}, // restart of line 1: 1 and 2 repeat
		[3]uint64{0, 3, 2})
	want := []uint64{1, 2, 3, 4, 1, 2, 5, 3, 4}
	if !slices.Equal(got, want) {
		t.Errorf("let %v through, want %v", got, want)
	}
	if got := q.Totals(); got != (Totals{Restarts: 2, Repeated: 7}) {
		t.Errorf("totals %+v", got)
	}
}

// TestManyHoles holds that holes beyond the limit count as missing for good.
func TestManyHoles(t *testing.T) {
	q := NewSequencer(true)
	const n = holesMax + 10
	for i := range uint64(n + 1) {
		admit(q, [3]uint64{0, 10 + 3*i, 1})
	}
	if got := q.Totals(); got.Gaps != n || got.Missing != 2*n {
		t.Errorf("totals %+v, want %d gaps", got, n)
	}
	if got := admit(q, [3]uint64{1, 11, 2}); len(got) != 0 {
		t.Errorf("a hole given up lets %v through", got)
	}
	if got := admit(q, [3]uint64{1, 10 + 3*(n-1) + 1, 2}); len(got) != 2 {
		t.Errorf("an open hole lets %v through", got)
	}
}

// TestManyStreams holds that forgetting keeps the counts.
func TestManyStreams(t *testing.T) {
	for _, merge := range []bool{false, true} {
		q := NewSequencer(merge)
		const n = tracksMax + 5
		for i := range n {
			s := Stream{byte(i), byte(i >> 8), byte(i >> 16)}
			q.Admit(0, s, 1, 1)
			q.Admit(0, s, 3, 1)
		}
		if got := q.Totals(); got.Gaps != n || got.Missing != n {
			t.Errorf("merge %v: totals %+v", merge, got)
		}
		if len(q.lines) > tracksMax || len(q.streams) > tracksMax || len(q.closed) > gapsTold {
			t.Errorf("merge %v: %d lines, %d streams, %d closed", merge, len(q.lines), len(q.streams), len(q.closed))
		}
	}
}

// TestMergeRandom holds the sequencer against a set: of any mixture of lines that
// lose, delay and cut otherwise, each number comes once.
func TestMergeRandom(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		q, seen := NewSequencer(true), map[uint64]bool{}
		next := []uint64{500, 500, 500}
		repeated := uint64(0)
		for range 2000 {
			line := rng.IntN(len(next))
			seq, count := next[line], rng.IntN(4)
			next[line] += uint64(count)
			if rng.IntN(10) == 0 {
				next[line] += uint64(rng.IntN(5)) // lost
			}
			if rng.IntN(10) == 0 {
				seq -= min(uint64(rng.IntN(20)), seq-400) // sent again
			}
			var want []Span
			for i := range count {
				if seen[seq+uint64(i)] {
					repeated++
					continue
				}
				seen[seq+uint64(i)] = true
				want = append(want, Span{i, i + 1})
			}
			got := q.Admit(uint32(line), Stream{}, seq, count)
			if a, b := flatten(got), flatten(want); a != b {
				t.Fatalf("seed %d: %d items from %d: %s, want %s", seed, count, seq, a, b)
			}
		}
		if q.Totals().Repeated != repeated {
			t.Fatalf("seed %d: %d repeated, want %d", seed, q.Totals().Repeated, repeated)
		}
	}
}

func flatten(spans []Span) string {
	var out []int
	for _, s := range spans {
		for i := s.From; i < s.To; i++ {
			out = append(out, i)
		}
	}
	return fmt.Sprint(out)
}

func TestNotes(t *testing.T) {
	q := NewSequencer(false)
	admit(q, [3]uint64{0, 5, 1}, [3]uint64{0, 9, 1}, [3]uint64{0, 9, 1}, [3]uint64{1, 2, 1}, [3]uint64{0, 1, 1}, [3]uint64{0, 3, 1})
	got := q.notes("messages", func(_ Stream, line uint32) string { return fmt.Sprintf("line %d", line) })
	want := []string{
		"sequence numbers of messages: 4 missing in 2 gaps, 1 repeated, numbering started again 1 time",
		"line 0: 2 to 2 missing", "line 0: 6 to 8 missing",
	}
	if !slices.Equal(got, want) {
		t.Errorf("notes %q, want %q", got, want)
	}
	if got := NewSequencer(false).notes("messages", nil); got != nil {
		t.Errorf("notes of nothing: %q", got)
	}
}
