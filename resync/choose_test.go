package resync

import (
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control/freelance"
	"github.com/tapedeck/tapedeck/wire"
)

// TestLackingServerIsAskedLast: who has said that it does not have an epoch is asked for
// further gaps of it when all others have been, until it brings something.
func TestLackingServerIsAskedLast(t *testing.T) {
	for _, reason := range []Reason{ReasonUnknown, ReasonGone, ReasonRefused} {
		m := newTester(2)
		m.bring(7, 0, 10, false)
		m.bring(7, 20, 10, false)
		a := only(t, m.pump(), doRequest)
		m.failed(m.now, a.id, failure{reason: reason, skip: 20})
		b := only(t, m.pump(), doRequest)
		if a.server != 0 || b.server != 1 {
			t.Fatalf("%v: asked %d, then %d", reason, a.server, b.server)
		}
		m.bringer = b.server
		m.bring(7, 10, 10, true)
		m.machine.done(m.now, b.id, 20, false, true)
		m.pump()
		m.bring(7, 40, 10, false)
		a = only(t, m.pump(), doRequest)
		if a.server != 1 {
			t.Errorf("%v: asked who does not have it", reason)
		}
		m.failed(m.now, a.id, failure{reason: ReasonNotYet})
		b = only(t, m.pump(), doRequest)
		if b.server != 0 {
			t.Errorf("%v: did not ask who may have it by now", reason)
		}
		m.bringer = b.server
		m.bring(7, 30, 10, true)
		m.machine.done(m.now, b.id, 40, false, true)
		m.pump()
		m.bring(7, 60, 10, false)
		if a := only(t, m.pump(), doRequest); a.server != 0 {
			t.Errorf("%v: who has brought something is not asked first", reason)
		}
		if m.refilled[0] != 10 || m.refilled[1] != 10 || m.count.Refilled != 20 {
			t.Errorf("%v: refilled by server %v of %d", reason, m.refilled, m.count.Refilled)
		}
	}
}

// TestShardsShareWhoAnswers: what one shard finds out of a server, the others know.
func TestShardsShareWhoAnswers(t *testing.T) {
	shared := freelance.NewChooser(2, restFirst, restMost)
	one, two := newTester(2), newTester(2)
	one.cfg.chooser, two.cfg.chooser = shared, shared
	for _, m := range []*tester{one, two} {
		m.bring(7, 0, 10, false)
		m.bring(7, 20, 10, false)
	}
	a := only(t, one.pump(), doRequest)
	one.now += one.cfg.patience
	if got := one.pump(); len(got) != 2 || got[0].do != doCancel || got[1].do != doRequest || a.server != 0 || got[1].server != 1 {
		t.Fatalf("after a request that brings nothing: %+v", got)
	}
	two.now = one.now
	if a := only(t, two.pump(), doRequest); a.server != 1 {
		t.Error("asks a server that has just failed another shard")
	}
}

// TestMuteServerDoesNotHoldUp: while a server does not answer, one that does not have yet
// what is wanted is asked again and again, and brings it.
func TestMuteServerDoesNotHoldUp(t *testing.T) {
	m := newTester(2)
	m.bring(7, 0, 10, false)
	m.bring(7, 20, 10, false)
	waited, asked := time.Duration(0), [2]int{}
	for asked[1] < 5 {
		for _, a := range m.pump() {
			if a.do != doRequest {
				t.Fatalf("wants %+v", a)
			}
			asked[a.server]++
			if a.server == 0 {
				waited += 2 * time.Second // until it is taken for gone
				m.failed(m.now, a.id, failure{reason: ReasonNoAnswer})
			} else {
				m.failed(m.now, a.id, failure{reason: ReasonNotYet})
			}
		}
		if at, ok := m.wake(); ok {
			m.now = max(m.now, at)
		}
	}
	if asked[0] > 2 {
		t.Errorf("asked %v times: %v waited for who does not answer", asked, waited)
	}
}

// TestSwitch: a server that is silent is left long before it is taken for gone, where
// another one speaks; and then it is not asked first.
func TestSwitch(t *testing.T) {
	silent, speaks := startServer(t, filled(100)), startServer(t, filled(100))
	silent.set(func(f *faults) { f.deaf = true })
	c := startClient(t, ClientConfig{Silence: time.Hour, Switch: time.Millisecond}, silent, speaks)
	for range 2 {
		got := wire.Seq(0)
		if _, _, err := c.Refill(t.Context(), Span{7, 0, 0, 1000}, collect(&got)); err != nil || got != 1000 {
			t.Fatalf("came to %d: %v", got, err)
		}
	}
	st := c.ServerStats()
	if st[0].Requests != 1 || st[0].Failed != 1 || !st[0].Resting || st[0].Alive || st[1].Requests != 2 || st[1].Failed != 0 || st[1].Bytes != c.Stats().Bytes || !st[1].Alive {
		t.Errorf("%+v", st)
	}
	if st[0].Endpoint != silent.endpoint || st[1].Endpoint != speaks.endpoint {
		t.Errorf("endpoints %+v", st)
	}
}

// TestStuckServer: one that answers pings and says that it has the request, and sends
// nothing, is left as well.
func TestStuckServer(t *testing.T) {
	stuck, works := startServer(t, filled(100)), startServer(t, filled(100))
	stuck.set(func(f *faults) { f.keeps = true })
	c := startClient(t, ClientConfig{Deadline: time.Millisecond, Silence: 100 * time.Millisecond}, stuck, works)
	got := wire.Seq(0)
	if _, _, err := c.Refill(t.Context(), Span{7, 0, 0, 1000}, collect(&got)); err != nil || got != 1000 {
		t.Fatalf("came to %d: %v", got, err)
	}
	if st := c.ServerStats(); st[0].Failed == 0 || st[0].Bytes != 0 || st[1].Bytes == 0 {
		t.Errorf("%+v", st)
	}
}

// TestLackedIsNoFailure: a server that does not have what is wanted has answered.
func TestLackedIsNoFailure(t *testing.T) {
	lacks, has := startServer(t, filled(10)), startServer(t, filled(100))
	c := startClient(t, ClientConfig{}, lacks, has)
	got := wire.Seq(0)
	if _, _, err := c.Refill(t.Context(), Span{7, 0, 500, 1000}, func(b *wire.Batch) error { got = b.Next(); return nil }); err != nil || got != 1000 {
		t.Fatalf("came to %d: %v", got, err)
	}
	if st := c.ServerStats(); st[0].Lacked != 1 || st[0].Failed != 0 || st[0].Resting || st[1].Lacked != 0 {
		t.Errorf("%+v", st)
	}
}
