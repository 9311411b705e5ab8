package bench

import (
	"context"
	"errors"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// failoverOrders is what clients of a pair are told.
type failoverOrders struct {
	Readers int `json:"readers,omitempty"`
	Libzmq  int `json:"libzmq,omitempty"` // of these are SUB sockets of libzmq
	// Clock is by how much records' times are ahead of the monotonic clock, ns.
	Clock int64 `json:"clock,omitempty"`
	// Of clients that give commands: how many each has on their way, and after what
	// silence it looks for the other broker.
	AtOnce    int           `json:"at_once,omitempty"`
	Heartbeat time.Duration `json:"heartbeat,omitempty"`
}

// failoverQuiet is how long nothing may come at the end before what is missing counts
// as lost.
const failoverQuiet = 10 * time.Second

// failoverReaders are readers of a pair of proxies, each connected to both, until the
// measuring process says that it is the end.
func failoverReaders(ctx context.Context, job *Job, say func(ready) error) (res Result, err error) {
	f := newFailoverClients(ctx, job.Failover.Readers)
	defer func() { err = errors.Join(err, f.stop()) }()
	readers := make([]*failoverReader, job.Failover.Readers)
	for i := range readers {
		r := newFailoverReader(job.Topics, job.Failover.Clock, f.came)
		readers[i] = r
		f.add(r)
		if i < job.Failover.Libzmq {
			f.run(func(ctx context.Context) error { return r.libzmq(ctx, job.Endpoints) })
			continue
		}
		for _, e := range job.Endpoints {
			f.run(r.connection(e).run)
		}
	}
	if err := say(ready{}); err != nil {
		return res, err
	}
	sent, err := f.serve(job, say)
	if err != nil {
		return res, err
	}
	return failoverEnd(readers, sent)
}

// failoverEnd waits until every reader has everything, or nothing comes any more, and
// adds up.
func failoverEnd(readers []*failoverReader, sent uint64) (res Result, err error) {
	var before uint64
	for quiet := time.Now(); time.Since(quiet) < failoverQuiet; time.Sleep(time.Millisecond) {
		var sum uint64
		for _, r := range readers {
			sum += r.records()
		}
		if sum >= sent*uint64(len(readers)) {
			break
		}
		if sum != before {
			before, quiet = sum, time.Now()
		}
	}
	late := newHistogram()
	losses := make([]failoverLoss, len(readers))
	for i, r := range readers {
		var t failoverTally
		t, losses[i] = r.end(sent)
		res.Failover.merge(&t)
		late.Merge(r.late)
	}
	t := toldOf(losses)
	res.Failover.merge(&t)
	res.Histogram, err = late.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	return res, err
}

// connection is a reader's connection to one of the two.
func (r *failoverReader) connection(endpoint string) *subConn {
	return &subConn{
		endpoint: endpoint,
		begin:    func() int64 { r.mu.Lock(); return r.begin() },
		entry:    r.message,
		end:      r.mu.Unlock,
		made:     r.connected,
	}
}

func (r *failoverReader) connected() {
	r.mu.Lock()
	r.tally.Connects++
	r.mu.Unlock()
}

// libzmq receives by a SUB socket of libzmq that is connected to both.
func (r *failoverReader) libzmq(ctx context.Context, endpoints []string) (err error) {
	zctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, zctx.Close()) }()
	s, err := zctx.NewSocket(zsock.SUB, zsock.SocketConfig{ReceiveQueue: -1, RecvTimeout: 50 * time.Millisecond})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	err = s.Subscribe("")
	for _, e := range endpoints {
		err = errors.Join(err, s.Connect(e))
	}
	in := zsock.NewInbox()
	defer in.Close()
	for err == nil && ctx.Err() == nil {
		if err = s.RecvMany(in, 1<<20, subBuffer); errors.Is(err, zsock.ErrAgain) {
			err = nil
			continue
		}
		if err == nil {
			err = r.messages(in)
		}
	}
	return err
}

// messages takes what libzmq has received.
func (r *failoverReader) messages(in *zsock.Inbox) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.begin()
	for frames := in.Next(); frames != nil; frames = in.Next() {
		if len(frames)%3 != 0 {
			return errPlainFrames
		}
		for ; len(frames) > 0; frames = frames[3:] {
			if err := r.message(frames[0], frames[1], frames[2], now); err != nil {
				return err
			}
		}
	}
	return nil
}
