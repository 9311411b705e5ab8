package tape

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/wire"
)

// Reference says where the block's payload and order lie, for processes that map
// the same tape. ok is false where they lie nowhere but in this process: a
// compressed block.
func (b *Block) Reference() (r wire.Reference, ok bool) {
	return wire.Reference{
		Tape: b.tape.meta.ID, Segment: uint32(b.Info.Segment), Offset: uint64(b.Info.Offset + BlockHeaderSize),
	}, b.mapping != nil
}

// Place says where a tape's directory is, so that another process can tell
// whether it sees the same one: path and device and inode it has, and the boot of
// the machine that gave it these numbers. Another machine has another boot, and
// a container with other mounts another directory there, or none.
func Place(dir string) (wire.TapePlace, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return wire.TapePlace{}, fmt.Errorf("tape: place of %s: %w", dir, err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return wire.TapePlace{}, fmt.Errorf("tape: place of %s: %w", dir, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return wire.TapePlace{}, fmt.Errorf("tape: place of %s: %w", dir, err)
	}
	return wire.TapePlace{Path: path, Host: fmt.Sprintf("%s %x:%x", strings.TrimSpace(string(boot)), st.Dev, st.Ino)}, nil
}

// ErrElsewhere: a tape is not at its place as this process sees it.
var ErrElsewhere = errors.New("tape: not the same files at this place")

// References is a tape that batches refer to: all its segments, mapped. Since
// they are mapped beforehand, they can be read even when their files are removed
// later. Its methods may be called from any number of goroutines; Bytes not
// after Close.
type References struct {
	tape     *Tape
	segments []*mapping
}

// OpenReferences opens the tape with the given identity, as text, at its place.
// The error wraps ErrElsewhere where another tape is there, or the place means
// other files to this process.
func OpenReferences(id string, at wire.TapePlace) (*References, error) {
	here, err := Place(at.Path)
	if err != nil {
		return nil, err
	}
	if here != at {
		return nil, fmt.Errorf("%w: %s on host %q, here %s on host %q", ErrElsewhere, at.Path, at.Host, here.Path, here.Host)
	}
	t, err := Open(at.Path)
	if err != nil {
		return nil, err
	}
	r := &References{tape: t}
	if got := t.meta.ID.String(); got != id {
		return nil, errors.Join(fmt.Errorf("%w: %s is tape %s and not %s", ErrElsewhere, at.Path, got, id), r.Close())
	}
	for _, s := range t.segments {
		m, err := t.mapped(s)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		r.segments = append(r.segments, m)
	}
	return r, nil
}

// Bytes returns size bytes at a reference's place, borrowed until Close and not
// to be changed, or nil where the tape does not have them. Nothing is checked
// but that they are blocks of this tape's segments; the batch's checksum tells
// whether they are the right ones.
func (r *References) Bytes(at *wire.Reference, size int) []byte {
	n := uint64(at.Segment) - uint64(r.tape.first) // wraps for a segment that was removed
	if at.Tape != r.tape.meta.ID || n >= uint64(len(r.segments)) || size < 0 {
		return nil
	}
	data := r.segments[n].data
	if at.Offset > uint64(len(data)) || uint64(size) > uint64(len(data))-at.Offset {
		return nil
	}
	r.tape.resident.passed(r.tape.segments[n], r.segments[n], int64(at.Offset))
	end := at.Offset + uint64(size)
	return data[at.Offset:end:end]
}

// Close unmaps the tape.
func (r *References) Close() error {
	var errs []error
	for _, m := range r.segments {
		errs = append(errs, m.release())
	}
	r.segments = nil
	return errors.Join(append(errs, r.tape.Close())...)
}
