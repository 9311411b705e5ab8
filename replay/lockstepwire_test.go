package replay

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// seen is a batch as a reader handled it. Two that are equal are so to the last bit:
// the rolling hash before it is that of everything before.
type seen struct {
	epoch   int // from 0
	shard   uint16
	seq     wire.Seq
	count   uint32
	ordinal wire.Ordinal
	flags   wire.HeaderFlags
	crc     uint32
	hash    wire.Hash
}

// stepReader is a Handler that writes down all batches, of all shards, in the order in
// which it is through with them.
type stepReader struct {
	slow int           // how long it takes for a batch
	hold chan struct{} // if there is one, it stands still until it is closed
	at   func(n int) error

	mu     sync.Mutex
	epochs []wire.Epoch
	list   []seen
	gaps   int
	ends   int // that were complete
}

func (r *stepReader) HandleBatch(b *wire.Batch, skip uint32) error {
	if r.hold != nil {
		<-r.hold
	}
	for range r.slow {
		runtime.Gosched()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at != nil {
		if err := r.at(len(r.list)); err != nil {
			return err
		}
	}
	if !slices.Contains(r.epochs, b.Epoch) {
		r.epochs = append(r.epochs, b.Epoch)
	}
	r.list = append(r.list, seen{
		slices.Index(r.epochs, b.Epoch), b.Shard, b.FirstSeq + wire.Seq(skip), b.Count - skip, b.FirstOrdinal, b.Flags, b.CRC, b.Hash,
	})
	return nil
}

func (r *stepReader) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gaps++
}

func (*stepReader) HandleSession(int, wire.Epoch, *wire.Session) {}

func (r *stepReader) HandleEnd(_ int, _ wire.Epoch, complete bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if complete {
		r.ends++
	}
}

// inOrder is what was seen, the batches of each window by their ordinals: within a
// window shards come as they come.
func (r *stepReader) inOrder(t *testing.T, window int) []seen {
	t.Helper()
	list := slices.Clone(r.list)
	from, records, epoch := 0, 0, 0
	sortFrom := func(to int) {
		slices.SortFunc(list[from:to], func(a, b seen) int { return int(a.ordinal) - int(b.ordinal) })
		from = to
	}
	for i, b := range list {
		if b.epoch != epoch {
			sortFrom(i)
			epoch, records = b.epoch, 0
		}
		if records += int(b.count); records%window == 0 {
			sortFrom(i + 1)
		}
	}
	sortFrom(len(list))
	for i := 1; i < len(list); i++ {
		if a, b := list[i-1], list[i]; b.epoch == a.epoch && b.ordinal <= a.ordinal {
			t.Errorf("ordinal %d comes behind %d, of another window", b.ordinal, a.ordinal)
		}
	}
	return list
}

// stepRun is one play in lock-step over sockets.
type stepRun struct {
	pub     *publisher.Publisher
	s       *session
	readers []*stepReader
	subs    []*subscriber.Subscriber
	done    []chan error
}

func startSteps(t *testing.T, cfg Config, names ...string) *stepRun {
	t.Helper()
	pub, err := publisher.New(publisher.Config{
		Endpoints: slices.Repeat([]string{"tcp://127.0.0.1:*"}, 2), Barrier: names, QueueBytes: 1, Epoch: 7,
		Session: wire.Session{Publisher: "test", Mode: "lock-step"},
	})
	must(t, err)
	return &stepRun{pub: pub, s: start(t, nil, pub, cfg)}
}

// join lets another reader come.
func (r *stepRun) join(t *testing.T, ctx context.Context, name string, reader *stepReader) {
	t.Helper()
	sub, err := subscriber.New(subscriber.Config{Endpoints: r.pub.Endpoints(), Name: name, LockStep: name != "", QueueBytes: 1 << 20}, reader)
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- sub.Run(ctx) }()
	r.readers, r.subs, r.done = append(r.readers, reader), append(r.subs, sub), append(r.done, done)
}

// phase waits until the player does something.
func (r *stepRun) phase(t *testing.T, want Phase) {
	t.Helper()
	for st := r.s.p.State(); st.Phase != want; {
		next, err := r.s.p.Wait(t.Context(), st.Version)
		must(t, err)
		st = next
	}
}

// close waits for everybody.
func (r *stepRun) close(t *testing.T) {
	t.Helper()
	must(t, <-r.s.result)
	for _, done := range r.done {
		must(t, <-done)
	}
	must(t, r.pub.Close())
	r.s.p.Close()
}

// load keeps all processors busy until the test's end.
func load(t *testing.T) {
	var wg sync.WaitGroup
	ctx := t.Context()
	for range 2 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for ctx.Err() == nil {
				runtime.Gosched()
			}
		})
	}
	t.Cleanup(wg.Wait)
}

// TestLockStepOverTheWire: over sockets, three readers of different slowness see the
// same batches of two shards in the same order over both, with the same rolling hashes,
// in three runs: at full speed, paced with pauses and changes of the speed, and on a
// busy machine. Steps and seeks at the same places belong to it. A reader that is not
// named stands still all the time, and holds nobody up.
func TestLockStepOverTheWire(t *testing.T) {
	for _, window := range []int{1, 25, 1000} {
		t.Run(fmt.Sprint("by ", window), func(t *testing.T) {
			var want []seen
			for run := range 3 {
				if run == 2 {
					load(t)
				}
				cfg := Config{
					Tape:  makeTape(t, tapeSpec{shards: 2, epochs: []int{600}, codec: tape.CodecPlain, topics: 30, body: 1000}),
					Speed: []Speed{Max, 0.5, Max}[run], Barrier: window, Paused: true, Hold: true, Wait: 4,
				}
				r := startSteps(t, cfg, "quick", "slow", "slower")
				ctx := t.Context()
				still := &stepReader{hold: make(chan struct{})}
				r.join(t, ctx, "slower", &stepReader{slow: 20})
				r.join(t, ctx, "quick", &stepReader{})
				r.join(t, ctx, "", still)
				r.join(t, ctx, "slow", &stepReader{slow: 3})
				must(t, r.s.p.Step(ctx, 250))
				must(t, r.s.p.Seek(ctx, ToTime(firstTime+100*1000, tape.ClockReceive)))
				must(t, r.s.p.Step(ctx, 5))
				done, ended := make(chan struct{}), make(chan struct{})
				must(t, r.s.p.Resume(ctx))
				go func() {
					defer close(ended)
					if run == 1 {
						disturb(t, r.s.p, uint64(window), done)
					}
				}()
				r.phase(t, Held)
				close(done)
				<-ended
				close(still.hold)
				must(t, r.s.p.Stop(ctx))
				r.close(t)
				for i, reader := range r.readers {
					if reader == still {
						continue
					}
					got := reader.inOrder(t, window)
					if want == nil {
						want = got
					}
					if !slices.Equal(got, want) {
						t.Errorf("run %d: reader %d saw %d batches, not the same as %d before", run, i, len(got), len(want))
					}
					if window == 1 && !slices.Equal(got, reader.list) {
						t.Errorf("run %d: reader %d was not handed one record after the other", run, i)
					}
					if sum := r.subs[i].Summary(); !sum.Complete || reader.gaps != 0 || reader.ends != 2 {
						t.Errorf("run %d: reader %d: %+v", run, i, sum)
					}
				}
			}
			records, last := 0, 0
			for _, b := range want {
				if b.flags == 0 {
					records += int(b.count)
				} else {
					last += int(b.count)
				}
			}
			if records != 250+500 || last == 0 {
				t.Errorf("%d records and %d last values", records, last)
			}
		})
	}
}

// TestLockStepWaitsForWhoComesBack: a reader that is killed with a record in hand is
// waited for; when it is there again, play goes on with the next record, and the others
// have seen nothing of it.
func TestLockStepWaitsForWhoComesBack(t *testing.T) {
	r := startSteps(t, Config{Tape: deckTape(t, 400, 2), Barrier: 1}, "desk", "risk")
	ctx, kill := context.WithCancel(t.Context())
	const inHand = 150
	reached := make(chan struct{})
	r.join(t, ctx, "risk", &stepReader{at: func(n int) error {
		if n < inHand {
			return nil
		}
		close(reached)
		<-ctx.Done()
		return context.Canceled
	}})
	r.join(t, t.Context(), "desk", &stepReader{})
	<-reached
	kill()
	<-r.done[0]
	for {
		var who []string
		for _, a := range r.pub.Absent() {
			who = append(who, a.String())
		}
		if list := strings.Join(who, "; "); list == `"risk", which is not there` {
			break
		}
		runtime.Gosched()
	}
	if n := r.s.p.State().Records; n != inHand+1 {
		t.Errorf("%d records went out, want %d", n, inHand+1)
	}
	r.join(t, t.Context(), "risk", &stepReader{})
	r.done = r.done[1:]
	r.close(t)
	desk, before, after := r.readers[1].list, r.readers[0].list, r.readers[2].list
	if len(desk) != 400 || !slices.Equal(before, desk[:inHand]) || !slices.Equal(after, desk[inHand+1:]) {
		t.Errorf("%d, then %d records of %d", len(before), len(after), len(desk))
	}
}
