package main

import (
	"errors"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/metrics"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/resync/chp"
	"github.com/tapedeck/tapedeck/snail"
)

// lagMeter counts lag, for metrics alone: nobody else wants to know.
type lagMeter struct{ counted latency.Histogram }

// count is what subscriber.Config.Lag wants.
func (l *lagMeter) count(lag time.Duration, records int) {
	l.counted.RecordN(max(int64(lag), 1), uint64(records))
}

// show shows what is played. Hide it before the publisher and the player are closed.
func (p *playing) show(sc *metrics.Scope) {
	sc.Publisher(p.pub)
	sc.Player(p.player)
	p.served.show(sc)
	sc.Check("player", func() error {
		if p.player.State().Phase == replay.Finished {
			return errors.New("it has come to its end")
		}
		return nil
	})
}

// show shows what is recorded.
func (t *taping) show(sc *metrics.Scope) {
	sc.Recorder(t.w)
	sc.Subscriber(t.stream.sub.Summary)
	if t.lag != nil {
		sc.Lag(&t.lag.counted)
	}
	t.stream.healing.show(sc)
	t.stream.served.show(sc)
	sc.Check("stream", checkStream(t.stream.sub.Summary))
	sc.Check("tape", t.rec.Err)
}

// show shows a proxy and what it serves.
func (h *lvcHandler) show(sc *metrics.Scope) {
	sc.LVC(h.Proxy)
	sc.Subscriber(h.sub.Summary)
	if h.lag != nil {
		sc.Lag(&h.lag.counted)
	}
	h.healing.show(sc)
	h.snapshots.show(sc)
	if h.pair != nil {
		sc.Pair(partLVC, h.pair)
	}
	sc.Check("stream", checkStream(h.sub.Summary))
	sc.Check("values", func() error {
		switch st := h.Stats(); {
		case st.Full:
			return errors.New("the table is full: topics have no last value")
		case st.Partial:
			return errors.New("not all of the stream came: topics may have old last values, or none")
		}
		return nil
	})
}

// show shows what fills gaps; a nil one nothing.
func (h *healing) show(sc *metrics.Scope) {
	if h != nil {
		sc.Healer(h.Healer)
		sc.ResyncClient(h.client.Stats)
		sc.ResyncServers(h.client.ServerStats, h.Refilled)
	}
}

// show shows a server of refills; a nil one nothing.
func (s *refillServer) show(sc *metrics.Scope) {
	if s != nil {
		sc.ResyncServer(s.server)
	}
}

// show shows the services of snapshots.
func (s *snapshotService) show(sc *metrics.Scope) {
	if s.server != nil {
		sc.ResyncServer(s.server)
	}
	var clones []func() chp.Stats
	for _, c := range s.clones {
		clones = append(clones, c.server.Stats)
	}
	if len(clones) > 0 {
		sc.Clones(clones...)
	}
}

// show shows what a box receives, and how its reader fares.
func (b *box) show(sc *metrics.Scope, h *subHandler, slow *slowWatch) {
	sc.Subscriber(b.summary)
	sc.Lag(h.lags()...)
	if b.detail != nil {
		sc.Workers(b.detail)
	}
	b.healing.show(sc)
	if slow != nil {
		sc.Policy(slow.stats)
	}
	sc.Check("stream", checkStream(b.summary))
}

// stats is how the reader fares, and what was done about it.
func (w *slowWatch) stats() metrics.PolicyStats {
	s := metrics.PolicyStats{Squawks: w.squawks.Load(), Snapshots: w.taken.Load()}
	var lag, skew time.Duration
	for shard := range w.lanes {
		one := w.status(shard)
		s.Verdicts[min(one.Verdict, snail.Stuck)]++
		lag, skew = max(lag, one.Lag), time.Duration(largest(int64(skew), int64(one.Skew)))
	}
	s.LagSeconds, s.SkewSeconds = lag.Seconds(), skew.Seconds()
	if w.conflater != nil {
		c := w.conflater.Summary()
		s.Conflated, s.Skipped, s.Dropped, s.Waiting = c.Conflated, c.Skipped, c.Dropped, c.Waiting
	}
	if w.gate != nil {
		s.Discarded = w.gate.Summary().Discarded
	}
	return s
}

// tapeReaders are the tape readers of this process, as they come.
type tapeReaders struct {
	mu  sync.Mutex
	all []*pirate.Worker
}

func (r *tapeReaders) add(w *pirate.Worker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, w)
}

func (r *tapeReaders) counters() []pirate.WorkerCounters {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]pirate.WorkerCounters, len(r.all))
	for i, w := range r.all {
		list[i] = w.Counters()
	}
	return list
}

// lags are what every loop or worker counts.
func (h *subHandler) lags() []*latency.Histogram {
	list := make([]*latency.Histogram, len(h.tallies))
	for i := range h.tallies {
		list[i] = h.tallies[i].lag
	}
	return list
}
