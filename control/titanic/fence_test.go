package titanic

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// writer is one of those who open a log, each in the belief that it is theirs.
type writer struct {
	t    *testing.T
	name string
	hook *hookFS
	s    *store
	told map[ID]string // jobs of which it has told somebody: their bodies
	done map[ID]bool   // jobs of which it has told somebody that they are answered
}

func newWriter(t *testing.T, name string, disk fsys.FS) *writer {
	return &writer{t: t, name: name, hook: &hookFS{disk, func() {}}, told: map[ID]string{}, done: map[ID]bool{}}
}

// open opens the log; false: another one was faster.
func (w *writer) open() bool {
	cfg := crashConfig(w.hook)
	cfg.newID = newID // two that count would give the same
	s, err := openStore(cfg, 1)
	if w.fenced(err) {
		return false
	}
	w.s = s
	return true
}

// fenced reports whether an error is that of who has lost the log; there may be no
// other.
func (w *writer) fenced(err error) bool {
	if err != nil && !errors.Is(err, ErrFenced) {
		w.t.Errorf("%s: %v", w.name, err)
	}
	return err != nil
}

// add adds a job and tells, unless it is fenced.
func (w *writer) add() {
	body := fmt.Sprint(w.name, len(w.told))
	id, _, lsn, err := w.s.add(&Job{Service: "echo", Body: [][]byte{[]byte(body), make([]byte, 600)}}, 1)
	if err == nil {
		err = w.s.commit(lsn, true)
	}
	if !w.fenced(err) {
		w.told[id] = body
	}
}

// answer answers the first job that is pending and was told of.
func (w *writer) answer() {
	for _, id := range slices.SortedFunc(maps.Keys(w.told), func(a, b ID) int { return bytes.Compare(a[:], b[:]) }) {
		if state, ok := w.s.state(id); !ok || !state.Pending() {
			continue
		}
		lsn, err := w.s.change(kindAnswered, id, 2, appendFrames(nil, [][]byte{[]byte(w.name)}), nil)
		if err == nil {
			err = w.s.commit(lsn, true)
		}
		if !w.fenced(err) {
			w.done[id] = true
		}
		return
	}
}

func (w *writer) dispatch() {
	for id := range w.told {
		if state, _ := w.s.state(id); state.Pending() {
			_, err := w.s.dispatch(id, 2)
			w.fenced(err)
			return
		}
	}
}

func (w *writer) compact() { w.fenced(w.s.compact(3)) }

// has looks whether the log that w has holds what others have told.
func (w *writer) has(what string, others ...*writer) {
	w.t.Helper()
	if len(w.s.found.damaged) > 0 || w.s.found.odd > 0 || w.s.m.odd > 0 {
		w.t.Errorf("%s: %s takes it for damage: %+v, %d odd", what, w.name, w.s.found, w.s.m.odd)
	}
	for _, o := range append(others, w) {
		for id, body := range o.told {
			e := w.s.m.jobs[id]
			switch {
			case e == nil:
				w.t.Errorf("%s: %s has told of job %q, %s does not know it", what, o.name, body, w.name)
			case o.done[id] && e.state != Answered:
				w.t.Errorf("%s: %s has told that %q is answered, at %s it is %v", what, o.name, body, w.name, e.state)
			}
		}
	}
}

// only looks at the log once more, from outside: it is what w has told of, and no job
// of anybody that w has not read.
func (w *writer) only(what string, disk fsys.FS) {
	w.t.Helper()
	next := newWriter(w.t, "the next one", disk)
	if !next.open() {
		w.t.Errorf("%s: it cannot be opened again", what)
		return
	}
	next.has(what, w)
	if len(next.s.m.jobs) != len(w.s.m.jobs) {
		w.t.Errorf("%s: %d jobs, %s had %d", what, len(next.s.m.jobs), w.name, len(w.s.m.jobs))
	}
	for id, e := range w.s.m.jobs {
		if now := next.s.m.jobs[id]; now == nil || now.state != e.state || now.attempt != e.attempt {
			w.t.Errorf("%s: job %v is %+v, %s had %+v", what, id, now, w.name, e)
		}
	}
	if err := w.s.sure(); !errors.Is(err, ErrFenced) {
		w.t.Errorf("%s: %s still has it: %v", what, w.name, err)
	}
}

var fencedActions = map[string]func(*writer){"add": (*writer).add, "answer": (*writer).answer, "dispatch": (*writer).dispatch, "compact": (*writer).compact}

// TestTakenAtEveryStep: a writer stands still before each of its operations on the
// disk, in turn; meanwhile another one opens the log and works; then it goes on. What
// either has told of is in the log, and nothing else.
func TestTakenAtEveryStep(t *testing.T) {
	for name, act := range fencedActions {
		for n := 0; ; n++ {
			disk := fsys.NewMem()
			old, now := newWriter(t, "old", disk), newWriter(t, "new", disk)
			old.open()
			old.add()
			old.add()
			what := fmt.Sprintf("%s, taken before operation %d", name, n)
			past := old.hook.at(n, func() {
				if !now.open() {
					t.Fatalf("%s: the log cannot be taken", what)
				}
				now.has(what, old)
				now.add()
			})
			act(old)
			if !*past {
				break
			}
			for _, again := range fencedActions {
				again(old)
			}
			if old.s.failed == nil {
				t.Errorf("%s: the old one still writes", what)
			}
			now.answer()
			now.has(what, old)
			now.compact()
			now.only(what, disk)
		}
	}
}

// TestWritesAtEveryStep: whoever opens the log stands still before each operation, in
// turn, and the old one, who has it still or has no more, does all that it can. What
// it told of is in the log.
func TestWritesAtEveryStep(t *testing.T) {
	for n := 0; ; n++ {
		disk := fsys.NewMem()
		old, now := newWriter(t, "old", disk), newWriter(t, "new", disk)
		old.open()
		old.add()
		old.add()
		what := fmt.Sprintf("before operation %d of the opening", n)
		past := now.hook.at(n, func() {
			for _, name := range []string{"add", "answer", "compact", "dispatch", "add"} {
				fencedActions[name](old)
			}
		})
		if !now.open() {
			t.Fatalf("%s: the log cannot be taken", what)
		}
		if !*past {
			break
		}
		now.has(what, old)
		now.add()
		old.add()
		now.only(what, disk)
	}
}

// TestSeveralTakeAtEveryStep: of those that open the log at once one has it in the end,
// with all that any of them has told of. With two that do so while the first stands
// still, an epoch that it believes to be free has come and gone.
func TestSeveralTakeAtEveryStep(t *testing.T) {
	for _, others := range []int{1, 2, 3} {
		for _, fresh := range []bool{true, false} {
			for n := 0; severalTake(t, others, fresh, n); n++ {
			}
		}
	}
}

// severalTake is one run; it returns false where the opening has no n-th operation.
func severalTake(t *testing.T, others int, fresh bool, n int) bool {
	disk := fsys.NewMem()
	var all []*writer
	if !fresh {
		old := newWriter(t, "old", disk)
		old.open()
		old.add()
		all = append(all, old)
	}
	what := fmt.Sprintf("%d others, fresh %v, before operation %d of the opening", others, fresh, n)
	late := newWriter(t, "late", disk)
	past := late.hook.at(n, func() {
		for i := range others {
			w := newWriter(t, fmt.Sprint("other", i), disk)
			if !w.open() {
				t.Fatalf("%s: %s cannot open it", what, w.name)
			}
			w.has(what, all...)
			w.add()
			all = append(all, w)
		}
	})
	if late.open() {
		all = append(all, late)
	}
	if !*past {
		return false
	}
	var has []*writer
	for _, w := range all {
		w.add()
		if w.s.sure() == nil {
			has = append(has, w)
		}
	}
	if len(has) != 1 {
		t.Fatalf("%s: %d have it", what, len(has))
	}
	has[0].has(what, all...)
	has[0].only(what, disk)
	return true
}

// TestFailedOpeningIsNoReason to believe that one still has the log.
func TestFailedOpeningIsNoReason(t *testing.T) {
	bad := errors.New("bad disk")
	for n := 1; ; n++ {
		disk := fsys.NewMem()
		old := newWriter(t, "old", disk)
		old.open()
		old.add()
		f := &fsys.Fault{FS: disk}
		f.FailAt(n, n, bad)
		what := fmt.Sprintf("operation %d of the opening fails", n)
		_, err := openStore(crashConfig(f), 2)
		old.add() // it is fenced, or what it tells of is there
		now := newWriter(t, "new", disk)
		if !now.open() {
			t.Fatalf("%s: it cannot be opened again", what)
		}
		now.has(what, old)
		now.only(what, disk)
		if err == nil {
			break
		}
	}
}

// TestReopenedOnlyWhileHeld: a store whose disk has failed is opened again by who has
// the log, and never takes it back from another one.
func TestReopenedOnlyWhileHeld(t *testing.T) {
	disk := fsys.NewMem()
	f := &fsys.Fault{FS: disk}
	cfg := crashConfig(f)
	s, err := openStore(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	id := addTest(t, s, "", "x")
	fail := func() {
		f.FailAt(1, 1, errors.New("bad disk"))
		_, _, lsn, err := s.add(&Job{Service: "echo", Body: [][]byte{nil}}, 1)
		if err == nil {
			err = s.commit(lsn, true)
		}
		if err == nil || errors.Is(err, ErrFenced) {
			t.Fatalf("a bad disk: %v", err)
		}
		_ = s.close()
	}
	fail()
	cfg.fence = s.fence
	if s, err = openStore(cfg, 2); err != nil {
		t.Fatal(err)
	}
	if s.fence.epoch != 1 || bodyTest(t, s, id) != "x" {
		t.Errorf("epoch %d", s.fence.epoch)
	}
	fail()
	now := openTest(t, crashConfig(disk))
	if _, err := openStore(cfg, 3); !errors.Is(err, ErrFenced) {
		t.Errorf("it was opened again: %v", err)
	}
	addTest(t, now, "", "y")
}

// TestEpochSurvives the loss of power at any moment: what was over stays over.
func TestEpochSurvives(t *testing.T) {
	for n := 0; ; n++ {
		past := false
		for seed := range uint64(4) {
			disk := fsys.NewMem()
			first, err := raise(disk, ".", 1, 1, false)
			if err != nil {
				t.Fatal(err)
			}
			disk.LosePowerAfter(n)
			second, err := raise(disk, ".", 2, 2, false)
			after := disk.AfterPowerLoss(rand.New(rand.NewPCG(seed, uint64(n))))
			first.fs = after
			if err == nil {
				past = true
				second.fs = after
				if err := second.holds(); err != nil {
					t.Errorf("after %d operations: epoch 2 was begun, and is lost: %v", n, err)
				}
				if err := first.holds(); !errors.Is(err, ErrFenced) {
					t.Errorf("after %d operations: epoch 1 has come back: %v", n, err)
				}
			}
			third, err := raise(after, ".", 3, 3, false)
			if err != nil || third.epoch < 2 || third.holds() != nil || !errors.Is(first.holds(), ErrFenced) {
				t.Fatalf("after %d operations: %+v, %v", n, third, err)
			}
			if left, err := listNames(after, "."); err != nil || len(left.claims) != 1 || len(left.abandoned) != 0 {
				t.Errorf("after %d operations: left: %+v, %v", n, left, err)
			}
		}
		if past {
			break
		}
	}
}

// TestFencedErrorSaysWho has the log, as far as that is known.
func TestFencedErrorSaysWho(t *testing.T) {
	disk := fsys.NewMem()
	first, err := raise(disk, ".", 1, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raise(disk, ".", 2, 1_700_000_000_000_000_000, false); err != nil {
		t.Fatal(err)
	}
	want := "titanic: another process has the job log: epoch 1 is over; epoch 2 is that of " + self() + ", since 2023-11-14T22:13:20Z"
	if err := first.holds(); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if err := disk.Remove("epoch-2"); err != nil {
		t.Fatal(err)
	}
	if err := first.holds(); err == nil || err.Error() != "titanic: another process has the job log: epoch 1 is over: its file was removed" {
		t.Errorf("%v", err)
	}
	if f, err := raise(disk, ".", 3, 1, false); err != nil || f.epoch != 1 {
		t.Errorf("%+v, %v", f, err) // no log has a later one
	}
}

// TestNames are read as they are written, and no other way.
func TestNames(t *testing.T) {
	for name, want := range map[string]uint64{
		"epoch-1": 1, "epoch-18446744073709551615": math.MaxUint64, "epoch-": 0, "epoch-0": 0, "epoch-01": 0, "epoch-+1": 0,
		"epoch-18446744073709551616": 0, "epoch-1.tmp": 0, "epoch-new-1.tmp": 0, "Epoch-1": 0, "jobs-1.log": 0, "epoch-1 ": 0,
	} {
		if got, ok := epochIn(name, claimPrefix, ""); ok != (want > 0) || ok && got != want {
			t.Errorf("%q: %d, %v", name, got, ok)
		}
	}
	for _, epoch := range []uint64{1, 77, math.MaxUint64} {
		if got, ok := epochIn(logName(epoch), logPrefix, logSuffix); !ok || got != epoch {
			t.Errorf("%s: %d, %v", logName(epoch), got, ok)
		}
	}
	if _, ok := epochIn(markName, logPrefix, logSuffix); ok {
		t.Error("the mark is taken for a log with an epoch")
	}
	disk := fsys.NewMem()
	if err := fsys.WriteFile(disk, ".", claimName(math.MaxUint64), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := raise(disk, ".", 1, 1, false); !errors.Is(err, ErrLog) {
		t.Errorf("an epoch after the last one: %v", err)
	}
}
