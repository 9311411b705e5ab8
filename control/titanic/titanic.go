package titanic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// Titanic keeps jobs and has them done. Any goroutine may use it.
type Titanic struct {
	cfg   Config
	world zsock.World // nil: the world
	mono  func() time.Duration
	lock  io.Closer
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

// Open opens the job log in cfg.Dir, or begins one. The error is fsys.ErrLocked
// where another process has it, ErrDamaged, ErrLog or ErrVersion where it cannot be
// read, or that of the disk.
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
		flights: map[ID]context.CancelCauseFunc{}, watched: map[ID]*watch{}}
	if cfg.Context != nil && cfg.Context.World() != nil {
		t.world, t.mono, t.now = cfg.Context.World(), cfg.Context.Clock(), cfg.Context.Wall
		t.sched.random = cfg.Context.Random
	}
	if err := cfg.FS.Mkdir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("titanic: %w", err)
	}
	lock, err := cfg.FS.Lock(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("titanic: %w", err)
	}
	t.lock = lock
	if t.store, err = openStore(t.storeConfig(cfg.Salvage, false), t.now().UnixNano()); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	t.refill()
	return t, nil
}

func (t *Titanic) storeConfig(salvage, fresh bool) storeConfig {
	return storeConfig{fs: t.cfg.FS, dir: t.cfg.Dir, segment: t.cfg.SegmentBytes, jobs: t.cfg.Jobs, bytes: t.cfg.Bytes,
		expire: t.cfg.Expire, forget: t.cfg.Remember, salvage: salvage, fresh: fresh, step: t.step}
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
	if t.mono() < t.repairAt {
		return nil, err
	}
	t.repairAt = t.mono() + repairPause
	count := t.store.counters()
	_ = t.store.close() // what it says was said already
	s, rerr := openStore(t.storeConfig(false, true), t.now().UnixNano())
	if rerr != nil {
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
	c.Flying = t.sched.flying
	t.store.fill(&c, t.before)
	return c
}
