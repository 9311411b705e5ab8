package lvc

import (
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// TestCaughtUpIsNotConfirmed: a reader whose queue was full and is empty again has not
// got yet what its kernel has taken meanwhile.
func TestCaughtUpIsNotConfirmed(t *testing.T) {
	p, s := open(t, Config{Standby: &Standby{Keep: time.Hour, Bytes: 32 << 10}, QueueBytes: 32 << 10, Plain: []string{"ipc://" + t.TempDir() + "/p"}}), newSource()
	p.Activate(2, "a test")
	slow := dial(t, p, "")
	slow.next()
	body := strings.Repeat("b", 1000)
	for p.Stats().Dropped == 0 {
		s.one(t, p, "A", body)
	}
	s.one(t, p, "A", body)
	at := s.next
	p.Confirm() // a mark behind what it has lost
	var last []got
	for p.Stats().CaughtUp == 0 {
		last = slow.next()
	}
	next := func() wire.Seq {
		if have, _ := p.Confirm(); have[0].Epoch != 0 {
			return have[0].Next
		}
		return 0
	}
	for range 20 {
		if n := next(); n > last[0].h.Seq+1 {
			t.Fatalf("%d are confirmed, and the reader has read up to %d", n, last[0].h.Seq)
		}
		pause(t)
	}
	for last[0].h.Flags&wire.PlainSnapshot == 0 {
		last = slow.next()
	}
	await(t, "all is confirmed", func() bool { return next() == at })
}
