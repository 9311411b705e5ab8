package resync

import (
	"context"
	"errors"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// runClient runs a client until the test ends.
func runClient(t testing.TB, cfg ClientConfig) *Client {
	t.Helper()
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return c
}

func TestServerAndClient(t *testing.T) {
	src := newShelf(2, 1, 50_000)
	src.order = true
	src.ends = map[wire.Epoch]wire.Seq{1: 50_000}
	s, _ := runServer(t, ServerConfig{Refills: src, Snapshots: &values{n: 20_000}})
	c := runClient(t, ClientConfig{Endpoints: s.Endpoints()})
	ctx := context.Background()
	spans, err := c.Find(ctx, 10_000, "event")
	if err != nil || len(spans) != 2 || spans[0].From != 10_000 {
		t.Fatalf("%+v, %v", spans, err)
	}
	for _, span := range []Span{spans[0], {Epoch: 1, Shard: 1, From: 7, To: Open}} {
		next := span.From
		to, ended, err := c.Refill(ctx, span, func(b *wire.Batch) error {
			if b.FirstSeq != next || int(b.Shard) != span.Shard {
				t.Errorf("shard %d from %d, want %d", b.Shard, b.FirstSeq, next)
			}
			next = b.Next()
			return b.Check()
		})
		if err != nil || to != 50_000 || next != 50_000 || ended != (span.To == Open) {
			t.Errorf("came up to %d, ended %t, %v", to, ended, err)
		}
	}
	if _, _, err := c.Refill(ctx, Span{Epoch: 9, To: 10}, func(*wire.Batch) error { return nil }); !errors.Is(err, ErrUnknownEpoch) {
		t.Errorf("of an unknown epoch: %v", err)
	}
	snap, err := c.Snapshot(ctx, Query{})
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	n := 0
	for _, at, ok := snap.Next(); ok; _, at, ok = snap.Next() {
		if at.From != wire.Seq(n) {
			t.Fatalf("entry %d is at %+v", n, at)
		}
		n++
	}
	if err := snap.Err(); err != nil || n != 20_000 || snap.Entries() != 20_000 || len(snap.Positions()) != 2 {
		t.Errorf("%d entries, %v", n, err)
	}
	eventually(func() bool { return s.State().Requests == 0 })
	if c := s.Counters(); c.Malformed != 0 || c.Foreign != 0 || c.Errors.Total() != c.Errors.UnknownEpoch {
		t.Errorf("%+v", c)
	}
}

// TestServerRestartsUnderClient: the server goes, in the middle of a refill, and
// another comes: the client has everything, once.
func TestServerRestartsUnderClient(t *testing.T) {
	src := newShelf(1, 1, 50_000) // 6.6 MB
	cfg := ServerConfig{Refills: src, Rate: 20 << 20}
	s, stop := runServer(t, cfg)
	cfg.Endpoints = s.Endpoints()
	c := runClient(t, ClientConfig{Endpoints: cfg.Endpoints, WindowBytes: 1 << 20})
	var next wire.Seq
	middle := false
	to, _, err := c.Refill(context.Background(), Span{Epoch: 1, To: 50_000}, func(b *wire.Batch) error {
		if b.FirstSeq != next {
			t.Errorf("batch from %d, want %d", b.FirstSeq, next)
		}
		if next = b.Next(); next > 25_000 && !middle {
			middle = true
			stop()
			runServer(t, cfg)
		}
		return b.Check()
	})
	if err != nil || to != 50_000 || next != 50_000 || !middle {
		t.Errorf("came up to %d, %v", to, err)
	}
}

// TestServersTakeOver: one server has not everything, and the next has the rest.
func TestServersTakeOver(t *testing.T) {
	less, more := newShelf(1, 1, 1000), newShelf(1, 1, 5000)
	first, _ := runServer(t, ServerConfig{Refills: less})
	second, _ := runServer(t, ServerConfig{Refills: more})
	c := runClient(t, ClientConfig{Endpoints: append(first.Endpoints(), second.Endpoints()...)})
	var next wire.Seq
	to, _, err := c.Refill(context.Background(), Span{Epoch: 1, To: 5000}, func(b *wire.Batch) error {
		if b.FirstSeq != next {
			t.Errorf("batch from %d, want %d", b.FirstSeq, next)
		}
		next = b.Next()
		return nil
	})
	if err != nil || to != 5000 || next != 5000 {
		t.Errorf("came up to %d, %v", to, err)
	}
}
