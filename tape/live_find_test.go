package tape

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// TestLiveFindSpans finds times at every stage, where they go back and forth.
func TestLiveFindSpans(t *testing.T) {
	for _, back := range []int{1, 3000, 5_000_000} {
		disk := &gateFS{FS: fsys.OS{}}
		dir := filepath.Join(t.TempDir(), "a.tape")
		w, err := Create(dir, Config{Shards: 3, BlockSize: 1500, SegmentSize: SegmentSizeMin, SyncInterval: -1, FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		l := w.Live()
		m := &mixed{rng: rand.New(rand.NewPCG(3, uint64(back))), epoch: 1 << 60, back: back}
		m.append(t, w, 2000)
		m.newEpoch()
		m.append(t, w, 2000)
		if err := w.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		gate := disk.shut()
		m.append(t, w, 150)
		type answer struct {
			c    Clock
			at   wire.Nanos
			list []SeqSpan
		}
		var answers []answer
		rng := rand.New(rand.NewPCG(2, 2))
		for range 150 {
			a := answer{c: Clock(rng.IntN(len(clockNames))), at: wire.Nanos(1_000_000_000 + rng.IntN(4_200_000))}
			if rng.IntN(10) == 0 {
				a.at = wire.NanosMin
			}
			if a.list, err = l.FindSpans(t.Context(), a.c, a.at); err != nil {
				t.Fatal(err)
			}
			answers = append(answers, a)
		}
		gate()
		if err := errors.Join(w.Close(), l.Close()); err != nil {
			t.Fatal(err)
		}
		// The blocks did not change: the tape must give the same answers.
		tp := open(t, dir)
		for _, a := range answers {
			if want, err := tp.FindSpans(t.Context(), a.c, a.at); err != nil || !slices.Equal(a.list, want) {
				t.Fatalf("back %d, %v %d: %v, the tape has %v, %v", back, a.c, a.at, a.list, want, err)
			}
		}
	}
}
