package main

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// idle is a reader that does nothing with what comes.
type idle struct{}

func (idle) HandleBatch(*wire.Batch, uint32) error              { return nil }
func (idle) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq)      {}
func (idle) HandleSession(_ int, _ wire.Epoch, _ *wire.Session) {}
func (idle) HandleEnd(_ int, _ wire.Epoch, _ bool)              {}
func awaitReaders(b *testing.B, c *control.Client, n int) {
	for {
		var d control.DeckResult
		if err := c.Do(b.Context(), control.ServiceDeck, "state", nil, &d); err != nil {
			b.Fatal(err)
		}
		if d.Readers >= n {
			return
		}
	}
}

// BenchmarkServeCommand is a command by way of the bus to a deck with 50 readers,
// from the request to the reply, which comes when the command has taken effect.
func BenchmarkServeCommand(b *testing.B) {
	dir := b.TempDir()
	f := importFlags{output: dir + "/day.tape", shards: 1, block: 256 << 10}
	if _, err := f.importFile(b.Context(), silent(), "synth:topics=1000,records=100000,rate=1000,size=64,seed=5"); err != nil {
		b.Fatal(err)
	}
	cfg := newServeConfig()
	for _, text := range []string{"bus=tcp://127.0.0.1:*", "state.bind=tcp://127.0.0.1:*", "metrics.bind=", "tapes=" + dir, "parts=broker,state,decks"} {
		if err := cfg.set(text); err != nil {
			b.Fatal(err)
		}
	}
	s, err := openStation(b.Context(), cfg, silent())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.stop() }()
	bus, err := majordomo.NewClient(majordomo.ClientConfig{Endpoints: []string{s.bus}, Tries: 20})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = bus.Close() }()
	c := control.NewClient(bus)
	var d control.DeckResult
	if err := c.Do(b.Context(), control.ServiceDeck, "open", control.DeckOpen{Tapes: []string{"day.tape"}, Bind: "tcp://127.0.0.1:*", Passes: -1}, &d); err != nil {
		b.Fatal(err)
	}
	const readers = 50
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	for i := range readers {
		sub, err := subscriber.New(subscriber.Config{Endpoints: d.Shards, Name: fmt.Sprint("reader ", i), Follow: true}, idle{})
		if err != nil {
			b.Fatal(err)
		}
		group.Go(func() { _ = sub.Run(ctx) })
	}
	awaitReaders(b, c, readers)
	commands := []struct {
		name string
		args any
	}{
		{"pause", nil}, {"resume", nil}, {"seek", control.DeckSeek{To: "start"}}, {"speed", control.DeckSpeed{Speed: "2x"}}, {"step", control.DeckStep{N: 5}}, {"play", nil},
	}
	whole, effect := hdrhistogram.New(1, int64(time.Minute), 3), hdrhistogram.New(1, int64(time.Minute), 3)
	for n := 0; b.Loop(); n++ {
		x := commands[n%len(commands)]
		start := time.Now()
		if err := c.Do(b.Context(), control.ServiceDeck, x.name, x.args, &d); err != nil {
			b.Fatalf("%s: %v", x.name, err)
		}
		_ = whole.RecordValue(int64(time.Since(start)))
		_ = effect.RecordValue(max(d.TookUs, 1) * 1000)
	}
	for name, h := range map[string]*hdrhistogram.Histogram{"reply": whole, "effect": effect} {
		b.ReportMetric(float64(h.ValueAtQuantile(50))/1e6, name+"-p50-ms")
		b.ReportMetric(float64(h.ValueAtQuantile(99))/1e6, name+"-p99-ms")
	}
}
