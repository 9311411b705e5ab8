package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// tcpSink accepts one connection and reads it to its end.
func tcpSink(_ context.Context, job *Job, say func(ready) error) (Result, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Result{}, err
	}
	defer l.Close()
	if err := say(ready{Endpoints: []string{l.Addr().String()}}); err != nil {
		return Result{}, err
	}
	c, err := l.Accept()
	if err != nil {
		return Result{}, err
	}
	defer c.Close()
	var (
		r     Result
		start time.Time
		buf   = make([]byte, job.Chunk)
	)
	for {
		n, err := c.Read(buf)
		if start.IsZero() {
			start = time.Now()
		}
		r.Bytes += uint64(n)
		if errors.Is(err, io.EOF) {
			r.Seconds, r.Complete = time.Since(start).Seconds(), true
			return r, nil
		}
		if err != nil {
			return r, err
		}
	}
}

// tcpBaseline returns the bytes a second that a bare loopback connection moves
// between two processes, written chunk by chunk.
func tcpBaseline(ctx context.Context, chunk int, d time.Duration) (float64, error) {
	w, err := startWorker(ctx, Job{Role: "tcp-sink", Chunk: chunk})
	if err != nil {
		return 0, err
	}
	c, err := net.Dial("tcp", w.ready.Endpoints[0])
	if err != nil {
		w.kill()
		return 0, err
	}
	buf := make([]byte, chunk)
	for start := time.Now(); time.Since(start) < d && ctx.Err() == nil; {
		if _, err := c.Write(buf); err != nil {
			w.kill()
			return 0, errors.Join(err, c.Close())
		}
	}
	if err := c.Close(); err != nil {
		return 0, err
	}
	r, err := w.result()
	return float64(r.Bytes) / max(r.Seconds, 1e-9), err
}

// zmqSink receives job.Count messages on a PULL socket, in C.
func zmqSink(_ context.Context, job *Job, say func(ready) error) (r Result, err error) {
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		return r, err
	}
	s, err := ctx.NewSocket(zsock.PULL, zsock.SocketConfig{RecvTimeout: zsock.Forever})
	if err != nil {
		return r, errors.Join(err, ctx.Close())
	}
	defer func() { err = errors.Join(err, s.Close(), ctx.Close()) }()
	endpoint, err := s.Bind("tcp://127.0.0.1:*")
	if err != nil {
		return r, err
	}
	if err := say(ready{Endpoints: []string{endpoint}}); err != nil {
		return r, err
	}
	// The first message starts the clock.
	if _, err := s.RecvRepeated(1); err != nil {
		return r, err
	}
	start := time.Now()
	r.Bytes, err = s.RecvRepeated(job.Count - 1)
	r.Records, r.Seconds, r.Complete = job.Count-1, time.Since(start).Seconds(), err == nil
	return r, err
}

// zmqBaseline returns the messages a second that libzmq moves between two
// processes, one message a frame, PUSH to PULL, both ends in C.
func zmqBaseline(ctx context.Context, size int, count uint64) (rate float64, err error) {
	w, err := startWorker(ctx, Job{Role: "zmq-sink", Count: count})
	if err != nil {
		return 0, err
	}
	zctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		w.kill()
		return 0, err
	}
	s, err := zctx.NewSocket(zsock.PUSH, zsock.SocketConfig{SendTimeout: zsock.Forever, Linger: 10 * time.Second})
	if err == nil {
		if err = s.Connect(w.ready.Endpoints[0]); err == nil {
			err = s.SendRepeated(make([]byte, size), count)
		}
		err = errors.Join(err, s.Close())
	}
	if err = errors.Join(err, zctx.Close()); err != nil {
		w.kill()
		return 0, err
	}
	r, err := w.result()
	return float64(r.Records) / max(r.Seconds, 1e-9), err
}
