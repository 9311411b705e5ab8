package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
)

// What makes the test binary a worker of TestBusKilled: where the bus is, and the file
// of effects.
const (
	killWorkerBus  = "TAPEDECK_TEST_KILL_BUS"
	killWorkerFile = "TAPEDECK_TEST_KILL_EFFECTS"
)

// The service, and its command.
const (
	killService = "effect"
	killCommand = "have"
)

type killArgs struct {
	Name string `json:"name"`
}

// killEffect is what the command answers: the line of the file that is its effect.
type killEffect struct {
	Name string `json:"name"`
	Line int    `json:"line"`
}

func (e *killEffect) of(name string) error {
	if e.Name != name {
		return fmt.Errorf("%s is answered with the effect of %q", name, e.Name)
	}
	return nil
}

// killWorker does each command once, whoever says it and whoever of several workers has
// it: its effect is a line of a file, with the client and number that it is known by. The
// line is there whole or not at all, for it is written in one call, and whoever looks for
// it and writes it has the file's lock.
type killWorker struct {
	file *os.File

	mu   sync.Mutex
	read int64 // bytes of the file
	line int   // lines of them
	done map[control.Key]killEffect
}

// runKillWorker works until it is told to stop.
func runKillWorker() error {
	w := &killWorker{done: map[control.Key]killEffect{}}
	var err error
	if w.file, err = os.OpenFile(os.Getenv(killWorkerFile), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666); err != nil {
		return err
	}
	service, err := control.NewService(killService, control.ServiceConfig{}, control.Command{Name: killCommand, Do: control.With(w.have)})
	if err != nil {
		return err
	}
	worker, err := majordomo.NewWorker(majordomo.WorkerConfig{
		Endpoints: strings.Split(os.Getenv(killWorkerBus), ","), Service: killService, Handler: service.Handle, Concurrency: 4,
		Heartbeat: killBeat, Liveness: killLiveness, Backoff: time.Millisecond, BackoffMax: killBeat,
	})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err = worker.Run(ctx)
	if ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, service.Close(), w.file.Close())
}

// have has the effect, unless it is there.
func (w *killWorker) have(_ context.Context, r *control.Request, args *killArgs) (any, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := unix.Flock(int(w.file.Fd()), unix.LOCK_EX); err != nil {
		return nil, err
	}
	defer func() { _ = unix.Flock(int(w.file.Fd()), unix.LOCK_UN) }()
	if err := w.catchUp(); err != nil {
		return nil, err
	}
	key := control.Key{Client: r.Client, Number: r.Number}
	if done, ok := w.done[key]; ok {
		_ = json.NewEncoder(os.Stdout).Encode(killEvent{What: "repeated"})
		return done, nil
	}
	if _, err := fmt.Fprintf(w.file, "%v %d %s\n", r.Client, r.Number, args.Name); err != nil {
		return nil, err
	}
	// As work that takes a while: workers die at it, too.
	if err := w.file.Sync(); err != nil {
		return nil, err
	}
	if err := w.catchUp(); err != nil {
		return nil, err
	}
	return w.done[key], nil
}

// catchUp reads what all workers have written since it was read last.
func (w *killWorker) catchUp() error {
	lines := bufio.NewReader(io.NewSectionReader(w.file, w.read, 1<<40))
	for {
		text, err := lines.ReadString('\n')
		if err == io.EOF && text == "" {
			return nil
		}
		var id string
		var number uint64
		var e killEffect
		if err == nil {
			_, err = fmt.Sscan(text, &id, &number, &e.Name)
		}
		client, idErr := control.ParseClientID(id)
		if err := errors.Join(err, idErr); err != nil {
			return fmt.Errorf("line %q: %w", text, err)
		}
		w.line++
		w.read += int64(len(text))
		e.Line = w.line
		w.done[control.Key{Client: client, Number: number}] = e
	}
}

// killMain runs a process of TestBusKilled to its end.
func killMain(run func() error) func() {
	return func() {
		signal.Ignore(syscall.SIGPIPE)
		if err := run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
