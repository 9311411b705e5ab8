package sim

import (
	"time"

	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/wire"
)

// meterRun is a publisher and its readers, each with a meter. Clocks are set, run
// fast or slow, another publisher takes over whose clock is far off, and the stream may
// be a mark now and then and nothing else. What must hold:
//
//  1. Nobody is named who is well: a reader that takes every message soon after it
//     came, and whose handler returns soon, has the verdict ok at all times.
//  2. Who is late for long is named, and so is one whose handler does not return;
//     once well for long, not any more.
//  3. A reader that loses records is named at once.
type meterRun struct {
	w         *World
	limits    snail.Limits
	publisher *Process
	epoch     wire.Epoch
	next      wire.Seq
	pause     time.Duration // between messages, about
	readers   []*meterReader
}

type meterReader struct {
	run   *meterRun
	p     *Process
	in    *link
	meter *snail.Meter
	queue []wire.Header
	busy  bool
	begun time.Duration // the handler's call, by the process's clock
	work  time.Duration // how long the handler takes
	slow  bool          // it is to be
	next  wire.Seq
	drops int // messages that are yet to be lost
}

func runMeter(w *World) {
	r := &meterRun{w: w, epoch: 1, pause: one(w, 5*time.Millisecond, 20*time.Millisecond, 200*time.Millisecond, time.Second)}
	r.limits = snail.Limits{Lag: one(w, 700*time.Millisecond, time.Second, 3*time.Second)}
	r.publisher = w.Process("publisher", func() {
		r.publisher.Every(func() time.Duration { return w.Between(r.pause/2, r.pause*3/2) }, r.publish)
	})
	r.publisher.drift = float64(w.IntN(100) - 50)
	w.Logf("a message every %v, a snail at %v", r.pause, r.limits.Lag)
	for range 3 {
		r.reader()
	}
	for _, p := range w.processes {
		p.wall = w.Between(-time.Hour, time.Hour)
		p.Start()
	}
	r.clocks(w.Between(5*time.Second, time.Minute))
	r.slowness()
}

func (r *meterRun) reader() {
	m, err := snail.NewMeter(r.limits)
	if err != nil {
		r.w.Fail("limits %+v: %v", r.limits, err)
	}
	d := &meterReader{run: r, meter: m, work: r.w.Between(0, min(r.pause/4, 50*time.Millisecond))}
	d.p = r.w.Process("reader", func() {
		d.p.Every(func() time.Duration { return r.limits.Lag / 10 }, d.tick)
	})
	d.p.drift = float64(r.w.IntN(100) - 50)
	d.in = r.w.link(r.publisher, d.p)
	d.in.weather = weather{least: r.w.Between(0, 5*time.Millisecond)}
	d.in.weather.most = d.in.weather.least + r.w.Between(0, r.limits.Lag/20)
	r.readers = append(r.readers, d)
}

func (r *meterRun) publish() {
	h := wire.Header{Epoch: r.epoch, FirstSeq: r.next, Count: 1, Send: wire.Nanos(r.publisher.Wall())}
	r.next++
	for _, d := range r.readers {
		d.in.send(func() {
			if d.drops > 0 {
				d.drops--
				return
			}
			d.queue = append(d.queue, h)
			d.take()
		})
	}
}

// take takes the next message, unless the handler is at work.
func (d *meterReader) take() {
	if d.busy || len(d.queue) == 0 {
		return
	}
	h := d.queue[0]
	d.queue = d.queue[1:]
	bug := d.run.w.bug
	if bug != bugMeterLoss && h.FirstSeq > d.next && h.Epoch == d.run.epoch && d.next > 0 {
		d.said(d.meter.Lose(d.instant(), uint64(h.FirstSeq-d.next)))
	}
	d.next = h.Next()
	if bug != bugMeterLag {
		d.said(d.meter.Observe(d.instant(), &h))
	}
	d.busy, d.begun = true, d.p.Now()
	d.p.After(d.work, func() {
		d.busy = false
		d.take()
	})
}

func (d *meterReader) tick() {
	since := wire.Nanos(0)
	if d.busy {
		since = monoBegan + wire.Nanos(d.begun)
	}
	d.said(d.meter.Tick(d.instant(), since))
}

// monoBegan is what clocks that are never set show when their process begins.
const monoBegan = wire.Nanos(5_000_000_000)

func (d *meterReader) instant() snail.Instant {
	at := snail.Instant{Wall: wire.Nanos(d.p.Wall()), Mono: monoBegan + wire.Nanos(d.p.Now())}
	if d.run.w.bug == bugMeterWall {
		at.Mono = at.Wall
	}
	return at
}

// said holds property 1.
func (d *meterReader) said(v snail.Verdict) {
	if v != snail.OK && !d.slow {
		s := d.meter.Status()
		d.run.w.Fail("a reader that is well is named %v: %+v", v, s)
	}
}

// clocks sets clocks, while everybody is well.
func (r *meterRun) clocks(d time.Duration) {
	w := r.w
	over := false
	w.Every(func() time.Duration { return w.Between(0, 5*time.Second) }, func() bool {
		switch k := w.IntN(4); {
		case over:
		case k < 2:
			w.processes[w.IntN(len(w.processes))].SetClock(r.step())
		case k == 2:
			r.epoch, r.next = r.epoch+1, 0
			w.Logf("another publisher")
			r.publisher.SetClock(r.step())
		}
		return !over
	})
	w.Run(d)
	over = true
}

func (r *meterRun) step() time.Duration {
	return r.w.Between(-time.Hour, time.Hour) / one(r.w, time.Duration(1), 60, 3600, 36000, 360000)
}

// slowness makes a reader slow, and well again.
func (r *meterRun) slowness() {
	w, d := r.w, r.readers[0]
	w.Run(5 * time.Second) // the clocks' estimates settle
	d.slow = true
	work := d.work
	switch w.IntN(3) {
	case 0:
		d.work = w.Between(5*r.limits.Lag, 10*r.limits.Lag)
	case 1:
		d.work = r.pause * 3 / 2 * 2
	case 2:
		d.drops = 1 + w.IntN(3)
	}
	w.Logf("%s 0 is slow: it takes %v for a message, and loses %d", d.p.name, d.work, d.drops)
	seen := snail.OK
	named := w.RunUntil(20*r.limits.Lag, r.limits.Lag/20, func() bool {
		seen = max(seen, d.meter.Verdict())
		return seen.Slow()
	})
	if !named {
		w.Fail("a reader that is slow is not named: %+v", d.meter.Status())
	}
	d.work = work
	well := w.RunUntil(60*r.limits.Lag, r.limits.Lag/4, func() bool { return d.meter.Verdict() == snail.OK })
	if !well {
		w.Fail("a reader that is well again is still %v: %+v", d.meter.Verdict(), d.meter.Status())
	}
	d.slow = false
	w.Run(10 * time.Second)
}
