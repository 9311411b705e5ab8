package tape

import (
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// TestPrefetch: ranges of blocks inside, across and beyond segments can be asked
// for, and are read as they were.
func TestPrefetch(t *testing.T) {
	tp := mixedTape(t, Config{SyncInterval: -1}, 6000, 2, true)
	if len(tp.segments) < 2 {
		t.Fatalf("%d segments", len(tp.segments))
	}
	want := scanAll(t, tp)
	for _, r := range [][2]int{{0, tp.Blocks()}, {-5, 3}, {tp.Blocks() - 1, tp.Blocks() + 9}, {7, 7}, {9, 2}, {1, tp.Blocks() - 1}} {
		tp.Prefetch(r[0], r[1])
	}
	got := scanAll(t, tp)
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	if err := tp.Close(); err != nil {
		t.Fatal(err)
	}
	tp.Prefetch(0, tp.Blocks()) // says nothing
}

// TestReopen: the tape that is opened again has the same, and lives on its own.
func TestReopen(t *testing.T) {
	tp := mixedTape(t, Config{SyncInterval: -1}, 3000, 2, true)
	again, err := tp.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := tp.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(scanAll(t, again)); n != 3000 || again.Blocks() != tp.Blocks() {
		t.Errorf("%d records in %d blocks", n, again.Blocks())
	}
	if _, err := again.RecordsFrom(ReadConfig{}, again.Epochs()[0], wire.Ordinal(0)); err != nil {
		t.Error(err)
	}
}
