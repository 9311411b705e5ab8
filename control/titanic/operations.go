package titanic

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"
)

// add takes in a job, unless its key is known: then the ID is that of the job that
// has the key. What is returned holds once lsn is committed.
func (s *store) add(j *Job, now int64) (id ID, created bool, lsn uint64, err error) {
	a := added{NotBefore: nanos(j.NotBefore), Expires: nanos(j.Expires), Digest: digestOf(j.Service, j.Body),
		Service: j.Service, Key: j.Key, Note: j.Note, Frames: j.Body}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.m.keys[j.Key]; j.Key != "" && old != nil {
		if old.digest != a.Digest {
			return ID{}, false, 0, fmt.Errorf("%w: %q is that of %v", ErrKey, j.Key, old.id)
		}
		return old.id, false, old.lsn, s.failed
	}
	size := int64(recordSize(a.size()))
	switch {
	case s.m.pending+s.m.waiting >= s.cfg.jobs:
		return ID{}, false, 0, fmt.Errorf("%w: %d jobs", ErrFull, s.m.pending+s.m.waiting)
	case s.m.live+size > s.cfg.bytes:
		return ID{}, false, 0, fmt.Errorf("%w: %d bytes and %d more, %d may be kept", ErrFull, s.m.live, size, s.cfg.bytes)
	}
	id, a.Number = s.cfg.newID(), s.m.next
	// What ends jobs must have room when the disk has none for more of them.
	if err := s.append(kindAdded, id, now, appendAdded(make([]byte, 0, a.size()), &a), s.cfg.segment/8); err != nil {
		return ID{}, false, 0, err
	}
	return id, true, s.appended, nil
}

// nanos is a time as records have it; the zero time is 0.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// change appends a record about a job that is there and in a state that allows it.
// The error is ErrUnknown or ErrState where it is not.
func (s *store) change(k kind, id ID, now int64, body []byte, may func(*entry) bool) (lsn uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.m.jobs[id]
	switch {
	case e == nil || e.state == Closed:
		return 0, fmt.Errorf("%w: %v", ErrUnknown, id)
	case !allowed(e.state, k) || may != nil && !may(e):
		return e.lsn, fmt.Errorf("%w: job %v is %v", ErrState, id, e.state)
	}
	if err := s.append(k, id, now, body, 0); err != nil {
		return 0, err
	}
	return s.appended, nil
}

// dispatch notes that the service is about to be asked, in the file but not on the
// disk: it must outlive the process, so that attempts are counted, and no more.
// The frames are the caller's.
func (s *store) dispatch(id ID, now int64) (frames [][]byte, err error) {
	s.mu.Lock()
	e := s.m.jobs[id]
	if e == nil || !e.state.Pending() {
		s.mu.Unlock()
		return nil, fmt.Errorf("%w: %v", ErrUnknown, id)
	}
	if e.body.size == 0 {
		s.mu.Unlock()
		return nil, fmt.Errorf("%w: the request of %v is lost", ErrDamaged, id)
	}
	if err := s.append(kindDispatched, id, now, attemptBody(e.attempt+1), 0); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	lsn := s.appended
	s.mu.Unlock()
	if err := s.commit(lsn, false); err != nil {
		return nil, err
	}
	body, err := s.body(id, kindAdded)
	if err != nil {
		return nil, err
	}
	a, err := parseAdded(body)
	return a.Frames, err
}

// body reads the job's body, or its reply where k is kindAnswered.
func (s *store) body(id ID, k kind) ([]byte, error) {
	s.mu.Lock()
	e := s.m.jobs[id]
	if e == nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("%w: %v", ErrUnknown, id)
	}
	p := e.body
	if k == kindAnswered {
		p = e.reply
	}
	if p.size == 0 || s.failed != nil {
		defer s.mu.Unlock()
		return nil, cmp.Or(s.failed, fmt.Errorf("%w: job %v is %v", ErrState, id, e.state))
	}
	w := s.hold(p)
	s.mu.Unlock()
	return s.read(w, k, id)
}

// reply returns the frames of a job's reply, the caller's.
func (s *store) reply(id ID) ([][]byte, error) {
	body, err := s.body(id, kindAnswered)
	if err != nil {
		return nil, err
	}
	return parseFrames(body)
}

// get returns how a job fares, once that is on the disk.
func (s *store) get(id ID) (Info, error) {
	s.mu.Lock()
	e := s.m.jobs[id]
	if e == nil || e.state == Closed {
		s.mu.Unlock()
		return Info{}, cmp.Or(s.sure(), fmt.Errorf("%w: %v", ErrUnknown, id))
	}
	info, lsn := s.m.info(e), e.lsn
	s.mu.Unlock()
	return info, cmp.Or(s.commit(lsn, true), s.sure())
}

// list returns how all jobs fare, by number, once that is on the disk.
func (s *store) list() ([]Info, error) {
	s.mu.Lock()
	jobs := make([]Info, 0, len(s.m.jobs))
	for _, e := range s.m.jobs {
		if e.state != Closed {
			jobs = append(jobs, s.m.info(e))
		}
	}
	lsn := s.appended
	s.mu.Unlock()
	slices.SortFunc(jobs, func(a, b Info) int { return cmp.Compare(a.Number, b.Number) })
	return jobs, cmp.Or(s.commit(lsn, true), s.sure())
}

// note keeps, in memory, why an attempt came to nothing.
func (s *store) note(id ID, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.m.jobs[id]; e != nil && e.state.Pending() {
		e.reason = reason[:min(len(reason), reasonMax)]
	}
}

// due returns the jobs that expire now, and when to look again, ns.
func (s *store) due(now int64) (expired []ID, wake int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	expired = s.m.due(now)
	return expired, s.m.wake()
}

// state returns a job's state.
func (s *store) state(id ID) (State, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.m.jobs[id]
	if e == nil {
		return 0, false
	}
	return e.state, true
}

// byNumber returns all jobs in the order in which they were added. The lock is held.
func (s *store) byNumber() []*entry {
	jobs := make([]*entry, 0, len(s.m.jobs))
	for _, e := range s.m.jobs {
		jobs = append(jobs, e)
	}
	slices.SortFunc(jobs, inOrder)
	return jobs
}

// inOrder compares jobs by when they were added. Only a log that was tampered with
// has two of one number.
func inOrder(a, b *entry) int {
	return cmp.Or(cmp.Compare(a.number, b.number), bytes.Compare(a.id[:], b.id[:]))
}

// broken returns why the store has failed, or nil.
func (s *store) broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (s *store) counters() storeCounters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// fill writes what the store counts and holds into c, beside what was counted
// before it.
func (s *store) fill(c *Counters, before storeCounters) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Syncs = before.syncs + s.count.syncs
	c.Compactions = before.compactions + s.count.compactions
	c.CompactionsFailed = before.compactionsFailed + s.count.compactionsFailed
	c.Pending, c.Waiting, c.Remembered = s.m.pending, s.m.waiting, s.m.over
	c.LiveBytes, c.UsedBytes, c.LogBytes = s.m.live, s.log.end, s.log.size
}
