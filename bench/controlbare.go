package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// bareQueue is the high-water mark of the sockets of a bare echo.
const bareQueue = 100_000

// bareEcho is a ROUTER that sends back what it gets, and does nothing else.
func bareEcho(_ context.Context, job *Job, say func(ready) error) (res Result, err error) {
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, ctx.Close()) }()
	s, err := ctx.NewSocket(zsock.ROUTER, zsock.SocketConfig{SendQueue: bareQueue, ReceiveQueue: bareQueue})
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	endpoint, err := s.Bind(wildcards(1)[0])
	if err != nil {
		return res, err
	}
	w, err := zsock.NewWaiter(s)
	if err != nil {
		return res, err
	}
	cue := make(chan error, 1)
	go func() {
		cue <- job.waitCue()
		w.Wake()
	}()
	err = say(ready{Endpoints: []string{endpoint}})
	if err == nil {
		err = sendBack(s, w, cue)
	}
	return res, errors.Join(err, w.Close())
}

// sendBack takes what there is and sends it back, until the cue.
func sendBack(s *zsock.Socket, w *zsock.Waiter, cue <-chan error) error {
	in := zsock.NewInbox()
	defer in.Close()
	var out zsock.Outbox
	for {
		if _, err := w.Wait(nil, zsock.Forever); err != nil {
			return err
		}
		select {
		case err := <-cue:
			return err
		default:
		}
		for s.RecvMany(in, 1<<20, receiveBytes) == nil {
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
}

// bareClient is a DEALER that sends what a client of the bus sends: frame by frame
// the same bytes.
type bareClient struct {
	ctx    *zsock.Context
	socket *zsock.Socket
	in     *zsock.Inbox
	out    zsock.Outbox
	number [16]byte // as large as the frame that numbers a request
	body   []byte
	sent   uint64
	came   uint64
}

func newBareClient(endpoint string, size int) (*bareClient, error) {
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		return nil, err
	}
	c := &bareClient{ctx: ctx, in: zsock.NewInbox(), body: make([]byte, size)}
	c.socket, err = ctx.NewSocket(zsock.DEALER, zsock.SocketConfig{SendQueue: bareQueue, ReceiveQueue: bareQueue, RecvTimeout: cacheWait})
	if err == nil {
		err = c.socket.Connect(endpoint)
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *bareClient) close() error {
	c.in.Close()
	var err error
	if c.socket != nil {
		err = c.socket.Close()
	}
	return errors.Join(err, c.ctx.Close())
}

var (
	bareEmpty   = []byte{}
	bareHeader  = []byte("MDPC01")
	bareService = []byte(benchService)
)

// put puts a request into the outbox.
func (c *bareClient) put() {
	binary.LittleEndian.PutUint64(c.number[:], c.sent)
	c.sent++
	c.out.Frame(bareEmpty, false)
	c.out.Frame(bareHeader, false)
	c.out.Frame(bareService, false)
	c.out.Frame(c.number[:], false)
	c.out.Frame(c.body, true)
}

// exchange sends what was put and takes in what has come, at least one reply.
func (c *bareClient) exchange() error {
	if _, err := c.socket.SendMany(&c.out); err != nil && !errors.Is(err, zsock.ErrAgain) {
		return err
	}
	if err := c.socket.RecvMany(c.in, 1<<20, receiveBytes); err != nil {
		return fmt.Errorf("bench: no echo for %v: %w", cacheWait, err)
	}
	for frames := c.in.Next(); frames != nil; frames = c.in.Next() {
		if len(frames) != 5 || binary.LittleEndian.Uint64(frames[3]) != c.came {
			return errors.New("bench: an echo that is not the next request")
		}
		c.came++
	}
	return nil
}

// pipelined keeps so many requests on their way for a time, and returns how many
// were answered.
func (c *bareClient) pipelined(ctx context.Context, d time.Duration, outstanding uint64) (requested, error) {
	start := time.Now()
	for over := false; ; over = over || time.Since(start) >= d || ctx.Err() != nil {
		for !over && c.sent-c.came < outstanding {
			c.put()
		}
		if c.sent == c.came {
			return requested{count: c.came, took: time.Since(start)}, ctx.Err()
		}
		if err := c.exchange(); err != nil {
			return requested{}, err
		}
	}
}

// synchronous makes one request after the other for a time.
func (c *bareClient) synchronous(ctx context.Context, d time.Duration) (requested, error) {
	r := requested{hist: newHistogram()}
	for start := time.Now(); r.took < d && ctx.Err() == nil; r.took = time.Since(start) {
		begun := time.Now()
		c.put()
		if err := c.exchange(); err != nil {
			return r, err
		}
		_ = r.hist.RecordValue(min(int64(time.Since(begun)), latencyMax))
		r.count++
	}
	return r, ctx.Err()
}

// requested is what came of making requests for a time.
type requested struct {
	count uint64
	took  time.Duration
	hist  *hdrhistogram.Histogram // of round trips, ns; nil where requests overlap
	cpu   float64                 // seconds of all processes
}

func (r *requested) rate() float64 { return float64(r.count) / max(r.took.Seconds(), 1e-9) }
