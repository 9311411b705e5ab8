package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// ringName is the tape in the directory of a flight recorder that keeps the
// last minutes.
const ringName = "ring.tape"

// keepFlags say how much of a recording is kept, and when what is kept is
// written out as a tape of its own.
type keepFlags struct {
	size string
	age  time.Duration

	ring    time.Duration
	dumpOn  string
	trigger string
}

func (f *keepFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.size, "retain-size", "", "remove the oldest segments where the tape grows beyond this size, such as 100GB")
	fl.DurationVar(&f.age, "retain-age", 0, "remove segments older than this")
	fl.DurationVar(&f.ring, "ring", 0, "keep only the last so many minutes, in "+ringName+" inside the directory --output")
	fl.StringVar(&f.dumpOn, "dump-on", "", "signal on which --ring writes what it has to a tape of its own: SIGUSR1, SIGUSR2 or SIGHUP (default SIGUSR1)")
	fl.StringVar(&f.trigger, "trigger", "", "file on whose appearance or change --ring does the same")
	_ = cmd.RegisterFlagCompletionFunc("dump-on", cobra.FixedCompletions([]string{"SIGUSR1", "SIGUSR2", "SIGHUP"}, cobra.ShellCompDirectiveNoFileComp))
}

// segmentsPerRing is how finely a ring forgets, and how much a dump may hold
// beyond the window.
const segmentsPerRing = 10

// config puts what is kept into the configuration of a tape.
func (f *keepFlags) config(cfg *tape.Config) error {
	switch {
	case f.ring < 0 || f.age < 0:
		return usagef("--ring and --retain-age want a time above 0")
	case f.ring > 0 && f.age > 0:
		return usagef("--ring and --retain-age both say what is kept: give one of them")
	case f.ring == 0 && (f.dumpOn != "" || f.trigger != ""):
		return usagef("--dump-on and --trigger are for --ring")
	}
	if _, err := f.signal(); err != nil {
		return err
	}
	cfg.Retain.Age = f.age
	if f.ring > 0 {
		cfg.Retain.Age = f.ring
		cfg.SegmentDuration = max(f.ring/segmentsPerRing, 100*time.Millisecond)
	}
	if f.size == "" {
		return nil
	}
	n, err := parseBytes(f.size)
	if err != nil {
		return usagef("--retain-size: %v", err)
	}
	cfg.Retain.Size = n
	return nil
}

// signal returns the signal that asks for a dump, or nil.
func (f *keepFlags) signal() (os.Signal, error) {
	switch f.dumpOn {
	case "SIGUSR1", "USR1":
		return syscall.SIGUSR1, nil
	case "SIGUSR2", "USR2":
		return syscall.SIGUSR2, nil
	case "SIGHUP", "HUP":
		return syscall.SIGHUP, nil
	case "":
		if f.trigger != "" {
			return nil, nil
		}
		return syscall.SIGUSR1, nil
	}
	return nil, usagef("--dump-on %s: want SIGUSR1, SIGUSR2 or SIGHUP", f.dumpOn)
}

// parseBytes reads a size: a number with K, M, G or T for powers of a thousand,
// or Ki, Mi, Gi or Ti for powers of 1024, and B or nothing behind it.
func parseBytes(s string) (int64, error) {
	text := strings.TrimSuffix(strings.TrimSpace(s), "B")
	unit := 1.0
	for i, letter := range "KMGT" {
		if rest, ok := strings.CutSuffix(text, string(letter)+"i"); ok {
			text, unit = rest, math.Pow(1024, float64(i+1))
		} else if rest, ok := strings.CutSuffix(text, string(letter)); ok {
			text, unit = rest, math.Pow(1000, float64(i+1))
		}
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(n > 0) || n*unit >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is no size such as 100GB or 64MiB", s)
	}
	return int64(n * unit), nil
}

// dumper writes dumps of a ring on request.
type dumper struct {
	flags  *keepFlags
	out    *output
	w      *tape.Writer
	dir    string
	stop   context.CancelFunc
	group  sync.WaitGroup
	signal chan os.Signal
}

// dumpDone is the message about a dump.
type dumpDone struct {
	Tape       string  `json:"tape"`
	Records    uint64  `json:"records"`
	Blocks     int     `json:"blocks"`
	MinReceive int64   `json:"min_receive_time"`
	MaxReceive int64   `json:"max_receive_time"`
	Linked     int64   `json:"linked_bytes"`
	Copied     int64   `json:"copied_bytes"`
	Seconds    float64 `json:"seconds"`
}

// catch begins to listen for the signal, before there is anything to dump: until
// then the signal would end the process.
func (f *keepFlags) catch(out *output) *dumper {
	if f.ring == 0 {
		return nil
	}
	d := &dumper{flags: f, out: out, signal: make(chan os.Signal, 1)}
	if sig, _ := f.signal(); sig != nil {
		signal.Notify(d.signal, sig)
	}
	return d
}

// start begins to serve requests for dumps of w beside the directory of the ring.
func (d *dumper) start(w *tape.Writer, dir string) {
	if d == nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	d.w, d.dir, d.stop = w, dir, stop
	d.group.Go(func() { d.serve(ctx) })
}

// close ends with the recording; a dump that is under way is completed.
func (d *dumper) close() {
	if d == nil {
		return
	}
	signal.Stop(d.signal)
	if d.stop != nil {
		d.stop()
		d.group.Wait()
	}
}

// triggerEvery is how often the trigger file is looked at.
const triggerEvery = 200 * time.Millisecond

func (d *dumper) serve(ctx context.Context) {
	ticker := time.NewTicker(triggerEvery)
	defer ticker.Stop()
	before := d.state()
	d.out.remark("keeping the last %v in %s; %s writes them out", d.flags.ring, filepath.Join(d.dir, ringName), d.request())
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.signal:
			d.dump()
		case <-ticker.C:
			if now := d.state(); now != before {
				before = now
				if now != (fileState{}) {
					d.dump()
				}
			}
		}
	}
}

// request says how a dump is asked for.
func (d *dumper) request() string {
	var ways []string
	if sig, _ := d.flags.signal(); sig != nil {
		ways = append(ways, fmt.Sprintf("signal %d to process %d", sig, os.Getpid()))
	}
	if d.flags.trigger != "" {
		ways = append(ways, "a change of "+d.flags.trigger)
	}
	return strings.Join(ways, " or ")
}

// fileState tells whether a file has changed; zero where there is none.
type fileState struct {
	there   bool
	size    int64
	changed time.Time
	inode   uint64
}

func (d *dumper) state() fileState {
	if d.flags.trigger == "" {
		return fileState{}
	}
	info, err := os.Stat(d.flags.trigger)
	if err != nil {
		return fileState{}
	}
	s := fileState{there: true, size: info.Size(), changed: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = st.Ino
	}
	return s
}

// dump writes one dump. A failure does not end the recording.
func (d *dumper) dump() {
	done, err := dumpRing(context.Background(), d.w, d.dir, d.flags.ring)
	if errors.Is(err, tape.ErrNothing) {
		d.out.remark("nothing came in the last %v: no dump", d.flags.ring)
		return
	}
	if err != nil {
		d.out.remark("warning: dump %s: %v", done.Tape, err)
		return
	}
	text := fmt.Sprintf("%s: %s records, received %v to %v", done.Tape, thousands(done.Records),
		wire.Nanos(done.MinReceive), wire.Nanos(done.MaxReceive))
	if err := d.out.message("record.dump", done, text); err != nil {
		d.out.remark("warning: %v", err)
	}
}

// dumpRing writes what a ring has of the last window to a tape of its own in dir,
// which is named also with an error.
func dumpRing(ctx context.Context, w *tape.Writer, dir string, window time.Duration) (*dumpDone, error) {
	start := time.Now()
	done := &dumpDone{Tape: filepath.Join(dir, "dump-"+start.UTC().Format("20060102T150405.000Z")+".tape")}
	r, err := w.Dump(ctx, done.Tape, window)
	if err != nil {
		return done, err
	}
	done.Records, done.Blocks, done.MinReceive, done.MaxReceive = r.Records, r.Blocks, int64(r.Receive.Min), int64(r.Receive.Max)
	done.Linked, done.Copied, done.Seconds = r.Linked, r.Copied, time.Since(start).Seconds()
	return done, nil
}
