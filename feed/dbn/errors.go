package dbn

import (
	"errors"
	"fmt"
)

// Errors of opening an input.
var (
	// ErrEmpty: the input has no bytes, so it is neither a file nor a fragment.
	ErrEmpty = errors.New("dbn: input is empty")
	// ErrVersion: the file head names a version that this package does not know.
	ErrVersion = errors.New("dbn: unknown version")
	// ErrMetadata: the file head cannot be taken apart.
	ErrMetadata = errors.New("dbn: bad file head")
	// ErrOption: an option that has no meaning for this input.
	ErrOption = errors.New("dbn: option does not apply")
)

// Errors of reading records.
var (
	// ErrLength: a length byte that no record of its type has.
	ErrLength = errors.New("dbn: bad record length")
	// ErrTruncated: the input ends inside a head or a record.
	ErrTruncated = errors.New("dbn: input breaks off")
	// ErrSecondHead: another file head where a record should begin, as
	// concatenating two files gives.
	ErrSecondHead = errors.New("dbn: a second file begins here; import the files one by one")
	// ErrMappings: more instruments are named in the stream than are kept.
	ErrMappings = errors.New("dbn: too many symbol mapping records")
)

// ErrBody: bytes that are not one DBN record.
var ErrBody = errors.New("dbn: body is not a record")

// OffsetError says where in the unpacked content an error lies.
type OffsetError struct {
	Offset int64 // bytes from the start of the content, containers peeled off
	Err    error // wraps one of the errors of this package, or the reader's
}

// Error implements error.
func (e *OffsetError) Error() string { return fmt.Sprintf("offset %d: %v", e.Offset, e.Err) }

// Unwrap returns what is wrong.
func (e *OffsetError) Unwrap() error { return e.Err }
