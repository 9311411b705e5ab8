package zsock

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestQuota: who subscribes to more than it may is cut off; who stays within it, also by
// giving up what it had, is not; and who comes after has a quota of its own.
func TestQuota(t *testing.T) {
	for _, endpoint := range []string{"tcp://127.0.0.1:*", "ipc://" + filepath.Join(t.TempDir(), "q")} {
		t.Run(endpoint[:3], func(t *testing.T) {
			ctx := lockedContext(t, nil)
			pub := lockedSocket(t, ctx, XPUB, SocketConfig{Verbose: true})
			at, err := pub.Bind(endpoint)
			if err != nil {
				t.Fatal(err)
			}
			const topic = 68 // bytes: 100 with what a subscription costs
			q := NewQuota(10 * (topic + subscriptionCost))
			subscriber := func() *Socket {
				s := lockedSocket(t, ctx, SUB, SocketConfig{})
				if err := s.Connect(at); err != nil {
					t.Fatal(err)
				}
				return s
			}
			name := func(n int) string { return fmt.Sprintf("%0*d", topic, n) }
			good := subscriber()
			for n := range 100 { // one after the other
				if err := good.Subscribe(name(n)); err != nil {
					t.Fatal(err)
				}
				if m, from := recvFrom(t, pub); m[0] != 1 || !q.Take(m, from) {
					t.Fatalf("subscription %d is not within the quota", n)
				}
				if err := good.Unsubscribe(name(n)); err != nil {
					t.Fatal(err)
				}
				if m, from := recvFrom(t, pub); m[0] != 0 || from.FD == NoFD || !q.Take(m, from) {
					t.Fatalf("the end of subscription %d: %q from %+v", n, m, from)
				}
			}
			flood := subscriber()
			monitor, err := ctx.Monitor(flood)
			if err != nil {
				t.Fatal(err)
			}
			for n := range 11 {
				if err := flood.Subscribe("f" + name(n)[1:]); err != nil {
					t.Fatal(err)
				}
			}
			for n := range 11 {
				if m, from := recvFrom(t, pub); !strings.HasPrefix(string(m), "\x01f") || q.Take(m, from) != (n < 10) {
					t.Fatalf("subscription %d of a flood: %q from %+v", n, m, from)
				}
			}
			poller := NewPoller(monitor.Socket())
			for gone := false; !gone; {
				if _, err := poller.Wait(nil, Forever); err != nil {
					t.Fatal(err)
				}
				c, err := monitor.Next()
				gone = err == nil && c == Disconnected
			}
			_ = flood.Close()
			_ = monitor.Close()
			if err := good.Subscribe("still here"); err != nil {
				t.Fatal(err)
			}
			for {
				m, from := recvFrom(t, pub)
				if string(m) == "\x01still here" {
					if !q.Take(m, from) {
						t.Error("who floods has taken another one's quota")
					}
					break
				}
			}
		})
	}
}

// TestQuotaOfNobody: what has no connection is not bounded, and what is no subscription
// is none.
func TestQuotaOfNobody(t *testing.T) {
	q := NewQuota(1)
	for _, frame := range []string{"", "\x01a topic", "\x00a topic", "\x02another word"} {
		if !q.Take([]byte(frame), Peer{FD: NoFD}) {
			t.Errorf("%q of nobody is refused", frame)
		}
	}
	if !q.Take([]byte("\x02word"), Peer{FD: 1 << 20}) || !q.Take([]byte("\x01topic"), Peer{FD: 1 << 20}) || len(q.lines) != 0 {
		t.Error("takes note of a connection that is none")
	}
}
