package chp

import (
	"fmt"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// BenchmarkSnapshot is one requester after another, from the question to the
// last of 100,000 entries, over loopback TCP, with libzmq's default queue at the
// requester.
func BenchmarkSnapshot(b *testing.B) {
	const keys = 100_000
	for _, queue := range []int{500, 1000, 4096, 16384} {
		b.Run(fmt.Sprintf("queue=%d", queue), func(b *testing.B) {
			s := serve(b, Config{SnapshotQueue: queue})
			for i := range keys {
				if _, err := s.Set([]byte(numbered("GLBX.MDP3.", i)), nil, make([]byte, 100)); err != nil {
					b.Fatal(err)
				}
			}
			ctx, err := zsock.NewContext(zsock.NoCPU)
			if err != nil {
				b.Fatal(err)
			}
			dealer, err := ctx.NewSocket(zsock.DEALER, zsock.SocketConfig{RecvTimeout: zsock.Forever})
			if err != nil {
				b.Fatal(err)
			}
			if err := dealer.Connect(s.Endpoints().Snapshot); err != nil {
				b.Fatal(err)
			}
			in := zsock.NewInbox()
			b.SetBytes(keys * 116)
			b.ReportAllocs()
			for b.Loop() {
				if err := dealer.SendFrames(AppendRequest(nil, nil)...); err != nil {
					b.Fatal(err)
				}
				for n := 0; n <= keys; {
					if err := dealer.RecvMany(in, 1000, 1<<20); err != nil {
						b.Fatal(err)
					}
					for frames := in.Next(); frames != nil; frames = in.Next() {
						n++
					}
				}
			}
			b.ReportMetric(float64(b.N)*keys/b.Elapsed().Seconds(), "records/s")
			b.StopTimer()
			in.Close()
			if err := dealer.Close(); err != nil {
				b.Error(err)
			}
			if err := ctx.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}

// BenchmarkClientJoin is a client of this project, from its first step to the
// whole table of 100,000 keys.
func BenchmarkClientJoin(b *testing.B) {
	const keys = 100_000
	s := serve(b, Config{})
	for i := range keys {
		if _, err := s.Set([]byte(numbered("GLBX.MDP3.", i)), nil, make([]byte, 100)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		c, stop := attach(b, ClientConfig{}, "", s.Endpoints())
		active(b, c)
		b.StopTimer()
		if n := c.Status().Entries; n != keys {
			b.Fatalf("%d entries", n)
		}
		stop()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N)*keys/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkUpdate is a store's updates through a server to one listener.
func BenchmarkUpdate(b *testing.B) {
	s := serve(b, Config{Store: &memory{}, Snapshot: anyPort, Updates: anyPort, UpdatesQueue: 1 << 24, Hugz: 20 * time.Millisecond})
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		b.Fatal(err)
	}
	sub, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{RecvTimeout: zsock.Forever, ReceiveQueue: -1})
	if err != nil {
		b.Fatal(err)
	}
	if err := sub.Subscribe(""); err != nil {
		b.Fatal(err)
	}
	if err := sub.Connect(s.Endpoints().Updates); err != nil {
		b.Fatal(err)
	}
	if _, err := sub.RecvFrames(); err != nil { // HUGZ: it is subscribed
		b.Fatal(err)
	}
	keys := make([][]byte, 1000)
	for i := range keys {
		keys[i] = []byte(numbered("GLBX.MDP3.", i))
	}
	value := make([]byte, 100)
	in := zsock.NewInbox()
	got, sent := 0, uint64(0)
	take := func() {
		if err := sub.RecvMany(in, 1000, 1<<20); err != nil {
			b.Fatal(err)
		}
		for frames := in.Next(); frames != nil; frames = in.Next() {
			if string(frames[0]) != keyHugz {
				got++
			}
		}
	}
	b.SetBytes(114)
	b.ReportAllocs()
	for b.Loop() {
		sent++
		if err := s.Update(keys[sent%1000], sent, nil, value); err != nil {
			b.Fatal(err)
		}
		for int(sent)-got > 50_000 {
			take()
		}
	}
	for got < int(sent) {
		take()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.StopTimer()
	in.Close()
	if err := sub.Close(); err != nil {
		b.Error(err)
	}
	if err := ctx.Close(); err != nil {
		b.Error(err)
	}
}
