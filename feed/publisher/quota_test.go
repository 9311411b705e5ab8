package publisher

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// TestSubscriptionsAreBounded: who subscribes to topics without end is cut off, and
// counted; others are served, and the words of readers do not add up.
func TestSubscriptionsAreBounded(t *testing.T) {
	p := open(t, Config{})
	const quota = 100_000
	p.shards[0].quota = zsock.NewQuota(quota)
	good := connect(t, p.Endpoints()[0], zsock.SUB)
	good.subscribe("")
	until(t, p, good.readable)
	good.next() // the hello
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
	if err := flood.Connect(p.Endpoints()[0]); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", subscriptionMax-100)
	for i := range quota/len(long) + 10 {
		if err := flood.Subscribe(fmt.Sprintf("%08d", i) + long); err != nil {
			t.Fatal(err)
		}
	}
	until(t, p, func() bool { return p.Stats().Excess > 0 })
	good.subscribe(wire.ReadyTopic(wire.ReaderID{1}, "good"))
	until(t, p, func() bool { return p.Stats().Joined == 1 })
	if st := p.Stats(); st.Foreign != 0 || st.Refused != 0 {
		t.Errorf("%+v", st)
	}
}
