package fsys

import (
	"errors"
	"fmt"
	"io/fs"
)

// SizeError: a file is larger than its reader is willing to load.
type SizeError struct {
	Name      string
	Size, Max int64 // bytes
}

// Error implements error.
func (e *SizeError) Error() string {
	return fmt.Sprintf("fsys: %s has %d bytes, more than the %d that such a file may have", e.Name, e.Size, e.Max)
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
