package main

import (
	"context"
	"errors"
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
)

// lockedLook is how often it is looked whether jobs can be taken over. Whoever has them
// lets go when it ends, whatever ends it; until then nobody else writes a byte of them,
// for who is only slow, or stopped, does not know that it is.
const lockedLook = 100 * time.Millisecond

// startJobs begins with the jobs, or waits until they can be had.
func (s *station) startJobs(context.Context) error {
	ledger, err := s.openLedger()
	if errors.Is(err, fsys.ErrLocked) && s.cfg.jobs.locked == lockedWait {
		s.out.remark("another process has the jobs: this one waits until it has ended")
		s.start(partJobs, s.waitForJobs, nil)
		return nil
	}
	if err != nil {
		return err
	}
	services, err := s.openJobs(s.supervisor, ledger)
	s.services = append(s.services, services...)
	return err
}

func (s *station) openLedger() (*jobLedger, error) {
	return openLedger(filepath.Join(s.cfg.workDir(s.tapes.root), "effects"), s.cfg.jobs.expire)
}

// waitForJobs waits until no other process has the jobs, and has them from then on.
func (s *station) waitForJobs(ctx context.Context) error {
	look := time.NewTicker(lockedLook)
	defer look.Stop()
	for {
		ledger, err := s.openLedger()
		if err == nil {
			return s.takeOverJobs(ctx, ledger)
		}
		if !errors.Is(err, fsys.ErrLocked) {
			return err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *station) takeOverJobs(ctx context.Context, ledger *jobLedger) error {
	parts := newSupervisor()
	services, err := s.openJobs(parts, ledger)
	if err == nil {
		s.out.remark("the jobs were taken over from another process")
		hide := s.shown.showAs(func(sc *metrics.Scope) { sc.Services(services...) })
		err = parts.wait(ctx)
		hide()
	}
	s.jobs.Store(nil)
	if stopErr := parts.stop(); err == nil {
		err = stopErr
	}
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// openJobs starts who does jobs before who hands them out. They stop the other way
// round: what a worker says when it is told to stop is no job's reply. The ledger is
// closed with them.
func (s *station) openJobs(by *supervisor, ledger *jobLedger) (services []metrics.Service, err error) {
	c := &s.cfg.jobs
	by.hold("effects", ledger.close)
	by.start("effects kept", ledger.run, nil)
	runner := &jobRunner{cfg: s.cfg, tapes: s.tapes, files: s.files, ledger: ledger, out: s.out, running: map[control.Key]context.CancelCauseFunc{}}
	serve := func(name string, atOnce int, cfg control.ServiceConfig, commands ...control.Command) error {
		service, err := s.serveBy(by, name, atOnce, cfg, commands...)
		if err == nil {
			services = append(services, service)
		}
		return err
	}
	for name, command := range runner.services() {
		cfg := control.ServiceConfig{Store: ledger, Patience: jobLife, Deadline: jobLife, StoreFailed: func(err error) { s.out.remark("warning: %v", err) }}
		if err := serve(name, c.workers, cfg, command); err != nil {
			return services, err
		}
	}
	log, err := titanic.Open(titanic.Config{
		Dir: filepath.Join(s.cfg.workDir(s.tapes.root), "jobs"), Endpoints: s.join, Context: s.inproc, Local: s.broker != nil, Heartbeat: s.cfg.broker.heartbeat,
		Dispatch: c.atOnce, DispatchEach: min(c.workers, c.atOnce), Timeout: jobLife, Retry: c.retry, RetryMax: c.retryMax,
		Expire: c.expire, Remember: c.expire, Jobs: c.max, Bytes: c.bytes,
	})
	if err != nil {
		return services, err
	}
	hide := s.shown.showAs(func(sc *metrics.Scope) { sc.Jobs(log.Counters) })
	by.start(partJobs, log.Run, func() error {
		hide()
		return log.Close()
	})
	jobs := &jobService{log: log, runner: runner, codes: map[titanic.ID]control.Code{}}
	s.jobs.Store(jobs)
	return services, serve(control.ServiceJob, 4, control.ServiceConfig{}, jobs.commands()...)
}
