package titanic

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// TestWatch: silence counts from the last sign that was seen, by the clock of whoever
// looks; where none are given, or none can be read, there is no silence.
func TestWatch(t *testing.T) {
	disk := &fsys.Fault{FS: fsys.NewMem()}
	w := NewWatch(disk, ".")
	at := time.Unix(1000, 0)
	look := func(after, want time.Duration) {
		t.Helper()
		at = at.Add(after)
		if got := w.Silent(at); got != want {
			t.Errorf("%v of silence, want %v", got, want)
		}
	}
	look(0, 0)
	look(time.Hour, 0) // nobody has it
	mute, err := raise(disk, ".", 1, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	look(time.Second, 0)
	look(time.Hour, 0) // it gives none
	f, err := raise(disk, ".", 2, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	look(time.Hour, 0)
	look(3*time.Second, 3*time.Second)
	if err := f.live(); err != nil {
		t.Fatal(err)
	}
	look(time.Second, 0)
	look(5*time.Second, 5*time.Second)
	disk.FailAt(1, 1, errors.New("bad disk"))
	look(time.Second, 0) // who cannot look does not know
	look(time.Second, 0)
	look(2*time.Second, 2*time.Second)
	if _, err = raise(disk, ".", 3, 1, true); err != nil {
		t.Fatal(err)
	}
	look(time.Second, 0) // another one has it
	look(time.Second, time.Second)
	if err := mute.live(); !errors.Is(err, ErrFenced) {
		t.Errorf("a sign of who has lost the log: %v", err)
	}
}

// runs runs a Titanic and gives what Run returns.
func runs(t *testing.T, o *Titanic) (ended <-chan error, stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	c := make(chan error, 1)
	go func() { c <- o.Run(ctx) }()
	t.Cleanup(cancel)
	return c, cancel
}

// TestTaken: a log is taken from a Titanic that is alive. That notices by itself, ends,
// answers nobody any more, and wakes those who wait; the other one has all jobs.
func TestTaken(t *testing.T) {
	dir := t.TempDir()
	first := openTitanic(t, Config{Dir: dir})
	ended, _ := runs(t, first)
	id, _, err := first.Add(t.Context(), Job{Service: "echo", Body: [][]byte{[]byte("x")}})
	if err != nil {
		t.Fatal(err)
	}
	waiter := make(chan error)
	go func() {
		_, _, err := first.Wait(t.Context(), id)
		waiter <- err
	}()
	if _, err := Open(quick(Config{Dir: dir})); !errors.Is(err, fsys.ErrLocked) {
		t.Fatalf("it may not be taken: %v", err)
	}
	second := openTitanic(t, Config{Dir: dir, Take: true})
	if err := <-ended; !errors.Is(err, ErrFenced) {
		t.Errorf("it ends with %v", err)
	}
	<-first.Fenced()
	if err := <-waiter; !errors.Is(err, ErrFenced) {
		t.Errorf("who waits is told %v", err)
	}
	_, _, addErr := first.Add(t.Context(), Job{Service: "echo", Body: [][]byte{[]byte("y")}})
	_, _, getErr := first.Get(id)
	_, listErr := first.List()
	for what, err := range map[string]error{"add": addErr, "get": getErr, "list": listErr, "cancel": first.Cancel(id), "close": first.CloseJob(id), "held": first.Held()} {
		if !errors.Is(err, ErrFenced) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if c := first.Counters(); c.Fenced != 1 || c.Epoch != 1 {
		t.Errorf("%+v", c)
	}
	if list, err := second.List(); err != nil || len(list) != 1 || list[0].ID != id || second.Held() != nil || second.Epoch() != 2 {
		t.Errorf("%+v, %v, epoch %d", list, err, second.Epoch())
	}
	// The lock is that of the epoch: the first has one, too, and that says nothing.
	if _, err := Open(quick(Config{Dir: dir})); !errors.Is(err, fsys.ErrLocked) {
		t.Errorf("it may not be taken: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	openTitanic(t, Config{Dir: dir})
}

// TestStaleAnswersAreNone: what a Titanic finds that has lost the log, and does not know
// it, it tells nobody: not that a job is unknown either.
func TestStaleAnswersAreNone(t *testing.T) {
	for what, ask := range map[string]func(o *Titanic, there, later ID) error{
		"get":     func(o *Titanic, there, _ ID) error { _, _, err := o.Get(there); return err },
		"unknown": func(o *Titanic, _, later ID) error { _, _, err := o.Get(later); return err },
		"list":    func(o *Titanic, _, _ ID) error { _, err := o.List(); return err },
		"cancel":  func(o *Titanic, _, later ID) error { return o.Cancel(later) },
		"close":   func(o *Titanic, _, later ID) error { return o.CloseJob(later) },
		"again": func(o *Titanic, _, _ ID) error {
			_, _, err := o.Add(t.Context(), Job{Service: "echo", Key: "k", Body: [][]byte{[]byte("x")}})
			return err
		},
		"another": func(o *Titanic, _, _ ID) error {
			_, _, err := o.Add(t.Context(), Job{Service: "echo", Key: "k", Body: [][]byte{[]byte("z")}})
			return err
		},
		"held": func(o *Titanic, _, _ ID) error { return o.Held() },
	} {
		dir := t.TempDir()
		first := openTitanic(t, Config{Dir: dir})
		there, _, err := first.Add(t.Context(), Job{Service: "echo", Key: "k", Body: [][]byte{[]byte("x")}})
		if err != nil {
			t.Fatal(err)
		}
		second := openTitanic(t, Config{Dir: dir, Take: true})
		later, _, err := second.Add(t.Context(), Job{Service: "echo", Body: [][]byte{[]byte("y")}})
		if err != nil {
			t.Fatal(err)
		}
		if err := ask(first, there, later); !errors.Is(err, ErrFenced) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestSigns are given while a Titanic runs, and end with it.
func TestSigns(t *testing.T) {
	dir := t.TempDir()
	o := openTitanic(t, Config{Dir: dir, Signs: time.Millisecond})
	signs := func() uint64 {
		_, n, err := readClaim(fsys.OS{}, dir, 1)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if signs() != 1 {
		t.Errorf("%d signs before it runs, want the first", signs())
	}
	ended, stop := runs(t, o)
	zsocktest.Until(func() bool { return signs() > 3 })
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestOldVersionIsRefused: what a version without epochs would write to a log with them
// nobody would read; so there is something that it refuses. While one has a log it is
// left alone, whatever Take says.
func TestOldVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/"+markName, oldLog(t), 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := fsys.OS{}.Lock(dir) // as such a version does
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(quick(Config{Dir: dir, Take: true})); !errors.Is(err, fsys.ErrLocked) {
		t.Errorf("%v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	o := openTitanic(t, Config{Dir: dir})
	if list, err := o.List(); err != nil || len(list) == 0 {
		t.Errorf("%+v, %v", list, err)
	}
	mark, err := os.ReadFile(dir + "/" + markName)
	if err != nil || len(mark) != logHeader || string(mark[:4]) != logSignature || mark[4] == logEpochless {
		t.Errorf("an old version finds %x, %v", mark, err)
	}
	// Its log counts until the mark is there, also where a newer one has begun.
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(dir+"/"+markName, oldLog(t), 0o600)); err != nil {
		t.Fatal(err)
	}
	again := openTitanic(t, Config{Dir: dir})
	if list, err := again.List(); err != nil || len(list) != 7 {
		t.Errorf("%d jobs, %v", len(list), err)
	}
}

func oldLog(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(golden + "/golden-v1.log")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestLogIsMissing: a mark without a log is no fresh start.
func TestLogIsMissing(t *testing.T) {
	dir := t.TempDir()
	o := openTitanic(t, Config{Dir: dir})
	name := dir + "/" + o.store.log.name
	if err := errors.Join(o.Close(), os.Remove(name)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(quick(Config{Dir: dir})); !errors.Is(err, ErrLog) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a log was begun")
	}
}
