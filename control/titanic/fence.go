package titanic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// ErrFenced: another process has opened the log meanwhile, and has it. What this one
// could still write nobody reads. The error is a *FencedError.
var ErrFenced = errors.New("titanic: another process has the job log")

// FencedError says who has a log that was taken over.
type FencedError struct {
	Epoch, Later uint64 // one's own, and that of who has it; 0: nobody known
	By           string // who that is, as far as it is known
}

// Error implements error.
func (e *FencedError) Error() string {
	if e.Later == 0 {
		return fmt.Sprintf("%v: epoch %d is over: its file was removed", ErrFenced, e.Epoch)
	}
	return fmt.Sprintf("%v: epoch %d is over; epoch %d is that of %s", ErrFenced, e.Epoch, e.Later, e.By)
}

// Is makes the error match ErrFenced.
func (e *FencedError) Is(target error) bool { return target == ErrFenced }

// fence is the right to write the log, until another opening raises the epoch. It is
// there while the claim of its epoch is.
//
// Who opens the log links a claim of the next epoch, which only one can do; removes
// all others; and only then reads the log. Who writes it looks for his claim after
// the write and before he tells anybody. So either the claim was still there: then
// the log was read after the write, and what was told is in it. Or it was not: then
// nobody is told. A look before the write would prove nothing, for a process can stand
// still between the two for as long as it likes.
//
// What was read is written to a log with another name. The late writer has the old
// file open, or writes new ones under names with the old epoch: nobody reads either.
//
// A fence is looked at by any goroutine; signs of life are given by one.
type fence struct {
	fs    fsys.FS
	dir   string
	epoch uint64
	name  string // of the claim, with its path
	signs uint64
}

// claimTries bounds how often others may be faster.
const claimTries = 100

// raise begins the next epoch, and ends all before. With signs it begins to give signs
// of life. unique tells temporary names apart. The error is ErrFenced where another one
// has raised it further meanwhile.
func raise(fsx fsys.FS, dir string, unique uint64, now int64, signs bool) (*fence, error) {
	c := claim{Time: now, Owner: self()}
	f := &fence{fs: fsx, dir: dir}
	if signs {
		f.signs = 1
	}
	temporary := fmt.Sprintf("%s/%s%016x%s", dir, claimNew, unique, fsys.TemporarySuffix)
	for range claimTries {
		n, err := listNames(fsx, dir)
		if err != nil {
			return nil, err
		}
		for _, name := range n.abandoned {
			if err := remove(fsx, dir+"/"+name); err != nil {
				return nil, err
			}
		}
		if n.last() == math.MaxUint64 {
			return nil, fmt.Errorf("%w: no epoch comes after %d", ErrLog, n.last())
		}
		c.Epoch = n.last() + 1
		err = f.claim(temporary, &c)
		if err == nil {
			return f, f.end()
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		// Another one was faster, or has taken the file for one that was left.
	}
	return nil, fmt.Errorf("titanic: others raise the epoch of %s without end", dir)
}

// claim makes the claim, whole or not at all, unless there is one.
func (f *fence) claim(temporary string, c *claim) error {
	f.epoch, f.name = c.Epoch, f.dir+"/"+claimName(c.Epoch)
	file, err := f.fs.Open(temporary, fsys.Create)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(appendClaim(nil, c, f.signs), 0)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = f.fs.Link(temporary, f.name)
	}
	if rerr := remove(f.fs, temporary); err == nil {
		err = rerr
	}
	return err
}

// end ends all earlier epochs, for ever. It gives way to a later one.
func (f *fence) end() error {
	n, err := listNames(f.fs, f.dir)
	if err != nil {
		return err
	}
	if greatest(n.claims) > f.epoch {
		return errors.Join(f.over(), remove(f.fs, f.name))
	}
	for _, epoch := range n.claims {
		if epoch < f.epoch {
			if err := remove(f.fs, f.dir+"/"+claimName(epoch)); err != nil {
				return err
			}
		}
	}
	// A claim that came back with the power would let its owner write again.
	return f.fs.SyncDir(f.dir)
}

// holds returns nil while the epoch is the last one, ErrFenced when it is over, or the
// error of the disk: then nobody knows. The file is opened by its name, which every
// file system asks its server for.
func (f *fence) holds() error {
	file, err := f.fs.Open(f.name, fsys.Read)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f.over()
	case err != nil:
		return err
	}
	return file.Close()
}

// over says who has the log.
func (f *fence) over() error {
	e := &FencedError{Epoch: f.epoch, By: "a process that is not known"}
	if n, err := listNames(f.fs, f.dir); err == nil {
		if last := greatest(n.claims); last > f.epoch {
			e.Later = last
			if c, _, err := readClaim(f.fs, f.dir, last); err == nil {
				e.By = c.String()
			}
		}
	}
	return e
}

// live gives a sign of life. It is on the disk when live returns, so that a process
// whose disk stands still gives none.
func (f *fence) live() error {
	file, err := f.fs.Open(f.name, fsys.Write)
	if errors.Is(err, fs.ErrNotExist) {
		return f.over()
	}
	if err != nil {
		return err
	}
	f.signs++
	_, err = file.WriteAt(binary.LittleEndian.AppendUint64(nil, f.signs), claimSize)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}
