package main

import (
	"context"
	"fmt"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// watch shows a changing line on standard error while a stream runs, when that
// is a terminal. The returned function takes it away; it may be called twice.
func watch(ctx context.Context, out *output, line func() string) (stop func()) {
	if !isTerminal(out.err) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	p := mpb.NewWithContext(ctx, mpb.WithOutput(out.err), mpb.WithRefreshRate(200*time.Millisecond))
	bar := p.New(0, mpb.SpinnerStyle(),
		mpb.BarRemoveOnComplete(),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return line() })))
	return func() {
		bar.Abort(true)
		p.Wait()
		cancel()
	}
}

// progressBar shows how far a piece of work is, on standard error when that is a
// terminal. done returns how much of total is done, in any unit.
func progressBar(ctx context.Context, out *output, label string, total int64, done func() int64) (stop func()) {
	if !isTerminal(out.err) || total <= 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	p := mpb.NewWithContext(ctx, mpb.WithOutput(out.err), mpb.WithRefreshRate(200*time.Millisecond), mpb.WithWidth(60))
	bar := p.New(total, mpb.BarStyle().Rbound("|").Lbound("|"),
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(label+" ")),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			return fmt.Sprintf(" %3d%%", min(done(), total)*100/total)
		})))
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				bar.SetCurrent(min(done(), total-1))
			}
		}
	}()
	return func() {
		cancel()
		<-finished
		bar.Abort(true)
		p.Wait()
	}
}
