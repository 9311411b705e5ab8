package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/metrics"
)

// station is a process that serves: the parts that run in it, wired together.
type station struct {
	*supervisor
	cfg     *serveConfig
	out     *output       // of the parts: remarks alone
	said    *output       // of the process: messages, once what serves has been said
	begun   chan struct{} // closed then
	started time.Time
	tapes   *tapesDir
	files   *fileRoots

	inproc *zsock.Context // of a broker in this process
	bus    string         // where others find the broker, or those of a pair
	join   []string       // where this process does
	broker *majordomo.Broker
	pair   *brokerPair // nil: the broker is none of a pair

	board     *cloneBoard
	decks     *deckHouse
	recorders *recorderHouse
	lvc       *lvcHandler
	refills   []*tapeRefills
	jobs      atomic.Pointer[jobService] // nil: another process has them, or nobody
	// jobsFenced counts how often another process has taken the jobs from this one.
	jobsFenced atomic.Uint64
	services   []metrics.Service
	shown      *metricsService // nil: nothing is
}

// openStation starts the parts, one after the other. Where one cannot be had, those
// before it are stopped again.
func openStation(ctx context.Context, cfg *serveConfig, out *output) (_ *station, err error) {
	s := &station{supervisor: newSupervisor(), cfg: cfg, out: partOutput(out), said: out, begun: make(chan struct{}), started: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if s.tapes, err = openTapesDir(cfg.tapes); err != nil {
		return nil, err
	}
	if s.files, err = openFileRoots(cfg.files, s.tapes); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		name  string
		start func(context.Context) error
	}{
		{partMetrics, s.startMetrics}, {partBroker, s.startBroker}, {partState, s.startState}, {partDecks, s.startDecks},
		{partTapes, s.startTapes}, {partRecorder, s.startRecorders}, {partLVC, s.startLVC}, {partRefill, s.startRefills},
		{partJobs, s.startJobs}, {partStatus, s.startStatus},
	} {
		if part.name == partBroker && !cfg.has(partBroker) {
			s.bus, s.join = cfg.bus, cfg.busEndpoints()
		}
		if !cfg.has(part.name) {
			continue
		}
		if err := part.start(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return s, s.showWhole()
}

// partOutput is where parts say something: remarks, on standard error, and nothing
// that is drawn, for there may be many of them at once.
func partOutput(out *output) *output {
	return &output{w: bufio.NewWriter(io.Discard), err: remarkWriter{out}}
}

// remarkWriter passes remarks on.
type remarkWriter struct{ out *output }

func (w remarkWriter) Write(p []byte) (int, error) {
	w.out.remarks.Lock()
	defer w.out.remarks.Unlock()
	return w.out.err.Write(p)
}

// serve puts a service on the bus. commands are carried out at once, up to a number.
func (s *station) serve(name string, atOnce int, cfg control.ServiceConfig, commands ...control.Command) error {
	service, err := s.serveBy(s.supervisor, name, atOnce, cfg, commands...)
	if err == nil {
		s.services = append(s.services, service)
	}
	return err
}

// serveBy is serve for a part that has a supervisor of its own.
func (s *station) serveBy(by *supervisor, name string, atOnce int, cfg control.ServiceConfig, commands ...control.Command) (metrics.Service, error) {
	if cfg.Replies == 0 {
		r := &s.cfg.replies
		cfg.Replies, cfg.Bytes, cfg.Life = r.max, r.bytes, r.life
	}
	work := time.Minute
	if cfg.Patience > work {
		work = cfg.Patience
	}
	service, err := control.NewService(name, cfg, commands...)
	if err != nil {
		return nil, err
	}
	w, err := majordomo.NewWorker(majordomo.WorkerConfig{
		Endpoints: s.join, Context: s.inproc, Service: name, Handler: service.Handle, Concurrency: atOnce,
		Heartbeat: s.cfg.broker.heartbeat, Liveness: s.cfg.broker.liveness, Work: work, BackoffMax: time.Second,
	})
	if err != nil {
		return nil, errors.Join(err, service.Close())
	}
	by.start(name, w.Run, service.Close)
	return offered{service, w}, nil
}

// offered is a service that is on the bus, and what offers it there.
type offered struct {
	*control.Service
	worker *majordomo.Worker
}

// Worker implements metrics.Service.
func (o offered) Worker() majordomo.WorkerCounters { return o.worker.Counters() }

func (s *station) startState(context.Context) error {
	var err error
	if s.board, err = openBoard(s.cfg.state.bind); err != nil {
		return err
	}
	s.start(partState, s.board.run, s.board.close)
	s.show(partState, func(sc *metrics.Scope) { sc.Clones(s.board.server.Stats) })
	return nil
}

func (s *station) startDecks(context.Context) error {
	life, end := context.WithCancel(context.Background())
	var err error
	if s.decks, err = newDeckHouse(life, s.cfg, s.tapes, s.board, s.shown, s.out); err != nil {
		end()
		return err
	}
	if err := s.pairDecks(); err != nil {
		end()
		return err
	}
	s.hold(partDecks, func() error {
		s.decks.closeAll()
		end()
		return nil
	})
	s.show(partDecks, func(sc *metrics.Scope) {
		sc.Check(partDecks, s.decks.failed)
		if s.decks.link != nil {
			sc.Pair("deck", s.decks.link)
		}
	})
	for i, table := range s.cfg.deck {
		var args control.DeckOpen
		if err := tableArgs(tableDeck, i, table, &args); err != nil {
			return err
		}
		if _, err := s.decks.open(&args, true); err != nil {
			return tableError(tableDeck, i, err)
		}
	}
	if l := s.decks.link; l != nil {
		s.start("decks that stand by", l.keep, nil)
		s.start("decks' pair told", func(ctx context.Context) error { return l.tell(ctx, s.said, s.begun) }, nil)
	}
	return s.offerDecks()
}

func (s *station) startTapes(context.Context) error {
	service := &tapesService{s.cfg, s.tapes}
	return s.serve(control.ServiceTapes, s.cfg.tape.commands, control.ServiceConfig{}, service.commands()...)
}

func (s *station) startRecorders(context.Context) error {
	life, end := context.WithCancel(context.Background())
	s.recorders = newRecorderHouse(life, s.cfg, s.tapes, s.board, s.shown, s.out)
	s.hold(partRecorder, func() error {
		s.recorders.closeAll()
		end()
		return nil
	})
	for i, table := range s.cfg.recording {
		var args control.RecorderStart
		if err := tableArgs(tableRecording, i, table, &args); err != nil {
			return err
		}
		if _, err := s.recorders.start(&args); err != nil {
			return tableError(tableRecording, i, err)
		}
	}
	return s.serve(control.ServiceRecorder, s.cfg.recorder.commands, control.ServiceConfig{}, s.recorders.commands()...)
}

// serving says what runs here.
func (s *station) serving() *serving {
	v := &serving{Parts: s.cfg.parts, Bus: s.bus, Tapes: s.tapes.root, State: s.board.place().Snapshot, Updates: s.board.place().Updates, Metrics: s.metricsURL()}
	if s.pair != nil {
		v.Pair = s.pair.Endpoint()
		if s.pair.bus != nil {
			v.PairBus = s.pair.bus.endpoint()
		}
	}
	if s.decks != nil {
		if l := s.decks.link; l != nil {
			v.DecksPair = l.Endpoint()
			v.DecksPairBus = l.pairLink.bus.endpoint()
		}
		for _, d := range s.decks.list() {
			v.Decks = append(v.Decks, d.name)
		}
	}
	return v
}

// tableArgs reads a table of the configuration as the arguments of a command.
func tableArgs(table string, i int, values map[string]any, args any) error {
	b, err := json.Marshal(values)
	if err != nil {
		return tableError(table, i, err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(args); err != nil {
		return withHint(tableError(table, i, usageError{err}), "docs/CONFIG.md has the settings of [["+table+"]]")
	}
	return nil
}

// tableError names the table that is wrong.
func tableError(table string, i int, err error) error {
	var told *control.Error
	if errors.As(err, &told) {
		err = withHint(errors.New(told.Reason), told.Try)
	}
	return fmt.Errorf("the %s of number %d: %w", "[["+table+"]]", i+1, err)
}
