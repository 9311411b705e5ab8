package lvc

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zmtp"
	"github.com/tapedeck/tapedeck/wire"
)

// drain is a plain reader that takes everything and looks at nothing.
func drain(b *testing.B, p *Proxy, topic string) {
	b.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.Endpoints()[0], "tcp://"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	hello := make([]byte, 64)
	hello[0], hello[9], hello[10] = 0xff, 0x7f, 3
	copy(hello[12:], "NULL")
	hello = append(hello, "\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"...)
	if _, err := conn.Write(zmtp.AppendFrame(hello, []byte("\x01"+topic), false)); err != nil {
		b.Fatal(err)
	}
	go func() {
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, make([]byte, 1<<18))
	}()
}

// BenchmarkHandleBatch is a batch's way from the receive loop into the readers'
// queues and, where there are readers, through the kernel.
func BenchmarkHandleBatch(b *testing.B) {
	const records, topics = 2000, 1000
	for _, bb := range []struct {
		name    string
		readers int
		filter  func(i int) string
	}{
		{"readers=0", 0, nil},
		{"readers=1", 1, func(int) string { return "" }},
		{"readers=20", 20, func(int) string { return "" }},
		{"readers=200/filtered", 200, func(i int) string { return fmt.Sprintf("SYNTH.%03d", i) }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			p := open(b, Config{})
			for i := range bb.readers {
				drain(b, p, bb.filter(i))
			}
			await(b, "all have joined", func() bool { return p.Stats().Subscriptions == uint64(bb.readers) })
			s := newSource()
			for i := range records {
				s.add(fmt.Sprintf("SYNTH.%03d", i*7%topics), wire.KindQuote, strings.Repeat("b", 64))
			}
			batch := s.batch(0)
			b.SetBytes(int64(len(batch.Payload)))
			b.ReportAllocs()
			for b.Loop() {
				if err := p.HandleBatch(batch, 0); err != nil {
					b.Fatal(err)
				}
				batch.FirstSeq += records
				// A queue that grows without end would measure dropping.
				for p.waiting() > 16<<20 {
					pause(b)
				}
			}
			b.ReportMetric(float64(b.N)*records/b.Elapsed().Seconds(), "records/s")
			if n := p.Stats().Dropped; n != 0 {
				b.Fatalf("%d records were dropped", n)
			}
		})
	}
}

// waiting is the longest queue, bytes.
func (p *Proxy) waiting() (most int64) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	for r := range p.hub.readers {
		r.mu.Lock()
		most = max(most, r.queued)
		r.mu.Unlock()
	}
	return most
}

// FuzzTapped: whatever comes from an endpoint that claims to be a tap is refused or
// understood.
func FuzzTapped(f *testing.F) {
	h := wire.AppendPlain(nil, &wire.Plain{Kind: wire.KindNotice})
	f.Add("data:A", h, []byte("body"))
	f.Add("subscription:A", h, []byte(`{"event":"subscribe","peer":"x","topic":"A","time":5}`))
	f.Add("report", h, []byte(`{"dropped":5}`))
	f.Fuzz(func(t *testing.T, topic string, header, body []byte) {
		var x Tapped
		if shown, err := x.parse([][]byte{[]byte(topic), header, body}); err != nil && shown {
			t.Errorf("%q: shown, and %v", topic, err)
		}
	})
}
