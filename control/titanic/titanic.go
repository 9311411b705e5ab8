package titanic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/internal/zsock"
)

// Titanic keeps jobs and has them done. Any goroutine may use it.
type Titanic struct {
	cfg   Config
	world zsock.World // nil: the world
	mono  func() time.Duration
	lock  io.Closer
	fence *fence
	woken chan struct{} // the dispatcher has something to look at
	now   func() time.Time
	step  func(string)

	mu       sync.Mutex
	store    *store
	repairAt time.Duration // when a store that has failed is opened again, at the earliest
	sched    *schedule
	flights  map[ID]context.CancelCauseFunc
	watched  map[ID]*watch
	closed   bool
	fenced   error         // why the log is another one's
	ended    chan struct{} // closed when it is
	count    Counters
	before   storeCounters // of the stores that have failed
}

// watch tells those who wait for a job that something happened to it.
type watch struct {
	changed chan struct{}
	waiting int
}

// repairPause is how long a failed disk is left alone.
const repairPause = time.Second

// Open opens the job log in cfg.Dir, or begins one. From then on no other process can
// write to it. The error is fsys.ErrLocked where another process has it, ErrFenced
// where one was faster, ErrDamaged, ErrLog or ErrVersion where it cannot be read, or
// that of the disk.
func Open(cfg Config) (*Titanic, error) { return openWith(cfg, nil) }

func openWith(cfg Config, step func(string)) (*Titanic, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if step == nil {
		step = func(string) {}
	}
	begun := time.Now()
	t := &Titanic{cfg: cfg, mono: func() time.Duration { return time.Since(begun) }, woken: make(chan struct{}, 1), now: time.Now, step: step,
		sched:   newSchedule(cfg.Dispatch, cfg.DispatchEach, cfg.Retry, cfg.RetryMax),
		flights: map[ID]context.CancelCauseFunc{}, watched: map[ID]*watch{}, ended: make(chan struct{})}
	if cfg.Context != nil && cfg.Context.World() != nil {
		t.world, t.mono, t.now = cfg.Context.World(), cfg.Context.Clock(), cfg.Context.Wall
		t.sched.random = cfg.Context.Random
	}
	if err := cfg.FS.Mkdir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("titanic: %w", err)
	}
	unlock, err := t.mayOpen()
	if err != nil {
		return nil, fmt.Errorf("titanic: %w", err)
	}
	err = errors.Join(t.open(), unlock())
	if err != nil && t.store != nil {
		err = errors.Join(err, t.store.close())
	}
	if err != nil && t.lock != nil {
		err = errors.Join(err, t.lock.Close())
	}
	if err != nil {
		return nil, err
	}
	t.refill()
	return t, nil
}

// mayOpen looks whether somebody has the log: the last who has opened it, as long as
// he lives; or, where nobody did who knows epochs, whoever has locked the directory.
// Nobody else does so until unlock is called.
func (t *Titanic) mayOpen() (unlock func() error, err error) {
	fsx, dir := t.cfg.FS, t.cfg.Dir
	var locks []io.Closer
	unlock = func() (err error) {
		for _, l := range locks {
			err = errors.Join(err, l.Close())
		}
		return err
	}
	last, err := lockLast(fsx, dir)
	if err != nil && !(t.cfg.Take && errors.Is(err, fsys.ErrLocked)) {
		return nil, err
	}
	if last != nil {
		locks = append(locks, last)
	}
	mark, err := openLog(fsx, dir, 0)
	if err == nil {
		err = mark.f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, unlock())
	}
	if err == nil && mark.mark() {
		return unlock, nil
	}
	whole, err := fsx.Lock(dir)
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	locks = append(locks, whole)
	return unlock, nil
}

// open ends the epoch of whoever had the log, takes its place, and reads it.
func (t *Titanic) open() (err error) {
	cfg := t.storeConfig(t.cfg.Salvage)
	cfg.claimed = func(f *fence) (err error) {
		t.fence = f
		t.lock, err = t.cfg.FS.Lock(f.name)
		return err
	}
	t.store, err = openStore(cfg, t.now().UnixNano())
	return err
}

func (t *Titanic) storeConfig(salvage bool) storeConfig {
	return storeConfig{fs: t.cfg.FS, dir: t.cfg.Dir, segment: t.cfg.SegmentBytes, jobs: t.cfg.Jobs, bytes: t.cfg.Bytes,
		expire: t.cfg.Expire, forget: t.cfg.Remember, salvage: salvage, signs: t.cfg.Signs > 0, step: t.step}
}

// refill makes the schedule agree with a store that was just opened.
func (t *Titanic) refill() {
	s := t.store
	s.mu.Lock()
	defer s.mu.Unlock()
	wall := t.now().UnixNano()
	pending := make(map[ID]bool, s.m.pending)
	for _, e := range s.byNumber() {
		if e.state.Pending() {
			pending[e.id] = true
			t.sched.add(e.id, e.service, e.notBefore, wall)
		}
	}
	for id := range t.sched.tasks {
		if !pending[id] {
			t.drop(id)
		}
	}
}

// drop takes a job out of the schedule and ends what is under way for it. The lock
// is held.
func (t *Titanic) drop(id ID) {
	t.sched.remove(id)
	if cancel := t.flights[id]; cancel != nil {
		cancel(errGone)
	}
}

// usable returns the store; where its disk has failed, one that was opened again.
func (t *Titanic) usable() (*store, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrClosed
	}
	err := t.store.broken()
	if err == nil {
		return t.store, nil
	}
	if t.over(err) || t.mono() < t.repairAt {
		return nil, err
	}
	t.repairAt = t.mono() + repairPause
	count := t.store.counters()
	_ = t.store.close() // what it says was said already
	cfg := t.storeConfig(false)
	cfg.fence = t.fence
	s, rerr := openStore(cfg, t.now().UnixNano())
	if rerr != nil {
		t.over(rerr)
		return nil, errors.Join(err, rerr)
	}
	t.before.syncs += count.syncs
	t.before.compactions += count.compactions
	t.before.compactionsFailed += count.compactionsFailed
	t.store = s
	t.count.Reopened++
	t.refill()
	for id := range t.watched {
		t.changed(id)
	}
	t.wakeUp()
	return s, nil
}

// over ends all where err says that the log is another one's: it never comes back. The
// lock is held.
func (t *Titanic) over(err error) bool {
	if t.fenced != nil {
		return true
	}
	var fenced *FencedError
	if !errors.As(err, &fenced) {
		return false
	}
	t.fenced = fenced
	t.count.Fenced++
	close(t.ended)
	for id := range t.watched {
		t.changed(id)
	}
	t.wakeUp()
	return true
}

// Held returns nil while no other process has the log, which it looks up; else
// ErrFenced, ErrClosed or the error of the disk. What it says was true when it was
// called, and may be over when it returns.
func (t *Titanic) Held() error {
	s, err := t.usable()
	if err != nil {
		return err
	}
	err = s.sure()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over(err)
	return err
}

// Fenced is closed when another process has taken the log, as far as it has been
// noticed: with every write, and once a second while Run runs.
func (t *Titanic) Fenced() <-chan struct{} { return t.ended }

// Epoch is that of this opening of the log.
func (t *Titanic) Epoch() uint64 { return t.fence.epoch }

// changed tells those who wait for a job to look again. The lock is held.
func (t *Titanic) changed(id ID) {
	if w := t.watched[id]; w != nil {
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

func (t *Titanic) wakeUp() {
	select {
	case t.woken <- struct{}{}:
	default:
	}
}

// Close closes the log, never while Run runs. It may be called more than once.
func (t *Titanic) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	for id := range t.watched {
		t.changed(id)
	}
	return errors.Join(t.store.close(), t.lock.Close())
}

// Counters returns what was counted so far.
func (t *Titanic) Counters() Counters {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.count
	c.Flying, c.Epoch = t.sched.flying, t.fence.epoch
	t.store.fill(&c, t.before)
	return c
}
