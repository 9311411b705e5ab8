package tape

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

func TestMarks(t *testing.T) {
	disk := memTape(t, CodecS2, 2, 500)
	digest := verified(t, disk).Digest
	marks := []Mark{
		{Name: "halt", Clock: ClockEvent, Time: 30, Note: "LULD \"pause\"\n<&>"},
		{Name: "open", Time: 10},
		{Name: "öffnung/2", Time: 10, At: &MarkAt{Epoch: 1 << 63, Shard: 1, Seq: 7}},
	}
	for _, i := range []int{0, 2, 1} {
		if err := AddMarkFS(disk, memDir, marks[i]); err != nil {
			t.Fatal(err)
		}
	}
	tp, err := OpenFS(disk, memDir)
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	want := []Mark{marks[1], marks[2], marks[0]} // by time, then name
	got, err := tp.Marks()
	if err != nil || !slices.EqualFunc(got, want, sameMark) {
		t.Fatalf("%+v, %v; want %+v", got, err, want)
	}
	if rep := verified(t, disk); rep.Digest != digest || len(rep.Warnings) > 0 {
		t.Errorf("marks changed the digest, or made warnings: %+v", rep.Warnings)
	}
	if err := AddMarkFS(disk, memDir, Mark{Name: "open", Time: 99}); !errors.Is(err, ErrMarkExists) {
		t.Errorf("a second mark of the same name: %v", err)
	}
	if err := RemoveMarkFS(disk, memDir, "open"); err != nil {
		t.Fatal(err)
	}
	if err := RemoveMarkFS(disk, memDir, "open"); !errors.Is(err, ErrNoMark) {
		t.Errorf("removing what is not there: %v", err)
	}
	if _, err := tp.FindMark("open"); !errors.Is(err, ErrNoMark) {
		t.Errorf("a removed mark is found: %v", err)
	}
	if m, err := tp.FindMark("halt"); err != nil || !sameMark(m, marks[0]) {
		t.Errorf("halt: %+v, %v", m, err)
	}
}

func sameMark(a, b Mark) bool {
	if (a.At == nil) != (b.At == nil) || a.At != nil && *a.At != *b.At {
		return false
	}
	a.At, b.At = nil, nil
	return a == b
}

func verified(t testing.TB, disk fsys.FS) Report {
	t.Helper()
	rep, err := VerifyFS(context.Background(), disk, memDir, nil)
	if err != nil || !rep.OK() {
		t.Fatalf("%v %+v", err, rep.Problems)
	}
	return rep
}

func TestMarkNames(t *testing.T) {
	disk := memTape(t, CodecPlain, 1, 10)
	for _, name := range []string{"", "two words", "line\nend", "\xff", "\x00", strings.Repeat("x", MarkNameMax+1)} {
		if err := AddMarkFS(disk, memDir, Mark{Name: name}); !errors.Is(err, ErrMarkName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := AddMarkFS(disk, "nowhere", Mark{Name: "a"}); !errors.Is(err, ErrNotTape) {
		t.Errorf("no tape: %v", err)
	}
}

// A mark can be set while the tape is recorded, and only one process at a time
// changes the marks.
func TestMarkWhileWriting(t *testing.T) {
	disk := fsys.NewMem()
	w, err := Create(memDir, Config{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	if err := AddMarkFS(disk, memDir, Mark{Name: "a", Time: 1}); err != nil {
		t.Fatal(err)
	}
	lock, err := disk.Lock(memDir + "/" + manifestName)
	if err != nil {
		t.Fatal(err)
	}
	if err := AddMarkFS(disk, memDir, Mark{Name: "b"}); !errors.Is(err, ErrLocked) {
		t.Errorf("while another changes them: %v", err)
	}
	if err := errors.Join(lock.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	tp, err := OpenFS(disk, memDir)
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	if list, err := tp.Marks(); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

// Every changed bit of the file is found, and nobody reads wrong marks.
func TestMarksFlipped(t *testing.T) {
	disk := memTape(t, CodecPlain, 1, 10)
	if err := AddMarkFS(disk, memDir, Mark{Name: "open", Time: 10, Note: "n", At: &MarkAt{Epoch: 7}}); err != nil {
		t.Fatal(err)
	}
	whole := load(t, disk, marksName)
	for i := range whole {
		bad := slices.Clone(whole)
		bad[i] ^= 1
		store(t, disk, marksName, bad)
		rep, err := VerifyFS(context.Background(), disk, memDir, nil)
		if err != nil || len(rep.Problems) != 1 || rep.Problems[0].File != marksName {
			t.Fatalf("byte %d changed: %v %+v", i, err, rep.Problems)
		}
		if err := AddMarkFS(disk, memDir, Mark{Name: "other"}); err == nil {
			t.Fatalf("byte %d changed: damaged marks were written over", i)
		}
	}
}

func FuzzMarks(f *testing.F) {
	good, err := encodeMarks(ID{1}, []Mark{{Name: "a", Time: 5, Note: "x"}, {Name: "b", Clock: ClockEvent, At: &MarkAt{1, 2, 3}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		// The checksum is made to fit, so that what it covers is reached.
		if at := len(b) - len(sealedTail) - len(checksumZero); at > 0 {
			copy(b[at:], checksumZero)
			b = sealJSON(b)
		}
		list, err := parseMarks(b, ID{1})
		if err != nil {
			return
		}
		again, err := encodeMarks(ID{1}, list)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := parseMarks(again, ID{1}); err != nil || !slices.EqualFunc(list, second, sameMark) {
			t.Fatalf("%+v became %+v, %v", list, second, err)
		}
	})
}
