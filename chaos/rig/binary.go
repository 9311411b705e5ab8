package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var built struct {
	once sync.Once
	dir  string
	err  error
}

// Binary is the path of a tapedeck made of this source, built once; $TAPEDECK_BIN names
// another. Main removes it.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("TAPEDECK_BIN"); path != "" {
		return path
	}
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "tapedeck-chaos-"); built.err != nil {
			return
		}
		args := []string{"build", "-o", filepath.Join(built.dir, "tapedeck")}
		if Race {
			args = append(args, "-race")
		}
		cmd := exec.Command("go", append(args, "github.com/tapedeck/tapedeck/cmd/tapedeck")...)
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "tapedeck")
}

// Main runs a package's tests and removes what Binary built.
func Main(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}
