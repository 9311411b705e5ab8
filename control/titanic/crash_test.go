package titanic

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// history is what a test did to a store: the state of all jobs after each record,
// kept by a second, simple account of what the operations mean.
type history struct {
	jobs   map[ID]string // everything that can be read of a job
	states []string      // after so many records
	synced int           // records that were acknowledged
	keys   map[string]ID
	bodies map[ID]string
	at     map[ID]State
	now    int64
	half   *compaction
}

func newHistory() *history {
	h := &history{jobs: map[ID]string{}, keys: map[string]ID{}, bodies: map[ID]string{}, at: map[ID]State{}, now: int64(time.Hour)}
	h.states = []string{h.state()}
	return h
}

// state is everything that is true now, as text.
func (h *history) state() string {
	lines := make([]string, 0, len(h.jobs))
	for id, s := range h.jobs {
		lines = append(lines, id.String()+" "+s+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func (h *history) record() { h.states = append(h.states, h.state()) }

// describe reads everything from a store, in the words of history.
func describe(s *store) (string, error) {
	var lines []string
	for id, e := range s.m.jobs {
		var content [][]byte
		var err error
		switch {
		case e.state.Pending():
			var body []byte
			if body, err = s.body(id, kindAdded); err == nil {
				var a added
				a, err = parseAdded(body)
				content = a.Frames
			}
		case e.state == Answered:
			content, err = s.reply(id)
		}
		if err != nil {
			return "", fmt.Errorf("%v, %v: %w", id, e.state, err)
		}
		lines = append(lines, fmt.Sprintf("%v %v %d %q %q\n", id, e.state, e.attempt, e.key, content))
	}
	slices.Sort(lines)
	return strings.Join(lines, ""), nil
}

// counted returns IDs that are the same in every run.
func counted() func() ID {
	n := uint64(0)
	return func() (id ID) {
		n++
		rng := rand.New(rand.NewPCG(n, 1))
		for i := range id {
			id[i] = byte(rng.Uint32())
		}
		return id
	}
}

// crashConfig is a store whose log is small, so that a short test fills it often.
func crashConfig(fsx fsys.FS) storeConfig {
	return storeConfig{fs: fsx, dir: "jobs", segment: 4096, jobs: 1000, bytes: 1 << 20,
		expire: time.Hour, forget: 1000 * time.Hour, newID: counted()}
}

// work does random things to the store until something fails or n are done.
func (h *history) work(s *store, rng *rand.Rand, n int) error {
	for range n {
		h.now++
		if err := h.one(s, rng); err != nil {
			return err
		}
		if rng.IntN(3) == 0 { // several share a sync
			if err := h.sync(s); err != nil {
				return err
			}
		}
	}
	return h.sync(s)
}

func (h *history) sync(s *store) error {
	lsn := s.appended
	if err := s.commit(lsn, true); err != nil {
		return err
	}
	h.synced = len(h.states) - 1
	return nil
}

func (h *history) one(s *store, rng *rand.Rand) error {
	id, ok := h.pick(rng)
	switch op := rng.IntN(22); {
	case op < 6 || !ok:
		return h.add(s, rng)
	case op < 10:
		return h.dispatch(s, id)
	case op < 14:
		return h.answer(s, id, rng)
	case op < 16:
		return h.end(s, id, []State{Cancelled, Expired, Failed}[rng.IntN(3)])
	case op < 19:
		return h.close(s, id)
	case h.half == nil:
		c, err := s.compaction(h.now)
		if err != nil {
			return err
		}
		if err := c.copy(); err != nil {
			return c.done(err)
		}
		h.half = c // other things happen before it is finished
		return nil
	default:
		c := h.half
		h.half = nil
		return c.done(c.finish())
	}
}

func (h *history) pick(rng *rand.Rand) (ID, bool) {
	ids := make([]ID, 0, len(h.at))
	for id := range h.at {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return ID{}, false
	}
	slices.SortFunc(ids, func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	return ids[rng.IntN(len(ids))], true
}

func (h *history) add(s *store, rng *rand.Rand) error {
	j := Job{Service: "echo", Body: [][]byte{[]byte(fmt.Sprint("job ", rng.IntN(20))), bytes.Repeat([]byte("x"), rng.IntN(1500))}}
	if rng.IntN(2) == 0 {
		j.Key = fmt.Sprint("key ", rng.IntN(30))
	}
	if known, ok := h.keys[j.Key]; ok {
		j.Body = [][]byte{[]byte(h.bodies[known])}
	} else if j.Key != "" {
		j.Body = j.Body[:1] // so that it can be repeated
	}
	id, created, _, err := s.add(&j, h.now)
	if err != nil {
		return err
	}
	if known, ok := h.keys[j.Key]; ok {
		if created || id != known {
			return fmt.Errorf("added twice: %q is %v, and was %v", j.Key, id, known)
		}
		return nil
	}
	if j.Key != "" {
		h.keys[j.Key], h.bodies[id] = id, string(j.Body[0])
	}
	h.bodies[id], h.at[id] = string(j.Body[0]), Stored
	h.jobs[id] = fmt.Sprintf("%v %d %q %q", Stored, 0, j.Key, j.Body)
	h.record()
	return nil
}

// words takes the description of a job apart.
func (h *history) words(id ID) (attempt int, key, content string) {
	var state string
	parts := strings.SplitN(h.jobs[id], " ", 3)
	state = parts[0]
	_ = state
	_, _ = fmt.Sscan(parts[1], &attempt)
	rest := parts[2]
	end := strings.Index(rest[1:], `"`) + 2
	return attempt, rest[:end], strings.TrimSpace(rest[end:])
}

func (h *history) set(id ID, s State, attempt int, key, content string) {
	h.at[id] = s
	h.jobs[id] = fmt.Sprintf("%v %d %s %s", s, attempt, key, content)
	h.record()
}

func (h *history) dispatch(s *store, id ID) error {
	_, err := s.dispatch(id, h.now)
	if !h.at[id].Pending() {
		return want(err, ErrUnknown)
	}
	attempt, key, content := h.words(id)
	if e := s.m.jobs[id]; e != nil && e.attempt > attempt { // also where reading the body has failed behind it
		h.set(id, Dispatched, attempt+1, key, content)
	}
	return err
}

func (h *history) answer(s *store, id ID, rng *rand.Rand) error {
	frames := [][]byte{[]byte(fmt.Sprint("reply ", rng.IntN(1000))), bytes.Repeat([]byte("y"), rng.IntN(700))}
	_, err := s.change(kindAnswered, id, h.now, appendFrames(nil, frames), nil)
	if !h.at[id].Pending() {
		return want(err, ErrState, ErrUnknown)
	}
	if err != nil {
		return err
	}
	attempt, key, _ := h.words(id)
	h.set(id, Answered, attempt, key, fmt.Sprintf("%q", frames))
	return nil
}

func (h *history) end(s *store, id ID, how State) error {
	_, err := s.change(kindEnded, id, h.now, appendEnded(nil, how, "as it is"), nil)
	if !allowed(h.at[id], kindEnded) {
		return want(err, ErrState, ErrUnknown)
	}
	if err != nil {
		return err
	}
	attempt, key, _ := h.words(id)
	h.set(id, how, attempt, key, "[]")
	return nil
}

func (h *history) close(s *store, id ID) error {
	_, err := s.change(kindClosed, id, h.now, nil, nil)
	if h.at[id] == Closed {
		return want(err, ErrUnknown)
	}
	if err != nil {
		return err
	}
	attempt, key, _ := h.words(id)
	if key != `""` {
		h.set(id, Closed, attempt, key, "[]")
		return nil
	}
	delete(h.jobs, id)
	delete(h.at, id)
	h.record()
	return nil
}

func want(err error, errs ...error) error {
	for _, e := range errs {
		if errors.Is(err, e) {
			return nil
		}
	}
	return fmt.Errorf("got %w, want %v", err, errs)
}

// reopened looks whether what was read from a disk is a state that the store had,
// not older than what it has acknowledged, and makes that the present. It is false
// where the power went before everything was read.
func (h *history) reopened(t *testing.T, s *store, what string) bool {
	t.Helper()
	if len(s.found.damaged) > 0 || s.found.odd > 0 || s.m.odd > 0 {
		t.Fatalf("%s: a crash was taken for damage: %+v, %d odd", what, s.found, s.m.odd)
	}
	got, err := describe(s)
	if errors.Is(err, fsys.ErrPower) {
		return false
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for i := len(h.states) - 1; i >= h.synced; i-- { // nothing that happened twice in a row looks the same
		if h.states[i] == got {
			h.rewind(t, s, i)
			return true
		}
	}
	t.Fatalf("%s: %d records were acknowledged, %d made; the log has\n%sand the acknowledged state is\n%s",
		what, h.synced, len(h.states)-1, got, h.states[h.synced])
	return false
}

// rewind makes a state of the past, which the store is in, the present.
func (h *history) rewind(t *testing.T, s *store, i int) {
	t.Helper()
	h.states, h.synced, h.half = h.states[:i+1], i, nil
	h.jobs, h.at, h.keys = map[ID]string{}, map[ID]State{}, map[string]ID{}
	live := int64(0)
	for id, e := range s.m.jobs {
		h.at[id] = e.state
		live += e.keep()
		if e.key != "" {
			h.keys[e.key] = id
		}
	}
	for line := range strings.Lines(h.states[i]) {
		id, err := ParseID(line[:32])
		if err != nil {
			t.Fatal(err)
		}
		h.jobs[id] = strings.TrimSuffix(line[33:], "\n")
	}
	if live != s.m.live {
		t.Fatalf("%d live bytes, %d by another count", s.m.live, live)
	}
}

// stride thins out the moments of a crash in a short run.
func stride() int {
	if testing.Short() {
		return 7
	}
	return 1
}

// TestPowerLossAtEveryStep: power is lost after every single operation on the disk,
// in turn, and again while the log is opened after that. What then is there is
// what was acknowledged, and perhaps a part of what came after, whole and in order.
func TestPowerLossAtEveryStep(t *testing.T) {
	for seed := range uint64(6) {
		whole := fsys.NewMem()
		s, err := openStore(crashConfig(whole), 1)
		if err != nil {
			t.Fatal(err)
		}
		h := newHistory()
		if err := h.work(s, rand.New(rand.NewPCG(seed, 0)), 60); err != nil {
			t.Fatal(err)
		}
		if s.count.compactions == 0 {
			t.Fatal("nothing was compacted: the test shows less than it should")
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < whole.Operations(); n += stride() {
			for luck := range uint64(3) {
				powerLoss(t, seed, n, luck)
			}
		}
	}
}

func powerLoss(t *testing.T, seed uint64, n int, luck uint64) {
	what := fmt.Sprintf("seed %d, power lost after %d operations, luck %d", seed, n, luck)
	disk := fsys.NewMem()
	disk.LosePowerAfter(n)
	h := newHistory()
	cfg := crashConfig(disk)
	s, err := openStore(cfg, 1)
	if err == nil {
		if err = h.work(s, rand.New(rand.NewPCG(seed, 0)), 60); err == nil {
			err = s.close()
		}
	}
	if err != nil && !errors.Is(err, fsys.ErrPower) {
		t.Fatalf("%s: %v", what, err)
	}
	rng := rand.New(rand.NewPCG(luck, uint64(n)))
	disk = disk.AfterPowerLoss(rng)
	// Once more, at a random moment of the recovery.
	again := rng.IntN(25)
	disk.LosePowerAfter(again)
	cfg.fs = disk
	if s, err := openStore(cfg, 2); err == nil {
		if h.reopened(t, s, what) {
			err = h.work(s, rng, 3)
		}
		if err != nil && !errors.Is(err, fsys.ErrPower) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	disk = disk.AfterPowerLoss(rng)
	what += fmt.Sprintf(", and again after %d", again)
	cfg.fs = disk
	s, err = openStore(cfg, 3)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	h.reopened(t, s, what)
	if err := errors.Join(h.work(s, rng, 10), s.close()); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// TestFailingDisk: every single operation fails in turn, once or from then on for
// a while. Callers are told; a store that has failed opens again, as a fresh log,
// and has what was acknowledged.
func TestFailingDisk(t *testing.T) {
	bad := errors.New("bad disk")
	for seed := range uint64(4) {
		for length := range 3 {
			for n := 1; ; n += stride() {
				f := &fsys.Fault{FS: fsys.NewMem()}
				cfg := crashConfig(f)
				s, err := openStore(cfg, 1)
				if err != nil {
					t.Fatal(err)
				}
				f.FailAt(n, n+length, bad)
				what := fmt.Sprintf("seed %d, operations %d to %d fail", seed, n, n+length)
				h := newHistory()
				rng := rand.New(rand.NewPCG(seed, 0))
				failures := 0
				for left := 50; left > 0; left-- {
					err := h.work(s, rng, 1)
					if err == nil {
						continue
					}
					failures++
					if !errors.Is(err, bad) {
						t.Fatalf("%s: %v", what, err)
					}
					if s.failed != nil {
						s = reopen(t, h, s, cfg, what)
					}
				}
				if err := s.close(); err != nil {
					t.Fatal(err)
				}
				if failures == 0 && n > 100 {
					break // it was past the end
				}
			}
		}
	}
}

// reopen opens a store that has failed, as often as it takes.
func reopen(t *testing.T, h *history, s *store, cfg storeConfig, what string) *store {
	t.Helper()
	_ = s.close()
	cfg.fresh = true
	for {
		s, err := openStore(cfg, 2)
		if err != nil {
			continue // the next operation of the disk may work
		}
		if !h.reopened(t, s, what) {
			t.Fatalf("%s: it cannot be read", what)
		}
		return s
	}
}
