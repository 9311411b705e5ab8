package snail

import (
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// idler is a reader on a quiet shard, that is looked at every tenth of a second.
type idler struct {
	t       *testing.T
	m       *Meter
	sim     sim
	now     time.Duration
	payload uint32
	worst   Verdict
}

func newIdler(t *testing.T) *idler { return &idler{t: t, m: newMeter(t, Limits{})} }

// message lets a message come that is late, after a pause in which the reader waits, or
// is at work for all of it.
func (d *idler) message(pause, late time.Duration, works bool) Verdict {
	busy := wire.Nanos(0)
	if works {
		busy = d.sim.instant(d.now).Mono + 1
	}
	for end := d.now + pause; d.now < end; {
		d.now = min(d.now+100*ms, end)
		if d.now < end {
			d.worst = max(d.worst, d.m.Tick(d.sim.instant(d.now), busy))
		}
	}
	h := wire.Header{Epoch: 1, PayloadSize: d.payload, Send: simWall + wire.Nanos(d.now-late)}
	d.worst = max(d.worst, d.m.Observe(d.sim.instant(d.now), &h))
	d.m.Tick(d.sim.instant(d.now), 0)
	return d.m.Verdict()
}

// TestMeterIdle: marks alone come, once a second, and the publisher's clock is set
// back by less than that: nothing in the send times shows it, and nobody is slow.
func TestMeterIdle(t *testing.T) {
	for back := 50 * ms; back < second; back += 50 * ms {
		d := newIdler(t)
		for range 10 {
			d.message(second, 0, false)
		}
		for range 20 {
			d.message(second, back, false)
		}
		if d.worst != OK {
			t.Errorf("set back by %v: %v", back, d.worst)
		}
		if lag := d.m.Status().Lag; lag > stepMin {
			t.Errorf("set back by %v: the lag is %v at last", back, lag)
		}
	}
}

// TestMeterIdleWellAgain: a clock that was set back while a reader was slow does not
// keep it from being well again.
func TestMeterIdleWellAgain(t *testing.T) {
	d := newIdler(t)
	for range 10 {
		d.message(200*ms, 0, false)
	}
	d.m.Lose(d.sim.instant(d.now), 1)
	if v := d.message(300*ms, 280*ms, false); v != Snail {
		t.Fatal(v)
	}
	for range 50 {
		d.message(200*ms, 280*ms, false)
	}
	if v := d.m.Verdict(); v != OK {
		t.Errorf("well for ten seconds: %v, %+v", v, d.m.Status())
	}
}

// TestMeterIdleIsNoExcuse: who is at work is late, and so is who waits for much that
// comes over a slow way.
func TestMeterIdleIsNoExcuse(t *testing.T) {
	for _, works := range []bool{true, false} {
		d := newIdler(t)
		if !works {
			d.payload = 1 << 20
		}
		for range 5 {
			d.message(900*ms, 0, works)
		}
		late := time.Duration(0)
		for range 10 {
			late += 300 * ms
			d.message(900*ms, late, works)
		}
		if v := d.m.Verdict(); v != Snail {
			t.Errorf("at work %v: %v, %+v", works, v, d.m.Status())
		}
	}
}

// TestMeterIdleAsleep: a process that stood still has not waited.
func TestMeterIdleAsleep(t *testing.T) {
	d := newIdler(t)
	for range 5 {
		d.message(second, 0, false)
	}
	d.now += 10 * second
	for i := range 10 { // what has piled up
		h := wire.Header{Epoch: 1, Send: simWall + wire.Nanos(d.now-time.Duration(10-i)*second/2)}
		d.m.Observe(d.sim.instant(d.now), &h)
		d.now += 20 * ms
	}
	if v := d.m.Verdict(); v != Snail {
		t.Errorf("%v, %+v", v, d.m.Status())
	}
}
