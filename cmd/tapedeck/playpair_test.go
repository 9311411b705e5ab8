package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

type deckMember = pairMember[deckPairStatus]

// deckPairAt is where the players of a pair are.
type deckPairAt struct {
	*pairPlace
	tape   string
	shards [2]string
	args   []string // further ones
}

func newDeckPairAt(t *testing.T, tape string, args ...string) *deckPairAt {
	p := &deckPairAt{pairPlace: newPairPlace(t), tape: tape, args: args}
	p.shards = p.endpoints("s-{shard}-")
	return p
}

// start starts one of the two.
func (p *deckPairAt) start(t *testing.T, i int) *deckMember {
	t.Helper()
	args := slices.Concat([]string{"play", p.tape, "--bind", p.shards[i], "--json", "--pair-follow", p.shards[1-i]}, p.flags(t, i), p.args)
	return startMember[deckPairStatus](t, p.pairPlace, "play.pair", args...)
}

// readyPair waits until one of a pair plays and the other one is ready to take over, with
// so many readers, and returns which one plays.
func readyPair(members [2]*deckMember, readers int) (active int) {
	members[0].t.Helper()
	return awaitTurn(members, func(active, passive deckPairStatus) bool {
		return active.State == "active" && passive.State == "passive" && passive.Ready && passive.Readers == readers
	})
}

// deckFollower is a subscriber of both players. It holds every record against the tape.
type deckFollower struct {
	sub  *subscriber.Subscriber
	want [][]uint32    // per shard, the checksum of each record
	slow time.Duration // how long it takes over a batch
	done chan error

	mu      sync.Mutex
	at      []int
	count   int
	bad     string
	epochs  map[wire.Epoch]bool
	waiting wire.Nanos // for the first new record that was sent after this
	took    chan struct{}
	after   time.Duration
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (r *deckFollower) HandleBatch(b *wire.Batch, skip uint32) error {
	if b.Flags&wire.FlagSnapshotBatch != 0 {
		return nil
	}
	time.Sleep(r.slow) // a slow reader is the test's input
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.took != nil && b.Send > r.waiting {
		r.after = time.Since(r.waiting.Time())
		close(r.took)
		r.took = nil
	}
	s := int(b.Shard)
	for w := b.Records(); w.Next(); {
		if skip > 0 {
			skip--
			continue
		}
		if r.bad == "" && (r.at[s] >= len(r.want[s]) || crc32.Checksum(w.Record(), castagnoli) != r.want[s][r.at[s]]) {
			r.bad = fmt.Sprintf("shard %d: sequence %d of epoch %d is not record %d of the tape", s, w.Seq(), b.Epoch, r.at[s])
		}
		r.at[s]++
		r.count++
	}
	return nil
}

func (r *deckFollower) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bad = fmt.Sprintf("shard %d: [%d, %d) of epoch %d is missing", shard, from, to, epoch)
}

func (r *deckFollower) HandleSession(_ int, epoch wire.Epoch, _ *wire.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epochs[epoch] = true
}

func (*deckFollower) HandleEnd(int, wire.Epoch, bool) {}

// await has the reader take the time until a new record comes that was sent after now.
func (r *deckFollower) await(now time.Time) chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting, r.took = wire.NanosOf(now), make(chan struct{})
	return r.took
}

func (r *deckFollower) has() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// heard is how many epochs it has met.
func (r *deckFollower) heard() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.epochs)
}

// readDecks starts readers of both players.
func readDecks(t *testing.T, p *deckPairAt, shards, readers int, want [][]uint32, slow time.Duration) []*deckFollower {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	var list []*deckFollower
	for i := range readers {
		r := &deckFollower{want: want, slow: slow, at: make([]int, shards), done: make(chan error, 1), epochs: map[wire.Epoch]bool{}}
		cfg := subscriber.Config{Name: fmt.Sprint("reader", i)}
		for s := range shards {
			cfg.Endpoints = append(cfg.Endpoints, shardAt(p.shards[0], s))
			cfg.Pair = append(cfg.Pair, shardAt(p.shards[1], s))
		}
		var err error
		if r.sub, err = subscriber.New(cfg, r); err != nil {
			t.Fatal(err)
		}
		go func() { r.done <- r.sub.Run(ctx) }()
		list = append(list, r)
	}
	return list
}

func shardAt(pattern string, s int) string {
	list, err := shard.Endpoints(pattern, s+1)
	if err != nil {
		panic(err)
	}
	return list[s]
}

// checksums are those of the records of each shard of a tape, in order, of the topics that
// are wanted.
func checksums(t *testing.T, dir string, cfg replay.Config) [][]uint32 {
	t.Helper()
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	cfg.Tape = tp
	p, err := replay.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	list := make([][]uint32, tp.Shards())
	for b, err := range p.Batches(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for w := b.Records(); w.Next(); {
			list[b.Shard] = append(list[b.Shard], crc32.Checksum(w.Record(), castagnoli))
		}
	}
	return list
}

// checkDecks waits for the stream's end at all readers, and holds what they have against
// the tape.
func checkDecks(t *testing.T, readers []*deckFollower) { t.Helper(); checkEnd(t, readers, false) }

// checkEarly is checkDecks where the stream has only the tape's beginning.
func checkEarly(t *testing.T, readers []*deckFollower) { t.Helper(); checkEnd(t, readers, true) }

func checkEnd(t *testing.T, readers []*deckFollower, early bool) {
	t.Helper()
	for i, r := range readers {
		if err := <-r.done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("reader %d: %v", i, err)
		}
		sum := r.sub.Summary()
		for s := range r.want {
			if r.bad == "" && (r.at[s] == len(r.want[s])) == early {
				r.bad = fmt.Sprintf("shard %d: %d records of %d", s, r.at[s], len(r.want[s]))
			}
		}
		if r.bad != "" || sum.Lost+sum.Broken+sum.Diverged+sum.Corrupt != 0 || !sum.Ended || sum.Early != early {
			t.Errorf("reader %d: %s; %+v", i, r.bad, sum)
		}
	}
}

// stopPair stops both players, the one that is passive first, and the other one when it
// knows that it is alone.
func stopPair(t *testing.T, members [2]*deckMember, active int) {
	t.Helper()
	leave := func(m *deckMember) {
		m.signal(os.Interrupt)
		if code := m.code(); code != exitInterrupted {
			t.Errorf("exit code %d: %s", code, m.stderr)
		}
	}
	leave(members[1-active])
	m := members[active]
	last := m.state().Since
	m.await("alone", func(s deckPairStatus) bool { // and not deaf for a moment, before
		return s.State == "active" && s.Silent && s.Since > last+int64(2*time.Second)
	})
	leave(m)
	if strings.Contains(m.stderr.String(), "leaving the stream") {
		t.Fatalf("nobody ends the stream: %s", m.stderr)
	}
}

// TestDeckPairKilled: the active one of a pair of players is killed at random moments in
// the middle of a replay. Every reader, connected to both, gets every record of the tape
// once, in order, up to where the last player is stopped.
func TestDeckPairKilled(t *testing.T) {
	for name, c := range map[string]struct {
		kills, readers, rate, seconds int
		slow                          time.Duration
		through                       bool // to the end of the tape, which is far where a busy machine may take long
		args                          []string
	}{
		"fast heartbeats":    {kills: 6, readers: 20, rate: 20_000, seconds: 200, args: []string{"--heartbeat", "100ms"}},
		"default heartbeats": {kills: 2, readers: 20, rate: 20_000, seconds: 200},
		"full speed":         {kills: 2, readers: 3, rate: 20_000, seconds: 150, slow: 20 * time.Millisecond, through: true, args: []string{"--heartbeat", "100ms", "--speed", "max"}},
	} {
		t.Run(name, func(t *testing.T) {
			src := filepath.Join(t.TempDir(), "load.tape")
			tapedeck(t, "import", fmt.Sprintf("synth:topics=300,records=%d,rate=%d,size=64,seed=9", c.rate*c.seconds, c.rate), "--shards", "2", "-o", src)
			place := newDeckPairAt(t, src, append([]string{"--speed", "1x", "--wait", fmt.Sprint(c.readers)}, c.args...)...)
			members := [2]*deckMember{place.start(t, 0), place.start(t, 1)}
			readers := readDecks(t, place, 2, c.readers, checksums(t, src, replay.Config{}), c.slow)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 0))
			var times []time.Duration
			for range c.kills {
				active := readyPair(members, c.readers)
				time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond) // the moments are the test's input
				killed := time.Now()
				took := make([]chan struct{}, len(readers))
				members[active].signal(os.Kill)
				members[active].code()
				for i, r := range readers {
					took[i] = r.await(killed.Add(10 * time.Millisecond))
				}
				for i, c := range took {
					select {
					case <-c:
					case err := <-readers[i].done:
						t.Fatalf("reader %d is through before the test: %v", i, err)
					}
				}
				for _, r := range readers {
					times = append(times, r.after+10*time.Millisecond)
				}
				members[active] = place.start(t, active)
			}
			if c.through {
				checkDecks(t, readers)
				for _, m := range members {
					if code := m.code(); code != 0 {
						t.Errorf("exit code %d: %s", code, m.stderr)
					}
				}
			} else {
				stopPair(t, members, readyPair(members, c.readers))
				checkEarly(t, readers)
			}
			slices.Sort(times)
			sum := readers[0].sub.Summary()
			t.Logf("%d records; %d came again to the first reader; to a record sent after the kill: median %v, longest %v",
				sum.Records, sum.Repeated, times[len(times)/2], times[len(times)-1])
		})
	}
}

// TestDeckPairStops: the active one of a pair of players stands still for a while. The
// other one goes on; the first one yields when it wakes, and what it still says is
// ignored. Then it takes over again, when the other one is asked to leave.
func TestDeckPairStops(t *testing.T) {
	src := filepath.Join(t.TempDir(), "load.tape")
	tapedeck(t, "import", "synth:topics=300,records=140000,rate=20000,size=64,seed=9", "--shards", "2", "-o", src)
	place := newDeckPairAt(t, src, "--speed", "1x", "--wait", "4", "--heartbeat", "100ms")
	members := [2]*deckMember{place.start(t, 0), place.start(t, 1)}
	readers := readDecks(t, place, 2, 4, checksums(t, src, replay.Config{}), 0)
	active := readyPair(members, 4)
	first, other := members[active], members[1-active]
	first.signal(syscall.SIGSTOP)
	other.await("active", func(s deckPairStatus) bool { return s.State == "active" })
	had := readers[0].has()
	for readers[0].has() < had+10_000 {
		<-time.After(time.Millisecond)
	}
	first.signal(syscall.SIGCONT)
	first.await("ready", func(s deckPairStatus) bool { return s.Ready && s.Readers == 4 && s.Yields > 0 })
	other.signal(os.Interrupt)
	first.await("active", func(s deckPairStatus) bool { return s.State == "active" })
	if code := other.code(); code == 0 || !other.stderr.await("leaving the stream to the other one") {
		t.Errorf("exit code %d: %s", code, other.stderr)
	}
	checkDecks(t, readers)
	if code := first.code(); code != 0 {
		t.Errorf("exit code %d: %s", code, first.stderr)
	}
}

// TestDeckPairBothStopped: both players are told to end at once. Neither leaves the stream to
// the other one: readers hear that it has ended early.
func TestDeckPairBothStopped(t *testing.T) {
	src := filepath.Join(t.TempDir(), "load.tape")
	tapedeck(t, "import", "synth:topics=300,records=1200000,rate=20000,size=64,seed=9", "--shards", "2", "-o", src)
	place := newDeckPairAt(t, src, "--speed", "1x", "--wait", "2")
	members := [2]*deckMember{place.start(t, 0), place.start(t, 1)}
	readers := readDecks(t, place, 2, 2, checksums(t, src, replay.Config{}), 0)
	active := readyPair(members, 2)
	for readers[0].has() < 5000 {
		<-time.After(time.Millisecond)
	}
	members[active].signal(syscall.SIGTERM)
	members[1-active].signal(syscall.SIGTERM)
	checkEarly(t, readers)
	for i := range members {
		members[i].code()
	}
}

// TestDeckPairRefuses: a player of another tape, or of another part of it, is no half of
// the pair, and says so.
func TestDeckPairRefuses(t *testing.T) {
	dir := t.TempDir()
	src, other := filepath.Join(dir, "a.tape"), filepath.Join(dir, "b.tape")
	tapedeck(t, "import", "synth:topics=30,records=2000,rate=10,size=64,seed=9", "-o", src)
	tapedeck(t, "import", "synth:topics=30,records=2000,rate=10,size=64,seed=10", "-o", other)
	place := newDeckPairAt(t, src, "--speed", "1x", "--heartbeat", "100ms")
	active := place.start(t, 0)
	for name, c := range map[string]struct {
		tape, says string
		args       []string
	}{
		"another tape": {tape: other, says: "plays tape"},
		"another part": {tape: src, says: "this one", args: []string{"--to", "2030-01-01T00:00:00Z"}},
	} {
		half := *place
		half.tape, half.args = c.tape, append(slices.Clone(place.args), c.args...)
		m := half.start(t, 1)
		if !m.stderr.await(c.says) {
			t.Errorf("%s: %s", name, m.stderr)
		}
		if code := m.code(); code == 0 {
			t.Errorf("%s: exit code 0", name)
		}
	}
	active.signal(os.Kill)
}

// TestDeckPairLoops: a pair plays a part of the tape again and again; the active one is
// killed in the middle, and the other one goes on with the round.
func TestDeckPairLoops(t *testing.T) {
	src := filepath.Join(t.TempDir(), "load.tape")
	tapedeck(t, "import", "synth:topics=30,records=40000,rate=20000,size=64,seed=9", "-o", src)
	place := newDeckPairAt(t, src, "--speed", "1x", "--loop", "3", "--wait", "3", "--topics", "SYN.A000")
	members := [2]*deckMember{place.start(t, 0), place.start(t, 1)}
	readers := readDecks(t, place, 1, 3, checksums(t, src, replay.Config{Passes: 3, Topics: []string{"SYN.A000"}}), 0)
	active := readyPair(members, 3)
	for total := len(readers[0].want[0]); readers[0].has() < total/2; {
		<-time.After(time.Millisecond)
	}
	members[active].signal(os.Kill)
	checkDecks(t, readers)
	if m := members[1-active]; m.code() != 0 {
		t.Errorf("%s", m.stderr)
	}
}

// TestDeckPairRecorded: what is recorded of a pair whose active one is killed has every
// record of the tape once, also where the recorder heals itself from either of the two,
// and is whole.
func TestDeckPairRecorded(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "load.tape")
	tapedeck(t, "import", "synth:topics=300,records=80000,rate=20000,size=64,seed=9", "--shards", "2", "-o", src)
	place := newDeckPairAt(t, src, "--speed", "1x", "--wait", "2")
	refills := [2]string{"ipc://" + filepath.Join(dir, "r0"), "ipc://" + filepath.Join(dir, "r1")}
	begin := func(i int) *deckMember {
		one := *place
		one.args = append(slices.Clone(place.args), "--resync-bind", refills[i])
		return one.start(t, i)
	}
	members := [2]*deckMember{begin(0), begin(1)}
	stream := []string{"--connect", place.shards[0], "--standby", place.shards[1], "--shards", "2", "--json"}
	plain, healed := filepath.Join(dir, "plain.tape"), filepath.Join(dir, "healed.tape")
	recorders := []*process{
		start(t, append([]string{"record", "-o", plain}, stream...)...),
		start(t, append([]string{"record", "-o", healed, "--resync", refills[0] + "," + refills[1]}, stream...)...),
	}
	active := readyPair(members, 2)
	time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond) // the moment is the test's input
	members[active].signal(os.Kill)
	for i, r := range recorders {
		if out, code := r.end(); code != 0 || summary(t, out, "record.summary")["records"] != 80_000.0 {
			t.Errorf("recorder %d: exit code %d, %s, %s", i, code, out, r.stderr)
		}
	}
	want := checksums(t, src, replay.Config{})
	for _, dir := range []string{plain, healed} {
		tapedeck(t, "verify", dir)
		got := checksums(t, dir, replay.Config{})
		for s := range want {
			if !slices.Equal(got[s], want[s]) {
				t.Errorf("%s, shard %d: %d records, want %d", dir, s, len(got[s]), len(want[s]))
			}
		}
	}
}
