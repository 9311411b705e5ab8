package titanic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// storeConfig is what a store is opened with.
type storeConfig struct {
	fs      fsys.FS
	dir     string
	segment int64 // space is reserved in steps of this many bytes
	jobs    int   // most that are pending or answered
	bytes   int64 // most live bytes that a new job may lead to
	expire  time.Duration
	forget  time.Duration // how long an ended job is remembered
	salvage bool
	fence   *fence             // the right to write the log; nil: to be had by raising the epoch
	signs   bool               // ... and then signs of life are given
	claimed func(*fence) error // told of it, before the log is read
	newID   func() ID
	// identity draws that of a log. It must not be guessed: a body that looks like
	// records would be taken for some.
	identity func() uint64
	step     func(point string) // told between any two steps; a test stops the process there
}

// store is the log and its index. Records are appended to a buffer, where the
// index takes them in at once; commit writes and syncs. Several callers that
// commit share one write and one sync: the first does it for all who had come by
// then. What is in the index but not synced nobody is told: whoever reads waits
// for the last record of what he has read.
//
// An error of the disk ends a store. Its log is then to be opened again, with the
// fence that it has: after a sync has failed, nobody knows what a file has. Each
// opening writes a new log, with all that the one before has, for whoever had that
// may still write to it. ErrFenced ends a store for good.
type store struct {
	cfg   storeConfig
	fence *fence

	mu       sync.Mutex
	moved    sync.Cond
	m        *machine
	log      *logFile
	buf      []byte // appended, not written
	spare    []byte
	from     int64  // where buf goes
	appended uint64 // records: the last one's lsn
	written  uint64 // in the file
	durable  uint64 // on the disk
	leading  bool   // somebody writes, or puts another log in force
	moving   bool   // a compaction is under way
	failed   error
	found    scanned
	count    storeCounters
}

type storeCounters struct {
	syncs, compactions, compactionsFailed uint64
}

// openStore opens the log in a directory, or begins one.
func openStore(cfg storeConfig, now int64) (*store, error) {
	s := &store{cfg: cfg, m: newMachine(cfg.expire, cfg.forget, cfg.jobs)}
	s.moved.L = &s.mu
	if s.cfg.step == nil {
		s.cfg.step = func(string) {}
	}
	if s.cfg.newID == nil {
		s.cfg.newID = newID
	}
	if s.cfg.identity == nil {
		s.cfg.identity = func() uint64 {
			id := newID()
			return max(binary.LittleEndian.Uint64(id[:]), 1)
		}
	}
	if err := cfg.fs.Mkdir(cfg.dir); err != nil {
		return nil, fmt.Errorf("titanic: %w", err)
	}
	err := s.claim(now)
	if err == nil {
		err = s.open(now)
	}
	if err == nil {
		return s, nil
	}
	if s.log != nil {
		err = errors.Join(err, s.log.f.Close())
	}
	return nil, fmt.Errorf("titanic: open job log: %w", s.whether(err))
}

// whether returns ErrFenced instead of an error that comes of that: whoever has the log
// has removed the files, say. It tells of no other.
func (s *store) whether(err error) error {
	if s.fence != nil && !errors.Is(err, ErrFenced) {
		if held := s.fence.holds(); errors.Is(held, ErrFenced) {
			return held
		}
	}
	return err
}

// claim ends the epoch of whoever had the log, unless the caller has begun one. A log
// that this program cannot read is left to who can.
func (s *store) claim(now int64) error {
	if s.fence = s.cfg.fence; s.fence != nil {
		return s.fence.holds()
	}
	l, err := openSource(s.cfg.fs, s.cfg.dir)
	if err == nil && l != nil {
		err = l.f.Close()
	}
	if err == nil {
		s.fence, err = raise(s.cfg.fs, s.cfg.dir, s.cfg.identity(), now, s.cfg.signs)
	}
	if err == nil && s.cfg.claimed != nil {
		err = s.cfg.claimed(s.fence)
	}
	return err
}

// open reads the log that there is, and writes another one.
func (s *store) open(now int64) (err error) {
	if s.log, err = openSource(s.cfg.fs, s.cfg.dir); err != nil {
		return err
	}
	if s.log == nil {
		if err := s.cfg.fs.SyncDir(path.Dir(path.Clean(s.cfg.dir))); err != nil {
			return err
		}
		if err := s.begin(now); err != nil {
			return err
		}
		return s.settle()
	}
	s.m.next = s.log.next
	s.found, err = s.log.scan(func(r *record, p place) error {
		s.appended++
		return s.m.apply(r, p, s.appended)
	})
	if err != nil {
		return err
	}
	if err := s.aside(); err != nil {
		return err
	}
	s.from, s.written, s.durable = s.log.end, s.appended, s.appended
	if err := s.compact(now); err != nil {
		return err
	}
	s.count = storeCounters{}
	return s.settle()
}

// settle makes the new log the only one. It has been in force since it has its name,
// unless there is one of a version without epochs: until now.
func (s *store) settle() error {
	fsx, dir := s.cfg.fs, s.cfg.dir
	l, err := openLog(fsx, dir, 0)
	if err == nil {
		err = l.f.Close()
	}
	if errors.Is(err, fs.ErrNotExist) || err == nil && !l.mark() {
		mark := markPrefix + strconv.FormatUint(s.fence.epoch, 10)
		if err = fsys.WriteFile(fsx, dir, mark, (&logFile{}).header(0)); err == nil {
			err = fsx.Rename(dir+"/"+mark, dir+"/"+markName)
		}
		if err == nil {
			err = fsx.SyncDir(dir)
		}
	}
	if err != nil {
		return err
	}
	n, err := listNames(fsx, dir)
	if err == nil {
		err = n.removeBefore(fsx, dir, s.fence.epoch)
	}
	if err == nil {
		err = s.fence.holds()
	}
	return err
}

// begin makes the first log.
func (s *store) begin(now int64) error {
	l, err := createLog(s.cfg.fs, s.cfg.dir, s.fence.epoch, s.cfg.segment, s.cfg.identity(), 1, now)
	if err != nil {
		return err
	}
	s.log, s.from, s.m.next = l, l.end, 1
	return s.install(l)
}

// install puts a log that was written under its temporary name in force.
func (s *store) install(l *logFile) error {
	if err := l.f.Sync(); err != nil {
		return err
	}
	s.cfg.step("log synced")
	if err := s.fence.holds(); err != nil {
		return err
	}
	name := s.cfg.dir + "/" + l.name
	if err := s.cfg.fs.Rename(name+fsys.TemporarySuffix, name); err != nil {
		return err
	}
	s.cfg.step("log renamed")
	if err := s.cfg.fs.SyncDir(s.cfg.dir); err != nil {
		return err
	}
	s.cfg.step("log in force")
	l.synced = l.end
	return nil
}

// aside keeps what opening will not take along: a torn end, or all of a damaged
// log, if it may be salvaged.
func (s *store) aside() error {
	l := s.log
	if len(s.found.damaged) > 0 {
		if !s.cfg.salvage {
			return &s.found.damaged[0]
		}
		name := s.cfg.dir + "/" + l.name
		if err := s.cfg.fs.Link(name, fmt.Sprintf("%s%s%016x", name, damagedInfix, l.identity)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return s.cfg.fs.SyncDir(s.cfg.dir)
	}
	if s.found.torn == 0 {
		return nil
	}
	b := make([]byte, s.found.torn)
	if _, err := l.f.ReadAt(b, l.end); err != nil {
		return err
	}
	return fsys.WriteFile(s.cfg.fs, s.cfg.dir, l.name+tornInfix+strconv.FormatInt(l.end, 10), b)
}

// close waits for a write that is under way, writes nothing more, and closes the
// log.
func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.leading {
		s.moved.Wait()
	}
	if s.failed == nil {
		s.failed = ErrClosed
	}
	s.moved.Broadcast()
	return s.retire(s.log)
}

// retire closes a log that is not in force any more, once nobody reads from it.
// The lock is held.
func (s *store) retire(l *logFile) error {
	if l.retired {
		return nil
	}
	l.retired = true
	if l.readers > 0 {
		return nil
	}
	return l.f.Close()
}

// append puts a record at the end of the log, if the state of its job allows it
// and there is room. The lock is held. The body is copied.
func (s *store) append(k kind, id ID, at int64, body []byte, reserve int64) error {
	if s.failed != nil {
		return s.failed
	}
	size := int64(recordSize(len(body)))
	if need := s.log.end + size + reserve; need > s.log.size {
		err := s.log.reserve(need + s.cfg.segment)
		if err != nil {
			err = s.log.reserve(need) // a disk that is nearly full may have that much
		}
		if err != nil {
			return fmt.Errorf("titanic: no room for the job log: %w", err)
		}
	}
	r := record{Kind: k, Log: s.log.identity, Sequence: s.log.sequence, Synced: s.log.synced, Time: at, ID: id, Body: body}
	s.buf = appendRecord(s.buf, &r)
	s.appended++
	if err := s.m.apply(&r, place{s.log.end, int(size)}, s.appended); err != nil {
		panic("BUG: titanic: a record of its own: " + err.Error())
	}
	s.log.end += size
	s.log.sequence++
	return nil
}

// commit returns when the records up to lsn are in the file, or on the disk. The
// error is that of the disk; then nobody knows whether they are.
func (s *store) commit(lsn uint64, sync bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.durable >= lsn || !sync && s.written >= lsn:
			return nil
		case s.failed != nil:
			return s.failed
		case s.leading:
			s.moved.Wait()
		default:
			s.lead()
			s.write(sync)
			s.yield()
		}
	}
}

// lead makes the caller the one who may write, and yield lets the next one. The
// lock is held.
func (s *store) lead() {
	for s.leading {
		s.moved.Wait()
	}
	s.leading = true
}

func (s *store) yield() {
	s.leading = false
	s.moved.Broadcast()
}

// write writes what was appended, and syncs it. The lock is held, but not while
// the disk is at work; the caller leads.
func (s *store) write(sync bool) {
	l, b, at, last := s.log, s.buf, s.from, s.appended
	s.buf, s.from = s.spare[:0], l.end
	s.spare = nil
	if s.failed != nil {
		return
	}
	s.mu.Unlock()
	var err error
	s.cfg.step("appended")
	if len(b) > 0 {
		_, err = l.f.WriteAt(b, at)
		s.cfg.step("written")
	}
	if err == nil && sync {
		err = l.f.Sync()
		s.cfg.step("synced")
	}
	if err == nil {
		err = s.fence.holds() // last, for what it says must be true of all before
	}
	s.mu.Lock()
	if cap(b) <= spareMax {
		s.spare = b[:0]
	}
	if err != nil {
		_ = s.fail(err)
		return
	}
	s.written = last
	if sync {
		s.durable, l.synced = last, at+int64(len(b))
		s.count.syncs++
	}
}

// fail ends the store, and returns why. The lock is held.
func (s *store) fail(err error) error {
	if s.failed == nil {
		if s.failed = s.whether(err); !errors.Is(s.failed, ErrFenced) {
			s.failed = fmt.Errorf("titanic: job log: %w", err)
		}
	}
	return s.failed
}

// sure returns nil where what was read from the index just now is true: nobody else
// has the log.
func (s *store) sure() error {
	err := s.fence.holds()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		return s.fail(err)
	}
	return s.failed
}

// spareMax is the largest buffer that is kept for the next write, bytes.
const spareMax = 1 << 20

// where is a record in a log that stays open until it was read.
type where struct {
	log *logFile
	at  place
}

// hold keeps the log open that p is a place of. The lock is held, and has been
// since p was looked up.
func (s *store) hold(p place) where {
	s.log.readers++
	return where{s.log, p}
}

func (s *store) letGo(l *logFile) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.readers--; l.retired && l.readers == 0 {
		return l.f.Close()
	}
	return nil
}

// read returns the body of a record, the caller's, and lets go of the log.
func (s *store) read(w where, k kind, id ID) ([]byte, error) {
	b := make([]byte, w.at.size)
	_, err := w.log.f.ReadAt(b, w.at.at)
	if err = errors.Join(err, s.letGo(w.log)); err != nil {
		return nil, fmt.Errorf("titanic: job log: %w", err)
	}
	r, _, err := parseRecord(b)
	if err == nil && (r.Kind != k || r.ID != id || r.Log != w.log.identity) {
		err = fmt.Errorf("%w: another one", ErrRecord)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s, at byte %d: %w", ErrDamaged, w.log.name, w.at.at, err)
	}
	return r.Body, nil
}

// attemptBody is the body of a dispatched record.
func attemptBody(n int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }
