package resync

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// heldFrom are holdings of [first, next).
func heldFrom(spans ...[2]wire.Seq) holdings {
	var hs holdings
	for _, s := range spans {
		h := &holding{}
		h.batch.FirstSeq, h.batch.Count = s[0], uint32(s[1]-s[0])
		hs.insert(h)
	}
	return hs
}

func TestHoldings(t *testing.T) {
	for _, tc := range []struct {
		in, want [][2]wire.Seq
	}{
		{[][2]wire.Seq{{5, 7}, {7, 9}}, [][2]wire.Seq{{5, 7}, {7, 9}}},
		{[][2]wire.Seq{{7, 9}, {5, 7}}, [][2]wire.Seq{{5, 7}, {7, 9}}},
		{[][2]wire.Seq{{5, 9}, {6, 8}}, [][2]wire.Seq{{5, 9}}},
		{[][2]wire.Seq{{5, 9}, {5, 9}}, [][2]wire.Seq{{5, 9}}},
		{[][2]wire.Seq{{5, 7}, {5, 9}}, [][2]wire.Seq{{5, 7}, {5, 9}}},
		{[][2]wire.Seq{{5, 9}, {5, 7}}, [][2]wire.Seq{{5, 9}}},
		{[][2]wire.Seq{{9, 12}, {1, 2}, {5, 8}}, [][2]wire.Seq{{1, 2}, {5, 8}, {9, 12}}},
	} {
		var got [][2]wire.Seq
		for _, h := range heldFrom(tc.in...) {
			got = append(got, [2]wire.Seq{h.batch.FirstSeq, h.batch.Next()})
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%v: held %v, want %v", tc.in, got, tc.want)
		}
	}
	hs := heldFrom([2]wire.Seq{3, 5}, [2]wire.Seq{4, 8}, [2]wire.Seq{9, 12})
	if to, ahead := hs.covered(3); to != 8 || len(ahead) != 1 {
		t.Errorf("covered to %d, %d ahead", to, len(ahead))
	}
	if to, ahead := hs.covered(1); to != 1 || len(ahead) != 3 {
		t.Errorf("covered to %d, %d ahead", to, len(ahead))
	}
}

// tester is a machine with what it wanted done.
type tester struct {
	*machine
	now  time.Duration
	done []action
}

func newTester(servers int) *tester {
	return &tester{machine: newMachine(0, machineConfig{servers: servers, holdBytes: 1 << 20, attempts: 3, backoff: 10 * time.Millisecond,
		backoffTo: 100 * time.Millisecond, patience: time.Second, seed: 1})}
}

// pump performs what can be done, and returns it.
func (m *tester) pump() []action {
	from := len(m.done)
	for a := m.next(m.now); a.do != doNothing; a = m.next(m.now) {
		m.done = append(m.done, a)
	}
	return m.done[from:]
}

// bring offers a batch and reports what became of it.
func (m *tester) bring(epoch wire.Epoch, first wire.Seq, n int, refill bool) what {
	b := numbered(epoch, 0, 1, first, n, 16)
	for {
		v := m.offer(b, refill)
		switch v.what {
		case busy:
			m.done = append(m.done, m.next(m.now))
			continue
		case hold:
			v.hold.fill(b, refill)
		}
		return v.what
	}
}

// only checks that one action was wanted.
func only(t *testing.T, got []action, do doing) action {
	t.Helper()
	if len(got) != 1 || got[0].do != do {
		t.Fatalf("wants %+v, want one %d", got, do)
	}
	return got[0]
}

// TestBackoff: requests that bring nothing go round the servers; each round has a
// longer pause, and in the end it is given up.
func TestBackoff(t *testing.T) {
	m := newTester(2)
	m.bring(7, 0, 10, false)
	m.bring(7, 20, 10, false)
	var asked []int
	var pauses []time.Duration
	for {
		got := m.pump()
		if len(got) == 0 {
			at, ok := m.wake()
			if !ok {
				t.Fatal("nothing to do, and nothing to wait for")
			}
			pauses = append(pauses, at-m.now)
			m.now = at
			continue
		}
		if got[0].do == doLost {
			if got[0].span != (Span{7, 0, 10, 20}) || got[0].reason != ReasonFailed {
				t.Errorf("gave up %+v", got[0])
			}
			break
		}
		a := only(t, got, doRequest)
		if a.span != (Span{7, 0, 10, 20}) {
			t.Fatalf("asked for %v", a.span)
		}
		asked = append(asked, a.server)
		m.failed(m.now, a.id, failure{reason: ReasonFailed})
	}
	if !slices.Equal(asked, []int{0, 1, 0, 1, 0, 1}) {
		t.Errorf("asked servers %v", asked)
	}
	if len(pauses) != 2 || pauses[0] < 5*time.Millisecond || pauses[0] > 10*time.Millisecond || pauses[1] < 10*time.Millisecond || pauses[1] > 20*time.Millisecond {
		t.Errorf("pauses %v", pauses)
	}
	for n := range 100 {
		if p := m.pause(n); p > 100*time.Millisecond || n > 4 && p < 50*time.Millisecond {
			t.Errorf("pause %d is %v", n, p)
		}
	}
}

// TestSlowRequest: one that brings nothing is cancelled, one that brings something
// is not.
func TestSlowRequest(t *testing.T) {
	m := newTester(1)
	m.bring(7, 0, 10, false)
	m.mark(7, 100)
	a := only(t, m.pump(), doRequest)
	m.now += 900 * time.Millisecond
	m.progress(m.now, a.id)
	if m.bring(7, 10, 10, true) != deliver {
		t.Fatal("a chunk was not delivered")
	}
	m.now += 900 * time.Millisecond
	if got := m.pump(); len(got) != 0 {
		t.Fatalf("wants %+v of a request that lives", got)
	}
	m.now += 100 * time.Millisecond
	if c := only(t, m.pump(), doCancel); c.id != a.id {
		t.Errorf("cancelled %d, want %d", c.id, a.id)
	}
	// What it brings now is as good as ever; its end says nothing.
	if m.bring(7, 20, 10, true) != deliver {
		t.Error("a late chunk was not delivered")
	}
	m.machine.done(m.now, a.id, 100, false, true)
	m.failed(m.now, a.id, failure{reason: ReasonGone})
	m.now, _ = m.wake()
	if b := only(t, m.pump(), doRequest); b.span.From != 30 || b.id == a.id {
		t.Errorf("asked for %+v", b)
	}
}

// TestEndOfRefillIsAwaited: that everything has come is told when the request's end
// has said what it was; an end that does not come is not waited for for ever.
func TestEndOfRefillIsAwaited(t *testing.T) {
	for name, tc := range map[string]struct {
		end      func(m *tester, id uint64)
		complete bool
	}{
		"agrees":        {func(m *tester, id uint64) { m.machine.done(m.now, id, 20, false, true) }, true},
		"differs":       {func(m *tester, id uint64) { m.machine.done(m.now, id, 20, false, false) }, false},
		"does not come": {func(m *tester, _ uint64) { m.now, _ = m.wake() }, true},
		"is an error":   {func(m *tester, id uint64) { m.failed(m.now, id, failure{reason: ReasonNoAnswer}) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := newTester(1)
			m.bring(7, 0, 10, false)
			m.finish(7, 20, false)
			a := only(t, m.pump(), doRequest)
			if m.bring(7, 10, 10, true) != deliver {
				t.Fatal("a chunk was not delivered")
			}
			if got := m.pump(); len(got) != 0 || m.idle() {
				t.Fatalf("wants %+v before the end has come", got)
			}
			tc.end(m, a.id)
			got := m.pump()
			if last := got[len(got)-1]; last.do != doEnd || last.complete != tc.complete {
				t.Errorf("wants %+v", got)
			}
		})
	}
}

// TestFilledOtherwise: a request whose gap late batches have filled is cancelled.
func TestFilledOtherwise(t *testing.T) {
	m := newTester(1)
	m.bring(7, 0, 10, false)
	m.mark(7, 20)
	a := only(t, m.pump(), doRequest)
	m.bring(7, 10, 10, false)
	if c := only(t, m.pump(), doCancel); c.id != a.id || !m.idle() {
		t.Errorf("cancelled %d, idle %v", c.id, m.idle())
	}
}

// TestBridge: gaps that lie close together are one request, but what is given up is
// only what is missing.
func TestBridge(t *testing.T) {
	m := newTester(1)
	m.bring(7, 0, 10, false)
	m.bring(7, 20, 10, false)
	m.bring(7, 40, 300, false)
	m.bring(7, 400, 10, false)
	a := only(t, m.pump(), doRequest)
	if a.span != (Span{7, 0, 10, 40}) {
		t.Fatalf("asked for %v", a.span)
	}
	m.failed(m.now, a.id, failure{reason: ReasonGone, next: 10, skip: 1000})
	got := m.pump()
	if len(got) < 2 || got[0].do != doLost || got[0].span != (Span{7, 0, 10, 20}) || got[1].do != doDeliver {
		t.Fatalf("wants %+v", got)
	}
}

// TestEndIsContradicted: what comes behind an end mark is delivered, and nothing
// is complete.
func TestEndIsContradicted(t *testing.T) {
	m := newTester(1)
	m.bring(7, 0, 10, false)
	m.finish(7, 5, false)
	if a := only(t, m.pump(), doEnd); a.complete {
		t.Error("more came than the end mark says, and it is complete")
	}
	if m.bring(7, 10, 10, false) != deliver {
		t.Error("a record behind the end was not delivered")
	}
	if m.count.Contradicted != 2 || !m.idle() {
		t.Errorf("%+v, idle %v", m.count, m.idle())
	}
}

// TestOverlap: a live batch that repeats half of the one before breaks the chain of
// hashes.
func TestOverlap(t *testing.T) {
	m := newTester(1)
	m.bring(7, 0, 10, false)
	m.bring(7, 5, 10, false)
	m.finish(7, 15, false)
	if a := only(t, m.pump(), doEnd); a.complete || m.count.Repeated != 5 || m.count.Diverged != 1 {
		t.Errorf("complete %v, %+v", a.complete, m.count)
	}
}

// TestUnseenEpoch: an epoch that went by while the reader was cut off is refilled
// as a whole, in its place.
func TestUnseenEpoch(t *testing.T) {
	m := newTester(1)
	m.bring(7, 0, 10, false)
	m.bring(9, 0, 10, false)
	m.follows(9, 8, 30, 0)
	m.follows(9, 8, 30, 0) // a hello comes often
	a := only(t, m.pump(), doRequest)
	if a.span != (Span{7, 0, 10, Open}) {
		t.Fatalf("asked for %v", a.span)
	}
	m.machine.done(m.now, a.id, 10, true, true)
	got := m.pump()
	if len(got) != 2 || got[0].do != doBegin || got[0].epoch != 8 || got[1].span != (Span{8, 0, 0, 30}) {
		t.Fatalf("wants %+v", got)
	}
	m.bring(8, 0, 30, true)
	m.machine.done(m.now, got[1].id, 30, false, true)
	if got = m.pump(); len(got) != 2 || got[0].epoch != 9 || got[1].do != doDeliver {
		t.Fatalf("wants %+v", got)
	}
	if m.count.Broken != 0 || !m.idle() {
		t.Errorf("%+v, idle %v", m.count, m.idle())
	}
}

// TestFollowsIsHeldAgainstTheHash: the epoch before went otherwise than its
// publisher says.
func TestFollowsIsHeldAgainstTheHash(t *testing.T) {
	m := newTester(1)
	m.bring(7, 0, 10, false)
	m.mark(8, 0)
	m.follows(8, 7, 10, 12345)
	if m.count.Diverged != 1 {
		t.Errorf("%+v", m.count)
	}
	m = newTester(1)
	m.bring(7, 0, 10, false)
	m.mark(8, 0)
	m.follows(8, 7, 5, 0)
	if m.count.Contradicted != 1 {
		t.Errorf("%+v", m.count)
	}
}

// TestCrowd: a publisher that begins epoch after epoch does not fill the memory,
// though no server answers, and what that costs is told.
func TestCrowd(t *testing.T) {
	m := newTester(1)
	for e := range wire.Epoch(3 * liveMax) {
		if m.bring(e+1, 5, 5, false) == drop {
			t.Fatalf("epoch %d was dropped", e+1)
		}
		m.pump()
		if len(m.epochs) > liveMax+1 {
			t.Fatalf("%d epochs wait", len(m.epochs))
		}
	}
	lost, broken := 0, 0
	for _, a := range m.done {
		switch a.do {
		case doLost:
			lost++
		case doBroken:
			broken++
		}
	}
	if want := 2 * liveMax; lost < want-2 || broken < want-2 {
		t.Errorf("%d lost, %d broken, want about %d", lost, broken, want)
	}
}

// TestTooLargeToHold: a batch that is larger than all the room is refilled.
func TestTooLargeToHold(t *testing.T) {
	m := newTester(1)
	m.cfg.holdBytes = 500
	m.bring(7, 0, 1, false)
	m.bring(7, 2, 1, false)
	if m.bring(7, 3, 100, false) != drop || m.held != 0 || m.count.Evicted != 101 {
		t.Errorf("holds %d, %+v", m.held, m.count)
	}
	if a := only(t, m.pump(), doRequest); a.span.To != 103 {
		t.Errorf("asked for %v", a.span)
	}
}

// TestMemoryIsUsedAgain: what was held gives its memory to what is held next, within
// bounds.
func TestMemoryIsUsedAgain(t *testing.T) {
	m := newTester(1)
	b := numbered(7, 0, 1, 0, 10, 16)
	m.bring(7, 0, 10, false)
	next := wire.Seq(10)
	round := func() {
		b.FirstSeq = next + 10
		v := m.offer(b, false)
		v.hold.fill(b, false)
		b.FirstSeq = next
		if v = m.offer(b, true); v.what != deliver {
			t.Fatal("not delivered")
		}
		for m.next(m.now).do != doNothing {
		}
		next += 20
	}
	round()
	if allocs := testing.AllocsPerRun(100, round); allocs > 1 { // the list of what is held
		t.Errorf("%v allocations to hold a batch", allocs)
	}
	if m.spare > m.cfg.holdBytes/8 {
		t.Errorf("%d bytes are kept", m.spare)
	}
}

func TestWords(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{CommandRefill.String(), "refill"}, {Command(99).String(), "command 99"},
		{CodeGone.String(), "gone"}, {Code(0).String(), "code 0"}, {Code(99).String(), "code 99"},
		{ReasonNoAnswer.String(), "no server answers"}, {Reason(99).String(), "unknown reason"},
		{(&RequestError{Code: CodeBusy}).Error(), "resync: server: busy"},
		{(&RequestError{Code: CodeBusy, Text: "full"}).Error(), "resync: server: busy: full"},
		{(&LostError{Span: Span{7, 2, 5, 9}, Reason: ReasonGone}).Error(), "resync: shard 2: sequences [5, 9) of epoch 7 are lost: gone at every server"},
		{(&LostError{Span: Span{7, 2, 5, Open}}).Error(), "resync: shard 2: epoch 7 went without an end at sequence 5"},
	} {
		if tc.got != tc.want {
			t.Errorf("%q, want %q", tc.got, tc.want)
		}
	}
	for r := ReasonNoServer; r < reasons; r++ {
		if strings.Contains(r.String(), "unknown reason") {
			t.Errorf("reason %d has no words", r)
		}
	}
	for c := Code(0); c < 20; c++ {
		if r := reasonOf(c); r == 0 || r >= reasons {
			t.Errorf("%v is reason %d", c, r)
		}
	}
}

// TestFullAndReady: where the room is full and what is held can be delivered, that
// comes first: nothing is dropped.
func TestFullAndReady(t *testing.T) {
	m := newTester(1)
	m.bring(7, 0, 10, false)
	next := wire.Seq(20)
	for m.cfg.holdBytes = 5000; !m.full(numbered(7, 0, 1, next, 10, 16)); next += 10 {
		m.bring(7, next, 10, false)
	}
	m.bring(7, 10, 10, true)
	if v := m.offer(numbered(7, 0, 1, next, 10, 16), false); v.what != busy {
		t.Fatalf("verdict %d where something must be delivered first", v.what)
	}
	if m.bring(7, next, 10, false) != hold || m.count.Evicted != 0 {
		t.Errorf("%+v", m.count)
	}
	m.pump()
	if m.count.Evicted != 0 || m.epochs[0].next != next+10 {
		t.Errorf("came to %d of %d, %+v", m.epochs[0].next, next+10, m.count)
	}
}

// TestGivesUpWhatNobodyHas: when a gap has been asked for often enough, only what no
// server says that it has is given up: one has what lies behind a hole, the other says
// again and again that nothing is there yet.
func TestGivesUpWhatNobodyHas(t *testing.T) {
	m := newTester(2)
	m.bring(7, 0, 10, false)
	m.bring(7, 90, 10, false)
	var lost []Span
	for m.epochs[0].next < 90 {
		for _, a := range m.pump() {
			switch {
			case a.do == doLost:
				lost = append(lost, a.span)
			case a.do != doRequest:
			case a.server == 0:
				m.failed(m.now, a.id, failure{reason: ReasonNotYet, next: a.span.From})
			case a.span.From < 30:
				m.failed(m.now, a.id, failure{reason: ReasonGone, next: a.span.From, skip: 30})
			default:
				m.bring(7, a.span.From, int(a.span.To-a.span.From), true)
				m.machine.done(m.now, a.id, a.span.To, false, true)
			}
		}
		at, ok := m.wake()
		if !ok {
			break
		}
		m.now = max(m.now, at)
	}
	m.pump()
	want := Span{Epoch: 7, From: 10, To: 30}
	if len(lost) != 1 || lost[0] != want || m.epochs[0].next != 100 {
		t.Errorf("lost %v, at %d; want %v", lost, m.epochs[0].next, want)
	}
}

// TestUnknownEpochIsAskedForOnce: when every server has said over all rounds that it does
// not know an epoch, further gaps of it are asked for in one round each, not in all: an
// epoch with many gaps would hold up what follows for minutes.
func TestUnknownEpochIsAskedForOnce(t *testing.T) {
	m := newTester(2)
	for first := wire.Seq(0); first < 3000; first += 1000 {
		m.bring(7, first, 10, false)
	}
	asked := map[wire.Seq]int{}
	for len(m.epochs[0].held) > 0 {
		for _, a := range m.pump() {
			if a.do == doRequest {
				asked[a.span.From]++
				m.failed(m.now, a.id, failure{reason: ReasonUnknown, next: a.span.From})
			}
		}
		if at, ok := m.wake(); ok {
			m.now = max(m.now, at)
		}
	}
	if len(asked) != 2 || asked[10] != 2*3 || asked[1010] != 2 {
		t.Errorf("asked %v times", asked)
	}
}

// TestProgressIsNoFailure: requests that bring something and then fail are no attempts in
// vain, however many of them a gap takes: only those in a row that bring nothing count.
func TestProgressIsNoFailure(t *testing.T) {
	m := newTester(2)
	m.bring(7, 0, 10, false)
	m.bring(7, 90, 10, false)
	for requests := 0; requests < 100 && m.epochs[0].next < 90; {
		for _, a := range m.pump() {
			switch a.do {
			case doLost:
				t.Fatalf("lost %v after %d requests, each of which brought a record", a.span, requests)
			case doRequest:
				requests++
				m.bring(7, a.span.From, 1, true)
				m.failed(m.now, a.id, failure{reason: ReasonFailed, next: a.span.From + 1})
			}
		}
		if at, ok := m.wake(); ok {
			m.now = max(m.now, at)
		}
	}
	if m.pump(); m.epochs[0].next != 100 {
		t.Errorf("at %d, want 100", m.epochs[0].next)
	}
}

// ids are the epochs in the order in which they are delivered.
func (m *tester) ids() []wire.Epoch {
	var ids []wire.Epoch
	for _, e := range m.epochs {
		ids = append(ids, e.id)
	}
	return ids
}

// TestOpenKeepsWhatCameBetween: epochs that the live stream has shown between two that a
// server names belong between them, though that server has nothing of them.
func TestOpenKeepsWhatCameBetween(t *testing.T) {
	m := newTester(1)
	m.wait()
	for _, epoch := range []wire.Epoch{5, 8, 9, 10, 11} {
		m.bring(epoch, 0, 10, false)
	}
	m.open([]start{{5, 3}, {7, 15}, {10, 0}}, []wire.Epoch{4})
	if got, want := m.ids(), []wire.Epoch{5, 7, 8, 9, 10, 11}; !slices.Equal(got, want) {
		t.Errorf("epochs %v, want %v", got, want)
	}
	// Which of 8 and 12 came first nobody says. The stream will show 12, if it is the
	// newer one.
	m = newTester(1)
	m.wait()
	for _, epoch := range []wire.Epoch{5, 8, 9} {
		m.bring(epoch, 0, 10, false)
	}
	m.open([]start{{5, 3}, {12, 0}}, nil)
	m.bring(12, 0, 10, false)
	if got := m.ids(); !slices.Equal(got, []wire.Epoch{5, 8, 9, 12}) {
		t.Errorf("epochs %v, want 12 behind what was seen", got)
	}
	m = newTester(1)
	m.wait()
	m.bring(9, 0, 10, false)
	if m.open([]start{{5, 3}, {7, 0}}, nil); !slices.Equal(m.ids(), []wire.Epoch{5, 7, 9}) {
		t.Errorf("epochs %v, want those before the stream was joined in front", m.ids())
	}
	m = newTester(1)
	m.wait()
	m.bring(8, 0, 10, false)
	m.bring(9, 0, 10, false)
	if m.open([]start{{5, 3}, {7, 0}, {12, 0}}, nil); !slices.Equal(m.ids(), []wire.Epoch{5, 7, 8, 9, 12}) {
		t.Errorf("epochs %v, want them by number where nothing else says their order", m.ids())
	}
	m = newTester(1)
	m.wait()
	for _, epoch := range []wire.Epoch{6, 9} {
		m.bring(epoch, 0, 10, false)
	}
	if m.open([]start{{5, 3}, {7, 0}, {9, 0}}, nil); !slices.Equal(m.ids(), []wire.Epoch{5, 6, 7, 9}) {
		t.Errorf("epochs %v, want them by number where nothing else says their order", m.ids())
	}
	m = newTester(1)
	m.wait()
	for _, epoch := range []wire.Epoch{6, 7, 8} {
		m.bring(epoch, 0, 10, false)
	}
	if m.open([]start{{7, 5}}, nil); len(m.epochs) != 2 || m.epochs[0].id != 7 || m.epochs[1].id != 8 {
		t.Errorf("what came before the first one is not older")
	}
}

// TestMuteServerIsNoAnswer: where one of the servers did not answer, it may have what
// the others do not know: the next gap has all its attempts. Others do not wait for it.
func TestMuteServerIsNoAnswer(t *testing.T) {
	m := newTester(2)
	for first := wire.Seq(0); first < 3000; first += 1000 {
		m.bring(7, first, 10, false)
	}
	asked := map[wire.Seq][2]int{}
	for len(m.epochs[0].held) > 0 {
		for _, a := range m.pump() {
			if a.do == doRequest {
				n := asked[a.span.From]
				n[a.server]++
				asked[a.span.From] = n
				m.failed(m.now, a.id, failure{reason: []Reason{ReasonNoAnswer, ReasonUnknown}[a.server]})
			}
		}
		if at, ok := m.wake(); ok {
			m.now = max(m.now, at)
		}
	}
	for _, n := range asked {
		if len(asked) != 2 || n[0] != 3 || n[1] <= 3 {
			t.Errorf("asked %v times", asked)
		}
	}
}
