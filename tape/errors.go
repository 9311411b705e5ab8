package tape

import (
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/wire"
)

// Errors of opening and creating.
var (
	// ErrNotTape: the directory has no manifest.
	ErrNotTape = errors.New("tape: not a tape (it has no manifest.json)")
	// ErrVersion: the tape was written by a newer version of this format.
	ErrVersion = errors.New("tape: written by a newer version of Tapedeck")
	// ErrExists: the place where a tape is to be made is taken.
	ErrExists = errors.New("tape: already exists")
	// ErrLocked: another writer has the tape open.
	ErrLocked = errors.New("tape: being written by another process")
	// ErrConfig: a field of a Config is out of its range.
	ErrConfig = errors.New("tape: bad configuration")
)

// Errors of writing and reading.
var (
	// ErrClosed: the writer, reader or tape is closed.
	ErrClosed = errors.New("tape: closed")
	// ErrShard: a shard number is outside the tape's shards.
	ErrShard = errors.New("tape: shard is outside the tape's shards")
	// ErrNoSeq: no record at or after the wanted sequence.
	ErrNoSeq = errors.New("tape: no such sequence")
)

// OrderError: a record does not follow the last one of its shard. The writer
// stays usable; the record was not stored.
type OrderError struct {
	Reason  string
	Shard   int
	Epoch   wire.Epoch
	Seq     wire.Seq
	Ordinal wire.Ordinal
}

// Error implements error.
func (e *OrderError) Error() string {
	return fmt.Sprintf("tape: shard %d, epoch %d, sequence %d, ordinal %d: %s",
		e.Shard, uint64(e.Epoch), e.Seq, e.Ordinal, e.Reason)
}

// CorruptError: bytes of a tape are not what the format or their checksum says.
type CorruptError struct {
	File   string // name of the file inside the tape
	Offset int64  // where in it, bytes
	Reason string
	Err    error // what was found, may be nil
}

// Error implements error.
func (e *CorruptError) Error() string {
	s := fmt.Sprintf("tape: %s, offset %d: %s", e.File, e.Offset, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns what was found, may be nil.
func (e *CorruptError) Unwrap() error { return e.Err }

// WriteError: the disk refused; the writer has stopped. Everything that was
// synced before stays readable.
type WriteError struct {
	File   string // path of the file
	Offset int64  // where in it, bytes
	Err    error  // the system's reason, such as syscall.ENOSPC
}

// Error implements error.
func (e *WriteError) Error() string {
	return fmt.Sprintf("tape: write %s, offset %d: %v", e.File, e.Offset, e.Err)
}

// Unwrap returns the system's reason.
func (e *WriteError) Unwrap() error { return e.Err }
