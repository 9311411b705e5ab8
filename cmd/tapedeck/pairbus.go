package main

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/binarystar"
	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/internal/zsock"
)

// pairBus is a control bus of one service, pair: it answers whether or not the server
// that it belongs to is active, which the bus of a pair of brokers would not.
type pairBus struct {
	inproc  *zsock.Context
	broker  *majordomo.Broker
	worker  *majordomo.Worker
	service *control.Service
	offered []*offeredByPair
}

// offeredByPair is a service of the part that is paired, beside pair.
type offeredByPair struct {
	*control.Service
	worker *majordomo.Worker
}

// offer puts another service on the bus, before run.
func (b *pairBus) offer(name string, commands []control.Command) error {
	o := &offeredByPair{}
	var err error
	if o.Service, err = control.NewService(name, control.ServiceConfig{}, commands...); err != nil {
		return err
	}
	b.offered = append(b.offered, o)
	o.worker, err = majordomo.NewWorker(majordomo.WorkerConfig{
		Endpoints: []string{inprocPair}, Context: b.inproc, Service: name, Handler: o.Handle, BackoffMax: time.Second,
	})
	return err
}

const inprocPair = "inproc://tapedeck-pair"

func openPairBus(endpoint, part string, p *binarystar.Pair) (_ *pairBus, err error) {
	b := &pairBus{}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.inproc, err = zsock.NewContext(zsock.NoCPU); err != nil {
		return nil, err
	}
	var may func(string, bool, []byte, [][]byte) bool
	if l := locks.Load(); l != nil && l.door != nil {
		may = l.may
	}
	b.broker, err = majordomo.NewBroker(majordomo.BrokerConfig{Endpoints: []string{endpoint, inprocPair}, Context: b.inproc, May: may})
	if err != nil {
		return nil, err
	}
	if b.service, err = control.NewService(control.ServicePair, control.ServiceConfig{}, pairCommands(part, p)...); err != nil {
		return nil, err
	}
	b.worker, err = majordomo.NewWorker(majordomo.WorkerConfig{
		Endpoints: []string{inprocPair}, Context: b.inproc, Service: control.ServicePair, Handler: b.service.Handle, BackoffMax: time.Second,
	})
	return b, err
}

// pairCommands are what the service pair does.
func pairCommands(part string, p *binarystar.Pair) []control.Command {
	state := func() *control.PairState {
		return &control.PairState{Part: part, PID: os.Getpid(), PairLink: control.PairLink(p.Status())}
	}
	return []control.Command{
		{
			Name: "state", Summary: "how this one of the pair stands", Repeat: true,
			Do: control.With(func(context.Context, *control.Request, *struct{}) (any, error) { return state(), nil }),
		},
		{
			Name: "promote", Summary: "become active because an operator says so",
			Do: control.With(func(ctx context.Context, _ *control.Request, a *control.PairPromote) (any, error) {
				err := p.Promote(ctx, a.Force)
				if errors.Is(err, binarystar.ErrPeerActive) {
					return nil, &control.Error{Code: control.Refused, Reason: "the other one is active and heard", Try: "with force it yields"}
				}
				if err != nil {
					return nil, err
				}
				return state(), nil
			}),
		},
	}
}

// endpoint is where the bus is, with a wildcard port resolved.
func (b *pairBus) endpoint() string {
	if b == nil {
		return ""
	}
	return b.broker.Endpoints()[0]
}

// run answers until ctx ends.
func (b *pairBus) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg      sync.WaitGroup
		workErr error
	)
	wg.Go(func() {
		defer cancel()
		workErr = b.worker.Run(ctx)
	})
	errs := make([]error, len(b.offered))
	for i, o := range b.offered {
		wg.Go(func() {
			defer cancel()
			errs[i] = o.worker.Run(ctx)
		})
	}
	err := b.broker.Run(ctx)
	cancel()
	wg.Wait()
	return errors.Join(append(errs, err, workErr)...)
}

func (b *pairBus) close() error {
	var errs []error
	for _, o := range b.offered {
		errs = append(errs, o.Close())
	}
	if b.service != nil {
		errs = append(errs, b.service.Close())
	}
	if b.broker != nil {
		errs = append(errs, b.broker.Close())
	}
	if b.inproc != nil {
		errs = append(errs, b.inproc.Close())
	}
	return errors.Join(errs...)
}
