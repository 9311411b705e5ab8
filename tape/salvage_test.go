package tape

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// salvaged returns the numbers of the first records of the blocks that a salvage
// gives, which are also stored in a new tape, and the report.
func salvaged(t *testing.T, disk fsys.FS) (firsts []uint64, rep Report, s *Salvage) {
	t.Helper()
	ctx := context.Background()
	s, err := OpenSalvageFS(ctx, disk, memDir)
	if err != nil {
		t.Fatal(err)
	}
	w, err := Create("out.tape", Config{Shards: s.Shards(), Codec: s.Codec(), SyncInterval: -1, FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	rep, err = s.Blocks(ctx, nil, func(b *Block) error {
		firsts = append(firsts, uint64(b.Info.FirstSeq))
		return w.AppendBlock(b, true)
	})
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	out, err := VerifyFS(ctx, disk, "out.tape", nil)
	if err != nil || !out.OK() || out.Blocks != len(firsts) {
		t.Fatalf("what was salvaged is not sound: %v %+v", err, out)
	}
	return firsts, rep, s
}

// firstSeqs returns the first sequences of a tape's blocks.
func firstSeqs(t *testing.T, disk fsys.FS) (list []uint64) {
	t.Helper()
	tp, err := OpenFS(disk, memDir)
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	for n := range tp.Blocks() {
		list = append(list, uint64(tp.Block(n).FirstSeq))
	}
	return list
}

func TestSalvage(t *testing.T) {
	remove := func(names ...string) func(t *testing.T, disk fsys.FS) {
		return func(t *testing.T, disk fsys.FS) {
			for _, name := range names {
				if err := disk.Remove(memDir + "/" + name); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	change := func(name string, at int) func(t *testing.T, disk fsys.FS) {
		return func(t *testing.T, disk fsys.FS) {
			b := slices.Clone(load(t, disk, name))
			b[at] ^= 0x10
			store(t, disk, name, b)
		}
	}
	all := func(f ...func(t *testing.T, disk fsys.FS)) func(t *testing.T, disk fsys.FS) {
		return func(t *testing.T, disk fsys.FS) {
			for _, f := range f {
				f(t, disk)
			}
		}
	}
	seg, idx := segmentName(0), indexName(0)
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, disk fsys.FS)
		lost   []int // blocks
	}{
		{"nothing", func(*testing.T, fsys.FS) {}, nil},
		{"manifest gone", remove(manifestName), nil},
		{"manifest changed", change(manifestName, 40), nil},
		{"manifest, topics and indexes gone", remove(manifestName, topicsName, idx), nil},
		{"block content", change(seg, SegmentHeaderSize+BlockHeaderSize+9), []int{0}},
		{"block header", change(seg, SegmentHeaderSize+40), []int{0}},
		{"block header and index", all(change(seg, SegmentHeaderSize+40), remove(idx)), []int{0}},
		{"segment header", change(seg, 20), nil},
		{"segment header and manifest", all(change(seg, 3), remove(manifestName)), nil},
		{"second block and manifest", all(remove(manifestName, idx), func(t *testing.T, disk fsys.FS) {
			change(seg, secondBlock(load(t, disk, seg))+7)(t, disk)
		}), []int{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := memTape(t, CodecS2, 2, 400)
			want := firstSeqs(t, disk)
			for _, n := range slices.Backward(c.lost) {
				want = slices.Delete(want, n, n+1)
			}
			c.damage(t, disk)
			before := snapshot(t, disk)
			got, rep, s := salvaged(t, disk)
			if !slices.Equal(got, want) {
				t.Errorf("blocks %v, want %v", got, want)
			}
			if rep.OK() != (c.name == "nothing") || s.Shards() != 2 {
				t.Errorf("report %+v, %d shards", rep.Problems, s.Shards())
			}
			unchanged(t, before, snapshot(t, disk))
		})
	}
}

// snapshot returns the content of every file of the tape.
func snapshot(t *testing.T, disk fsys.FS) map[string][]byte {
	t.Helper()
	list, err := disk.List(memDir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range list {
		files[e.Name] = slices.Clone(load(t, disk, e.Name))
	}
	return files
}

func unchanged(t *testing.T, before, after map[string][]byte) {
	t.Helper()
	if !maps.EqualFunc(before, after, bytes.Equal) {
		t.Error("the damaged tape was changed")
	}
}

// A segment that is another tape's is not taken for this one's.
func TestSalvageForeignSegment(t *testing.T) {
	disk := memTape(t, CodecPlain, 1, 3000)
	other := fsys.NewMem()
	w, err := Create(memDir, Config{Codec: CodecPlain, BlockSize: 600, SegmentSize: SegmentSizeMin, SyncInterval: -1, FS: other})
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, newGenerated(1, 3), 3000)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	store(t, disk, segmentName(1), load(t, other, segmentName(1)))
	tp, err := OpenFS(disk, memDir)
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	got, rep, _ := salvaged(t, disk)
	if want := tp.Blocks() - tp.segments[1].index.blocks(); len(got) != want || rep.OK() {
		t.Errorf("%d blocks, want %d; problems %+v", len(got), want, rep.Problems)
	}
}

// What a missing segment held is damage, not a gap of the recording.
func TestSalvageMissingSegment(t *testing.T) {
	disk := memTape(t, CodecPlain, 1, 3000)
	if err := disk.Remove(memDir + "/" + segmentName(1)); err != nil {
		t.Fatal(err)
	}
	_, rep, _ := salvaged(t, disk)
	if rep.OK() || len(rep.Gaps) != 0 {
		t.Errorf("problems %+v, gaps %+v", rep.Problems, rep.Gaps)
	}
}

func TestSalvageNothing(t *testing.T) {
	disk := fsys.NewMem()
	if err := disk.Mkdir(memDir); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSalvageFS(context.Background(), disk, memDir); !errors.Is(err, ErrNotTape) {
		t.Errorf("an empty directory: %v", err)
	}
	disk = fsys.NewMem()
	w, err := Create(memDir, Config{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s, err := OpenSalvageFS(context.Background(), disk, memDir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = s.Blocks(context.Background(), nil, nil); !errors.Is(err, ErrLocked) {
		t.Errorf("a tape that is written: %v", err)
	}
}

// Whatever a segment holds, what is salvaged of it makes a sound tape.
func FuzzSalvage(f *testing.F) {
	for _, codec := range codecs {
		f.Add(load(f, memTape(f, codec, 2, 12), segmentName(0)), true, false)
		f.Add(load(f, memTape(f, codec, 2, 12), segmentName(0)), false, true)
	}
	f.Fuzz(func(t *testing.T, seg []byte, seal, withManifest bool) {
		if seal {
			sealHeaders(seg)
		}
		disk := fsys.NewMem()
		if err := disk.Mkdir(memDir); err != nil {
			t.Fatal(err)
		}
		if withManifest {
			m := manifest{Version: 1, ID: ID{1, 2, 3}, Shards: 2, Codec: CodecS2}
			if err := writeManifest(disk, memDir, &m); err != nil {
				t.Fatal(err)
			}
		}
		store(t, disk, segmentName(0), seg)
		ctx := context.Background()
		s, err := OpenSalvageFS(ctx, disk, memDir)
		if err != nil {
			t.Fatal(err)
		}
		w, err := Create("out.tape", Config{Shards: s.Shards(), Codec: s.Codec(), SyncInterval: -1, FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		blocks := 0
		_, err = s.Blocks(ctx, nil, func(b *Block) error {
			err := w.AppendBlock(b, true)
			var order *OrderError
			if errors.As(err, &order) {
				return nil // blocks may come in any order there
			}
			if err == nil {
				blocks++
			}
			return err
		})
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		rep, err := VerifyFS(ctx, disk, "out.tape", nil)
		if err != nil || !rep.OK() || rep.Blocks != blocks {
			t.Fatalf("%d blocks were salvaged: %v %+v", blocks, err, rep)
		}
	})
}
