package tape

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// gateFS lets no block be written while its gate is shut.
type gateFS struct {
	fsys.FS
	gate atomic.Pointer[chan struct{}]
}

func (g *gateFS) shut() (open func()) {
	c := make(chan struct{})
	g.gate.Store(&c)
	return func() {
		g.gate.Store(nil)
		close(c)
	}
}

func (g *gateFS) Open(name string, mode fsys.Mode) (fsys.File, error) {
	f, err := g.FS.Open(name, mode)
	return &gateFile{f, g}, err
}

type gateFile struct {
	fsys.File
	g *gateFS
}

func (f *gateFile) WriteAt(b []byte, off int64) (int, error) {
	if c := f.g.gate.Load(); c != nil {
		<-*c
	}
	return f.File.WriteAt(b, off)
}

var _ io.WriterAt = (*gateFile)(nil)

// liveIs fails unless a tape that is being written has exactly what was sent.
func liveIs(t testing.TB, l *Live, all sent, epochs ...wire.Epoch) {
	t.Helper()
	extents := l.Extents()
	if want := all.spans(epochs...); !slices.Equal(extents, want) {
		t.Fatalf("extents %v, want %v", extents, want)
	}
	for _, x := range extents {
		for _, most := range []int{300, 0} {
			all.readAll(t, l, x, most)
		}
	}
}

// TestLive reads a tape at every stage: from open blocks, from blocks that wait
// for the disk, from the segment that is written to, from closed ones, and after
// the tape was closed and opened again.
func TestLive(t *testing.T) {
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			disk := &gateFS{FS: fsys.OS{}}
			cfg := Config{Shards: 3, Codec: codec, BlockSize: 2 << 10, SegmentSize: SegmentSizeMin, SyncInterval: -1, FS: disk}
			w, dir := create(t, cfg)
			l, all, g := w.Live(), sent{}, newGenerated(3, 1)
			if len(l.Extents()) != 0 {
				t.Error("an empty tape has extents")
			}
			more := func(n int) {
				t.Helper()
				all.add(write(t, w, g, n)...)
				liveIs(t, l, all, g.epoch)
			}
			for range 20 {
				more(3) // open blocks
			}
			g.seq[1] += 3
			g.next += 5
			more(1)
			unblock := disk.shut()
			for range 10 {
				more(10) // blocks on their way
			}
			if s := w.Stats(); s.Blocks != 0 {
				t.Errorf("%d blocks are written", s.Blocks)
			}
			unblock()
			for range 4 {
				more(2000) // closed segments
				if err := w.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			liveIs(t, l, all, g.epoch)
			if err := errors.Join(l.Close(), l.Close()); err != nil {
				t.Fatal(err)
			}
			if _, _, err := l.ReadSeq(t.Context(), g.epoch, 0, 0, 1, 0); !errors.Is(err, ErrClosed) {
				t.Errorf("read after Close: %v", err)
			}

			w, err := OpenAppend(dir, Config{BlockSize: 2 << 10, SegmentSize: SegmentSizeMin, SyncInterval: -1})
			if err != nil {
				t.Fatal(err)
			}
			l = w.Live()
			liveIs(t, l, all, g.epoch)
			more(100)
			first := g.epoch
			g.epoch, g.seq, g.next = 2, make([]wire.Seq, 3), 0
			all.add(write(t, w, g, 500)...)
			liveIs(t, l, all, first, g.epoch)
			if err := errors.Join(w.Close(), l.Close()); err != nil {
				t.Fatal(err)
			}
			tp := open(t, dir)
			if got, want := tp.Extents(), all.spans(first, g.epoch); !slices.Equal(got, want) {
				t.Errorf("the closed tape has %v, want %v", got, want)
			}
		})
	}
}

// The indexes of closed segments come back from the disk.
func TestLiveIndexes(t *testing.T) {
	w, _ := create(t, Config{Shards: 2, BlockSize: 2 << 10, SegmentSize: SegmentSizeMin, SyncInterval: -1})
	all := sent{}
	all.add(write(t, w, newGenerated(2, 1), 8000)...) // nobody reads yet
	l := w.Live()
	defer l.Close()
	liveIs(t, l, all, 7)
	c := l.catalog
	c.mu.Lock()
	indexed, segments := len(c.indexed), len(c.segments)
	for _, s := range c.indexed {
		s.index.entries, s.shards = nil, nil
	}
	c.indexed = nil
	c.mu.Unlock()
	if segments < 3 || indexed != segments-1 {
		t.Errorf("%d of %d indexes in memory", indexed, segments)
	}
	liveIs(t, l, all, 7)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// What an index takes in memory is bounded, one of them is kept.
func TestCatalogKeep(t *testing.T) {
	c := &catalog{}
	var list []*liveSegment
	for range 5 {
		s := &liveSegment{}
		s.index.entries, s.shards = make([]byte, liveIndexMax/2), []shardBlocks{}
		list = append(list, s)
		c.keep(s)
	}
	c.keep(list[3])
	if len(c.indexed) != 2 || c.indexed[1] != list[3] || list[0].shards != nil || list[4].shards == nil {
		t.Errorf("%d kept", len(c.indexed))
	}
	huge := &liveSegment{}
	huge.index.entries = make([]byte, 2*liveIndexMax)
	if c.keep(huge); len(c.indexed) != 1 || c.indexed[0] != huge {
		t.Errorf("%d kept", len(c.indexed))
	}
}

// TestLiveMissing asks for what is not there, at every stage.
func TestLiveMissing(t *testing.T) {
	for _, sync := range []bool{false, true} {
		w, _ := create(t, Config{Shards: 2, SyncInterval: -1})
		l := w.Live()
		step := func() {
			t.Helper()
			if !sync {
				return
			}
			if err := w.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := l.ReadSeq(t.Context(), 7, 0, 0, 1, 0); !errors.Is(err, ErrUnknownEpoch) {
			t.Errorf("empty: %v", err)
		}
		g := newGenerated(1, 1)
		write(t, w, g, 10)
		step()
		g.seq[0] += 5
		write(t, w, g, 5)
		step()
		g.epoch, g.seq[0] = 8, 0
		write(t, w, g, 3)
		step()
		missingCases(t, l)
		if err := errors.Join(w.Close(), l.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// Last values are told from a loss at every stage.
func TestLiveLastValues(t *testing.T) {
	disk := &gateFS{FS: fsys.NewMem()}
	w, err := Create(memDir, Config{SyncInterval: -1, FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	l := w.Live()
	check := func(stage string) {
		t.Helper()
		_, _, err := l.ReadSeq(t.Context(), 9, 0, 6, 7, 0)
		var e *SeqError
		if !errors.As(err, &e) || !errors.Is(err, ErrGone) || e.To != 9 || !e.LastValues {
			t.Errorf("%s: %v", stage, err)
		}
	}
	appendPart(t, w, 9, 0, 5, false)
	appendPart(t, w, 9, 5, 9, true)
	appendPart(t, w, 9, 9, 12, false)
	check("open")
	gate := disk.shut()
	if err := w.EndBlock(0); err != nil {
		t.Fatal(err)
	}
	check("on its way")
	gate()
	if err := w.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("written")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	check("closed")
	l.Close()
}

// What a reader got from an open block, or one on its way, stays as it was while
// the writer goes on.
func TestLiveBatchesStay(t *testing.T) {
	w, _ := create(t, Config{Codec: CodecPlain, BlockSize: 1 << 10, SegmentSize: SegmentSizeMin, SyncInterval: -1})
	l, g, all := w.Live(), newGenerated(1, 1), sent{}
	type held struct {
		b       wire.Batch
		release func()
	}
	var list []held
	for range 3000 {
		p := write(t, w, g, 1)
		all.add(p...)
		at := p[0].at
		b, release, err := l.ReadSeq(t.Context(), at.Epoch, 0, at.Seq-at.Seq%5, at.Seq+1, 0)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, held{b, release})
	}
	if err := errors.Join(w.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	for _, h := range list {
		b, err := wire.ParseBatch(wire.AppendHeader(nil, &h.b.Header), h.b.Payload, h.b.Order)
		if err != nil {
			t.Fatal(err)
		}
		for walk := b.Records(); walk.Next(); {
			if want := all[stream{7, 0}][walk.Seq()].rec; !bytes.Equal(walk.Record(), want) {
				t.Fatalf("sequence %d changed", walk.Seq())
			}
		}
		h.release()
	}
}

// TestLiveRetention: what retention removed is gone, and what a reader has of it
// stays valid.
func TestLiveRetention(t *testing.T) {
	cfg := retainConfig()
	w, err := Create(filepath.Join(t.TempDir(), "a.tape"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, g, all := w.Live(), newGenerated(3, 1), sent{}
	all.add(write(t, w, g, 500)...)
	if err := w.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, release, err := l.ReadSeq(t.Context(), 7, 0, 5, 100, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		all.add(write(t, w, g, 500)...)
		for _, x := range l.Extents() {
			if x.From == 0 {
				continue
			}
			var e *SeqError
			if _, _, err := l.ReadSeq(t.Context(), 7, x.Shard, 5, 6, 0); !errors.As(err, &e) || !errors.Is(err, ErrGone) || e.To < x.From {
				t.Fatalf("before %+v: %v", x, err)
			}
			all.readOne(t, l, stream{7, x.Shard}, x.From, x.To, 0) // may be gone by now
		}
	}
	if w.Stats().RemovedSegments < 5 || w.Stats().RetainHeld != "" {
		t.Errorf("%+v", w.Stats())
	}
	if err := errors.Join(w.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if b, err = wire.ParseBatch(wire.AppendHeader(nil, &b.Header), b.Payload, b.Order); err != nil {
		t.Fatal(err)
	}
	for walk := b.Records(); walk.Next(); {
		if !bytes.Equal(walk.Record(), all[stream{7, 0}][walk.Seq()].rec) {
			t.Fatalf("sequence %d changed", walk.Seq())
		}
	}
	release()

	// An epoch of which something was removed, and one that began afterwards, when
	// the tape is opened again.
	if w, err = OpenAppend(w.dir, Config{BlockSize: 1500, SegmentSize: SegmentSizeMin, SyncInterval: -1}); err != nil {
		t.Fatal(err)
	}
	l = w.Live()
	appendPart(t, w, 5, 0, 4, true)
	appendPart(t, w, 5, 4, 6, false)
	for _, sync := range []bool{false, true} {
		if sync {
			if err := w.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		var e *SeqError
		if _, _, err := l.ReadSeq(t.Context(), 5, 0, 0, 1, 0); !errors.As(err, &e) || !e.LastValues || e.To != 4 {
			t.Errorf("%v", err)
		}
		if _, _, err := l.ReadSeq(t.Context(), 7, 0, 0, 1, 0); !errors.As(err, &e) || e.LastValues || e.To == 0 {
			t.Errorf("%v", err)
		}
	}
	if err := errors.Join(w.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
}

// A segment whose files somebody removed is gone; the others are read.
func TestLiveFilesAreGone(t *testing.T) {
	w, dir := create(t, Config{BlockSize: 1500, SegmentSize: SegmentSizeMin, SyncInterval: -1})
	write(t, w, newGenerated(1, 1), 4000)
	if err := w.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{indexName(0), segmentName(1)} {
		if err := (fsys.OS{}).Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	l := w.Live()
	defer l.Close()
	second := l.catalog.shards[0].parts[1]
	for _, seq := range []wire.Seq{0, second.runs[0].from} {
		if _, _, err := l.ReadSeq(t.Context(), 7, 0, seq, seq+1, 0); !errors.Is(err, ErrGone) {
			t.Errorf("%d: %v", seq, err)
		}
	}
	if _, err := l.FindSpans(t.Context(), ClockEvent, wire.NanosMin); !errors.Is(err, ErrGone) {
		t.Errorf("find: %v", err)
	}
	third := second.to()
	_, release, err := l.ReadSeq(t.Context(), 7, 0, third, third+1, 0)
	if err != nil {
		t.Fatal(err)
	}
	release()
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.ReadSeq(t.Context(), 7, 0, third, third+1, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("after Abort: %v", err)
	}
}

// Records that a writer took and could not write give the reason.
func TestLiveAfterFailure(t *testing.T) {
	disk := &fsys.Fault{FS: fsys.NewMem()}
	w, err := Create(memDir, Config{SyncInterval: -1, FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	l, g, all := w.Live(), newGenerated(1, 1), sent{}
	all.add(write(t, w, g, 50)...)
	if err := w.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	disk.FailAt(1, 1, syscall.ENOSPC)
	all.add(write(t, w, g, 50)...)
	all.readAll(t, l, SeqSpan{7, 0, 50, 100}, 0) // still open
	if err := w.Sync(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if _, _, err := l.ReadSeq(t.Context(), 7, 0, 60, 61, 0); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want what stopped the writer", err)
	}
	all.readAll(t, l, SeqSpan{7, 0, 0, 50}, 0)
	if err := w.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("close: %v", err)
	}
	l.Close()
}
