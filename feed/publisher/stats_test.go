package publisher

import (
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/subscriber"
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

// TestStatsWhileBlocked: while Send waits for a reader that stands still, Stats
// answers at once, says so, and how long it has been; so do Totals.
func TestStatsWhileBlocked(t *testing.T) {
	p := open(t, Config{Endpoints: []string{anyPort, anyPort}, Lossless: true, QueueBytes: 1 << 20, Session: session})
	slow := &gate{open: make(chan struct{})}
	r := subscribe(t, p, subscriber.Config{Name: "slow", QueueBytes: 1}, slow)
	if err := p.WaitReaders(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if n := p.JoinTimes().HDR().TotalCount(); n != 1 {
		t.Errorf("%d joins were timed, want 1", n)
	}
	batch := makeBatch(t, 1<<20)
	var loans lender
	const batches = 60
	sent := make(chan error, 1)
	go func() {
		for range batches {
			if err := p.Send(t.Context(), 1, batch, loans.lend(t)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	await(t, "Send blocks", func() bool { return p.Stats().Waiting == 1 })
	st := p.Stats()
	if st.Records == 0 || st.Lent < int64(len(batch.Payload)) || st.Joined != 1 {
		t.Errorf("blocked: %+v", st)
	}
	before := st.Stalled
	await(t, "the stall grows", func() bool {
		st := p.Stats()
		if st.Stalled < before {
			t.Fatalf("stalled for %v, then %v", before, st.Stalled)
		}
		grown := st.Stalled > before && before > 0
		before = st.Stalled
		return grown
	})
	if x := p.Totals(); x.Readers() != 1 || x.Connections != 2 {
		t.Errorf("totals %+v", x)
	}
	close(slow.open)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err := p.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	st = p.Stats()
	if st.Waiting != 0 || st.Stalled < before || st.Records != batches*uint64(batch.Count) {
		t.Errorf("at the end: %+v, stalled %v before", st, before)
	}
	if again := p.Stats(); again.Stalled != st.Stalled {
		t.Errorf("stalled for %v and then %v, though nobody waits", st.Stalled, again.Stalled)
	}
}

// TestStallIsCountedOnce: waits within waits count once.
func TestStallIsCountedOnce(t *testing.T) {
	var c counters
	if !c.stall(1000) || c.stall(1500) {
		t.Fatal("a stall in a stall began another one")
	}
	c.unstall(3000)
	if !c.stall(5000) {
		t.Fatal("a stall after a stall did not begin")
	}
	if c.unstall(6000); c.stalled.Load() != 3000 {
		t.Errorf("stalled for %d ns, want 3000", c.stalled.Load())
	}
}
