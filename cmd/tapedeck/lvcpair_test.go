package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/wire"
)

// pairReader is a client of both proxies: it drops what comes twice, by epoch, shard
// and sequence, and takes note of what is missing.
type pairReader struct {
	socket *zsock.Socket
	next   wire.Seq
	seen   bool
	ahead  map[wire.Seq]bool // beyond next
	epoch  wire.Epoch

	records, repeated uint64
	wide              int // the most that was ahead
	ended             bool
	bad               error

	mu      sync.Mutex
	waiting time.Time     // for the first new record that was sent after this
	took    chan struct{} // closed when it came
	after   time.Duration
}

// await has the reader take the time until a record comes that was sent after now.
func (r *pairReader) await(now time.Time) chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting, r.took = now, make(chan struct{})
	return r.took
}

// read reads until the stream's end has come, and all before it.
func (r *pairReader) read(ctx context.Context) {
	in := zsock.NewInbox()
	defer in.Close()
	for !r.ended || len(r.ahead) > 0 {
		err := r.socket.RecvMany(in, 10_000, 4<<20)
		if errors.Is(err, zsock.ErrAgain) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			r.bad = err
			return
		}
		for frames := in.Next(); frames != nil && r.bad == nil; frames = in.Next() {
			r.message(frames)
		}
		if r.bad != nil {
			return
		}
	}
}

// message takes a live record, or the end; last values are no news.
func (r *pairReader) message(frames [][]byte) {
	h, err := wire.ParsePlain(frames[1])
	switch {
	case err != nil:
		r.bad = err
	case string(frames[0]) == lvc.EndTopic:
		r.ended = true
	case h.Kind != wire.KindNotice && h.Flags&wire.PlainSnapshot == 0:
		r.take(&h)
	}
}

func (r *pairReader) take(h *wire.Plain) {
	if !r.seen {
		r.seen, r.epoch, r.next = true, h.Epoch, h.Seq
		if h.Seq != 0 {
			r.bad = fmt.Errorf("begins with sequence %d", h.Seq)
		}
	}
	if h.Epoch != r.epoch {
		r.bad = fmt.Errorf("epoch %d, want %d", h.Epoch, r.epoch)
		return
	}
	if h.Seq < r.next || r.ahead[h.Seq] {
		r.repeated++
		return
	}
	r.records++
	r.mu.Lock()
	if r.took != nil && h.Send.Time().After(r.waiting) {
		r.after = time.Since(r.waiting)
		close(r.took)
		r.took = nil
	}
	r.mu.Unlock()
	if h.Seq > r.next {
		r.ahead[h.Seq] = true
		r.wide = max(r.wide, len(r.ahead))
		return
	}
	for r.next++; r.ahead[r.next]; r.next++ {
		delete(r.ahead, r.next)
	}
}

// pairRun is a pair of proxies in processes of their own, a player, and readers that
// are connected to both proxies.
type pairRun struct {
	*pairPlace
	t        *testing.T
	bind     string
	plains   [2]string
	members  [2]*pairMember[lvcPairStatus]
	all      []*pairReader
	reading  sync.WaitGroup
	play     *process
	outsider int // readers of another kind, which the test has started
}

// startPair starts both proxies, active and passive.
func startPair(t *testing.T) *pairRun {
	t.Helper()
	p := &pairRun{t: t, pairPlace: newPairPlace(t)}
	p.bind, p.plains = "ipc://"+filepath.Join(p.dir, "s"), p.endpoints("plain")
	p.begin(0)
	p.begin(1)
	p.members[0].await("active", func(s lvcPairStatus) bool { return s.State == "active" })
	p.members[1].await("passive", func(s lvcPairStatus) bool { return s.State == "passive" })
	return p
}

// begin starts one of the two.
func (p *pairRun) begin(i int) {
	p.t.Helper()
	args := []string{"lvc", "--shards", p.bind, "--plain", p.plains[i], "--json", "--name", pairRoles[i], "--max-bytes", "256MiB", "--heartbeat", "100ms", "--pair-keep", "3s"}
	p.members[i] = startMember[lvcPairStatus](p.t, p.pairPlace, "lvc.pair", append(args, p.flags(p.t, i)...)...)
}

// connected reports whether all readers are.
func (p *pairRun) connected(s lvcPairStatus) bool { return s.Readers == len(p.all)+p.outsider }

// turn waits until one of the two is active and the other one can take over.
func (p *pairRun) turn() (active int) {
	p.t.Helper()
	return awaitTurn(p.members, func(active, passive lvcPairStatus) bool {
		return active.State == "active" && passive.Ready && p.connected(passive)
	})
}

// playTo has readers connect, and records played at a rate, a second, until finish.
func (p *pairRun) playTo(readers, rate int) {
	p.t.Helper()
	src := filepath.Join(p.dir, "load.tape")
	tapedeck(p.t, "import", fmt.Sprintf("synth:topics=300,records=2000000,rate=%d,size=64,seed=9", rate), "-o", src)
	p.all = make([]*pairReader, readers)
	reading, stop := context.WithCancel(context.Background())
	for i := range p.all {
		p.all[i] = &pairReader{socket: pairSocket(p.t, p.plains), ahead: map[wire.Seq]bool{}}
		p.reading.Go(func() { p.all[i].read(reading) })
	}
	p.t.Cleanup(func() { stop(); p.reading.Wait() }) // before their sockets are closed
	p.members[0].await("connected", p.connected)
	p.members[1].await("connected", p.connected)
	p.play = start(p.t, "play", src, "--bind", p.bind, "--speed", "1x", "--wait", "2")
	if !p.play.stderr.await("playing") {
		p.t.Fatal(p.play.stderr)
	}
	p.newRecords(time.Unix(1, 0))() // both proxies are there, whom play waits for
}

// newRecords has all readers wait for a record that was sent after a time; the
// function that it returns waits for them, and returns how long they took.
func (p *pairRun) newRecords(after time.Time) func() []time.Duration {
	var took []chan struct{}
	for _, r := range p.all {
		took = append(took, r.await(after))
	}
	return func() (times []time.Duration) {
		for i, c := range took {
			<-c
			times = append(times, p.all[i].after)
		}
		return times
	}
}

// finish ends the stream, and holds every reader to have all of it once.
func (p *pairRun) finish() {
	p.t.Helper()
	awaitTurn(p.members, func(active, passive lvcPairStatus) bool { return active.State == "active" && p.connected(passive) })
	p.play.signal(syscall.SIGINT)
	p.play.end()
	p.reading.Wait()
	for i, r := range p.all {
		if r.bad != nil || len(r.ahead) > 0 || r.records != uint64(r.next) || r.records != p.all[0].records {
			p.t.Errorf("reader %d: %v; %d records through %d, %d ahead; the first one has %d", i, r.bad, r.records, r.next, len(r.ahead), p.all[0].records)
		}
	}
	first := p.all[0]
	p.t.Logf("%d records, of which %d came twice to the first reader, up to %d out of order", first.records, first.repeated, first.wide)
}

// stop ends both proxies.
func (p *pairRun) stop() {
	for _, m := range p.members {
		m.signal(os.Interrupt)
		m.code()
	}
}

// TestPairKilled: the active one of a pair of proxies is killed at random moments
// while records flow. Every reader, connected to both, has every record once by
// sequence.
func TestPairKilled(t *testing.T) {
	kills := 6
	if testing.Short() {
		kills = 2
	}
	p := startPair(t)
	p.playTo(20, 20_000)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var times []time.Duration
	for range kills {
		active := p.turn()
		time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond) // the moments are the test's input
		killed := time.Now()
		took := p.newRecords(killed.Add(10 * time.Millisecond))
		p.members[active].signal(os.Kill)
		p.members[active].code()
		times = append(times, took()...)
		p.begin(active)
	}
	p.finish()
	slices.Sort(times)
	t.Logf("to a record sent after the kill, heartbeats of 100 ms: median %v, longest %v", times[len(times)/2], times[len(times)-1])
	p.stop()
}

// TestPairStopped: the active one of a pair stands still, the other one takes over, and
// the first one goes on: it hears of a later epoch, and gives way. Every reader has every
// record once, whatever both have sent.
func TestPairStopped(t *testing.T) {
	p := startPair(t)
	p.playTo(5, 5_000)
	for range 2 {
		active := p.turn()
		one, other := p.members[active], p.members[1-active]
		before := one.state()
		took := p.newRecords(time.Now().Add(10 * time.Millisecond))
		one.signal(syscall.SIGSTOP)
		took()
		other.await("active", func(s lvcPairStatus) bool { return s.State == "active" && s.Epoch > before.Epoch })
		one.signal(syscall.SIGCONT)
		one.await("passive", func(s lvcPairStatus) bool { return s.State == "passive" && s.Yields > before.Yields })
		other.await("still active", func(s lvcPairStatus) bool { return s.State == "active" })
		p.newRecords(time.Now())()
	}
	p.finish()
	p.stop()
}

// pairSocket is a SUB socket that is connected to both, and looks up now and then.
func pairSocket(t *testing.T, endpoints [2]string) *zsock.Socket {
	t.Helper()
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{RecvTimeout: 50 * time.Millisecond, ReceiveQueue: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), ctx.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(s.Connect(endpoints[0]), s.Connect(endpoints[1]), s.Subscribe("")); err != nil {
		t.Fatal(err)
	}
	return s
}
