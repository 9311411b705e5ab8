package chp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// TestClient: a client has the table, follows it, and changes it.
func TestClient(t *testing.T) {
	s := serve(t, Config{Hugz: 20 * time.Millisecond})
	s.set(t, "/a/x", "1")
	s.set(t, "/b/x", "2")
	c, _ := attach(t, ClientConfig{}, "/a/", s.Endpoints())
	active(t, c)
	changes := follow(t, c, "")
	await(t, changes, "/a/x", "1")
	if err := c.Set(t.Context(), "/a/y", []byte("3"), 0); err != nil {
		t.Fatal(err)
	}
	await(t, changes, "/a/y", "3")
	if got := fmt.Sprint(contents(c)); got != "map[/a/x:1 /a/y:3]" {
		t.Error(got)
	}
	if e, ok := c.Get("/a/y"); !ok || string(e.Value) != "3" {
		t.Error(e, ok)
	}
	if err := c.Set(t.Context(), "/a/x", nil, 0); err != nil {
		t.Fatal(err)
	}
	await(t, changes, "/a/x", "")
	if _, ok := c.Get("/a/x"); ok {
		t.Error("/a/x is still there")
	}
	// Outside the subtree a change is not seen to come back, but is made.
	if err := c.Set(t.Context(), "/b/x", []byte("4"), 0); err != nil {
		t.Fatal(err)
	}
	until(t, "the server has it", func() bool { e, _ := s.Get([]byte("/b/x")); return string(e.Value) == "4" })
	st := c.Status()
	if st.State != Active || st.Epoch != fmt.Sprintf("%016x", s.Epoch()) || st.Entries != 1 || st.Server != s.Endpoints() {
		t.Errorf("%+v", st)
	}
}

// TestSetRightAway: a change is not lost that is made before the connection
// stands. With the guide's PUB socket it is.
func TestSetRightAway(t *testing.T) {
	s := serve(t, Config{})
	for i := range 20 {
		c, stop := attach(t, ClientConfig{}, "", s.Endpoints())
		key := fmt.Sprint("/k/", i)
		if err := c.Set(t.Context(), key, []byte("v"), 0); err != nil {
			t.Fatal(err)
		}
		if _, ok := s.Get([]byte(key)); !ok {
			t.Errorf("%s was confirmed, but is not there", key)
		}
		stop()
		if err := c.Set(t.Context(), key, nil, 0); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	}
}

// TestSetUnconfirmed: who refuses changes does not confirm them.
func TestSetUnconfirmed(t *testing.T) {
	s := serve(t, Config{ReadOnly: true})
	c, _ := attach(t, ClientConfig{}, "", s.Endpoints())
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if s.Stats().SetsReadOnly > 0 {
				cancel()
			}
		}
	}()
	if err := c.Set(ctx, "k", []byte("v"), 0); !errors.Is(err, ErrUnconfirmed) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, tc := range []struct {
		key  string
		ttl  time.Duration
		want error
	}{{"", 0, ErrKey}, {"HUGZ", 0, ErrKey}, {strings.Repeat("k", 256), 0, ErrKey}, {"k", -1, ErrTTL}, {"k", ttlMax + 1, ErrTTL}} {
		if err := c.Set(t.Context(), tc.key, nil, tc.ttl); !errors.Is(err, tc.want) {
			t.Errorf("%q, %v: %v", tc.key, tc.ttl, err)
		}
	}
}

// TestQuietSubtree: a server that publishes, but nothing in the client's subtree,
// is not taken for dead. The guide's client falls over every five seconds.
func TestQuietSubtree(t *testing.T) {
	s := serve(t, Config{Hugz: 5 * time.Millisecond})
	var c *Client
	var k clock
	var passed atomic.Int64
	// A sign of life is worth an hour. Whenever one has come, most of that passes.
	now := func() time.Time {
		if c.net.in != nil && c.agent.state == Active && c.agent.deadline.Sub(k.now()) > 50*time.Minute {
			k.forward(40 * time.Minute)
			passed.Add(1)
		}
		return k.now()
	}
	c, err := NewClient(ClientConfig{Silence: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	start(t, c, now, "/quiet/", s.Endpoints())
	until(t, "three days have passed", func() bool {
		s.set(t, "/busy/x", "v")
		return passed.Load() > 100
	})
	if st := c.Status(); st.Failovers != 0 || st.State != Active {
		t.Errorf("%+v", st)
	}
}

// TestKeysLikeHugz: a subscription to HUGZ is one to every key that begins so;
// a subtree's client does not take those in.
func TestKeysLikeHugz(t *testing.T) {
	s := serve(t, Config{Hugz: 20 * time.Millisecond})
	c, _ := attach(t, ClientConfig{}, "/a/", s.Endpoints())
	active(t, c)
	s.set(t, "HUGZilla", "v")
	s.set(t, "/a/x", "v")
	until(t, "the client has the update", func() bool { _, ok := c.Get("/a/x"); return ok })
	if _, ok := c.Get("HUGZilla"); ok {
		t.Error("it has a key outside its subtree")
	}
}

// restart stops a server and starts another at the same endpoints.
func restart(t *testing.T, s *running, cfg Config) *running {
	t.Helper()
	at := s.Endpoints()
	s.stop()
	cfg.Snapshot, cfg.Updates, cfg.Collector = at.Snapshot, at.Updates, at.Collector
	return serve(t, cfg)
}

// TestServerRestart: a server that starts again, with another table and, in the
// second case, lower sequences, is noticed by its epoch, also while it has
// nothing to say. The guide's clients drop everything that it publishes as old.
func TestServerRestart(t *testing.T) {
	for _, first := range []uint64{0, 1} {
		for _, subtree := range []string{"", "/a/"} {
			t.Run(fmt.Sprintf("first=%d,subtree=%s", first, subtree), func(t *testing.T) {
				s := serve(t, Config{Hugz: 20 * time.Millisecond})
				s.set(t, "/a/deleted", "v")
				s.set(t, "/a/changed", "v")
				c, _ := attach(t, ClientConfig{}, subtree, s.Endpoints())
				active(t, c)
				changes := follow(t, c, "")
				await(t, changes, "/a/changed", "v")
				again := restart(t, s, Config{First: first, Hugz: 20 * time.Millisecond})
				again.set(t, "/a/changed", "w")
				await(t, changes, "/a/changed", "w")
				if got := contents(c); got["/a/deleted"] != "" || len(got) != 1 {
					t.Errorf("has %v", got)
				}
				if st := c.Status(); st.Restarts+st.Gaps+st.Unsure == 0 || st.Failovers != 0 {
					t.Errorf("%+v", st)
				}
				again.set(t, "/a/next", "x")
				await(t, changes, "/a/next", "x")
			})
		}
	}
}

// TestPlainClientSurvivesRestart: a plain client, which cannot see a restart,
// takes what the server publishes after it, since sequences go on from the
// clock.
func TestPlainClientSurvivesRestart(t *testing.T) {
	s := serve(t, Config{Hugz: 20 * time.Millisecond})
	s.fill(t, "/k/", 100)
	p := newPlain(t, s.Endpoints(), 5, "")
	p.join()
	p.request("ICANHAZ?", "")
	p.receive()
	was := p.sequence
	again := restart(t, s, Config{Hugz: 20 * time.Millisecond})
	until(t, "an update comes", func() bool {
		again.set(t, "/k/new", "v")
		key, sequence, _, _ := p.recv(p.updates)
		return key == "/k/new" && sequence > was
	})
}

// TestFailover: when a server is silent the client goes to the other; keys that
// the other has not are gone, though its sequences are lower; and back again.
func TestFailover(t *testing.T) {
	primary := serve(t, Config{Hugz: 20 * time.Millisecond})
	backup := serve(t, Config{First: 1, Hugz: 20 * time.Millisecond})
	for _, s := range []*running{primary, backup} {
		s.set(t, "/both", "v")
	}
	primary.set(t, "/primary", "v")
	backup.set(t, "/backup", "v")
	var k clock
	c, _ := attachBy(t, k.now, ClientConfig{}, "", primary.Endpoints(), backup.Endpoints())
	// A sign of life that was on its way gives a server another hour.
	silence := func(of, to Endpoints) {
		t.Helper()
		until(t, "it goes from "+of.Snapshot+" to "+to.Snapshot, func() bool {
			k.pass(t, c, 2*time.Hour)
			return c.Status().Server == to
		})
	}
	active(t, c)
	changes := follow(t, c, "")
	// A change goes to both, so that the backup knows it too.
	if err := c.Set(t.Context(), "/set", []byte("v"), 0); err != nil {
		t.Fatal(err)
	}
	until(t, "the backup was told, if it could be reached", func() bool {
		if _, ok := backup.Get([]byte("/set")); ok {
			return true
		}
		return c.Set(t.Context(), "/set", []byte("v"), 0) != nil
	})
	await(t, changes, "/primary", "v")
	at := primary.Endpoints()
	primary.stop()
	silence(at, backup.Endpoints())
	await(t, changes, "/primary", "")
	await(t, changes, "/backup", "v")
	if got := fmt.Sprint(contents(c)); got != "map[/backup:v /both:v /set:v]" {
		t.Error(got)
	}
	if err := c.Set(t.Context(), "/set", []byte("w"), 0); err != nil {
		t.Fatal(err)
	}
	if st := c.Status(); st.Failovers == 0 || st.Server != backup.Endpoints() {
		t.Errorf("%+v", st)
	}
	serve(t, Config{Snapshot: at.Snapshot, Updates: at.Updates, Collector: at.Collector, Hugz: 20 * time.Millisecond})
	backup.stop()
	silence(backup.Endpoints(), at)
	await(t, changes, "/backup", "")
	if got := contents(c); len(got) != 0 {
		t.Error(got)
	}
}

// TestLateServer: a client asks until somebody answers, however often it takes.
func TestLateServer(t *testing.T) {
	s := serve(t, Config{})
	at := s.Endpoints()
	s.stop()
	var k clock
	c, _ := attachBy(t, k.now, ClientConfig{}, "", at)
	until(t, "it has asked in vain for some time", func() bool {
		k.pass(t, c, 2*time.Hour)
		return c.Status().Failovers > 6
	})
	again := serve(t, Config{Snapshot: at.Snapshot, Updates: at.Updates, Collector: at.Collector, Hugz: 5 * time.Millisecond})
	again.set(t, "k", "v")
	until(t, "it has the table", func() bool { _, ok := c.Get("k"); return ok })
}

// guide is a server written from the guide alone, that can be made to lose
// things.
type guide struct {
	t                 testing.TB
	ctx               *zsock.Context
	snapshot, updates *zsock.Socket
	at                Endpoints
}

func newGuide(t testing.TB) *guide {
	t.Helper()
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	g := &guide{t: t, ctx: ctx}
	open := func(kind zsock.Type, at *string) *zsock.Socket {
		s, err := ctx.NewSocket(kind, zsock.SocketConfig{SendQueue: -1, RecvTimeout: zsock.Forever, SendTimeout: zsock.Forever})
		if err != nil {
			t.Fatal(err)
		}
		if *at, err = s.Bind(anyPort); err != nil {
			t.Fatal(err)
		}
		return s
	}
	g.snapshot, g.updates = open(zsock.ROUTER, &g.at.Snapshot), open(zsock.XPUB, &g.at.Updates)
	t.Cleanup(func() {
		if err := errors.Join(g.snapshot.Close(), g.updates.Close(), g.ctx.Close()); err != nil {
			t.Error(err)
		}
	})
	return g
}

func kvframes(key string, sequence uint64, props, value string) [][]byte {
	return [][]byte{[]byte(key), binary.BigEndian.AppendUint64(nil, sequence), nil, []byte(props), []byte(value)}
}

func (g *guide) publish(key string, sequence uint64, props, value string) {
	g.t.Helper()
	if err := g.updates.SendFrames(kvframes(key, sequence, props, value)...); err != nil {
		g.t.Fatal(err)
	}
}

// subscribed waits for a subscription.
func (g *guide) subscribed(to string) {
	g.t.Helper()
	for {
		frames, err := g.updates.RecvFrames()
		if err != nil {
			g.t.Fatal(err)
		}
		if string(frames[0]) == "\x01"+to {
			return
		}
	}
}

// request waits for a request and returns who it is from.
func (g *guide) request(subtree string) []byte {
	g.t.Helper()
	frames, err := g.snapshot.RecvFrames()
	if err != nil || len(frames) != 3 || string(frames[1]) != "ICANHAZ?" || string(frames[2]) != subtree {
		g.t.Fatalf("got %q, %v", frames, err)
	}
	return frames[0]
}

func (g *guide) answer(to []byte, sequence uint64, props string, entries ...string) {
	g.t.Helper()
	for i, e := range entries {
		key, value, _ := strings.Cut(e, "=")
		if err := g.snapshot.SendFrames(append([][]byte{to}, kvframes(key, uint64(i), "", value)...)...); err != nil {
			g.t.Fatal(err)
		}
	}
	if err := g.snapshot.SendFrames(append([][]byte{to}, kvframes("KTHXBAI", sequence, props, "")...)...); err != nil {
		g.t.Fatal(err)
	}
}

// TestClientOfGuidesServer: a client of this project works with the guide's
// server, and sees updates that are missing: by the next one, by a sign of life,
// and during the snapshot.
func TestClientOfGuidesServer(t *testing.T) {
	g := newGuide(t)
	c, _ := attach(t, ClientConfig{Pause: time.Millisecond}, "", g.at)
	changes := follow(t, c, "")
	g.subscribed("")
	id := g.request("")
	for i := range 3000 { // more than a queue holds, while the snapshot is on its way
		g.publish("/k/"+fmt.Sprint(i), uint64(i+1), "", "v")
	}
	g.answer(id, 1000, "", "/old=v")
	g.publish("/k/last", 3001, "", "v")
	await(t, changes, "/old", "v")
	await(t, changes, "/k/last", "v")
	if got := contents(c); len(got) != 2002 || got["/k/1000"] != "v" || got["/k/999"] != "" {
		t.Errorf("has %d entries", len(got))
	}
	g.publish("HUGZ", 3001, "", "")
	g.publish("/k/x", 3003, "", "v") // 3002 is lost
	g.answer(g.request(""), 3003, "", "/k/x=v", "/k/lost=v")
	await(t, changes, "/k/lost", "v")
	if c.Status().Gaps != 1 || len(contents(c)) != 2 {
		t.Errorf("%+v", c.Status())
	}
	g.publish("HUGZ", 3004, "", "") // 3004 is lost, and nothing follows
	g.answer(g.request(""), 3004, "", "/k/lost=again")
	await(t, changes, "/k/lost", "again")
	if c.Status().Gaps != 2 {
		t.Errorf("%+v", c.Status())
	}
	g.publish("HUGZ", 1, "", "") // it has started again
	g.answer(g.request(""), 1, "", "/new=v")
	await(t, changes, "/new", "v")
	g.publish("/new", 2, "", "w")
	await(t, changes, "/new", "w")
}

// TestIncompleteSnapshot: a snapshot that lost entries on its way, but not its
// end, is not taken for whole; nor is what is left of it added to the next.
func TestIncompleteSnapshot(t *testing.T) {
	g := newGuide(t)
	c, _ := attach(t, ClientConfig{Pause: time.Millisecond}, "/a/", g.at)
	first := g.request("/a/")
	g.answer(first, 7, "epoch=e1\nentries=3\n", "/a/x=1", "/a/y=1")
	second := g.request("/a/")
	if string(first) == string(second) {
		t.Error("asked again over the same connection")
	}
	g.answer(first, 9, "", "/a/late=1") // nobody there to hear it
	g.answer(second, 8, "epoch=e1\nentries=1\n", "/a/x=2")
	until(t, "it has the table", func() bool { return c.Status().State == Active })
	if got := fmt.Sprint(contents(c)); got != "map[/a/x:2]" || c.Status().Incomplete != 1 {
		t.Errorf("%s, %+v", got, c.Status())
	}
}

// TestMalformedFromServer: what is no message is counted and dropped.
func TestMalformedFromServer(t *testing.T) {
	g := newGuide(t)
	c, _ := attach(t, ClientConfig{}, "", g.at)
	g.subscribed("")
	id := g.request("")
	if err := g.snapshot.SendFrames(id, []byte("k"), []byte("1"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	g.answer(id, 1, "", "k=v")
	active(t, c)
	if err := g.updates.SendFrames([]byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	g.publish("k", 2, "", "w")
	until(t, "the update is there", func() bool { e, _ := c.Get("k"); return string(e.Value) == "w" })
	until(t, "both are counted", func() bool { return c.Status().Malformed == 2 })
}

// TestWatch: a watcher gets what is there, then what changes, below its prefix,
// until it stops; and may read the client meanwhile.
func TestWatch(t *testing.T) {
	s := serve(t, Config{})
	s.set(t, "/a/x", "1")
	s.set(t, "/b/x", "1")
	c, _ := attach(t, ClientConfig{}, "", s.Endpoints())
	active(t, c)
	seen := make(chan string, 100)
	stop := c.Watch("/a/", func(x Change) {
		e, ok := c.Get(string(x.Key))
		if ok == x.Deleted || string(e.Value) != string(x.Value) {
			t.Errorf("%s: told %q, has %q", x.Key, x.Value, e.Value)
		}
		seen <- string(x.Key) + "=" + string(x.Value)
	})
	if got := <-seen; got != "/a/x=1" {
		t.Errorf("got %q first", got)
	}
	all := follow(t, c, "")
	s.set(t, "/b/x", "2")
	s.set(t, "/a/y", "1")
	s.set(t, "/a/x", "")
	for _, want := range []string{"/a/y=1", "/a/x="} {
		if got := <-seen; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	stop()
	s.set(t, "/a/z", "1")
	await(t, all, "/a/z", "1")
	if len(seen) != 0 {
		t.Errorf("told %q after the end", <-seen)
	}
}

// TestClientConfig: what makes no sense, or comes too late, is refused.
func TestClientConfig(t *testing.T) {
	if _, err := NewClient(ClientConfig{Silence: -1}); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	c, err := NewClient(ClientConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); !errors.Is(err, ErrConfig) {
		t.Errorf("without a server: %v", err)
	}
	at := Endpoints{Snapshot: "inproc://a", Updates: "inproc://b"}
	if err := errors.Join(c.Connect(at), c.Connect(at)); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{c.Connect(at), c.Connect(Endpoints{}), c.Subtree(strings.Repeat("x", 256)), c.Subtree("\x00")} {
		if !errors.Is(err, ErrConfig) {
			t.Error(err)
		}
	}
}
