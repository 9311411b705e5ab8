package replay

import (
	"testing"
	"time"
)

func TestScheduleDoesNotDrift(t *testing.T) {
	for _, speed := range []Speed{0.1, 0.5, 1, 3, 10, 1000} {
		if d := Drift(speed, 24*time.Hour, 10*time.Second); d > time.Nanosecond {
			t.Errorf("%v: the schedule is off by %v within a day", speed, d)
		}
	}
}
