package titanic

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// compaction is a new log that takes the place of the one in force: what all jobs
// still need as of a moment is copied beside whatever goes on, then, while all else
// waits, the records since. It is in force when it has the log's name; until then
// a crash leaves the old one.
type compaction struct {
	s      *store
	old    *logFile
	new    *logFile
	upto   int64   // records of the old log from here on are not in snapshot
	jobs   []entry // as of the moment, by number
	places map[ID]*[2]place
	buf    []byte
	at     int64 // where buf goes
}

// wasteful reports whether a compaction is worth its while: more than half of the
// log is dead, and not just a little.
func (s *store) wasteful() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	dead := s.log.end - logHeader - s.m.live
	return dead > s.m.live && dead >= s.cfg.segment/2 && s.failed == nil && !s.moving
}

// compact replaces the log by one that holds only what is needed. After an error
// the old one is in force, unless the store has failed.
func (s *store) compact(now int64) error {
	c, err := s.compaction(now)
	if err != nil {
		return err
	}
	if err = c.copy(); err == nil {
		s.cfg.step("log copied")
		err = c.finish()
	}
	return c.done(err)
}

// done ends a compaction that has come to err.
func (c *compaction) done(err error) error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moving = false
	if err != nil {
		s.count.compactionsFailed++
		err = s.whether(err)
		return errors.Join(fmt.Errorf("titanic: compact job log: %w", err), c.abandon())
	}
	s.count.compactions++
	return nil
}

// compaction begins one: everything that was appended is in the old log's file.
func (s *store) compaction(now int64) (*compaction, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moving {
		return nil, errors.New("titanic: the job log is being compacted")
	}
	s.lead()
	defer s.yield()
	if err := s.flush(); err != nil {
		return nil, err
	}
	if err := s.fence.holds(); err != nil {
		return nil, s.fail(err)
	}
	c := &compaction{s: s, old: s.log, upto: s.log.end, jobs: make([]entry, 0, len(s.m.jobs)), places: make(map[ID]*[2]place, len(s.m.jobs))}
	for _, e := range s.m.jobs {
		c.jobs = append(c.jobs, *e)
	}
	next, size := s.m.next, logHeader+s.m.live+s.cfg.segment
	s.moving = true
	var err error
	if c.new, err = createLog(s.cfg.fs, s.cfg.dir, s.fence.epoch, size, s.cfg.identity(), next, now); err != nil {
		s.moving = false
		s.count.compactionsFailed++
		err = s.whether(err)
		return nil, fmt.Errorf("titanic: compact job log: %w", err)
	}
	c.at = c.new.end
	slices.SortFunc(c.jobs, func(a, b entry) int { return inOrder(&a, &b) })
	return c, nil
}

// flush writes until nothing is left. The lock is held at the end, and the caller
// leads.
func (s *store) flush() error {
	for len(s.buf) > 0 && s.failed == nil {
		s.write(false)
	}
	return s.failed
}

// copy writes what the jobs need, and syncs it.
func (c *compaction) copy() error {
	w := &window{f: c.old.f, size: c.upto}
	for i := range c.jobs {
		if err := c.job(w, &c.jobs[i]); err != nil {
			return err
		}
	}
	if err := c.flush(); err != nil {
		return err
	}
	return c.new.f.Sync()
}

// job writes one job's records: at most one of each kind.
func (c *compaction) job(w *window, e *entry) error {
	at := &[2]place{}
	c.places[e.id] = at
	if e.body.size > 0 {
		r, err := c.record(w, e.body)
		if err != nil {
			return err
		}
		at[0] = c.add(kindAdded, e.id, e.added, r.Body)
	} else {
		a := added{Number: e.number, NotBefore: e.notBefore, Expires: e.expires, Digest: e.digest,
			Service: e.service, Key: e.key, Note: e.note, Bare: true}
		c.add(kindAdded, e.id, e.added, appendAdded(nil, &a))
	}
	if e.attempt > 0 {
		c.add(kindDispatched, e.id, e.asked, attemptBody(e.attempt))
	}
	switch e.state {
	case Answered:
		r, err := c.record(w, e.reply)
		if err != nil {
			return err
		}
		at[1] = c.add(kindAnswered, e.id, e.ended, r.Body)
	case Cancelled, Expired, Failed:
		c.add(kindEnded, e.id, e.ended, appendEnded(nil, e.state, e.reason))
	case Closed:
		c.add(kindClosed, e.id, e.ended, nil)
	}
	if len(c.buf) > windowSize {
		return c.flush()
	}
	return nil
}

// record reads a record of the old log. The body is borrowed until the next one.
func (c *compaction) record(w *window, p place) (record, error) {
	r, _, ok, err := w.record(c.old, p.at)
	if err == nil && !ok {
		err = &DamageError{Name: c.old.name, From: p.at, To: p.at + int64(p.size)}
	}
	return r, err
}

// add appends a record to the new log.
func (c *compaction) add(k kind, id ID, at int64, body []byte) place {
	l := c.new
	before := len(c.buf)
	c.buf = appendRecord(c.buf, &record{Kind: k, Log: l.identity, Sequence: l.sequence, Time: at, ID: id, Body: body})
	p := place{l.end, len(c.buf) - before}
	l.end += int64(p.size)
	l.sequence++
	return p
}

func (c *compaction) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	if err := c.new.reserve(c.new.end); err != nil {
		return err
	}
	_, err := c.new.f.WriteAt(c.buf, c.at)
	c.at, c.buf = c.new.end, c.buf[:0]
	return err
}

// finish adds what came since, and puts the new log in force.
func (c *compaction) finish() error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lead()
	defer s.yield()
	if err := s.flush(); err != nil {
		return err
	}
	if err := c.rest(); err != nil {
		return err
	}
	// Room for what is to come, so that a full disk shows here and not later.
	if err := c.new.reserve(c.new.end + s.cfg.segment); err != nil {
		return err
	}
	if err := s.install(c.new); err != nil {
		// Which of the two logs has the name, the disk will say.
		return s.fail(err)
	}
	for id, e := range s.m.jobs {
		at := c.places[id]
		if e.body.size > 0 {
			e.body = at[0]
		}
		if e.reply.size > 0 {
			e.reply = at[1]
		}
	}
	s.log, s.from = c.new, c.new.end
	s.written, s.durable = s.appended, s.appended
	return s.retire(c.old)
}

// rest copies the records since the compaction began, as they are.
func (c *compaction) rest() error {
	w := &window{f: c.old.f, size: c.old.end}
	for at := c.upto; at < c.old.end; {
		r, size, ok, err := w.record(c.old, at)
		if err != nil {
			return err
		}
		if !ok {
			return &DamageError{Name: c.old.name, From: at, To: c.old.end}
		}
		p := c.add(r.Kind, r.ID, r.Time, r.Body)
		if r.Kind == kindAdded {
			c.places[r.ID] = &[2]place{p}
		}
		if places := c.places[r.ID]; r.Kind == kindAnswered && places != nil {
			places[1] = p
		}
		at += int64(size)
		if len(c.buf) > windowSize {
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
	return c.flush()
}

// abandon lets a new log go that is not in force. The lock is held.
func (c *compaction) abandon() error {
	if c.s.log == c.new {
		return nil
	}
	err := c.new.f.Close()
	if c.s.failed != nil {
		return err // its name may be the old one's by now
	}
	return errors.Join(err, remove(c.s.cfg.fs, c.s.cfg.dir+"/"+c.new.name+fsys.TemporarySuffix))
}
