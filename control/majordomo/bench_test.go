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
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

func reflectHandler(_ context.Context, request [][]byte) Reply { return Reply{Frames: request} }

// BenchmarkPipelined is a client that has many requests on their way, through the
// broker to a worker and back. Beside it, of the same run: a bare echo, which is a
// DEALER and a ROUTER that do nothing but send the same frames to and fro, in
// batches as ours do; and that echo with our client in front of it. of_bare is the
// rate against the bare echo's, of_bare_cpu is its processor time against ours.
func BenchmarkPipelined(b *testing.B) {
	const outstanding = 1000
	body := [][]byte{make([]byte, 32)}
	var bare figures
	b.Run("bare", func(b *testing.B) { bare = bareClient(b, bareEcho(b, "tcp://127.0.0.1:*"), body[0], outstanding) })
	b.Run("client-of-bare", func(b *testing.B) { pipeline(b, bareEcho(b, "tcp://127.0.0.1:*"), body, outstanding).of(b, bare) })
	for _, workers := range []string{"inproc", "tcp"} {
		for _, k := range []struct{ concurrency, prefetch int }{{1, 256}, {2, 256}, {64, 1}} {
			b.Run(fmt.Sprintf("workers=%s/concurrency=%d/prefetch=%d", workers, k.concurrency, k.prefetch), func(b *testing.B) {
				ctx := zsocktest.NewContext(b)
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
				zsocktest.Until(func() bool { return broker.State().Workers == k.concurrency })
				pipeline(b, at[0], body, outstanding).of(b, bare)
			})
		}
	}
}

// figures are requests a second, and processor time for each.
type figures struct{ rate, cpu float64 }

func figure(b *testing.B, n int, took, used time.Duration) figures {
	f := figures{float64(n) / took.Seconds(), float64(used) / float64(n)}
	b.ReportMetric(f.rate, "requests/s")
	b.ReportMetric(f.cpu, "cpu-ns/op")
	return f
}

func (f figures) of(b *testing.B, bare figures) {
	if bare.rate > 0 {
		b.ReportMetric(f.rate/bare.rate, "of_bare")
		b.ReportMetric(bare.cpu/f.cpu, "of_bare_cpu")
	}
}

// pipeline has requests answered for as long as the benchmark lasts.
func pipeline(b *testing.B, endpoint string, body [][]byte, outstanding int) figures {
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
	return figure(b, n, time.Since(begun), processorTime()-used)
}

// bareClient sends the frames that a client's requests have, as many at a time, and
// takes in what comes back.
func bareClient(b *testing.B, endpoint string, body []byte, outstanding int) figures {
	s, err := zsocktest.NewContext(b).NewSocket(zsock.DEALER, zsock.SocketConfig{SendQueue: -1, ReceiveQueue: -1, RecvTimeout: zsock.Forever})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := s.Connect(endpoint); err != nil {
		b.Fatal(err)
	}
	number := []byte(numberFrame(1 << 40))
	in := zsock.NewInbox()
	defer in.Close()
	var out zsock.Outbox
	n, flying := 0, 0
	receive := func() {
		if err := s.RecvMany(in, batchMessages, batchBytes); err != nil {
			b.Fatal(err)
		}
		for in.Next() != nil {
			flying--
		}
	}
	b.ReportAllocs()
	begun, used := time.Now(), processorTime()
	for b.Loop() {
		for _, f := range [][]byte{frameEmpty, frameClient, []byte("echo"), number} {
			out.Frame(f, false)
		}
		out.Frame(body, true)
		n++
		if flying++; out.Messages() >= batchMessages || flying >= outstanding {
			if _, err := s.SendMany(&out); err != nil {
				b.Fatal(err)
			}
		}
		for flying >= outstanding {
			receive()
		}
	}
	if _, err := s.SendMany(&out); err != nil {
		b.Fatal(err)
	}
	for flying > 0 {
		receive()
	}
	return figure(b, n, time.Since(begun), processorTime()-used)
}

// bareEcho is a ROUTER that sends back what it gets, in batches as the broker does.
func bareEcho(b *testing.B, endpoint string) string {
	ctx := zsocktest.NewContext(b)
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
	zsocktest.Background(b, run, func() error { return errors.Join(w.Close(), s.Close()) })
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
