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
	if _, err := cfg.fs.Open("jobs/"+s.log.name+fsys.TemporarySuffix, fsys.Read); !errors.Is(err, fs.ErrNotExist) {
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

// TestNobodyIsToldTooEarly: whatever is said of a job is on the disk by then.
func TestNobodyIsToldTooEarly(t *testing.T) {
	s := openTest(t, crashConfig(fsys.NewMem()))
	told := func(what string, err error) {
		t.Helper()
		if err != nil || s.durable != s.appended {
			t.Errorf("%s: %d of %d records are on the disk, %v", what, s.durable, s.appended, err)
		}
	}
	id, _, _, err := s.add(&Job{Service: "s", Body: [][]byte{nil}, Key: "k"}, 1)
	if err != nil || s.durable == s.appended {
		t.Fatalf("nothing is left to be synced: %v", err)
	}
	_, err = s.get(id)
	told("get", err)
	if _, err := s.change(kindAnswered, id, 2, appendFrames(nil, [][]byte{[]byte("r")}), nil); err != nil {
		t.Fatal(err)
	}
	_, err = s.list()
	told("list", err)
	_, _, lsn, err := s.add(&Job{Service: "s", Body: [][]byte{nil}, Key: "k"}, 3)
	if err != nil || lsn != s.appended {
		t.Errorf("a repeat waits for record %d of %d, %v", lsn, s.appended, err)
	}
	if lsn, err = s.change(kindAnswered, id, 4, appendFrames(nil, nil), nil); !errors.Is(err, ErrState) || lsn != s.appended {
		t.Errorf("a refusal waits for record %d of %d, %v", lsn, s.appended, err)
	}
}

// TestAfterAFailedSync the log is not written any further: a disk may have dropped
// what it could not write, and say that all is well the next time.
func TestAfterAFailedSync(t *testing.T) {
	f := &fsys.Fault{FS: fsys.NewMem()}
	o := openTitanic(t, Config{Dir: "jobs", FS: f})
	job := Job{Service: "s", Body: [][]byte{[]byte("body")}, Key: "k"}
	before := o.store.log.identity
	f.FailAt(2, 2, errors.New("bad disk")) // the write is the first
	if _, _, err := o.Add(t.Context(), job); err == nil {
		t.Fatal("it was taken")
	}
	id, created, err := o.Add(t.Context(), job)
	if err != nil || created {
		t.Fatalf("what was written is lost: %v, %v", created, err)
	}
	if o.store.log.identity == before || o.Counters().Reopened != 1 {
		t.Error("it is the same log")
	}
	if info, _, err := o.Get(id); err != nil || info.State != Stored {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestCompactionThatMayBeInForce: when the new log has its name, but perhaps not on
// the disk, the old one must not be written any further, and neither the new one.
func TestCompactionThatMayBeInForce(t *testing.T) {
	for n := 1; ; n++ {
		f := &fsys.Fault{FS: fsys.NewMem()}
		cfg := crashConfig(f)
		s, err := openStore(cfg, 1)
		if err != nil {
			t.Fatal(err)
		}
		first := addTest(t, s, "", "first")
		f.FailAt(n, n, errors.New("bad disk"))
		err = s.compact(2)
		f.FailAt(0, 0, nil)
		if err == nil {
			if n < 5 {
				t.Fatalf("only %d operations", n)
			}
			return
		}
		if s.broken() == nil {
			addTest(t, s, "", "second")
		}
		jobs := len(s.m.jobs)
		_ = s.close()
		s, err = openStore(cfg, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.m.jobs) != jobs || bodyTest(t, s, first) != "first" {
			t.Errorf("operation %d failed: %d jobs of %d", n, len(s.m.jobs), jobs)
		}
		_ = s.close()
	}
}
