package timeorder

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// placed is a record of an input.
type placed struct{ input, no int }

// sorted is the order by the rule alone.
func sorted(inputs [][]wire.Nanos) (list []placed, back uint64) {
	keys := map[placed]wire.Nanos{}
	for i, times := range inputs {
		key := wire.NanosMin
		for n, at := range times {
			if at < key {
				back++
			}
			key = max(key, at)
			list = append(list, placed{i, n})
			keys[placed{i, n}] = key
		}
	}
	slices.SortStableFunc(list, func(a, b placed) int { return cmp.Compare(keys[a], keys[b]) })
	return list, back
}

// anyInputs have times with ties, and some that go back.
func anyInputs(rng *rand.Rand) [][]wire.Nanos {
	inputs := make([][]wire.Nanos, 1+rng.IntN(6))
	for i := range inputs {
		at := rng.IntN(5)
		for range rng.IntN(12) {
			at += rng.IntN(5) - 1
			inputs[i] = append(inputs[i], wire.Nanos(at))
		}
	}
	return inputs
}

// follow returns the rest of the order, each input standing at its record next[i].
func follow(rng *rand.Rand, inputs [][]wire.Nanos, next []int, q *Queue) (got []placed) {
	for _, i := range rng.Perm(len(inputs)) {
		if next[i] < len(inputs[i]) {
			q.Add(i, inputs[i][next[i]])
		}
	}
	for q.Len() > 0 {
		i := q.Top()
		got = append(got, placed{i, next[i]})
		if next[i]++; next[i] < len(inputs[i]) {
			q.Next(inputs[i][next[i]])
		} else {
			q.End()
		}
	}
	return got
}

func TestQueue(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 5000 {
		inputs := anyInputs(rng)
		want, back := sorted(inputs)
		var q Queue
		if got := follow(rng, inputs, make([]int, len(inputs)), &q); !slices.Equal(got, want) || q.Back() != back {
			t.Fatalf("%v: %v, %d back; want %v, %d", inputs, got, q.Back(), want, back)
		}
	}
}

// A queue that begins in the middle goes on as one that began at the start.
func TestQueueFrom(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 5000 {
		inputs := anyInputs(rng)
		list, _ := sorted(inputs)
		if len(list) == 0 {
			continue
		}
		from := rng.IntN(len(list))
		next := make([]int, len(inputs))
		for _, p := range list[:from] {
			next[p.input] = p.no + 1
		}
		if got := follow(rng, inputs, next, &Queue{}); !slices.Equal(got, list[from:]) {
			t.Fatalf("%v from %d: %v, want %v", inputs, from, got, list[from:])
		}
	}
}

func TestTime(t *testing.T) {
	raw, err := wire.AppendRecord(nil, &wire.Fields{Topic: []byte("T"), Event: 1000, Receive: 2000})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		clock tape.Clock
		send  wire.Nanos
		want  wire.Nanos
	}{
		{tape.ClockReceive, 3000, 2000}, {tape.ClockEvent, 3000, 1000}, {tape.ClockSend, 3000, 3000}, {tape.ClockSend, 0, 2000},
	} {
		if got := Time(raw, c.clock, c.send); got != c.want {
			t.Errorf("%v, sent at %d: %d, want %d", c.clock, c.send, got, c.want)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	var q Queue
	for i := range 4 {
		q.Add(i, wire.Nanos(i))
	}
	at := wire.Nanos(0)
	for b.Loop() {
		at += 3
		q.Next(at)
	}
}
