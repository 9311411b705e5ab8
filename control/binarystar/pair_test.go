package binarystar

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const beat = 20 * time.Millisecond

// half is one server of a pair in a test.
type half struct {
	*Pair
	became chan Outcome
	stop   func()
}

func endpoints(t *testing.T) [2]string {
	dir := t.TempDir()
	return [2]string{"ipc://" + filepath.Join(dir, "a"), "ipc://" + filepath.Join(dir, "b")}
}

func start(t *testing.T, cfg Config) *half {
	t.Helper()
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = beat
	}
	// Expiry is long beside the heartbeat, so that a busy machine is no failure.
	if cfg.Expiry == 0 {
		cfg.Expiry = 25 * cfg.Heartbeat
	}
	h := &half{became: make(chan Outcome, 100)}
	tell := func(s State) func(uint64, string) {
		return func(e uint64, why string) { h.became <- Outcome{Became: s, Epoch: e, Reason: why} }
	}
	if cfg.OnActive == nil {
		cfg.OnActive = tell(Active)
	}
	cfg.OnPassive = tell(Passive)
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.Pair = p
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ended, p.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(h.stop)
	return h
}

func (h *half) want(t *testing.T, s State) Outcome {
	t.Helper()
	out := <-h.became
	if out.Became != s {
		t.Fatalf("became %v (%s), want %v", out.Became, out.Reason, s)
	}
	return out
}

// acceptAtLast asks until it is served: what a client does.
func (h *half) acceptAtLast(t *testing.T) {
	t.Helper()
	for h.Accept(t.Context()) != "" {
		time.Sleep(time.Millisecond)
	}
}

func startBoth(t *testing.T) (at [2]string, a, b *half) {
	at = endpoints(t)
	a = start(t, Config{Role: Primary, Bind: at[0], Peer: at[1]})
	b = start(t, Config{Role: Backup, Bind: at[1], Peer: at[0]})
	a.want(t, Active)
	b.want(t, Passive)
	return at, a, b
}

func TestFailover(t *testing.T) {
	at, a, b := startBoth(t)
	if refused := b.Accept(t.Context()); refused != RefusedPassive {
		t.Errorf("refused %q while the primary is active", refused)
	}
	if refused := a.Accept(t.Context()); refused != "" {
		t.Errorf("the active one refused: %q", refused)
	}
	_, before := a.State()
	a.stop()
	b.acceptAtLast(t)
	out := b.want(t, Active)
	if out.Epoch <= before {
		t.Errorf("epoch %d after %d", out.Epoch, before)
	}
	a = start(t, Config{Role: Primary, Bind: at[0], Peer: at[1]})
	if got := a.want(t, Passive); got.Epoch != out.Epoch {
		t.Errorf("the primary came back in epoch %d, want %d", got.Epoch, out.Epoch)
	}
	if s := a.Status(); s.State != "passive" || s.Peer != "active" || s.Role != "primary" || s.Reason == "" {
		t.Errorf("status %+v", s)
	}
	b.stop()
	a.acceptAtLast(t)
	if got := a.want(t, Active); got.Epoch <= out.Epoch {
		t.Errorf("epoch %d after %d", got.Epoch, out.Epoch)
	}
}

// TestFarewell: who is told to end says so, and the other one does not wait for silence.
func TestFarewell(t *testing.T) {
	at := endpoints(t)
	asks := func(context.Context) error { return nil }
	a := start(t, Config{Role: Primary, Bind: at[0], Peer: at[1], Expiry: time.Hour})
	b := start(t, Config{Role: Backup, Bind: at[1], Peer: at[0], Expiry: time.Hour, Vote: asks, OnPassiveNote: func(note []byte) { t.Errorf("the note %q", note) }})
	a.want(t, Active)
	b.want(t, Passive)
	a.stop()
	b.want(t, Active)
	a = start(t, Config{Role: Primary, Bind: at[0], Peer: at[1], Expiry: time.Hour})
	a.want(t, Passive)
	for b.Status().Silent { // it is heard again
		time.Sleep(time.Millisecond)
	}
	a.stop()
	for !b.Status().Silent {
		time.Sleep(time.Millisecond)
	}
}

// TestVoter: nobody asks anything, and the backup takes over all the same, because
// its own voter reaches it.
func TestVoter(t *testing.T) {
	at := endpoints(t)
	a := start(t, Config{Role: Primary, Bind: at[0], Peer: at[1]})
	reached := make(chan struct{}, 100)
	cut := make(chan struct{})
	b := start(t, Config{Role: Backup, Bind: at[1], Peer: at[0], Vote: func(context.Context) error {
		select {
		case <-cut:
		default:
			reached <- struct{}{}
			return errors.New("no way")
		}
		return nil
	}})
	a.want(t, Active)
	b.want(t, Passive)
	a.stop()
	<-reached
	<-reached
	if s, _ := b.State(); s != Passive {
		t.Errorf("%v by a vote that failed", s)
	}
	close(cut)
	b.want(t, Active)
	if s := b.Status(); s.Votes == 0 || s.Accepted != 0 {
		t.Errorf("status %+v", s)
	}
}

// TestNotes: what the active one says goes with its announcements, at once; what a
// passive one says, too, to who asks for that.
func TestNotes(t *testing.T) {
	at := endpoints(t)
	heard := [2]chan string{make(chan string, 1000), make(chan string, 1000)}
	passive := make(chan string, 1000)
	cfg := func(r Role) Config {
		return Config{Role: r, Bind: at[r], Peer: at[1-r], Heartbeat: time.Hour, OnNote: func(b []byte) { heard[r] <- string(b) },
			OnPassiveNote: func(b []byte) { passive <- string(b) }}
	}
	b := start(t, cfg(Backup))
	if err := b.SetNote([]byte("passive")); err != nil {
		t.Fatal(err)
	}
	a := start(t, cfg(Primary))
	if err := a.SetNote(make([]byte, NoteMax+1)); err == nil {
		t.Error("a note that is too long was taken")
	}
	// A subscription takes its way, and what is announced before is not repeated for an
	// hour.
	for i := 0; a.Status().Peer == "never heard" || b.Status().Peer == "never heard"; i++ {
		if err := errors.Join(a.SetNote([]byte("first")), b.SetNote([]byte("passive"))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	a.want(t, Active)
	b.want(t, Passive)
	if err := a.SetNote([]byte("second")); err != nil {
		t.Fatal(err)
	}
	for got := range heard[1] {
		if got == "second" {
			break
		}
		if got != "first" {
			t.Errorf("heard %q", got)
		}
	}
	if s := b.Status(); s.Malformed != 0 {
		t.Errorf("status %+v", s)
	}
	if err := b.SetNote([]byte("stands by")); err != nil {
		t.Fatal(err)
	}
	for got := range passive {
		if got == "stands by" {
			break
		}
		if got != "passive" {
			t.Errorf("heard %q of the passive one", got)
		}
	}
	if err := a.Promote(t.Context(), false); err != nil || len(heard[0]) != 0 {
		t.Errorf("%v; heard %d notes of the passive one", err, len(heard[0]))
	}
}

// TestForcedPromotion: the one that was active yields.
func TestForcedPromotion(t *testing.T) {
	_, a, b := startBoth(t)
	if err := b.Promote(t.Context(), false); !errors.Is(err, ErrPeerActive) {
		t.Errorf("promoted: %v", err)
	}
	if err := b.Promote(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	b.want(t, Active)
	a.want(t, Passive)
	if s := a.Status(); s.Yields != 1 {
		t.Errorf("status %+v", s)
	}
	if refused := a.Accept(t.Context()); refused != RefusedPassive {
		t.Errorf("refused %q", refused)
	}
}

func TestNothingIsAcceptedBeforeOnActive(t *testing.T) {
	at := endpoints(t)
	var begun, through sync.WaitGroup
	begun.Add(1)
	through.Add(1)
	done := make(chan bool, 1)
	b := start(t, Config{Role: Backup, Bind: at[1], Peer: at[0], OnActive: func(uint64, string) {
		begun.Done()
		through.Wait()
		done <- true
	}})
	promoted := make(chan error, 1)
	go func() { promoted <- b.Promote(context.Background(), false) }()
	begun.Wait()
	accepted := make(chan Refusal, 1)
	go func() { accepted <- b.Accept(context.Background()) }()
	select {
	case <-accepted:
		t.Error("accepted before OnActive had returned")
	case <-time.After(2 * beat): // a chance to go wrong; nothing waits for it
	}
	through.Done()
	if refused := <-accepted; refused != "" || !<-done {
		t.Errorf("refused %q", refused)
	}
	if err := <-promoted; err != nil {
		t.Error(err)
	}
}

func TestEpochIsKept(t *testing.T) {
	dir, at := t.TempDir(), endpoints(t)
	var last uint64
	for range 3 {
		h := start(t, Config{Role: Primary, Bind: at[0], Peer: at[1], Dir: dir})
		if err := h.Promote(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		out := h.want(t, Active)
		if out.Epoch <= last {
			t.Errorf("epoch %d after %d", out.Epoch, last)
		}
		last = out.Epoch
		h.stop()
	}
}

// TestPeersEpochIsKept: a server that comes back alone is not active in an epoch
// before one that it has heard of.
func TestPeersEpochIsKept(t *testing.T) {
	dir := t.TempDir()
	at, a, b := startBoth(t)
	a.stop()
	b.acceptAtLast(t)
	was := b.want(t, Active).Epoch
	a = start(t, Config{Role: Primary, Bind: at[0], Peer: at[1], Dir: dir})
	a.want(t, Passive)
	b.stop()
	a.stop()
	a = start(t, Config{Role: Primary, Bind: at[0], Peer: at[1], Dir: dir})
	a.acceptAtLast(t)
	if e := a.want(t, Active).Epoch; e <= was {
		t.Errorf("active in epoch %d, the peer was in %d", e, was)
	}
}

func TestForeignAnnouncements(t *testing.T) {
	at := endpoints(t)
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ctx.Close(); err != nil {
			t.Error(err)
		}
	})
	pub, err := ctx.NewSocket(zsock.PUB, zsock.SocketConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pub.Close() })
	if _, err := pub.Bind(at[0]); err != nil {
		t.Fatal(err)
	}
	warned := make(chan error, 100)
	b := start(t, Config{Role: Backup, Bind: at[1], Peer: at[0], Warn: func(err error) { warned <- err }})
	for b.Status().Malformed < 3 {
		for _, m := range [][][]byte{{[]byte("9")}, {[]byte("3"), []byte("more")}, {[]byte("hello")}} {
			if err := pub.SendFrames(m...); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Millisecond)
	}
	if s, _ := b.State(); s != WaitingBackup {
		t.Errorf("%v by what is no announcement", s)
	}
	if err := <-warned; !strings.Contains(err.Error(), at[0]) {
		t.Errorf("warned of %v, without the place", err)
	}
	if len(warned) != 0 {
		t.Errorf("%d more warnings", len(warned))
	}
}

func TestBadConfig(t *testing.T) {
	for _, cfg := range []Config{
		{}, {Bind: "inproc://a"}, {Bind: "inproc://a", Peer: "inproc://b", Role: 2},
		{Bind: "inproc://a", Peer: "inproc://b", Expiry: time.Second}, {Bind: "nonsense", Peer: "inproc://b"},
	} {
		if p, err := New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
			_ = p.Close()
		}
	}
}

// TestPythonPeer: a server written from the pattern's description, in both roles. Ours
// comes second, so it is the other one that is active where it is the primary.
func TestPythonPeer(t *testing.T) {
	python := zsocktest.Python(t)
	for role, theirs := range map[Role]string{Primary: "backup", Backup: "primary"} {
		t.Run("with "+theirs, func(t *testing.T) {
			at := endpoints(t)
			their := startPython(t, python, theirs, at[1], at[0])
			h := start(t, Config{Role: role, Bind: at[0], Peer: at[1], Compatible: true})
			if role == Primary {
				h.want(t, Active)
				their.want(t, "4")
				h.stop()
				their.askUntil(t, "3")
				h = start(t, Config{Role: role, Bind: at[0], Peer: at[1], Compatible: true})
				h.want(t, Passive)
				return
			}
			h.want(t, Passive)
			their.want(t, "3")
			their.stop()
			h.acceptAtLast(t)
			h.want(t, Active)
		})
	}
}

// pythonPeer is testdata/peer.py.
type pythonPeer struct {
	in     io.WriteCloser
	states chan string
	stop   func()
}

func startPython(t *testing.T, python, role, bind, peer string) *pythonPeer {
	t.Helper()
	cmd := exec.Command(python, "testdata/peer.py", role, bind, peer)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &pythonPeer{in: in, states: make(chan string, 100)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.states <- lines.Text()
		}
		close(p.states)
	}()
	p.stop = sync.OnceFunc(func() {
		_ = in.Close()
		<-read
		if err := cmd.Wait(); err != nil {
			t.Errorf("the peer ended with %v", err)
		}
	})
	t.Cleanup(p.stop)
	return p
}

func (p *pythonPeer) want(t *testing.T, state string) {
	t.Helper()
	if got, ok := <-p.states; !ok || got != state {
		t.Fatalf("the peer went to %q, want %q", got, state)
	}
}

// askUntil asks the peer as a client does until it goes to a state.
func (p *pythonPeer) askUntil(t *testing.T, state string) {
	t.Helper()
	for {
		if _, err := io.WriteString(p.in, "request\n"); err != nil {
			t.Fatal(err)
		}
		select {
		case got, ok := <-p.states:
			if !ok || got != state {
				t.Fatalf("the peer went to %q, want %q", got, state)
			}
			return
		case <-time.After(time.Millisecond):
		}
	}
}
