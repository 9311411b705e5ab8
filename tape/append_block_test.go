package tape

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// copyBlocks appends every block of a tape to another one.
func copyBlocks(t testing.TB, from *Tape, w *Writer, keep bool) {
	t.Helper()
	r := from.Reader(ReadConfig{})
	defer r.Close()
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = w.AppendBlock(b, keep)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A tape copied block by block keeps records, places and digest, whatever the
// codecs; with keep also the stored bytes.
func TestAppendBlock(t *testing.T) {
	for _, from := range codecs {
		for _, to := range codecs {
			for _, keep := range []bool{false, true} {
				disk := memTape(t, from, 3, 2000)
				src, err := OpenFS(disk, memDir)
				if err != nil {
					t.Fatal(err)
				}
				defer src.Close()
				w, err := Create("copy.tape", Config{Shards: 3, Codec: to, SyncInterval: -1, FS: disk})
				if err != nil {
					t.Fatal(err)
				}
				copyBlocks(t, src, w, keep)
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				sameTapes(t, disk, src, keep || from == to)
			}
		}
	}
}

func sameTapes(t *testing.T, disk fsys.FS, src *Tape, bytesToo bool) {
	t.Helper()
	dst, err := OpenFS(disk, "copy.tape")
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	a, _ := src.Info()
	b, _ := dst.Info()
	if a.Digest != b.Digest || a.Totals.Records != b.Totals.Records || a.Totals.Topics != b.Totals.Topics || a.Totals.LastReceive != b.Totals.LastReceive {
		t.Fatalf("%+v became %+v", a.Totals, b.Totals)
	}
	for n := range src.Blocks() {
		x, y := src.Block(n), dst.Block(n)
		if x.Epoch != y.Epoch || x.FirstSeq != y.FirstSeq || x.LastOrdinal != y.LastOrdinal || x.Send != y.Send || x.NoSend != y.NoSend {
			t.Fatalf("block %d: %+v became %+v", n, x, y)
		}
		if bytesToo && (x.Codec != y.Codec || x.StoredCRC != y.StoredCRC) {
			t.Fatalf("block %d: the stored bytes changed", n)
		}
	}
}

// A block whose header and records disagree is not carried on.
func TestAppendBlockRefuses(t *testing.T) {
	disk := memTape(t, CodecPlain, 1, 100)
	src, err := OpenFS(disk, memDir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	w, err := Create("copy.tape", Config{SyncInterval: -1, FS: disk, Temporary: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for name, change := range map[string]func(b *Block){
		"times":    func(b *Block) { b.Info.Event.Max++ },
		"ordinals": func(b *Block) { b.Info.LastOrdinal++ },
		"count":    func(b *Block) { b.Count++ },
		"payload":  func(b *Block) { b.Payload = bytes.Repeat([]byte{0}, len(b.Payload)) },
	} {
		b, err := src.ReadBlock(0, false)
		if err != nil {
			t.Fatal(err)
		}
		change(b)
		var corrupt *CorruptError
		if err := w.AppendBlock(b, true); !errors.As(err, &corrupt) {
			t.Errorf("%s: %v", name, err)
		}
		b.Release()
	}
	b, err := src.ReadBlock(1, false)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	if err := w.AppendBlock(b, true); err != nil {
		t.Fatal(err)
	}
	var order *OrderError
	if err := w.AppendBlock(b, true); !errors.As(err, &order) {
		t.Errorf("the same block again: %v", err)
	}
}

func TestEndBlock(t *testing.T) {
	disk := fsys.NewMem()
	w, err := Create(memDir, Config{SyncInterval: -1, FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	f := wire.Fields{Topic: []byte("T"), Body: []byte("b")}
	for i := range 6 {
		if err := w.AppendFields(At{Epoch: 1, Seq: wire.Seq(i), Ordinal: wire.Ordinal(i)}, &f); err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			if err := errors.Join(w.EndBlock(0), w.EndBlock(0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if rep := verified(t, disk); rep.Blocks != 3 || rep.Records != 6 {
		t.Errorf("%d records in %d blocks", rep.Records, rep.Blocks)
	}
	if err := w.EndBlock(1); !errors.Is(err, ErrShard) {
		t.Errorf("shard 1 of 1: %v", err)
	}
}
