package replay

import (
	"math"
	"testing"
	"time"
)

// TestWaiterIsWoken: a wait ends when it is woken, also when that was before it
// began, and no more once the waiter is at rest again.
func TestWaiterIsWoken(t *testing.T) {
	w, err := newWaiter(0)
	must(t, err)
	defer w.close()
	go w.wake()
	w.until(math.MaxInt64, time.Hour)
	w.wake()
	w.wake()
	w.until(math.MaxInt64, time.Hour)
	w.rest()
	w.rest()
	due := w.now() + int64(5*time.Millisecond)
	if at := w.until(due, time.Hour); at < due {
		t.Errorf("a wait ended %v early", time.Duration(due-at))
	}
	slice := w.now() + int64(3*time.Millisecond)
	if at := w.until(math.MaxInt64, 3*time.Millisecond); at < slice {
		t.Errorf("a slice ended %v early", time.Duration(slice-at))
	}
}

func TestAllocWaiter(t *testing.T) {
	w, err := newWaiter(0)
	must(t, err)
	defer w.close()
	if n := testing.AllocsPerRun(20, func() { w.until(w.now()+int64(2*time.Millisecond), time.Hour) }); n != 0 {
		t.Errorf("%v allocations a wait", n)
	}
}
