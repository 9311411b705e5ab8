package titanic

import (
	"cmp"
	"context"
	"errors"
)

// Add takes in a job. When it returns without an error the job is on the disk and
// will be done. Where a job with the key is known, created is false and the ID that
// job's. The error is ErrJob, ErrKey, ErrFull, ErrFenced, ErrClosed, or that of the disk: then
// the job may be there or not, which a key makes safe to find out by adding again.
func (t *Titanic) Add(ctx context.Context, j Job) (id ID, created bool, err error) {
	if err := context.Cause(ctx); err != nil {
		return ID{}, false, err
	}
	if err := j.check(t.cfg.JobBytes); err != nil {
		t.tally(&t.count.Refused)
		return ID{}, false, err
	}
	s, err := t.usable()
	if err != nil {
		t.tally(&t.count.Errors)
		return ID{}, false, err
	}
	id, created, lsn, err := s.add(&j, t.now().UnixNano())
	if err == nil {
		err = s.commit(lsn, true)
	}
	if !created || err != nil {
		// What was found holds only where nobody else has the log.
		err = cmp.Or(s.sure(), err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over(err)
	switch {
	case errors.Is(err, ErrFull), errors.Is(err, ErrKey):
		t.count.Refused++
		return ID{}, false, err
	case err != nil:
		t.count.Errors++
		return ID{}, false, err
	case !created:
		t.count.Repeated++
		return id, false, nil
	}
	t.count.Added++
	t.schedule(s, id, &j)
	return id, true, nil
}

// schedule has a job done that was just added. The lock is held.
func (t *Titanic) schedule(s *store, id ID, j *Job) {
	if s != t.store {
		return // a store that was opened meanwhile has brought it along
	}
	if state, ok := s.state(id); !ok || !state.Pending() {
		return // it has been ended already
	}
	t.sched.add(id, j.Service, nanos(j.NotBefore), t.now().UnixNano())
	t.wakeUp()
}

func (t *Titanic) tally(n *uint64) {
	t.mu.Lock()
	*n++
	t.mu.Unlock()
}

// List returns all jobs that are not closed, in the order in which they were added.
func (t *Titanic) List() ([]Info, error) {
	s, err := t.usable()
	if err != nil {
		return nil, err
	}
	jobs, err := s.list()
	return jobs, t.told(err)
}

// told takes note of an error that says that the log is another one's.
func (t *Titanic) told(err error) error {
	if err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.over(err)
	}
	return err
}

// Get returns how a job fares and, where it is Answered, the reply, which is the
// caller's. The error is ErrUnknown, ErrFenced, ErrClosed, or that of the disk.
func (t *Titanic) Get(id ID) (Info, [][]byte, error) {
	s, err := t.usable()
	if err != nil {
		return Info{}, nil, err
	}
	info, err := s.get(id)
	if err != nil || info.State != Answered {
		return info, nil, t.told(err)
	}
	reply, err := s.reply(id)
	if errors.Is(err, ErrState) {
		return t.Get(id) // it has ended meanwhile, and never comes back
	}
	return info, reply, err
}

// Wait is Get that waits until the job has its reply or has ended otherwise; one
// that was closed is ErrUnknown. When ctx ends it returns with its cause.
func (t *Titanic) Wait(ctx context.Context, id ID) (Info, [][]byte, error) {
	changed, done := t.watch(id)
	defer done()
	for {
		info, reply, err := t.Get(id)
		if err != nil || !info.State.Pending() {
			return info, reply, err
		}
		select {
		case <-changed():
		case <-ctx.Done():
			return info, nil, context.Cause(ctx)
		}
	}
}

// watch returns a function that gives the channel which the next change of a job
// closes, counted from the call before.
func (t *Titanic) watch(id ID) (changed func() <-chan struct{}, done func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.watched[id]
	if w == nil {
		w = &watch{changed: make(chan struct{})}
		t.watched[id] = w
	}
	w.waiting++
	next := w.changed
	changed = func() <-chan struct{} {
		t.mu.Lock()
		defer t.mu.Unlock()
		now := next
		next = w.changed
		return now
	}
	return changed, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if w.waiting--; w.waiting == 0 {
			delete(t.watched, id)
		}
	}
}

// Cancel ends a job that has no reply. Its service may be at it all the same; the
// reply will be dropped. Cancelling again is no error. The error is ErrUnknown,
// ErrState, ErrFenced, ErrClosed, or that of the disk.
func (t *Titanic) Cancel(id ID) error {
	err := t.end(id, Cancelled, "cancelled")
	if errors.Is(err, ErrState) {
		if info, _, gerr := t.Get(id); gerr == nil && info.State == Cancelled {
			return nil
		}
	}
	return err
}

// CloseJob forgets a job, its reply included; only its key is known for a while.
// A reply should be safe, or not needed, before. The error is ErrUnknown, ErrClosed,
// or that of the disk.
func (t *Titanic) CloseJob(id ID) error {
	return t.change(id, &t.count.Closed, func(s *store, now int64) (uint64, error) {
		return s.change(kindClosed, id, now, nil, nil)
	})
}

// end ends a job that has no reply, or one whose reply expires.
func (t *Titanic) end(id ID, how State, reason string) error {
	count := map[State]*uint64{Cancelled: &t.count.Cancelled, Expired: &t.count.Expired, Failed: &t.count.Failed}[how]
	return t.change(id, count, func(s *store, now int64) (uint64, error) {
		return s.change(kindEnded, id, now, appendEnded(nil, how, reason[:min(len(reason), reasonMax)]), func(e *entry) bool {
			return e.state.Pending() || how == Expired
		})
	})
}

// change makes a record about a job, waits until it is on the disk, and tells
// those whom it concerns.
func (t *Titanic) change(id ID, count *uint64, record func(s *store, now int64) (lsn uint64, err error)) error {
	s, err := t.usable()
	if err != nil {
		return err
	}
	lsn, err := record(s, t.now().UnixNano())
	if lsn != 0 {
		// Also where nothing was to be done: what was found must hold.
		if cerr := s.commit(lsn, true); cerr != nil {
			err = cerr
		}
	}
	if err != nil {
		err = cmp.Or(s.sure(), err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over(err) || err != nil {
		return err
	}
	*count++
	t.drop(id)
	t.changed(id)
	return nil
}
