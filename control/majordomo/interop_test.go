package majordomo

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// Peers as the specification has them, by their frames alone.

// TestForeignWorkerAndClient: a DEALER worker and a REQ client of others, at our
// broker. Every frame is as 7/MDP says.
func TestForeignWorkerAndClient(t *testing.T) {
	ctx := newContext(t)
	b, _ := runBroker(t, BrokerConfig{})
	at := b.Endpoints()[0]

	w := newRaw(t, ctx, zsock.DEALER)
	w.connect(at)
	w.send("", "MDPW01", "\x01", "echo")
	w.want(w.recv(), "", "MDPW01", "\x04") // a waiting worker is sent heartbeats
	w.send("", "MDPW01", "\x04")

	c := newRaw(t, ctx, zsock.REQ)
	c.connect(at)
	for _, body := range []string{"1", "2", ""} {
		c.send("MDPC01", "echo", body)
		m := w.recvWork(0)
		if len(m) != 6 || len(m[3]) == 0 {
			t.Fatalf("got %q", m)
		}
		w.want(m, "", "MDPW01", "\x02", m[3], "", body)
		w.send("", "MDPW01", "\x03", m[3], "", "re:"+body)
		c.want(c.recv(), "MDPC01", "echo", "re:"+body)
	}

	// A DEALER client, bodies of several frames.
	d := newRaw(t, ctx, zsock.DEALER)
	d.connect(at)
	d.send("", "MDPC01", "echo", "a", "", "b")
	m := w.recvWork(0)
	w.want(m[4:], "", "a", "", "b")
	w.send("", "MDPW01", "\x03", m[3], "", "reply", "", "of three frames")
	d.want(d.recv(), "", "MDPC01", "echo", "reply", "", "of three frames")

	// A client behind further ROUTERs: the worker is given one address all the same.
	d.send("c1", "c2", "", "MDPC01", "echo", "far")
	m = w.recvWork(0)
	w.want(m, "", "MDPW01", "\x02", m[3], "", "far")
	w.send("", "MDPW01", "\x03", m[3], "", "reply")
	d.want(d.recv(), "c1", "c2", "", "MDPC01", "echo", "reply")

	// What is none of the protocol is counted, and harms nobody.
	w.send("", "MDPW01", "\x07")
	w.send("READY")
	w.send("", "MDPW01", "\x03", "nobody")
	d.send("no empty frame")
	d.send("", "MDPC01", "echo") // no body
	until(func() bool { return b.Counters().Malformed == 5 })

	// A worker that leaves is not asked any more, and gets no answer.
	w.send("", "MDPW01", "\x05")
	until(func() bool { return b.State().Workers == 0 })
	d.send("", "MDPC01", "mmi.service", "echo")
	d.want(d.recv(), "", "MDPC01", "mmi.service", "404")
}

// TestReservedNamesOnTheWire: whoever offers one is sent away.
func TestReservedNamesOnTheWire(t *testing.T) {
	ctx := newContext(t)
	b, _ := runBroker(t, BrokerConfig{})
	for _, name := range []string{"mmi.service", "tapedeck.broker.services"} {
		w := newRaw(t, ctx, zsock.DEALER)
		w.connect(b.Endpoints()[0])
		w.send("", "MDPW01", "\x01", name)
		w.want(w.recv(), "", "MDPW01", "\x05")
	}
	if s := b.State(); s.Workers != 0 || len(s.Services) != 0 {
		t.Errorf("%+v", s)
	}
}

// TestMMI: the broker's own services, with and without a number. The count of a
// service is right also when its worker died at work, in the guide it never is.
func TestMMI(t *testing.T) {
	ctx := newContext(t)
	b, _ := runBroker(t, BrokerConfig{})
	at := b.Endpoints()[0]
	c := newRaw(t, ctx, zsock.DEALER)
	c.connect(at)
	ask := func(service string, body ...string) []string {
		t.Helper()
		c.send(append([]string{"", "MDPC01", service}, body...)...)
		m := c.recv()
		c.want(m[:3], "", "MDPC01", service)
		return m[3:]
	}
	c.want(ask("mmi.service", "echo"), "404")
	c.want(ask("mmi.other", "echo"), "501")
	c.want(ask("tapedeck.broker.other", "echo"), "501")
	c.want(ask("mmi.service", numberFrame(7), "echo"), numberFrame(7), "404")

	w := newRaw(t, ctx, zsock.DEALER)
	w.connect(at)
	w.send("", "MDPW01", "\x01", "echo")
	until(func() bool { return b.State().Workers == 1 })
	c.want(ask("mmi.service", "echo"), "200")

	d := newRaw(t, ctx, zsock.DEALER)
	d.connect(at)
	d.send("", "MDPC01", "echo", "x")
	w.recvWork(0)
	c.want(ask("mmi.service", numberFrame(1<<63), "echo"), numberFrame(1<<63), "200")
	var services []ServiceState
	if err := json.Unmarshal([]byte(ask(ServiceServices, "")[0]), &services); err != nil {
		t.Fatal(err)
	}
	if len(services) != 1 || services[0] != (ServiceState{Service: "echo", Workers: 1, Busy: 1}) {
		t.Errorf("%+v", services)
	}
	w.close() // at work, without a word
	until(func() bool { return ask("mmi.service", "echo")[0] == "404" })
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
	ctx := newContext(t)
	var k clock
	b := runBrokerBy(t, &k, BrokerConfig{RequestBytes: 100, ServiceRequests: 1, UnknownLife: 5 * beat})
	c := newRaw(t, ctx, zsock.DEALER)
	c.connect(b.Endpoints()[0])
	c.send("", "MDPC01", "echo", "no number", strings.Repeat("x", 100))
	c.send("", "MDPC01", "echo", numberFrame(1), strings.Repeat("x", 100))
	failed := func(n uint64, reason Reason) {
		t.Helper()
		f := []byte(numberFrame(n))
		f[5] = 1
		c.want(c.recv(), "", "MDPC01", "echo", string(f), string(reason))
	}
	failed(1, ReasonTooLarge)
	c.send("", "MDPC01", "echo", numberFrame(2), "x")
	c.send("", "MDPC01", "echo", numberFrame(3), "x")
	failed(3, ReasonFull)
	k.pass(func() bool { return b.Counters().FailedNoWorker == 1 })
	failed(2, ReasonNoWorker)
	many := make([]string, framesMax)
	many[0] = numberFrame(4)
	c.send(append([]string{"", "MDPC01", "echo"}, many...)...)
	failed(4, ReasonTooLarge)
}

// TestForeignBroker: our worker at a ROUTER of others.
func TestForeignBroker(t *testing.T) {
	for _, prefetch := range []int{1, 8} {
		ctx := newContext(t)
		r := newRaw(t, ctx, zsock.ROUTER)
		if err := r.s.MustReach(); err != nil {
			t.Fatal(err)
		}
		w, stop := runWorker(t, WorkerConfig{Endpoints: []string{r.bind("tcp://127.0.0.1:*")}, Handler: echo("w"), Prefetch: prefetch})
		m := r.recv()
		id := m[0]
		r.want(m[1:], "", "MDPW01", "\x01", "echo") // first of all READY
		r.send(id, "", "MDPW01", "\x04")
		r.want(r.recv(), id, "", "MDPW01", "\x04")
		r.send(id, "nonsense")
		r.send(id, "", "MDPW01", "\x02", "c1", "", "body", "more")
		r.want(r.recvWork(1), id, "", "MDPW01", "\x03", "c1", "", "w", "body", "more")
		number := numberFrame(7)
		r.send(id, "", "MDPW01", "\x02", "c1", "", number, "x")
		r.want(r.recvWork(1), id, "", "MDPW01", "\x03", "c1", "", number, "w", "x")
		r.send(id, "", "MDPW01", "\x02", "c1", "")
		r.want(r.recvWork(1), id, "", "MDPW01", "\x03", "c1", "", "w")
		// Two requests at once, as a broker with a flaw sends them.
		r.send(id, "", "MDPW01", "\x02", "c1", "", "1")
		r.send(id, "", "MDPW01", "\x02", "c2", "", "2")
		r.want(r.recvWork(1), id, "", "MDPW01", "\x03", "c1", "", "w", "1")
		r.want(r.recvWork(1), id, "", "MDPW01", "\x03", "c2", "", "w", "2")
		if c := w.Counters(); c.Malformed != 1 {
			t.Errorf("%+v", c)
		}
		// Sent away it comes again, as another.
		r.send(id, "", "MDPW01", "\x05")
		m = r.recvWork(1)
		if m[0] == id {
			t.Errorf("%q came again as the same", id)
		}
		r.want(m[1:], "", "MDPW01", "\x01", "echo")
		id = m[0]
		// It leaves with DISCONNECT.
		stopping := make(chan struct{})
		go func() { stop(); close(stopping) }()
		r.want(r.recvWork(1), id, "", "MDPW01", "\x05")
		<-stopping
	}
}

// TestForeignBrokerForClients: our client's frames at a ROUTER of others.
func TestForeignBrokerForClients(t *testing.T) {
	ctx := newContext(t)
	r := newRaw(t, ctx, zsock.ROUTER)
	c := newClient(t, ClientConfig{Endpoints: []string{r.bind("tcp://127.0.0.1:*")}, Plain: []string{"plain"}})
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
	m := r.recv()
	r.want(m[1:], "", "MDPC01", "echo", m[4], "a", "")
	r.send(m[0], "", "MDPC01", "echo", m[4], "b", "")
	r.want([]string{<-reply}, "b|")
	request("echo") // without a body: the number is one
	m = r.recv()
	r.want(m[1:], "", "MDPC01", "echo", m[4])
	r.send(m[0], "", "MDPC01", "echo", m[4])
	r.want([]string{<-reply}, "")
	request("plain", "a")
	m = r.recv()
	r.want(m[1:], "", "MDPC01", "plain", "a")
	r.send(m[0], "", "MDPC01", "plain", "b")
	r.want([]string{<-reply}, "b")
	request("plain")
	m = r.recv()
	r.want(m[1:], "", "MDPC01", "plain", "")
	r.send(m[0], "nonsense")
	r.send(m[0], "", "MDPC01", "other", "to nothing")
	r.send(m[0], "", "MDPC01", "plain", numberFrame(7)) // nothing but a body here
	r.want([]string{<-reply}, numberFrame(7))
	until(func() bool { n := c.Counters(); return n.Malformed == 1 && n.Late == 1 })
}

func stringFrames(frames [][]byte) []string {
	s := make([]string, len(frames))
	for i, f := range frames {
		s[i] = string(f)
	}
	return s
}
