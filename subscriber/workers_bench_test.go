package subscriber

import (
	"fmt"
	"sync"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// marketBatch is a batch of records with bodies of 100 bytes and 1,000 topics, as
// large as batches are at full speed.
func marketBatch(tb testing.TB, payloadBytes int) *wire.Batch {
	tb.Helper()
	b := &wire.Batch{Header: wire.Header{Epoch: 1, Shards: 1}}
	body := make([]byte, 100)
	for i := uint32(0); len(b.Payload) < payloadBytes; i++ {
		var err error
		b.Payload, err = wire.AppendRecord(b.Payload, &wire.Fields{
			Topic: fmt.Appendf(nil, "T%04d", i*7919%1000), Body: body, Event: 1, Receive: 2, TopicSeq: i,
		})
		if err != nil {
			tb.Fatal(err)
		}
		b.Count++
	}
	b.PayloadSize = uint32(len(b.Payload))
	return b
}

// visit is a handler that visits every record of its share.
type visit struct {
	nothing
	records, sum uint64
}

func (v *visit) HandleShare(s *Share) error {
	w := s.Records()
	for w.Next() {
		r := w.Record()
		v.records++
		v.sum += uint64(r.TopicSeq()) + uint64(r.Body()[0])
	}
	return w.Err()
}

// nothing is a WorkerHandler that takes no note.
type nothing struct{}

func (nothing) HandleShare(*Share) error                             { return nil }
func (nothing) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq)        {}
func (nothing) HandleSession(int, wire.Epoch, *wire.Session)         {}
func (nothing) HandleEnd(shard int, epoch wire.Epoch, complete bool) {}

// skipping is the other way to dispatch by topic, for comparison: every worker
// walks the whole batch and skips what belongs to others.
type skipping struct {
	nothing
	number, workers int
	records, sum    uint64
}

func (v *skipping) HandleShare(s *Share) error {
	w := s.Batch().Records()
	for w.Next() {
		r := w.Record()
		if WorkerOf(r.Topic(), v.workers) != v.number {
			continue
		}
		v.records++
		v.sum += uint64(r.TopicSeq()) + uint64(r.Body()[0])
	}
	return w.Err()
}

// pipeline runs workers without sockets: the caller is the receive loop.
func pipeline(tb testing.TB, wc WorkersConfig, handler func(int) WorkerHandler) (d *dispatcher, m *zsock.Message, end func()) {
	tb.Helper()
	w, err := NewWorkers(Config{Endpoints: []string{"inproc://none"}}, wc, handler)
	if err != nil {
		tb.Fatal(err)
	}
	for _, p := range w.pools {
		p.open()
	}
	var wg sync.WaitGroup
	for i := range w.work {
		wg.Go(func() { w.work[i].run(func(err error) { tb.Error(err); w.halt() }) })
	}
	return (*dispatcher)(w), zsock.NewMessage(), func() {
		for _, q := range w.queues {
			close(q)
		}
		wg.Wait()
		for _, p := range w.pools {
			p.close()
		}
	}
}

// BenchmarkDispatch is a batch from the loop's hand through all workers'. The
// index of a loop against skipping in every worker, and whole batches to anybody.
func BenchmarkDispatch(b *testing.B) {
	batch := marketBatch(b, 256<<10)
	for _, workers := range []int{1, 2, 4} {
		for _, way := range []string{"index", "skip", "any"} {
			if workers == 1 && way != "any" {
				continue
			}
			b.Run(fmt.Sprintf("%s/workers=%d", way, workers), func(b *testing.B) {
				wc := WorkersConfig{Workers: workers, PoolBatches: 64}
				handler := func(int) WorkerHandler { return &visit{} }
				switch way {
				case "any":
					wc.Dispatch = Any
				case "skip":
					handler = func(i int) WorkerHandler { return &skipping{number: i, workers: workers} }
				}
				d, m, end := pipeline(b, wc, handler)
				unsplit := way == "skip"
				b.SetBytes(int64(len(batch.Payload)))
				b.ReportAllocs()
				for b.Loop() {
					if unsplit {
						m = d.keepUnsplit(b, batch, m)
						continue
					}
					var err error
					if m, err = d.keep(batch, 0, m); err != nil {
						b.Fatal(err)
					}
				}
				d.settle(0)
				b.ReportMetric(float64(batch.Count)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
				b.StopTimer()
				end()
				m.Close()
			})
		}
	}
}

// keepUnsplit hands a batch to every worker without an index.
func (d *dispatcher) keepUnsplit(b *testing.B, batch *wire.Batch, m *zsock.Message) *zsock.Message {
	l, err := d.pools[0].take(int64(len(batch.Payload)), d.stop)
	if err != nil {
		b.Fatal(err)
	}
	l.kind, l.batch, l.skip = leaseBatch, *batch, 0
	l.message, m = m, l.message
	for _, q := range d.queues {
		l.refs.Add(1)
		q <- l
	}
	l.drop()
	return m
}

// BenchmarkDispatchCost is the CPU time of the same, on one thread: what the loop
// and all workers spend together on a batch.
func BenchmarkDispatchCost(b *testing.B) {
	batch := marketBatch(b, 256<<10)
	for _, workers := range []int{2, 4} {
		b.Run(fmt.Sprintf("index/workers=%d", workers), func(b *testing.B) {
			l := &lease{batch: *batch, lists: make([][]place, workers)}
			v := &visit{}
			for b.Loop() {
				if err := l.sort(); err != nil {
					b.Fatal(err)
				}
				for i := range workers {
					if err := v.HandleShare(&Share{batch: &l.batch, places: l.lists[i]}); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(batch.Count), "ns/record")
		})
		b.Run(fmt.Sprintf("skip/workers=%d", workers), func(b *testing.B) {
			s := &Share{batch: batch, whole: true}
			v := make([]skipping, workers)
			for b.Loop() {
				for i := range v {
					v[i].number, v[i].workers = i, workers
					if err := v[i].HandleShare(s); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(batch.Count), "ns/record")
		})
	}
}

// BenchmarkHandOver is what a batch costs that holds one record: the hand-over
// alone.
func BenchmarkHandOver(b *testing.B) {
	batch := marketBatch(b, 1)
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			d, m, end := pipeline(b, WorkersConfig{Workers: workers}, func(int) WorkerHandler { return &visit{} })
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if m, err = d.keep(batch, 0, m); err != nil {
					b.Fatal(err)
				}
			}
			d.settle(0)
			b.StopTimer()
			end()
			m.Close()
		})
	}
}
