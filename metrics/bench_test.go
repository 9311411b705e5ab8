package metrics

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// BenchmarkScrape is what a scrape of a process with all parts takes, as text over HTTP.
func BenchmarkScrape(b *testing.B) {
	n := &numbers{}
	for i := range int64(1000) {
		n.latency.Record(i * i * 1000)
	}
	url := serve(b, everything(b, n)) + "/metrics"
	b.ReportAllocs()
	size := int64(0)
	for b.Loop() {
		size = fetch(b, url)
	}
	b.SetBytes(size)
}

func fetch(t testing.TB, url string) int64 {
	r, err := http.Get(url)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer r.Body.Close()
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		t.Error(err)
	}
	return n
}

// BenchmarkScraped sends batches as fast as they are taken, over loopback, without and
// with somebody who scrapes both ends ten times a second; it reports what it takes with
// scrapes, of what it takes without: time, and CPU of the process, which says something
// on a machine with other work as well.
func BenchmarkScraped(b *testing.B) {
	const batches, scrapesEvery = 4000, 100 * time.Millisecond
	var plain, scraped, plainCPU, scrapedCPU time.Duration
	scrapes, records := 0, uint64(0)
	for b.Loop() {
		at := cpuTime()
		plain += pump(b, batches, &records, nil)
		plainCPU += cpuTime() - at
		at = cpuTime()
		scraped += pump(b, batches, &records, func(ctx context.Context, s *Set) {
			url := serve(b, s) + "/metrics"
			tick := time.NewTicker(scrapesEvery)
			defer tick.Stop()
			for {
				fetch(b, url)
				scrapes++
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		})
		scrapedCPU += cpuTime() - at
	}
	b.ReportMetric(float64(scrapedCPU)/float64(plainCPU), "cpu-ratio")
	b.ReportMetric(float64(scraped)/float64(plain), "time-ratio")
	b.ReportMetric(float64(scrapes)/scraped.Seconds(), "scrapes/s")
	b.ReportMetric(float64(records)/(plain+scraped).Seconds(), "records/s")
}

// cpuTime is what the process has used so far.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// visitor visits every record, as a reader does.
type visitor struct{ records uint64 }

func (v *visitor) HandleBatch(b *wire.Batch, _ uint32) error {
	w := b.Records()
	for w.Next() {
		v.records += uint64(len(w.Record().Topic())) &^ 63 // reads it
		v.records++
	}
	return w.Err()
}
func (*visitor) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq)        {}
func (*visitor) HandleSession(int, wire.Epoch, *wire.Session)         {}
func (*visitor) HandleEnd(shard int, epoch wire.Epoch, complete bool) {}

// pump sends so many batches to a reader in this process, and returns how long that
// took; beside it runs what scrapes.
func pump(b *testing.B, batches int, records *uint64, scrape func(context.Context, *Set)) time.Duration {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	pub, err := publisher.New(publisher.Config{Endpoints: []string{"tcp://127.0.0.1:*"}, Lossless: true})
	if err != nil {
		b.Fatal(err)
	}
	var lag latency.Histogram
	v := &visitor{}
	sub, err := subscriber.New(subscriber.Config{Endpoints: pub.Endpoints(), Lag: func(d time.Duration, n int) { lag.RecordN(int64(d), uint64(n)) }}, v)
	if err != nil {
		b.Fatal(err)
	}
	set := New(Config{})
	sc := set.Scope()
	sc.Publisher(pub)
	sc.Subscriber(sub.Summary)
	sc.Lag(&lag)
	received, scraped := make(chan error, 1), make(chan struct{})
	go func() { received <- sub.Run(ctx) }()
	go func() {
		defer close(scraped)
		if scrape != nil {
			scrape(ctx, set)
		}
	}()
	if err := pub.WaitReaders(ctx, 1); err != nil {
		b.Fatal(err)
	}
	batch := makeBatch(b)
	start := time.Now()
	for range batches {
		if err := pub.Send(ctx, 0, batch, nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := pub.End(ctx); err != nil {
		b.Fatal(err)
	}
	took := time.Since(start)
	if err := <-received; err != nil {
		b.Fatal(err)
	}
	cancel()
	<-scraped
	sc.Close()
	if err := pub.Close(); err != nil {
		b.Fatal(err)
	}
	if want := uint64(batches) * uint64(batch.Count); v.records < want || sub.Summary().Records != want {
		b.Fatalf("%d records came, want %d", v.records, want)
	}
	*records += uint64(batches) * uint64(batch.Count)
	return took
}

// makeBatch is 64 KiB of records with bodies of 100 bytes.
func makeBatch(b *testing.B) *wire.Batch {
	f := wire.Fields{Topic: []byte("TEST"), Body: make([]byte, 100), Event: 1, Receive: 2}
	batch := &wire.Batch{}
	for len(batch.Payload) < 64<<10 {
		var err error
		if batch.Payload, err = wire.AppendRecord(batch.Payload, &f); err != nil {
			b.Fatal(err)
		}
		f.TopicSeq++
		batch.Count++
	}
	batch.CRC = wire.CRC(batch.Payload, nil)
	return batch
}
