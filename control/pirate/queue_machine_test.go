package pirate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

const sec = time.Second

var testTimes = queueTimes{heartbeat: sec, idleSilence: 3 * sec, busySilence: 3 * sec, life: 30 * sec,
	requests: 3, bytes: 1000, requestBytes: 600, workers: 3}

// take returns what the machine wants done, in words, and empties the list.
func (m *queueMachine) take() string {
	var words []string
	for _, a := range m.acts {
		switch a.do {
		case actSend:
			words = append(words, fmt.Sprintf("send %d to %s", a.ticket, a.worker))
		case actBeat:
			words = append(words, "beat "+a.worker)
		case actDown:
			words = append(words, "down "+a.worker)
		case actFail:
			words = append(words, fmt.Sprintf("fail %d: %s", a.ticket, a.reason))
		case actDrop:
			words = append(words, fmt.Sprintf("drop %d", a.ticket))
		}
	}
	m.acts = m.acts[:0]
	return strings.Join(words, ", ")
}

// look says where the worker w stands, and the request 1.
func (m *queueMachine) look() string {
	s := "unknown"
	if p := m.workers["w"]; p != nil {
		s = []string{"ready", "busy", "lost"}[p.state]
		if p.leaving {
			s += " leaving"
		}
	}
	if j := m.jobs[1]; j == nil {
		return s + ", none"
	} else if j.waiting {
		return s + ", waiting"
	}
	return s + ", given"
}

// TestQueueEveryPair: every state that a worker can be in, with the request 1 of
// client c, meets every event.
func TestQueueEveryPair(t *testing.T) {
	w, c := []byte("w"), []byte("c")
	give := func(m *queueMachine) { // a request, and the worker has it
		m.ready(0, w)
		m.request(0, c, 100)
		m.dispatch(0)
	}
	states := []struct {
		name string
		make func(*queueMachine)
	}{
		{"unknown", func(*queueMachine) {}},
		{"unknown, waiting", func(m *queueMachine) { m.request(0, c, 100) }},
		{"ready", func(m *queueMachine) { m.ready(0, w) }},
		{"busy", give},
		{"busy, closed", func(m *queueMachine) {
			give(m)
			m.heartbeat(29*sec, w)
			m.tick(30 * sec)
			m.workers["w"].heard = 0
			m.ticked = 0
		}},
		{"busy leaving", func(m *queueMachine) { give(m); m.down(0, w) }},
		{"lost, waiting", func(m *queueMachine) {
			give(m)
			m.expireWorkers(3 * sec)
			m.workers["w"].heard = 0
		}},
		{"lost, given", func(m *queueMachine) { // to another
			give(m)
			m.expireWorkers(3 * sec)
			m.ready(3*sec, []byte("x"))
			m.workers["w"].heard, m.workers["x"].heard = 0, 100*sec
		}},
	}
	events := []struct {
		name string
		do   func(*queueMachine) string
	}{
		{"ready", func(m *queueMachine) string { m.ready(sec, w); return "" }},
		{"heartbeat", func(m *queueMachine) string { m.heartbeat(sec, w); return "" }},
		{"reply", func(m *queueMachine) string { return fmt.Sprint("forward ", m.reply(sec, w, c), ", ") }},
		{"reply to another", func(m *queueMachine) string { return fmt.Sprint("forward ", m.reply(sec, w, []byte("d")), ", ") }},
		{"down", func(m *queueMachine) string { m.down(sec, w); return "" }},
		{"unreachable", func(m *queueMachine) string { m.unreachable(sec, "w"); return "" }},
		{"request", func(m *queueMachine) string {
			_, reason := m.request(sec, []byte("d"), 100)
			m.dispatch(sec)
			return string(reason)
		}},
		{"short silence", func(m *queueMachine) string { m.beaten = sec; m.tick(sec); return "" }},
		{"silence", func(m *queueMachine) string { m.beaten, m.ticked = 3*sec, 3*sec; m.tick(3 * sec); return "" }},
		{"long silence", func(m *queueMachine) string { m.beaten, m.ticked = 6*sec, 6*sec; m.tick(6 * sec); return "" }},
		{"stop", func(m *queueMachine) string { m.stop(); return "" }},
	}
	want := map[string]string{
		"unknown + ready":            "ready, none: ",
		"unknown + heartbeat":        "unknown, none: down w",
		"unknown + reply":            "unknown, none: forward false, down w",
		"unknown + reply to another": "unknown, none: forward false, down w",
		"unknown + down":             "unknown, none: down w",
		"unknown + unreachable":      "unknown, none: ",
		"unknown + request":          "unknown, waiting: ",
		"unknown + short silence":    "unknown, none: ",
		"unknown + silence":          "unknown, none: ",
		"unknown + long silence":     "unknown, none: ",
		"unknown + stop":             "unknown, none: ",

		"unknown, waiting + ready":            "busy, given: send 1 to w",
		"unknown, waiting + heartbeat":        "unknown, waiting: down w",
		"unknown, waiting + reply":            "unknown, waiting: forward false, down w",
		"unknown, waiting + reply to another": "unknown, waiting: forward false, down w",
		"unknown, waiting + down":             "unknown, waiting: down w",
		"unknown, waiting + unreachable":      "unknown, waiting: ",
		"unknown, waiting + request":          "unknown, waiting: ",
		"unknown, waiting + short silence":    "unknown, waiting: ",
		"unknown, waiting + silence":          "unknown, waiting: ",
		"unknown, waiting + long silence":     "unknown, waiting: ",
		"unknown, waiting + stop":             "unknown, none: fail 1: the queue is stopping, drop 1",

		"ready + ready":            "ready, none: ",
		"ready + heartbeat":        "ready, none: ",
		"ready + reply":            "ready, none: forward false, ",
		"ready + reply to another": "ready, none: forward false, ",
		"ready + down":             "unknown, none: down w",
		"ready + unreachable":      "unknown, none: ",
		"ready + request":          "busy, given: send 1 to w",
		"ready + short silence":    "ready, none: ",
		"ready + silence":          "unknown, none: ",
		"ready + long silence":     "unknown, none: ",
		"ready + stop":             "ready, none: ",

		"busy + ready":            "busy, given: send 1 to w", // again, to the worker that began anew
		"busy + heartbeat":        "busy, given: ",            // the guide's flaw: never ready by a heartbeat
		"busy + reply":            "ready, none: forward true, drop 1",
		"busy + reply to another": "busy, given: forward false, ",
		"busy + down":             "busy leaving, given: ",
		"busy + unreachable":      "unknown, waiting: ",
		"busy + request":          "busy, given: ",
		"busy + short silence":    "busy, given: ",
		"busy + silence":          "lost, waiting: ",
		"busy + long silence":     "lost, waiting: ",
		"busy + stop":             "busy, given: ",

		"busy, closed + ready":            "ready, none: ",
		"busy, closed + heartbeat":        "busy, none: ",
		"busy, closed + reply":            "ready, none: forward false, ", // late
		"busy, closed + reply to another": "busy, none: forward false, ",
		"busy, closed + down":             "unknown, none: down w",
		"busy, closed + unreachable":      "unknown, none: ",
		"busy, closed + request":          "busy, none: ",
		"busy, closed + short silence":    "busy, none: ",
		"busy, closed + silence":          "lost, none: ",
		"busy, closed + long silence":     "lost, none: ",
		"busy, closed + stop":             "busy, none: ",

		"busy leaving + ready":            "busy, given: send 1 to w",
		"busy leaving + heartbeat":        "busy leaving, given: ",
		"busy leaving + reply":            "unknown, none: forward true, drop 1, down w",
		"busy leaving + reply to another": "busy leaving, given: forward false, ",
		"busy leaving + down":             "busy leaving, given: ",
		"busy leaving + unreachable":      "unknown, waiting: ",
		"busy leaving + request":          "busy leaving, given: ",
		"busy leaving + short silence":    "busy leaving, given: ",
		"busy leaving + silence":          "lost leaving, waiting: ",
		"busy leaving + long silence":     "lost leaving, waiting: ",
		"busy leaving + stop":             "busy leaving, given: ",

		"lost, waiting + ready":            "busy, given: send 1 to w",
		"lost, waiting + heartbeat":        "lost, waiting: ",
		"lost, waiting + reply":            "ready, none: forward true, drop 1", // alive after all, and first
		"lost, waiting + reply to another": "lost, waiting: forward false, ",
		"lost, waiting + down":             "unknown, waiting: down w",
		"lost, waiting + unreachable":      "unknown, waiting: ",
		"lost, waiting + request":          "lost, waiting: ",
		"lost, waiting + short silence":    "lost, waiting: ",
		"lost, waiting + silence":          "lost, waiting: ",
		"lost, waiting + long silence":     "unknown, waiting: ",
		"lost, waiting + stop":             "lost, none: fail 1: the queue is stopping, drop 1",

		"lost, given + ready":            "ready, given: ",
		"lost, given + heartbeat":        "lost, given: ",
		"lost, given + reply":            "ready, none: forward true, drop 1",
		"lost, given + reply to another": "lost, given: forward false, ",
		"lost, given + down":             "unknown, given: down w",
		"lost, given + unreachable":      "unknown, given: ",
		"lost, given + request":          "lost, given: ",
		"lost, given + short silence":    "lost, given: ",
		"lost, given + silence":          "lost, given: ",
		"lost, given + long silence":     "unknown, given: ",
		"lost, given + stop":             "lost, given: ",
	}
	for _, s := range states {
		for _, e := range events {
			m := newQueueMachine(testTimes)
			s.make(m)
			m.take()
			name := s.name + " + " + e.name
			said := e.do(m)
			if got := m.look() + ": " + said + m.take(); got != want[name] {
				t.Errorf("%s:\n got %q,\nwant %q", name, got, want[name])
			}
		}
	}
	if len(want) != len(states)*len(events) {
		t.Errorf("%d expectations for %d pairs", len(want), len(states)*len(events))
	}
}

func TestQueueOrder(t *testing.T) {
	m := newQueueMachine(testTimes)
	for _, id := range []string{"a", "b"} {
		m.ready(0, []byte(id))
	}
	for i := range 3 {
		if _, reason := m.request(0, []byte{'c', byte(i)}, 10); reason != "" {
			t.Fatal(reason)
		}
	}
	m.dispatch(0)
	if got := m.take(); got != "send 1 to a, send 2 to b" {
		t.Error(got)
	}
	m.reply(sec, []byte("b"), []byte{'c', 1})
	if got := m.take(); got != "drop 2, send 3 to b" {
		t.Error(got)
	}
	m.reply(sec, []byte("a"), []byte{'c', 0})
	m.reply(sec, []byte("b"), []byte{'c', 2})
	m.take()
	// The least recently used one has the next.
	m.request(sec, []byte("d"), 10)
	m.dispatch(sec)
	if got := m.take(); got != "send 4 to a" {
		t.Error(got)
	}
}

// TestQueueGivesAgainOnce: the request of a worker that died goes to another, in
// front of those that came after it, and if that one dies too it fails.
func TestQueueGivesAgainOnce(t *testing.T) {
	m := newQueueMachine(testTimes)
	m.ready(0, []byte("a"))
	m.request(0, []byte("c"), 10)
	m.request(0, []byte("d"), 10)
	m.dispatch(0)
	m.take()
	for now := sec; now <= 3*sec; now += sec {
		m.tick(now)
	}
	if got := m.take(); got != "" {
		t.Error(got)
	}
	m.ready(3*sec, []byte("b"))
	if got := m.take(); got != "send 1 to b" {
		t.Error(got)
	}
	for now := 4 * sec; now <= 6*sec; now += sec {
		m.tick(now)
	}
	if got := m.take(); got != "fail 1: the workers that had it died, drop 1" {
		t.Error(got)
	}
	if m.count.Requeued != 1 || m.count.FailedDied != 1 || m.count.Expired != 2 || m.bytes != 10 {
		t.Errorf("%+v", m.count)
	}
}

// TestQueueStall: a pause of the queue itself is not its workers' silence.
func TestQueueStall(t *testing.T) {
	m := newQueueMachine(testTimes)
	m.ready(sec, []byte("a"))
	m.tick(sec)
	m.tick(60 * sec)
	if m.workers["a"] == nil {
		t.Error("a worker expired because the queue stood still")
	}
	m.tick(61 * sec)
	m.tick(62 * sec)
	m.tick(63 * sec)
	if m.workers["a"] != nil {
		t.Error("a silent worker did not expire")
	}
}

func TestQueueBounds(t *testing.T) {
	m := newQueueMachine(testTimes)
	for i, tc := range []struct {
		size   int
		reason Reason
	}{{601, ReasonTooLarge}, {600, ""}, {401, ReasonFull}, {400, ""}, {0, ""}, {0, ReasonFull}} {
		if _, reason := m.request(0, []byte("c"), tc.size); reason != tc.reason {
			t.Errorf("request %d: %q, want %q", i, reason, tc.reason)
		}
	}
	m.tick(29 * sec)
	if m.take() != "" {
		t.Error("expired early")
	}
	m.tick(30 * sec)
	if m.count.FailedNoWorker != 3 || m.bytes != 0 || len(m.waiting) != 0 {
		t.Errorf("%+v, %d bytes, %d waiting", m.count, m.bytes, len(m.waiting))
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		m.ready(30*sec, []byte(id))
	}
	if len(m.workers) != 3 || m.count.Refused != 1 {
		t.Errorf("%d workers, %d refused", len(m.workers), m.count.Refused)
	}
}

// TestQueueRandom: whatever happens, a worker at work is given nothing, every
// request that was taken in ends once, nothing is given to more than two workers,
// and in the end nothing is left.
func TestQueueRandom(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		cfg := testTimes
		cfg.requests, cfg.life = 10, 8*sec
		m := newQueueMachine(cfg)
		has := map[string]ticket{} // what each worker was given and has not answered
		given, open := map[ticket]int{}, map[ticket]bool{}
		var now time.Duration
		take := func() {
			for i := 0; i < len(m.acts); i++ {
				switch a := m.acts[i]; a.do {
				case actSend:
					if r.IntN(10) == 0 {
						m.unreachable(now, a.worker)
						continue
					}
					if _, busy := has[a.worker]; busy {
						t.Fatalf("seed %d: %s is at work and was given %d", seed, a.worker, a.ticket)
					}
					has[a.worker] = a.ticket
					if given[a.ticket]++; given[a.ticket] > 2 || !open[a.ticket] {
						t.Fatalf("seed %d: %d was given %d times, open %t", seed, a.ticket, given[a.ticket], open[a.ticket])
					}
				case actDrop:
					if !open[a.ticket] {
						t.Fatalf("seed %d: %d ended twice", seed, a.ticket)
					}
					open[a.ticket] = false
				}
			}
			m.acts = m.acts[:0]
		}
		for range 200 {
			id := fmt.Append(nil, "w", r.IntN(4))
			switch r.IntN(8) {
			case 0:
				delete(has, string(id))
				m.ready(now, id)
			case 1, 2:
				m.heartbeat(now, id)
			case 3, 4:
				if job, busy := has[string(id)]; busy {
					delete(has, string(id))
					m.reply(now, id, fmt.Append(nil, job))
				}
			case 5:
				m.down(now, id)
				if m.workers[string(id)] == nil {
					delete(has, string(id)) // it goes; a new one has a new name
				}
			case 6:
				if t, reason := m.request(now, fmt.Append(nil, m.last+1), 1); reason == "" {
					open[t] = true
					m.dispatch(now)
				}
			case 7:
				now += time.Duration(r.IntN(1500)) * time.Millisecond
				m.tick(now)
			}
			take()
			for id := range has {
				if m.workers[id] == nil {
					delete(has, id) // forgotten
				}
			}
			if !slices.IsSortedFunc(m.waiting, func(a, b *job) int { return int(a.ticket) - int(b.ticket) }) {
				t.Fatalf("seed %d: requests wait out of order", seed)
			}
			for _, p := range m.idle {
				if p.state != peerReady || m.workers[p.id] != p {
					t.Fatalf("seed %d: %s is on the list of ready workers", seed, p.id)
				}
			}
		}
		m.stop()
		m.end()
		take()
		if len(m.jobs) != 0 || m.bytes != 0 || len(m.waiting) != 0 {
			t.Fatalf("seed %d: %d requests and %d bytes left", seed, len(m.jobs), m.bytes)
		}
		for job, o := range open {
			if o {
				t.Fatalf("seed %d: %d never ended", seed, job)
			}
		}
		if m.count.Requests != m.count.Answered+m.count.FailedDeadline+m.count.FailedDied+m.count.FailedNoWorker+m.count.FailedStopping {
			t.Fatalf("seed %d: the counts do not add up: %+v", seed, m.count)
		}
	}
}
