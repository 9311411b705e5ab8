package tape

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// BenchmarkAppendTopics appends batches of 100-byte records over many topics in
// random order, as a feed of many instruments has them.
func BenchmarkAppendTopics(b *testing.B) {
	for _, topics := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("topics=%d", topics), func(b *testing.B) {
			w, err := Create(filepath.Join(b.TempDir(), "a.tape"), Config{SyncInterval: -1})
			if err != nil {
				b.Fatal(err)
			}
			const records, batches = 500, 800
			list := randomBatches(b, topics, records, batches)
			b.SetBytes(int64(len(list[0].Payload)))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				batch := list[i%batches]
				batch.FirstSeq, batch.FirstOrdinal = wire.Seq(i*records), wire.Ordinal(i*records)
				if err := w.AppendBatch(batch); err != nil {
					b.Fatal(err)
				}
				i++
			}
			b.StopTimer()
			rate(b, records)
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func randomBatches(b *testing.B, topics, records, batches int) []*wire.Batch {
	f, rng := benchFields(), rand.New(rand.NewPCG(5, 5))
	list := make([]*wire.Batch, batches)
	for i := range list {
		batch := &wire.Batch{}
		batch.Epoch, batch.Shards, batch.Count, batch.Send = 1, 1, uint32(records), 3
		for range records {
			f.Topic = fmt.Appendf(f.Topic[:0], "T%07d", rng.IntN(topics))
			for j := range 16 {
				f.Body[j] = byte(rng.IntN(256))
			}
			var err error
			if batch.Payload, err = wire.AppendRecord(batch.Payload, f); err != nil {
				b.Fatal(err)
			}
		}
		batch.PayloadSize = uint32(len(batch.Payload))
		list[i] = batch
	}
	return list
}
