package tape

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// scenario writes a tape until something fails: two sessions, the second one
// appending, with syncs in between. It returns the records that were accepted
// and how many of them a Sync or Close had acknowledged.
type scenario struct {
	all    []placed
	synced int
	gen    *generated
}

func (s *scenario) run(fsx fsys.FS, codec Codec) error {
	s.gen = newGenerated(2, 9)
	cfg := Config{Shards: 2, Codec: codec, BlockSize: 2000, SegmentSize: SegmentSizeMin, SyncInterval: SyncIntervalDefault * 1000, FS: fsx}
	w, err := Create("t.tape", cfg)
	if err != nil {
		return err
	}
	if err := s.session(w); err != nil {
		return errors.Join(err, w.Abort())
	}
	cfg.Shards = 0
	w, err = OpenAppend("t.tape", cfg)
	if err != nil {
		return err
	}
	if err := s.session(w); err != nil {
		return errors.Join(err, w.Abort())
	}
	return nil
}

func (s *scenario) session(w *Writer) error {
	for i := range 900 {
		at, rec := s.gen.record()
		// Taken as written before the call: a crash may keep what was not acknowledged.
		s.all = append(s.all, placed{at, append([]byte(nil), rec...)})
		if err := w.Append(at, rec); err != nil {
			return err
		}
		if i%200 == 199 {
			if err := w.Sync(context.Background()); err != nil {
				return err
			}
			s.synced = len(s.all)
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	s.synced = len(s.all)
	return nil
}

// kept fails unless the tape has a prefix of what was appended on each shard,
// with everything that was synced, and returns how many records it has.
func (s *scenario) kept(t *testing.T, fsx fsys.FS, what string) int {
	t.Helper()
	tp, err := OpenFS(fsx, "t.tape")
	if errors.Is(err, ErrNotTape) && s.synced == 0 {
		return 0
	}
	if err != nil {
		t.Fatalf("%s: open: %v", what, err)
	}
	defer tp.Close()
	if d := tp.Recovered().Damage; d != nil {
		t.Fatalf("%s: a crash was taken for damage: %+v", what, d)
	}
	next := [2]int{}
	byShard := [2][]placed{}
	acknowledged := [2]int{}
	for i, p := range s.all {
		byShard[p.at.Shard] = append(byShard[p.at.Shard], p)
		if i < s.synced {
			acknowledged[p.at.Shard]++
		}
	}
	r := tp.Records(ReadConfig{})
	defer r.Close()
	for r.Next() {
		shard := r.At().Shard
		if next[shard] >= len(byShard[shard]) {
			t.Fatalf("%s: more records than were appended", what)
		}
		want := byShard[shard][next[shard]]
		if r.At() != want.at || string(r.Record()) != string(want.rec) {
			t.Fatalf("%s: shard %d, record %d differs", what, shard, next[shard])
		}
		next[shard]++
	}
	if r.Err() != nil || next[0] < acknowledged[0] || next[1] < acknowledged[1] {
		t.Fatalf("%s: %v records, %v were synced; error %v", what, next, acknowledged, r.Err())
	}
	report, err := VerifyFS(context.Background(), fsx, "t.tape", nil)
	if err != nil || !report.OK() || int(report.Records) != next[0]+next[1] {
		t.Fatalf("%s: verify: %+v, error %v", what, report, err)
	}
	return next[0] + next[1]
}

// Whatever the moment at which power is lost, the tape opens, verifies, and has
// everything up to the last completed sync; recovering it, even where power is
// lost again, keeps what was there.
func TestPowerLossAtAnyOperation(t *testing.T) {
	for _, codec := range []Codec{CodecPlain, CodecS2} {
		whole := fsys.NewMem()
		if err := new(scenario).run(whole, codec); err != nil {
			t.Fatal(err)
		}
		operations := whole.Operations()
		if operations < 100 {
			t.Fatalf("only %d operations: the scenario is too small to mean anything", operations)
		}
		for n := 0; n < operations; n += stride(9) {
			for seed := range uint64(3) {
				what := fmt.Sprintf("%v, power lost after %d of %d operations, seed %d", codec, n, operations, seed)
				powerLoss(t, codec, n, seed, what)
			}
		}
	}
}

func powerLoss(t *testing.T, codec Codec, n int, seed uint64, what string) {
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	disk := fsys.NewMem()
	disk.LosePowerAfter(n)
	var s scenario
	err := s.run(disk, codec)
	if err != nil && !errors.Is(err, fsys.ErrPower) {
		t.Fatalf("%s: %v", what, err)
	}
	disk = disk.AfterPowerLoss(rng)
	records := s.kept(t, disk, what)
	if _, err := OpenFS(disk, "t.tape"); errors.Is(err, ErrNotTape) {
		return
	}
	disk.LosePowerAfter(rng.IntN(30))
	_, _ = RecoverFS(disk, "t.tape")
	disk = disk.AfterPowerLoss(rng)
	if got := s.kept(t, disk, what+", and again in recovery"); got != records {
		t.Fatalf("%s: %d records before recovery, %d after power was lost in it", what, records, got)
	}
	report, err := RecoverFS(disk, "t.tape")
	if err != nil || int(report.Records) != records {
		t.Fatalf("%s: recovered %d records, want %d; error %v", what, report.Records, records, err)
	}
	s.kept(t, disk, what+", recovered")
}

// Whatever operation fails, the writer says which file and why, and the tape
// keeps what was synced.
func TestFailingOperations(t *testing.T) {
	for _, fail := range []error{syscall.EIO, syscall.ENOSPC} {
		counter := &fsys.Fault{FS: fsys.NewMem()}
		if err := new(scenario).run(counter, CodecPlain); err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= counter.Operations(); n += stride(9) {
			disk := fsys.NewMem()
			fault := &fsys.Fault{FS: disk}
			fault.FailAt(n, 1<<30, fail)
			var s scenario
			err := s.run(fault, CodecPlain)
			if !errors.Is(err, fail) {
				t.Fatalf("operation %d failed with %v; the writer says %v", n, fail, err)
			}
			s.kept(t, disk, fmt.Sprintf("operation %d and all after it fail with %v", n, fail))
		}
	}
}

// A tape that cannot be begun leaves nothing behind.
func TestFailedCreateLeavesNothing(t *testing.T) {
	for n := 1; ; n++ {
		disk := fsys.NewMem()
		fault := &fsys.Fault{FS: disk}
		fault.FailAt(n, n, syscall.EIO)
		w, err := Create(memDir, Config{FS: fault})
		if err == nil {
			_ = w.Close() // may be what failed
			if fault.Operations() < n {
				return // every operation has had its turn
			}
			continue
		}
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("operation %d: %v", n, err)
		}
		if _, err := disk.List(memDir); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("operation %d failed, and a directory is left: %v", n, err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	for limit := int64(20_000); limit < 200_000; limit += 7001 {
		disk := fsys.NewMem()
		disk.Limit(limit)
		var s scenario
		err := s.run(disk, CodecPlain)
		var write *WriteError
		if !errors.Is(err, syscall.ENOSPC) || !errors.As(err, &write) || write.File == "" {
			t.Fatalf("%d bytes of disk: the writer says %v", limit, err)
		}
		s.kept(t, disk, fmt.Sprintf("disk of %d bytes", limit))
	}
}

// stride is 1, and n in short mode: then a test tries every n-th case.
func stride(n int) int {
	if testing.Short() {
		return n
	}
	return 1
}
