// Package chaos holds tests that start tapedeck as its users do, in processes of
// its own, and then do to it what the world does: peers that speak nonsense, hosts
// that are cut off, links that lose packets, processes that are stopped or killed,
// disks that are full, clocks that are set.
//
//	make hostile COUNT=10000000   malformed frames at every port that is bound
//	make chaos                    network namespaces, signals, disks and clocks
//
// `make test` runs a short part of the first. What needs rights that are not there,
// those to make network namespaces for one, is skipped and says so.
//
// What is held after each of them:
//
//   - No process ends that was not told to, and each ends as it should when it is.
//   - A reader that asks for what it missed has every record once, in order, or says
//     what it lacks.
//   - Of a pair one serves; where two do for a moment, readers of both have nothing
//     twice by the rules of docs/WIRE.md, and the one of the earlier epoch yields.
//   - A tape that was written meanwhile verifies.
//   - Memory, goroutines and descriptors of who was attacked are what they were.
//
// The packages below are the means: rig has the processes, hostile the peers, ground
// the hosts and what is between them.
//
// Wall clocks cannot be set for one process alone: that is simulated (internal/sim).
package chaos
