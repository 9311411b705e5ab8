package subscriber

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// await looks again until ok says so.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := 0; !ok(); n++ {
		if n == 1 {
			t.Logf("waiting: %s", what)
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("the test has ended, waiting: %s", what)
		}
	}
}

// TestQuiet: a shard that says nothing is quiet for longer and longer, and a word of
// it, a heartbeat too, ends that.
func TestQuiet(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	r := start(t, Config{Endpoints: []string{p.endpoint}}, &notes{})
	p.greet()
	await(t, "it is quiet", func() bool { return r.Summary().Quiet >= 2*receiveSlice })
	before := r.Summary().Quiet
	await(t, "it is quiet for longer", func() bool { return r.Summary().Quiet > before })
	p.send(p.source.heartbeat(), nil)
	await(t, "it has spoken", func() bool { return r.Summary().Quiet < before })
	p.end()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
}

// TestLag: of each batch is told how long ago it was sent, and how many records of it
// had not come before.
func TestLag(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	var records, bad atomic.Int64
	r := start(t, Config{Endpoints: []string{p.endpoint}, Lag: func(lag time.Duration, n int) {
		records.Add(int64(n))
		if lag < 0 {
			bad.Add(1)
		}
	}}, &notes{})
	p.greet()
	h, payload := p.records(3)
	h.Send = wire.NanosOf(time.Now())
	p.send(h, payload)
	p.send(h, payload) // again
	h, payload = p.records(2)
	h.Send = wire.NanosOf(time.Now())
	p.send(h, payload)
	p.end()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	if records.Load() != 5 || bad.Load() != 0 {
		t.Errorf("told of %d records, %d of them from the future; want 5", records.Load(), bad.Load())
	}
}
