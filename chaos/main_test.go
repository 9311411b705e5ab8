package chaos

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/chaos/rig"
)

// TestMain is the reader of a pair, too: see reader_test.go.
func TestMain(m *testing.M) {
	if endpoints := os.Getenv(readerEnv); endpoints != "" {
		os.Exit(runReader(strings.Split(endpoints, ",")))
	}
	rig.Main(m)
}

// number is a number from the environment.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		t.Fatalf("$%s: %v", name, err)
	}
	return n
}
