package export

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/tapedeck/tapedeck/feed/itch"
	"github.com/tapedeck/tapedeck/feed/synth"
	"github.com/tapedeck/tapedeck/wire"
)

// csvTape has n lines of a CSV file.
func csvTape(t testing.TB, n int) *memory {
	m := &memory{encodings: []wire.Encoding{{Format: "csv", Detail: map[string]string{
		"columns": `["time","symbol","price","size"]`, "header": "time,symbol,price,size", "line_end": "lf", "final_newline": "yes",
	}}}}
	var body []byte
	for i := range n {
		body = fmt.Appendf(body[:0], "%d,ESH4,%d.%02d,%d", 1_700_000_000_000_000_000+i, 4000+i%100, i%100, i%17+1)
		m.add(t, wire.Fields{Topic: []byte("CME.ESH4"), Body: body, Event: wire.Nanos(i), Receive: wire.Nanos(i)})
	}
	return m
}

func moldTape(t testing.TB, n int) *memory {
	m := &memory{encodings: []wire.Encoding{{Format: itch.Name}}}
	for i := range n {
		m.add(t, wire.Fields{Topic: []byte("XNAS.AAPL"), Body: message(36), Event: wire.Nanos(i / 3), Receive: wire.Nanos(i / 3)})
	}
	return m
}

func BenchmarkExport(b *testing.B) {
	const n = 100_000
	spec, err := synth.ParseSpec("topics=100,rate=100000,duration=1s,size=100")
	if err != nil {
		b.Fatal(err)
	}
	src, err := synth.New(spec)
	if err != nil {
		b.Fatal(err)
	}
	generated, lines := drain(b, src), csvTape(b, n)
	columns := *lines
	columns.encodings = append([]wire.Encoding{{Format: "lines", Topics: "none"}}, lines.encodings...)
	for _, c := range []struct {
		name, target string
		m            *memory
	}{
		{"dbn", "dbn", importDBN(b, n)},
		{"csv", "csv", lines},
		{"csv-columns", "csv", &columns},
		{"jsonl", "jsonl", generated},
		{"parquet", "parquet", generated},
		{"pcap", "pcap", moldTape(b, n)},
	} {
		b.Run("target="+c.name, func(b *testing.B) {
			var size uint64
			b.ReportAllocs()
			for b.Loop() {
				x, err := New(c.target, c.m.config())
				if err != nil {
					b.Fatal(err)
				}
				rep, err := x.Write(context.Background(), io.Discard)
				if err != nil {
					b.Fatal(err)
				}
				size = rep.Content
			}
			b.SetBytes(int64(size))
			b.ReportMetric(float64(c.m.count)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// What goes out as it came takes no allocation for a record.
func TestFramedAllocs(t *testing.T) {
	const n = 10_000
	for target, m := range map[string]*memory{"dbn": importDBN(t, n), "csv": csvTape(t, n)} {
		allocs := testing.AllocsPerRun(3, func() {
			if _, err := mustNew(t, target, m.config()).Write(context.Background(), io.Discard); err != nil {
				t.Fatal(err)
			}
		})
		if allocs > n/100 {
			t.Errorf("%s: %.0f allocations for %d records", target, allocs, n)
		}
	}
}
