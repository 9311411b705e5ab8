package majordomo

import (
	"context"
	"fmt"
	"testing"

	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// TestRequestNumber: a handler is told the number of its request, if that is a
// number of its own, and not the one before.
func TestRequestNumber(t *testing.T) {
	b, _ := runBroker(t, BrokerConfig{})
	runWorker(t, WorkerConfig{Endpoints: b.Endpoints(), Handler: func(ctx context.Context, _ [][]byte) Reply {
		n, ok := RequestNumber(ctx)
		return Reply{Frames: [][]byte{fmt.Appendf(nil, "%d %v", n, ok)}}
	}})
	c := zsocktest.NewPeer(t, zsocktest.NewContext(t), zsock.DEALER)
	c.Connect(b.Endpoints()[0])
	for _, r := range []struct{ frame, want string }{
		{string(pirate.AppendNumber(nil, 1<<32+5, false)), "4294967301 true"},
		{"", "0 false"},
		{string(pirate.AppendNumber(nil, 7, false)), "7 false"},
		{string(pirate.AppendNumber(nil, 1<<63, false)), "9223372036854775808 true"},
	} {
		c.Send("", "MDPC01", "echo", r.frame, "body")
		m := c.Recv()
		if got := m[len(m)-1]; got != r.want {
			t.Errorf("got %q, want %q", got, r.want)
		}
	}
	if _, ok := RequestNumber(t.Context()); ok {
		t.Error("a context of no request has a number")
	}
}
