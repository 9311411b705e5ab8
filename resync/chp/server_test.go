package chp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// fill sets n numbered keys to "0".
func (r *running) fill(t testing.TB, prefix string, n int) {
	t.Helper()
	for i := range n {
		r.set(t, numbered(prefix, i), "0")
	}
}

// TestPlainClient: a client of models 5 and 6, and of CHP, gets a subtree's
// snapshot and what follows, with the properties of the reference
// implementation.
func TestPlainClient(t *testing.T) {
	s := serve(t, Config{Epoch: 255, Hugz: 20 * time.Millisecond})
	s.fill(t, "/a/", 1000)
	s.set(t, "/b/x", "1")
	if _, err := s.Set([]byte("/a/p"), Properties("colour=red\nttl=100000\n"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	p := newPlain(t, s.Endpoints(), 5, "/a/", "HUGZ")
	p.join()
	p.request("ICANHAZ?", "/a/")
	if n := p.receive(); n != 1001 || len(p.table) != 1001 || p.table["/a/000999"] != "0" {
		t.Fatalf("got %d entries", n)
	}
	given := Properties(p.props["/a/p"])
	if ttl, err := given.TTL(); err != nil || ttl <= 0 || ttl > 100_000*time.Second {
		t.Errorf("%v to live, %v", ttl, err)
	}
	if string(given.Get("colour")) != "red" || p.props["KTHXBAI"] != "epoch=00000000000000ff\nentries=1001\n" {
		t.Errorf("properties are %q and %q", p.props["/a/p"], p.props["KTHXBAI"])
	}
	s.set(t, "/b/y", "not ours")
	last := s.set(t, "/a/000001", "new")
	if key := p.next(); key != "/a/000001" || p.table[key] != "new" || p.sequence != last {
		t.Errorf("got %s at %d, want %d", key, p.sequence, last)
	}
	if want := fmt.Sprintf("epoch=00000000000000ff\nprevious=0:%d,1:%[1]d,3:%d\n", last-1, last-2); p.props["/a/000001"] != want {
		t.Errorf("properties are %q, want %q", p.props["/a/000001"], want)
	}
	s.set(t, "/a/000001", "")
	if key := p.next(); key != "/a/000001" || p.table[key] != "" {
		t.Errorf("%s was not deleted", key)
	}
}

// TestHugz: signs of life are as the specification has them, and come however
// much else is published: who listens to a quiet subtree hears nothing else.
func TestHugz(t *testing.T) {
	for _, form := range []Form{KVMsg, KVSimple} {
		s := serve(t, Config{Form: form, Hugz: 5 * time.Millisecond})
		p := newPlain(t, s.Endpoints(), form.frames(), "HUGZ", "/quiet/")
		ctx, stop := context.WithCancel(t.Context())
		var busy sync.WaitGroup
		busy.Go(func() {
			for ctx.Err() == nil {
				if _, err := s.Set([]byte("/busy/x"), nil, []byte("v")); err != nil && !errors.Is(err, ErrQueueFull) {
					t.Error(err)
					return
				}
			}
		})
		for range 20 {
			key, sequence, props, value := p.recv(p.updates)
			if key != "HUGZ" || sequence != 0 || value != "" || form == KVSimple && props != "" {
				t.Fatalf("%v: got %q at %d: %q", form, key, sequence, value)
			}
		}
		stop()
		busy.Wait()
	}
}

// TestKVSimple: models 2 to 4, also with their request of one frame.
func TestKVSimple(t *testing.T) {
	s := serve(t, Config{Form: KVSimple, Pull: false, Hugz: 20 * time.Millisecond, First: 1})
	s.fill(t, "/k/", 100)
	for _, request := range [][]string{{"ICANHAZ?"}, {"ICANHAZ?", ""}} {
		p := newPlain(t, s.Endpoints(), 3, "")
		p.join()
		p.reach(s)
		p.request(request...)
		if n := p.receive(); n != 100 || p.sequence != s.Stats().Sequence {
			t.Fatalf("got %d entries at %d", n, p.sequence)
		}
		p.kvset("/set", "", "", "v")
		if key := p.next(); key != "/set" || p.table[key] != "v" {
			t.Errorf("got %q", key)
		}
		s.set(t, "/set", "")
		p.next()
	}
}

// TestCollector: clients' changes get sequences in the order of their arrival,
// keep UUID and properties, and what is no change is counted and ends nothing.
func TestCollector(t *testing.T) {
	for _, pull := range []bool{false, true} {
		t.Run(fmt.Sprintf("pull=%v", pull), func(t *testing.T) {
			s := serve(t, Config{Pull: pull, Hugz: 20 * time.Millisecond})
			p := newPlain(t, s.Endpoints(), 5, "")
			if pull {
				push, err := p.ctx.NewSocket(zsock.PUSH, zsock.SocketConfig{SendTimeout: zsock.Forever})
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(push.Connect(s.Endpoints().Collector), p.collector.Close()); err != nil {
					t.Fatal(err)
				}
				p.collector = push
			}
			p.join()
			p.request("ICANHAZ?", "")
			p.receive()
			until(t, "a change reaches the server", func() bool { // a PUB socket drops while it connects
				p.kvset("/probe", "", "", "v")
				return s.Stats().Sets > 0
			})
			bad := [][]string{
				{"one frame"}, {"k", "12345678", "", "", "v", "six frames"}, {"k", "short", "", "", "v"}, {"k", "12345678", "no uuid", "", "v"},
				{"k", "12345678", "", "no end", "v"}, {"HUGZ", "12345678", "", "", "v"}, {"KTHXBAI", "12345678", "", "", "v"}, {"", "12345678", "", "", "v"},
				{"k", "12345678", "", "ttl=never\n", "v"},
			}
			for _, frames := range bad {
				var b [][]byte
				for _, f := range frames {
					b = append(b, []byte(f))
				}
				if err := p.collector.SendFrames(b...); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 100 {
				p.kvset("/k", "0123456789abcdef", "n=1\nepoch=mine\n", fmt.Sprint(i))
			}
			for want := 0; want < 100; {
				if key := p.next(); key == "/k" {
					if p.table[key] != fmt.Sprint(want) || !strings.HasPrefix(p.props[key], "n=1\nepoch="+fmt.Sprintf("%016x", s.Epoch())) {
						t.Fatalf("got %q, %q, want %d", p.table[key], p.props[key], want)
					}
					want++
				}
			}
			if st := s.Stats(); st.SetsBad != uint64(len(bad)) || st.Sets < 101 || st.Updates != st.Sets || st.TableEntries != 2 {
				t.Errorf("%+v", st)
			}
			p.kvset("/k", "", "", "")
			if key := p.next(); key != "/k" || s.Stats().TableEntries != 1 {
				t.Errorf("%s was not deleted", key)
			}
		})
	}
}

// TestReadOnly: changes are counted and refused.
func TestReadOnly(t *testing.T) {
	for _, cfg := range []Config{{ReadOnly: true}, {Store: &memory{}}} {
		s := serve(t, Config{ReadOnly: cfg.ReadOnly, Store: cfg.Store, Snapshot: anyPort, Updates: anyPort, Collector: anyPort})
		p := newPlain(t, s.Endpoints(), 5, "")
		until(t, "a change is refused", func() bool {
			p.kvset("/k", "", "", "v")
			return s.Stats().SetsReadOnly > 0
		})
		if st := s.Stats(); st.Sets != 0 || st.TableEntries != 0 || st.Updates != 0 {
			t.Errorf("%+v", st)
		}
		if _, err := s.Set([]byte("k"), nil, []byte("v")); cfg.Store != nil && !errors.Is(err, ErrReadOnly) {
			t.Error(err)
		}
	}
}

// TestTTL: an ephemeral value is gone when its time is over, not before, for
// everybody.
func TestTTL(t *testing.T) {
	const half = 12 * time.Hour
	var k clock
	s := serveBy(t, &k, Config{Hugz: 20 * time.Millisecond})
	c, _ := attach(t, ClientConfig{}, "", s.Endpoints())
	changes := follow(t, c, "")
	active(t, c)
	if err := c.Set(t.Context(), "/ephemeral", []byte("v"), 2*half-time.Second/10); err != nil { // a day
		t.Fatal(err)
	}
	if ch := await(t, changes, "/ephemeral", "v"); ch.Expires.IsZero() {
		t.Error("it does not say when it expires")
	}
	k.forward(half)
	s.set(t, "/other", "v")
	await(t, changes, "/other", "v")
	s.set(t, "/other", "w")
	await(t, changes, "/other", "w") // the server has looked at its clock between the two
	if got := contents(c); got["/ephemeral"] != "v" {
		t.Errorf("gone too early: %v", got)
	}
	k.forward(half)
	await(t, changes, "/ephemeral", "")
	if st := s.Stats(); st.Expired != 1 || st.TableEntries != 1 || len(contents(c)) != 1 {
		t.Errorf("%+v", st)
	}
}

// TestBadRequests: what is no request ends nothing, and a good one is answered
// after it. The guide's servers of models 2 to 4 end.
func TestBadRequests(t *testing.T) {
	s := serve(t, Config{})
	s.set(t, "k", "v")
	p := newPlain(t, s.Endpoints(), 5)
	for _, bad := range [][]string{{""}, {"HELLO"}, {"", "ICANHAZ?", ""}, {"ICANHAZ?", "", ""}, {"ICANHAZ?", strings.Repeat("x", 256)}} {
		p.request(bad...)
	}
	p.request("ICANHAZ?", "")
	if n := p.receive(); n != 1 {
		t.Errorf("got %d entries", n)
	}
	until(t, "it is counted", func() bool { return s.Stats().Served == 1 })
	if st := s.Stats(); st.RequestsBad != 5 || st.Requests != 6 {
		t.Errorf("%+v", st)
	}
}

// TestRepeatedRequest: a client that asked twice before the server was there gets
// one answer. The guide's server gives two, and the second is taken, much later,
// for the answer to another question.
func TestRepeatedRequest(t *testing.T) {
	s, err := NewServer(Config{Snapshot: anyPort, Updates: anyPort})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Set([]byte("k"), nil, []byte("v")); err != nil {
		t.Fatal(err)
	}
	p := newPlain(t, Endpoints{Snapshot: s.Endpoints().Snapshot, Updates: s.Endpoints().Updates, Collector: "inproc://none"}, 5)
	p.request("ICANHAZ?", "/other/")
	p.request("ICANHAZ?", "")
	last := newPlain(t, Endpoints{Snapshot: s.Endpoints().Snapshot, Updates: s.Endpoints().Updates, Collector: "inproc://none"}, 5)
	last.request("ICANHAZ?", "")
	until(t, "the requests are there", func() bool { return s.router.Readable() }) // nobody runs it yet
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer run.Wait()
	defer cancel()
	if p.receive() == 0 { // answered between the two: then the second has its own
		p.receive()
	}
	last.receive()
	until(t, "all are counted", func() bool {
		st := s.Stats()
		return st.Requests == 3 && st.Served+st.RequestsRepeated == 3
	})
	if len(p.table) != 1 {
		t.Errorf("got %v", p.table)
	}
}

// TestStorm: any number of requesters, each asking again and again, are answered
// or refused in bounded memory, all who stay get everything, and updates go on.
func TestStorm(t *testing.T) {
	const requesters, repeats, entries = 40, 50, 2000
	s := serve(t, Config{Requesters: 4, Waiting: 10, Stall: time.Hour, Patience: time.Hour, Hugz: 20 * time.Millisecond})
	s.fill(t, "/k/", entries)
	watch := newPlain(t, s.Endpoints(), 5, "/live/", "HUGZ")
	watch.join()
	var all sync.WaitGroup
	var got atomic.Uint64
	over := make(chan struct{})
	for range requesters {
		p := newPlain(t, s.Endpoints(), 5)
		all.Go(func() {
			for range repeats {
				p.request("ICANHAZ?", "/k/")
			}
			p.receiveUntil(over, func(n int) { // who is refused would ask again
				if got.Add(1); n != entries {
					t.Errorf("a snapshot of %d entries, want %d", n, entries)
				}
			})
		})
	}
	for i := range 200 {
		s.set(t, "/live/x", fmt.Sprint(i))
		if watch.next(); watch.table["/live/x"] != fmt.Sprint(i) {
			t.Fatalf("update %d did not come", i)
		}
	}
	until(t, "every request is counted", func() bool { return s.Stats().Requests == requesters*repeats })
	until(t, "every snapshot has come", func() bool {
		st := s.Stats()
		return st.Served+st.RequestsBusy+st.RequestsRepeated == requesters*repeats && got.Load() == st.Served
	})
	close(over)
	all.Wait()
	if st := s.Stats(); st.Served == 0 || st.RequestsRepeated == 0 || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
}

// receiveUntil tells how many entries each snapshot has that comes until over.
func (p *plain) receiveUntil(over <-chan struct{}, each func(entries int)) {
	poller := zsock.NewPoller(p.snapshot)
	for {
		select {
		case <-over:
			return
		default:
		}
		ready, err := poller.Wait(nil, 10*time.Millisecond)
		if err != nil {
			p.t.Error(err)
			return
		}
		if len(ready) > 0 {
			each(p.receive())
		}
	}
}

// large is more entries, of a value each, than any buffer on the way takes.
const large = 20_000

func (r *running) fillLarge(t testing.TB) {
	t.Helper()
	value := string(make([]byte, 2000))
	for i := range large {
		r.set(t, numbered("/k/", i), value)
	}
}

// TestSlowRequester: one that takes nothing is bounded and given up without
// KTHXBAI, and costs neither updates nor other requesters anything.
func TestSlowRequester(t *testing.T) {
	var k clock
	s := serveBy(t, &k, Config{SnapshotQueue: 1000, Stall: time.Hour, Patience: 10_000 * time.Hour, Hugz: 20 * time.Millisecond})
	s.fillLarge(t)
	slow := newPlain(t, s.Endpoints(), 5)
	slow.request("ICANHAZ?", "")
	until(t, "the slow one is being sent to", func() bool { return s.Stats().Entries > 0 })
	fast := newPlain(t, s.Endpoints(), 5, "/live/", "HUGZ")
	fast.join()
	fast.request("ICANHAZ?", "")
	if n := fast.receive(); n != large {
		t.Errorf("the fast one got %d entries", n)
	}
	for i := range 100 {
		s.set(t, "/live/x", fmt.Sprint(i))
		if fast.next(); fast.table["/live/x"] != fmt.Sprint(i) {
			t.Fatalf("update %d did not come", i)
		}
	}
	if st := s.Stats(); st.Dropped != 0 {
		t.Errorf("given up before its time: %+v", st)
	}
	until(t, "the slow one is given up", func() bool {
		k.forward(2 * time.Hour)
		return s.Stats().Dropped == 1
	})
	// It asks again. What it gets first, of the first answer, has no end: it knows
	// that it is not everything. Then it gets everything.
	slow.request("ICANHAZ?", "/k/")
	keys, got := map[string]bool{}, 0
	for {
		key, _, props, value := slow.recv(slow.snapshot)
		if key == "KTHXBAI" {
			if string(Properties(props).Get("entries")) != fmt.Sprint(large) || value != "/k/" {
				t.Errorf("ends with %q, %q", props, value)
			}
			break
		}
		keys[key] = true
		got++
	}
	if len(keys) != large || got >= 2*large {
		t.Errorf("got %d keys, %d messages", len(keys), got)
	}
	until(t, "both answers are counted", func() bool { return s.Stats().Served == 2 })
}

// TestGoneRequester: one that leaves is given up at once.
func TestGoneRequester(t *testing.T) {
	s := serve(t, Config{SnapshotQueue: 10, Stall: time.Hour, Patience: time.Hour})
	s.fillLarge(t)
	p := newPlain(t, s.Endpoints(), 5)
	p.request("ICANHAZ?", "")
	until(t, "it is being sent to", func() bool { return s.Stats().Entries > 0 })
	p.close()
	until(t, "it is given up", func() bool { return s.Stats().Gone == 1 })
}

// TestPatience: a requester that takes a little now and then is given up too.
func TestPatience(t *testing.T) {
	var k clock
	s := serveBy(t, &k, Config{SnapshotQueue: 10, Stall: 10_000 * time.Hour, Patience: 10 * time.Hour})
	s.fillLarge(t)
	p := newPlain(t, s.Endpoints(), 5)
	p.request("ICANHAZ?", "")
	took := 0
	until(t, "it is given up", func() bool {
		p.recv(p.snapshot)
		k.forward(time.Hour)
		took++
		return s.Stats().Dropped == 1
	})
	if took < 10 {
		t.Errorf("given up after %d hours", took)
	}
}

// TestServerEnds: Run ends with its context also while snapshots are on their
// way, and closed servers say so.
func TestServerEnds(t *testing.T) {
	s := serve(t, Config{SnapshotQueue: 10})
	s.fill(t, "/k/", 50_000)
	p := newPlain(t, s.Endpoints(), 5)
	p.request("ICANHAZ?", "")
	until(t, "it is being sent to", func() bool { return s.Stats().Entries > 0 })
	s.stop()
	if err := s.Run(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("run again: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}
