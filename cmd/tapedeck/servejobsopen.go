package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/titanic"
	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/metrics"
)

// What jobs.locked can say.
const (
	lockedRefuse = "refuse"
	lockedWait   = "wait"
	lockedTake   = "take"
)

// lockedLook is how often it is looked whether jobs can be taken over. Whoever has them
// lets go when it ends, whatever ends it.
const lockedLook = 100 * time.Millisecond

// signsIn is how many signs of life are given in the time after which whoever gives none
// loses the jobs.
const signsIn = 5

// haveJobs is the jobs while this process has them: who does them, and who hands them
// out.
type haveJobs struct {
	*supervisor
	log      *titanic.Titanic
	services []metrics.Service
}

// startJobs begins with the jobs, or waits until they can be had.
func (s *station) startJobs(context.Context) error {
	have, err := s.openJobs(false)
	waits := s.cfg.jobs.locked != lockedRefuse
	switch {
	case waits && taken(err):
		s.out.remark("jobs: %v: this one waits", err)
	case err != nil:
		return err
	default:
		s.services = append(s.services, have.services...)
	}
	s.show(partJobs, func(sc *metrics.Scope) { sc.Jobs(s.jobCounters) })
	s.start(partJobs, func(ctx context.Context) error { return s.runJobs(ctx, have) }, nil)
	return nil
}

// taken reports whether err says that another process has the jobs.
func taken(err error) bool {
	return errors.Is(err, fsys.ErrLocked) || errors.Is(err, titanic.ErrFenced)
}

// runJobs keeps the jobs until ctx ends, if this process has them; waits for them, if
// another one has; and does so again where another one has taken them away, unless that
// was not to be.
func (s *station) runJobs(ctx context.Context, have *haveJobs) error {
	shown := have != nil // with the services of the process
	for {
		if have == nil {
			var err error
			if have, err = s.waitForJobs(ctx); err != nil {
				return err
			}
			s.out.remark("the jobs were taken over from another process, in epoch %d", have.log.Epoch())
		}
		hide := func() {}
		if !shown {
			services := have.services
			hide = s.shown.showAs(func(sc *metrics.Scope) { sc.Services(services...) })
		}
		err := have.wait(ctx)
		hide()
		s.jobs.Store(nil)
		if errors.Is(err, titanic.ErrFenced) {
			s.jobsFenced.Add(1)
			s.out.remark("warning: jobs: %v: this process stood still, or its disk did; what it had under way the other one begins again", err)
		}
		stopErr := have.stop()
		switch {
		case ctx.Err() != nil:
			return errors.Join(err, stopErr, ctx.Err())
		case !errors.Is(err, titanic.ErrFenced) || s.cfg.jobs.locked == lockedRefuse:
			return errors.Join(err, stopErr)
		}
		have, shown = nil, false
		s.out.remark("jobs: this one waits")
	}
}

// waitForJobs waits until the jobs can be had: whoever has them has ended, or, where they
// may be taken, has given no sign of life for long.
func (s *station) waitForJobs(ctx context.Context) (*haveJobs, error) {
	watch := titanic.NewWatch(nil, s.jobsDir())
	look := time.NewTicker(lockedLook)
	defer look.Stop()
	for {
		silent := s.cfg.jobs.locked == lockedTake && watch.Silent(time.Now()) >= s.cfg.jobs.takeAfter
		have, err := s.openJobs(silent)
		if !taken(err) {
			return have, err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *station) jobsDir() string { return filepath.Join(s.cfg.workDir(s.tapes.root), "jobs") }

// openJobs opens the jobs, where they can be had, or in any case, and starts who does
// them and who hands them out. They stop the other way round: what a worker says when it
// is told to stop is no job's reply.
func (s *station) openJobs(take bool) (*haveJobs, error) {
	c := &s.cfg.jobs
	cfg := titanic.Config{
		Dir: s.jobsDir(), Take: take, Endpoints: s.join, Context: s.inproc, Local: s.broker != nil, Heartbeat: s.cfg.broker.heartbeat,
		Dispatch: c.atOnce, DispatchEach: min(c.workers, c.atOnce), Timeout: jobLife, Retry: c.retry, RetryMax: c.retryMax,
		Expire: c.expire, Remember: c.expire, Jobs: c.max, Bytes: c.bytes,
	}
	if c.locked == lockedTake {
		cfg.Signs = c.takeAfter / signsIn
	}
	log, err := titanic.Open(cfg)
	if taken(err) {
		return nil, withHint(fmt.Errorf("another process has the jobs of this directory: %w", err), "--work names another directory; with jobs.locked=wait this one takes over when that has ended")
	}
	if err != nil {
		return nil, err
	}
	have := &haveJobs{supervisor: newSupervisor(), log: log}
	have.hold("job log", log.Close)
	if err := s.offerJobs(have); err != nil {
		s.jobs.Store(nil)
		return nil, errors.Join(err, have.stop())
	}
	return have, nil
}

func (s *station) offerJobs(have *haveJobs) error {
	c, log := &s.cfg.jobs, have.log
	ledger, err := openLedger(filepath.Join(s.cfg.workDir(s.tapes.root), "effects"), c.expire, log.Epoch(), log.Held)
	if err != nil {
		return err
	}
	have.start("effects kept", ledger.run, nil)
	runner := &jobRunner{cfg: s.cfg, tapes: s.tapes, files: s.files, ledger: ledger, out: s.out, running: map[control.Key]context.CancelCauseFunc{}}
	serve := func(name string, atOnce int, cfg control.ServiceConfig, commands ...control.Command) error {
		service, err := s.serveBy(have.supervisor, name, atOnce, cfg, commands...)
		if err == nil {
			have.services = append(have.services, service)
		}
		return err
	}
	for name, command := range runner.services() {
		cfg := control.ServiceConfig{Store: ledger, Patience: jobLife, Deadline: jobLife, StoreFailed: func(err error) { s.out.remark("warning: %v", err) }}
		if err := serve(name, c.workers, cfg, command); err != nil {
			return err
		}
	}
	have.start(partJobs, log.Run, nil)
	jobs := &jobService{log: log, runner: runner, codes: map[titanic.ID]control.Code{}}
	s.jobs.Store(jobs)
	return serve(control.ServiceJob, 4, control.ServiceConfig{}, jobs.commands()...)
}

// jobCounters are those of the jobs, as long as this process has them, and how often it
// has lost them.
func (s *station) jobCounters() (c titanic.Counters) {
	if jobs := s.jobs.Load(); jobs != nil {
		c = jobs.log.Counters()
	}
	c.Fenced = s.jobsFenced.Load()
	return c
}
