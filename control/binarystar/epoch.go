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

// epochFile holds the greatest epoch that a server was active in, in decimal, on a
// line.
const epochFile = "binarystar.epoch"

// LoadEpoch returns the epoch that SaveEpoch has kept in a directory, or 0 where it
// has kept none, or dir is "".
func LoadEpoch(files fsys.FS, dir string) (uint64, error) {
	if dir == "" {
		return 0, nil
	}
	name := filepath.Join(dir, epochFile)
	b, err := fsys.ReadFile(files, name, 64)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("binarystar: %w", err)
	}
	epoch, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("binarystar: %s: %q is no epoch", name, b)
	}
	return epoch, nil
}

// SaveEpoch keeps an epoch in a directory, whole or not at all, and has it on the disk
// when it returns. Where dir is "" it does nothing.
func SaveEpoch(files fsys.FS, dir string, epoch uint64) error {
	if dir == "" {
		return nil
	}
	if err := fsys.WriteFile(files, dir, epochFile, strconv.AppendUint(nil, epoch, 10)); err != nil {
		return fmt.Errorf("binarystar: the epoch is not kept: %w", err)
	}
	return nil
}
