package binarystar

import (
	"math/rand/v2"
	"testing"
	"time"
)

const expiry = 2 * time.Second

// Events of the specification: the peer's state, or a client's request.
const clientRequest = State(5)

// at returns a machine in a state, whose peer was heard at 0 unless it waits.
func at(t *testing.T, s State) *Machine {
	t.Helper()
	role := Primary
	if s == WaitingBackup {
		role = Backup
	}
	m := NewMachine(MachineConfig{Role: role, Expiry: expiry}, 0)
	switch s {
	case Active:
		m.Peer(0, WaitingBackup, 0)
	case Passive:
		m.Peer(0, Active, 0)
	}
	if m.state != s {
		t.Fatalf("state %v, want %v", m.state, s)
	}
	return m
}

// TestTransitions holds every pair of state and event against the specification's
// table, and against what is done otherwise.
func TestTransitions(t *testing.T) {
	for _, tc := range []struct {
		state, event State
		silent       bool // the peer has been, for longer than it may
		want         State
		refused      Refusal
	}{
		{WaitingPrimary, WaitingPrimary, false, WaitingPrimary, ""},
		{WaitingPrimary, WaitingBackup, false, Active, ""},
		{WaitingPrimary, Active, false, Passive, ""},
		{WaitingPrimary, Passive, false, WaitingPrimary, ""},
		{WaitingPrimary, clientRequest, false, WaitingPrimary, RefusedWaiting}, // the guide accepts
		{WaitingPrimary, clientRequest, true, Active, ""},

		{WaitingBackup, WaitingPrimary, false, WaitingBackup, ""},
		{WaitingBackup, WaitingBackup, false, WaitingBackup, ""},
		{WaitingBackup, Active, false, Passive, ""},
		{WaitingBackup, Passive, false, WaitingBackup, ""},
		{WaitingBackup, clientRequest, false, WaitingBackup, RefusedBackup},
		{WaitingBackup, clientRequest, true, WaitingBackup, RefusedBackup},

		{Active, WaitingPrimary, false, Active, ""},
		{Active, WaitingBackup, false, Active, ""},
		{Active, Active, false, Active, ""}, // the guide stops; a primary stays where no epoch is said
		{Active, Passive, false, Active, ""},
		{Active, clientRequest, false, Active, ""},
		{Active, clientRequest, true, Active, ""},

		{Passive, WaitingPrimary, false, Active, ""},
		{Passive, WaitingBackup, false, Active, ""},
		{Passive, Active, false, Passive, ""},
		{Passive, Passive, false, Active, ""}, // the guide stops; the primary goes
		{Passive, clientRequest, false, Passive, RefusedPassive},
		{Passive, clientRequest, true, Active, ""},
	} {
		m := at(t, tc.state)
		now := expiry / 2
		if tc.silent {
			now = expiry
		}
		var (
			refused Refusal
			out     Outcome
		)
		if tc.event == clientRequest {
			refused, out = m.Request(now)
		} else {
			out = m.Peer(now, tc.event, 0)
		}
		if m.state != tc.want || refused != tc.refused {
			t.Errorf("%d, event %d, silent %v: state %d, refused %q, want %d, %q", tc.state, tc.event, tc.silent, m.state, refused, tc.want, tc.refused)
		}
		if (out.Became != 0) != (tc.want != tc.state) {
			t.Errorf("%d, event %d: outcome %+v", tc.state, tc.event, out)
		}
	}
}

func TestBackupYieldsToPrimaryWithoutEpochs(t *testing.T) {
	m := NewMachine(MachineConfig{Role: Backup, Expiry: expiry}, 0)
	m.Promote(0, false)
	if out := m.Peer(1, Active, 0); out.Became != Passive {
		t.Errorf("outcome %+v", out)
	}
}

// TestStartRule: a primary that starts again while its backup is active serves
// nobody until it has heard it, or waited out the expiry.
func TestStartRule(t *testing.T) {
	m := NewMachine(MachineConfig{Role: Primary, Expiry: expiry}, 0)
	if refused, _ := m.Request(expiry - 1); refused != RefusedWaiting {
		t.Errorf("refused %q before the backup was heard", refused)
	}
	m.Peer(expiry-1, Active, 7)
	if refused, _ := m.Request(expiry); refused != RefusedPassive {
		t.Errorf("refused %q beside an active backup", refused)
	}
	if _, e := m.State(); e != 7 {
		t.Errorf("epoch %d, want the backup's", e)
	}
}

func TestSilenceAloneDoesNotPromote(t *testing.T) {
	m := at(t, Passive)
	for now := time.Duration(0); now < time.Hour; now += expiry {
		if _, until := m.PeerState(); until > expiry {
			t.Fatal("silence counts as a sign of life")
		}
		if s, _ := m.State(); s != Passive {
			t.Fatal("promoted by silence")
		}
	}
	if out := m.Vote(time.Hour); out.Became != Active || out.Epoch != 2 {
		t.Errorf("outcome %+v of a vote after the silence", out)
	}
}

func TestLoneBackupIsPromotedByOperator(t *testing.T) {
	m := at(t, WaitingBackup)
	if out := m.Vote(time.Hour); out.Became != 0 {
		t.Errorf("a lone backup became %v by a vote", out.Became)
	}
	out, ok := m.Promote(time.Hour, false)
	if !ok || out.Became != Active || out.Epoch != 1 {
		t.Errorf("outcome %+v", out)
	}
	if refused, _ := m.Request(time.Hour); refused != "" {
		t.Errorf("refused %q", refused)
	}
}

func TestPromoteBesideAnActivePeer(t *testing.T) {
	m := at(t, Passive)
	if _, ok := m.Promote(1, false); ok {
		t.Error("promoted beside an active peer")
	}
	if out, ok := m.Promote(1, true); !ok || out.Became != Active {
		t.Error("force did not promote")
	}
}

// TestLaterEpochWins: two are active; the one of the earlier epoch yields, the other
// fences it.
func TestLaterEpochWins(t *testing.T) {
	old := at(t, Active) // epoch 2
	young := NewMachine(MachineConfig{Role: Backup, Expiry: expiry}, 0)
	young.Peer(0, Active, 2)
	if refused, out := young.Request(expiry); refused != "" || out.Epoch != 3 {
		t.Fatalf("outcome %+v, refused %q", out, refused)
	}
	if out := young.Peer(expiry+1, Active, 2); out.Became != 0 || !out.Announce {
		t.Errorf("outcome %+v of a fenced announcement", out)
	}
	if c := young.Counters(); c.Fenced != 1 {
		t.Errorf("%d fenced, want 1", c.Fenced)
	}
	if _, until := young.PeerState(); until != expiry {
		t.Error("a fenced announcement is a sign of life")
	}
	if out := old.Peer(expiry+1, Active, 3); out.Became != Passive {
		t.Errorf("outcome %+v of a later epoch", out)
	}
	if c := old.Counters(); c.Yields != 1 {
		t.Errorf("%d yields, want 1", c.Yields)
	}
}

// TestActiveThatForgot: a server that lost its epochs and became active hears from
// its passive peer of a later one, and begins one that is later still.
func TestActiveThatForgot(t *testing.T) {
	m := at(t, Active)
	out := m.Peer(1, Passive, 9)
	if out.Became != Active || out.Epoch != 10 {
		t.Errorf("outcome %+v", out)
	}
}

func TestEpochSurvivesRestart(t *testing.T) {
	m := NewMachine(MachineConfig{Role: Primary, Expiry: expiry, Epoch: 8}, 0)
	if out := m.Peer(1, WaitingBackup, 3); out.Epoch != 10 {
		t.Errorf("epoch %d, want 10", out.Epoch)
	}
}

func TestFailback(t *testing.T) {
	m := NewMachine(MachineConfig{Role: Backup, Expiry: expiry, Failback: 10 * time.Second}, 0)
	m.Promote(0, false)
	m.Peer(1*time.Second, Passive, 1)
	m.Peer(2*time.Second, WaitingPrimary, 1) // it died in between
	m.Peer(3*time.Second, Passive, 1)
	if out := m.Peer(12*time.Second, Passive, 1); out.Became != 0 {
		t.Fatalf("outcome %+v too early", out)
	}
	if out := m.Peer(13*time.Second, Passive, 1); out.Became != Passive {
		t.Fatalf("outcome %+v", out)
	}
	primary := at(t, Passive)
	if out := primary.Peer(1, Passive, 1); out.Became != Active || out.Epoch != 2 {
		t.Errorf("the primary became %+v", out)
	}
}

func TestSameRoleIsCounted(t *testing.T) {
	m := at(t, WaitingPrimary)
	m.Peer(1, WaitingPrimary, 0)
	if c := m.Counters(); c.SameRole != 1 {
		t.Errorf("counted %d", c.SameRole)
	}
}

// TestPair runs two machines over a link that loses, delays and breaks, with clients
// that reach either, over many seeds: no two epochs are the same, epochs of a machine
// grow, and once the link is well again one is active, and one alone.
func TestPair(t *testing.T) {
	for seed := range uint64(3000) {
		runPair(t, seed)
	}
}

type flight struct {
	to    int
	due   time.Duration
	state State
	epoch uint64
}

type pairRun struct {
	t       *testing.T
	seed    uint64
	m       [2]*Machine
	saved   [2]uint64 // epochs that survive a restart
	led     map[uint64]int
	flights []flight
	random  *rand.Rand
}

func runPair(t *testing.T, seed uint64) {
	r := &pairRun{t: t, seed: seed, led: map[uint64]int{}, random: rand.New(rand.NewPCG(seed, 1))}
	for i := range r.m {
		r.start(i, 0)
	}
	const step = 100 * time.Millisecond
	var (
		now    time.Duration
		broken [2]bool // the link towards each
	)
	for n := range 1000 {
		now += step
		calm := n >= 800
		if r.random.IntN(50) == 0 {
			broken[r.random.IntN(2)] = r.random.IntN(2) == 0 && !calm
		}
		if calm {
			broken = [2]bool{}
		}
		if !calm && r.random.IntN(100) == 0 {
			r.start(r.random.IntN(2), now)
		}
		for i, m := range r.m {
			if n%10 == i {
				s, e := m.State()
				if !broken[1-i] && (calm || r.random.IntN(10) > 0) {
					r.flights = append(r.flights, flight{1 - i, now + time.Duration(r.random.IntN(3))*step, s, e})
				}
			}
			if r.random.IntN(20) == 0 {
				_, out := m.Request(now)
				r.note(i, out)
			}
		}
		r.deliver(now)
	}
	a, ea := r.m[0].State()
	b, eb := r.m[1].State()
	if (a == Active) == (b == Active) || ea != eb {
		t.Errorf("seed %d: %v in epoch %d and %v in epoch %d at the end", seed, a, ea, b, eb)
	}
}

func (r *pairRun) start(i int, now time.Duration) {
	r.m[i] = NewMachine(MachineConfig{Role: Role(i), Expiry: expiry, Epoch: r.saved[i]}, now)
}

func (r *pairRun) deliver(now time.Duration) {
	kept := r.flights[:0]
	for _, f := range r.flights {
		if f.due > now {
			kept = append(kept, f)
			continue
		}
		r.note(f.to, r.m[f.to].Peer(now, f.state, f.epoch))
	}
	r.flights = kept
}

// note takes down an epoch that began.
func (r *pairRun) note(i int, out Outcome) {
	if out.Became != Active {
		return
	}
	if by, twice := r.led[out.Epoch]; twice {
		r.t.Fatalf("seed %d: epoch %d of %v was %v's", r.seed, out.Epoch, Role(i), Role(by))
	}
	if out.Epoch <= r.saved[i] {
		r.t.Fatalf("seed %d: epoch %d after %d", r.seed, out.Epoch, r.saved[i])
	}
	r.led[out.Epoch], r.saved[i] = i, out.Epoch
}

func TestAnnouncement(t *testing.T) {
	for _, tc := range []struct {
		s          State
		epoch      uint64
		compatible bool
		want       string
	}{
		{WaitingPrimary, 0, true, "1"}, {Passive, 9, true, "4"}, {Active, 7, false, "3 TPBS1 epoch=7"},
		{WaitingBackup, 1<<64 - 1, false, "2 TPBS1 epoch=18446744073709551615"},
	} {
		got := AppendAnnouncement(nil, tc.s, tc.epoch, tc.compatible)
		if string(got) != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
		s, e, err := ParseAnnouncement(got)
		if want := tc.epoch; err != nil || s != tc.s || !tc.compatible && e != want || tc.compatible && e != 0 {
			t.Errorf("%q is %v, epoch %d, %v", got, s, e, err)
		}
	}
	for note, want := range map[string]string{"": "3 TPBS1 epoch=7", "have=1 2": "3 TPBS1 epoch=7 have=1 2"} {
		got := AppendNote(AppendAnnouncement(nil, Active, 7, false), []byte(note))
		if s, e, err := ParseAnnouncement(got); string(got) != want || s != Active || e != 7 || err != nil || string(Note(got)) != note {
			t.Errorf("%q is %v in %d with %q, %v", got, s, e, Note(got), err)
		}
	}
	for _, bad := range []string{"", "0", "5", "x", "3 ", "3x", "3 TPBS2 epoch=7", "3 TPBS1 epoch=", "3 TPBS1 epoch=-1", "3 TPBS1 epoch=99999999999999999999"} {
		if _, _, err := ParseAnnouncement([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzParseAnnouncement(f *testing.F) {
	f.Add([]byte("3 TPBS1 epoch=7"))
	f.Add([]byte("3 TPBS1 epoch=7 have=1.2"))
	f.Add([]byte("1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, e, err := ParseAnnouncement(b)
		if err != nil {
			return
		}
		note := Note(b)
		again := AppendNote(AppendAnnouncement(nil, s, e, false), note)
		s2, e2, err := ParseAnnouncement(again)
		if err != nil || s2 != s || e2 != e || string(Note(again)) != string(note) {
			t.Errorf("%v %d %q came back as %v %d %q, %v", s, e, note, s2, e2, Note(again), err)
		}
	})
}
