package titanic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// What makes the test binary a Titanic that is killed: where its log is and its
// broker, the step at which it dies, and how often it has to come there first.
const (
	killDir   = "TAPEDECK_TEST_TITANIC_DIR"
	killBus   = "TAPEDECK_TEST_TITANIC_BUS"
	killPoint = "TAPEDECK_TEST_TITANIC_POINT"
	killHits  = "TAPEDECK_TEST_TITANIC_HITS"
)

// points are all steps between which a Titanic can die.
var points = []string{"appended", "written", "synced", "added", "dispatched", "replied", "closed",
	"log copied", "log synced", "log renamed", "log in force"}

func killConfig(dir, bus string) Config {
	return Config{Dir: dir, Endpoints: []string{bus}, Retry: time.Millisecond, RetryMax: 20 * time.Millisecond, SegmentBytes: segmentLeast,
		Heartbeat: killBeat, Liveness: killLiveness, Concurrency: 4}
}

// Those who die are noticed soon; those who are only slow may be taken for dead,
// which costs time and nothing else.
const (
	killBeat     = 50 * time.Millisecond
	killLiveness = 10
)

func serveUntilKilled(dir string) {
	hits, _ := strconv.Atoi(os.Getenv(killHits))
	point := os.Getenv(killPoint)
	var seen atomic.Int64
	o, err := openWith(killConfig(dir, os.Getenv(killBus)), func(p string) {
		if p == point && seen.Add(1) == int64(hits) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	err = o.Run(context.Background())
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// killed is a Titanic that dies again and again, and what it has said.
type killed struct {
	t   *testing.T
	dir string
	bus string

	mu      sync.Mutex
	ids     map[ID]string // accepted jobs: their bodies
	replies map[ID]string // what titanic.reply has said
	closing map[ID]bool   // somebody has begun to close them
	closed  map[ID]bool
	asked   map[string]int // how often the service was asked, by body
	jobs    int            // done from beginning to end
}

// start starts one that dies at a step.
func (k *killed) start(point string, hits int) *exec.Cmd {
	k.t.Helper()
	self, err := os.Executable()
	if err != nil {
		k.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), killDir+"="+k.dir, killBus+"="+k.bus, killPoint+"="+point, killHits+"="+strconv.Itoa(hits))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	return cmd
}

// echo answers with the body and how often it was asked for it.
func (k *killed) echo(_ context.Context, request [][]byte) majordomo.Reply {
	body := string(bytes.Join(request, []byte("|")))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked[body]++
	return majordomo.Reply{Frames: [][]byte{[]byte(body), fmt.Append(nil, k.asked[body])}}
}

// patiently does something until it works.
func patiently(do func() error) {
	for do() != nil {
	}
}

// client has jobs done, one after the other, until stop is closed: it adds each
// until it knows the ID, and adds it again; asks until there is a reply, and asks
// again; and closes it.
func (k *killed) client(n int, stop <-chan struct{}) {
	bus, err := majordomo.NewClient(majordomo.ClientConfig{Endpoints: []string{k.bus}, Timeout: 250 * time.Millisecond, Backoff: time.Millisecond, BackoffMax: 50 * time.Millisecond})
	if err != nil {
		k.t.Error(err)
		return
	}
	defer bus.Close()
	c, err := NewClient(ClientConfig{Bus: bus, First: time.Millisecond, Most: 20 * time.Millisecond})
	if err != nil {
		k.t.Error(err)
		return
	}
	for number := 1; ; number++ {
		select {
		case <-stop:
			return
		default:
		}
		object := fmt.Sprintf(`{"client":"%032x","number":%d,"pad":"%s"}`, n+1, number, bytes.Repeat([]byte("x"), 2000))
		if !k.job(c, "TPDC01", object) {
			return
		}
	}
}

func (k *killed) job(c *Client, signature, object string) bool {
	ctx := k.t.Context()
	body := signature + "|" + object
	var id ID
	for range 2 {
		patiently(func() error {
			name, err := c.Request(ctx, "echo", []byte(signature), []byte(object))
			if err != nil {
				return err
			}
			got, err := ParseID(name)
			if err == nil && id != (ID{}) && got != id {
				k.t.Errorf("one request, two jobs: %v and %v", id, got)
			}
			if err == nil {
				id = got
			}
			return err
		})
		k.mu.Lock()
		k.ids[id] = body
		k.mu.Unlock()
	}
	for range 2 {
		var reply [][]byte
		patiently(func() (err error) {
			reply, err = c.Wait(ctx, id.String())
			if errors.Is(err, ErrUnknown) {
				k.t.Errorf("job %v was accepted, and is lost", id)
				return nil
			}
			return err
		})
		if len(reply) != 2 || string(reply[0]) != body {
			k.t.Errorf("job %v is answered %.40q", id, reply)
			return false
		}
		k.mu.Lock()
		if said := k.replies[id]; said != "" && said != string(reply[1]) {
			k.t.Errorf("job %v is answered %s, and was %s", id, reply[1], said)
		}
		k.replies[id] = string(reply[1])
		k.mu.Unlock()
	}
	k.mu.Lock()
	k.closing[id] = true
	k.mu.Unlock()
	patiently(func() error { return c.Close(ctx, id.String()) })
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed[id] = true
	k.jobs++
	return true
}

// look opens the log of one that has died, and holds it against what it had said.
func (k *killed) look(what string) {
	k.t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	s, err := openStore(storeConfig{fs: fsys.OS{}, dir: k.dir, segment: segmentLeast, jobs: 1 << 20, bytes: 1 << 30, expire: time.Hour, forget: time.Hour}, time.Now().UnixNano())
	if err != nil {
		k.t.Fatalf("%s: %v", what, err)
	}
	defer s.close()
	for id, body := range k.ids {
		info, err := s.get(id)
		switch {
		case k.closed[id] && !errors.Is(err, ErrUnknown):
			k.t.Errorf("%s: %v was closed, and is %v, %v", what, id, info.State, err)
		case k.closing[id]:
		case err != nil:
			k.t.Errorf("%s: %v was accepted, and is lost: %v", what, id, err)
		case k.replies[id] != "" && info.State != Answered:
			k.t.Errorf("%s: %v was answered, and is %v", what, id, info.State)
		case info.State == Answered:
			reply, err := s.reply(id)
			if said := k.replies[id]; err != nil || string(reply[0]) != body || said != "" && said != string(reply[1]) {
				k.t.Errorf("%s: the reply of %v: %.40q, %v", what, id, reply, err)
			}
		case info.State.Pending():
			if b, err := s.body(id, kindAdded); err != nil || !bytes.Contains(b, []byte(body[len("TPDC01|"):])) {
				k.t.Errorf("%s: the body of %v: %v", what, id, err)
			}
		default:
			k.t.Errorf("%s: %v is %v", what, id, info.State)
		}
	}
}

// TestKill kills a Titanic between any two of its steps, while clients have jobs
// done, and starts it again: no job that was accepted is lost, none is answered in
// two ways, none is answered 300 for ever, none is stored twice, what was closed is
// gone, nothing is left in the end, and the log is small.
func TestKill(t *testing.T) {
	rounds := 4
	if testing.Short() {
		rounds = 1
	}
	k := &killed{t: t, dir: t.TempDir() + "/jobs", ids: map[ID]string{}, replies: map[ID]string{}, closing: map[ID]bool{},
		closed: map[ID]bool{}, asked: map[string]int{}}
	b, err := majordomo.NewBroker(majordomo.BrokerConfig{Endpoints: []string{"tcp://127.0.0.1:*"}, Heartbeat: killBeat, Liveness: killLiveness})
	if err != nil {
		t.Fatal(err)
	}
	zsocktest.Background(t, b.Run, b.Close)
	k.bus = b.Endpoints()[0]
	runWorker(t, b.Endpoints(), "echo", 4, k.echo)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for n := range 6 {
		clients.Go(func() { k.client(n, stop) })
	}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for round := range rounds {
		for _, point := range points {
			hits := 1
			switch {
			case round > 0 && strings.HasPrefix(point, "log"):
				hits += rng.IntN(2) // it takes many jobs until the log is worth a compaction
			case round > 0:
				hits += rng.IntN(12)
			}
			what := fmt.Sprintf("killed at %q, the %d. time", point, hits)
			cmd := k.start(point, hits)
			err := cmd.Wait()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("%s: it ended by itself: %v", what, err)
			}
			k.look(what)
		}
	}
	last := k.start("", 0)
	close(stop)
	clients.Wait()
	if err := last.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = last.Wait() // killed, as wanted
	k.end()
}

// end looks at what is left when all clients are content.
func (k *killed) end() {
	t := k.t
	k.look("in the end")
	o, err := Open(killConfig(k.dir, k.bus))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if list, err := o.List(); err != nil || len(list) > 0 {
		t.Errorf("orphans: %+v, %v", list, err)
	}
	twice, all := 0, int64(0)
	for body, n := range k.asked {
		all += int64(len(body))
		if n > 1 {
			twice++
		}
	}
	if len(k.asked) != k.jobs || len(k.closed) != k.jobs {
		t.Errorf("%d jobs, %d asked for, %d closed", k.jobs, len(k.asked), len(k.closed))
	}
	info, err := os.Stat(k.dir + "/" + o.store.log.name)
	if err != nil {
		t.Fatal(err)
	}
	if all > 1<<20 && info.Size() > all/2 {
		t.Errorf("the log has %d bytes, all bodies had %d", info.Size(), all)
	}
	t.Logf("%d jobs of %d bytes, %d asked for more than once; the log has %d bytes", k.jobs, all, twice, info.Size())
}
