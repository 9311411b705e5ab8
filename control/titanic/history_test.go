package titanic

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
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
