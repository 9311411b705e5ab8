package splice

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

func TestTimeline(t *testing.T) {
	in := makeTape(t, made{shards: 2, records: 3000, seed: 1, back: true})
	for _, c := range []tape.Clock{tape.ClockReceive, tape.ClockEvent} {
		for _, width := range []time.Duration{time.Microsecond, 50 * time.Microsecond, time.Millisecond, time.Hour} {
			want := map[wire.Nanos]Bucket{}
			for _, r := range all(t, in) {
				from := timeOf(r.raw, c) / wire.Nanos(width) * wire.Nanos(width)
				b := want[from]
				want[from] = Bucket{from, b.Records + 1, b.Bytes + uint64(len(r.raw))}
			}
			list, err := Timeline(context.Background(), in, c, width)
			if err != nil {
				t.Fatal(err)
			}
			got := map[wire.Nanos]Bucket{}
			for i, b := range list {
				if got[b.From] = b; i > 0 && list[i-1].From >= b.From {
					t.Fatal("buckets are not in order")
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%v by %v: %s", c, width, diff)
			}
		}
	}
	if _, err := Timeline(context.Background(), in, tape.ClockReceive, 0); !errors.Is(err, ErrBuckets) {
		t.Errorf("no width: %v", err)
	}
}

func TestBucketStart(t *testing.T) {
	l := line{width: 10}
	for at, want := range map[wire.Nanos]wire.Nanos{0: 0, 9: 0, 10: 10, -1: -10, -10: -10, wire.NanosMin: wire.NanosMin, wire.NanosMax: wire.NanosMax - 7} {
		if got := l.start(at); got != want {
			t.Errorf("%d is in the bucket from %d, want %d", at, got, want)
		}
	}
}

func TestBucketWidth(t *testing.T) {
	for _, c := range []struct {
		length time.Duration
		want   time.Duration
	}{
		{0, time.Microsecond}, {59 * time.Second, time.Second}, {time.Minute, 2 * time.Second},
		{time.Hour, 2 * time.Minute}, {24 * time.Hour, 30 * time.Minute}, {600 * 24 * time.Hour, 11 * 24 * time.Hour},
	} {
		if got := BucketWidth(tape.Span{Min: start, Max: start + wire.Nanos(c.length)}, 60); got != c.want {
			t.Errorf("%v: %v, want %v", c.length, got, c.want)
		}
	}
	if got := BucketWidth(tape.Span{Min: wire.NanosMin, Max: wire.NanosMax}, 60); got < time.Hour {
		t.Errorf("all of time: %v", got)
	}
}
