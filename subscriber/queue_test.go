package subscriber

import (
	"testing"
	"time"
)

func TestQueueLength(t *testing.T) {
	for _, tc := range []struct {
		queue int64
		batch int
		want  int
	}{
		{0, 0, 256}, {1 << 20, 0, queueLenMin}, {64 << 20, 1 << 20, 64}, {64 << 20, 1000, 67108}, {1, 1 << 20, queueLenMin},
	} {
		s, err := New(Config{Endpoints: []string{"tcp://127.0.0.1:1"}, QueueBytes: tc.queue, BatchBytes: tc.batch}, &notes{})
		if err != nil {
			t.Fatal(err)
		}
		if got := queueLength(&s.cfg); got != tc.want {
			t.Errorf("%d bytes of batches of %d: %d messages, want %d", tc.queue, tc.batch, got, tc.want)
		}
	}
}

// TestExpect holds the documented rule with the cases of its documentation.
func TestExpect(t *testing.T) {
	for name, tc := range map[string]struct {
		e      Expect
		shards int
		queue  int64
		batch  int
	}{
		"nothing":                         {Expect{}, 1, queueBytesMin, 140},
		"100,000 a second":                {Expect{RecordsPerSecond: 100_000}, 1, 14_000_000, 1400},
		"on two shards, for five seconds": {Expect{RecordsPerSecond: 100_000, Stall: 5 * time.Second}, 2, 35_000_000, 700},
		"full speed":                      {Expect{RecordsPerSecond: 20e6}, 1, queueBytesMax, 256 << 10},
		"large bodies":                    {Expect{RecordsPerSecond: 1000, BodyBytes: 100_000}, 1, 100_040_000, 100_040},
		"a trickle":                       {Expect{RecordsPerSecond: 10}, 4, queueBytesMin, 140},
	} {
		queue, batch := tc.e.Queue(tc.shards)
		if queue != tc.queue || batch != tc.batch {
			t.Errorf("%s: %d bytes in batches of %d, want %d and %d", name, queue, batch, tc.queue, tc.batch)
		}
	}
}
