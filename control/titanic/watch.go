package titanic

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// Watch looks at a log that another process has, for signs of life. It belongs to one
// goroutine.
type Watch struct {
	fs    fsys.FS
	dir   string
	epoch uint64
	signs uint64
	since time.Time // of the last change; zero: there is nothing to go by
}

// NewWatch watches the log in a directory; fsx may be nil for the machine's files.
func NewWatch(fsx fsys.FS, dir string) *Watch {
	if fsx == nil {
		fsx = fsys.OS{}
	}
	return &Watch{fs: fsx, dir: dir}
}

// Silent looks, and returns for how long it has seen no sign of life up to now, which
// is the caller's clock: those of machines may differ. It is 0 at the first look, where
// whoever has the log gives no signs (Config.Signs), and where they cannot be read: a
// silence that may be one's own is none.
func (w *Watch) Silent(now time.Time) time.Duration {
	n, err := listNames(w.fs, w.dir)
	last := greatest(n.claims)
	var signs uint64
	if err == nil && last > 0 {
		_, signs, err = readClaim(w.fs, w.dir, last)
	}
	if err != nil || signs == 0 {
		w.since = time.Time{}
		return 0
	}
	if w.since.IsZero() || last != w.epoch || signs != w.signs {
		w.epoch, w.signs, w.since = last, signs, now
	}
	return now.Sub(w.since)
}

// lockLast takes the lock of whoever has opened the log last, which it has until its
// process ends. The error is fsys.ErrLocked where somebody has it; free is nil where
// nobody ever had the log.
func lockLast(fsx fsys.FS, dir string) (free io.Closer, err error) {
	for range claimTries {
		n, err := listNames(fsx, dir)
		if err != nil {
			return nil, err
		}
		last := greatest(n.claims)
		if last == 0 {
			return nil, nil
		}
		lock, err := fsx.Lock(dir + "/" + claimName(last))
		switch {
		case err == nil:
			return lock, nil
		case errors.Is(err, fsys.ErrLocked):
			by := "a process that is not known"
			if c, _, err := readClaim(fsx, dir, last); err == nil {
				by = c.String()
			}
			return nil, fmt.Errorf("%s has the job log of %s: %w", by, dir, fsys.ErrLocked)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s: others open the job log without end: %w", dir, fsys.ErrLocked)
}
