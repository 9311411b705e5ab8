package replay_test

import (
	"testing"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
)

// BenchmarkPlay plays a tape in this process, without sockets and without looking at
// the records: what the player itself costs, a record. Paced, everything is due
// at once.
func BenchmarkPlay(b *testing.B) {
	const records = 2_000_000
	t := synthTape(b, records, tape.CodecPlain, 1)
	for _, tc := range []struct {
		name string
		cfg  replay.Config
	}{
		{"blocks", replay.Config{Unchecked: true}},
		{"resharded", replay.Config{Shards: 2}},
		{"filtered", replay.Config{Topics: []string{"S", "T"}}},
		{"paced", replay.Config{Speed: 1e9}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			tc.cfg.Tape = t
			b.ReportAllocs()
			for b.Loop() {
				p, err := replay.New(tc.cfg)
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for batch, err := range p.Batches(b.Context()) {
					if err != nil {
						b.Fatal(err)
					}
					n += int(batch.Count)
				}
				if n == 0 {
					b.Fatal("nothing was played")
				}
			}
			b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
