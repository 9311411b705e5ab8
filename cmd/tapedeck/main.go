// Command tapedeck records market-data feeds and plays them back over ZeroMQ.
//
// Data goes to standard output, everything else to standard error. With --json
// standard output is JSON lines, each with a message_type; docs/CLI.md is their
// contract. Exit codes: 0 done, 1 failed, 2 usage, 3 gap or corruption found,
// 4 stopped as a slow subscriber, 130 interrupted.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

// run is main without the exit, so that tests can run the program in their own
// binary.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second Ctrl-C ends the program at once, should the first hang.
	go func() {
		<-ctx.Done()
		stop()
	}()
	// A closed pipe is an error of the write, not the end of the process: a
	// recording must not die because nobody reads its summary.
	signal.Ignore(syscall.SIGPIPE)
	cmd := newRoot()
	cmd.SetArgs(os.Args[1:])
	return exitCode(cmd.ExecuteContext(ctx), os.Stderr)
}
