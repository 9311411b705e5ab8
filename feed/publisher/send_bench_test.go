package publisher

import (
	"fmt"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// BenchmarkSend is what a batch costs the sender beside libzmq: nobody reads, so
// libzmq drops it at once. By reference a reader must be there, but takes nothing
// and is full.
func BenchmarkSend(b *testing.B) {
	batch := makeBatch(b, 64<<10)
	run := func(b *testing.B, p *Publisher, ref *wire.Reference) {
		done := &reusable{&lender{}}
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			if err := p.SendStored(b.Context(), 0, batch, ref, done); err != nil {
				b.Fatal(err)
			}
			n += int(batch.Count)
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
	}
	for _, shards := range []int{1, 4} {
		b.Run(fmt.Sprintf("bytes/shards=%d", shards), func(b *testing.B) {
			endpoints := make([]string, shards)
			for i := range endpoints {
				endpoints[i] = anyPort
			}
			run(b, open(b, Config{Endpoints: endpoints}), nil)
		})
	}
	b.Run("reference", func(b *testing.B) {
		p := open(b, Config{QueueBytes: 1})
		r := connect(b, p.Endpoints()[0], zsock.SUB)
		r.subscribe(wire.ReferenceTopics()...)
		until(b, p, func() bool { return p.shards[0].filters.references })
		run(b, p, &somewhere)
	})
}
