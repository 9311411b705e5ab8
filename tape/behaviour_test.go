package tape

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

func create(t testing.TB, cfg Config) (*Writer, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a.tape")
	w, err := Create(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Abort() })
	return w, dir
}

func TestConfigIsRefusedNotClamped(t *testing.T) {
	for name, cfg := range map[string]Config{
		"shards below":  {Shards: -1},
		"shards above":  {Shards: ShardsMax + 1},
		"codec":         {Codec: 99},
		"block below":   {BlockSize: -1},
		"block above":   {BlockSize: BlockSizeMax + 1},
		"segment below": {SegmentSize: SegmentSizeMin - 1},
		"segment above": {SegmentSize: SegmentSizeMax + 1},
	} {
		dir := filepath.Join(t.TempDir(), "a.tape")
		if _, err := Create(dir, cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: a refused configuration left a directory", name)
		}
	}
}

func TestPlacesThatAreTaken(t *testing.T) {
	w, dir := create(t, Config{})
	if _, err := Create(dir, Config{}); !errors.Is(err, ErrExists) {
		t.Errorf("create over a tape: %v", err)
	}
	if _, err := OpenAppend(dir, Config{}); !errors.Is(err, ErrLocked) {
		t.Errorf("append while it is written: %v", err)
	}
	if _, err := Recover(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("recover while it is written: %v", err)
	}
	if _, err := Open(filepath.Dir(dir)); !errors.Is(err, ErrNotTape) {
		t.Errorf("open of a directory that is no tape: %v", err)
	}
	if _, err := Verify(context.Background(), dir, nil); !errors.Is(err, ErrLocked) {
		t.Errorf("verify while it is written: %v", err)
	}
	open(t, dir) // readers are not blocked
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenAppend(dir, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTemporaryHasNoNameUntilClosed(t *testing.T) {
	w, dir := create(t, Config{Temporary: true})
	write(t, w, newGenerated(1, 1), 10)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("before Close: %v", err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(left) != 0 {
		t.Errorf("after Abort there is %v, %v", left, err)
	}
	// What a killed import left is replaced.
	if err := os.MkdirAll(dir+TemporarySuffix, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir+TemporarySuffix, manifestName), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	w, err = Create(dir, Config{Temporary: true})
	if err != nil {
		t.Fatal(err)
	}
	want := write(t, w, newGenerated(1, 1), 10)
	if err := errors.Join(w.Close(), w.Close(), w.Abort()); err != nil {
		t.Fatal(err)
	}
	same(t, open(t, dir), want)
	if err := w.Append(At{Epoch: 7, Seq: 10, Ordinal: 10}, want[0].rec); !errors.Is(err, ErrClosed) {
		t.Errorf("append after Close: %v", err)
	}
	if err := w.Sync(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("sync after Close: %v", err)
	}
}

func TestEmptyTape(t *testing.T) {
	w, dir := create(t, Config{})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tp := open(t, dir)
	same(t, tp, nil)
	if info, err := tp.Info(); err != nil || info.Totals != (Totals{}) || !info.Closed {
		t.Errorf("info %+v, %v", info, err)
	}
	if p, err := tp.Find(ClockEvent, 0); err != nil || p.Block != 0 {
		t.Errorf("find %+v, %v", p, err)
	}
	if r := verify(t, dir); !r.OK() {
		t.Errorf("%+v", r)
	}
}

func TestRecordsThatDoNotFollowAreRefused(t *testing.T) {
	w, dir := create(t, Config{Shards: 2})
	_, rec := newGenerated(1, 1).record()
	ok := func(at At) {
		t.Helper()
		if err := w.Append(at, rec); err != nil {
			t.Fatalf("%+v: %v", at, err)
		}
	}
	bad := func(at At) {
		t.Helper()
		var order *OrderError
		if err := w.Append(at, rec); !errors.As(err, &order) {
			t.Errorf("%+v was taken: %v", at, err)
		}
	}
	ok(At{Epoch: 1, Seq: 5, Ordinal: 10})
	bad(At{Epoch: 1, Seq: 5, Ordinal: 11})  // sequence again
	bad(At{Epoch: 1, Seq: 6, Ordinal: 10})  // ordinal again
	bad(At{Epoch: 0, Seq: 6, Ordinal: 11})  // no epoch
	ok(At{Epoch: 1, Seq: 9, Ordinal: 20})   // a gap is a fact
	ok(At{Epoch: 2, Seq: 0, Ordinal: 0})    // a new epoch begins anew
	bad(At{Epoch: 1, Seq: 10, Ordinal: 21}) // an epoch does not come back
	ok(At{Shard: 1, Epoch: 1, Seq: 0, Ordinal: 1})
	if err := w.Append(At{Shard: 2, Epoch: 1}, rec); !errors.Is(err, ErrShard) {
		t.Errorf("shard 2 of 2: %v", err)
	}
	var format *wire.FormatError
	if err := w.Append(At{Epoch: 2, Seq: 1, Ordinal: 1}, rec[:10]); !errors.As(err, &format) {
		t.Errorf("half a record: %v", err)
	}
	if err := w.AppendFields(At{Epoch: 2, Seq: 1, Ordinal: 1}, &wire.Fields{}); !errors.Is(err, wire.ErrTopicSize) {
		t.Errorf("record without topic: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := verify(t, dir)
	if !r.OK() || r.Records != 4 || len(r.Gaps) != 1 || r.Gaps[0] != (Gap{Epoch: 1, Shard: 0, From: 6, To: 9}) {
		t.Errorf("%+v", r)
	}
	if got := open(t, dir).Epochs(); len(got) != 2 || got[0] != 1 || got[1] != 2 {
		t.Errorf("epochs %v", got)
	}
}

// Batches of any size, from several goroutines, come back as the records they
// held.
func TestAppendBatches(t *testing.T) {
	const shards, records = 3, 6000
	for _, most := range []int{1, 7, 400} {
		w, dir := create(t, Config{Shards: shards, BlockSize: 8 << 10})
		g := newGenerated(shards, 4)
		batches := make([][]*wire.Batch, shards)
		open1 := make([]*wire.Batch, shards)
		last := make([]wire.Ordinal, shards)
		rng := rand.New(rand.NewPCG(1, 2))
		var want []placed
		for range records {
			at, rec := g.record()
			b := open1[at.Shard]
			if b == nil {
				b = &wire.Batch{Header: wire.Header{Epoch: at.Epoch, Shard: uint16(at.Shard), Shards: shards, FirstSeq: at.Seq, FirstOrdinal: at.Ordinal, Send: 77}}
				open1[at.Shard] = b
				batches[at.Shard] = append(batches[at.Shard], b)
			} else {
				b.Order = wire.AppendOrder(b.Order, last[at.Shard], at.Ordinal)
			}
			last[at.Shard] = at.Ordinal
			b.Payload, b.Count = append(b.Payload, rec...), b.Count+1
			if rng.IntN(most) == 0 {
				open1[at.Shard] = nil
			}
			at.Send = 77
			want = append(want, placed{at, bytes.Clone(rec)})
		}
		var group sync.WaitGroup
		for shard := range shards {
			group.Go(func() {
				for _, b := range batches[shard] {
					if err := w.AppendBatch(b); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		if err := w.AppendBatch(&wire.Batch{Header: wire.Header{Flags: wire.FlagHeartbeat}}); err != nil {
			t.Errorf("heartbeat: %v", err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		tp := open(t, dir)
		same(t, tp, want)
		if r := verify(t, dir); !r.OK() {
			t.Errorf("%+v", r)
		}
		if blocks := tp.Blocks(); blocks > records*90/(8<<10)*2 {
			t.Errorf("batches of up to %d records: %d blocks: small batches do not share blocks", most, blocks)
		}
	}
}

func TestBadBatchIsRefusedWhole(t *testing.T) {
	w, dir := create(t, Config{})
	b := batchOf(t, benchFields(), 3)
	b.Payload = b.Payload[:len(b.Payload)-1]
	var format *wire.FormatError
	if err := w.AppendBatch(b); !errors.As(err, &format) {
		t.Errorf("cut batch: %v", err)
	}
	b = batchOf(t, benchFields(), 3)
	b.Order = []byte{0, 0, 0}
	var order *OrderError
	if err := w.AppendBatch(b); !errors.As(err, &order) {
		t.Errorf("order frame too long: %v", err)
	}
	if err := w.AppendBatch(batchOf(t, benchFields(), 3)); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, dir); !r.OK() || r.Records != 3 {
		t.Errorf("%+v", r)
	}
}

// A record has been synced when it is SyncInterval old, with nothing else
// happening.
func TestSyncInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 50 * time.Millisecond
		w, err := Create(memDir, Config{SyncInterval: interval, FS: fsys.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		g := newGenerated(1, 1)
		for n := uint64(1); n <= 3; n++ {
			write(t, w, g, 1)
			time.Sleep(interval - 1)
			synctest.Wait()
			if s := w.Stats(); s.SyncedRecords != n-1 {
				t.Errorf("%d records are synced before the interval is over", s.SyncedRecords)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if s := w.Stats(); s.SyncedRecords != n {
				t.Errorf("%d of %d records are synced after the interval", s.SyncedRecords, n)
			}
			if timed := w.SyncTimes().HDR().TotalCount(); uint64(timed) != w.Stats().Syncs || timed == 0 {
				t.Errorf("%d syncs were timed, want %d", timed, w.Stats().Syncs)
			}
		}
	})
}

func TestSyncIntervalBelowZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, err := Create(memDir, Config{SyncInterval: -1, FS: fsys.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		write(t, w, newGenerated(1, 1), 10)
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := w.Stats(); s.Records != 0 || s.Syncs != 0 {
			t.Errorf("written without being asked: %+v", s)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Retained blocks outlive reader and tape.
func TestRetain(t *testing.T) {
	for _, codec := range codecs {
		w, dir := create(t, Config{Codec: codec, BlockSize: 1000})
		want := write(t, w, newGenerated(1, 1), 200)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		tp := open(t, dir)
		r := tp.Reader(ReadConfig{})
		var kept []*Block
		for {
			b, err := r.Next()
			if err != nil {
				break
			}
			b.Retain()
			kept = append(kept, b)
		}
		if err := errors.Join(r.Close(), tp.Close()); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, b := range kept {
			for walk := b.Records(); walk.Next(); n++ {
				if !bytes.Equal(walk.Record(), want[n].rec) {
					t.Fatalf("%v: record %d changed", codec, n)
				}
			}
			b.Release()
		}
		if n != len(want) {
			t.Errorf("%v: %d records, want %d", codec, n, len(want))
		}
		if _, err := tp.ReadBlock(0, false); err == nil && len(kept) == 0 {
			t.Error("closed tape was read")
		}
	}
}

func TestReadAfterClose(t *testing.T) {
	w, dir := create(t, Config{})
	write(t, w, newGenerated(1, 1), 10)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tp := open(t, dir)
	if err := errors.Join(tp.Close(), tp.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := tp.Reader(ReadConfig{}).Next(); !errors.Is(err, ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}

// A tape can be opened at any moment while it is written; a reader then sees a
// prefix of each shard that never gets shorter.
func TestReadWhileWriting(t *testing.T) {
	w, dir := create(t, Config{BlockSize: 1000, SegmentSize: SegmentSizeMin, Codec: CodecPlain})
	const records = 20_000
	written := make(chan error, 1)
	go func() {
		g := newGenerated(1, 1)
		for range records {
			at, rec := g.record()
			if err := w.Append(at, rec); err != nil {
				written <- err
				return
			}
		}
		written <- w.Close()
	}()
	most, done := 0, false
	for !done {
		select {
		case err := <-written:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
		}
		tp, err := Open(dir)
		if err != nil {
			t.Fatalf("open while writing: %v", err)
		}
		if d := tp.Recovered().Damage; d != nil {
			t.Fatalf("a writer at work was taken for damage: %+v", d)
		}
		n := 0
		r := tp.Records(ReadConfig{})
		for ; r.Next(); n++ {
			if r.At().Seq != wire.Seq(n) {
				t.Fatalf("record %d has sequence %d", n, r.At().Seq)
			}
		}
		if r.Err() != nil || n < most {
			t.Fatalf("%d records after %d were seen; %v", n, most, r.Err())
		}
		if x := tp.Extents(); n > 0 && (len(x) != 1 || x[0] != SeqSpan{Epoch: 7, To: wire.Seq(n)}) {
			t.Fatalf("%d records, extents %v", n, x)
		}
		if _, _, err := tp.ReadSeq(t.Context(), 7, 0, wire.Seq(n), wire.Seq(n)+1, 0); n > 0 && !errors.Is(err, ErrNotYet) {
			t.Fatalf("what comes next: %v", err)
		}
		most = n
		r.Close()
		tp.Close()
	}
	if most != records {
		t.Errorf("%d records at the end", most)
	}
}

func TestTmpfsFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no right to mount a tmpfs: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(dir, "a.tape")
	w, err := Create(path, Config{Codec: CodecPlain, BlockSize: 16 << 10, SegmentSize: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	g := newGenerated(1, 1)
	synced := 0
	for n := 0; err == nil; n++ {
		at, rec := g.record()
		if err = w.Append(at, rec); err == nil && n%1000 == 999 {
			if err = w.Sync(context.Background()); err == nil {
				synced = n + 1
			}
		}
	}
	var write *WriteError
	if !errors.Is(err, syscall.ENOSPC) || !errors.As(err, &write) || write.File == "" {
		t.Errorf("the writer says %v", err)
	}
	if cerr := w.Close(); !errors.Is(cerr, syscall.ENOSPC) {
		t.Errorf("Close says %v", cerr)
	}
	tp, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := tp.Info()
	if err != nil || int(info.Totals.Records) < synced || synced == 0 {
		t.Errorf("%d records, %d were synced; %v", info.Totals.Records, synced, err)
	}
	tp.Close()
	if r := verify(t, path); !r.OK() {
		t.Errorf("%+v", r)
	}
}
