package zsock

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"testing"
	"time"

	zmq "github.com/pebbe/zmq4"
)

// curvePair is a key pair of a test.
type curvePair struct{ public, secret string }

func newPair(t *testing.T) curvePair {
	t.Helper()
	if !Has("curve") {
		t.Skip("this libzmq has no CURVE")
	}
	public, secret, err := NewCurvePair()
	if err != nil {
		t.Fatal(err)
	}
	return curvePair{public, secret}
}

// lockTo is a lock that knows one server.
func (p curvePair) lockTo(server curvePair) *Lock {
	return &Lock{Public: p.public, Secret: p.secret, ServerKey: func(string) (string, error) { return server.public, nil }}
}

func lockedContext(t *testing.T, l *Lock) *Context {
	t.Helper()
	c, err := NewContext(NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	c.SetLock(l)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func lockedSocket(t *testing.T, c *Context, typ Type, cfg SocketConfig) *Socket {
	t.Helper()
	cfg.SendTimeout, cfg.RecvTimeout = Forever, Forever
	s, err := c.NewSocket(typ, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// z85Bytes takes a key apart, as keys does.
func z85Bytes(t *testing.T, s string) []byte {
	t.Helper()
	const alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
	var b []byte
	for ; len(s) >= 5; s = s[5:] {
		n := uint32(0)
		for i := range 5 {
			for v := range alphabet {
				if alphabet[v] == s[i] {
					n = n*85 + uint32(v)
				}
			}
		}
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

// TestLock: who is allowed is let in, with a name; who is not, or has a wrong server
// key or none at all, is not, and who checks learns all about it.
func TestLock(t *testing.T) {
	for _, endpoint := range []string{"tcp://127.0.0.1:*", "ipc://" + filepath.Join(t.TempDir(), "lock")} {
		t.Run(endpoint[:3], func(t *testing.T) {
			server, friend, stranger := newPair(t), newPair(t), newPair(t)
			friendKey := string(z85Bytes(t, friend.public))
			asked := make(chan ZAPRequest, 100)
			lock := server.lockTo(server)
			lock.Check = func(q ZAPRequest) ZAPReply {
				asked <- q
				if string(q.Key) == friendKey {
					return ZAPReply{Allow: true, User: "friend"}
				}
				return ZAPReply{}
			}
			pull := lockedSocket(t, lockedContext(t, lock), PULL, SocketConfig{Channel: "refill"})
			at, err := pull.Bind(endpoint)
			if err != nil {
				t.Fatal(err)
			}
			for name, l := range map[string]*Lock{
				"stranger": stranger.lockTo(server), "wrong server": friend.lockTo(stranger), "without": nil,
			} {
				push := lockedSocket(t, lockedContext(t, l), PUSH, SocketConfig{})
				if err := push.Connect(at); err != nil {
					t.Fatal(err)
				}
				if err := push.SendFrames([]byte(name)); err != nil { // it waits in the queue
					t.Fatal(err)
				}
			}
			if q := <-asked; q.Channel != "refill" || q.Mechanism != "CURVE" || string(q.Key) != string(z85Bytes(t, stranger.public)) {
				t.Errorf("asked %+v", q)
			}
			push := lockedSocket(t, lockedContext(t, friend.lockTo(server)), PUSH, SocketConfig{})
			if err := push.Connect(at); err != nil {
				t.Fatal(err)
			}
			if err := push.SendFrames([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			m, from := recvFrom(t, pull)
			if string(m) != "hello" || from.User != "friend" {
				t.Errorf("%q from %+v", m, from)
			}
		})
	}
}

func recvFrom(t *testing.T, s *Socket) ([]byte, Peer) {
	t.Helper()
	p := NewPoller(s)
	for {
		if _, err := p.Wait(nil, Forever); err != nil {
			t.Fatal(err)
		}
		m, from, err := s.TryRecvFrameFrom()
		if errors.Is(err, ErrAgain) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return m, from
	}
}

// TestLockedSubscription: a subscription says whose it is.
func TestLockedSubscription(t *testing.T) {
	server, friend := newPair(t), newPair(t)
	lock := server.lockTo(server)
	lock.Check = func(ZAPRequest) ZAPReply { return ZAPReply{Allow: true, User: "desk-7"} }
	pub := lockedSocket(t, lockedContext(t, lock), XPUB, SocketConfig{})
	at, err := pub.Bind("tcp://127.0.0.1:*")
	if err != nil {
		t.Fatal(err)
	}
	sub := lockedSocket(t, lockedContext(t, friend.lockTo(server)), SUB, SocketConfig{})
	if err := errors.Join(sub.Subscribe("ES"), sub.Connect(at)); err != nil {
		t.Fatal(err)
	}
	if m, from := recvFrom(t, pub); string(m) != "\x01ES" || from.User != "desk-7" {
		t.Errorf("%q from %+v", m, from)
	}
	if err := pub.SendFrames([]byte("ES 1")); err != nil {
		t.Fatal(err)
	}
	if m, err := sub.RecvFrames(); err != nil || string(m[0]) != "ES 1" {
		t.Errorf("%q, %v", m, err)
	}
}

// TestLockSmallMessages: a socket that takes only small messages can greet others in
// private, and takes those that are as large as it said.
func TestLockSmallMessages(t *testing.T) {
	server, friend := newPair(t), newPair(t)
	pull := lockedSocket(t, lockedContext(t, server.lockTo(server)), PULL, SocketConfig{MessageMax: 100})
	at, err := pull.Bind("tcp://127.0.0.1:*")
	if err != nil {
		t.Fatal(err)
	}
	push := lockedSocket(t, lockedContext(t, friend.lockTo(server)), PUSH, SocketConfig{MessageMax: 1})
	if err := push.Connect(at); err != nil {
		t.Fatal(err)
	}
	if err := push.SendFrames(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if frames, err := pull.RecvFrames(); err != nil || len(frames[0]) != 100 {
		t.Fatalf("%d frames, %v", len(frames), err)
	}
}

// TestLockInProcess: what stays in the process needs no keys.
func TestLockInProcess(t *testing.T) {
	server := newPair(t)
	c := lockedContext(t, server.lockTo(server))
	pull, push := lockedSocket(t, c, PULL, SocketConfig{}), lockedSocket(t, c, PUSH, SocketConfig{})
	if _, err := pull.Bind("inproc://x"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(push.Connect("inproc://x"), push.SendFrames([]byte("m"))); err != nil {
		t.Fatal(err)
	}
	if m, err := pull.RecvFrames(); err != nil || string(m[0]) != "m" {
		t.Errorf("%q, %v", m, err)
	}
}

func TestLockRefuses(t *testing.T) {
	server := newPair(t)
	lock := server.lockTo(server)
	unknown := errors.New("no key for this one")
	c := lockedContext(t, lock)
	if _, err := lockedSocket(t, c, PUB, SocketConfig{}).Bind("epgm://127.0.0.1;239.192.1.1:5555"); !errors.Is(err, ErrLock) {
		t.Errorf("multicast: %v", err)
	}
	s := lockedSocket(t, c, PUB, SocketConfig{})
	if _, err := s.Bind("tcp://127.0.0.1:*"); err != nil {
		t.Fatal(err)
	}
	if err := s.Connect("tcp://127.0.0.1:1"); !errors.Is(err, ErrLock) {
		t.Errorf("a bound socket: %v", err)
	}
	lock.ServerKey = func(string) (string, error) { return "", unknown }
	if err := lockedSocket(t, c, SUB, SocketConfig{}).Connect("tcp://127.0.0.1:1"); !errors.Is(err, unknown) {
		t.Errorf("an unknown server: %v", err)
	}
}

// TestZAPMalformed: what is no request gets an answer all the same, or libzmq would wait.
func TestZAPMalformed(t *testing.T) {
	z := &zap{check: func(ZAPRequest) ZAPReply { return ZAPReply{Allow: true, User: string(make([]byte, 256))} }}
	for code, m := range map[string][]string{
		"500": {"1.0", "1"}, "400": {"1.0", "1", "data", "127.0.0.1", "", "CURVE", string(make([]byte, 32))},
	} {
		var frames [][]byte
		for _, f := range m {
			frames = append(frames, []byte(f))
		}
		if got := z.answer(frames); len(got) != 6 || string(got[2]) != code {
			t.Errorf("%q was answered %q", m, got)
		}
	}
}

// BenchmarkLock sends batches over tcp with and without keys.
func BenchmarkLock(b *testing.B) {
	for _, locked := range []bool{false, true} {
		name := map[bool]string{false: "plain", true: "curve"}[locked]
		b.Run(name, func(b *testing.B) {
			var l *Lock
			if locked {
				public, secret, err := NewCurvePair()
				if err != nil {
					b.Fatal(err)
				}
				l = &Lock{Public: public, Secret: secret, ServerKey: func(string) (string, error) { return public, nil }}
			}
			benchPush(b, l)
		})
	}
}

func benchPush(b *testing.B, l *Lock) {
	c, err := NewContext(NoCPU)
	if err != nil {
		b.Fatal(err)
	}
	c.SetLock(l)
	open := func(typ Type) *Socket {
		s, err := c.NewSocket(typ, SocketConfig{SendTimeout: Forever, RecvTimeout: Forever})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	pull, push := open(PULL), open(PUSH)
	at, err := pull.Bind("tcp://127.0.0.1:*")
	if err == nil {
		err = push.Connect(at)
	}
	if err != nil {
		b.Fatal(err)
	}
	const size = 256 << 10
	payload := make([]byte, size)
	b.SetBytes(size)
	go func() {
		for range b.N {
			_ = push.SendFrames(payload)
		}
	}()
	b.ResetTimer()
	start := time.Now()
	for range b.N {
		if _, err := pull.z.RecvBytes(zmq.Flag(0)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*size/132/time.Since(start).Seconds(), "records/s")
	if err := errors.Join(push.Close(), pull.Close(), c.Close()); err != nil {
		b.Fatal(err)
	}
}
