//go:build !linux

package ground

import (
	"os/exec"
	"testing"
)

// Ground is hosts in networks; there are none on this system.
type Ground struct{}

// New skips the test.
func New(t testing.TB, _ uint64, _ int, _ ...string) *Ground {
	t.Helper()
	t.Skip("network namespaces are Linux's")
	return nil
}

// Address is none.
func (*Ground) Address(int, int) string { return "" }

// Set does nothing.
func (*Ground) Set(int, int, int, Rule) {}

// SetBoth does nothing.
func (*Ground) SetBoth(int, int, int, Rule) {}

// Isolate does nothing.
func (*Ground) Isolate(int, Rule) {}

// Packets are none.
func (*Ground) Packets(int, int) (sent, lost uint64) { return 0, 0 }

// Command is none.
func (*Ground) Command(int, string, ...string) *exec.Cmd { return nil }
