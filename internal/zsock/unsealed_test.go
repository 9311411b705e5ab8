package zsock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/chaos/hostile"
	"github.com/tapedeck/tapedeck/keys"
)

// TestUnsealed: a peer whose key is allowed and who sends what is not sealed, or sealed
// wrongly, and resets its connection ends no process, though the socket wants to notice
// death.
func TestUnsealed(t *testing.T) {
	const locked = "TAPEDECK_TEST_UNSEALED"
	if secret := os.Getenv(locked); secret != "" {
		serveLocked(t, secret)
		return
	}
	if !Has("curve") {
		t.Skip("this libzmq has no CURVE")
	}
	var texts [4]string
	var pair [4][32]byte
	for i := 0; i < len(texts); i += 2 {
		var err error
		if texts[i], texts[i+1], err = NewCurvePair(); err != nil {
			t.Fatal(err)
		}
		for j := i; j < i+2; j++ {
			k, err := keys.ParseKey(texts[j])
			if err != nil {
				t.Fatal(err)
			}
			pair[j] = k
		}
	}
	c := startChild(t, "TestUnsealed", locked, texts[1])
	endpoint, err := c.word()
	if err != nil {
		t.Fatal(err)
	}
	tallies := hostile.Run(context.Background(), hostile.Config{Frames: 60_000, Seed: 3, Ports: []hostile.Port{{
		Name: "router", Address: strings.TrimPrefix(endpoint, "tcp://"), Socket: "DEALER",
		Lock: &hostile.Lock{Server: pair[0], Public: pair[2], Secret: pair[3], Unsealed: true},
	}}})
	c.end()
	if tallies[0].Refused > 0 {
		t.Errorf("%+v", tallies[0])
	}
}

// serveLocked reads a ROUTER with a lock until standard input ends.
func serveLocked(t *testing.T, secret string) {
	ctx, err := NewContext(NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	ctx.SetLock(&Lock{Secret: secret, Check: func(ZAPRequest) ZAPReply { return ZAPReply{Allow: true, User: "peer"} }, Failed: func(Failure) {}})
	s, err := ctx.NewSocket(ROUTER, SocketConfig{RecvTimeout: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.NoticeDeath(50*time.Millisecond, 150*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	endpoint, err := s.Bind("tcp://127.0.0.1:*")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(endpoint)
	ended := make(chan struct{})
	go func() { defer close(ended); _, _ = os.Stdin.Read(make([]byte, 1)) }()
	for over := false; !over; {
		select {
		case <-ended:
			over = true
		default:
		}
		if _, err := s.RecvFrames(); err != nil && !errors.Is(err, ErrAgain) {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.Close(), ctx.Close()); err != nil {
		t.Fatal(err)
	}
}
