package main

import (
	"context"
	"errors"
	"fmt"
)

// supervisor runs the parts of a process. They start one after the other and stop
// the other way round, so that what others need is there the longest. The first that
// fails ends all of them. It belongs to one goroutine.
type supervisor struct {
	parts  []*runningPart
	failed chan error // the first failure
}

// runningPart is a part at work.
type runningPart struct {
	name   string
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of run, once it has ended
	close  func() error
}

func newSupervisor() *supervisor { return &supervisor{failed: make(chan error, 1)} }

// start runs a part until it is stopped. run returns when its context ends; close,
// where it is not nil, comes after it and lets go of what the part has. A part that
// ends by itself has failed.
func (s *supervisor) start(name string, run func(context.Context) error, closer func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &runningPart{name: name, cancel: cancel, ended: make(chan struct{}), close: closer}
	s.parts = append(s.parts, p)
	go func() {
		defer close(p.ended)
		err := run(ctx)
		if ctx.Err() != nil {
			if errors.Is(err, context.Canceled) {
				err = nil
			}
			p.err = err
			return
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		select {
		case s.failed <- fmt.Errorf("%s: %w", name, err):
		default: // another part failed before
		}
	}()
}

// hold has something closed when the parts that were started before it stop.
func (s *supervisor) hold(name string, closer func() error) {
	s.start(name, func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}, closer)
}

// wait returns when the context has ended, with nil, or with the first failure.
func (s *supervisor) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.failed:
		return err
	}
}

// stop stops every part, the last one first, and returns what went wrong meanwhile.
func (s *supervisor) stop() error {
	var errs []error
	for len(s.parts) > 0 {
		p := s.parts[len(s.parts)-1]
		s.parts = s.parts[:len(s.parts)-1]
		p.cancel()
		<-p.ended
		err := p.err
		if p.close != nil {
			err = errors.Join(err, p.close())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	return errors.Join(errs...)
}
