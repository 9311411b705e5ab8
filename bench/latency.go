package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// LatencyConfig says what Latency measures. The zero value of a field means its
// default.
type LatencyConfig struct {
	Rate    float64 // records a second; default 100,000
	Size    int     // of a body, bytes; default 100
	Topics  int     // default 1000
	Burst   uint64  // records at one instant, in the burst case; default 500
	Seconds float64 // that a run takes; default 3
	IOCPUs  []int
	Sub     [2][]int
}

// Latency measures one-way latency, from the moment a record was to be sent to
// the moment the subscriber's handler visits it, at a steady rate and in bursts,
// and the same of bare libzmq in the same runs.
func Latency(ctx context.Context, env Env, cfg LatencyConfig) (*Report, error) {
	def(&cfg.Rate, 100_000)
	def(&cfg.Size, 100)
	def(&cfg.Topics, 1000)
	def(&cfg.Burst, 500)
	def(&cfg.Seconds, 3)
	def(&env.Runs, 3)
	if cfg.Size < 8 {
		return nil, fmt.Errorf("bench: bodies of %d bytes have no room for a time: want 8 or more", cfg.Size)
	}
	rep := &Report{Mode: "latency", Created: time.Now().UTC(), Machine: thisMachine(env.Version), Config: map[string]any{
		"rate": cfg.Rate, "body_bytes": cfg.Size, "topics": cfg.Topics, "burst": cfg.Burst, "runs": env.Runs,
	}}
	count := uint64(cfg.Rate * cfg.Seconds)
	for _, shape := range []struct {
		name string
		at   schedule
	}{{"steady", steady(cfg.Rate)}, {"bursts", bursts(cfg.Rate, cfg.Burst)}} {
		tl := newTally(Label{"shape", shape.name}, Label{"rate", cfg.Rate}, Label{"body_bytes", cfg.Size})
		for run := range env.Runs {
			env.say("%s, run %d of %d", shape.name, run+1, env.Runs)
			ours, lag, err := latencyOurs(ctx, &cfg, shape.at, count)
			if err != nil {
				return rep, err
			}
			bare, bareLag, err := latencyBare(ctx, &cfg, shape.at, count)
			if err != nil {
				return rep, fmt.Errorf("libzmq baseline: %w", err)
			}
			tl.addHist("latency", ours)
			tl.addHist("generator_lag", lag)
			tl.addHist("libzmq", bare)
			tl.addHist("libzmq_generator_lag", bareLag)
			for _, p := range percentiles[:4] {
				tl.add("ratio_to_libzmq_"+p.name, float64(ours.ValueAtQuantile(p.q))/float64(max(bare.ValueAtQuantile(p.q), 1)))
			}
		}
		rep.Cases = append(rep.Cases, tl.done())
	}
	return rep, nil
}

// latencyOurs sends records on the schedule, batched by what is due, to a
// subscriber in another process.
func latencyOurs(ctx context.Context, cfg *LatencyConfig, at schedule, count uint64) (latency, lag *hdrhistogram.Histogram, err error) {
	res, _, _, err := playTo(ctx, 1, Job{Role: "subscriber", Latency: true, IOCPUs: cfg.Sub[0], LoopCPUs: cfg.Sub[1]},
		publisher.Config{Endpoints: wildcards(1), Lossless: true, IOCPUs: cfg.IOCPUs},
		func(s *session) (uint64, error) {
			live := newLive(ctx, s.pub, cfg.Topics, cfg.Size)
			var err error
			lag, err = openLoop(ctx, at, count, live.emit, live.flush)
			return count, err
		})
	if err != nil {
		return nil, nil, err
	}
	if !res[0].Complete || res[0].Records != count {
		return nil, nil, fmt.Errorf("sent %d records, %d arrived, complete %v", count, res[0].Records, res[0].Complete)
	}
	latency, err = hdrhistogram.Decode(res[0].Histogram)
	return latency, lag, err
}

// sender is where live records go: a publisher.
type sender interface {
	Send(ctx context.Context, shard int, b *wire.Batch, done interface{ Release() }) error
}

// live publishes records as they come into being.
type live struct {
	ctx     context.Context
	pub     sender
	topics  [][]byte
	seqs    []uint32
	body    []byte
	payload []byte
	count   uint32
	ordinal wire.Ordinal
	due     wire.Nanos
	kind    wire.Kind
}

func newLive(ctx context.Context, pub sender, topics, size int) *live {
	l := &live{ctx: ctx, pub: pub, seqs: make([]uint32, topics), body: make([]byte, size), kind: wire.KindQuote}
	for i := range topics {
		l.topics = append(l.topics, []byte(benchTopic(i)))
	}
	return l
}

func (l *live) emit(intended int64) error {
	if l.count == 0 {
		l.due = wire.Nanos(intended)
	}
	t := int(uint64(l.ordinal)+uint64(l.count)) % len(l.topics)
	binary.LittleEndian.PutUint64(l.body, uint64(intended))
	var err error
	l.payload, err = wire.AppendRecord(l.payload, &wire.Fields{
		Topic: l.topics[t], Body: l.body, Event: wire.Nanos(intended), Receive: wire.Nanos(intended), TopicSeq: l.seqs[t], Kind: l.kind,
	})
	l.seqs[t]++
	l.count++
	if err == nil && len(l.payload) >= liveBytes {
		return l.flush() // it is late, and has much to send at once
	}
	return err
}

// liveBytes is how many bytes of records make a batch, however late it is.
const liveBytes = 1 << 20

func (l *live) flush() error {
	if l.count == 0 {
		return nil
	}
	b := wire.Batch{Header: wire.Header{Count: l.count, FirstOrdinal: l.ordinal, Due: l.due}, Payload: l.payload}
	b.CRC = wire.CRC(b.Payload, nil)
	err := l.pub.Send(l.ctx, 0, &b, nil)
	l.ordinal += wire.Ordinal(l.count)
	l.payload, l.count = l.payload[:0], 0
	return err
}

// latencyBare sends one message per record on the schedule, PUSH to PULL.
func latencyBare(ctx context.Context, cfg *LatencyConfig, at schedule, count uint64) (latency, lag *hdrhistogram.Histogram, err error) {
	w, err := startWorker(ctx, Job{Role: "zmq-timed", Count: count})
	if err != nil {
		return nil, nil, err
	}
	zctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		w.kill()
		return nil, nil, err
	}
	lag, err = pushTimed(ctx, zctx, w, cfg, at, count)
	if err = errors.Join(err, zctx.Close()); err != nil {
		w.kill()
		return nil, nil, err
	}
	r, err := w.result()
	if err != nil {
		return nil, nil, err
	}
	latency, err = hdrhistogram.Decode(r.Histogram)
	return latency, lag, err
}

// pushTimed sends to the worker, each message with the time it was to be sent.
func pushTimed(ctx context.Context, zctx *zsock.Context, w *worker, cfg *LatencyConfig, at schedule, count uint64) (lag *hdrhistogram.Histogram, err error) {
	s, err := zctx.NewSocket(zsock.PUSH, zsock.SocketConfig{SendTimeout: zsock.Forever, Linger: 10 * time.Second})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Connect(w.ready.Endpoints[0]); err != nil {
		return nil, err
	}
	frame := make([]byte, cfg.Size)
	// One message ahead, so that connecting is not measured.
	if err := errors.Join(s.SendFrames(frame), w.read(&w.ready)); err != nil {
		return nil, err
	}
	return openLoop(ctx, at, count, func(intended int64) error {
		binary.LittleEndian.PutUint64(frame, uint64(intended))
		return s.SendFrames(frame)
	}, func() error { return nil })
}

// zmqTimedSink receives job.Count messages that begin with the time they were to
// be sent, and measures each.
func zmqTimedSink(_ context.Context, job *Job, say func(ready) error) (r Result, err error) {
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
	unpin, err := zsock.PinThread(zsock.NoCPU)
	if err != nil {
		return r, err
	}
	defer unpin()
	hist, m := newHistogram(), zsock.NewMessage()
	defer m.Close()
	if err := s.Recv(m); err != nil {
		return r, err
	}
	if err := say(ready{}); err != nil {
		return r, err
	}
	for r.Records < job.Count {
		if err := s.Recv(m); err != nil {
			return r, err
		}
		late := time.Now().UnixNano() - int64(binary.LittleEndian.Uint64(m.Frame(0)))
		_ = hist.RecordValue(min(max(late, 1), latencyMax))
		r.Records++
	}
	r.Complete = true
	r.Histogram, err = hist.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	return r, err
}
