package zsocktest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// Background runs a thing until the test ends or stop is called, shuts it, and fails the
// test where either does not end well.
func Background(t testing.TB, run func(context.Context) error, shut func() error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ended, shut()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// Until waits for a condition that other goroutines bring about.
func Until(cond func() bool) {
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !cond() {
		<-again.C
	}
}
