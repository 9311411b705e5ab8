package tape

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
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
	for _, codec := range codecs {
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
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			disk := memTape(t, codec, 2, 25)
			entries, err := disk.List(memDir)
			if err != nil || len(entries) < 4 {
				t.Fatal(entries, err)
			}
			for _, e := range entries {
				flipFile(t, disk, e.Name)
			}
		})
	}
}

func flipFile(t *testing.T, disk fsys.FS, name string) {
	whole := load(t, disk, name)
	f, err := disk.Open(memDir+"/"+name, fsys.Write)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	set := func(i int, b byte) {
		if _, err := f.WriteAt([]byte{b}, int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < len(whole); i += stride(31) {
		set(i, whole[i]^1<<(i%8))
		readAll(disk)
		r, err := VerifyFS(context.Background(), disk, memDir, nil)
		if err != nil {
			// A flip can make the manifest claim a newer version: that is refused.
			if name == manifestName && errors.Is(err, ErrVersion) {
				set(i, whole[i])
				continue
			}
			t.Fatalf("%s, byte %d: %v", name, i, err)
		}
		if !names(&r, name, int64(i)) {
			t.Fatalf("%s: flipped byte %d of %d was not located: %+v", name, i, len(whole), r.Problems)
		}
		set(i, whole[i])
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
func readAll(disk fsys.FS) {
	tp, err := OpenFS(disk, memDir)
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
