package timeorder

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// placed is a record of an input, with its key.
type placed struct {
	key       wire.Nanos
	input, no int
}

// sorted is the order by the rule alone.
func sorted(inputs [][]wire.Nanos) (list []placed, back uint64) {
	for i, times := range inputs {
		key := wire.NanosMin
		for n, at := range times {
			if at < key {
				back++
			}
			key = max(key, at)
			list = append(list, placed{key, i, n})
		}
	}
	slices.SortStableFunc(list, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.input, b.input))
	})
	return list, back
}

func TestQueue(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 5000 {
		inputs := make([][]wire.Nanos, 1+rng.IntN(6))
		for i := range inputs {
			at := rng.IntN(5)
			for range rng.IntN(12) {
				at += rng.IntN(5) - 1 // ties, and times that go back
				inputs[i] = append(inputs[i], wire.Nanos(at))
			}
		}
		want, back := sorted(inputs)
		var (
			q    Queue
			next = make([]int, len(inputs))
			got  []placed
		)
		for _, i := range rng.Perm(len(inputs)) {
			if len(inputs[i]) > 0 {
				q.Add(i, inputs[i][0], wire.NanosMin)
			}
		}
		for q.Len() > 0 {
			i := q.Top()
			got = append(got, placed{q.Heads()[0].Key, i, next[i]})
			if next[i]++; next[i] < len(inputs[i]) {
				q.Next(inputs[i][next[i]])
			} else {
				q.End()
			}
		}
		if !slices.Equal(got, want) || q.Back() != back {
			t.Fatalf("%v: %v, %d back; want %v, %d", inputs, got, q.Back(), want, back)
		}
	}
}

// A queue that begins in the middle goes on as one that began at the start.
func TestQueueFrom(t *testing.T) {
	var q Queue
	q.Add(1, 5, 9)
	q.Add(0, 9, 3)
	if q.Top() != 0 || q.Back() != 1 {
		t.Fatalf("%+v", q)
	}
	q.Next(10)
	if q.Top() != 1 {
		t.Fatalf("%+v", q)
	}
	q.Next(11)
	if q.Top() != 0 {
		t.Fatalf("%+v", q)
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
		q.Add(i, wire.Nanos(i), wire.NanosMin)
	}
	at := wire.Nanos(0)
	for b.Loop() {
		at += 3
		q.Next(at)
	}
}
