package replay_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
)

// BenchmarkLockStep plays records with 100-byte bodies in two shards over loopback TCP
// to readers in this process that visit every record, in lock-step by windows of some
// records.
func BenchmarkLockStep(b *testing.B) {
	for _, tc := range []struct {
		window, readers int
		records         uint64
	}{
		{1, 1, 20_000}, {1, 3, 10_000}, {100, 1, 400_000}, {100, 3, 200_000}, {10_000, 1, 2_000_000}, {10_000, 3, 1_000_000},
	} {
		b.Run(fmt.Sprintf("window=%d/readers=%d", tc.window, tc.readers), func(b *testing.B) {
			t := synthTape(b, tc.records, tape.CodecPlain, 2)
			b.ReportAllocs()
			for b.Loop() {
				stepOnce(b, t, tc.window, tc.readers, tc.records)
			}
			b.SetBytes(int64(tc.records) * 100)
			b.ReportMetric(float64(tc.records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func stepOnce(b *testing.B, t *tape.Tape, window, readers int, records uint64) {
	b.Helper()
	names := []string{"one", "two", "three"}[:readers]
	pub, err := publisher.New(publisher.Config{Endpoints: []string{"tcp://127.0.0.1:*", "tcp://127.0.0.1:*"}, Barrier: names})
	if err != nil {
		b.Fatal(err)
	}
	// Windows of 10,000 such records have batches of 0.7 MB.
	player, err := replay.New(replay.Config{Tape: t, Publisher: pub, Barrier: window, BatchBytes: 4 << 20})
	if err != nil {
		b.Fatal(err)
	}
	done, subs := make(chan error, readers), make([]*subscriber.Subscriber, readers)
	for i, name := range names {
		v := &visitor{make([]uint64, 2), make([]uint64, 2)}
		if subs[i], err = subscriber.New(subscriber.Config{Endpoints: pub.Endpoints(), Name: name, LockStep: true}, v); err != nil {
			b.Fatal(err)
		}
		go func() { done <- subs[i].Run(b.Context()) }()
	}
	_, err = player.Run(b.Context())
	for range names {
		err = errors.Join(err, <-done)
	}
	if err := errors.Join(err, pub.Close()); err != nil {
		b.Fatal(err)
	}
	player.Close()
	for _, s := range subs {
		if sum := s.Summary(); !sum.Complete || sum.Records != records {
			b.Fatalf("%d records of %d: %s", sum.Records, records, sum.Why())
		}
	}
}
