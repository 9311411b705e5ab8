// Package testdata finds the real market data that tests use. It is not part of
// the project: it lies in the folder that TAPEDECK_DATA names, or in
// ../shared/data beside the checkout. Tests that need it skip without it.
package testdata

import (
	"os"
	"path/filepath"
	"testing"
)

// Dir returns the data folder, or skips the test where there is none.
func Dir(t testing.TB) string {
	t.Helper()
	dir, ok := Find()
	if !ok {
		t.Skip("no market data: set TAPEDECK_DATA, or put it in ../shared/data beside the checkout")
	}
	return dir
}

// Path returns the path of one data file, or skips the test where it is not
// there.
func Path(t testing.TB, rel string) string {
	t.Helper()
	path := filepath.Join(Dir(t), filepath.FromSlash(rel))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no market data file %s: set TAPEDECK_DATA to a folder that has it", rel)
	}
	return path
}

// Find returns the data folder: TAPEDECK_DATA where it is set, else
// ../shared/data beside the checkout that the working directory lies in.
func Find() (string, bool) {
	if dir := os.Getenv("TAPEDECK_DATA"); dir != "" {
		return dir, isDir(dir)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", false
	}
	for ; ; dir = filepath.Dir(dir) {
		if data := filepath.Join(dir, "..", "shared", "data"); isDir(data) {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				return data, true
			}
		}
		if dir == filepath.Dir(dir) {
			return "", false
		}
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
