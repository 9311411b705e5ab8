package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// ThroughputConfig says what Throughput measures. The zero value of a field
// means its default.
type ThroughputConfig struct {
	Sources []string // of "memory", "reference", "plain", "s2", "zstd", "columns". Default: all but columns
	Shards  int      // default 1
	Size    int      // of a body, bytes; default 100
	Topics  int      // default 1000
	Block   int      // payload of a block and a batch, bytes; default 512 KiB
	Records uint64   // on the tape, which is played over and over; default 1,000,000
	Seconds float64  // that a run takes, about; default 1.5
	IOCPUs  []int    // of the publisher's I/O threads
	Sub     [2][]int // CPUs of the subscriber's I/O threads and loops
	_       struct{}
}

func (c *ThroughputConfig) fill() {
	if c.Sources == nil {
		c.Sources = []string{"memory", "reference", "plain", "s2", "zstd"}
	}
	def(&c.Shards, 1)
	def(&c.Size, 100)
	def(&c.Topics, 1000)
	def(&c.Block, 512<<10)
	def(&c.Records, 1_000_000)
	def(&c.Seconds, 1.5)
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Throughput measures how many records a second reach a subscriber in another
// process, which visits every record, and in the same runs bare TCP and bare
// libzmq.
func Throughput(ctx context.Context, env Env, cfg ThroughputConfig) (*Report, error) {
	cfg.fill()
	def(&env.Runs, 3)
	rep := &Report{Mode: "throughput", Created: time.Now().UTC(), Machine: thisMachine(env.Version), Config: map[string]any{
		"shards": cfg.Shards, "body_bytes": cfg.Size, "topics": cfg.Topics, "batch_bytes": cfg.Block, "runs": env.Runs,
	}}
	tallies := map[string]*tally{}
	for _, s := range cfg.Sources {
		tallies[s] = newTally(Label{"source", s}, Label{"shards", cfg.Shards}, Label{"body_bytes", cfg.Size}, Label{"topics", cfg.Topics})
	}
	err := env.withDir(func(dir string) error {
		tapes, err := throughputTapes(ctx, env, dir, &cfg)
		defer closeTapes(tapes)
		if err != nil {
			return err
		}
		// Runs go round the sources and baselines, so that a machine whose
		// speed drifts does not favour one of them.
		for run := range env.Runs {
			env.say("run %d of %d", run+1, env.Runs)
			tcp, err := tcpBaseline(ctx, cfg.Block, 500*time.Millisecond)
			if err != nil {
				return fmt.Errorf("tcp baseline: %w", err)
			}
			zmq, err := zmqBaseline(ctx, cfg.Size, 1_000_000)
			if err != nil {
				return fmt.Errorf("libzmq baseline: %w", err)
			}
			for _, s := range cfg.Sources {
				if err := throughputRun(ctx, &cfg, s, tapes[s], tallies[s], tcp, zmq); err != nil {
					return fmt.Errorf("%s: %w", s, err)
				}
			}
		}
		return nil
	})
	for _, s := range cfg.Sources {
		rep.Cases = append(rep.Cases, tallies[s].done())
	}
	return rep, err
}

func throughputTapes(ctx context.Context, env Env, dir string, cfg *ThroughputConfig) (map[string]*tape.Tape, error) {
	tapes := map[string]*tape.Tape{}
	for _, s := range cfg.Sources {
		name := s
		if s == "memory" || s == "reference" {
			name = "plain"
		}
		codec, err := tape.ParseCodec(name)
		if err != nil {
			return tapes, err
		}
		if t := tapes[name]; t != nil {
			tapes[s] = t
			continue
		}
		env.say("making a tape of %d records, %v", cfg.Records, codec)
		t, err := makeTape(ctx, dir, tapeSpec{
			records: cfg.Records, topics: cfg.Topics, size: cfg.Size, shards: cfg.Shards, codec: codec, block: cfg.Block,
		})
		if err != nil {
			return tapes, err
		}
		tapes[s], tapes[name] = t, t
	}
	return tapes, nil
}

func closeTapes(tapes map[string]*tape.Tape) {
	for _, t := range tapes {
		_ = t.Close()
	}
}

// expected is about how many records a second a source gives: it only decides
// how long a run is.
var expected = map[string]float64{"memory": 20e6, "reference": 60e6, "plain": 15e6, "s2": 9e6, "zstd": 8e6, "columns": 4e6}

// throughputRun plays one source once.
func throughputRun(ctx context.Context, cfg *ThroughputConfig, source string, t *tape.Tape, tl *tally, tcp, zmq float64) error {
	passes := max(1, int(cfg.Seconds*expected[source]/float64(cfg.Records)))
	job := Job{Role: "subscriber", IOCPUs: cfg.Sub[0], LoopCPUs: cfg.Sub[1], ByReference: source == "reference"}
	announced, err := sessionOf(t)
	if err != nil {
		return err
	}
	res, sent, cpu, err := playTo(ctx, 1, job,
		publisher.Config{Endpoints: wildcards(cfg.Shards), Lossless: true, IOCPUs: cfg.IOCPUs, Session: announced},
		func(s *session) (uint64, error) {
			if source == "memory" {
				return sendRepeated(ctx, s.pub, t, passes)
			}
			return s.play(ctx, replay.Config{Tape: t, Shards: cfg.Shards, Passes: passes, BatchBytes: cfg.Block})
		})
	if err != nil {
		return err
	}
	r := res[0]
	if !r.Complete || r.Records != sent {
		return fmt.Errorf("sent %d records, %d arrived, complete %v", sent, r.Records, r.Complete)
	}
	if job.ByReference && (r.Referred != r.Batches || r.Fallbacks != 0) {
		return fmt.Errorf("%d of %d batches came by reference, %d fallbacks", r.Referred, r.Batches, r.Fallbacks)
	}
	rate, bytes := float64(r.Records)/r.Seconds, float64(r.Bytes)/r.Seconds
	tl.add("records_per_second", rate)
	tl.add("bytes_per_second", bytes)
	tl.add("cpu_seconds_per_million", (cpu+r.CPUSeconds)/(float64(r.Records)/1e6))
	tl.add("gaps", float64(r.Gaps))
	tl.add("subscriber_rss_bytes", float64(r.RSSBytes))
	tl.add("tcp_bytes_per_second", tcp)
	tl.add("libzmq_messages_per_second", zmq)
	tl.add("ratio_to_tcp", bytes/tcp)
	tl.add("ratio_to_libzmq", rate/zmq)
	return nil
}

// sessionOf is what a player of the tape announces.
func sessionOf(t *tape.Tape) (wire.Session, error) {
	at, err := tape.Place(t.Dir())
	if err != nil {
		return wire.Session{}, err
	}
	info, err := t.Info()
	return wire.Session{Publisher: "bench", Mode: "lossless", Tape: info.ID.String(), ByReference: &at}, err
}

// wildcards are endpoints on free ports.
func wildcards(n int) []string {
	endpoints := make([]string, n)
	for i := range endpoints {
		endpoints[i] = "tcp://127.0.0.1:*"
	}
	return endpoints
}

// memoryBlocks is how many blocks the memory source sends over and over: few
// enough to stay in the CPU's cache where it is large, as a live feed's would.
const memoryBlocks = 16

// sendRepeated sends the tape's first blocks over and over, as many records as
// passes of the whole tape have.
func sendRepeated(ctx context.Context, pub *publisher.Publisher, t *tape.Tape, passes int) (sent uint64, err error) {
	var blocks []*tape.Block
	defer func() {
		for _, b := range blocks {
			b.Release()
		}
	}()
	for n := range min(memoryBlocks, t.Blocks()) {
		b, err := t.ReadBlock(n, true)
		if err != nil {
			return 0, err
		}
		blocks = append(blocks, b)
	}
	info, err := t.Info()
	if err != nil {
		return 0, err
	}
	want, ordinal := info.Totals.Records*uint64(passes), wire.Ordinal(0)
	for i := 0; sent < want; i++ {
		b := blocks[i%len(blocks)]
		batch := b.Batch
		if i%len(blocks) == 0 && i > 0 {
			ordinal += blocks[len(blocks)-1].Info.LastOrdinal + 1
		}
		batch.FirstOrdinal += ordinal
		b.Retain()
		if err := pub.Send(ctx, int(b.Shard), &batch, b); err != nil {
			return sent, err
		}
		sent += uint64(batch.Count)
	}
	return sent, nil
}
