package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
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
// compression. Each epoch has another one, so that a try that goes on, though the job
// was taken from it, is in nobody's way.
func (p *placed) work() string {
	return filepath.Join(filepath.Dir(p.path), fmt.Sprintf("%s%d.%s", jobPrefix(p.key), p.ledger.epoch, filepath.Base(p.path)))
}

// jobPrefix begins the names of what a job has not finished yet.
func jobPrefix(k control.Key) string { return fmt.Sprintf(".job-%v-%d.", k.Client, k.Number) }

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
	from, err := p.unnamed(e.Made)
	switch {
	case err != nil:
		return nil, err
	case from != "":
		return e.Made.Summary, p.name(from)
	case e.Made.same(at):
		return e.Made.Summary, nil
	}
	// It was made and had its name; whoever has removed it since wanted that.
	return e.Made.Summary, nil
}

// unnamed finds a file that a try has made and that may have no name yet; "" where there
// is none.
func (p *placed) unnamed(made *fileMark) (string, error) {
	left, err := leftOf(p.key, filepath.Dir(p.path))
	for _, name := range left {
		m, merr := markOf(name)
		if made.same(m) {
			return name, nil
		}
		err = errors.Join(err, merr)
	}
	return "", err
}

// leftOf are the names of what a job has not finished.
func leftOf(key control.Key, dir string) ([]string, error) {
	return filepath.Glob(filepath.Join(escapeGlob(dir), escapeGlob(jobPrefix(key))+"*"))
}

// clean removes what tries that died have left, but nothing of a later epoch.
func (p *placed) clean() error { return cleanJob(p.ledger, p.key, filepath.Dir(p.path)) }

func cleanJob(l *jobLedger, key control.Key, dir string) error {
	left, err := leftOf(key, dir)
	for _, name := range left {
		of, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(name), jobPrefix(key)), ".")
		if epoch, perr := strconv.ParseUint(of, 10, 64); perr == nil && epoch > l.epoch {
			continue
		}
		err = errors.Join(err, os.RemoveAll(name))
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
	return p.name(p.work())
}

// name gives a file that was made its name. It never takes that from a file that
// somebody else has made meanwhile, unless it may.
func (p *placed) name(from string) error {
	if p.force {
		return errors.Join(os.Rename(from, p.path), syncDir(filepath.Dir(p.path)))
	}
	if err := os.Link(from, p.path); err != nil {
		at, atErr := markOf(p.path)
		if atErr != nil || at == nil {
			return errors.Join(err, atErr)
		}
		if made, madeErr := p.ledger.made(p.key, at); !made { // else another try has linked it
			return errors.Join(err, madeErr)
		}
	}
	if err := os.Remove(from); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(p.path))
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
