package majordomo

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
)

// words returns what the machine wants done, in words, and does it.
func (m *machine) words() string {
	var words []string
	for _, a := range m.acts {
		switch a.do {
		case actSend:
			words = append(words, fmt.Sprintf("send %d to %s", a.job.ticket, a.peer.address))
		case actBeat:
			words = append(words, fmt.Sprintf("beat %s", a.peer.address))
		case actDisconnect:
			words = append(words, fmt.Sprintf("disconnect %s", a.address))
		case actFail:
			words = append(words, fmt.Sprintf("fail %d: %s", a.job.ticket, a.reason))
		case actDrop:
			words = append(words, fmt.Sprintf("drop %d", a.job.ticket))
			m.recycle(a.job)
		}
	}
	m.acts = m.acts[:0]
	return strings.Join(words, ", ")
}

// script is a machine that is told in words what happens.
type script struct {
	t *testing.T
	m *machine
}

func newScript(t *testing.T) *script {
	b := testBounds
	b.requests, b.clientRequests, b.serviceRequests, b.bytes = 100, 100, 100, 100_000
	return &script{t, newMachine(b)}
}

// do has something happen and wants these acts.
func (s *script) do(want string, happen func(m *machine)) {
	s.t.Helper()
	happen(s.m)
	if got := s.m.words(); got != want {
		s.t.Errorf("got %q, want %q", got, want)
	}
}

func (s *script) at(now time.Duration, want string) {
	s.t.Helper()
	s.m.beaten = now // heartbeats are not what is looked at
	s.do(want, func(m *machine) {
		m.ticked = now // nobody stood still
		m.tick(now)
	})
}

func (s *script) ready(now time.Duration, worker, service, want string) {
	s.t.Helper()
	s.do(want, func(m *machine) { m.ready(now, []byte(worker), []byte(service)) })
}

func (s *script) request(now time.Duration, client, service, want string, body ...string) {
	s.t.Helper()
	s.do(want, func(m *machine) {
		if len(body) == 0 {
			body = []string{"body"}
		}
		if r := m.request(now, []byte(client), nil, []byte(service), byteFrames(body)); r != "" {
			s.t.Errorf("refused: %s", r)
		}
	})
}

func (s *script) reply(now time.Duration, worker, client, want string, forward bool) {
	s.t.Helper()
	s.do(want, func(m *machine) {
		if j := m.reply(now, []byte(worker), []byte(client)); (j != nil) != forward {
			s.t.Errorf("forwarded %v, want %v", j != nil, forward)
		}
	})
}

func (s *script) mmi(service string, want int) {
	s.t.Helper()
	if got := s.m.workersOf([]byte(service)); got != want {
		s.t.Errorf("%d workers of %s, want %d", got, service, want)
	}
}

func numberFrame(n uint64) string { return string(pirate.AppendNumber(nil, n, false)) }

// TestReservedNames: the guide's broker looks at the sender where it should look at
// the service.
func TestReservedNames(t *testing.T) {
	s := newScript(t)
	for _, name := range []string{"mmi.service", "mmi.", "mmi.mine", "tapedeck.broker.services", "tapedeck.broker.x"} {
		s.ready(0, "w", name, "disconnect w")
		s.mmi(name, 0)
	}
	s.ready(0, "mmi.worker", "echo", "") // its address may begin as it likes
	s.ready(0, "w", "mmi", "")
	s.mmi("mmi", 1)
	if s.m.count.Refused != 5 || s.m.count.Joined != 2 {
		t.Errorf("%+v", s.m.count)
	}
}

// TestDeadBusyWorkerIsNoticed: the guide's broker never looks at workers that are
// at work, so one that died there counts for ever and its request is lost.
func TestDeadBusyWorkerIsNoticed(t *testing.T) {
	s := newScript(t)
	s.ready(0, "w", "echo", "")
	s.request(0, "c", "echo", "send 1 to w")
	s.mmi("echo", 1)
	s.at(3*sec, "")
	s.mmi("echo", 1)
	s.at(4*sec, "")
	s.mmi("echo", 0)
	s.ready(5*sec, "x", "echo", "send 1 to x")
	s.mmi("echo", 1)
	s.at(7*sec, "")
	s.reply(7*sec, "x", "c", "drop 1", true)
	s.reply(7*sec, "w", "c", "", false) // too late
	if c := s.m.count; c.Requeued != 1 || c.Expired != 1 || c.Answered != 1 || c.Late != 1 {
		t.Errorf("%+v", c)
	}
}

// TestDeadBusyWorkerWithNobodyElse: its request fails by its deadline, or sooner
// where no worker comes.
func TestDeadBusyWorkerWithNobodyElse(t *testing.T) {
	s := newScript(t)
	s.ready(0, "w", "echo", "")
	s.request(0, "c", "echo", "send 1 to w")
	s.at(4*sec, "")
	s.at(8*sec, "") // the worker is forgotten
	s.at(9*sec, "fail 1: no worker took it in time, drop 1")
	if len(s.m.services) != 0 {
		t.Error("the service is still known")
	}
}

// TestSecondDeathFails: what kills a worker kills another one at most.
func TestSecondDeathFails(t *testing.T) {
	s := newScript(t)
	s.ready(0, "w", "echo", "")
	s.ready(0, "x", "echo", "")
	s.request(0, "c", "echo", "send 1 to w")
	s.do("send 1 to x", func(m *machine) { m.unreachable(sec, m.peers["w"], 0) })
	s.do("fail 1: the workers that had it died, drop 1", func(m *machine) { m.unreachable(sec, m.peers["x"], 0) })
	s.mmi("echo", 0)
}

// TestUnsentIsNoTry: a request that could not be sent has not killed anybody.
func TestUnsentIsNoTry(t *testing.T) {
	s := newScript(t)
	for i, w := range []string{"v", "w", "x", "y"} {
		s.ready(0, w, "echo", "")
		_ = i
	}
	s.request(0, "c", "echo", "send 1 to v")
	s.do("send 1 to w", func(m *machine) { m.unreachable(0, m.peers["v"], 1) })
	s.do("send 1 to x", func(m *machine) { m.unreachable(0, m.peers["w"], 1) })
	s.do("send 1 to y", func(m *machine) { m.disconnect(0, []byte("x")) }) // it crossed with DISCONNECT
	s.reply(0, "y", "c", "drop 1", true)
}

// TestBusyWorkerThatLivesKeepsItsRequest: ours beats while it works.
func TestBusyWorkerThatLivesKeepsItsRequest(t *testing.T) {
	s := newScript(t)
	s.ready(0, "w", "long", "")
	s.request(0, "c", "long", "send 1 to w")
	for now := sec; now < 99*sec; now += sec {
		s.do("", func(m *machine) { m.heartbeat(now, []byte("w")) })
		s.at(now, "")
	}
	s.mmi("long", 1)
	s.at(100*sec, "fail 1: no worker answered in time, drop 1")
	s.reply(101*sec, "w", "c", "", false)
	s.request(102*sec, "c", "long", "send 2 to w") // and is ready again
}

// TestBackFromTheDead: a worker that was only stopped has its request again, where
// nobody else has it.
func TestBackFromTheDead(t *testing.T) {
	s := newScript(t)
	s.ready(0, "w", "echo", "")
	s.request(0, "c", "echo", "send 1 to w")
	s.at(4*sec, "")
	s.mmi("echo", 0)
	s.do("", func(m *machine) { m.heartbeat(5*sec, []byte("w")) })
	s.mmi("echo", 1)
	s.ready(5*sec, "x", "echo", "") // it does not get it
	s.reply(6*sec, "w", "c", "drop 1", true)
}

// TestHeartbeatInFlight: a heartbeat that was sent before the request came does not
// make a busy worker ready.
func TestHeartbeatInFlight(t *testing.T) {
	s := newScript(t)
	s.ready(0, "w", "echo", "")
	s.request(0, "c", "echo", "send 1 to w")
	s.do("", func(m *machine) { m.heartbeat(0, []byte("w")) })
	s.request(0, "c", "echo", "")
	s.reply(0, "w", "c", "drop 1, send 2 to w", true)
}

// TestSecondReady: a worker that says READY twice is sent away, and what it had
// goes to another.
func TestSecondReady(t *testing.T) {
	s := newScript(t)
	s.ready(0, "w", "echo", "")
	s.request(0, "c", "echo", "send 1 to w")
	s.ready(0, "w", "echo", "disconnect w")
	s.mmi("echo", 0)
	s.ready(0, "x", "echo", "send 1 to x")
}

// TestStrangers: who is not listed is sent away, and so comes again.
func TestStrangers(t *testing.T) {
	s := newScript(t)
	s.do("disconnect w", func(m *machine) { m.heartbeat(0, []byte("w")) })
	s.reply(0, "w", "c", "disconnect w", false)
	s.do("", func(m *machine) { m.disconnect(0, []byte("w")) })
	if s.m.count.Strangers != 2 {
		t.Errorf("%+v", s.m.count)
	}
}

// TestRepeat: a request that a client retries from a new socket, because its old
// one is gone, is not done again while it is queued or at work, and is answered to
// the new one. The guide's broker does it again, and answers nobody first.
func TestRepeat(t *testing.T) {
	big := numberFrame(1<<32 + 7)
	s := newScript(t)
	s.request(0, "old", "echo", "", big, "x")
	s.request(sec, "new", "echo", "", big, "x") // queued: not taken in again
	s.ready(2*sec, "w", "echo", "send 1 to w")
	s.request(3*sec, "newest", "echo", "", big, "x") // at work
	j := s.m.reply(4*sec, []byte("w"), []byte("new"))
	if j == nil || string(j.client.address) != "newest" {
		t.Fatalf("answered to %v", j)
	}
	s.do("drop 1", func(*machine) {})
	if c := s.m.count; c.Requests != 1 || c.Repeated != 2 || c.Answered != 1 {
		t.Errorf("%+v", c)
	}
	for _, c := range s.m.clients {
		if c.open != 0 {
			t.Errorf("%s still has %d requests", c.address, c.open)
		}
	}
	s.request(5*sec, "newest", "echo", "send 2 to w", big, "x") // after its answer it is a new one
}

// TestRepeatLives: whoever repeats a request still waits for it.
func TestRepeatLives(t *testing.T) {
	s := newScript(t)
	big := numberFrame(1 << 40)
	s.request(0, "c", "echo", "", big)
	s.at(4*sec, "")
	s.request(4*sec, "c", "echo", "", big)
	s.at(8*sec, "")
	s.at(9*sec, "fail 1: no worker took it in time, drop 1")
}

// TestNoRepeat: what only looks like one.
func TestNoRepeat(t *testing.T) {
	s := newScript(t)
	big, small := numberFrame(1<<32), numberFrame(1<<32-1)
	s.request(0, "c", "echo", "", big, "x")
	s.request(0, "c", "echo", "", big, "y") // another body
	s.request(0, "c", "echo2", "", big, "x")
	s.request(0, "c", "echo", "", "x") // no number
	s.request(0, "c", "echo", "", "x")
	s.request(0, "c", "echo", "", small, "x")
	s.request(0, "d", "echo", "", small, "x") // small numbers are a client's own
	if c := s.m.count; c.Repeated != 0 || c.Requests != 7 {
		t.Errorf("%+v", c)
	}
	s.request(0, "d", "echo", "", small, "x")
	if c := s.m.count; c.Repeated != 1 {
		t.Errorf("%+v", c)
	}
}

// TestBounds: services, requests, clients and bytes are bounded, and what is
// refused is counted.
func TestBounds(t *testing.T) {
	m := newMachine(testBounds)
	want := func(want Reason, client, service string, size int) {
		t.Helper()
		if got := m.request(0, []byte(client), nil, []byte(service), [][]byte{make([]byte, size)}); got != want {
			t.Errorf("%s for %s: got %q, want %q", client, service, got, want)
		}
	}
	want(ReasonTooLarge, "c", "a", 301)
	want("", "c", "a", 300)
	want("", "c", "b", 300)
	want(ReasonFull, "c", "a", 300) // bytes
	m = newMachine(testBounds)
	for range testBounds.clientRequests {
		want("", "c", "a", 1)
	}
	want(ReasonFull, "c", "a", 1) // of the client
	for range testBounds.serviceRequests - testBounds.clientRequests {
		want("", "d", "a", 1)
	}
	want(ReasonFull, "d", "a", 1) // of the service
	for i := range testBounds.services - 1 {
		want("", fmt.Sprint("e", i), fmt.Sprint("s", i), 1)
	}
	want(ReasonFull, "f", "new", 1) // services
	m.ready(0, []byte("w"), []byte("new"))
	if m.peers["w"] != nil {
		t.Error("a worker of a service too many was listed")
	}
	want("", "f", "s0", 1)
	want(ReasonFull, "f", "s0", 1) // requests
	if m.count.FailedFull != 4 || m.count.FailedTooLarge != 0 {
		t.Errorf("%+v", m.count)
	}
	for i := range testBounds.workers + 1 {
		m.ready(0, fmt.Appendf(nil, "w%d", i), []byte("a"))
	}
	if len(m.peers) != testBounds.workers || m.count.Refused != 2 {
		t.Errorf("%d workers, %+v", len(m.peers), m.count)
	}
}

// TestServicesAreForgotten: with the last worker and the last request.
func TestServicesAreForgotten(t *testing.T) {
	s := newScript(t)
	for i := range 100 {
		s.request(time.Duration(i)*10*sec, "c", fmt.Sprint("bogus", i), "")
		s.at(time.Duration(i)*10*sec+5*sec, fmt.Sprintf("fail %d: no worker took it in time, drop %d", i+1, i+1))
	}
	s.ready(2000*sec, "w", "echo", "")
	s.do("", func(m *machine) { m.disconnect(2000*sec, []byte("w")) })
	if len(s.m.services) != 0 || len(s.m.clients) != 0 {
		t.Errorf("%d services, %d clients are known", len(s.m.services), len(s.m.clients))
	}
}

// TestStandstill: that this process stood still is not the workers' silence.
func TestStandstill(t *testing.T) {
	s := newScript(t)
	s.ready(0, "w", "echo", "")
	s.do("", func(m *machine) { m.beaten, m.ticked = sec, sec })
	s.do("beat w", func(m *machine) { m.tick(1000 * sec) })
	s.mmi("echo", 1)
}

// TestStop: what waits is failed at once, what is at work has its time.
func TestStop(t *testing.T) {
	s := newScript(t)
	s.ready(0, "w", "echo", "")
	s.request(0, "c", "echo", "send 1 to w")
	s.request(0, "c", "echo", "")
	s.do("fail 2: the queue is stopping, drop 2", (*machine).stop)
	if r := s.m.request(0, []byte("c"), nil, []byte("echo"), byteFrames([]string{"x"})); r != ReasonStopping {
		t.Errorf("got %q", r)
	}
	s.reply(0, "w", "c", "drop 1", true)
	s.do("disconnect w", (*machine).end)
}

// TestClientsTakeTurns: a client that asks for much does not keep another one waiting for
// all of it.
func TestClientsTakeTurns(t *testing.T) {
	s := newScript(t)
	for range 3 {
		s.request(0, "greedy", "echo", "")
	}
	s.request(0, "modest", "echo", "")
	s.request(0, "modest", "echo", "")
	s.ready(0, "w", "echo", "send 1 to w")
	s.reply(0, "w", "greedy", "drop 1, send 4 to w", true)
	s.reply(0, "w", "modest", "drop 4, send 2 to w", true)
	// What comes again is first.
	s.do("send 2 to v", func(m *machine) {
		m.disconnect(0, []byte("w"))
		m.ready(0, []byte("v"), []byte("echo"))
	})
	s.reply(0, "v", "greedy", "drop 2, send 5 to v", true)
	s.reply(0, "v", "modest", "drop 5, send 3 to v", true)
	s.reply(0, "v", "greedy", "drop 3", true)
	if s.m.waiting != 0 || s.m.open.len != 0 {
		t.Errorf("%d requests wait, %d are open", s.m.waiting, s.m.open.len)
	}
}

// TestResign: what waits is left to another broker, what is at work is seen through, and
// not given to a second worker.
func TestResign(t *testing.T) {
	s := newScript(t)
	s.ready(0, "w", "echo", "")
	s.ready(0, "v", "echo", "")
	s.request(0, "c", "echo", "send 1 to w")
	s.request(0, "c", "echo", "send 2 to v")
	s.request(0, "c", "echo", "")
	s.do("fail 3: this broker is the passive one of a pair, drop 3", (*machine).resign)
	s.reply(0, "w", "c", "drop 1", true)
	s.do("fail 2: this broker is the passive one of a pair, drop 2", func(m *machine) { m.disconnect(0, []byte("v")) })
	if n := s.m.count; n.FailedPassive != 2 || n.Answered != 1 || s.m.open.len != 0 {
		t.Errorf("%+v", n)
	}
}

// TestPrefetch: a worker that says so is given several requests, in turn with
// others, and answers them in any order.
func TestPrefetch(t *testing.T) {
	deep := string(identityOf(3))
	s := newScript(t)
	s.ready(0, deep, "echo", "")
	s.ready(0, "w", "echo", "")
	s.request(0, "c", "echo", "send 1 to "+deep)
	s.request(0, "d", "echo", "send 2 to w")
	s.request(0, "c", "echo", "send 3 to "+deep)
	s.request(0, "d", "echo", "send 4 to "+deep)
	s.request(0, "c", "echo", "")
	s.reply(0, deep, "d", "drop 4, send 5 to "+deep, true)
	s.reply(0, deep, "c", "drop 1", true)
	s.reply(0, deep, "x", "", false)
	s.do("", func(m *machine) { m.unreachable(0, m.peers[deep], 0) }) // 3 and 5 wait
	s.reply(0, "w", "d", "drop 2, send 3 to w", true)
	s.reply(0, "w", "c", "drop 3, send 5 to w", true)
}

func TestDepthOf(t *testing.T) {
	for _, d := range []int{1, 2, 256, depthMax} {
		if got := depthOf(identityOf(d)); got != d {
			t.Errorf("got %d, want %d", got, d)
		}
	}
	other := identityOf(5)
	other[4] = 2
	for _, b := range [][]byte{nil, {}, []byte("w"), make([]byte, identitySize), other, identityOf(0), identityOf(depthMax + 1), identityOf(5)[:14]} {
		if got := depthOf(b); got != 1 {
			t.Errorf("%q: got %d, want 1", b, got)
		}
	}
	if one, other := identityOf(5), identityOf(5); string(one) == string(other) {
		t.Error("two workers have the same identity")
	}
}

// TestAllocMachine: a request, the way to a worker and its reply need no memory
// once there has been some.
func TestAllocMachine(t *testing.T) {
	m := newMachine(bounds{
		heartbeat: sec, idleSilence: sec, busySilence: sec, life: sec, unknownLife: sec,
		services: 10, requests: 1000, serviceRequests: 1000, clientRequests: 1000, bytes: 1 << 20, requestBytes: 1 << 10, workers: 10,
	})
	worker, client, service := identityOf(4), []byte("client"), []byte("echo")
	m.ready(0, worker, service)
	number := uint64(1 << 33)
	body := [][]byte{make([]byte, pirate.NumberSize), make([]byte, 100)}
	drop := func() {
		for _, a := range m.acts {
			if a.do == actDrop {
				m.recycle(a.job)
			}
		}
		m.acts = m.acts[:0]
	}
	round := func() {
		for range 8 {
			number++
			body[0] = pirate.AppendNumber(body[0][:0], number, false)
			if r := m.request(0, client, nil, service, body); r != "" {
				t.Fatal(r)
			}
			drop()
		}
		for range 8 {
			if m.reply(0, worker, client) == nil {
				t.Fatal("no request was there")
			}
			drop()
		}
	}
	if n := testing.AllocsPerRun(1000, round); n > 0.1 { // a map may grow once
		t.Errorf("%v allocations for 8 requests", n)
	}
}
