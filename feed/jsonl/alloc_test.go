package jsonl

import (
	"bytes"
	"io"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
)

const (
	tradeLine = `1723161255088176367 {"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256322,"T":1723161256322,"s":"BTCUSDT","t":5266583935,"p":"61800.30","q":"0.006","X":"MARKET","m":false}}` + "\n"
	mapOfLine = "receive=#1:ns,time=data.T:ms,topic=data.s+stream,kind=trade"
)

func TestNextAllocs(t *testing.T) {
	for name, opts := range map[string]feed.Options{
		"preset": {Preset: "binance"}, "map": {Columns: mapOfLine},
	} {
		t.Run(name, func(t *testing.T) {
			src, err := openText(t, string(bytes.Repeat([]byte(tradeLine), 1000)), opts)
			must(t, err)
			if n := testing.AllocsPerRun(900, func() {
				if _, err := src.Next(); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%v allocations a record", n)
			}
		})
	}
}

func benchmarkNext(b *testing.B, text []byte, opts feed.Options) {
	records := bytes.Count(text, []byte{'\n'})
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		in := &feed.Input{Reader: bytes.NewReader(text), Name: "x", Head: text[:min(len(text), feed.HeadSize)]}
		src, err := Format.Open(b.Context(), in, opts)
		must(b, err)
		n := 0
		for {
			if _, err := src.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != records {
			b.Fatalf("%d records, want %d", n, records)
		}
	}
	b.ReportMetric(float64(b.N)*float64(records)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkNext(b *testing.B) {
	b.Run("input=binance", func(b *testing.B) { benchmarkNext(b, content(b), feed.Options{}) })
	b.Run("input=trades", func(b *testing.B) {
		benchmarkNext(b, bytes.Repeat([]byte(tradeLine), 1<<17), feed.Options{})
	})
	b.Run("input=trades-map", func(b *testing.B) {
		benchmarkNext(b, bytes.Repeat([]byte(tradeLine), 1<<17), feed.Options{Columns: mapOfLine})
	})
}

func BenchmarkDecode(b *testing.B) {
	_, _, body := splitLine([]byte(tradeLine[:len(tradeLine)-1]))
	fields := make([]feed.Field, 0, 16)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if fields, err = Decode(fields[:0], feed.Encoding{}, 0, body); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
