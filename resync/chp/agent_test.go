package chp

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// recorder is an agent's host that writes down what the agent does.
type recorder struct{ did []string }

func (r *recorder) note(format string, args ...any) {
	r.did = append(r.did, fmt.Sprintf(format, args...))
}

func (r *recorder) listen(server int) { r.note("listen %d", server) }
func (r *recorder) ask(server int)    { r.note("ask %d", server) }
func (r *recorder) replace(t *table)  { r.note("replace %d", t.len()) }
func (r *recorder) apply(m *Message)  { r.note("apply %s=%s", m.Key, m.Value) }

func (r *recorder) take() string {
	did := strings.Join(r.did, ", ")
	r.did = nil
	return did
}

// Times of the agents in these tests.
var epochZero = time.Unix(1_700_000_000, 0)

const (
	testSilence = 5 * time.Second
	testPause   = 20 * time.Millisecond
)

func newAgent(servers int, subtree string) (*agent, *recorder) {
	r := &recorder{}
	return &agent{host: r, servers: servers, subtree: []byte(subtree), silence: testSilence, pause: testPause,
		buffer: 1000, stats: new(agentStats)}, r
}

func msg(key string, sequence uint64, props, value string) *Message {
	return &Message{Key: []byte(key), Sequence: sequence, Properties: Properties(props), Value: []byte(value)}
}

// agentIn brings an agent of a subtree to a state: its table is as of sequence 10
// of run e1, or it waits for that.
func agentIn(state State, subtree string) (*agent, *recorder) {
	a, r := newAgent(2, subtree)
	now := epochZero
	a.start(now)
	switch state {
	case Initial:
		a.again(now, new(uint64))
	case Active:
		a.snapshot(msg("/a/k", 3, "", "v"), now)
		a.snapshot(msg("KTHXBAI", 10, "epoch=e1\nentries=1\n", subtree), now)
		*a.stats = agentStats{}
	}
	r.take()
	return a, r
}

// agentEvents are everything that can happen to an agent.
var agentEvents = map[string]func(a *agent, now time.Time){
	"time, not yet":        func(a *agent, now time.Time) { a.tick(now.Add(testPause / 2)) },
	"time to ask":          func(a *agent, now time.Time) { a.tick(now.Add(testPause)) },
	"silence":              func(a *agent, now time.Time) { a.tick(now.Add(testSilence)) },
	"kvsync":               func(a *agent, now time.Time) { a.snapshot(msg("/a/x", 7, "", "v"), now) },
	"kvsync outside":       func(a *agent, now time.Time) { a.snapshot(msg("/b/x", 7, "", "v"), now) },
	"kvsync without value": func(a *agent, now time.Time) { a.snapshot(msg("/a/x", 7, "", ""), now) },
	"hugz as snapshot":     func(a *agent, now time.Time) { a.snapshot(msg("HUGZ", 0, "", ""), now) },
	"kthxbai":              func(a *agent, now time.Time) { a.snapshot(msg("KTHXBAI", 10, "epoch=e1\nentries=0\n", "/a/"), now) },
	"kthxbai, plain":       func(a *agent, now time.Time) { a.snapshot(msg("KTHXBAI", 10, "", ""), now) },
	"kthxbai, too few":     func(a *agent, now time.Time) { a.snapshot(msg("KTHXBAI", 10, "entries=1\n", "/a/"), now) },
	"kthxbai, other":       func(a *agent, now time.Time) { a.snapshot(msg("KTHXBAI", 10, "", "/b/"), now) },
	"kvpub": func(a *agent, now time.Time) {
		a.update(msg("/a/x", 15, "epoch=e1\nprevious=0:14,1:14,3:10\n", "v"), now)
	},
	"kvpub, delete": func(a *agent, now time.Time) {
		a.update(msg("/a/k", 15, "epoch=e1\nprevious=0:14,1:14,3:10\n", ""), now)
	},
	"kvpub, old": func(a *agent, now time.Time) { a.update(msg("/a/x", 10, "epoch=e1\nprevious=0:9,1:9,3:9\n", "v"), now) },
	"kvpub after a gap": func(a *agent, now time.Time) {
		a.update(msg("/a/x", 15, "epoch=e1\nprevious=0:14,1:14,3:11\n", "v"), now)
	},
	"kvpub of another run": func(a *agent, now time.Time) { a.update(msg("/a/x", 15, "epoch=e2\nprevious=0:14,3:10\n", "v"), now) },
	"kvpub outside":        func(a *agent, now time.Time) { a.update(msg("HUGZilla", 11, "epoch=e1\nprevious=0:10\n", "v"), now) },
	"kthxbai as update":    func(a *agent, now time.Time) { a.update(msg("KTHXBAI", 11, "", ""), now) },
	"kvpub, too large": func(a *agent, now time.Time) {
		a.update(msg("/a/x", 15, "epoch=e1\nprevious=3:10\n", strings.Repeat("v", 1000)), now)
	},
	"hugz":                  func(a *agent, now time.Time) { a.update(msg("HUGZ", 0, "epoch=e1\nsequence=10\n", ""), now) },
	"hugz, plain":           func(a *agent, now time.Time) { a.update(msg("HUGZ", 0, "", ""), now) },
	"hugz ahead":            func(a *agent, now time.Time) { a.update(msg("HUGZ", 0, "epoch=e1\nsequence=12\n", ""), now) },
	"hugz ahead, the guide": func(a *agent, now time.Time) { a.update(msg("HUGZ", 12, "", ""), now) },
	"hugz of another run":   func(a *agent, now time.Time) { a.update(msg("HUGZ", 0, "epoch=e2\nsequence=10\n", ""), now) },
}

// agentCases say what each event does in each state, to an agent of the subtree
// /a/ with two servers.
var agentCases = map[State]map[string]struct {
	next  State
	did   string
	stats agentStats
}{
	Initial: {
		"time, not yet":         {Initial, "", agentStats{}},
		"time to ask":           {Syncing, "ask 0", agentStats{}},
		"silence":               {Syncing, "ask 0", agentStats{}},
		"kvsync":                {Initial, "", agentStats{stray: 1}},
		"kvsync outside":        {Initial, "", agentStats{stray: 1}},
		"kvsync without value":  {Initial, "", agentStats{stray: 1}},
		"hugz as snapshot":      {Initial, "", agentStats{stray: 1}},
		"kthxbai":               {Initial, "", agentStats{stray: 1}},
		"kthxbai, plain":        {Initial, "", agentStats{stray: 1}},
		"kthxbai, too few":      {Initial, "", agentStats{stray: 1}},
		"kthxbai, other":        {Initial, "", agentStats{stray: 1}},
		"kvpub":                 {Initial, "", agentStats{}},
		"kvpub, delete":         {Initial, "", agentStats{}},
		"kvpub, old":            {Initial, "", agentStats{}},
		"kvpub after a gap":     {Initial, "", agentStats{}},
		"kvpub of another run":  {Initial, "", agentStats{}},
		"kvpub outside":         {Initial, "", agentStats{}},
		"kthxbai as update":     {Initial, "", agentStats{}},
		"kvpub, too large":      {Initial, "", agentStats{}},
		"hugz":                  {Initial, "", agentStats{}},
		"hugz, plain":           {Initial, "", agentStats{}},
		"hugz ahead":            {Initial, "", agentStats{}},
		"hugz ahead, the guide": {Initial, "", agentStats{}},
		"hugz of another run":   {Initial, "", agentStats{}},
	},
	Syncing: {
		"time, not yet":         {Syncing, "", agentStats{}},
		"time to ask":           {Syncing, "", agentStats{}},
		"silence":               {Syncing, "listen 1, ask 1", agentStats{failover: 1}},
		"kvsync":                {Syncing, "", agentStats{}},
		"kvsync outside":        {Syncing, "", agentStats{stray: 1}},
		"kvsync without value":  {Syncing, "", agentStats{stray: 1}},
		"hugz as snapshot":      {Syncing, "", agentStats{stray: 1}},
		"kthxbai":               {Active, "replace 0", agentStats{snapshots: 1}},
		"kthxbai, plain":        {Active, "replace 0", agentStats{snapshots: 1}},
		"kthxbai, too few":      {Initial, "", agentStats{incomplete: 1}},
		"kthxbai, other":        {Initial, "", agentStats{incomplete: 1}},
		"kvpub":                 {Syncing, "", agentStats{}},
		"kvpub, delete":         {Syncing, "", agentStats{}},
		"kvpub, old":            {Syncing, "", agentStats{}},
		"kvpub after a gap":     {Syncing, "", agentStats{}},
		"kvpub of another run":  {Syncing, "", agentStats{}},
		"kvpub outside":         {Syncing, "", agentStats{}},
		"kthxbai as update":     {Syncing, "", agentStats{}},
		"kvpub, too large":      {Initial, "", agentStats{overflows: 1}},
		"hugz":                  {Syncing, "", agentStats{}},
		"hugz, plain":           {Syncing, "", agentStats{}},
		"hugz ahead":            {Syncing, "", agentStats{}},
		"hugz ahead, the guide": {Syncing, "", agentStats{}},
		"hugz of another run":   {Syncing, "", agentStats{}},
	},
	Active: {
		"time, not yet":         {Active, "", agentStats{}},
		"time to ask":           {Active, "", agentStats{}},
		"silence":               {Syncing, "listen 1, ask 1", agentStats{failover: 1}},
		"kvsync":                {Active, "", agentStats{stray: 1}},
		"kvsync outside":        {Active, "", agentStats{stray: 1}},
		"kvsync without value":  {Active, "", agentStats{stray: 1}},
		"hugz as snapshot":      {Active, "", agentStats{stray: 1}},
		"kthxbai":               {Active, "", agentStats{stray: 1}},
		"kthxbai, plain":        {Active, "", agentStats{stray: 1}},
		"kthxbai, too few":      {Active, "", agentStats{stray: 1}},
		"kthxbai, other":        {Active, "", agentStats{stray: 1}},
		"kvpub":                 {Active, "apply /a/x=v", agentStats{updates: 1}},
		"kvpub, delete":         {Active, "apply /a/k=", agentStats{updates: 1}},
		"kvpub, old":            {Active, "", agentStats{old: 1}},
		"kvpub after a gap":     {Initial, "", agentStats{gaps: 1}},
		"kvpub of another run":  {Initial, "", agentStats{restarts: 1}},
		"kvpub outside":         {Active, "", agentStats{stray: 1}},
		"kthxbai as update":     {Active, "", agentStats{stray: 1}},
		"kvpub, too large":      {Active, "apply /a/x=" + strings.Repeat("v", 1000), agentStats{updates: 1}},
		"hugz":                  {Active, "", agentStats{}},
		"hugz, plain":           {Active, "", agentStats{}},
		"hugz ahead":            {Initial, "", agentStats{unsure: 1}},
		"hugz ahead, the guide": {Initial, "", agentStats{unsure: 1}},
		"hugz of another run":   {Initial, "", agentStats{restarts: 1}},
	},
}

// TestAgent goes through every event in every state.
func TestAgent(t *testing.T) {
	for state, cases := range agentCases {
		for event := range agentEvents {
			want, ok := cases[event]
			if !ok {
				t.Errorf("%v: nothing is said of %s", state, event)
				continue
			}
			t.Run(fmt.Sprintf("%v/%s", state, event), func(t *testing.T) {
				a, r := agentIn(state, "/a/")
				agentEvents[event](a, epochZero)
				if got := r.take(); a.state != want.next || got != want.did {
					t.Errorf("is %v and did %q, want %v and %q", a.state, got, want.next, want.did)
				}
				if *a.stats != want.stats {
					t.Errorf("counted %+v, want %+v", *a.stats, want.stats)
				}
				if (a.state == Syncing) != (a.next != nil) {
					t.Errorf("%v with next table %v", a.state, a.next)
				}
			})
		}
		for event := range cases {
			if agentEvents[event] == nil {
				t.Errorf("%v: there is no event %q", state, event)
			}
		}
	}
}

// TestAgentDeadline: what keeps a server alive, and what does not.
func TestAgentDeadline(t *testing.T) {
	later := epochZero.Add(time.Second)
	for _, tc := range []struct {
		state State
		event string
		moves bool
	}{
		{Syncing, "kvsync", true}, {Syncing, "kvpub", false}, {Syncing, "hugz", false}, {Syncing, "hugz as snapshot", false},
		{Active, "kvpub", true}, {Active, "kvpub, old", true}, {Active, "hugz", true}, {Active, "kvpub outside", true}, {Active, "kvsync", false},
	} {
		a, _ := agentIn(tc.state, "/a/")
		was := a.deadline
		agentEvents[tc.event](a, later)
		if moved := !a.deadline.Equal(was); moved != tc.moves {
			t.Errorf("%v, %s: deadline moved: %v", tc.state, tc.event, moved)
		}
	}
}

// TestAgentKeepsAsking: the guide's client asks each server twice and then never
// again.
func TestAgentKeepsAsking(t *testing.T) {
	a, r := newAgent(2, "")
	now := epochZero
	a.start(now)
	want := "listen 0, ask 0"
	for i := range 20 {
		if got := r.take(); got != want {
			t.Fatalf("question %d: did %q, want %q", i, got, want)
		}
		now = now.Add(testSilence)
		a.tick(now)
		server := (i + 1) % 2
		want = fmt.Sprintf("listen %d, ask %d", server, server)
	}
}

// TestAgentPause: a server that never helps is asked less and less often, and
// one that did for a while at once again.
func TestAgentPause(t *testing.T) {
	a, _ := newAgent(1, "")
	now := epochZero
	a.start(now)
	var waits []time.Duration
	for range 12 {
		a.snapshot(msg("KTHXBAI", 10, "entries=9\n", ""), now)
		waits = append(waits, a.deadline.Sub(now))
		now = a.deadline
		a.tick(now)
	}
	if waits[0] != testPause || waits[3] != 8*testPause || waits[11] != testSilence {
		t.Errorf("waits are %v", waits)
	}
	a.snapshot(msg("KTHXBAI", 10, "", ""), now)
	a.update(msg("k", 11, "", "v"), now)
	now = now.Add(testSilence + 1)
	a.update(msg("k", 13, "", "v"), now) // a gap, after a good while
	if a.state != Initial || a.deadline.Sub(now) != testPause {
		t.Errorf("%v, waits %v", a.state, a.deadline.Sub(now))
	}
}

// TestAgentContinuity: updates that came during the snapshot are applied from
// where it ends, and checked.
func TestAgentContinuity(t *testing.T) {
	pub := func(n uint64, previous string) *Message {
		return msg(fmt.Sprintf("/a/%d", n), n, "epoch=e1\nprevious="+previous+"\n", "v")
	}
	for _, tc := range []struct {
		name, subtree string
		kept          []*Message
		state         State
		did           string
	}{
		{"all, in order", "", []*Message{pub(9, "0:8"), pub(10, "0:9"), pub(11, "0:10"), pub(12, "0:11")}, Active, "replace 0, apply /a/11=v, apply /a/12=v"},
		{"all, first is missing", "", []*Message{pub(10, "0:9"), pub(12, "0:11")}, Initial, "replace 0"},
		{"all, one is missing", "", []*Message{pub(11, "0:10"), pub(13, "0:12")}, Initial, "replace 0, apply /a/11=v"},
		{"all, store's sequences", "", []*Message{pub(15, "0:10"), pub(20, "0:15")}, Active, "replace 0, apply /a/15=v, apply /a/20=v"},
		{"all, plain server", "", []*Message{msg("k", 11, "epoch=e1\n", "v"), msg("k", 12, "epoch=e1\n", "w")}, Active, "replace 0, apply k=v, apply k=w"},
		{"all, plain server, gap", "", []*Message{msg("k", 12, "epoch=e1\n", "v")}, Initial, "replace 0"},
		{"subtree, in order", "/a/", []*Message{pub(12, "0:11,1:11,3:5"), pub(17, "0:16,1:16,3:12")}, Active, "replace 0, apply /a/12=v, apply /a/17=v"},
		{"subtree, one is missing", "/a/", []*Message{pub(12, "0:11,1:11,3:5"), pub(17, "0:16,1:16,3:14")}, Initial, "replace 0, apply /a/12=v"},
		{"subtree of another kind", "/a", []*Message{pub(12, "0:11,1:11,3:5"), pub(17, "0:16,1:16,3:14")}, Active, "replace 0, apply /a/12=v, apply /a/17=v"},
		{"earlier run first", "", []*Message{msg("k", 99, "epoch=e0\nprevious=0:98\n", "v"), pub(11, "0:10")}, Active, "replace 0, apply /a/11=v"},
		{"later run at the end", "", []*Message{pub(11, "0:10"), msg("k", 5, "epoch=e2\nprevious=0:4\n", "v")}, Initial, "replace 0, apply /a/11=v"},
		{"hugz says that one is missing", "", []*Message{pub(11, "0:10"), msg("HUGZ", 0, "epoch=e1\nsequence=12\n", "")}, Initial, "replace 0, apply /a/11=v"},
		{"hugz says that none is", "", []*Message{pub(11, "0:10"), msg("HUGZ", 0, "epoch=e1\nsequence=11\n", "")}, Active, "replace 0, apply /a/11=v"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, r := newAgent(1, tc.subtree)
			a.start(epochZero)
			r.take()
			for _, m := range tc.kept {
				a.update(m, epochZero)
				m.Value = append(m.Value[:0], "overwritten"[:len(m.Value)]...) // it was borrowed
			}
			a.snapshot(msg("KTHXBAI", 10, "epoch=e1\nentries=0\n", tc.subtree), epochZero)
			if got := r.take(); a.state != tc.state || got != tc.did {
				t.Errorf("is %v and did %q, want %v and %q", a.state, got, tc.state, tc.did)
			}
		})
	}
}

// TestAgentProof: a subtree's client asks once more when something may have been
// published before its subscription was in force, and not again.
func TestAgentProof(t *testing.T) {
	a, r := agentIn(Active, "/a/")
	now := epochZero
	a.update(msg("HUGZ", 0, "epoch=e1\nsequence=50\n", ""), now)
	if a.state != Initial {
		t.Fatal("it is sure, but cannot be")
	}
	now = a.deadline
	a.tick(now)
	a.snapshot(msg("KTHXBAI", 50, "epoch=e1\nentries=0\n", "/a/"), now)
	a.update(msg("HUGZ", 0, "epoch=e1\nsequence=90\n", ""), now)
	if got := r.take(); a.state != Active || got != "ask 0, replace 0" || a.stats.unsure != 1 {
		t.Errorf("%v, did %q, %+v", a.state, got, a.stats)
	}
	// A new subscription needs a new proof.
	now = now.Add(testSilence)
	a.tick(now)
	a.snapshot(msg("KTHXBAI", 50, "epoch=e1\nentries=0\n", "/a/"), now)
	a.update(msg("HUGZ", 0, "epoch=e1\nsequence=90\n", ""), now)
	if a.state != Initial || a.stats.unsure != 2 {
		t.Errorf("after failover: %v, %+v", a.state, a.stats)
	}
	// So is a sign of life that has nothing that the table has not.
	q, _ := agentIn(Active, "/a/")
	agentEvents["hugz"](q, now)
	agentEvents["hugz ahead"](q, now)
	if q.state != Active {
		t.Errorf("after a sign of life: %v, %+v", q.state, q.stats)
	}
	// An update that says what was before it is a proof, too.
	b, _ := agentIn(Active, "/a/")
	agentEvents["kvpub"](b, now)
	b.update(msg("HUGZ", 0, "epoch=e1\nsequence=20\n", ""), now)
	b.update(msg("HUGZ", 0, "epoch=e1\nsequence=99\n", ""), now)
	if b.state != Active {
		t.Errorf("after an update in order: %v, %+v", b.state, b.stats)
	}
}

// TestAgentRestartOfPlainServer: a server of the guide that starts again counts
// from 1; its sign of life shows it.
func TestAgentRestartOfPlainServer(t *testing.T) {
	a, _ := newAgent(1, "")
	a.start(epochZero)
	a.snapshot(msg("KTHXBAI", 1000, "", ""), epochZero)
	a.update(msg("HUGZ", 1000, "", ""), epochZero)
	if a.state != Active {
		t.Fatal(a.state)
	}
	a.update(msg("HUGZ", 3, "", ""), epochZero)
	if a.state != Initial || a.stats.restarts != 1 {
		t.Errorf("%v, %+v", a.state, a.stats)
	}
	a.tick(a.deadline)
	a.snapshot(msg("KTHXBAI", 3, "", ""), epochZero)
	a.update(msg("HUGZ", 3, "", ""), epochZero)
	if a.state != Active {
		t.Errorf("again: %v, %+v", a.state, a.stats)
	}
}

// TestAgentOldHugz: a sign of life from before the snapshot is no restart, though
// its sequence is lower.
func TestAgentOldHugz(t *testing.T) {
	for _, props := range []string{"", "epoch=e1\nsequence=7\n"} {
		a, _ := newAgent(1, "")
		a.start(epochZero)
		a.update(msg("HUGZ", 7, props, ""), epochZero)
		end := ""
		if props != "" {
			end = "epoch=e1\n"
		}
		a.snapshot(msg("KTHXBAI", 10, end, ""), epochZero)
		a.update(msg("HUGZ", 8, strings.Replace(props, "7", "8", 1), ""), epochZero)
		if a.state != Active || a.stats.restarts != 0 {
			t.Errorf("%q: %v, %+v", props, a.state, a.stats)
		}
	}
}
