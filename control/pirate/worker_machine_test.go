package pirate

import (
	"math/rand/v2"
	"testing"
	"time"
)

func testWorker() *workerMachine {
	times := workerTimes{heartbeat: sec, silence: 3 * sec, work: 10 * sec, drain: sec}
	return newWorkerMachine(times, sec, 4*sec, func() float64 { return 0 })
}

// TestWorkerEveryPair: every state meets every event.
func TestWorkerEveryPair(t *testing.T) {
	idle := func(m *workerMachine) { m.tick(0) }
	busy := func(m *workerMachine) { idle(m); m.message(0, work) }
	leaving := func(m *workerMachine) { idle(m); m.stop(0) }
	states := []struct {
		name string
		make func(*workerMachine)
	}{
		{"away", func(m *workerMachine) { idle(m); m.message(0, down) }}, // until 1 s
		{"idle", idle},
		{"busy", busy},
		{"busy stopping", func(m *workerMachine) { busy(m); m.stop(0) }},
		{"leaving", leaving},
		{"done", func(m *workerMachine) { leaving(m); m.message(0, down) }},
	}
	const at = sec / 2
	events := []struct {
		name string
		do   func(*workerMachine) workerAct
	}{
		{"heartbeat", func(m *workerMachine) workerAct { return m.message(at, heartbeat) }},
		{"request", func(m *workerMachine) workerAct { return m.message(at, work) }},
		{"down", func(m *workerMachine) workerAct { return m.message(at, down) }},
		{"invalid", func(m *workerMachine) workerAct { return m.message(at, invalid) }},
		{"ready", func(m *workerMachine) workerAct { return m.message(at, ready) }}, // a queue never says it
		{"finished", func(m *workerMachine) workerAct { return m.finished(at) }},
		{"stop", func(m *workerMachine) workerAct { return m.stop(at) }},
		{"short while", func(m *workerMachine) workerAct { return m.tick(at) }},
		{"beat due", func(m *workerMachine) workerAct { return m.tick(sec) }},
		{"silence", func(m *workerMachine) workerAct { return m.tick(3 * sec) }},
		{"long while", func(m *workerMachine) workerAct { return m.tick(10 * sec) }},
	}
	type result struct {
		state workerState
		act   workerAct
	}
	want := map[string][]result{ // in the order of the events
		"away": {{workerAway, 0}, {workerAway, 0}, {workerAway, 0}, {workerAway, 0}, {workerAway, 0}, {workerAway, 0}, {workerDone, 0},
			{workerAway, 0}, {workerIdle, workerOpen}, {workerIdle, workerOpen}, {workerIdle, workerOpen}},
		"idle": {{workerIdle, 0}, {workerBusy, workerStart}, {workerAway, workerClose}, {workerIdle, workerMalformed}, {workerIdle, workerMalformed},
			{workerIdle, 0}, {workerLeaving, workerGoodbye}, {workerIdle, 0}, {workerIdle, workerBeat}, {workerAway, workerClose}, {workerAway, workerClose}},
		// A busy worker reads nothing, beats until it has been at it for too long, and
		// does not hold the queue's silence against it.
		"busy": {{workerBusy, 0}, {workerBusy, 0}, {workerBusy, 0}, {workerBusy, 0}, {workerBusy, 0}, {workerIdle, 0}, {workerBusy, 0},
			{workerBusy, 0}, {workerBusy, workerBeat}, {workerBusy, workerBeat}, {workerBusy, 0}},
		"busy stopping": {{workerBusy, 0}, {workerBusy, 0}, {workerBusy, 0}, {workerBusy, 0}, {workerBusy, 0}, {workerLeaving, workerGoodbye}, {workerBusy, 0},
			{workerBusy, 0}, {workerBusy, workerBeat}, {workerBusy, workerBeat}, {workerBusy, 0}},
		// A request that crossed with DOWN is handled.
		"leaving": {{workerLeaving, 0}, {workerBusy, workerStart}, {workerDone, workerClose}, {workerLeaving, workerMalformed}, {workerLeaving, workerMalformed},
			{workerLeaving, 0}, {workerLeaving, 0}, {workerLeaving, 0}, {workerDone, workerClose}, {workerDone, workerClose}, {workerDone, workerClose}},
		"done": {{workerDone, 0}, {workerDone, 0}, {workerDone, 0}, {workerDone, 0}, {workerDone, 0}, {workerDone, 0}, {workerDone, 0},
			{workerDone, 0}, {workerDone, 0}, {workerDone, 0}, {workerDone, 0}},
	}
	for _, s := range states {
		if len(want[s.name]) != len(events) {
			t.Fatalf("%s: %d expectations for %d events", s.name, len(want[s.name]), len(events))
		}
		for i, e := range events {
			m := testWorker()
			s.make(m)
			act := e.do(m)
			if got := (result{m.state, act}); got != want[s.name][i] {
				t.Errorf("%s + %s: state and act %v, want %v", s.name, e.name, got, want[s.name][i])
			}
		}
	}
}

// TestWorkerBackoff: the wait doubles up to its bound while the queue stays away,
// and begins anew once it was heard.
func TestWorkerBackoff(t *testing.T) {
	m := testWorker()
	var now time.Duration
	for _, wait := range []time.Duration{sec, 2 * sec, 4 * sec, 4 * sec} {
		if m.tick(now) != workerOpen {
			t.Fatal("does not open")
		}
		now += 3 * sec
		if m.tick(now) != workerClose || m.due(now) != wait {
			t.Errorf("waits %v, want %v", m.due(now), wait)
		}
		now += wait
	}
	m.tick(now)
	m.message(now, heartbeat)
	now += 3 * sec
	if m.tick(now) != workerClose || m.due(now) != sec {
		t.Errorf("waits %v after it was heard, want 1s", m.due(now))
	}
	if m.lost != 5 {
		t.Errorf("lost the queue %d times, want 5", m.lost)
	}
}

func TestBackoffJitter(t *testing.T) {
	b := Backoff{First: sec, Most: 8 * sec, Random: rand.New(rand.NewPCG(1, 2)).Float64}
	differ := map[time.Duration]bool{}
	for range 100 {
		b.Reset()
		for _, full := range []time.Duration{sec, 2 * sec, 4 * sec, 8 * sec, 8 * sec} {
			got := b.Next()
			if got > full || got < full/2 {
				t.Fatalf("waits %v, want %v less up to half", got, full)
			}
			differ[got] = true
		}
	}
	if len(differ) < 400 {
		t.Errorf("500 waits have %d lengths", len(differ))
	}
}

// TestWorkerBeatsWhileBusy: a worker at work beats once an interval, so that its
// death shows; when stuck it stops.
func TestWorkerBeatsWhileBusy(t *testing.T) {
	m := testWorker()
	m.tick(0)
	m.message(0, work)
	beats := 0
	for now := time.Duration(0); now < 20*sec; now += 100 * time.Millisecond {
		if m.tick(now) == workerBeat {
			beats++
		}
		if d := m.due(now); d > sec || d < 0 {
			t.Fatalf("waits %v", d)
		}
	}
	if beats != 9 {
		t.Errorf("%d beats in 10 s of work and 10 s of being stuck, want 9", beats)
	}
	if m.finished(20*sec) != workerBeat || m.overdue != 1 {
		t.Error("does not come back to life")
	}
}
