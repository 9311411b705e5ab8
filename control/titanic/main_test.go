package titanic

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, and fails if a goroutine outlives them. The test
// binary is also the process that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		serveUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}
