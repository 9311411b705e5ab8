package majordomo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

func reflectHandler(_ context.Context, request [][]byte) Reply { return Reply{Frames: request} }

// BenchmarkPipelined is a client that has many requests on their way, through the
// broker to a worker and back. Beside it stands a bare echo of the same run: the
// same client's messages, sent back by a ROUTER that does nothing else.
func BenchmarkPipelined(b *testing.B) {
	const outstanding = 1000
	body := [][]byte{make([]byte, 32)}
	echoed := 0.0
	b.Run("bare", func(b *testing.B) {
		endpoint := bareEcho(b, "tcp://127.0.0.1:*")
		echoed = pipeline(b, endpoint, body, outstanding)
	})
	for _, workers := range []string{"inproc", "tcp"} {
		for _, k := range []struct{ concurrency, prefetch int }{{1, 256}, {2, 256}, {64, 1}} {
			b.Run(fmt.Sprintf("workers=%s/concurrency=%d/prefetch=%d", workers, k.concurrency, k.prefetch), func(b *testing.B) {
				ctx := newContext(b)
				broker, _ := runBroker(b, BrokerConfig{Context: ctx, Endpoints: []string{"tcp://127.0.0.1:*", "inproc://bus"}, Heartbeat: time.Second})
				at := broker.Endpoints()
				worker := at[1]
				if workers == "tcp" {
					worker = at[0]
				}
				runWorker(b, WorkerConfig{
					Endpoints: []string{worker}, Context: ctx, Handler: reflectHandler,
					Concurrency: k.concurrency, Prefetch: k.prefetch, Heartbeat: time.Second,
				})
				until(func() bool { return broker.State().Workers == k.concurrency })
				b.ReportMetric(pipeline(b, at[0], body, outstanding)/echoed, "of_bare")
			})
		}
	}
}

// pipeline has requests answered for as long as the benchmark lasts, and returns
// how many a second.
func pipeline(b *testing.B, endpoint string, body [][]byte, outstanding int) float64 {
	c := newClient(b, ClientConfig{Endpoints: []string{endpoint}, Outstanding: outstanding})
	if _, err := c.Request(context.Background(), "echo", body...); err != nil {
		b.Fatal(err)
	}
	var all sync.WaitGroup
	done := func(_ [][]byte, err error) {
		if err != nil {
			b.Error(err)
		}
		all.Done()
	}
	b.ReportAllocs()
	n := 0
	begun, used := time.Now(), processorTime()
	for b.Loop() {
		n++
		all.Add(1)
		c.Go(context.Background(), "echo", body, done)
	}
	all.Wait()
	rate := float64(n) / time.Since(begun).Seconds()
	b.ReportMetric(rate, "requests/s")
	b.ReportMetric(float64(processorTime()-used)/float64(n), "cpu-ns/op")
	return rate
}

// bareEcho is a ROUTER that sends back what it gets, in batches as the broker does.
func bareEcho(b *testing.B, endpoint string) string {
	ctx := newContext(b)
	s, err := ctx.NewSocket(zsock.ROUTER, zsock.SocketConfig{SendQueue: 10_000, ReceiveQueue: 10_000})
	if err != nil {
		b.Fatal(err)
	}
	at, err := s.Bind(endpoint)
	if err != nil {
		b.Fatal(err)
	}
	w, err := zsock.NewWaiter(s)
	if err != nil {
		b.Fatal(err)
	}
	run := func(ctx context.Context) error {
		defer context.AfterFunc(ctx, w.Wake)()
		in := zsock.NewInbox()
		defer in.Close()
		var out zsock.Outbox
		for ctx.Err() == nil {
			if _, err := w.Wait(nil, zsock.Forever); err != nil {
				return err
			}
			for s.RecvMany(in, batchMessages, batchBytes) == nil {
				for frames := in.Next(); frames != nil; frames = in.Next() {
					for i, f := range frames {
						out.Frame(f, i == len(frames)-1)
					}
				}
				if _, err := s.SendMany(&out); err != nil {
					return err
				}
			}
		}
		return nil
	}
	background(b, run, func() error { return errors.Join(w.Close(), s.Close()) })
	return at
}

// processorTime is what the process has used, of all processors. On a machine that
// does other things as well it says more than the time that went by.
func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
