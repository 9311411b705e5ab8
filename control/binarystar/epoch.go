package binarystar

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// epochFile holds the greatest epoch that a server has known, in decimal with leading
// zeros, on a line.
const epochFile = "binarystar.epoch"

// epochLine is the file's content.
const epochLine = "%020d\n"

// Epochs keeps, in a directory, the greatest epoch that a server has known: its own
// and its peer's, so that they grow over restarts of either alone. It belongs to one
// goroutine.
type Epochs struct {
	files fsys.FS
	dir   string
	kept  uint64
}

// OpenEpochs reads what is kept in a directory, which it makes where it is not there.
// The file is made at once: a server that cannot keep its epoch must not become active,
// so it does not start; later a full disk is no hindrance. Where dir is "" nothing is
// kept.
func OpenEpochs(files fsys.FS, dir string) (*Epochs, error) {
	e := &Epochs{files: files, dir: dir}
	if dir == "" {
		return e, nil
	}
	name := filepath.Join(dir, epochFile)
	b, err := fsys.ReadFile(files, name, 64)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("binarystar: %w", err)
	}
	if err == nil {
		if e.kept, err = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err != nil {
			return nil, fmt.Errorf("binarystar: %s: %q is no epoch", name, b)
		}
	}
	if line := e.line(e.kept); len(b) != len(line) {
		if err = files.Mkdir(dir); err == nil {
			err = fsys.WriteFile(files, dir, epochFile, line)
		}
		if err != nil {
			return nil, fmt.Errorf("binarystar: the epoch cannot be kept: %w", err)
		}
	}
	return e, nil
}

func (e *Epochs) line(epoch uint64) []byte { return fmt.Appendf(nil, epochLine, epoch) }

// Known is the greatest epoch that was kept, 0 before there was one.
func (e *Epochs) Known() uint64 { return e.kept }

// Keep keeps an epoch, unless a greater one is kept, whole or not at all, and has it on
// the disk when it returns. Where there is no room for another file it writes over the
// one that is there, which is less than a sector and so written whole, too.
func (e *Epochs) Keep(epoch uint64) error {
	if epoch <= e.kept || e.dir == "" {
		return nil
	}
	line := e.line(epoch)
	err := fsys.WriteFile(e.files, e.dir, epochFile, line)
	if err != nil && e.overwrite(line) != nil {
		return fmt.Errorf("binarystar: the epoch is not kept: %w", err)
	}
	e.kept = epoch
	return nil
}

func (e *Epochs) overwrite(line []byte) error {
	f, err := e.files.Open(filepath.Join(e.dir, epochFile), fsys.Write)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(line, 0); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
