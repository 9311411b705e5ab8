package titanic

import (
	"container/heap"
	"strings"
	"time"
)

// place is where a record lies in the log.
type place struct {
	at   int64 // bytes from the log's beginning
	size int   // bytes, with the zeros behind it; 0: there is none
}

// entry is a job as the index has it: everything but its body and reply.
type entry struct {
	id                 ID
	number             uint64
	service, key, note string
	digest             digest
	state              State
	attempt            int
	reason             string // why it ended; in memory alone while it is pending

	added, notBefore, expires int64 // ns; 0: none
	asked, ended              int64

	body, reply           place
	bodyBytes, replyBytes int

	lsn   uint64 // the last record about it
	timer int64  // its time in the heap
}

// machine is the state of all jobs, as the records of a log make it: pure, no
// clock and no file. Records that do not fit the state change nothing.
type machine struct {
	expire, remember time.Duration
	held             int // most jobs that are remembered after their end

	jobs    map[ID]*entry
	keys    map[string]*entry
	next    uint64 // number of the next job
	live    int64  // bytes of the records that say all this: what a compaction keeps
	pending int
	waiting int    // answered
	odd     uint64 // records that did not fit
	timers  timers
	ended   []*entry // remembered, oldest first; some are gone by now
	over    int      // jobs remembered
}

func newMachine(expire, remember time.Duration, held int) *machine {
	return &machine{expire: expire, remember: remember, held: held, jobs: map[ID]*entry{}, keys: map[string]*entry{}}
}

// apply takes in a record that lies at p. The error says that the body of the
// record is none of its kind.
func (m *machine) apply(r *record, p place, lsn uint64) error {
	if r.Kind == kindAdded {
		return m.add(r, p, lsn)
	}
	e := m.jobs[r.ID]
	if e == nil {
		m.odd++
		return m.parse(r)
	}
	var attempt int
	var frames [][]byte
	var how State
	var reason string
	var err error
	switch r.Kind {
	case kindDispatched:
		attempt, err = parseAttempt(r.Body)
	case kindAnswered:
		frames, err = parseFrames(r.Body)
	case kindEnded:
		how, reason, err = parseEnded(r.Body)
	}
	if err != nil {
		return err
	}
	if !allowed(e.state, r.Kind) {
		m.odd++
		return nil
	}
	m.leave(e)
	e.lsn = lsn
	switch r.Kind {
	case kindDispatched:
		e.state, e.attempt, e.asked = Dispatched, attempt, r.Time
	case kindAnswered:
		e.state, e.ended, e.reason = Answered, r.Time, ""
		e.body, e.bodyBytes, e.reply = place{}, 0, p
		e.replyBytes = len(r.Body) - framesSize(nil) - frameHead*len(frames)
	case kindEnded:
		e.state, e.ended, e.reason = how, r.Time, reason
		e.clear()
	case kindClosed:
		if e.key == "" {
			m.drop(e)
			return nil
		}
		e.state, e.ended, e.reason = Closed, r.Time, ""
		e.clear()
	}
	m.enter(e)
	return nil
}

// parse looks at the body of a record that is about no job.
func (m *machine) parse(r *record) (err error) {
	switch r.Kind {
	case kindDispatched:
		_, err = parseAttempt(r.Body)
	case kindAnswered:
		_, err = parseFrames(r.Body)
	case kindEnded:
		_, _, err = parseEnded(r.Body)
	}
	return err
}

// allowed says which record may follow a state.
func allowed(s State, k kind) bool {
	switch k {
	case kindDispatched, kindAnswered:
		return s.Pending()
	case kindEnded:
		return s.Pending() || s == Answered
	case kindClosed:
		return s != Closed
	}
	return false
}

func (m *machine) add(r *record, p place, lsn uint64) error {
	a, err := parseAdded(r.Body)
	if err != nil {
		return err
	}
	if m.jobs[r.ID] != nil {
		m.odd++
		return nil
	}
	// A key that was free when the job was added may, in the log, still be that of a
	// job that nobody remembered any more.
	if old := m.keys[a.Key]; a.Key != "" && old != nil {
		m.leave(old)
		m.drop(old)
	}
	e := &entry{id: r.ID, number: a.Number, service: a.Service, key: a.Key, note: a.Note, digest: a.Digest, state: Stored,
		added: r.Time, notBefore: a.NotBefore, expires: a.Expires, body: p, lsn: lsn}
	for _, f := range a.Frames {
		e.bodyBytes += len(f)
	}
	if a.Bare { // what follows says why
		e.body = place{}
	}
	m.next = max(m.next, a.Number+1)
	m.jobs[e.id] = e
	if e.key != "" {
		m.keys[e.key] = e
	}
	m.enter(e)
	return nil
}

// enter and leave keep the sums right around a change of an entry.
func (m *machine) enter(e *entry) { m.count(e, 1) }
func (m *machine) leave(e *entry) { m.count(e, -1) }

func (m *machine) count(e *entry, n int) {
	m.live += int64(n) * e.keep()
	switch {
	case e.state.Pending():
		m.pending += n
	case e.state == Answered:
		m.waiting += n
	default:
		m.over += n
		if n > 0 {
			m.ended = append(m.ended, e)
		}
	}
	if n < 0 {
		return
	}
	if d := m.deadline(e); e.timer == 0 || d < e.timer {
		e.timer = d
		heap.Push(&m.timers, timer{d, e})
	}
}

// drop forgets an entry that has left.
func (m *machine) drop(e *entry) {
	delete(m.jobs, e.id)
	if m.keys[e.key] == e {
		delete(m.keys, e.key)
	}
	e.timer = -1 // no timer is its own
}

// clear lets go of what an ended job needs no more.
func (e *entry) clear() {
	e.body, e.reply = place{}, place{}
	e.bodyBytes, e.replyBytes = 0, 0
}

// bareSize is the size of the added record of an entry without its frames.
func (e *entry) bareSize() int {
	return recordSize(addedHead + len(e.service) + len(e.key) + len(e.note))
}

// keep is how many bytes a compaction writes for the entry.
func (e *entry) keep() int64 {
	n := e.body.size
	if n == 0 {
		n = e.bareSize()
	}
	if e.attempt > 0 {
		n += recordSize(dispatchedSize)
	}
	switch e.state {
	case Answered:
		n += e.reply.size
	case Cancelled, Expired, Failed:
		n += recordSize(endedHead + len(e.reason))
	case Closed:
		n += recordSize(0)
	}
	return int64(n)
}

// deadline is when the entry expires or is forgotten, ns.
func (m *machine) deadline(e *entry) int64 {
	switch {
	case e.state.Pending() && e.expires != 0:
		return e.expires
	case e.state.Pending():
		return later(max(e.added, e.notBefore), m.expire)
	case e.state == Answered:
		return later(e.ended, m.expire)
	case e.state == Closed && strings.HasPrefix(e.key, keyNumber):
		return later(e.ended, min(m.remember, numberLife))
	}
	return later(e.ended, m.remember)
}

// numberLife is how long the number of a request is remembered, at most, when its
// job was closed. Whoever closes it has had the answer, and sends it no more; only
// copies that are still under way are to be known.
const numberLife = 5 * time.Minute

// later adds a duration to a time without running over.
func later(at int64, d time.Duration) int64 {
	if sum := at + int64(d); sum >= at {
		return sum
	}
	return 1<<63 - 1
}

// due returns the jobs that are to expire at now, and forgets those that nobody
// needs to remember any more.
func (m *machine) due(now int64) (expired []ID) {
	for len(m.timers) > 0 && m.timers[0].at <= now {
		t := heap.Pop(&m.timers).(timer)
		e := t.entry
		if e.timer != t.at {
			continue // another timer is the entry's
		}
		d := m.deadline(e)
		switch {
		case d > now:
			e.timer = d
			heap.Push(&m.timers, timer{d, e})
		case e.state.Pending() || e.state == Answered:
			// It stays due until a record says that it has expired.
			e.timer = later(now, time.Second)
			heap.Push(&m.timers, timer{e.timer, e})
			expired = append(expired, e.id)
		default:
			m.leave(e)
			m.drop(e)
		}
	}
	for m.over > m.held && len(m.ended) > 0 {
		if e := m.ended[0]; m.jobs[e.id] == e {
			m.leave(e)
			m.drop(e)
		}
		m.ended = m.ended[1:]
	}
	for len(m.ended) > 0 && m.jobs[m.ended[0].id] != m.ended[0] {
		m.ended = m.ended[1:]
	}
	return expired
}

// wake is when due is to be called next, ns, or 0 where nothing is held.
func (m *machine) wake() int64 {
	if len(m.timers) == 0 {
		return 0
	}
	return m.timers[0].at
}

// timer is one entry's time in the heap.
type timer struct {
	at    int64
	entry *entry
}

type timers []timer

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at < t[j].at }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	last := len(*t) - 1
	x := (*t)[last]
	(*t)[last] = timer{}
	*t = (*t)[:last]
	return x
}

// info returns the entry as it is shown.
func (m *machine) info(e *entry) Info {
	i := Info{ID: e.id, Number: e.number, Service: e.service, Key: e.key, Note: e.note, State: e.state, Attempt: e.attempt,
		Added: moment(e.added), NotBefore: moment(e.notBefore), Ended: moment(e.ended), Reason: e.reason,
		BodyBytes: e.bodyBytes, ReplyBytes: e.replyBytes}
	if e.state.Pending() || e.state == Answered {
		i.Expires = moment(m.deadline(e))
	}
	return i
}

// moment is a time of a record; 0 is none.
func moment(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
