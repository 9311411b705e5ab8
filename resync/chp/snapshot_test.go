package chp

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// traffic publishes changes of a table of numbered keys until it is told to
// stop: each value is the sequence that set it, or the key is deleted. It keeps
// what the table must be.
type traffic struct {
	model map[string]uint64
	quit  chan struct{}
	done  sync.WaitGroup
}

// startTraffic changes n keys below prefix through set, which returns the
// sequence. Every third change of a key in ten deletes.
func startTraffic(t testing.TB, prefix string, n int, pause time.Duration, set func(key, value string) (uint64, error)) *traffic {
	tr := &traffic{model: map[string]uint64{}, quit: make(chan struct{})}
	tr.done.Go(func() {
		tick := time.NewTicker(pause) // bounds the rate: a hundred changes a tick
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tr.quit:
				return
			default:
			}
			key, value := numbered(prefix, (i*7919)%n), "v"+strconv.Itoa(i)
			if i%10 == 3 {
				value = ""
			}
			sequence, err := set(key, value)
			if errors.Is(err, ErrQueueFull) {
				continue
			}
			if err != nil {
				t.Error(err)
				return
			}
			if value == "" {
				delete(tr.model, key)
			} else {
				tr.model[key] = sequence
			}
			if i%100 == 99 {
				<-tick.C
			}
		}
	})
	return tr
}

func (tr *traffic) stop() map[string]uint64 {
	close(tr.quit)
	tr.done.Wait()
	return tr.model
}

// TestSnapshotUnderUpdates: a table of 30,000 keys changes while plain clients
// with libzmq's default queues and clients of this project join. In the end
// everyone has exactly what the server has: nothing is missing and nothing is
// stale, by sequence.
func TestSnapshotUnderUpdates(t *testing.T) {
	const keys = 30_000
	// The plain clients leave updates unread until they have the snapshot, one after
	// the other: the queue must hold what comes in that time.
	s := serve(t, Config{UpdatesQueue: 1 << 20, Stall: time.Hour, Patience: time.Hour, Hugz: 20 * time.Millisecond})
	s.fill(t, "/k/", keys)
	tr := startTraffic(t, "/k/", keys, 10*time.Millisecond, func(key, value string) (uint64, error) {
		return s.Set([]byte(key), nil, []byte(value))
	})
	var plains []*plain
	for range 3 {
		p := newPlain(t, s.Endpoints(), 5, "/k/", "/end", "HUGZ")
		p.join()
		p.request("ICANHAZ?", "/k/")
		plains = append(plains, p)
	}
	var own []*Client
	for _, subtree := range []string{"", "/", "/k/"} {
		c, _ := attach(t, ClientConfig{}, subtree, s.Endpoints())
		own = append(own, c)
	}
	for _, p := range plains {
		if n := p.receive(); n < keys*8/10 {
			t.Errorf("a snapshot of %d entries", n)
		}
	}
	for _, c := range own {
		active(t, c)
	}
	first := s.Stats().Sequence
	until(t, "the table goes on changing", func() bool { return s.Stats().Sequence > first+1000 })
	model := tr.stop()
	end := s.set(t, "/end", "v")
	want := map[string]string{}
	sequences := map[string]uint64{}
	for e := range entriesOf(s.Server) {
		if string(e.Key) != "/end" {
			want[string(e.Key)], sequences[string(e.Key)] = string(e.Value), e.Sequence
		}
	}
	for key, sequence := range model {
		if sequences[key] != sequence {
			t.Fatalf("the server has %s as of %d, want %d", key, sequences[key], sequence)
		}
	}
	for i, p := range plains {
		for p.sequence < end {
			p.next()
		}
		delete(p.table, "/end")
		same(t, fmt.Sprintf("plain client %d", i), p.table, want)
	}
	for i, c := range own {
		if i < 2 {
			until(t, "the client has the end", func() bool { _, ok := c.Get("/end"); return ok })
		} else {
			// It does not listen to /end; what it has is settled when it equals the rest.
			until(t, "the client has the last update", func() bool { return c.Status().Sequence >= end-1 })
		}
		got := contents(c)
		delete(got, "/end")
		same(t, fmt.Sprintf("client %d", i), got, want)
		for e := range c.Each("/k/") {
			if e.Sequence != sequences[string(e.Key)] {
				t.Fatalf("client %d has %s as of %d, want %d", i, e.Key, e.Sequence, sequences[string(e.Key)])
			}
		}
		if st := c.Status(); st.Gaps+st.Restarts+st.Incomplete+st.Overflows+st.Malformed+st.Failovers != 0 {
			t.Errorf("client %d: %+v", i, st)
		}
	}
}

// entriesOf are a server's own entries.
func entriesOf(s *Server) func(yield func(Entry) bool) {
	c := s.state.capture(nil, s.now())
	return func(yield func(Entry) bool) {
		for e, ok := c.Next(); ok && yield(e); e, ok = c.Next() {
		}
	}
}

func same(t testing.TB, who string, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s has %d entries, want %d", who, len(got), len(want))
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s has %s=%q, want %q", who, k, got[k], v)
			return
		}
	}
}

// TestStore: a server shows somebody else's state, with its sequences, and what
// it cannot carry is left out and counted.
func TestStore(t *testing.T) {
	m := &memory{}
	s := serve(t, Config{Store: m, Snapshot: anyPort, Updates: anyPort, Hugz: 20 * time.Millisecond, Separators: "."})
	for i := range 1000 {
		m.put(numbered("GLBX.", i), "0")
	}
	m.put("XNAS.AAPL", "0")
	m.put("HUGZ", "a word of the protocol")
	m.put("GLBX.empty", "")
	for i := range 5 {
		m.skip(10) // sequences need not be dense
		n := m.put("GLBX.000007", fmt.Sprint(i))
		if err := s.Update([]byte("GLBX.000007"), n, nil, []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	at := s.Endpoints()
	at.Collector = "inproc://none"
	p := newPlain(t, at, 5, "GLBX.", "HUGZ")
	p.join()
	p.request("ICANHAZ?", "GLBX.")
	if n := p.receive(); n != 1000 || p.table["GLBX.000007"] != "4" || p.sequence != m.sequence {
		t.Fatalf("got %d entries at %d, want %d", n, p.sequence, m.sequence)
	}
	at.Collector = ""
	c, _ := attach(t, ClientConfig{}, "GLBX.", at)
	all, _ := attach(t, ClientConfig{}, "", at)
	active(t, c)
	active(t, all)
	changes, everything := follow(t, c, ""), follow(t, all, "")
	for i := range 5 {
		m.skip(3)
		n := m.put("GLBX.000001", fmt.Sprint("n", i))
		if err := s.Update([]byte("GLBX.000001"), n, Properties("a=b\n"), []byte(fmt.Sprint("n", i))); err != nil {
			t.Fatal(err)
		}
		n = m.put("XNAS.AAPL", fmt.Sprint("n", i))
		if err := s.Update([]byte("XNAS.AAPL"), n, nil, []byte(fmt.Sprint("n", i))); err != nil {
			t.Fatal(err)
		}
	}
	if p.next() != "GLBX.000001" {
		t.Error("another key")
	}
	if x := await(t, changes, "GLBX.000001", "n4"); string(x.Properties) != "a=b\n" {
		t.Errorf("properties are %q", x.Properties)
	}
	await(t, everything, "XNAS.AAPL", "n4")
	for _, c := range []*Client{c, all} {
		if st := c.Status(); st.Gaps != 0 {
			t.Errorf("%+v", st)
		}
	}
	if st := s.Stats(); st.EntriesBad == 0 || st.Updates != 15 {
		t.Errorf("%+v", st)
	}
	if err := s.Update([]byte("HUGZ"), m.sequence+1, nil, nil); !errors.Is(err, ErrKey) || s.Stats().UpdatesBad != 1 {
		t.Error(err)
	}
	if err := serve(t, Config{}).Update([]byte("k"), 1, nil, nil); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
}

// TestStoreFails: a snapshot that a store cannot finish has no KTHXBAI.
func TestStoreFails(t *testing.T) {
	m := &memory{failAt: 3}
	s := serve(t, Config{Store: m, Snapshot: anyPort, Updates: anyPort})
	for i := range 10 {
		m.put(numbered("k", i), "v")
	}
	p := newPlain(t, Endpoints{s.Endpoints().Snapshot, s.Endpoints().Updates, "inproc://none"}, 5)
	p.request("ICANHAZ?", "")
	for range 3 {
		if key, _, _, _ := p.recv(p.snapshot); key == "KTHXBAI" {
			t.Error("it ends as if it were whole")
		}
	}
	until(t, "it is given up", func() bool { return s.Stats().Failed == 1 })
	m.mu.Lock()
	m.failAt, m.fail = 0, errors.New("no memory")
	m.mu.Unlock()
	p.request("ICANHAZ?", "")
	until(t, "it is given up", func() bool { return s.Stats().Failed == 2 })
	m.mu.Lock()
	m.fail = nil
	m.mu.Unlock()
	p.request("ICANHAZ?", "")
	if n := p.receive(); n != 10 {
		t.Errorf("got %d entries", n)
	}
}

// TestServe: requests may come over somebody else's ROUTER, which serves other
// protocols too.
func TestServe(t *testing.T) {
	m := &memory{}
	s := serve(t, Config{Store: m, Updates: anyPort, Requesters: 1})
	for i := range 5000 {
		m.put(numbered("/k/", i), "v")
	}
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	router, err := ctx.NewSocket(zsock.ROUTER, zsock.SocketConfig{RecvTimeout: zsock.Forever, SendTimeout: zsock.Forever})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(router.Close(), ctx.Close()); err != nil {
			t.Error(err)
		}
	}()
	endpoint, err := router.Bind(anyPort)
	if err := errors.Join(err, router.MustReach()); err != nil {
		t.Fatal(err)
	}
	p := newPlain(t, Endpoints{endpoint, s.Endpoints().Updates, "inproc://none"}, 5)
	p.request("ICANHAZ?", "/k/")
	frames, err := router.RecvFrames()
	if err != nil || !IsRequest(frames[1:]) {
		t.Fatal(frames, err)
	}
	received := make(chan int)
	go func() { received <- p.receive() }()
	send := func(message [][]byte) error {
		// While one is served, others are not, and the same one has its answer coming.
		if err := s.Serve([]byte("other"), frames[1:], nil); !errors.Is(err, ErrBusy) {
			t.Errorf("a second requester: %v", err)
		}
		if err := s.Serve(frames[0], frames[1:], nil); err != nil {
			t.Errorf("the same requester: %v", err)
		}
		return router.SendFrames(append([][]byte{frames[0]}, message...)...)
	}
	if err := s.Serve(frames[0], frames[1:], send); err != nil {
		t.Fatal(err)
	}
	if n := <-received; n != 5000 || p.sequence != m.sequence {
		t.Errorf("got %d entries at %d", n, p.sequence)
	}
	var bad *FormatError
	if err := s.Serve(frames[0], [][]byte{[]byte("TPRS")}, nil); !errors.As(err, &bad) {
		t.Errorf("another protocol: %v", err)
	}
	for _, tc := range []struct {
		err   error
		count func(Stats) uint64
	}{
		{zsock.ErrAgain, func(s Stats) uint64 { return s.Dropped }},
		{zsock.ErrUnreachable, func(s Stats) uint64 { return s.Gone }},
		{errors.New("bang"), func(s Stats) uint64 { return s.Failed }},
	} {
		n := 0
		err := s.Serve(frames[0], frames[1:], func(message [][]byte) error {
			if n++; n == 10 {
				return tc.err
			}
			return nil
		})
		if !errors.Is(err, tc.err) || n != 10 || tc.count(s.Stats()) != 1 {
			t.Errorf("%v: got %v after %d messages, %+v", tc.err, err, n, s.Stats())
		}
	}
}

// TestAnswer: whoever sends at a pace of his own pulls the messages.
func TestAnswer(t *testing.T) {
	s := serve(t, Config{Form: KVSimple, Updates: anyPort, Requesters: 2, First: 1})
	s.fill(t, "/k/", 10)
	a, err := s.Answer([][]byte{[]byte("ICANHAZ?")})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Answer([][]byte{[]byte("ICANHAZ?"), []byte("/k/000003")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Answer([][]byte{[]byte("ICANHAZ?")}); !errors.Is(err, ErrBusy) {
		t.Fatal(err)
	}
	count := func(a *Answer) (n int) {
		for m := a.Next(); m != nil; m = a.Next() {
			if len(m) != 3 {
				t.Fatalf("%q", m)
			}
			n++
		}
		return n
	}
	if n := count(a); n != 11 || count(a) != 0 || a.Err() != nil {
		t.Errorf("%d messages", n)
	}
	if n := count(b); n != 2 {
		t.Errorf("%d messages", n)
	}
	a.Close()
	a.Close()
	c, err := s.Answer([][]byte{[]byte("ICANHAZ?")})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if c.Next() != nil {
		t.Error("a closed answer goes on")
	}
	b.Close()
}
