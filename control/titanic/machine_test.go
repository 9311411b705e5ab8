package titanic

import (
	"fmt"
	"testing"
	"time"
)

// fill brings a job with a key into a state.
func fill(t *testing.T, m *machine, id ID, key string, to State) *entry {
	t.Helper()
	give := func(k kind, body []byte) {
		r := record{Kind: k, ID: id, Time: int64(time.Hour), Body: body}
		if err := m.apply(&r, place{1000, recordSize(len(body))}, 1); err != nil {
			t.Fatal(err)
		}
	}
	give(kindAdded, appendAdded(nil, &added{Number: m.next, Service: "s", Key: key, Frames: [][]byte{[]byte("body")}}))
	switch to {
	case Dispatched:
		give(kindDispatched, attemptBody(1))
	case Answered:
		give(kindAnswered, appendFrames(nil, [][]byte{[]byte("reply")}))
	case Cancelled, Expired, Failed:
		give(kindEnded, appendEnded(nil, to, "why"))
	case Closed:
		give(kindClosed, nil)
	}
	return m.jobs[id]
}

// TestEveryRecordInEveryState: what each kind of record does to a job in each
// state; a dash where it changes nothing.
func TestEveryRecordInEveryState(t *testing.T) {
	table := map[State]map[string]string{
		Stored:     {"dispatched": "dispatched", "answered": "answered", "cancelled": "cancelled", "expired": "expired", "failed": "failed", "closed": "closed"},
		Dispatched: {"dispatched": "dispatched", "answered": "answered", "cancelled": "cancelled", "expired": "expired", "failed": "failed", "closed": "closed"},
		Answered:   {"dispatched": "-", "answered": "-", "cancelled": "cancelled", "expired": "expired", "failed": "failed", "closed": "closed"},
		Cancelled:  {"dispatched": "-", "answered": "-", "cancelled": "-", "expired": "-", "failed": "-", "closed": "closed"},
		Expired:    {"dispatched": "-", "answered": "-", "cancelled": "-", "expired": "-", "failed": "-", "closed": "closed"},
		Failed:     {"dispatched": "-", "answered": "-", "cancelled": "-", "expired": "-", "failed": "-", "closed": "closed"},
		Closed:     {"dispatched": "-", "answered": "-", "cancelled": "-", "expired": "-", "failed": "-", "closed": "-"},
	}
	records := map[string]record{
		"dispatched": {Kind: kindDispatched, Body: attemptBody(2)},
		"answered":   {Kind: kindAnswered, Body: appendFrames(nil, [][]byte{[]byte("other")})},
		"cancelled":  {Kind: kindEnded, Body: appendEnded(nil, Cancelled, "")},
		"expired":    {Kind: kindEnded, Body: appendEnded(nil, Expired, "")},
		"failed":     {Kind: kindEnded, Body: appendEnded(nil, Failed, "")},
		"closed":     {Kind: kindClosed},
	}
	for from, row := range table {
		for name, want := range row {
			m := newMachine(time.Hour, time.Hour, 10)
			e := fill(t, m, someID, "key", from)
			before := *e
			r := records[name]
			r.ID = someID
			if err := m.apply(&r, place{5000, 72}, 2); err != nil {
				t.Fatal(err)
			}
			switch {
			case want == "-" && (*e != before || m.odd != 1):
				t.Errorf("%v, then %s: %+v, %d odd", from, name, e, m.odd)
			case want != "-" && e.state.String() != want:
				t.Errorf("%v, then %s: %v", from, name, e.state)
			}
			if sum := m.pending + m.waiting + m.over; sum != 1 || m.live != e.keep() {
				t.Errorf("%v, then %s: %d jobs, %d bytes of %d", from, name, sum, m.live, e.keep())
			}
		}
	}
}

// TestClosedWithoutKeyIsGone, one with a key is remembered for its key alone.
func TestClosedWithoutKeyIsGone(t *testing.T) {
	m := newMachine(time.Hour, time.Hour, 10)
	fill(t, m, ID{1}, "", Closed)
	if len(m.jobs) != 0 || m.live != 0 {
		t.Errorf("%d jobs, %d bytes", len(m.jobs), m.live)
	}
	e := fill(t, m, ID{2}, "key", Closed)
	if e.body.size != 0 || e.reply.size != 0 || m.keys["key"] != e {
		t.Errorf("%+v", e)
	}
}

// TestDeadlines: a job expires, an answered one too, and what has ended is
// forgotten; each at its time and not before.
func TestDeadlines(t *testing.T) {
	const begin = int64(time.Hour)
	for _, c := range []struct {
		state State
		after time.Duration
		ends  bool
	}{
		{Stored, 5 * time.Minute, true}, {Dispatched, 5 * time.Minute, true}, {Answered, 5 * time.Minute, true},
		{Cancelled, time.Minute, false}, {Expired, time.Minute, false}, {Failed, time.Minute, false}, {Closed, time.Minute, false},
	} {
		m := newMachine(5*time.Minute, time.Minute, 10)
		fill(t, m, someID, "key", c.state)
		if got := m.due(begin + int64(c.after) - 1); len(got) != 0 || len(m.jobs) != 1 {
			t.Errorf("%v: too early: %v", c.state, got)
		}
		if m.wake() != begin+int64(c.after) {
			t.Errorf("%v: looks again at %v", c.state, time.Duration(m.wake()))
		}
		got := m.due(begin + int64(c.after))
		if c.ends != (len(got) == 1) || c.ends == (len(m.jobs) == 0) {
			t.Errorf("%v: %v expire, %d jobs left", c.state, got, len(m.jobs))
		}
	}
	// The number of a request is not remembered for long.
	m := newMachine(time.Hour, time.Hour, 10)
	fill(t, m, someID, keyNumber+"1", Closed)
	if got := m.wake() - begin; got != int64(numberLife) {
		t.Errorf("a number is remembered for %v", time.Duration(got))
	}
	// Own times come before what is configured.
	m = newMachine(5*time.Minute, time.Minute, 10)
	body := func(notBefore, expires int64) []byte {
		return appendAdded(nil, &added{Number: m.next, Service: "s", NotBefore: notBefore, Expires: expires, Frames: [][]byte{{}}})
	}
	for i, b := range [][]byte{body(0, begin+5), body(2*begin, 0), body(2*begin, 3*begin)} {
		if err := m.apply(&record{Kind: kindAdded, ID: ID{byte(i)}, Time: begin, Body: b}, place{64, 64}, 1); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []int64{begin + 5, 2*begin + int64(5*time.Minute), 3 * begin} {
		if got := m.deadline(m.jobs[ID{byte(i)}]); got != want {
			t.Errorf("job %d expires at %v, want %v", i, time.Duration(got), time.Duration(want))
		}
	}
}

// TestRememberedAreBounded: the oldest go first.
func TestRememberedAreBounded(t *testing.T) {
	m := newMachine(time.Hour, time.Hour, 3)
	for i := range 100 {
		fill(t, m, ID{byte(i)}, fmt.Sprint(i), Closed)
		m.due(int64(time.Hour))
	}
	if len(m.jobs) != 3 || m.over != 3 || len(m.keys) != 3 || m.keys["99"] == nil || len(m.ended) > 3 {
		t.Errorf("%d jobs, %d keys, %d in line", len(m.jobs), len(m.keys), len(m.ended))
	}
}

// TestKeyIsTakenOver: in a log, a key may be that of a job that nobody remembered
// when the next one with the key was added.
func TestKeyIsTakenOver(t *testing.T) {
	m := newMachine(time.Hour, time.Hour, 3)
	fill(t, m, ID{1}, "key", Cancelled)
	e := fill(t, m, ID{2}, "key", Stored)
	if len(m.jobs) != 1 || m.keys["key"] != e || m.live != e.keep() || m.over != 0 {
		t.Errorf("%+v", m)
	}
}
