//go:build !linux

package fsys

// Sync implements File.
func (f osFile) Sync() error { return f.File.Sync() }

// Allocate implements File by extending the file: other systems reserve space
// in ways of their own.
func (f osFile) Allocate(size int64) error { return f.Truncate(size) }
