package tape

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// referenceTape writes a tape of several segments in a directory of the machine.
func referenceTape(t *testing.T, dir string, codec Codec) *Tape {
	t.Helper()
	w, err := Create(dir, Config{Codec: codec, BlockSize: 4 << 10, SegmentSize: SegmentSizeMin, SyncInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 1000)
	for n := range 3 * SegmentSizeMin / len(body) {
		at := At{Epoch: 1, Seq: wire.Seq(n), Ordinal: wire.Ordinal(n), Send: 1}
		if err := w.AppendFields(at, &wire.Fields{Topic: []byte("T"), Body: body, Event: 1, Receive: 2, TopicSeq: uint32(n)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tp.Close() })
	return tp
}

func placeOf(t *testing.T, dir string) wire.TapePlace {
	t.Helper()
	at, err := Place(dir)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestReferences: another opening of the tape finds every block by its reference,
// also when the tape has been removed meanwhile.
func TestReferences(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a.tape")
	tp := referenceTape(t, dir, CodecPlain)
	r, err := OpenReferences(tp.meta.ID.String(), placeOf(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if len(tp.segments) < 3 {
		t.Fatalf("%d segments", len(tp.segments))
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for n := range tp.Blocks() {
		// Of the player's tape the segments that it has not read are gone.
		info := tp.Block(n)
		b := Block{tape: tp, Info: info, mapping: r.segments[info.Segment]}
		ref, ok := b.Reference()
		if !ok {
			t.Fatal("a plain block has no reference")
		}
		h := info.batch(make([]byte, info.RawSize()), tp.Shards()).Header
		h.Flags, h.PayloadSize, h.OrderSize = wire.FlagReference, info.PayloadSize, info.OrderSize
		got, err := h.Resolve(r.Bytes(&ref, info.RawSize()))
		if err != nil || got.Check() != nil {
			t.Fatalf("block %d: %v, %v", n, err, got.Check())
		}
	}
}

func TestReferencesElsewhere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a.tape")
	tp := referenceTape(t, dir, CodecPlain)
	id, at := tp.meta.ID.String(), placeOf(t, dir)
	if !filepath.IsAbs(at.Path) {
		t.Errorf("path %s", at.Path)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		id     string
		change func(*wire.TapePlace)
		is     error
	}{
		"another host":      {id, func(p *wire.TapePlace) { p.Host = "x" + p.Host }, ErrElsewhere},
		"no host":           {id, func(p *wire.TapePlace) { p.Host = "" }, ErrElsewhere},
		"another identity":  {strings.Repeat("0", 32), func(*wire.TapePlace) {}, ErrElsewhere},
		"another directory": {id, func(p *wire.TapePlace) { p.Path = t.TempDir() }, ErrElsewhere},
		"no directory":      {id, func(p *wire.TapePlace) { p.Path += "-gone" }, os.ErrNotExist},
		"a relative path":   {id, func(p *wire.TapePlace) { p.Path = "a.tape" }, os.ErrNotExist},
		"through a link":    {id, func(p *wire.TapePlace) { p.Path = link }, nil}, // the same files
	} {
		other := at
		tc.change(&other)
		r, err := OpenReferences(tc.id, other)
		if err == nil {
			if err := r.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if !errors.Is(err, tc.is) {
			t.Errorf("%s: got %v, want %v", name, err, tc.is)
		}
	}
	// A segment that is missing is missed before anything refers to it.
	if err := os.Remove(filepath.Join(dir, segmentName(1))); err != nil {
		t.Fatal(err)
	}
	if r, err := OpenReferences(id, at); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a segment is missing: %v, %v", r, err)
	}
}

// TestReferencesOutside: what lies outside the tape's blocks is not given out.
func TestReferencesOutside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a.tape")
	tp := referenceTape(t, dir, CodecPlain)
	r, err := OpenReferences(tp.meta.ID.String(), placeOf(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	end := uint64(len(r.segments[0].data))
	for name, tc := range map[string]struct {
		id      ID
		segment uint32
		offset  uint64
		size    int
		ok      bool
	}{
		"first bytes":        {tp.meta.ID, 0, 0, 64, true},
		"last byte":          {tp.meta.ID, 0, end - 1, 1, true},
		"nothing at the end": {tp.meta.ID, 0, end, 0, true},
		"beyond the end":     {tp.meta.ID, 0, end, 1, false},
		"over the end":       {tp.meta.ID, 0, end - 1, 2, false},
		"far beyond":         {tp.meta.ID, 0, math.MaxUint64, 1, false},
		"wraps":              {tp.meta.ID, 0, math.MaxUint64 - 10, math.MaxInt, false},
		"negative size":      {tp.meta.ID, 0, 64, -1, false},
		"no such segment":    {tp.meta.ID, uint32(len(r.segments)), 64, 1, false},
		"last segment":       {tp.meta.ID, math.MaxUint32, 64, 1, false},
		"another tape":       {ID{1}, 0, 64, 1, false},
	} {
		b := r.Bytes(&wire.Reference{Tape: tc.id, Segment: tc.segment, Offset: tc.offset}, tc.size)
		if (b != nil) != tc.ok || b != nil && len(b) != tc.size {
			t.Errorf("%s: %d bytes, nil %v", name, len(b), b == nil)
		}
	}
	at := wire.Reference{Tape: tp.meta.ID, Offset: 64}
	if n := testing.AllocsPerRun(100, func() { r.Bytes(&at, 10) }); n != 0 {
		t.Errorf("a lookup allocates %v times", n)
	}
}

// TestCompressedBlockHasNoReference: what was decoded lies in this process alone.
func TestCompressedBlockHasNoReference(t *testing.T) {
	tp := referenceTape(t, filepath.Join(t.TempDir(), "a.tape"), CodecZstd)
	b, err := tp.ReadBlock(0, false)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	if _, ok := b.Reference(); ok {
		t.Error("a decoded block has a reference")
	}
}
