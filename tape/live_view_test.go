package tape

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// TestLiveTape: a view of a tape that is being written has all that was appended
// before, with last values as of any time, whatever the writer does then.
func TestLiveTape(t *testing.T) {
	cfg := retainConfig()
	for _, keep := range []int64{0, 6 * SegmentSizeMin} {
		cfg.Retain.Size = keep
		w, err := Create(filepath.Join(t.TempDir(), "a.tape"), cfg)
		if err != nil {
			t.Fatal(err)
		}
		m := &mixed{rng: rand.New(rand.NewPCG(3, 3)), epoch: 1 << 60, back: 2000}
		l := w.Live()
		empty, err := l.Tape(t.Context())
		if err != nil || empty.Blocks() != 0 {
			t.Fatalf("empty: %v", err)
		}
		empty.Close()
		for range 4 {
			m.append(t, w, 4000)
			v, err := l.Tape(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			m.append(t, w, 1000)
			checkView(t, v, uint64(m.count)-1000)
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if s := w.Stats(); keep > 0 && s.RemovedSegments == 0 {
			t.Errorf("%+v", s)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		v, err := l.Tape(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		checkView(t, v, uint64(m.count))
		if err := errors.Join(v.Close(), l.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Tape(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// checkView holds a view against its own records.
func checkView(t *testing.T, v *Tape, records uint64) {
	t.Helper()
	info, err := v.Info()
	if err != nil || info.Removed.Records+info.Totals.Records != records {
		t.Fatalf("%d records and %d removed, want %d; %v", info.Totals.Records, info.Removed.Records, records, err)
	}
	all := scanAll(t, v)
	if uint64(len(all)) != info.Totals.Records {
		t.Errorf("%d records, want %d", len(all), info.Totals.Records)
	}
	if info.Removed.Records > 0 {
		l, err := v.LastBefore(t.Context(), Position{Block: v.Blocks()}, nil)
		if err != nil || l.Len() == 0 || l.Stats().Keyframe < 0 {
			t.Errorf("%d last values, %+v, %v", l.Len(), l.Stats(), err)
		}
		return
	}
	for _, at := range []wire.Nanos{all[len(all)/3].rec.Receive(), all[len(all)-1].rec.Receive(), wire.NanosMax} {
		l, err := v.Last(t.Context(), LastConfig{At: at})
		sameLast(t, at.String(), l, err, bruteLast(all, atClock(ClockReceive, at)))
	}
}
