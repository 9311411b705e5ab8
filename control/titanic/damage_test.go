package titanic

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

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
	before := s
	corrupt(t, disk, "jobs/"+s.log.name, torn+20)
	s = openTest(t, cfg)
	if s.found.torn != lost-torn || len(s.m.jobs) != 1 {
		t.Fatalf("%+v, %d jobs", s.found, len(s.m.jobs))
	}
	next := addTest(t, s, "", "next")
	again := openTest(t, cfg)
	if len(again.m.jobs) != 2 || bodyTest(t, again, kept) != "kept" || bodyTest(t, again, next) != "next" {
		t.Errorf("%d jobs", len(again.m.jobs))
	}
	aside, err := fsys.ReadFile(disk, fmt.Sprintf("jobs/%s%s%d", before.log.name, tornInfix, torn), 1<<20)
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
	corrupt(t, disk, "jobs/"+s.log.name, from+recordHeader+2)
	_, err = openStore(crashConfig(disk), 2)
	var damage *DamageError
	if !errors.As(err, &damage) || !errors.Is(err, ErrDamaged) || damage.From != from || damage.To != to {
		t.Fatalf("%v", err)
	}
	cfg := crashConfig(disk)
	cfg.salvage = true
	before := s.log.name
	s = openTest(t, cfg)
	if bodyTest(t, s, first) != "first" || bodyTest(t, s, last) != "last" {
		t.Error("what was not damaged is lost")
	}
	if _, err := s.get(middle); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v", err)
	}
	kept, err := fsys.ReadFile(disk, fmt.Sprintf("jobs/%s%s%016x", before, damagedInfix, identity), 1<<20)
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
	corrupt(t, disk, "jobs/"+s.log.name, s.m.jobs[id].body.at+recordHeader+1)
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
		if err := fsys.WriteFile(cfg.fs, cfg.dir, markName, c.content); err != nil {
			t.Fatal(err)
		}
		if _, err := openStore(cfg, 1); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := fsys.ReadFile(cfg.fs, cfg.dir+"/"+markName, 1<<20); err != nil || !bytes.Equal(got, c.content) {
			t.Errorf("%s: it was changed: %v", name, err)
		}
	}
}
