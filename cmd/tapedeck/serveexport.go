package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/tapedeck/tapedeck/control"
)

// fileMark tells a file from any other: it is the same one under another name.
type fileMark struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	Size   int64  `json:"size"`
	Time   int64  `json:"time"` // of its last change, ns
	// Records and Notes are what was written, for the reply.
	Summary *exportSummary `json:"summary"`
}

// markOf is the mark of a file; nil where there is none.
func markOf(path string) (*fileMark, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, fmt.Errorf("%s: files cannot be told apart here", path)
	}
	return &fileMark{Device: uint64(st.Dev), Inode: st.Ino, Size: info.Size(), Time: info.ModTime().UnixNano()}, nil
}

func (m *fileMark) same(other *fileMark) bool {
	return m != nil && other != nil && m.Device == other.Device && m.Inode == other.Inode && m.Size == other.Size && m.Time == other.Time
}

// placed is a file that a job makes. It is written beside its place under a name of
// the job's own, noted in the ledger when it is whole, and then gets its name, unless
// somebody else has that. So whatever dies when, who comes later can tell: nothing
// was made yet, it was made and has no name yet, or it is there, made by this job
// alone.
type placed struct {
	ledger *jobLedger
	key    control.Key
	path   string
	force  bool // a file that is there is replaced
}

// work is where the file is written. It ends as the path does: that chooses the
// compression.
func (p *placed) work() string {
	return filepath.Join(filepath.Dir(p.path), p.prefix()+filepath.Base(p.path))
}

func (p *placed) prefix() string { return fmt.Sprintf(".job-%v-%d.", p.key.Client, p.key.Number) }

// done reports whether an earlier try has made the file, and gives it its name where
// it has none yet.
func (p *placed) done() (*exportSummary, error) {
	e, err := p.ledger.change(p.key, func(*ledgerEntry) {})
	if err != nil {
		return nil, err
	}
	at, err := markOf(p.path)
	if err != nil {
		return nil, err
	}
	if e.Made == nil {
		if at != nil && !p.force {
			return nil, fmt.Errorf("%s: %w", p.path, fs.ErrExist)
		}
		return nil, p.clean()
	}
	work, err := markOf(p.work())
	switch {
	case err != nil:
		return nil, err
	case e.Made.same(work):
		return e.Made.Summary, p.name()
	case e.Made.same(at):
		return e.Made.Summary, nil
	}
	// It was made and had its name; whoever has removed it since wanted that.
	return e.Made.Summary, nil
}

// clean removes what tries that died have left.
func (p *placed) clean() error {
	left, err := filepath.Glob(filepath.Join(escapeGlob(filepath.Dir(p.path)), escapeGlob(p.prefix())+"*"))
	for _, name := range left {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// finish notes that the file is whole, and gives it its name.
func (p *placed) finish(sum *exportSummary) error {
	made, err := markOf(p.work())
	if err != nil {
		return err
	}
	if made == nil {
		return fmt.Errorf("%s: %w", p.work(), fs.ErrNotExist)
	}
	made.Summary = sum
	if _, err := p.ledger.change(p.key, func(e *ledgerEntry) { e.Made = made }); err != nil {
		return err
	}
	return p.name()
}

// name gives the file its name. It never takes that from a file that somebody else
// has made meanwhile, unless it may.
func (p *placed) name() error {
	if p.force {
		return errors.Join(os.Rename(p.work(), p.path), syncDir(filepath.Dir(p.path)))
	}
	if err := os.Link(p.work(), p.path); err != nil {
		made, markErr := markOf(p.work())
		at, atErr := markOf(p.path)
		if err := errors.Join(markErr, atErr); err != nil {
			return err
		}
		if !made.same(at) { // else an earlier try has linked it
			return err
		}
	}
	return errors.Join(os.Remove(p.work()), syncDir(filepath.Dir(p.path)))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// exportJob is the job export.
func (j *jobRunner) exportJob(ctx context.Context, key control.Key, a *control.ExportArgs) (any, error) {
	from, err := j.tapes.existing("tape", a.Tape)
	if err != nil {
		return nil, err
	}
	to, err := j.files.fresh(a.File)
	if err != nil {
		return nil, err
	}
	p := &placed{ledger: j.ledger, key: key, path: to, force: a.Force}
	if sum, err := p.done(); err != nil || sum != nil {
		return sum, err
	}
	f := exportFlags{target: a.To, output: p.work(), zstd: a.Zstd}
	f.from, f.to, f.toFlag, f.topics, f.clock = a.From, a.Until, "until", a.Topics, "receive"
	if a.Clock != "" {
		f.clock = a.Clock
	}
	if f.target == "" {
		return nil, usagef("to: no format was given: want one of %s", strings.Join(targetNames(), ", "))
	}
	sum, err := f.exportTape(ctx, j.out, from, nil)
	if err != nil {
		return nil, errors.Join(err, p.clean())
	}
	sum.File = to
	return sum, p.finish(sum)
}
