package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/replay/merge"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// TestPlaySeveralRealFiles plays the tapes of all market data as one, by both clocks,
// and holds it against the tape that they are merged into: every record, byte for byte,
// and what follows any place.
func TestPlaySeveralRealFiles(t *testing.T) {
	dir := testdata.Dir(t)
	var (
		tapes []*tape.Tape
		names []string
	)
	for i, e := range readManifest(t, dir) {
		to := filepath.Join(t.TempDir(), fmt.Sprintf("%d.tape", i))
		mustRun(t, "import", filepath.Join(dir, filepath.FromSlash(e.File)), "-o", to, "--skip-bad", "--shards", fmt.Sprint(1+i%3))
		tp, err := tape.Open(to)
		if err != nil {
			t.Fatal(err)
		}
		defer tp.Close()
		tapes, names = append(tapes, tp), append(names, to)
	}
	for _, clock := range []tape.Clock{tape.ClockReceive, tape.ClockEvent} {
		t.Run(clock.String(), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "merged.tape")
			mustRun(t, slices.Concat([]string{"merge", "--clock", clock.String(), "-o", out}, names)...)
			merged, err := tape.Open(out)
			if err != nil {
				t.Fatal(err)
			}
			defer merged.Close()
			src, err := merge.New(tapes, clock)
			if err != nil {
				t.Fatal(err)
			}
			playsAs(t, src, merged, clock)
			seeksAs(t, src, replay.NewTapeSource(merged))
		})
	}
}

// playsAs plays a source, and holds it against a tape.
func playsAs(t *testing.T, src replay.Source, merged *tape.Tape, clock tape.Clock) {
	t.Helper()
	p, err := replay.New(replay.Config{Source: src, Shards: 1, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	want := merged.Records(tape.ReadConfig{})
	defer want.Close()
	n := 0
	for b, err := range p.Batches(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for w := b.Records(); w.Next(); n++ {
			if !want.Next() {
				t.Fatalf("more than %d records", n)
			}
			if !bytes.Equal(w.Record(), want.Record()) {
				t.Fatalf("record %d: %s #%d, want %s #%d", n, w.Record().Topic(), w.Record().TopicSeq(), want.Record().Topic(), want.Record().TopicSeq())
			}
		}
	}
	if want.Next() || want.Err() != nil || n == 0 {
		t.Fatalf("%d records, and not all of them (%v)", n, want.Err())
	}
}

// seeksAs goes to places of a source, and holds what is there against another one with
// the same records.
func seeksAs(t *testing.T, src, want replay.Source) {
	t.Helper()
	rng := rand.New(rand.NewPCG(6, 6))
	if src.Span() != want.Span() {
		t.Fatalf("%d places, want %d", src.Span(), want.Span())
	}
	for range 60 {
		from := wire.Ordinal(rng.Uint64N(uint64(src.Span())))
		a, err := src.Walk(tape.ReadConfig{}, from)
		if err != nil {
			t.Fatal(err)
		}
		b, err := want.Walk(tape.ReadConfig{}, from)
		if err != nil {
			t.Fatal(err)
		}
		var x, y replay.Item
		for n := 0; n < 200; n++ {
			more := b.Next(&y)
			if a.Next(&x) != more {
				t.Fatalf("place %d: the walk ends (%v) or does not, unlike the tape", from, a.Err())
			}
			if !more {
				break
			}
			if x.Place != y.Place || !bytes.Equal(x.Record, y.Record) {
				t.Fatalf("place %d: %s at %d, want %s at %d", from, x.Record.Topic(), x.Place, y.Record.Topic(), y.Place)
			}
		}
		found(t, src, want, y.Record.Event(), from)
		lastsAs(t, src, want, from)
		_, _ = a.Close(), b.Close() // they return nil
	}
}

// found finds a time by both clocks, from a place on.
func found(t *testing.T, src, want replay.Source, at wire.Nanos, from wire.Ordinal) {
	t.Helper()
	for _, c := range []tape.Clock{tape.ClockReceive, tape.ClockEvent} {
		a, errA := src.Find(c, at, from)
		b, errB := want.Find(c, at, from)
		if a != b || errA != nil || errB != nil {
			t.Fatalf("the first at or after %d by the %v clock from %d: %d, want %d (%v, %v)", at, c, from, a, b, errA, errB)
		}
	}
}

// lastsAs compares the last values before a place.
func lastsAs(t *testing.T, src, want replay.Source, place wire.Ordinal) {
	t.Helper()
	values := map[string]string{}
	for i, s := range []replay.Source{want, src} {
		w, err := s.WalkLast(place, nil)
		if err != nil {
			t.Fatal(err)
		}
		for {
			ok, err := w.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			topic := string(w.Record().Topic())
			if i == 0 {
				values[topic] = string(w.Record())
				continue
			}
			if values[topic] != string(w.Record()) {
				t.Fatalf("before %d: another last value of %s", place, topic)
			}
			delete(values, topic)
		}
		w.Close()
	}
	if len(values) > 0 {
		t.Fatalf("before %d: %d topics have no last value", place, len(values))
	}
}
