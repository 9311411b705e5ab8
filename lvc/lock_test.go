package lvc

import (
	"bytes"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zmtp"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// doorman is a lock that allows what its test says, by the key that libzmq's clients
// show.
type doorman struct {
	mu      sync.Mutex
	prefix  string // that everybody may read
	refuses error
	asked   int
}

func (d *doorman) check([32]byte, net.Addr) (Rights, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	prefix := []byte(d.prefix)
	return Rights{Name: "desk", MayRead: func(p []byte) bool { return bytes.HasPrefix(p, prefix) }}, d.refuses
}

func (d *doorman) allow(prefix string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.prefix, d.refuses = prefix, err
}

// Keys of the proxy, fixed: the secret is 32 times 1, the public half in Z85.
var (
	lockSecret = [32]byte(bytes.Repeat([]byte{1}, 32))
	lockPublic = "Q#mA0WO:[^XPYP9Pi[Of6wiO%ypo7(}p)F*3hyk3"
)

func lockOfClient(t *testing.T) *zsock.Lock {
	t.Helper()
	if !zsock.Has("curve") {
		t.Skip("this libzmq has no CURVE")
	}
	public, secret, err := zsock.NewCurvePair()
	if err != nil {
		t.Fatal(err)
	}
	return &zsock.Lock{Public: public, Secret: secret, ServerKey: func(string) (string, error) { return lockPublic, nil }}
}

// TestRights: what a reader has no right to is refused with an answer that says so, and
// counted; what it has is as without keys. Rights that are taken back end subscriptions,
// and a key that is taken back ends the connection.
func TestRights(t *testing.T) {
	d := &doorman{prefix: "ES"}
	p := open(t, Config{Lock: &Lock{Secret: lockSecret, Check: d.check}})
	running(t, p)
	src := newSource()
	src.one(t, p, "ES.H4", "1")
	src.one(t, p, "NQ.H4", "2")
	c := lockedClients(t, lockOfClient(t))(p)
	for _, refused := range []string{"", "E", "NQ"} {
		c.do(c.s.Subscribe(refused))
		g := c.next()
		want := wire.PlainSnapshot | wire.PlainEmpty | wire.PlainLast | wire.PlainRefused
		if len(g) != 1 || g[0].topic != refused || g[0].h.Flags != want {
			t.Fatalf("%q was answered %v", refused, g)
		}
		c.do(c.s.Unsubscribe(refused)) // the socket's own filter would let it through
	}
	c.do(c.s.Subscribe("ES"))
	c.answers(map[string]string{"ES.H4": "1"})
	src.one(t, p, "NQ.H4", "3")
	src.one(t, p, "ES.H4", "4")
	c.live("ES.H4=4")
	if s := p.Stats(); s.NoRight != 3 || s.Subscriptions != 1 {
		t.Errorf("counted %d without right, %d with", s.NoRight, s.Subscriptions)
	}
	d.allow("ES.Z", nil)
	if n := p.Recheck(); n != 0 {
		t.Errorf("%d connections ended", n)
	}
	if g := c.next(); len(g) != 1 || g[0].topic != "ES" || g[0].h.Flags&wire.PlainRefused == 0 {
		t.Fatalf("told %v", g)
	}
	d.allow("", errors.New("revoked"))
	if n := p.Recheck(); n != 1 {
		t.Errorf("%d connections ended, want 1", n)
	}
	await(t, "the reader to be refused", func() bool { return p.Stats().Refused > 0 && p.Stats().Readers == 0 })
}

// TestPerAddress: one machine does not take all the places; a place that becomes free is
// anybody's.
func TestPerAddress(t *testing.T) {
	p := open(t, Config{MaxPerAddress: 2})
	running(t, p)
	_, at, _ := strings.Cut(p.Endpoints()[0], "tcp://")
	dial := func() net.Conn {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	greeted := func(c net.Conn) bool {
		_, err := c.Read(make([]byte, 1))
		return err == nil
	}
	first, second := dial(), dial()
	if !greeted(first) || !greeted(second) {
		t.Fatal("there was room for two")
	}
	if greeted(dial()) {
		t.Error("a third one came in")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for !greeted(dial()) { // its end is noticed soon
		runtime.Gosched()
	}
}

// TestLockFails: who has another key of the proxy, or none, is told of.
func TestLockFails(t *testing.T) {
	failed := make(chan error, 100)
	d := &doorman{}
	p := open(t, Config{Lock: &Lock{Secret: lockSecret, Check: d.check, Failed: func(tap bool, err error, from net.Addr) {
		if tap || from == nil {
			t.Errorf("tap %v, from %v", tap, from)
		}
		select {
		case failed <- err:
		default: // libzmq tries for ever
		}
	}}})
	running(t, p)
	other := lockOfClient(t)
	key := other.Public
	other.ServerKey = func(string) (string, error) { return key, nil }
	for name, tc := range map[string]struct {
		lock *zsock.Lock
		want error
	}{
		"wrong server key": {other, zmtp.ErrCurve}, "no key": {nil, zmtp.ErrMechanism},
	} {
		ctx, err := zsock.NewContext(zsock.NoCPU)
		if err != nil {
			t.Fatal(err)
		}
		ctx.SetLock(tc.lock)
		s, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Connect(p.Endpoints()[0]); err != nil {
			t.Fatal(err)
		}
		for err := range failed {
			if errors.Is(err, tc.want) || tc.lock == nil { // where it is the first to find out, it just goes
				break
			}
			t.Logf("%s: %v", name, err)
		}
		if err := errors.Join(s.Close(), ctx.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestLockConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no check":  {Shards: 1, Plain: []string{anyPort}, Lock: &Lock{}},
		"multicast": {Shards: 1, Plain: []string{"epgm://127.0.0.1;239.192.1.1:5555"}, Lock: &Lock{Check: (&doorman{}).check}},
	} {
		if p, err := New(cfg); err == nil {
			t.Errorf("%s: was taken", name)
			_ = p.Close()
		}
	}
}

// TestTapNeedsEverything: who may not read every topic may not watch them all.
func TestTapNeedsEverything(t *testing.T) {
	d := &doorman{prefix: "ES"}
	l := (&Lock{Secret: lockSecret, Check: d.check}).ofAll()
	if _, err := l.Check([32]byte{}, nil); err == nil {
		t.Error("a reader of some topics may tap")
	}
	d.allow("", nil)
	if r, err := l.Check([32]byte{}, nil); err != nil || r.Name != "desk" || !r.allow(nil) {
		t.Errorf("%+v, %v", r, err)
	}
	if (*Lock)(nil).ofAll() != nil {
		t.Error("a lock out of none")
	}
}
