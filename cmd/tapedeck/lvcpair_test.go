package main

import (
	"bufio"
	"context"
	"encoding/json"
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

// pairMember is one proxy of a pair in a process of its own, with the state that it
// said last.
type pairMember struct {
	*process
	board *pairBoard
	said  lvcPairStatus
	ended bool
}

// pairBoard is what the members of a pair say, as it comes.
type pairBoard struct {
	mu   sync.Mutex
	more *sync.Cond
}

func newPairBoard() *pairBoard {
	b := &pairBoard{}
	b.more = sync.NewCond(&b.mu)
	return b
}

func (b *pairBoard) startMember(t *testing.T, role, bind, own, peer, plain, dir string) *pairMember {
	t.Helper()
	m := &pairMember{board: b, process: start(t, "lvc", "--shards", bind, "--plain", plain, "--json", "--name", role, "--max-bytes", "256MiB",
		"--pair", role, "--pair-bind", own, "--pair-peer", peer, "--heartbeat", "100ms", "--pair-keep", "3s", "--pair-dir", dir)}
	go func() {
		for lines := bufio.NewScanner(m.stdout); lines.Scan(); {
			var line struct {
				Type string `json:"message_type"`
				lvcPairStatus
			}
			b.mu.Lock()
			if err := json.Unmarshal(lines.Bytes(), &line); err == nil && line.Type == "lvc.pair" {
				m.said = line.lvcPairStatus
			}
			b.more.Broadcast()
			b.mu.Unlock()
		}
		b.mu.Lock()
		m.ended = true
		b.more.Broadcast()
		b.mu.Unlock()
	}()
	return m
}

// await waits until the pair's state is as wanted.
func (m *pairMember) await(what string, wanted func(lvcPairStatus) bool) {
	m.t.Helper()
	m.board.mu.Lock()
	defer m.board.mu.Unlock()
	for !wanted(m.said) {
		if m.ended {
			m.t.Fatalf("the proxy ended before it was %s: %s", what, m.stderr)
		}
		m.board.more.Wait()
	}
}

// turn waits until one of two is active and the other one can take over, and returns
// which one it is. On a busy machine that may be another than it was.
func (b *pairBoard) turn(two [2]*pairMember, ready func(lvcPairStatus) bool) (active int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		for i, m := range two {
			if m.ended {
				m.t.Fatalf("a proxy ended: %s", m.stderr)
			}
			if m.said.State == "active" && ready(two[1-i].said) {
				return i
			}
		}
		b.more.Wait()
	}
}

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
	t        *testing.T
	dir      string
	bind     string
	links    [2]string
	plains   [2]string
	board    *pairBoard
	members  [2]*pairMember
	all      []*pairReader
	reading  sync.WaitGroup
	play     *process
	outsider int // readers of another kind, which the test has started
}

// startPair starts both proxies, active and passive.
func startPair(t *testing.T) *pairRun {
	t.Helper()
	p := &pairRun{t: t, dir: t.TempDir(), board: newPairBoard()}
	p.bind = "ipc://" + filepath.Join(p.dir, "s")
	for i := range 2 {
		p.links[i], p.plains[i] = "ipc://"+filepath.Join(p.dir, fmt.Sprint("link", i)), "ipc://"+filepath.Join(p.dir, fmt.Sprint("plain", i))
	}
	p.begin(0)
	p.begin(1)
	p.members[0].await("active", func(s lvcPairStatus) bool { return s.State == "active" })
	p.members[1].await("passive", func(s lvcPairStatus) bool { return s.State == "passive" })
	return p
}

// begin starts one of the two.
func (p *pairRun) begin(i int) {
	p.t.Helper()
	state := filepath.Join(p.dir, fmt.Sprint("state", i))
	if err := os.MkdirAll(state, 0o700); err != nil {
		p.t.Fatal(err)
	}
	p.members[i] = p.board.startMember(p.t, []string{"primary", "backup"}[i], p.bind, p.links[i], p.links[1-i], p.plains[i], state)
}

// connected reports whether all readers are.
func (p *pairRun) connected(s lvcPairStatus) bool { return s.Readers == len(p.all)+p.outsider }

// ready reports whether a proxy can take over.
func (p *pairRun) ready(s lvcPairStatus) bool { return s.Ready && p.connected(s) }

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
	p.board.turn(p.members, p.connected)
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
		active := p.board.turn(p.members, p.ready)
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
		active := p.board.turn(p.members, p.ready)
		one, other := p.members[active], p.members[1-active]
		p.board.mu.Lock()
		before := one.said
		p.board.mu.Unlock()
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
