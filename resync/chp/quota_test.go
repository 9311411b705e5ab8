package chp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// TestSubscriptionsAreBounded: who subscribes to keys without end is cut off, and counted;
// others go on.
func TestSubscriptionsAreBounded(t *testing.T) {
	const quota = 100_000
	server := open(t, Config{})
	server.quota = zsock.NewQuota(quota)
	s := run(t, server)
	good := newPlain(t, s.Endpoints(), KVMsg.frames(), "/a/")
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ctx.Close() }()
	flood, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{SendQueue: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = flood.Close() }()
	if err := flood.Connect(s.Endpoints().Updates); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 10_000)
	for i := range quota/len(long) + 10 {
		if err := flood.Subscribe(fmt.Sprintf("%08d", i) + long); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the flood is cut off", func() bool { return s.Stats().Excess > 0 })
	if _, err := s.Set([]byte("/a/b"), nil, []byte("v")); err != nil {
		t.Fatal(err)
	}
	if key, _, _, value := good.recv(good.updates); key != "/a/b" || value != "v" {
		t.Errorf("got %q: %q", key, value)
	}
}
