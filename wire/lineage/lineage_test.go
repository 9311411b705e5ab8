package lineage

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

func takesOver(previous wire.Epoch, next wire.Seq, before ...wire.SessionPlace) *wire.SessionStart {
	return &wire.SessionStart{Reason: wire.TakeoverReason, PreviousEpoch: previous, PreviousNext: next, Before: before}
}

func (b *Book) check(t *testing.T, epoch, other wire.Epoch, at int64, known bool) {
	t.Helper()
	if got, ok := b.Begins(epoch, other); got != at || ok != known {
		t.Errorf("epoch %d begins in %d at %d, %v; want %d, %v", epoch, other, got, ok, at, known)
	}
	if got, ok := b.Begins(other, epoch); got != -at || ok != known {
		t.Errorf("epoch %d begins in %d at %d, %v; want %d, %v", other, epoch, got, ok, -at, known)
	}
}

func TestBook(t *testing.T) {
	var b Book
	b.check(t, 7, 8, 0, false)
	b.Start(8, nil)
	b.Start(8, &wire.SessionStart{Reason: "seek", PreviousEpoch: 7, PreviousNext: 5})
	b.check(t, 8, 7, 0, false)
	if at, known := b.Begins(7, 7); at != 0 || !known {
		t.Error("an epoch does not begin in itself")
	}
	if _, known := b.Begins(0, 0); known {
		t.Error("there is an epoch 0")
	}

	b.Start(8, takesOver(7, 100))
	b.check(t, 8, 7, 100, true)
	b.Start(8, takesOver(7, 200)) // what was said first holds
	b.check(t, 8, 7, 100, true)
	b.Start(9, takesOver(7, 90)) // beside 8, which its publisher has not heard
	b.check(t, 9, 8, -10, true)
	b.Start(10, takesOver(8, 30))
	b.check(t, 10, 7, 130, true)
	b.check(t, 10, 9, 40, true)

	// Two plays become one.
	b.Start(21, takesOver(20, 3))
	b.check(t, 21, 10, 0, false)
	b.Start(22, takesOver(21, 4, wire.SessionPlace{Epoch: 9, Next: 50}))
	b.check(t, 22, 20, 7, true)
	b.check(t, 22, 7, 140, true)
	b.check(t, 20, 7, 133, true)

	if got, want := b.Before(10, 13, 3), []wire.SessionPlace{{Epoch: 22, Next: 3}, {Epoch: 9, Next: 53}, {Epoch: 21, Next: 7}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got, want := b.Before(9, 2, 8), []wire.SessionPlace{{Epoch: 7, Next: 92}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, p := range b.Before(8, 0, 8) { // which 22 and 10 begin behind
		if at, _ := b.Begins(8, p.Epoch); int64(p.Next) != at {
			t.Errorf("%+v, want %d", p, at)
		}
		if p.Epoch != 7 && p.Epoch != 9 {
			t.Errorf("%+v begins later", p)
		}
	}
}

// TestBookAgainstSource: epochs have places on one of three sources; whatever is said of
// them, in any order, is true, and so is what the book makes of it.
func TestBookAgainstSource(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 4))
		const epochs = 30
		type place struct {
			source int
			at     int64
		}
		places := make([]place, epochs+1)
		for i := range places {
			places[i] = place{rng.IntN(3), rng.Int64N(1000)}
		}
		joined := make([]int, epochs+1) // by hand: which are connected
		for i := range joined {
			joined[i] = i
		}
		var b Book
		for range 60 {
			x, y := 1+rng.IntN(epochs), 1+rng.IntN(epochs)
			if x == y || places[x].source != places[y].source {
				continue
			}
			b.Connect(wire.Epoch(x), wire.Epoch(y), places[x].at-places[y].at)
			from, to := joined[x], joined[y]
			for i := range joined {
				if joined[i] == from {
					joined[i] = to
				}
			}
		}
		for x := 1; x <= epochs; x++ {
			for y := 1; y <= epochs; y++ {
				at, known := b.Begins(wire.Epoch(x), wire.Epoch(y))
				if known != (joined[x] == joined[y]) || known && at != places[x].at-places[y].at {
					t.Fatalf("seed %d: %d in %d: %d, %v", seed, x, y, at, known)
				}
			}
		}
	}
}

// TestBookForgets: what was noted first goes first, and what is left stays true, also
// where a play's first epoch is gone.
func TestBookForgets(t *testing.T) {
	var b Book
	for i := range wire.Epoch(3 * Max) {
		b.Start(i+2, takesOver(i+1, 10))
		for back := wire.Epoch(1); back < min(Max, i+2); back++ {
			b.check(t, i+2, i+2-back, 10*int64(back), true)
		}
	}
	if len(b.list) != Max {
		t.Errorf("%d epochs", len(b.list))
	}
	b.check(t, 3*Max, 1, 0, false)
	b.Start(1, takesOver(5000, 1)) // a number that the play still has
	b.check(t, 1, 3*Max, 0, false)
	b.check(t, 1, 5000, 1, true)
	if places := b.Before(3*Max, 5, 16); len(places) != 16 || slices.ContainsFunc(places, func(p wire.SessionPlace) bool { return p.Epoch == 3*Max }) {
		t.Errorf("%v", places)
	}
}

func BenchmarkBookStart(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		var book Book
		for i := range wire.Epoch(8) {
			book.Start(i+2, takesOver(i+1, 10))
		}
	}
}
