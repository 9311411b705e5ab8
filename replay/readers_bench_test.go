package replay_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/feed/synth"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// readersEnv says to the test binary that it is the readers of a benchmark: how many,
// and of which endpoints.
const readersEnv = "TAPEDECK_BENCH_READERS"

func TestMain(m *testing.M) {
	if what, ok := os.LookupEnv(readersEnv); ok {
		if err := runReaders(strings.Split(what, " ")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// follower is a reader that visits every record and knows the deck's state.
type follower struct {
	visitor
	version atomic.Uint64
	told    func()
}

// HandleNotice implements subscriber.NoticeHandler.
func (f *follower) HandleNotice(_ int, n wire.Record) {
	if string(n.Topic()) != wire.DeckTopic {
		return
	}
	if d, err := wire.ParseDeck(n.Body()); err == nil && d.Version > f.version.Load() {
		f.version.Store(d.Version)
		f.told()
	}
}

// runReaders runs readers, and says on standard output when the last of them has
// heard of a version.
func runReaders(what []string) error {
	n, err := strconv.Atoi(what[0])
	if err != nil {
		return err
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		all  []*follower
		said uint64
	)
	told := func() {
		mu.Lock()
		defer mu.Unlock()
		least := slices.MinFunc(all, func(a, b *follower) int { return int(a.version.Load()) - int(b.version.Load()) }).version.Load()
		if least > said {
			said = least
			fmt.Println(said, time.Now().UnixNano())
		}
	}
	for range n {
		all = append(all, &follower{visitor: visitor{make([]uint64, len(what)-1), make([]uint64, len(what)-1)}, told: told})
	}
	errs := make([]error, n)
	for i, f := range all {
		s, err := subscriber.New(subscriber.Config{Endpoints: what[1:]}, f)
		if err != nil {
			return err
		}
		wg.Go(func() { errs[i] = s.Run(context.Background()) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// toldAt are the versions that all readers have heard of, and when.
type toldAt struct {
	mu    sync.Mutex
	heard *sync.Cond
	list  []struct {
		version uint64
		at      time.Time
	}
	over bool
}

// read takes in what the readers say.
func (h *toldAt) read(lines *bufio.Scanner) {
	for lines.Scan() {
		var version uint64
		var at int64
		if _, err := fmt.Sscan(lines.Text(), &version, &at); err != nil {
			continue
		}
		h.mu.Lock()
		h.list = append(h.list, struct {
			version uint64
			at      time.Time
		}{version, time.Unix(0, at)})
		h.mu.Unlock()
		h.heard.Broadcast()
	}
	h.mu.Lock()
	h.over = true
	h.mu.Unlock()
	h.heard.Broadcast()
}

// of returns when all readers had heard of a version, or a later one.
func (h *toldAt) of(version uint64) (time.Time, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		for _, x := range h.list {
			if x.version >= version {
				return x.at, nil
			}
		}
		if h.over {
			return time.Time{}, errors.New("the readers have gone")
		}
		h.heard.Wait()
	}
}

// readersOf starts a process of readers, which gives way to this one: it stands for
// other machines.
func readersOf(b *testing.B, n int, endpoints []string) (*toldAt, *exec.Cmd) {
	b.Helper()
	args := []string{"nice", "-n", "19", os.Args[0]}
	if _, err := exec.LookPath("chrt"); err == nil {
		args = slices.Concat([]string{"chrt", "-o", "0"}, args)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), readersEnv+"="+strconv.Itoa(n)+" "+strings.Join(endpoints, " "))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	h := &toldAt{}
	h.heard = sync.NewCond(&h.mu)
	go h.read(bufio.NewScanner(out))
	return h, cmd
}

// BenchmarkCommandToReaders gives commands to a player with 50 readers attached in
// another process, over loopback TCP, which visit every record. Of each command it
// measures how long the call takes, that is, until what the publisher is given is
// another, and at a pace how long until the last of the readers has heard of it (told).
// The tape has 10,000 records a second. An operation is a pause, a resume, a seek,
// another filter, a loop and its end. On a busy machine run it by chrt -f 1, or what is
// measured is the others' work; the readers do not have that priority.
func BenchmarkCommandToReaders(b *testing.B) {
	const readers = 50
	for _, shards := range []int{1, 2} {
		src, err := synth.New(synth.Config{Seed: 1, Topics: 1000, Records: 1_000_000, Rate: 10_000, BodySizeMin: 100, BodySizeMax: 100})
		if err != nil {
			b.Fatal(err)
		}
		t := importTape(b, src, tape.CodecPlain, shards)
		for _, speed := range []replay.Speed{1, 10, replay.Max} {
			b.Run(fmt.Sprintf("readers=%d/shards=%d/speed=%v", readers, shards, speed), func(b *testing.B) {
				commandToReaders(b, replay.Config{Tape: t, Speed: speed, Passes: -1, Wait: readers}, shards)
			})
		}
	}
}

func commandToReaders(b *testing.B, cfg replay.Config, shards int) {
	info, err := cfg.Tape.Info()
	if err != nil {
		b.Fatal(err)
	}
	pub, err := publisher.New(publisher.Config{Endpoints: slices.Repeat([]string{"tcp://127.0.0.1:*"}, shards), Lossless: true})
	if err != nil {
		b.Fatal(err)
	}
	cfg.Publisher = pub
	p, err := replay.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	heard, cmd := readersOf(b, cfg.Wait, pub.Endpoints())
	ended := make(chan error, 1)
	go func() {
		_, err := p.Run(context.Background())
		pub.Stop()
		ended <- err
	}()
	for st := p.State(); st.Phase == replay.Waiting; st, err = p.Wait(b.Context(), st.Version) {
		if err != nil {
			b.Fatal(err)
		}
	}
	at := func(after time.Duration) replay.Target {
		return replay.ToTime(info.Totals.Receive.Min+wire.Nanos(after), tape.ClockReceive)
	}
	commands := []func(context.Context) error{
		p.Pause, p.Resume,
		func(ctx context.Context) error { return p.Seek(ctx, at(rand.N(time.Minute))) },
		func(ctx context.Context) error { return p.SetTopics(ctx, nil) },
		func(ctx context.Context) error { return p.Loop(ctx, at(time.Second), at(time.Minute)) },
		p.Unloop,
	}
	type given struct {
		version uint64
		at      time.Time
	}
	var took, told []time.Duration
	var list []given
	for b.Loop() {
		for _, command := range commands {
			time.Sleep(rand.N(20 * time.Millisecond)) // spreads them
			start := time.Now()
			if err := command(b.Context()); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(start))
			if cfg.Speed != replay.Max { // behind full queues readers hear of it when they get there
				list = append(list, given{p.State().Version, start})
			}
		}
	}
	for _, g := range list {
		last, err := heard.of(g.version)
		if err != nil {
			b.Fatal(err)
		}
		told = append(told, last.Sub(g.at))
	}
	reportQuantiles(b, took, "command-")
	if len(told) > 0 {
		reportQuantiles(b, told, "told-")
	}
	if err := errors.Join(p.Stop(b.Context()), cmd.Wait()); err != nil {
		b.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, replay.ErrStopped) {
		b.Fatal(err)
	}
	if err := pub.Close(); err != nil {
		b.Fatal(err)
	}
	p.Close()
}
