// Package bench measures Tapedeck in ways that can be believed: the subscriber
// in a process of its own, several runs with their spread, schedules that do not
// wait for the system they measure, and in the same run what the machine does
// without us (bare TCP, bare libzmq), so that the ratio holds where the absolute
// figure does not.
//
// Each mode is a function that returns a Report. Processes other than the one
// that measures are workers: the same program, started with a Job on its
// standard input.
package bench
