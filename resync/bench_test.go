package resync

import (
	"fmt"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// BenchmarkRefill is a gap of 4 million records of 132 bytes, refilled over tcp and
// delivered in order: from the least server that there can be, and from a Server
// with its pool of tape readers.
func BenchmarkRefill(b *testing.B) {
	const perBatch, batches = 1985, 2015
	for _, tc := range []struct {
		server string
		window int64
	}{{"least", 1 << 20}, {"least", 8 << 20}, {"pool", 8 << 20}} {
		b.Run(fmt.Sprintf("server=%s/window=%dMiB", tc.server, tc.window>>20), func(b *testing.B) {
			m := newHistory(1)
			first := numbered(7, 0, 1, 0, perBatch, 100)
			if size := len(first.Payload) / perBatch; size != 132 {
				b.Fatalf("records of %d bytes", size)
			}
			for i := range batches {
				// The same bytes each time: it is the way that is measured.
				part := *first
				part.FirstSeq = wire.Seq(i * perBatch)
				m.add(&part)
			}
			cfg := ClientConfig{WindowBytes: tc.window}
			var c *Client
			if tc.server == "pool" {
				s, _ := runServer(b, ServerConfig{Refills: m})
				cfg.Endpoints = s.Endpoints()
				c = startClient(b, cfg)
			} else {
				c = startClient(b, cfg, startServer(b, m))
			}
			records := uint64(0)
			b.SetBytes(int64(len(first.Payload)) * batches)
			b.ReportAllocs()
			start := time.Now()
			for b.Loop() {
				h := startHealer(b, HealerConfig{Client: c}, nothing{})
				h.HandleMark(0, &wire.Header{Epoch: 7, Shards: 1, Flags: wire.FlagHello})
				h.HandleMark(0, &wire.Header{Epoch: 7, Shards: 1, FirstSeq: perBatch * batches, Flags: wire.FlagEnd})
				settle(b, h)
				st := h.Stats()
				if st.Refilled != perBatch*batches || st.Completed != 1 {
					b.Fatalf("%+v", st)
				}
				records += st.Refilled
			}
			b.ReportMetric(float64(records)/time.Since(start).Seconds(), "records/s")
		})
	}
}

// BenchmarkPassThrough is a batch of a stream that misses nothing.
func BenchmarkPassThrough(b *testing.B) {
	h, err := NewHealer(HealerConfig{Shards: 1}, nothing{})
	if err != nil {
		b.Fatal(err)
	}
	p := numbered(7, 0, 1, 0, 100, 100)
	hash := wire.Hash(0)
	b.ReportAllocs()
	for b.Loop() {
		p.Hash = hash
		hash = hash.Roll(p.Count, p.CRC)
		if err := h.HandleBatch(p, 0); err != nil {
			b.Fatal(err)
		}
		p.FirstSeq = p.Next()
	}
}

// BenchmarkHold is a batch of 256 KiB that has to wait.
func BenchmarkHold(b *testing.B) {
	m := newMachine(0, machineConfig{holdBytes: 32 << 20})
	p := numbered(7, 0, 1, 10, 1985, 100)
	m.mark(7, 0)
	b.SetBytes(int64(len(p.Payload)))
	b.ReportAllocs()
	for b.Loop() {
		v := m.offer(p, false)
		if v.what == busy {
			m.next(0)
			continue
		}
		v.hold.fill(p, false)
		p.FirstSeq = p.Next()
	}
}
