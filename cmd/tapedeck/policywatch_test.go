package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// post is a watched reader of one shard whose clock the test sets, and the stream
// that it is given.
type post struct {
	*slowWatch
	t       *testing.T
	handler subscriber.Handler
	printed bytes.Buffer
	told    bytes.Buffer
	now     wire.Nanos
	late    time.Duration
	seq     wire.Seq
	reports []wire.ReaderReport
}

const postStart = wire.Nanos(1_700_000_000_000_000_000)

func newPost(t *testing.T, policy snail.Policy, snapshots resync.Snapshots) *post {
	t.Helper()
	p := &post{t: t, now: postStart}
	out := &output{w: bufio.NewWriter(&p.printed), err: &p.told}
	var err error
	p.slowWatch, err = newSlowWatch(slowConfig{policy: policy, limit: time.Second, shards: 1, snapshots: snapshots}, out)
	if err != nil {
		t.Fatal(err)
	}
	p.clock = func() snail.Instant { return snail.Instant{Wall: p.now, Mono: p.now - postStart + 1} }
	p.report = func(_ int, r wire.ReaderReport) { p.reports = append(p.reports, r) }
	if p.handler, err = p.slowWatch.handler(newSubHandler(out, 1, nil, true)); err != nil {
		t.Fatal(err)
	}
	return p
}

// oneRecord is a record whose body is its sequence, as text.
func oneRecord(t testing.TB, topic string, seq wire.Seq) []byte {
	t.Helper()
	b, err := wire.AppendRecord(nil, &wire.Fields{Topic: []byte(topic), Body: fmt.Appendf(nil, "%d", seq), Event: postStart, Receive: postStart, TopicSeq: uint32(seq)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// take gives the reader a batch of one record, late by lag.
func (p *post) take(lag time.Duration) {
	p.t.Helper()
	if lag > p.late {
		p.now += wire.Nanos(lag - p.late) // that it stood still for
	}
	p.late = lag
	payload := oneRecord(p.t, "T", p.seq)
	b := wire.Batch{Header: wire.Header{
		Epoch: 7, Shards: 1, FirstSeq: p.seq, Count: 1, Send: p.now - wire.Nanos(lag),
		PayloadSize: uint32(len(payload)), CRC: wire.CRC(payload, nil),
	}, Payload: payload}
	p.seq++
	if err := p.handler.HandleBatch(&b, 0); err != nil {
		p.t.Fatal(err)
	}
}

// pass gives the reader a batch every 50 ms, late by lag, and looks at it.
func (p *post) pass(d, lag time.Duration) {
	p.t.Helper()
	for ; d > 0; d -= 50 * time.Millisecond {
		p.now += wire.Nanos(50 * time.Millisecond)
		p.take(lag)
		p.tick(p.t.Context())
	}
}

// seqs are the topic sequences that were printed, in order, and clears them.
func (p *post) seqs() string {
	var list []string
	for _, line := range strings.Split(strings.TrimSpace(p.printed.String()), "\n") {
		for _, field := range strings.Fields(line) {
			if n, ok := strings.CutPrefix(field, "#"); ok {
				list = append(list, n)
			}
		}
	}
	p.printed.Reset()
	return strings.Join(list, " ")
}

// album is a source of snapshots: of one record each, as of positions.
type album struct {
	t    *testing.T
	at   []wire.Seq // of each snapshot in turn
	err  error
	asks []resync.Query
	// Where it is not nil, snapshots come when wait is closed, and asked is closed when
	// the first one is wanted.
	wait, asked chan struct{}
}

func (a *album) Snapshot(_ context.Context, q resync.Query) (resync.Snapshot, error) {
	if a.wait != nil && len(a.asks) == 0 {
		close(a.asked)
		<-a.wait
	}
	a.asks = append(a.asks, q)
	if a.err != nil || len(a.asks) > len(a.at) {
		return nil, errors.Join(a.err, errors.New("no more snapshots"))
	}
	return &photo{t: a.t, at: a.at[len(a.asks)-1]}, nil
}

type photo struct {
	t    *testing.T
	at   wire.Seq
	done bool
}

func (p *photo) Positions() []resync.Span { return []resync.Span{{Epoch: 7, To: p.at}} }
func (p *photo) Entries() uint64          { return 1 }
func (p *photo) Err() error               { return nil }
func (p *photo) Close()                   {}
func (p *photo) Next() (wire.Record, resync.Span, bool) {
	if p.done {
		return nil, resync.Span{}, false
	}
	p.done = true
	return oneRecord(p.t, "T", p.at-1), resync.Span{Epoch: 7, From: p.at - 1}, true
}

// TestSkip: what is too late is dropped, a snapshot comes, and behind it exactly
// what follows it; with snapshots that are too old another one is taken.
func TestSkip(t *testing.T) {
	a := &album{t: t, at: []wire.Seq{3, 31}}
	p := newPost(t, snail.PolicySkip, a)
	p.pass(time.Second, 0) // 20 records
	if got := p.seqs(); !strings.HasPrefix(got, "0 1 2 ") || !strings.HasSuffix(got, " 18 19") {
		t.Fatal(got)
	}
	for !p.skipping {
		p.pass(50*time.Millisecond, 2*time.Second)
	}
	err := <-p.skipped
	if !errors.Is(err, subscriber.ErrGateBehind) && err != nil {
		t.Fatal(err)
	}
	before := p.seq // what came until then was handed on, late
	if err := p.endSkip(err); err != nil {
		t.Fatal(err)
	}
	p.seqs()
	p.pass(500*time.Millisecond, 0)
	if got := p.seqs(); before > 31 || got != "31 32" {
		t.Errorf("behind the snapshot of 31, at %d: %s", before, got)
	}
	if s := p.status(0); s.Verdict != snail.OK {
		t.Errorf("forgiven, and %v", s.Verdict)
	}
	sum := p.summary(uint64(p.seq))
	if sum.Snapshots != 2 || sum.Entries != 2 || sum.Discarded != uint64(31-before) || sum.Passed != uint64(p.seq)-sum.Discarded {
		t.Errorf("%+v, shut at %d of %d", sum, before, p.seq)
	}
	if said := p.told.String(); !strings.Contains(said, "; skip\n") || !strings.Contains(said, "skipped to a fresh snapshot") {
		t.Error(said)
	}
}

// TestSkipFails: a snapshot that cannot be had ends the run; one that is always
// too old, too.
func TestSkipFails(t *testing.T) {
	for _, a := range []*album{{t: t, err: errors.New("nobody answers")}, {t: t, at: []wire.Seq{1, 1, 1, 1, 1, 1}}} {
		p := newPost(t, snail.PolicySkip, a)
		p.pass(time.Second, 0)
		for !p.skipping {
			p.pass(50*time.Millisecond, 2*time.Second)
		}
		err := p.endSkip(<-p.skipped)
		if err == nil || a.err != nil && !errors.Is(err, a.err) || a.err == nil && !errors.Is(err, errSnapshotBehind) {
			t.Errorf("%v", err)
		}
	}
}

// TestSkipAtTheEnd: a stream that ends while records are skipped ends with the last
// values, and a snapshot that cannot be had then is an error as before.
func TestSkipAtTheEnd(t *testing.T) {
	for _, fails := range []error{nil, errors.New("nobody answers")} {
		a := &album{t: t, err: fails, wait: make(chan struct{}), asked: make(chan struct{})}
		p := newPost(t, snail.PolicySkip, a)
		p.pass(time.Second, 0)
		for !p.skipping {
			p.pass(50*time.Millisecond, 2*time.Second)
		}
		<-a.asked
		p.pass(500*time.Millisecond, 2*time.Second) // what follows is dropped, but for an end that is kept
		p.seqs()
		a.at = []wire.Seq{p.seq - 1}
		ctx, cancel := context.WithCancelCause(t.Context())
		var watch sync.WaitGroup
		watch.Go(func() { p.watch(ctx, cancel) })
		ended := make(chan error, 1)
		go func() { ended <- p.lastSkip(ctx) }()
		select {
		case err := <-ended:
			t.Errorf("ended in the middle of a skip: %v", err)
		case <-time.After(50 * time.Millisecond): // a chance to go wrong; nothing waits for it
		}
		close(a.wait)
		if err := <-ended; !errors.Is(err, fails) {
			t.Errorf("%v, want %v", err, fails)
		}
		if want := fmt.Sprintf("%d %d", p.seq-2, p.seq-1); fails == nil && !strings.HasSuffix(p.seqs(), want) {
			t.Errorf("ended without %s", want)
		}
		cancel(nil)
		watch.Wait()
		if err := p.lastSkip(ctx); err != nil {
			t.Errorf("after the end: %v", err)
		}
	}
}

// TestGatePositions: a snapshot says where every shard goes on.
func TestGatePositions(t *testing.T) {
	at, err := gatePositions([]resync.Span{{Epoch: 7, Shard: 1, To: 5}, {Epoch: 8, Shard: 0, To: 3}}, 2)
	if err != nil || at[0] != (subscriber.GatePosition{Epoch: 8, Next: 3}) || at[1] != (subscriber.GatePosition{Epoch: 7, Next: 5}) {
		t.Errorf("%v, %v", at, err)
	}
	if _, err := gatePositions([]resync.Span{{Epoch: 7, Shard: 1, To: 5}}, 2); err == nil {
		t.Error("shard 0 goes on nowhere")
	}
}

// TestDieTellsFirst: the publisher is told before the reader is dead.
func TestDieTellsFirst(t *testing.T) {
	p := newPost(t, snail.PolicyDie, nil)
	p.pass(time.Second, 0)
	for p.dying == nil {
		p.pass(50*time.Millisecond, 2*time.Second)
	}
	if last := p.reports[len(p.reports)-1]; last.Verdict != "snail" || last.Lag != 2*time.Second {
		t.Errorf("%+v", last)
	}
	select {
	case <-p.dead:
		t.Error("dead in the same tick")
	default:
	}
	p.tick(t.Context())
	<-p.dead
	p.tick(t.Context())
	if got := p.died.Load().Error(); got != "too slow, the limit is 1s: this reader is snail on shard 0, was ok (lag): lag 2s, 0 records lost; die" {
		t.Error(got)
	}
	if strings.Contains(p.told.String(), "; die") {
		t.Errorf("the last words came twice: %s", &p.told)
	}
}

// TestMarksCount: a reader that gets heartbeats alone is watched, too.
func TestMarksCount(t *testing.T) {
	p := newPost(t, snail.PolicyWarn, nil)
	marks := p.handler.(subscriber.MarkHandler)
	for i := range wire.Nanos(20) {
		p.now += wire.Nanos(time.Second)
		late := wire.Nanos(0)
		if i == 10 {
			p.now += wire.Nanos(3 * time.Second) // it stood still
		}
		if i >= 10 {
			late = wire.Nanos(3 * time.Second)
		}
		marks.HandleMark(0, &wire.Header{Epoch: 7, Flags: wire.FlagHeartbeat, Send: p.now - late})
		p.tick(t.Context())
	}
	if s := p.status(0); s.Verdict != snail.Snail || s.Lag != 3*time.Second || s.Heard != 20 {
		t.Errorf("%+v", s)
	}
	p.handler.HandleGap(0, 7, 5, 15)
	if s := p.status(0); s.Lost != 10 {
		t.Errorf("%+v", s)
	}
}

// TestWatchAllocs: watching a reader makes no garbage.
func TestWatchAllocs(t *testing.T) {
	out := &output{w: bufio.NewWriter(&bytes.Buffer{}), err: &bytes.Buffer{}}
	w, err := newSlowWatch(slowConfig{policy: snail.PolicyWarn, limit: time.Hour, shards: 1}, out)
	if err != nil {
		t.Fatal(err)
	}
	h, err := w.handler(newSubHandler(out, 1, nil, false))
	if err != nil {
		t.Fatal(err)
	}
	payload := oneRecord(t, "T", 0)
	b := wire.Batch{Header: wire.Header{Epoch: 7, Shards: 1, Count: 1, PayloadSize: uint32(len(payload)), Send: wire.NanosOf(time.Now())}, Payload: payload}
	take := func() {
		if err := h.HandleBatch(&b, 0); err != nil {
			t.Fatal(err)
		}
	}
	take()
	if n := testing.AllocsPerRun(1000, take); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkWatch is what --policy costs a batch, its clock reads included, beside
// the handler's own work on one record.
func BenchmarkWatch(b *testing.B) {
	for _, policy := range []string{"", "warn", "conflate"} {
		b.Run("policy="+policy, func(b *testing.B) {
			out := &output{w: bufio.NewWriter(&bytes.Buffer{}), err: &bytes.Buffer{}}
			var h subscriber.Handler = newSubHandler(out, 1, nil, false)
			if policy != "" {
				p, err := snail.ParsePolicy(policy)
				if err != nil {
					b.Fatal(err)
				}
				w, err := newSlowWatch(slowConfig{policy: p, limit: time.Hour, shards: 1}, out)
				if err != nil {
					b.Fatal(err)
				}
				if h, err = w.handler(h.(*subHandler)); err != nil {
					b.Fatal(err)
				}
			}
			payload := oneRecord(b, "T", 0)
			batch := wire.Batch{Header: wire.Header{Epoch: 7, Shards: 1, Count: 1, PayloadSize: uint32(len(payload)), Send: wire.NanosOf(time.Now())}, Payload: payload}
			b.ReportAllocs()
			for b.Loop() {
				if err := h.HandleBatch(&batch, 0); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
