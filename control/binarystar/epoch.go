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

func loadEpoch(dir string) (uint64, error) {
	if dir == "" {
		return 0, nil
	}
	name := filepath.Join(dir, epochFile)
	b, err := fsys.ReadFile(fsys.OS{}, name, 64)
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

func saveEpoch(dir string, epoch uint64) error {
	if dir == "" {
		return nil
	}
	if err := fsys.WriteFile(fsys.OS{}, dir, epochFile, strconv.AppendUint(nil, epoch, 10)); err != nil {
		return fmt.Errorf("binarystar: the epoch is not kept: %w", err)
	}
	return nil
}
