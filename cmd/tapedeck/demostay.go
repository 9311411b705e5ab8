package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// playOn plays the demo's tape from an hour before its busiest minute, with a
// last-value cache before it, each in a process of its own, until the tape ends or
// somebody interrupts: something to point examples and tools at.
func (f *demoFlags) playOn(ctx context.Context, out *output, tape string, busiest wire.Nanos) error {
	from := fmt.Sprint(int64(busiest - wire.Nanos(time.Hour)))
	out.remark(`4. stay     playing the hour before it at %[6]s, with last values before it, until Ctrl-C. Try:
              %[1]s sub --print --from start --resync %[2]s
              %[1]s tap %[3]s --rate 10
              python3 examples/python/plain_subscriber.py %[4]s --count 200
              python3 examples/python/clone_client.py %[5]s --count 200
              go run ./examples/go/plain -count 200 %[4]s`,
		os.Args[0], resyncEndpointDefault, tapDefault, plainDefault, snapshotDefault, f.speed)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	children := [][]string{
		{"lvc", "--plain", plainDefault, "--tap", tapDefault, "--snapshot", snapshotDefault},
		{"play", tape, "--speed", f.speed, "--from", from, "--wait", "1", "--resync-bind", resyncEndpointDefault},
	}
	ended := make(chan error, len(children))
	for _, args := range children {
		go func() {
			err := runTapedeck(ctx, out, args)
			if err == nil {
				err = errDemoOver // play is through: so is lvc's work
			}
			cancel(err)
			ended <- err
		}()
	}
	for range children {
		<-ended
	}
	if err := context.Cause(ctx); !errors.Is(err, errDemoOver) {
		return err
	}
	return nil
}

var errDemoOver = errors.New("the tape is through")

// runTapedeck runs a command of this program in a process of its own. It is
// interrupted when the context ends.
func runTapedeck(ctx context.Context, out *output, args []string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Stderr = out.err
	err = cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("tapedeck %s: %w", args[0], err)
	}
	return nil
}
