package zsock

import (
	"errors"
	"sync/atomic"
	"testing"
)

// TestFailures: both ends learn that a connection came to nothing, and why. Where one
// has keys and the other none, whoever finds out first ends it.
func TestFailures(t *testing.T) {
	server, friend := newPair(t), newPair(t)
	atServer, atClient := make(chan Failure, 1000), make(chan Failure, 1000)
	tell := func(to chan Failure) func(Failure) {
		return func(f Failure) {
			select {
			case to <- f:
			default: // the other end tries for ever
			}
		}
	}
	lock := server.lockTo(server)
	lock.Check = func(ZAPRequest) ZAPReply { return ZAPReply{} }
	lock.Failed = tell(atServer)
	pull := lockedSocket(t, lockedContext(t, lock), PULL, SocketConfig{Channel: ChannelRefill})
	at, err := pull.Bind("tcp://127.0.0.1:*")
	if err != nil {
		t.Fatal(err)
	}
	open := lockedSocket(t, lockedContext(t, nil), PULL, SocketConfig{})
	openAt, err := open.Bind("tcp://127.0.0.1:*")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name           string
		lock           *Lock
		at             string
		server, client FailureReason
	}{
		{"refused", friend.lockTo(server), at, "", FailedRefused},
		{"wrong server key", friend.lockTo(friend), at, FailedKeys, FailedClosed},
		{"no key", nil, at, FailedMechanism, ""},
		{"no keys there", friend.lockTo(server), openAt, "", FailedMechanism},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.lock != nil {
				tc.lock.Failed = tell(atClient)
			}
			push := lockedSocket(t, lockedContext(t, tc.lock), PUSH, SocketConfig{})
			if err := push.Connect(tc.at); err != nil {
				t.Fatal(err)
			}
			if tc.server != "" {
				for f := range atServer {
					if tc.server == FailedMechanism && f.Why == FailedClosed {
						f.Why = FailedMechanism
					}
					if f == (Failure{ChannelRefill, true, at, tc.server}) {
						break
					}
					t.Logf("the server hears %+v", f)
				}
			}
			if tc.client != "" {
				for f := range atClient {
					if tc.client == FailedMechanism && f.Why == FailedClosed {
						f.Why = FailedMechanism
					}
					if f.Endpoint == tc.at && f.Why == tc.client && !f.Bound {
						break
					}
					t.Logf("the client hears %+v", f)
				}
			}
		})
	}
}

// TestExpelSubscriber: the connection of a subscriber whose rights are gone ends at
// once, that of another stays.
func TestExpelSubscriber(t *testing.T) {
	server, a, b := newPair(t), newPair(t), newPair(t)
	names := map[string]string{string(z85Bytes(t, a.public)): "a", string(z85Bytes(t, b.public)): "b"}
	var revoked atomic.Bool
	refused := make(chan struct{}, 100)
	lock := server.lockTo(server)
	lock.Check = func(q ZAPRequest) ZAPReply {
		user := names[string(q.Key)]
		if user == "a" && revoked.Load() {
			refused <- struct{}{}
			return ZAPReply{}
		}
		return ZAPReply{Allow: true, User: user}
	}
	pub := lockedSocket(t, lockedContext(t, lock), XPUB, SocketConfig{Verbose: true})
	at, err := pub.Bind("tcp://127.0.0.1:*")
	if err != nil {
		t.Fatal(err)
	}
	subs := map[string]*Socket{}
	for name, pair := range map[string]curvePair{"a": a, "b": b} {
		subs[name] = lockedSocket(t, lockedContext(t, pair.lockTo(server)), SUB, SocketConfig{})
		if err := errors.Join(subs[name].Subscribe(name), subs[name].Connect(at)); err != nil {
			t.Fatal(err)
		}
		if m, from := recvFrom(t, pub); string(m) != "\x01"+name || from.User != name {
			t.Fatalf("%q from %+v", m, from)
		}
	}
	revoked.Store(true)
	n := lock.Expel(func(channel string, p Peer) bool {
		if channel != ChannelData || p.Address != "127.0.0.1" {
			t.Errorf("%s of %+v", channel, p)
		}
		return p.User != "a"
	})
	if n != 1 {
		t.Errorf("%d connections ended", n)
	}
	if m, _ := recvFrom(t, pub); string(m) != "\x00a" {
		t.Errorf("%q", m)
	}
	<-refused // it has tried again
	if err := pub.SendFrames([]byte("b 1")); err != nil {
		t.Fatal(err)
	}
	if m, err := subs["b"].RecvFrames(); err != nil || string(m[0]) != "b 1" {
		t.Errorf("%q, %v", m, err)
	}
}

// TestExpelRequest: however a socket receives, requests of somebody whose rights are gone
// are dropped, and others come.
func TestExpelRequest(t *testing.T) {
	for name, receive := range map[string]func(t *testing.T, s *Socket) string{
		"frames": func(t *testing.T, s *Socket) string {
			m, err := s.RecvFrames()
			if err != nil {
				t.Fatal(err)
			}
			return string(m[len(m)-1])
		},
		"parts": func(t *testing.T, s *Socket) string {
			p := NewParts()
			defer p.Close()
			if err := s.RecvParts(p); err != nil {
				t.Fatal(err)
			}
			if from := p.from(); from.User == "" || from.FD == NoFD || from.Address != "127.0.0.1" {
				t.Errorf("from %+v", from)
			}
			return string(p.Frame(p.Len() - 1))
		},
		"many": func(t *testing.T, s *Socket) string {
			in := NewInbox()
			defer in.Close()
			for {
				if err := s.RecvMany(in, 10, 1000); err != nil {
					t.Fatal(err)
				}
				if m := in.Next(); m != nil {
					if from := in.From(); from.User != string(m[len(m)-1]) || from.FD == NoFD || from.Address != "127.0.0.1" {
						t.Errorf("%q from %+v", m, from)
					}
					return string(m[len(m)-1])
				}
			}
		},
	} {
		waited := func(t *testing.T, s *Socket) string { // who looks first has libzmq receive before it is asked
			if _, err := NewPoller(s).Wait(nil, Forever); err != nil {
				t.Fatal(err)
			}
			return receive(t, s)
		}
		t.Run(name, func(t *testing.T) { testExpelRequest(t, receive) })
		t.Run(name+", waited for", func(t *testing.T) { testExpelRequest(t, waited) })
	}
}

func testExpelRequest(t *testing.T, receive func(t *testing.T, s *Socket) string) {
	server, a, b := newPair(t), newPair(t), newPair(t)
	lock := server.lockTo(server)
	lock.Check = func(q ZAPRequest) ZAPReply {
		if string(q.Key) == string(z85Bytes(t, a.public)) {
			return ZAPReply{Allow: true, User: "a"}
		}
		return ZAPReply{Allow: true, User: "b"}
	}
	router := lockedSocket(t, lockedContext(t, lock), ROUTER, SocketConfig{})
	at, err := router.Bind("tcp://127.0.0.1:*")
	if err != nil {
		t.Fatal(err)
	}
	say := map[string]*Socket{}
	for user, pair := range map[string]curvePair{"a": a, "b": b} {
		say[user] = lockedSocket(t, lockedContext(t, pair.lockTo(server)), DEALER, SocketConfig{})
		if err := errors.Join(say[user].Connect(at), say[user].SendFrames([]byte(user))); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, router); got != user {
			t.Fatalf("%q", got)
		}
	}
	judged := make(chan struct{}, 10)
	lock.Expel(func(_ string, p Peer) bool {
		if p.User == "a" {
			judged <- struct{}{}
		}
		return p.User != "a"
	})
	if err := say["a"].SendFrames([]byte("a")); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() { got <- receive(t, router) }()
	<-judged
	if err := say["b"].SendFrames([]byte("b")); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "b" {
		t.Errorf("%q", s)
	}
}
