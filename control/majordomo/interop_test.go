package majordomo

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// Peers as the specification has them, by their frames alone.

// TestForeignWorkerAndClient: a DEALER worker and a REQ client of others, at our
// broker. Every frame is as 7/MDP says.
func TestForeignWorkerAndClient(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	b, _ := runBroker(t, BrokerConfig{})
	at := b.Endpoints()[0]

	w := zsocktest.NewPeer(t, ctx, zsock.DEALER)
	w.Connect(at)
	w.Send("", "MDPW01", "\x01", "echo")
	w.Want(w.Recv(), "", "MDPW01", "\x04") // a waiting worker is sent heartbeats
	w.Send("", "MDPW01", "\x04")

	c := zsocktest.NewPeer(t, ctx, zsock.REQ)
	c.Connect(at)
	for _, body := range []string{"1", "2", ""} {
		c.Send("MDPC01", "echo", body)
		m := recvWork(w, 0)
		if len(m) != 6 || len(m[3]) == 0 {
			t.Fatalf("got %q", m)
		}
		w.Want(m, "", "MDPW01", "\x02", m[3], "", body)
		w.Send("", "MDPW01", "\x03", m[3], "", "re:"+body)
		c.Want(c.Recv(), "MDPC01", "echo", "re:"+body)
	}

	// A DEALER client, bodies of several frames.
	d := zsocktest.NewPeer(t, ctx, zsock.DEALER)
	d.Connect(at)
	d.Send("", "MDPC01", "echo", "a", "", "b")
	m := recvWork(w, 0)
	w.Want(m[4:], "", "a", "", "b")
	w.Send("", "MDPW01", "\x03", m[3], "", "reply", "", "of three frames")
	d.Want(d.Recv(), "", "MDPC01", "echo", "reply", "", "of three frames")

	// A client behind further ROUTERs: the worker is given one address all the same.
	d.Send("c1", "c2", "", "MDPC01", "echo", "far")
	m = recvWork(w, 0)
	w.Want(m, "", "MDPW01", "\x02", m[3], "", "far")
	w.Send("", "MDPW01", "\x03", m[3], "", "reply")
	d.Want(d.Recv(), "c1", "c2", "", "MDPC01", "echo", "reply")

	// What is none of the protocol is counted, and harms nobody.
	w.Send("", "MDPW01", "\x07")
	w.Send("READY")
	w.Send("", "MDPW01", "\x03", "nobody")
	d.Send("no empty frame")
	d.Send("", "MDPC01", "echo") // no body
	zsocktest.Until(func() bool { return b.Counters().Malformed == 5 })

	// A worker that leaves is not asked any more, and gets no answer.
	w.Send("", "MDPW01", "\x05")
	zsocktest.Until(func() bool { return b.State().Workers == 0 })
	d.Send("", "MDPC01", "mmi.service", "echo")
	d.Want(d.Recv(), "", "MDPC01", "mmi.service", "404")
}

// TestReservedNamesOnTheWire: whoever offers one is sent away.
func TestReservedNamesOnTheWire(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	b, _ := runBroker(t, BrokerConfig{})
	for _, name := range []string{"mmi.service", "tapedeck.broker.services"} {
		w := zsocktest.NewPeer(t, ctx, zsock.DEALER)
		w.Connect(b.Endpoints()[0])
		w.Send("", "MDPW01", "\x01", name)
		w.Want(w.Recv(), "", "MDPW01", "\x05")
	}
	if s := b.State(); s.Workers != 0 || len(s.Services) != 0 {
		t.Errorf("%+v", s)
	}
}

// TestMMI: the broker's own services, with and without a number. The count of a
// service is right also when its worker died at work, in the guide it never is.
func TestMMI(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	b, _ := runBroker(t, BrokerConfig{})
	at := b.Endpoints()[0]
	c := zsocktest.NewPeer(t, ctx, zsock.DEALER)
	c.Connect(at)
	ask := func(service string, body ...string) []string {
		t.Helper()
		c.Send(append([]string{"", "MDPC01", service}, body...)...)
		m := c.Recv()
		c.Want(m[:3], "", "MDPC01", service)
		return m[3:]
	}
	c.Want(ask("mmi.service", "echo"), "404")
	c.Want(ask("mmi.other", "echo"), "501")
	c.Want(ask("tapedeck.broker.other", "echo"), "501")
	c.Want(ask("mmi.service", numberFrame(7), "echo"), numberFrame(7), "404")

	w := zsocktest.NewPeer(t, ctx, zsock.DEALER)
	w.Connect(at)
	w.Send("", "MDPW01", "\x01", "echo")
	zsocktest.Until(func() bool { return b.State().Workers == 1 })
	c.Want(ask("mmi.service", "echo"), "200")

	d := zsocktest.NewPeer(t, ctx, zsock.DEALER)
	d.Connect(at)
	d.Send("", "MDPC01", "echo", "x")
	recvWork(w, 0)
	c.Want(ask("mmi.service", numberFrame(1<<63), "echo"), numberFrame(1<<63), "200")
	var services []ServiceState
	if err := json.Unmarshal([]byte(ask(ServiceServices, "")[0]), &services); err != nil {
		t.Fatal(err)
	}
	if len(services) != 1 || services[0] != (ServiceState{Service: "echo", Workers: 1, Busy: 1}) {
		t.Errorf("%+v", services)
	}
	w.Close() // at work, without a word
	zsocktest.Until(func() bool { return ask("mmi.service", "echo")[0] == "404" })
	if s := b.State(); s.Waiting != 1 || s.Workers != 0 {
		t.Errorf("%+v", s)
	}
	var counters BrokerCounters
	if err := json.Unmarshal([]byte(ask(ServiceCounters, "")[0]), &counters); err != nil {
		t.Fatal(err)
	}
	if counters.Requests != 1 || counters.Requeued != 1 || counters.Expired != 1 {
		t.Errorf("%+v", counters)
	}
}

// TestFailedWithReason: a client that put a number on its request is told why it is
// not answered, others are not.
func TestFailedWithReason(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	var k zsocktest.Clock
	b := runBrokerBy(t, &k, BrokerConfig{RequestBytes: 100, ServiceRequests: 1, UnknownLife: 5 * beat})
	c := zsocktest.NewPeer(t, ctx, zsock.DEALER)
	c.Connect(b.Endpoints()[0])
	c.Send("", "MDPC01", "echo", "no number", strings.Repeat("x", 100))
	c.Send("", "MDPC01", "echo", numberFrame(1), strings.Repeat("x", 100))
	failed := func(n uint64, reason Reason) {
		t.Helper()
		f := []byte(numberFrame(n))
		f[5] = 1
		c.Want(c.Recv(), "", "MDPC01", "echo", string(f), string(reason))
	}
	failed(1, ReasonTooLarge)
	c.Send("", "MDPC01", "echo", numberFrame(2), "x")
	c.Send("", "MDPC01", "echo", numberFrame(3), "x")
	failed(3, ReasonFull)
	k.Pass(beat/4, func() bool { return b.Counters().FailedNoWorker == 1 })
	failed(2, ReasonNoWorker)
	many := make([]string, framesMax)
	many[0] = numberFrame(4)
	c.Send(append([]string{"", "MDPC01", "echo"}, many...)...)
	failed(4, ReasonTooLarge)
}

// TestForeignBroker: our worker at a ROUTER of others.
func TestForeignBroker(t *testing.T) {
	for _, prefetch := range []int{1, 8} {
		ctx := zsocktest.NewContext(t)
		r := zsocktest.NewPeer(t, ctx, zsock.ROUTER)
		if err := r.Socket.MustReach(); err != nil {
			t.Fatal(err)
		}
		w, stop := runWorker(t, WorkerConfig{Endpoints: []string{r.Bind("tcp://127.0.0.1:*")}, Handler: echo("w"), Prefetch: prefetch})
		m := r.Recv()
		id := m[0]
		r.Want(m[1:], "", "MDPW01", "\x01", "echo") // first of all READY
		r.Send(id, "", "MDPW01", "\x04")
		r.Want(r.Recv(), id, "", "MDPW01", "\x04")
		r.Send(id, "nonsense")
		r.Send(id, "", "MDPW01", "\x02", "c1", "", "body", "more")
		r.Want(recvWork(r, 1), id, "", "MDPW01", "\x03", "c1", "", "w", "body", "more")
		number := numberFrame(7)
		r.Send(id, "", "MDPW01", "\x02", "c1", "", number, "x")
		r.Want(recvWork(r, 1), id, "", "MDPW01", "\x03", "c1", "", number, "w", "x")
		r.Send(id, "", "MDPW01", "\x02", "c1", "")
		r.Want(recvWork(r, 1), id, "", "MDPW01", "\x03", "c1", "", "w")
		// Two requests at once, as a broker with a flaw sends them.
		r.Send(id, "", "MDPW01", "\x02", "c1", "", "1")
		r.Send(id, "", "MDPW01", "\x02", "c2", "", "2")
		r.Want(recvWork(r, 1), id, "", "MDPW01", "\x03", "c1", "", "w", "1")
		r.Want(recvWork(r, 1), id, "", "MDPW01", "\x03", "c2", "", "w", "2")
		if c := w.Counters(); c.Malformed != 1 {
			t.Errorf("%+v", c)
		}
		// Sent away it comes again, as another.
		r.Send(id, "", "MDPW01", "\x05")
		m = recvWork(r, 1)
		if m[0] == id {
			t.Errorf("%q came again as the same", id)
		}
		r.Want(m[1:], "", "MDPW01", "\x01", "echo")
		id = m[0]
		// It leaves with DISCONNECT.
		stopping := make(chan struct{})
		go func() { stop(); close(stopping) }()
		r.Want(recvWork(r, 1), id, "", "MDPW01", "\x05")
		<-stopping
	}
}

// TestForeignBrokerForClients: our client's frames at a ROUTER of others.
func TestForeignBrokerForClients(t *testing.T) {
	ctx := zsocktest.NewContext(t)
	r := zsocktest.NewPeer(t, ctx, zsock.ROUTER)
	c := newClient(t, ClientConfig{Endpoints: []string{r.Bind("tcp://127.0.0.1:*")}, Plain: []string{"plain"}})
	reply := make(chan string, 10)
	request := func(service string, body ...string) {
		c.Go(t.Context(), service, byteFrames(body), func(frames [][]byte, err error) {
			if err != nil {
				t.Error(err)
			}
			reply <- strings.Join(stringFrames(frames), "|")
		})
	}
	request("echo", "a", "")
	m := r.Recv()
	r.Want(m[1:], "", "MDPC01", "echo", m[4], "a", "")
	r.Send(m[0], "", "MDPC01", "echo", m[4], "b", "")
	r.Want([]string{<-reply}, "b|")
	request("echo") // without a body: the number is one
	m = r.Recv()
	r.Want(m[1:], "", "MDPC01", "echo", m[4])
	r.Send(m[0], "", "MDPC01", "echo", m[4])
	r.Want([]string{<-reply}, "")
	request("plain", "a")
	m = r.Recv()
	r.Want(m[1:], "", "MDPC01", "plain", "a")
	r.Send(m[0], "", "MDPC01", "plain", "b")
	r.Want([]string{<-reply}, "b")
	request("plain")
	m = r.Recv()
	r.Want(m[1:], "", "MDPC01", "plain", "")
	r.Send(m[0], "nonsense")
	r.Send(m[0], "", "MDPC01", "other", "to nothing")
	r.Send(m[0], "", "MDPC01", "plain", numberFrame(7)) // nothing but a body here
	r.Want([]string{<-reply}, numberFrame(7))
	zsocktest.Until(func() bool { n := c.Counters(); return n.Malformed == 1 && n.Late == 1 })
}

func stringFrames(frames [][]byte) []string {
	s := make([]string, len(frames))
	for i, f := range frames {
		s[i] = string(f)
	}
	return s
}
