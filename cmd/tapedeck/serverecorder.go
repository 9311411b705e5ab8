package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/tape"
)

// The phases of a recorder.
const (
	phaseRecording = "recording"
	phaseFinished  = "finished"
	phaseFailed    = "failed"
)

// recorderHouse is every recorder of this process.
type recorderHouse struct {
	cfg   *serveConfig
	tapes *tapesDir
	board *cloneBoard
	shown *metricsService // may be nil
	out   *output
	life  context.Context // of the recorders

	mu        sync.Mutex
	closed    bool
	recorders map[string]*servedRecorder // nil where one is being started
	group     sync.WaitGroup
}

// servedRecorder is a recorder that was started by a command.
type servedRecorder struct {
	house   *recorderHouse
	name    string
	args    control.RecorderStart
	taping  *taping
	started time.Time
	cancel  context.CancelFunc
	ended   chan struct{}

	mu      sync.Mutex
	phase   string
	err     error
	sum     *recordSummary // when it has ended
	version uint64
	dumps   []control.RecordDump
}

// dumpsKept is how many dumps a recorder's state lists.
const dumpsKept = 16

func newRecorderHouse(life context.Context, cfg *serveConfig, tapes *tapesDir, board *cloneBoard, shown *metricsService, out *output) *recorderHouse {
	return &recorderHouse{cfg: cfg, tapes: tapes, board: board, shown: shown, out: out, life: life, recorders: map[string]*servedRecorder{}}
}

// commands are those of the service recorder.
func (h *recorderHouse) commands() []control.Command {
	return []control.Command{
		busCommand("start", "write a stream to a tape", h.cmdStart),
		busCommand("stop", "end a recording; what came is kept", h.cmdStop),
		busLookup("status", "one recorder, or all of them", h.cmdStatus),
		busCommand("dump", "write what a ring holds to a tape of its own", h.cmdDump),
	}
}

func (h *recorderHouse) cmdStart(_ context.Context, a *control.RecorderStart) (any, error) {
	r, err := h.start(a)
	if err != nil {
		return nil, err
	}
	return r.state(), nil
}

// start starts a recorder.
func (h *recorderHouse) start(a *control.RecorderStart) (*servedRecorder, error) {
	if a.Recorder == "" {
		a.Recorder = baseName(a.Tape)
	}
	if err := control.CheckName("recorder", a.Recorder); err != nil {
		return nil, err
	}
	path, err := h.tapes.fresh("tape", a.Tape)
	if err != nil {
		return nil, err
	}
	f, err := recordFlagsOf(h.cfg, a, path)
	if err != nil {
		return nil, err
	}
	if err := h.reserve(a.Recorder); err != nil {
		return nil, err
	}
	r := &servedRecorder{house: h, name: a.Recorder, args: *a, started: time.Now(), ended: make(chan struct{}), phase: phaseRecording, version: 1}
	f.lag = h.shown != nil
	r.taping, err = f.begin(h.out)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		delete(h.recorders, a.Recorder)
		h.group.Done()
		return nil, err
	}
	h.recorders[a.Recorder] = r
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(h.life)
	if h.closed {
		r.cancel() // serve is stopping: it ends as it began
	}
	go r.run(ctx)
	return r, nil
}

// reserve takes a name; a recorder of that name that has ended makes room.
func (h *recorderHouse) reserve(name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	old, known := h.recorders[name]
	switch {
	case h.closed:
		return &control.Error{Code: control.NotAvailable, Reason: "serve is stopping", Try: "say it again when it has come back"}
	case known && (old == nil || !old.over()):
		return &control.Error{Code: control.Refused, Reason: "recorder " + name + " is recording", Try: "stop ends it; or choose another name"}
	case !known && len(h.recorders) >= h.cfg.recorder.max && !h.forgetLocked():
		return &control.Error{Code: control.Busy, Reason: fmt.Sprintf("%d recorders are at work, which is recorder.max", len(h.recorders)), Try: "stop ends one"}
	}
	h.recorders[name] = nil
	h.group.Add(1)
	return nil
}

// forgetLocked forgets the recorder that has ended the longest ago.
func (h *recorderHouse) forgetLocked() bool {
	var oldest *servedRecorder
	for _, r := range h.recorders {
		if r != nil && r.over() && (oldest == nil || r.started.Before(oldest.started)) {
			oldest = r
		}
	}
	if oldest == nil {
		return false
	}
	delete(h.recorders, oldest.name)
	h.board.hide(recorderKey(oldest.name))
	return true
}

func recorderKey(name string) string { return "/recorder/" + name + "/state" }

// recordFlagsOf are a command's arguments as flags of record, which check them.
func recordFlagsOf(cfg *serveConfig, a *control.RecorderStart, path string) (*recordFlags, error) {
	if a.Connect == "" {
		return nil, usagef("connect: the endpoints of the stream are missing")
	}
	shards := a.Shards
	if shards == 0 {
		shards = 1 + strings.Count(a.Connect, ",")
	}
	f, cmd := &recordFlags{}, &cobra.Command{}
	f.add(cmd)
	values := [][2]string{
		{"output", path}, {"connect", a.Connect}, {"shards", strconv.Itoa(shards)}, {"name", cmp.Or(a.Recorder, "recorder")},
		{"codec", cmp.Or(a.Codec, cfg.recorder.codec)}, {"sync", cfg.recorder.sync.String()},
		{"append", strconv.FormatBool(a.Append)}, {"follow", strconv.FormatBool(a.Follow)},
	}
	for _, v := range [][2]string{
		{"silence", a.Silence}, {"retain-size", a.RetainSize}, {"retain-age", a.RetainAge}, {"ring", a.Ring},
		{"resync", strings.Join(a.Resync, ",")}, {"resync-bind", a.ResyncBind},
	} {
		if v[1] != "" {
			values = append(values, v)
		}
	}
	if a.ResyncBind != "" {
		values = append(values, [2]string{"resync-linger", "0s"})
		endpoints, err := endpointList("resync_bind", a.ResyncBind)
		if err != nil {
			return nil, err
		}
		for _, e := range endpoints {
			if err := cfg.mayBind(e); err != nil {
				return nil, err
			}
		}
	}
	for _, v := range values {
		if err := cmd.Flags().Set(v[0], v[1]); err != nil {
			return nil, usagef("%s %q: %w", v[0], v[1], err)
		}
	}
	return f, nil
}

// run records to the end, and shows how that goes.
func (r *servedRecorder) run(ctx context.Context) {
	defer r.house.group.Done()
	h := r.house
	h.out.remark("recorder %s: %s to %s", r.name, r.args.Connect, r.args.Tape)
	hide := h.shown.showAs(r.taping.show, "recorder", r.name)
	done := make(chan error, 1)
	go func() { done <- r.taping.run(ctx) }()
	tick := time.NewTicker(h.cfg.state.readers)
	defer tick.Stop()
	var err error
	for at := true; at; {
		r.show()
		select {
		case err = <-done:
			at = false
		case <-tick.C:
		}
	}
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	hide()
	gone, cancel := context.WithCancel(context.Background())
	cancel() // nothing is served any more
	sum, _, closeErr := r.taping.end(gone)
	r.mu.Lock()
	r.err, r.sum, r.phase = errors.Join(err, closeErr), sum, phaseFinished
	if r.err != nil {
		r.phase = phaseFailed
		h.out.remark("recorder %s: %v", r.name, r.err)
	}
	r.version++
	r.mu.Unlock()
	r.show()
	close(r.ended)
}

func (r *servedRecorder) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

func (r *servedRecorder) show() {
	s := r.state()
	r.house.board.show(recorderKey(r.name), &s, 0)
}

// state is the recorder as it is.
func (r *servedRecorder) state() control.RecorderState {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.taping.flags
	s := control.RecorderState{
		Recorder: r.name, Phase: r.phase, Version: r.version, Tape: r.house.tapes.name(f.tape()), Connect: r.args.Connect,
		Shards: f.stream.shards, Ring: int64(f.keep.ring), StartedTime: r.started.UnixNano(), UpdatedTime: time.Now().UnixNano(),
		Dumps: slices.Clone(r.dumps),
	}
	if served := r.taping.stream.served; served != nil {
		s.Resync = served.server.Endpoints()[0]
	}
	if r.err != nil {
		s.Error = firstLine(r.err.Error())
	}
	if sum := r.sum; sum != nil {
		s.Records, s.Gaps, s.Lost, s.Corrupt, s.Complete = sum.Records, sum.Gaps, sum.Lost, sum.Corrupt, sum.Complete
		s.PayloadBytes, s.StoredBytes = sum.Bytes, sum.Stored
		return s
	}
	in, _, _ := r.taping.stream.outcome()
	stats := r.taping.w.Stats()
	s.Records, s.Gaps, s.Lost, s.Corrupt = in.Records, in.Gaps, in.Lost, in.Corrupt
	s.PayloadBytes, s.StoredBytes = stats.PayloadBytes, stats.StoredBytes
	return s
}

// find returns a recorder; where no name is given, the one that there is.
func (h *recorderHouse) find(name string) (*servedRecorder, error) {
	list := h.list()
	if name == "" && len(list) == 1 {
		return list[0], nil
	}
	var names []string
	for _, r := range list {
		if r.name == name {
			return r, nil
		}
		names = append(names, r.name)
	}
	e := &control.Error{Code: control.NotFound, Reason: "there is no recorder " + name, Try: "start begins one"}
	if name == "" {
		e.Reason = "there is no recorder"
	}
	if len(names) > 0 {
		e.Try = "there are " + strings.Join(names, ", ")
		if name == "" {
			e.Code, e.Reason = control.Refused, fmt.Sprintf("there are %d recorders, and none was named", len(names))
		}
	}
	return nil, e
}

// list is every recorder, by name.
func (h *recorderHouse) list() []*servedRecorder {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []*servedRecorder
	for _, r := range h.recorders {
		if r != nil {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *servedRecorder) int { return strings.Compare(a.name, b.name) })
	return list
}

func (h *recorderHouse) states() []control.RecorderState {
	states := []control.RecorderState{}
	for _, r := range h.list() {
		states = append(states, r.state())
	}
	return states
}

func (h *recorderHouse) cmdStatus(_ context.Context, a *control.RecorderOf) (any, error) {
	if a.Recorder == "" {
		return control.RecorderList{Recorders: h.states()}, nil
	}
	r, err := h.find(a.Recorder)
	if err != nil {
		return nil, err
	}
	return control.RecorderList{Recorders: []control.RecorderState{r.state()}}, nil
}

func (h *recorderHouse) cmdStop(ctx context.Context, a *control.RecorderOf) (any, error) {
	r, err := h.find(a.Recorder)
	if err != nil {
		return nil, err
	}
	r.cancel()
	select {
	case <-r.ended:
		return r.state(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (h *recorderHouse) cmdDump(ctx context.Context, a *control.RecorderOf) (any, error) {
	r, err := h.find(a.Recorder)
	if err != nil {
		return nil, err
	}
	ring := r.taping.flags.keep.ring
	switch {
	case ring == 0:
		return nil, &control.Error{Code: control.Refused, Reason: "recorder " + r.name + " has no ring", Try: "its tape has all that came; start one with ring to keep the last minutes"}
	case r.over():
		return nil, &control.Error{Code: control.Refused, Reason: "recorder " + r.name + " has ended", Try: "its tape " + h.tapes.name(r.taping.flags.tape()) + " has what the ring held"}
	}
	done, err := dumpRing(ctx, r.taping.w, filepath.Clean(r.taping.flags.output), ring)
	if errors.Is(err, tape.ErrNothing) {
		return nil, &control.Error{Code: control.Refused, Reason: fmt.Sprintf("nothing came in the last %v", ring), Try: "dump when something has come"}
	}
	if err != nil {
		return nil, err
	}
	d := control.RecordDump{
		Tape: h.tapes.name(done.Tape), Records: done.Records, Blocks: done.Blocks, MinReceive: done.MinReceive, MaxReceive: done.MaxReceive,
		LinkedBytes: done.Linked, CopiedBytes: done.Copied, Seconds: done.Seconds, FinishedTime: time.Now().UnixNano(),
	}
	r.mu.Lock()
	r.dumps = append(r.dumps, d)
	r.dumps = r.dumps[max(0, len(r.dumps)-dumpsKept):]
	r.version++
	r.mu.Unlock()
	return d, nil
}

// closeAll ends every recorder and takes no more.
func (h *recorderHouse) closeAll() {
	h.mu.Lock()
	h.closed = true
	for _, r := range h.recorders {
		if r != nil {
			r.cancel()
		}
	}
	h.mu.Unlock()
	h.group.Wait()
}
