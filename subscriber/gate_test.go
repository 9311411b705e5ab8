package subscriber

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/wire"
)

func newGate(t testing.TB, shards int, keep int64, next Handler) *Gate {
	t.Helper()
	g, err := NewGate(GateConfig{Shards: shards, KeepBytes: keep}, next)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// text is what a desk was given, in short: runs of sequences, and what was told.
func (d *desk) text(shard int) string {
	var parts []string
	lines := d.lines[shard]
	for i := 0; i < len(lines); {
		l := lines[i]
		if l.what != "" {
			if l.what == "gap" {
				l.what = fmt.Sprint("gap to ", l.seq)
			}
			parts, i = append(parts, l.what), i+1
			continue
		}
		last := i
		for last+1 < len(lines) && lines[last+1].what == "" && lines[last+1].seq == lines[last].seq+1 {
			last++
		}
		parts, i = append(parts, fmt.Sprintf("%d-%d", l.seq, lines[last].seq)), last+1
	}
	return strings.Join(parts, ", ")
}

// TestGate: what comes behind a snapshot, wherever it is.
func TestGate(t *testing.T) {
	for _, c := range []struct {
		name string
		at   GatePosition
		want string
		err  error
	}{
		{"where the gate was shut", GatePosition{7, 20}, "0-69", nil},
		{"between batches", GatePosition{7, 40}, "0-19, 40-69", nil},
		{"inside a batch", GatePosition{7, 33}, "0-19, 33-69", nil},
		{"at the end of what is kept", GatePosition{7, 50}, "0-19, 50-69", nil},
		{"ahead", GatePosition{7, 57}, "0-19, 57-69", nil},
		{"far ahead", GatePosition{7, 100}, "0-19", nil},
		{"before what the handler had", GatePosition{7, 19}, "0-19", ErrGateBehind},
		{"an epoch to come", GatePosition{8, 5}, "0-19", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, 1)
			g := newGate(t, 1, 0, d)
			s := newSpring(t, rand.New(rand.NewPCG(1, 1)), 0, 5)
			feed := func(batches int) {
				t.Helper()
				for range batches {
					if err := g.HandleBatch(s.batch(10, 0), 0); err != nil {
						t.Fatal(err)
					}
				}
			}
			feed(2)
			if err := g.Open([]GatePosition{c.at}); !errors.Is(err, errGateBusy) {
				t.Errorf("open: %v", err)
			}
			g.Shut()
			feed(3)
			if got := g.Summary(); got.Kept != 30 || got.Discarded != 0 {
				t.Errorf("%+v", got)
			}
			if err := g.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := g.Open(nil); err == nil {
				t.Error("opened without positions")
			}
			if err := g.Open([]GatePosition{c.at}); !errors.Is(err, c.err) {
				t.Fatal(err)
			}
			feed(2)
			if got := d.text(0); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			sum := g.Summary()
			if handed := uint64(len(d.lines[0])); handed+sum.Discarded+sum.Kept != 70 {
				t.Errorf("%d handed on, %+v", handed, sum)
			}
			if c.err != nil { // a later snapshot will do
				if err := g.Open([]GatePosition{{7, 60}}); err != nil || d.text(0) != "0-19, 60-69" {
					t.Errorf("%v, %s", err, d.text(0))
				}
			}
		})
	}
}

// TestGateTold: sessions, gaps and ends in their places; gaps that the snapshot
// covers are none.
func TestGateTold(t *testing.T) {
	d := newDesk(t, 1)
	g := newGate(t, 1, 0, d)
	s := newSpring(t, rand.New(rand.NewPCG(1, 1)), 0, 5)
	g.HandleSession(0, 7, &wire.Session{Tape: "a"})
	g.Shut()
	feed := func() {
		t.Helper()
		if err := g.HandleBatch(s.batch(10, 0), 0); err != nil {
			t.Fatal(err)
		}
	}
	gap := func(n wire.Seq) {
		g.HandleGap(0, 7, s.seq, s.seq+n)
		s.seq += n
	}
	feed()                                                              // 0-9
	gap(5)                                                              // 10-14
	feed()                                                              // 15-24
	gap(5)                                                              // 25-29
	feed()                                                              // 30-39
	g.HandleNotice(0, makeRecord(t, "x", []byte("x"), wire.KindNotice)) // discarded
	if err := g.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Open([]GatePosition{{7, 27}}); err != nil {
		t.Fatal(err)
	}
	g.HandleNotice(0, makeRecord(t, "x", []byte("y"), wire.KindNotice))
	g.HandleEnd(0, 7, false)
	if got := d.text(0); got != "session a, gap to 30, 30-39, notice y, end false" {
		t.Error(got)
	}
	if sum := g.Summary(); sum.Discarded != 20 || sum.Untold != 2 {
		t.Errorf("%+v", sum)
	}
}

// TestGateEpochs: the snapshot may be of an epoch that the stream comes to while
// the gate is shut, or has not come to.
func TestGateEpochs(t *testing.T) {
	for _, c := range []struct {
		at   GatePosition
		want string
		err  error
	}{
		{GatePosition{7, 20}, "session a, 0-9, 20-29, end true, session b, 0-29", nil},
		{GatePosition{8, 5}, "session a, 0-9, session b, 5-29", nil},
		{GatePosition{8, 20}, "session a, 0-9, session b, 20-29", nil},
		{GatePosition{9, 4}, "session a, 0-9, session c, 4-9", nil},
	} {
		d := newDesk(t, 1)
		g := newGate(t, 1, 0, d)
		s := newSpring(t, rand.New(rand.NewPCG(1, 1)), 0, 5)
		feed := func(epoch wire.Epoch, batches int) {
			t.Helper()
			for range batches {
				b := s.batch(10, 0)
				b.Epoch = epoch
				if err := g.HandleBatch(b, 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		g.HandleSession(0, 7, &wire.Session{Tape: "a"})
		feed(7, 1)
		g.Shut()
		feed(7, 2)
		g.HandleEnd(0, 7, true)
		s.seq = 0
		g.HandleSession(0, 8, &wire.Session{Tape: "b"})
		feed(8, 2)
		if err := g.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := g.Open([]GatePosition{c.at}); !errors.Is(err, c.err) {
			t.Fatal(err)
		}
		feed(8, 1)
		if c.at.Epoch == 9 {
			s.seq = 0
			g.HandleSession(0, 9, &wire.Session{Tape: "c"})
			feed(9, 1)
		}
		if got := d.text(0); got != c.want {
			t.Errorf("%v: %s, want %s", c.at, got, c.want)
		}
	}
}

// TestGateBound: what is kept is bounded; a position that lies before it is
// refused and a later one is not; the session is never lost; an epoch that was
// left altogether is behind.
func TestGateBound(t *testing.T) {
	d := newDesk(t, 1)
	g := newGate(t, 1, 4000, d)
	s := newSpring(t, rand.New(rand.NewPCG(1, 1)), 0, 5)
	g.Shut()
	feed := func(epoch wire.Epoch, batches int) {
		for range batches {
			b := s.batch(10, 0)
			b.Epoch = epoch
			if err := g.HandleBatch(b, 0); err != nil {
				t.Fatal(err)
			}
			if held := g.shards[0].kept.bytes; held > 4000 {
				t.Fatalf("%d bytes are kept", held)
			}
		}
	}
	feed(6, 20)
	s.seq = 0
	g.HandleSession(0, 7, &wire.Session{Tape: "a"})
	feed(7, 100)
	if err := g.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	sum := g.Summary()
	if sum.Kept+sum.Discarded != 1200 || sum.Kept < 10 || sum.Kept > 100 {
		t.Errorf("%+v", sum)
	}
	for _, at := range []GatePosition{{7, 0}, {7, wire.Seq(999 - sum.Kept)}, {6, 1000}} {
		if err := g.Open([]GatePosition{at}); !errors.Is(err, ErrGateBehind) {
			t.Errorf("%v: %v", at, err)
		}
	}
	first := wire.Seq(1000 - sum.Kept)
	if err := g.Open([]GatePosition{{7, first}}); err != nil {
		t.Fatal(err)
	}
	if got, want := d.text(0), fmt.Sprintf("session a, %d-999", first); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := g.Summary(); got.Refused != 3 || got.Opened != 1 || got.Kept != 0 {
		t.Errorf("%+v", got)
	}
}

// TestGateWaits: the gate is not to be opened while a loop is in the handler, and
// other shards go on without a wait meanwhile.
func TestGateWaits(t *testing.T) {
	d := newDesk(t, 2)
	begun, release := make(chan struct{}), make(chan struct{})
	d.hold = func() { begun <- struct{}{}; <-release }
	g := newGate(t, 2, 0, d)
	s0, s1 := newSpring(t, rand.New(rand.NewPCG(1, 1)), 0, 5), newSpring(t, rand.New(rand.NewPCG(1, 2)), 1, 5)
	done := make(chan error)
	go func() { done <- g.HandleBatch(s0.batch(10, 0), 0) }()
	<-begun
	g.Shut()
	for range 100 {
		if err := g.HandleBatch(s1.batch(10, 0), 0); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := g.Open(make([]GatePosition, 2)); !errors.Is(err, errGateBusy) {
		t.Error(err)
	}
	waited := make(chan error)
	go func() { waited <- g.Wait(t.Context()) }()
	close(release)
	if err := errors.Join(<-done, <-waited); err != nil {
		t.Fatal(err)
	}
	d.hold = nil
	if err := g.Open([]GatePosition{{7, 10}, {7, 500}}); err != nil {
		t.Fatal(err)
	}
	if d.text(0) != "0-9" || d.text(1) != "500-999" {
		t.Errorf("%s; %s", d.text(0), d.text(1))
	}
}

// TestGateProperty: loops that never stop, a gate that is shut and opened behind
// snapshots of any age. Whatever was handed on since a snapshot is the stream from
// the snapshot's position on, without a hole and without a repeat.
func TestGateProperty(t *testing.T) {
	defer goleak.VerifyNone(t)
	for seed := range uint64(15) {
		rng := rand.New(rand.NewPCG(seed, 6))
		const shards = 2
		d := newDesk(t, shards)
		g := newGate(t, shards, int64(2000+rng.IntN(40_000)), d)
		var mu sync.Mutex
		heads := make([]wire.Seq, shards) // what the publisher has sent: a snapshot is of that
		sent := make([]uint64, shards)
		stop := make(chan struct{})
		var loops sync.WaitGroup
		for i := range shards {
			rng := rand.New(rand.NewPCG(seed, uint64(20+i)))
			s := newSpring(t, rng, i, 10)
			loops.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					n := 1 + rng.IntN(30)
					b := s.batch(n, 0)
					mu.Lock()
					heads[i] = s.seq
					mu.Unlock()
					sent[i] += uint64(n)
					if err := g.HandleBatch(b, 0); err != nil {
						t.Error(err)
					}
					runtime.Gosched() // or the other side hardly ever runs
				}
			})
		}
		// from is where each run of sequences that a desk was given begins.
		from := make([][]wire.Seq, shards)
		for i := range from {
			from[i] = []wire.Seq{0}
		}
		behind := 0
		flow := func(records int) { // lets the loops go on for that many
			mu.Lock()
			until := heads[0] + wire.Seq(records)
			for heads[0] < until {
				mu.Unlock()
				runtime.Gosched()
				mu.Lock()
			}
			mu.Unlock()
		}
		for range 30 {
			flow(rng.IntN(300))
			g.Shut()
			if err := g.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			flow(rng.IntN(1000))
			for {
				at := make([]GatePosition, shards)
				mu.Lock()
				for i := range at {
					at[i] = GatePosition{7, heads[i] + wire.Seq(rng.IntN(40)) - min(heads[i], wire.Seq(rng.IntN(80)))}
				}
				mu.Unlock()
				err := g.Open(at)
				if errors.Is(err, ErrGateBehind) {
					behind++
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				for i := range at {
					from[i] = append(from[i], at[i].Next)
				}
				break
			}
		}
		close(stop)
		loops.Wait()
		sum := g.Summary()
		handed := uint64(0)
		for i := range shards {
			handed += uint64(len(d.lines[i]))
			checkRuns(t, fmt.Sprintf("seed %d, shard %d", seed, i), d.lines[i], from[i])
		}
		if total := sent[0] + sent[1]; handed+sum.Discarded+sum.Kept != total || sum.Opened != 30 || sum.Refused != uint64(behind) {
			t.Fatalf("seed %d: %d sent, %d handed on, %d refused, %+v", seed, total, handed, behind, sum)
		}
	}
}

// checkRuns: the sequences increase by one, and jump only to where the gate was
// opened, in order.
func checkRuns(t *testing.T, name string, lines []line, from []wire.Seq) {
	t.Helper()
	for i, l := range lines {
		if i > 0 && l.seq == lines[i-1].seq+1 {
			continue
		}
		at := slices.Index(from, l.seq)
		if at < 0 || i > 0 && l.seq <= lines[i-1].seq {
			t.Fatalf("%s: line %d is sequence %d, after %d; opened at %v", name, i, l.seq, lines[max(i-1, 0)].seq, from)
		}
		from = from[at+1:]
	}
}

func TestGateConfig(t *testing.T) {
	for _, cfg := range []GateConfig{{}, {Shards: 1, KeepBytes: -1}} {
		if _, err := NewGate(cfg, nil); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// TestGateFails: the handler's error comes to whoever opens, or to the loop.
func TestGateFails(t *testing.T) {
	d := newDesk(t, 1)
	g := newGate(t, 1, 0, d)
	s := newSpring(t, rand.New(rand.NewPCG(1, 1)), 0, 5)
	g.Shut()
	if err := g.HandleBatch(s.batch(10, 0), 0); err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.fail = errors.New("full")
	if err := g.Open([]GatePosition{{7, 0}}); !errors.Is(err, d.fail) {
		t.Error(err)
	}
}

// TestGateAllocs: an open gate makes no garbage, a shut one none per record.
func TestGateAllocs(t *testing.T) {
	g := newGate(t, 1, 1<<20, &counter{})
	b := newSpring(t, rand.New(rand.NewPCG(1, 1)), 0, 50).batch(400, 0)
	take := func() {
		if err := g.HandleBatch(b, 0); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, take); n != 0 {
		t.Errorf("open: %v allocations", n)
	}
	g.Shut()
	for range 1000 {
		take()
	}
	if n := testing.AllocsPerRun(100, take); n > 1 {
		t.Errorf("shut: %v allocations a batch", n)
	}
}

// BenchmarkGate is what a batch of 400 records costs with a gate before the
// handler.
func BenchmarkGate(b *testing.B) {
	for _, shut := range []bool{false, true} {
		b.Run(fmt.Sprintf("shut=%v", shut), func(b *testing.B) {
			g := newGate(b, 1, 0, &counter{})
			if shut {
				g.Shut()
			}
			batch := newSpring(b, rand.New(rand.NewPCG(1, 1)), 0, 1000).batch(400, 0)
			b.SetBytes(int64(len(batch.Payload)))
			b.ReportAllocs()
			for b.Loop() {
				if err := g.HandleBatch(batch, 0); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(400*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
