package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Job is what a worker process is to do.
type Job struct {
	Role      string   `json:"role"`
	Endpoints []string `json:"endpoints,omitempty"`
	Name      string   `json:"name,omitempty"`
	Count     uint64   `json:"count,omitempty"` // messages to receive
	Chunk     int      `json:"chunk,omitempty"` // bytes a read
	IOCPUs    []int    `json:"io_cpus,omitempty"`
	LoopCPUs  []int    `json:"loop_cpus,omitempty"`
	Latency   bool     `json:"latency,omitempty"` // measure each record against its event time
	// ByReference takes batches by reference where the publisher offers them.
	ByReference bool `json:"by_reference,omitempty"`
	// Topics, and what else the readers of last values are told.
	Topics   int          `json:"topics,omitempty"`
	Progress uint64       `json:"progress,omitempty"` // records after which to say how many came
	Joins    joinOrders   `json:"joins,omitzero"`
	Resync   resyncOrders `json:"resync,omitzero"`
	Bus      busOrders    `json:"bus,omitzero"`

	Failover failoverOrders `json:"failover,omitzero"`

	in *bufio.Reader // of a worker, what it is told beside the job
}

// Result is what a worker found.
type Result struct {
	Records    uint64  `json:"records"`
	Bytes      uint64  `json:"bytes"`
	Seconds    float64 `json:"seconds"` // first to last byte or record
	CPUSeconds float64 `json:"cpu_seconds"`
	RSSBytes   uint64  `json:"rss_bytes"` // peak
	Gaps       uint64  `json:"gaps"`
	Lost       uint64  `json:"lost"`
	Dropped    uint64  `json:"dropped"` // for readers that were too slow
	Batches    uint64  `json:"batches"`
	Referred   uint64  `json:"referred"` // batches that came by reference
	Fallbacks  uint64  `json:"fallbacks"`
	Epochs     uint64  `json:"epochs"`
	Complete   bool    `json:"complete"`
	Topics     int     `json:"topics"`
	Histogram  []byte  `json:"histogram,omitempty"` // HdrHistogram V2, ns
	// Phases are histograms of each phase of a run, as Histogram.
	Phases [][]byte `json:"phases,omitempty"`
	// Plain is what a reader of the plain stream found.
	Plain plainTally `json:"plain,omitzero"`
	// Resync is what a reader that was cut off, or asked for refills, found.
	Resync resyncTally `json:"resync,omitzero"`
	// Bus is what those found who are on the control bus.
	Bus busTally `json:"bus,omitzero"`
	// Failover is what readers and clients of a pair found.
	Failover failoverTally `json:"failover,omitzero"`
	Error    string        `json:"error,omitempty"`
}

// ready is what a worker says when it can be sent to, and what it says later while
// it works.
type ready struct {
	Endpoints []string `json:"endpoints,omitempty"`
	Records   uint64   `json:"records,omitempty"` // that have come so far
	Seek      seekSeen `json:"seek,omitzero"`     // what has come of a place
	Error     string   `json:"error,omitempty"`   // its end before it was ready

	Failover failoverSeen `json:"failover,omitzero"` // what came after a kill
}

// WorkerArg is the argument that makes the program a worker.
const WorkerArg = "bench-worker"

// worker is a process that does a Job.
type worker struct {
	cmd   *exec.Cmd
	in    io.Writer
	out   *bufio.Reader
	ready ready
}

// startWorker starts a worker and waits until it is ready.
func startWorker(ctx context.Context, job Job) (*worker, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe, WorkerArg)
	cmd.Env = append(os.Environ(), workerEnv+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("bench: start a worker: %w", err)
	}
	w := &worker{cmd: cmd, in: stdin, out: bufio.NewReader(stdout)}
	if _, err = stdin.Write(append(line, '\n')); err == nil {
		err = w.hear()
	}
	if err != nil {
		_ = cmd.Process.Kill()
		return nil, errors.Join(fmt.Errorf("bench: worker %s: %w", job.Role, err), cmd.Wait())
	}
	return w, nil
}

// workerEnv tells a test binary that it is a worker.
const workerEnv = "TAPEDECK_BENCH_WORKER"

func (w *worker) read(v any) error {
	line, err := w.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("ended without an answer: %w", err)
	}
	return json.Unmarshal(line, v)
}

// hear waits for the next thing that the worker says before its result.
func (w *worker) hear() error {
	w.ready = ready{}
	err := w.read(&w.ready)
	if err == nil && w.ready.Error != "" {
		err = errors.New(w.ready.Error)
	}
	return err
}

// cue tells the worker to go on; see Job.waitCue.
func (w *worker) cue() error {
	_, err := w.in.Write([]byte{'\n'})
	return err
}

// tell tells the worker something, as a line of JSON.
func (w *worker) tell(v any) error {
	line, err := json.Marshal(v)
	if err == nil {
		_, err = w.in.Write(append(line, '\n'))
	}
	return err
}

// waitCue waits, in the worker, for the measuring process to say go on.
func (job *Job) waitCue() error {
	_, err := job.in.ReadBytes('\n')
	return err
}

// result waits for the worker's result and its end.
func (w *worker) result() (Result, error) {
	var r Result
	err := w.read(&r)
	if err == nil && r.Error != "" {
		err = errors.New(r.Error)
	}
	return r, errors.Join(err, w.cmd.Wait())
}

// kill ends a worker whose result nobody wants.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait()
}

// RunWorker is the other end: it reads a Job from in, does it and writes what it
// found to out.
func RunWorker(ctx context.Context, in io.Reader, out io.Writer) error {
	job := Job{in: bufio.NewReader(in)}
	line, err := job.in.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &job)
	}
	if err != nil {
		return fmt.Errorf("bench: worker job: %w", err)
	}
	role, ok := roles[job.Role]
	if !ok {
		return fmt.Errorf("bench: unknown worker role %q", job.Role)
	}
	enc := json.NewEncoder(out)
	res, err := role(ctx, &job, func(r ready) error { return enc.Encode(r) })
	if err != nil {
		res.Error = err.Error()
	}
	res.CPUSeconds, res.RSSBytes = usage()
	return errors.Join(err, enc.Encode(res))
}

// roles are what workers can do.
var roles = map[string]func(ctx context.Context, job *Job, say func(ready) error) (Result, error){
	"subscriber": subscriberWorker,
	"tcp-sink":   tcpSink,
	"zmq-sink":   zmqSink,
	"zmq-timed":  zmqTimedSink,
	"phased":     phasedSubscriber,

	ours:         lvcProxy,
	guides:       xpubCache,
	manuals:      xpubCache,
	"plain":      plainSubscriber,
	"idle-joins": idleJoins,
	"busy-joins": busyJoins,

	"refill-recorder": refillRecorder,
	"healed":          healedSubscriber,
	"refiller":        refiller,
	"seeker":          seekSubscriber,

	"bare-echo":    bareEcho,
	"bus-broker":   busBroker,
	"bus-workers":  busWorkers,
	"hammer":       hammer,
	"deck-readers": deckReaders,
	"deck-timed":   deckTimed,

	"failover-readers":     failoverReaders,
	"failover-commanders":  failoverCommanders,
	"failover-subscribers": failoverSubscribers,
}

// usage returns the CPU time and the peak resident set of this process. The
// latter is not getrusage's, which remembers the process that started this one.
func usage() (cpuSeconds float64, rssBytes uint64) {
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &ru) == nil {
		cpuSeconds = time.Duration(ru.Utime.Nano() + ru.Stime.Nano()).Seconds()
	}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if n, err := fmt.Sscanf(line, "VmHWM: %d kB", &rssBytes); n == 1 && err == nil {
			return cpuSeconds, rssBytes << 10
		}
	}
	return cpuSeconds, 0
}
