package titanic

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// BenchmarkJobs: jobs from request to close by way of the bus, so many clients at
// once: stored, asked for, answered, fetched and closed, each step on the disk.
func BenchmarkJobs(b *testing.B) {
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			at := runBroker(b)
			o, _ := runTitanic(b, Config{Endpoints: at, Dispatch: 64, DispatchEach: 64, SegmentBytes: 4 << 20, Concurrency: 64})
			runWorker(b, at, "echo", 16, upper)
			c := newClient(b, at)
			body := make([]byte, 200)
			b.SetBytes(200)
			b.ReportAllocs()
			work := make(chan struct{})
			var group sync.WaitGroup
			for range clients {
				group.Go(func() {
					for range work {
						id, err := c.Request(b.Context(), "echo", body)
						if err == nil {
							_, err = c.Wait(b.Context(), id)
						}
						if err == nil {
							err = c.Close(b.Context(), id)
						}
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			n := 0
			for b.Loop() {
				work <- struct{}{}
				n++
			}
			close(work)
			group.Wait()
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "jobs/s")
			b.ReportMetric(float64(o.Counters().Syncs)/float64(n), "syncs/job")
		})
	}
}

// BenchmarkAdd: jobs that are added by so many at once, each safe before the next.
func BenchmarkAdd(b *testing.B) {
	for _, workers := range []int{1, 16, 128} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			cfg := storeConfig{fs: fsys.OS{}, dir: b.TempDir() + "/jobs", segment: 4 << 20, jobs: 1 << 30, bytes: 1 << 40,
				expire: time.Hour, forget: time.Hour}
			s := openTest(b, cfg)
			j := &Job{Service: "echo", Body: [][]byte{make([]byte, 200)}}
			b.SetBytes(200)
			b.ReportAllocs()
			b.SetParallelism(workers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, _, lsn, err := s.add(j, 1)
					if err = errors.Join(err, s.commit(lsn, true)); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
			b.ReportMetric(float64(b.N)/float64(s.count.syncs), "jobs/sync")
		})
	}
}

// BenchmarkOpen: a log of 100,000 jobs is read and indexed.
func BenchmarkOpen(b *testing.B) {
	cfg := storeConfig{fs: fsys.OS{}, dir: b.TempDir() + "/jobs", segment: 4 << 20, jobs: 1 << 30, bytes: 1 << 40,
		expire: time.Hour, forget: time.Hour}
	s := openTest(b, cfg)
	for n := range 100_000 {
		if _, _, _, err := s.add(&Job{Service: "echo", Body: [][]byte{make([]byte, 200)}, Key: fmt.Sprint(n)}, 1); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.commit(s.appended, true); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(s.log.end)
	b.ReportAllocs()
	for b.Loop() {
		again, err := openStore(cfg, 1)
		if err != nil || len(again.m.jobs) != 100_000 {
			b.Fatal(err)
		}
		_ = again.close()
	}
	b.ReportMetric(float64(b.N)*100_000/b.Elapsed().Seconds(), "records/s")
}
