package tape

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// retained writes n mixed records to a tape that keeps about size bytes and
// returns the writer and everything that was ever appended, in tape order.
func writeRetained(t testing.TB, cfg Config, n int) (*Writer, *mixed) {
	t.Helper()
	w, err := Create(filepath.Join(t.TempDir(), "a.tape"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	m := &mixed{rng: rand.New(rand.NewPCG(3, 3)), epoch: 1 << 60, back: 2000}
	m.append(t, w, n)
	return w, m
}

func retainConfig() Config {
	return Config{Shards: 3, BlockSize: 1500, SegmentSize: SegmentSizeMin, SyncInterval: -1, KeyframeInterval: 20_000,
		Retain: RetainConfig{Size: 6 * SegmentSizeMin}}
}

func TestRetainBySize(t *testing.T) {
	w, m := writeRetained(t, retainConfig(), 20_000)
	if s := w.Stats(); s.RemovedSegments < 5 || s.RetainErr != nil || s.RetainHeld != "" {
		t.Errorf("%+v", s)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	checkRetained(t, w.dir, 20_000)

	// The tape goes on, with retention and then without.
	w, err := OpenAppend(w.dir, Config{SyncInterval: -1, BlockSize: 1500, SegmentSize: SegmentSizeMin, Retain: retainConfig().Retain})
	if err != nil {
		t.Fatal(err)
	}
	m.newEpoch()
	m.append(t, w, 5000)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	checkRetained(t, w.dir, 25_000)
	if w, err = OpenAppend(w.dir, Config{SyncInterval: -1, BlockSize: 1500, SegmentSize: SegmentSizeMin}); err != nil {
		t.Fatal(err)
	}
	m.newEpoch()
	m.append(t, w, 5000)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	checkRetained(t, w.dir, 30_000)
}

// checkRetained holds a tape whose first segments were removed against what was
// written: the generator makes the same records again.
func checkRetained(t *testing.T, dir string, records int) {
	t.Helper()
	if r := verify(t, dir); !r.OK() || len(r.Warnings) != 0 || len(r.Gaps) != 0 {
		t.Fatalf("%+v", r)
	}
	tp := open(t, dir)
	defer tp.Close()
	info, err := tp.Info()
	if err != nil || info.Removed.Segments == 0 || info.Removed.Records+info.Totals.Records != uint64(records) {
		t.Fatalf("%+v, %v", info, err)
	}
	all := scanAll(t, tp)
	if len(all) != int(info.Totals.Records) {
		t.Fatalf("%d records, the tape says %d", len(all), info.Totals.Records)
	}
	totals, err := tp.computeTotals()
	if totals.Topics = info.Totals.Topics; err != nil || totals != info.Totals {
		t.Errorf("%+v, want %+v, %v", totals, info.Totals, err)
	}
	counted, earlier := uint64(0), 0
	topics, err := tp.Topics()
	if err != nil {
		t.Fatal(err)
	}
	for i := range topics {
		counted += topics[i].Records
		if topics[i].FirstBlock < 0 {
			earlier++
		}
		if topics[i].LastBlock >= tp.Blocks() || topics[i].LastBlock < -1 {
			t.Errorf("%+v", topics[i])
		}
	}
	if counted > uint64(records) || counted < info.Totals.Records {
		t.Errorf("%d records by topic", counted)
	}
	for _, s := range []*scannedRecord{&all[0], &all[len(all)/2], &all[len(all)-1]} {
		pos, err := tp.FindSeq(s.at.Epoch, s.at.Shard, s.at.Seq)
		if err != nil || pos.Block != s.info.Number || pos.Index != s.index {
			t.Errorf("%+v found at %+v, %v", s.at, pos, err)
		}
		pos, err = tp.Find(ClockReceive, s.rec.Receive())
		if err != nil || pos.Block > s.info.Number {
			t.Errorf("%+v found at %+v, %v", s.at, pos, err)
		}
	}
	lastRetained(t, tp, all, earlier)
}

// lastRetained checks last values: what lies on the tape exactly, and of each
// other topic what the keyframe at its start has.
func lastRetained(t *testing.T, tp *Tape, all []scannedRecord, earlier int) {
	t.Helper()
	head, err := tp.LastBefore(t.Context(), Position{}, nil)
	if err != nil || head.Stats().Keyframe != 0 {
		t.Fatalf("%+v, %v", head.Stats(), err)
	}
	var base []scannedRecord
	for head.Next() {
		base = append(base, scannedRecord{rec: head.Record(), at: head.At(), info: BlockInfo{Number: -1, NoSend: true}})
	}
	if len(base) != earlier {
		t.Errorf("%d topics in the keyframe at the tape's start, of %d that began before", len(base), earlier)
	}
	everything := append(base, all...)
	for i := range 300 {
		at := all[i*(len(all)-1)/300].rec.Receive() + wire.Nanos(i%3-1)
		l, err := tp.Last(t.Context(), LastConfig{At: at})
		unknown := l.Stats().Unknown
		sameLast(t, fmt.Sprint(at), l, err, bruteLast(everything, atClock(ClockReceive, at)))
		if unknown > 0 && i > 100 {
			t.Errorf("%d topics unknown in the middle of the tape", unknown)
		}
	}
	l, err := tp.LastBefore(t.Context(), Position{Block: tp.Blocks()}, nil)
	sameLast(t, "end", l, err, bruteLast(everything, func(*scannedRecord) bool { return true }))
}

func TestRetainClosedTape(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a.tape")
	cfg := retainConfig()
	cfg.Retain = RetainConfig{}
	w, err := Create(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	m := &mixed{rng: rand.New(rand.NewPCG(3, 3)), epoch: 1 << 60, back: 2000}
	m.append(t, w, 12_000)
	if _, err := Retain(dir, RetainConfig{Size: 1}); !errors.Is(err, ErrLocked) {
		t.Errorf("retention of a tape that is being written: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	before := verify(t, dir)
	for step, size := range []int64{8 * SegmentSizeMin, 5 * SegmentSizeMin, 5 * SegmentSizeMin} {
		r, err := Retain(dir, RetainConfig{Size: size})
		if err != nil || r.Held != "" || (r.Segments == 0) != (step == 2) {
			t.Fatalf("step %d: %+v, %v", step, r, err)
		}
		checkRetained(t, dir, 12_000)
		if after := verify(t, dir); after.Digest != before.Digest {
			t.Errorf("the digest has changed")
		}
	}
	// By age: the newest record of a segment counts, by the send clock.
	tp := open(t, dir)
	cut := tp.Block(tp.Blocks() / 2)
	now := wire.Nanos(1_000_000_000 + 12_000*1000)
	r, err := RetainFS(fsys.OS{}, dir, RetainConfig{Age: time.Duration(now - cut.Send.Max)}, now)
	if err != nil || r.Segments != 0 || r.Held == "" {
		t.Errorf("with a reader: %+v, %v", r, err)
	}
	tp.Close()
	r, err = RetainFS(fsys.OS{}, dir, RetainConfig{Age: time.Duration(now - cut.Send.Max)}, now)
	if err != nil || r.Segments == 0 || r.Held != "" {
		t.Errorf("without the reader: %+v, %v", r, err)
	}
	checkRetained(t, dir, 12_000)
	if r, err = Retain(dir, RetainConfig{Size: 1, Age: 1}); err != nil {
		t.Error(err)
	}
	tp = open(t, dir)
	if n := len(tp.segments); n != 1 {
		t.Errorf("%d segments are left, want the last one", n)
	}
}

// readerEnv makes the test program a reader of the tape that it names: it opens
// it, says so, and waits until its input ends.
const readerEnv = "TAPEDECK_TEST_READER"

func TestReaderProcess(t *testing.T) {
	dir := os.Getenv(readerEnv)
	if dir == "" {
		t.Skip("is run by another test")
	}
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("open", tp.Blocks())
	_, _ = io.Copy(io.Discard, os.Stdin)
	n := 0
	for i := range tp.Blocks() {
		b, err := tp.ReadBlock(i, false)
		if err != nil {
			t.Fatal(err)
		}
		n += int(b.Count)
		b.Release()
	}
	fmt.Println("read", n)
	if err := tp.Close(); err != nil {
		t.Fatal(err)
	}
}

// A reader in another process keeps every segment that it may want, also those
// that it has not looked at yet, until it ends, however it ends.
func TestReaderInAnotherProcessKeepsSegments(t *testing.T) {
	for _, kill := range []bool{false, true} {
		w, m := writeRetained(t, retainConfig(), 9000)
		cmd := exec.Command(os.Args[0], "-test.run", "^TestReaderProcess$")
		cmd.Env = append(os.Environ(), readerEnv+"="+w.dir)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stdout)
		if !lines.Scan() {
			t.Fatal("the reader says nothing")
		}
		removed := w.Stats().RemovedSegments
		m.append(t, w, 6000)
		if err := w.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
		if s := w.Stats(); s.RemovedSegments != removed || s.RetainHeld == "" || s.RetainErr != nil {
			t.Errorf("with a reader: %+v", s)
		}
		if kill {
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		stdin.Close()
		read := 0
		if !kill && (!lines.Scan() || !scanf(lines.Text(), &read) || read == 0) {
			t.Errorf("the reader says %q", lines.Text())
		}
		for lines.Scan() {
		}
		if err := cmd.Wait(); err != nil && !kill {
			t.Fatal(err)
		}
		m.append(t, w, 3000)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if s := w.Stats(); s.RemovedSegments <= removed || s.RetainHeld != "" {
			t.Errorf("without the reader: %+v", s)
		}
		checkRetained(t, w.dir, 18_000)
	}
}

func scanf(line string, n *int) bool {
	_, err := fmt.Sscanf(line, "read %d", n)
	return err == nil
}

// Opening while segments go away gives a tape that is whole as of some moment.
func TestOpenWhileRetaining(t *testing.T) {
	w, m := writeRetained(t, retainConfig(), 6000)
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			tp, err := Open(w.dir)
			if err != nil {
				done <- err
				return
			}
			for n := range tp.Blocks() {
				b, err := tp.ReadBlock(n, false)
				if err != nil {
					done <- err
					return
				}
				b.Release()
			}
			tp.Close()
		}
	}()
	for range 30 {
		m.append(t, w, 1000)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	checkRetained(t, w.dir, 36_000)
}

// Whatever the moment at which power is lost or the disk fails, a tape that
// keeps only so much opens, verifies, and has what was synced of what it keeps.
func TestRetainPowerLoss(t *testing.T) {
	run := func(fsx fsys.FS) (synced wire.Ordinal, err error) {
		cfg := retainConfig()
		cfg.FS, cfg.SyncInterval, cfg.Retain.Size = fsx, time.Hour, 3*SegmentSizeMin
		w, err := Create(memDir, cfg)
		if err != nil {
			return 0, err
		}
		g := newGenerated(3, 9)
		for i := range 4000 {
			at, rec := g.record()
			if err = w.Append(at, rec); err == nil && i%500 == 499 {
				if err = w.Sync(context.Background()); err == nil {
					synced = at.Ordinal
				}
			}
			if err != nil {
				return synced, errors.Join(err, w.Abort())
			}
		}
		return synced, w.Close()
	}
	whole := fsys.NewMem()
	if _, err := run(whole); err != nil {
		t.Fatal(err)
	}
	operations := whole.Operations()
	for n := 0; n < operations; n += stride(7) {
		disk := fsys.NewMem()
		disk.LosePowerAfter(n)
		synced, err := run(disk)
		if err != nil && !errors.Is(err, fsys.ErrPower) {
			t.Fatal(err)
		}
		disk = disk.AfterPowerLoss(rand.New(rand.NewPCG(uint64(n), 1)))
		what := fmt.Sprintf("power lost after %d of %d operations", n, operations)
		if !afterLoss(t, disk, what, synced) {
			continue
		}
		if _, err := RecoverFS(disk, memDir); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		afterLoss(t, disk, what+", recovered", synced)
		if _, err := RetainFS(disk, memDir, RetainConfig{Size: 2 * SegmentSizeMin}, 0); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		afterLoss(t, disk, what+", retained", synced)
	}
}

// afterLoss fails unless the tape is sound and has the synced record; false is
// that there is none.
func afterLoss(t *testing.T, disk fsys.FS, what string, synced wire.Ordinal) bool {
	t.Helper()
	tp, err := OpenFS(disk, memDir)
	if errors.Is(err, ErrNotTape) && synced == 0 {
		return false
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer tp.Close()
	report, err := VerifyFS(context.Background(), disk, memDir, nil)
	if err != nil || !report.OK() {
		t.Fatalf("%s: %+v, %v", what, report, err)
	}
	last := wire.Ordinal(0)
	for n := range tp.Blocks() {
		b := tp.Block(n)
		last = max(last, b.LastOrdinal)
	}
	if last < synced {
		t.Fatalf("%s: ends at ordinal %d; %d was synced", what, last, synced)
	}
	l, err := tp.LastBefore(t.Context(), Position{Block: tp.Blocks()}, nil)
	if err != nil || len(l.Stats().Passed) > 0 {
		t.Fatalf("%s: %+v, %v", what, l, err)
	}
	return true
}

func TestRetainConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{
		{Retain: RetainConfig{Size: -1}}, {Retain: RetainConfig{Age: -1}}, {SegmentDuration: -1},
		{Retain: RetainConfig{Size: 1}, KeyframeInterval: -1}, {Retain: RetainConfig{Age: 1}, Temporary: true},
	} {
		if _, err := Create(filepath.Join(t.TempDir(), "a.tape"), cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// A tape made of the blocks of one that has lost its first segments has the same
// start, digest and last values.
func TestFollow(t *testing.T) {
	w, _ := writeRetained(t, retainConfig(), 15_000)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	in := open(t, w.dir)
	dir := filepath.Join(t.TempDir(), "b.tape")
	out, err := Create(dir, Config{Shards: 3, Codec: CodecZstd, SyncInterval: -1, SegmentSize: SegmentSizeMin, Follow: in, Temporary: true})
	if err != nil {
		t.Fatal(err)
	}
	for n := range in.Blocks() {
		b, err := in.ReadBlock(n, false)
		if err == nil {
			err = out.AppendBlock(b, false)
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Release()
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	checkRetained(t, dir, 15_000)
	before, _ := in.Info()
	after, err := open(t, dir).Info()
	if err != nil || after.Digest != before.Digest || after.Removed != before.Removed {
		t.Errorf("%+v\n%+v, %v", after, before, err)
	}
}

// Whatever operation of a retention fails, the tape is sound, and the next one
// does the work.
func TestFailedRetain(t *testing.T) {
	build := func(fsx fsys.FS) {
		cfg := retainConfig()
		cfg.FS, cfg.Retain, cfg.KeyframeInterval = fsx, RetainConfig{}, 1<<30 // head keyframes have to be made
		w, err := Create(memDir, cfg)
		if err != nil {
			t.Fatal(err)
		}
		m := &mixed{rng: rand.New(rand.NewPCG(3, 3)), epoch: 1 << 60, back: 2000}
		m.append(t, w, 5000)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for n := 1; ; n += stride(3) {
		disk := fsys.NewMem()
		build(disk)
		fault := &fsys.Fault{FS: disk}
		fault.FailAt(n, n, syscall.EIO)
		_, err := RetainFS(fault, memDir, RetainConfig{Size: 2 * SegmentSizeMin}, 0)
		if fault.Operations() < n {
			return
		}
		if err != nil && !errors.Is(err, syscall.EIO) {
			t.Fatalf("operation %d: %v", n, err)
		}
		what := fmt.Sprintf("operation %d of a retention fails (%v)", n, err)
		afterLoss(t, disk, what, 0)
		if r, err := RetainFS(disk, memDir, RetainConfig{Size: 2 * SegmentSizeMin}, 0); err != nil || r.Held != "" {
			t.Fatalf("%s: %+v, %v", what, r, err)
		}
		afterLoss(t, disk, what+", and the next one", 0)
		r, err := VerifyFS(t.Context(), disk, memDir, nil)
		if err != nil || len(r.Warnings) > 0 {
			t.Fatalf("%s: something is left: %+v, %v", what, r, err)
		}
		tp, err := OpenFS(disk, memDir)
		if err != nil || tp.base == 0 {
			t.Fatalf("%s: nothing was removed, %v", what, err)
		}
		tp.Close()
	}
}
