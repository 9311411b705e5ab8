package titanic

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

func openTest(t testing.TB, cfg storeConfig) *store {
	t.Helper()
	s, err := openStore(cfg, int64(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// addTest adds a job and returns when it is on the disk.
func addTest(t testing.TB, s *store, key, body string) ID {
	t.Helper()
	id, _, lsn, err := s.add(&Job{Service: "echo", Body: [][]byte{[]byte(body)}, Key: key}, int64(time.Hour))
	if err == nil {
		err = s.commit(lsn, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func bodyTest(t testing.TB, s *store, id ID) string {
	t.Helper()
	b, err := s.body(id, kindAdded)
	if err != nil {
		t.Fatal(err)
	}
	a, err := parseAdded(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.Join(a.Frames, []byte("|")))
}

// corrupt changes one byte of a file, as a disk may.
func corrupt(t *testing.T, fsx fsys.FS, name string, at int64) {
	t.Helper()
	f, err := fsx.Open(name, fsys.Write)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	b[0] ^= 0x40
	_, werr := f.WriteAt(b[:], at)
	if err := errors.Join(err, werr, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestKilledThenPowerLoss: what a killed process had written, but not synced, the
// next one tells people of; so it must be on the disk by then.
func TestKilledThenPowerLoss(t *testing.T) {
	for seed := range uint64(50) {
		disk := fsys.NewMem()
		first, err := openStore(crashConfig(disk), 1)
		if err != nil {
			t.Fatal(err)
		}
		id, _, lsn, err := first.add(&Job{Service: "echo", Body: [][]byte{bytes.Repeat([]byte("b"), 3000)}, Key: "key"}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := first.commit(lsn, false); err != nil { // then it is killed
			t.Fatal(err)
		}
		second, err := openStore(crashConfig(disk), 2)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := second.get(id); err != nil || info.State != Stored {
			t.Fatalf("%+v, %v", info, err)
		}
		third, err := openStore(crashConfig(disk.AfterPowerLoss(rand.New(rand.NewPCG(seed, 0)))), 3)
		if err != nil {
			t.Fatal(err)
		}
		if got := bodyTest(t, third, id); len(got) != 3000 {
			t.Fatalf("%d bytes", len(got))
		}
	}
}

// TestTornEndDoesNotComeBack: behind a record that a crash has torn there may be a
// whole one. It was never acknowledged, and what is written in the gap later must
// not make it part of the log.
func TestTornEndDoesNotComeBack(t *testing.T) {
	disk := fsys.NewMem()
	cfg := crashConfig(disk)
	s, err := openStore(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	kept := addTest(t, s, "", "kept")
	torn := s.log.end
	for _, body := range []string{"torn", "lost"} {
		if _, _, _, err := s.add(&Job{Service: "echo", Body: [][]byte{[]byte(body)}}, 1); err != nil {
			t.Fatal(err)
		}
	}
	lost := s.log.end
	if err := s.commit(s.appended, false); err != nil {
		t.Fatal(err)
	}
	corrupt(t, disk, "jobs/"+logName, torn+20)
	s = openTest(t, cfg)
	if s.found.torn != lost-torn || len(s.m.jobs) != 1 {
		t.Fatalf("%+v, %d jobs", s.found, len(s.m.jobs))
	}
	next := addTest(t, s, "", "next")
	again := openTest(t, cfg)
	if len(again.m.jobs) != 2 || bodyTest(t, again, kept) != "kept" || bodyTest(t, again, next) != "next" {
		t.Errorf("%d jobs", len(again.m.jobs))
	}
	aside, err := fsys.ReadFile(disk, fmt.Sprintf("jobs/%s-%d", logTorn, torn), 1<<20)
	if err != nil || int64(len(aside)) != lost-torn || !bytes.Contains(aside, []byte("lost")) {
		t.Errorf("what was cut off: %d bytes, %v", len(aside), err)
	}
}

// TestDamage: a part that had been synced and cannot be read is no torn end. The
// log is refused, or opened without what is lost, and the file is kept.
func TestDamage(t *testing.T) {
	disk := fsys.NewMem()
	s, err := openStore(crashConfig(disk), 1)
	if err != nil {
		t.Fatal(err)
	}
	first := addTest(t, s, "", "first")
	from := s.log.end
	middle := addTest(t, s, "", "middle")
	to := s.log.end
	last := addTest(t, s, "", "last")
	identity := s.log.identity
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	corrupt(t, disk, "jobs/"+logName, from+recordHeader+2)
	_, err = openStore(crashConfig(disk), 2)
	var damage *DamageError
	if !errors.As(err, &damage) || !errors.Is(err, ErrDamaged) || damage.From != from || damage.To != to {
		t.Fatalf("%v", err)
	}
	cfg := crashConfig(disk)
	cfg.salvage = true
	s = openTest(t, cfg)
	if bodyTest(t, s, first) != "first" || bodyTest(t, s, last) != "last" {
		t.Error("what was not damaged is lost")
	}
	if _, err := s.get(middle); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v", err)
	}
	kept, err := fsys.ReadFile(disk, fmt.Sprintf("jobs/%s-%016x", logDamaged, identity), 1<<20)
	if err != nil || !bytes.Contains(kept, []byte("first")) {
		t.Errorf("the damaged file is not kept: %v", err)
	}
	openTest(t, crashConfig(disk)) // and the next time all is well
}

// TestRotBehindTheIndex: a record that cannot be read when it is needed is told.
func TestRotBehindTheIndex(t *testing.T) {
	disk := fsys.NewMem()
	s := openTest(t, crashConfig(disk))
	id := addTest(t, s, "", "body")
	corrupt(t, disk, "jobs/"+logName, s.m.jobs[id].body.at+recordHeader+1)
	if _, err := s.body(id, kindAdded); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
	if err := s.compact(1); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
	if s.broken() != nil || s.moving {
		t.Error("a compaction that cannot be done has ended the store")
	}
	other := addTest(t, s, "", "other")
	if bodyTest(t, s, other) != "other" {
		t.Error("nothing works any more")
	}
}

// TestForeignFile: what is no job log of ours is refused, and left alone.
func TestForeignFile(t *testing.T) {
	disk := fsys.NewMem()
	good := openTest(t, crashConfig(disk))
	header := make([]byte, logHeader)
	if _, err := good.log.f.ReadAt(header, 0); err != nil {
		t.Fatal(err)
	}
	newer := bytes.Clone(header)
	newer[4] = logVersion + 1
	flipped := bytes.Clone(header)
	flipped[30] ^= 1
	for name, c := range map[string]struct {
		content []byte
		want    error
	}{"empty": {nil, ErrLog}, "short": {header[:60], ErrLog}, "foreign": {bytes.Repeat([]byte("x"), 100), ErrLog},
		"newer": {newer, ErrVersion}, "flipped": {flipped, ErrLog}} {
		cfg := crashConfig(fsys.NewMem())
		if err := cfg.fs.Mkdir(cfg.dir); err != nil {
			t.Fatal(err)
		}
		if err := fsys.WriteFile(cfg.fs, cfg.dir, logName, c.content); err != nil {
			t.Fatal(err)
		}
		if _, err := openStore(cfg, 1); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := fsys.ReadFile(cfg.fs, cfg.dir+"/"+logName, 1<<20); err != nil || !bytes.Equal(got, c.content) {
			t.Errorf("%s: it was changed: %v", name, err)
		}
	}
}

// TestFullDisk: no job is taken that has no room; those that are there can still
// be answered and closed; and when they are, there is room again.
func TestFullDisk(t *testing.T) {
	disk := fsys.NewMem()
	s := openTest(t, crashConfig(disk))
	disk.Limit(64 << 10)
	var ids []ID
	for {
		id, _, lsn, err := s.add(&Job{Service: "echo", Body: [][]byte{make([]byte, 500)}}, 1)
		if err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			break
		}
		if err := s.commit(lsn, true); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if len(ids) < 50 || s.broken() != nil {
		t.Fatalf("%d jobs, %v", len(ids), s.broken())
	}
	closed := 0
	for _, id := range ids {
		lsn, err := s.change(kindClosed, id, 2, nil, nil)
		if err == nil {
			err = s.commit(lsn, true)
		}
		if err == nil {
			closed++
		}
	}
	if closed < 5 {
		t.Fatalf("%d of %d could be closed", closed, len(ids))
	}
	disk.Limit(256 << 10) // room for a second log beside the first
	for _, id := range ids[closed:] {
		if _, err := s.change(kindClosed, id, 2, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.compact(3); err != nil {
		t.Fatal(err)
	}
	if s.log.size > logHeader+2*s.cfg.segment || s.m.live != 0 {
		t.Errorf("the log has %d bytes, %d live", s.log.size, s.m.live)
	}
	addTest(t, s, "", "there is room")
}

// TestBounds: jobs and bytes are bounded, and a refusal leaves nothing behind.
func TestBounds(t *testing.T) {
	cfg := crashConfig(fsys.NewMem())
	cfg.jobs, cfg.bytes = 3, 8000
	s := openTest(t, cfg)
	a := addTest(t, s, "a", "1")
	addTest(t, s, "", "2")
	if _, _, _, err := s.add(&Job{Service: "s", Body: [][]byte{make([]byte, 8000)}}, 1); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
	addTest(t, s, "", "3")
	end := s.log.end
	if _, _, _, err := s.add(&Job{Service: "s", Body: [][]byte{nil}}, 1); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
	if id, created, _, err := s.add(&Job{Service: "echo", Body: [][]byte{[]byte("1")}, Key: "a"}, 1); id != a || created || err != nil {
		t.Errorf("a repeat is no other job: %v", err)
	}
	if _, _, _, err := s.add(&Job{Service: "echo", Body: [][]byte{[]byte("other")}, Key: "a"}, 1); !errors.Is(err, ErrKey) {
		t.Errorf("%v", err)
	}
	if s.log.end != end {
		t.Error("a refused job is in the log")
	}
}

// TestShrinks: ten thousand jobs that come and go leave a log that is no larger than
// the few need that are left.
func TestShrinks(t *testing.T) {
	cfg := crashConfig(fsys.NewMem())
	cfg.bytes = 1 << 20
	s := openTest(t, cfg)
	largest := int64(0)
	for n := range 10_000 {
		id := addTest(t, s, "", fmt.Sprint("job ", n))
		if n%1000 == 0 {
			continue // it stays
		}
		if _, err := s.change(kindAnswered, id, 2, appendFrames(nil, [][]byte{[]byte("reply")}), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.change(kindClosed, id, 3, nil, nil); err != nil {
			t.Fatal(err)
		}
		if s.wasteful() {
			if err := s.compact(4); err != nil {
				t.Fatal(err)
			}
		}
		largest = max(largest, s.log.size)
	}
	if largest > 8*cfg.segment || len(s.m.jobs) != 10 || s.count.compactions < 100 {
		t.Errorf("it had %d bytes once; %d jobs, %d compactions", largest, len(s.m.jobs), s.count.compactions)
	}
	if err := s.compact(5); err != nil {
		t.Fatal(err)
	}
	if s.log.end != logHeader+s.m.live {
		t.Errorf("a compacted log has %d bytes, %d are live", s.log.end, s.m.live)
	}
	if _, err := cfg.fs.Open("jobs/"+logNew, fsys.Read); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a temporary file is left: %v", err)
	}
}

// TestShared: many at once, while the log is compacted again and again: everybody
// gets what is his, and syncs are shared.
func TestShared(t *testing.T) {
	cfg := crashConfig(fsys.OS{})
	cfg.dir = t.TempDir() + "/jobs"
	cfg.newID = nil
	s := openTest(t, cfg)
	var adders, compactor sync.WaitGroup
	const workers, each = 16, 100
	stop := make(chan struct{})
	compactor.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := s.compact(5); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for w := range workers {
		adders.Go(func() {
			for n := range each {
				body := fmt.Sprint(w, n)
				id := addTest(t, s, body, body)
				if got := bodyTest(t, s, id); got != body {
					t.Errorf("%q is read as %q", body, got)
				}
				lsn, err := s.change(kindAnswered, id, 2, appendFrames(nil, [][]byte{[]byte("r" + body)}), nil)
				if err = errors.Join(err, s.commit(lsn, true)); err != nil {
					t.Error(err)
				}
				if got, err := s.reply(id); err != nil || string(got[0]) != "r"+body {
					t.Errorf("%q: %q, %v", body, got, err)
				}
				if n%2 == 0 {
					if _, err := s.change(kindClosed, id, 3, nil, nil); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	adders.Wait()
	close(stop)
	compactor.Wait()
	if err := s.commit(s.appended, true); err != nil {
		t.Fatal(err)
	}
	want, err := describe(s)
	if err != nil {
		t.Fatal(err)
	}
	again := openTest(t, cfg)
	if got, err := describe(again); err != nil || got != want {
		t.Errorf("another log: %v", err)
	}
	if s.count.syncs >= workers*each*2 {
		t.Errorf("%d syncs for %d operations: nobody shared one", s.count.syncs, workers*each*2)
	}
}

// TestAllocAppend: taking a record in and applying it costs no allocation beyond
// the job's own entry.
func TestAllocAppend(t *testing.T) {
	cfg := crashConfig(fsys.NewMem())
	cfg.segment, cfg.bytes = 64<<20, 64<<20
	s := openTest(t, cfg)
	id := addTest(t, s, "", "body")
	body := attemptBody(1)
	s.buf = make([]byte, 0, 1<<20)
	if n := testing.AllocsPerRun(1000, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.append(kindDispatched, id, 1, body, 0); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkAdd: jobs that are added by so many at once, each safe before the next.
func BenchmarkAdd(b *testing.B) {
	for _, workers := range []int{1, 16, 128} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			cfg := storeConfig{fs: fsys.OS{}, dir: b.TempDir() + "/jobs", segment: 4 << 20, jobs: 1 << 30, bytes: 1 << 40,
				expire: time.Hour, forget: time.Hour}
			s := openTest(b, cfg)
			j := &Job{Service: "echo", Body: [][]byte{make([]byte, 200)}}
			b.SetBytes(200)
			b.ReportAllocs()
			b.SetParallelism(workers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, _, lsn, err := s.add(j, 1)
					if err = errors.Join(err, s.commit(lsn, true)); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
			b.ReportMetric(float64(b.N)/float64(s.count.syncs), "jobs/sync")
		})
	}
}

// BenchmarkOpen: a log of 100,000 jobs is read and indexed.
func BenchmarkOpen(b *testing.B) {
	cfg := storeConfig{fs: fsys.OS{}, dir: b.TempDir() + "/jobs", segment: 4 << 20, jobs: 1 << 30, bytes: 1 << 40,
		expire: time.Hour, forget: time.Hour}
	s := openTest(b, cfg)
	for n := range 100_000 {
		if _, _, _, err := s.add(&Job{Service: "echo", Body: [][]byte{make([]byte, 200)}, Key: fmt.Sprint(n)}, 1); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.commit(s.appended, true); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(s.log.end)
	b.ReportAllocs()
	for b.Loop() {
		again, err := openStore(cfg, 1)
		if err != nil || len(again.m.jobs) != 100_000 {
			b.Fatal(err)
		}
		_ = again.close()
	}
	b.ReportMetric(float64(b.N)*100_000/b.Elapsed().Seconds(), "records/s")
}
