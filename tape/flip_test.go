package tape

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// small makes a small closed tape of several segments and shards and returns
// its records.
func small(t testing.TB, dir string, codec Codec, records int) []placed {
	t.Helper()
	w, err := Create(dir, Config{Shards: 2, Codec: codec, BlockSize: 600, SegmentSize: SegmentSizeMin,
		SyncInterval: -1, Generator: "test", ID: ID{1, 2, 3}, Created: 1})
	if err != nil {
		t.Fatal(err)
	}
	all := write(t, w, newGenerated(2, 3), records)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

func verify(t testing.TB, dir string) Report {
	t.Helper()
	r, err := Verify(context.Background(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestVerifyWholeTape(t *testing.T) {
	for _, codec := range []Codec{CodecPlain, CodecS2, CodecZstd} {
		dir := filepath.Join(t.TempDir(), "a.tape")
		want := small(t, dir, codec, 4000)
		r := verify(t, dir)
		if !r.OK() || len(r.Warnings) != 0 || len(r.Gaps) != 0 || r.Records != uint64(len(want)) || !r.Closed {
			t.Errorf("%v: %+v", codec, r)
		}
	}
}

// Flip every byte of a small closed tape, one at a time: Verify must find it,
// say where in the right file, and nothing may panic.
func TestEveryFlippedByteIsFound(t *testing.T) {
	for _, codec := range []Codec{CodecPlain, CodecS2, CodecZstd} {
		t.Run(codec.String(), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a.tape")
			small(t, dir, codec, 25)
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				flipFile(t, dir, e.Name())
			}
		})
	}
}

func flipFile(t *testing.T, dir, name string) {
	path := filepath.Join(dir, name)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		damaged := append([]byte(nil), whole...)
		damaged[i] ^= 1 << (i % 8)
		if err := os.WriteFile(path, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		readAll(dir)
		r, err := Verify(context.Background(), dir, nil)
		if err != nil {
			// A manifest may be changed so that it claims a newer version.
			if name == manifestName && strings.Contains(err.Error(), "newer") {
				continue
			}
			t.Fatalf("%s, byte %d: %v", name, i, err)
		}
		if !names(&r, name, int64(i)) {
			t.Fatalf("%s: flipped byte %d of %d was not located: %+v", name, i, len(whole), r.Problems)
		}
	}
	if err := os.WriteFile(path, whole, 0o644); err != nil {
		t.Fatal(err)
	}
}

// names reports whether a problem names the file and, in a segment, a stretch
// that has the byte, and says what is affected.
func names(r *Report, name string, at int64) bool {
	for _, p := range r.Problems {
		if p.File != name || p.Affected == "" {
			continue
		}
		if !strings.HasSuffix(name, segmentSuffix) || p.Offset <= at && at < p.Offset+p.Bytes {
			return true
		}
	}
	return false
}

// readAll reads a damaged tape in every way; only the absence of panics counts.
func readAll(dir string) {
	tp, err := Open(dir)
	if err != nil {
		return
	}
	defer tp.Close()
	_, _ = tp.Info()
	_, _ = tp.Topics()
	_, _ = tp.Find(ClockEvent, wire.Nanos(1_700_000_000_000_010_000))
	_, _ = tp.FindSeq(7, 1, 3)
	r := tp.Records(ReadConfig{})
	defer r.Close()
	for r.Next() {
	}
}

func ExampleProblem() {
	p := Problem{File: "00000000.seg", Offset: 64, Reason: reasonStoredCRC, Affected: "block 0"}
	fmt.Println(p.String())
	// Output: 00000000.seg, offset 64: stored bytes' checksum differs; affected: block 0
}
