package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/tape"
)

// jobRunner does jobs. Each is done once, however often it comes: the ledger knows
// what is through, and what a job makes can be told from what others have made.
type jobRunner struct {
	cfg    *serveConfig
	tapes  *tapesDir
	files  *fileRoots
	ledger *jobLedger
	out    *output

	mu      sync.Mutex
	running map[control.Key]context.CancelCauseFunc
}

// errCancelled is why a job that was cancelled ends.
var errCancelled = &control.Error{Code: control.Refused, Reason: "the job was cancelled"}

// services are the workers' ends of the job services, by name.
func (j *jobRunner) services() map[string]control.Command {
	return map[string]control.Command{
		control.ServiceJobImport: jobCommand(j, "turn a vendor's file into a tape", (*jobRunner).importJob),
		control.ServiceJobExport: jobCommand(j, "write a tape as a file of another format", (*jobRunner).exportJob),
		control.ServiceJobRecord: jobCommand(j, "write a stream to a tape", (*jobRunner).recordJob),
	}
}

// runName is the command of the job services.
const runName = "run"

func jobCommand[A any](j *jobRunner, summary string, do func(*jobRunner, context.Context, control.Key, *A) (any, error)) control.Command {
	return control.Command{Name: runName, Summary: summary, Do: control.With(func(ctx context.Context, r *control.Request, args *A) (any, error) {
		key := control.Key{Client: r.Client, Number: r.Number}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		j.mu.Lock()
		j.running[key] = cancel
		j.mu.Unlock()
		defer func() {
			j.mu.Lock()
			delete(j.running, key)
			j.mu.Unlock()
		}()
		if err := j.ledger.held(); err != nil {
			return nil, notHeld(err)
		}
		result, err := do(j, ctx, key, args)
		if herr := j.ledger.held(); herr != nil {
			return nil, notHeld(herr) // what was made is known to whoever has the job
		}
		if err != nil && errors.Is(context.Cause(ctx), errCancelled) {
			return nil, errCancelled
		}
		if err != nil {
			return nil, commandError(err)
		}
		return result, nil
	})}
}

// notHeld says that the job is to be asked for again, of whoever has it.
func notHeld(err error) error {
	return &control.Error{Code: control.NotAvailable, Reason: firstLine(err.Error()), Try: "say it again, with the same client and number"}
}

// check finds mistakes in a job's arguments before it is stored. later: it begins at
// another time, and what it reads may come until then.
func (j *jobRunner) check(kind string, args json.RawMessage, later bool) error {
	read := func(into any) error {
		r := control.Request{Args: args}
		return r.Decode(into)
	}
	switch kind {
	case control.JobImport:
		var a control.ImportArgs
		if err := read(&a); err != nil {
			return err
		}
		if _, err := j.tapes.fresh("tape", a.Tape); err != nil {
			return err
		}
		if strings.HasPrefix(a.File, synthScheme) {
			return nil
		}
		return j.checkFile(j.files.existing, a.File, later)
	case control.JobExport:
		var a control.ExportArgs
		if err := read(&a); err != nil {
			return err
		}
		if !slices.Contains(targetNames(), a.To) {
			return usagef("to %q: want one of %s", a.To, strings.Join(targetNames(), ", "))
		}
		tape := func(name string) (string, error) { return j.tapes.existing("tape", name) }
		return errors.Join(j.checkFile(tape, a.Tape, later), j.checkFile(j.files.fresh, a.File, later))
	}
	var a control.RecordArgs
	if err := read(&a); err != nil {
		return err
	}
	path, err := j.tapes.fresh("tape", a.Tape)
	if err == nil {
		_, err = recordFlagsOf(j.cfg, &a.RecorderStart, path)
	}
	return err
}

// checkFile looks for a file, which may not be there yet where there is time.
func (j *jobRunner) checkFile(find func(string) (string, error), name string, later bool) error {
	_, err := find(name)
	if later && errors.Is(err, &control.Error{Code: control.NotFound}) {
		return nil
	}
	return err
}

// cancel breaks a job off that runs here.
func (j *jobRunner) cancel(key control.Key) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if cancel := j.running[key]; cancel != nil {
		cancel(errCancelled)
	}
}

// jobTape is the identity of the tape that a job makes: a tape that has it was made
// by that job.
func jobTape(key control.Key) tape.ID {
	sum := sha256.Sum256(fmt.Appendf(nil, "tapedeck job %v %d", key.Client, key.Number))
	return tape.ID(sum[:len(tape.ID{})])
}

// madeTape looks for a tape; nil where there is none. Of another maker, it is a
// conflict.
func madeTape(path string, id tape.ID) (*tape.Info, error) {
	t, err := tape.Open(path)
	if errors.Is(err, tape.ErrNotTape) {
		return nil, nil // whatever is there: to create a tape says so
	}
	if err != nil {
		return nil, err
	}
	info, err := t.Info()
	if err := errors.Join(err, t.Close()); err != nil {
		return nil, err
	}
	if info.ID != id {
		return nil, fmt.Errorf("%s: %w", path, tape.ErrExists)
	}
	return &info, nil
}

// importJob is the job import. A tape is written beside its place, under a name of the
// job's own in this epoch, and gets its name when it is whole, unless there is anything.
// So one with the job's identity means that the job is through, and of two tries, of
// which one was taken for dead, neither is in the other's way.
func (j *jobRunner) importJob(ctx context.Context, key control.Key, a *control.ImportArgs) (any, error) {
	path, err := j.tapes.fresh("tape", a.Tape)
	if err != nil {
		return nil, err
	}
	file := a.File
	if !strings.HasPrefix(file, synthScheme) {
		if file, err = j.files.existing(a.File); err != nil {
			return nil, err
		}
	}
	id := jobTape(key)
	made, err := madeTape(path, id)
	if err != nil {
		return nil, err
	}
	if made != nil {
		return importedBefore(j.tapes.name(path), made), nil
	}
	if info, err := os.Lstat(path); err == nil && (!info.IsDir() || !emptyDir(path)) {
		return nil, fmt.Errorf("%s: %w", path, tape.ErrExists)
	}
	if err := cleanJob(j.ledger, key, filepath.Dir(path)); err != nil {
		return nil, err
	}
	work := filepath.Join(filepath.Dir(path), fmt.Sprintf("%s%d.%s", jobPrefix(key), j.ledger.epoch, filepath.Base(path)))
	f := importFlags{
		output: work, member: a.Member, codec: a.Codec, shards: a.Shards, block: a.BlockSize, skipBad: a.SkipBad, clock: a.Clock, id: id,
		opts: feed.Options{
			Format: a.Format, Preset: a.Preset, Columns: a.Columns, Header: a.Header, TimeUnit: a.TimeUnit, Date: a.Date, Zone: a.Zone,
			Topic: a.Topic, Groups: a.Groups, AB: a.AB, Dataset: a.Dataset,
		},
	}
	if f.shards == 0 {
		f.shards = 1
	}
	if f.block == 0 {
		f.block = tape.BlockSizeDefault
	}
	sum, err := f.importFile(ctx, j.out, file)
	if err != nil {
		return nil, errors.Join(err, cleanJob(j.ledger, key, filepath.Dir(path)))
	}
	if err := j.ledger.held(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(work))
	}
	if err := os.Rename(work, path); err != nil {
		made, madeErr := madeTape(path, id)
		if err := errors.Join(madeErr, os.RemoveAll(work)); err != nil {
			return nil, err
		}
		if made == nil {
			return nil, err
		}
	}
	sum.Tape = j.tapes.name(path)
	return sum, syncDir(filepath.Dir(path))
}

// emptyDir reports whether a directory has nothing in it.
func emptyDir(dir string) bool {
	list, err := os.ReadDir(dir)
	return err == nil && len(list) == 0
}

// importedBefore is the summary of an import whose answer was lost: what the tape
// says.
func importedBefore(name string, info *tape.Info) *importSummary {
	s := &info.Totals
	sum := &importSummary{
		Tape: name, Records: s.Records, Topics: s.Topics, FirstEvent: int64(s.FirstEvent), LastEvent: int64(s.LastEvent),
		FirstReceive: int64(s.FirstReceive), LastReceive: int64(s.LastReceive), TapeBytes: s.StoredBytes, Codec: info.Codec.String(),
		Notes: []string{"an earlier try made the tape, and died before it could say so: what was left out is not known any more"},
	}
	if len(info.Encodings) > 0 {
		sum.Format = info.Encodings[0].Format
	}
	return sum
}

// recordJob is the job record. How long it records counts from its first try: one
// that was broken off goes on with its tape, until that moment.
func (j *jobRunner) recordJob(ctx context.Context, key control.Key, a *control.RecordArgs) (any, error) {
	path, err := j.tapes.fresh("tape", a.Tape)
	if err != nil {
		return nil, err
	}
	var length time.Duration
	if a.For != "" {
		if length, err = time.ParseDuration(a.For); err != nil || length <= 0 {
			return nil, usagef("for %q: want a duration above 0, such as 6h30m", a.For)
		}
	}
	f, err := recordFlagsOf(j.cfg, &a.RecorderStart, path)
	if err != nil {
		return nil, err
	}
	f.id = jobTape(key)
	before, err := j.ledger.read(key)
	if err != nil {
		return nil, err
	}
	e, err := j.ledger.change(key, func(*ledgerEntry) {})
	if err != nil {
		return nil, err
	}
	if e.Through {
		return j.recordedBefore(f)
	}
	if err := j.goOn(f, a.Append); err != nil {
		return nil, err
	}
	until := ctx
	if length > 0 {
		var stop context.CancelFunc
		until, stop = context.WithDeadline(ctx, e.Begun.Add(length))
		defer stop()
	}
	t, err := f.begin(j.out)
	if before != nil && errors.Is(err, tape.ErrLocked) {
		// An earlier try was taken for dead, and still has its tape.
		return nil, notHeld(err)
	}
	if err != nil {
		return nil, err
	}
	runErr := t.run(until)
	if ctx.Err() == nil && (runErr == nil || until.Err() != nil) {
		// Said before the tape is closed: from here on the job records no more.
		_, err = j.ledger.change(key, func(e *ledgerEntry) { e.Through = true })
		runErr = nil
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel() // nothing is served any more
	sum, _, endErr := t.end(gone)
	sum.Tape = j.tapes.name(sum.Tape)
	return sum, errors.Join(runErr, err, endErr)
}

// goOn makes f go on with what an earlier try of the job has recorded, or with the
// tape that the job is to go on with.
func (j *jobRunner) goOn(f *recordFlags, appends bool) error {
	t, err := tape.Open(f.tape())
	if errors.Is(err, tape.ErrNotTape) {
		return nil // record makes one
	}
	if err != nil {
		return err
	}
	info, err := t.Info()
	if err := errors.Join(err, t.Close()); err != nil {
		return err
	}
	if info.ID != f.id && !appends && f.keep.ring == 0 {
		return fmt.Errorf("%s: %w", f.tape(), tape.ErrExists)
	}
	f.append = true
	return nil
}

// recordedBefore is the summary of a recording that came to its end in an earlier
// try, whose answer was lost: what the tape says. Whoever died may not have closed it.
func (j *jobRunner) recordedBefore(f *recordFlags) (*recordSummary, error) {
	if _, err := tape.Recover(f.tape()); err != nil {
		return nil, err
	}
	t, err := tape.Open(f.tape())
	if err != nil {
		return nil, err
	}
	defer t.Close()
	info, err := t.Info()
	if err != nil {
		return nil, err
	}
	s := &info.Totals
	return &recordSummary{
		Tape: j.tapes.name(f.tape()), Records: s.Records, Epochs: uint64(s.Epochs), Bytes: s.PayloadBytes, Stored: s.StoredBytes, Blocks: uint64(s.Blocks),
	}, nil
}
