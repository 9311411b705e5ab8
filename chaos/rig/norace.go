//go:build !race

package rig

// Race says that the tests run with the race detector, as the processes then do.
const Race = false
