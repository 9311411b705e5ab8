package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
)

// busVariable names the bus where --bus does not.
const busVariable = "TAPEDECK_BUS"

// busFlags are the flags of every command that speaks to the control bus.
type busFlags struct {
	endpoints []string
	timeout   time.Duration
}

// add adds the flags to a command and those below it.
func (f *busFlags) add(cmd *cobra.Command) {
	usual := strings.Split(cmp.Or(os.Getenv(busVariable), control.BusDefault), ",")
	fl := cmd.PersistentFlags()
	fl.StringSliceVar(&f.endpoints, "bus", usual, "endpoint of the control bus, or of several brokers; $"+busVariable+" sets it, too")
	fl.DurationVar(&f.timeout, "timeout", 30*time.Second, "how long a command may take")
}

// bus is a connection to the control bus.
type bus struct {
	flags  *busFlags
	bus    *majordomo.Client
	client *control.Client
}

// The bus is asked three times, and waited for two and a half seconds each time; but
// where nobody listens at all one is not kept waiting so long.
const (
	busTry   = 2500 * time.Millisecond
	busTries = 3
	busDial  = time.Second
)

// open connects to the bus.
func (f *busFlags) open(ctx context.Context) (*bus, error) {
	if f.timeout <= 0 || f.timeout > control.DeadlineMax {
		return nil, usagef("--timeout %v: want a time above 0, at most %v", f.timeout, control.DeadlineMax)
	}
	for _, endpoint := range f.endpoints {
		if !strings.HasPrefix(endpoint, "tcp://") && !strings.HasPrefix(endpoint, "ipc://") {
			return nil, usagef("--bus %s: want an endpoint such as %s, or ipc://PATH", endpoint, control.BusDefault)
		}
	}
	m, err := majordomo.NewClient(majordomo.ClientConfig{Endpoints: f.endpoints, Timeout: busTry, Tries: busTries})
	if err != nil {
		return nil, usageError{fmt.Errorf("--bus %s: %w", strings.Join(f.endpoints, ","), err)}
	}
	b := &bus{flags: f, bus: m, client: control.NewClient(m)}
	if !f.heard(ctx) {
		return nil, errors.Join(f.noAnswer(), b.close())
	}
	return b, nil
}

func (b *bus) close() error { return b.bus.Close() }

// heard reports whether somebody may listen at one of the endpoints: false where
// each of them refuses connections, for busDial.
func (f *busFlags) heard(ctx context.Context) bool {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for until := time.Now().Add(busDial); ; {
		if !f.refused(ctx) {
			return true
		}
		select {
		case at := <-again.C:
			if at.After(until) {
				return false
			}
		case <-ctx.Done():
			return true // what is asked next says so
		}
	}
}

// refused reports whether every endpoint refuses a connection now.
func (f *busFlags) refused(ctx context.Context) bool {
	if locks.Load() != nil {
		return false // a bus with keys would take the question for somebody without
	}
	d := net.Dialer{Timeout: busDial}
	for _, endpoint := range f.endpoints {
		address, tcp := strings.CutPrefix(endpoint, "tcp://")
		if !tcp || strings.Contains(address, ";") {
			return false // nobody knows
		}
		c, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			_ = c.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return false
		}
	}
	return true
}

func (f *busFlags) noAnswer() error {
	return withHint(fmt.Errorf("no answer from the bus at %s", strings.Join(f.endpoints, ", ")),
		"is tapedeck serve running? --bus names another")
}

// do gives one command, and reads its result into result.
func (b *bus) do(ctx context.Context, service, command string, args, result any) error {
	ctx, cancel := context.WithTimeout(ctx, b.flags.timeout)
	defer cancel()
	return b.told(b.client.Do(ctx, service, command, args, result), service, command)
}

// told says an error of the bus as the user of the command line wants it.
func (b *bus) told(err error, service, command string) error {
	var (
		refused    *control.Error
		unanswered *majordomo.UnansweredError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return refusal(refused)
	case errors.Is(err, context.DeadlineExceeded):
		return withHint(fmt.Errorf("%s %s was not done within %v", service, command, b.flags.timeout),
			"it may still take effect; --timeout waits longer")
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &unanswered) && unanswered.For(majordomo.ReasonNoRight):
		return withHint(fmt.Errorf("this key has no right to %s %s on the bus at %s", service, command, strings.Join(b.flags.endpoints, ", ")),
			"tapedeck keys show lists the roles on its list: what changes something takes control")
	case errors.As(err, &unanswered) && unanswered.For(majordomo.ReasonNoWorker):
		return withHint(fmt.Errorf("nobody on the bus at %s is the service %s", strings.Join(b.flags.endpoints, ", "), service),
			"tapedeck serve is all of them")
	case errors.As(err, &unanswered) && unanswered.For(majordomo.ReasonPassive):
		return withHint(fmt.Errorf("no broker at %s serves: %s", strings.Join(b.flags.endpoints, ", "), strings.Join(unanswered.Reasons, ", ")),
			"name both brokers of the pair; where one is gone for good, an operator promotes the other (docs/OPERATIONS.md)")
	case errors.As(err, &unanswered):
		if len(unanswered.Reasons) == 0 || len(unanswered.Endpoints) == 0 {
			return b.flags.noAnswer()
		}
		return withHint(fmt.Errorf("no answer from %s on the bus at %s: %s", service, strings.Join(unanswered.Endpoints, ", "), strings.Join(unanswered.Reasons, ", ")),
			"is tapedeck serve running? --bus names another")
	}
	return err
}

// refusal is what a service says, without the package's name.
func refusal(e *control.Error) error {
	err := error(busError{refused: e})
	if e.Code == control.BadRequest {
		err = usageError{err}
	}
	if e.Try != "" {
		err = withHint(err, e.Try)
	}
	return err
}

// busError is a command that a service refused or failed.
type busError struct{ refused *control.Error }

func (e busError) Error() string { return cmp.Or(e.refused.Reason, e.refused.Code.String()) }
func (e busError) Unwrap() error { return e.refused }

// ask is do on a connection of its own: what most commands are.
func (f *busFlags) ask(ctx context.Context, service, command string, args, result any) (err error) {
	b, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	return b.do(ctx, service, command, args, result)
}
