package resync

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// sink is a Handler that checks order and records of each shard, and writes down
// what else it is told.
type sink struct {
	mu       sync.Mutex
	next     map[int]Span // per shard: epoch, and in To what comes next
	records  uint64
	refilled uint64
	events   []string
	fail     func(b *wire.Batch) error
	wrong    error
}

func newSink() *sink { return &sink{next: map[int]Span{}} }

func (k *sink) note(format string, args ...any) {
	k.events = append(k.events, fmt.Sprintf(format, args...))
}

func (k *sink) take(b *wire.Batch, skip uint32) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		if err := k.fail(b); err != nil {
			return err
		}
	}
	shard := int(b.Shard)
	at := k.next[shard]
	from := b.FirstSeq + wire.Seq(skip)
	if at.Epoch == b.Epoch && at.To != from && k.wrong == nil {
		k.wrong = fmt.Errorf("shard %d, epoch %d: [%d, %d) where %d comes next", shard, b.Epoch, from, b.Next(), at.To)
	}
	if at.Epoch != b.Epoch {
		k.note("shard %d epoch %d from %d", shard, b.Epoch, from)
	}
	for w := b.Records(); w.Next(); {
		body := w.Record().Body()
		if e, n := binary.LittleEndian.Uint64(body), binary.LittleEndian.Uint64(body[8:]); (wire.Epoch(e) != b.Epoch || wire.Seq(n) != w.Seq()) && k.wrong == nil {
			k.wrong = fmt.Errorf("shard %d, epoch %d, sequence %d is record %d of %d", shard, b.Epoch, w.Seq(), n, e)
		}
	}
	k.records += uint64(b.Count - skip)
	k.next[shard] = Span{Epoch: b.Epoch, To: b.Next()}
	return nil
}

func (k *sink) HandleBatch(b *wire.Batch, skip uint32) error { return k.take(b, skip) }

func (k *sink) HandleRefill(b *wire.Batch, skip uint32) error {
	k.mu.Lock()
	k.refilled += uint64(b.Count - skip)
	k.mu.Unlock()
	return k.take(b, skip)
}

func (k *sink) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.note("shard %d epoch %d lost [%d, %d)", shard, epoch, from, to)
	k.next[shard] = Span{Epoch: epoch, To: to}
}

func (k *sink) HandleSession(shard int, epoch wire.Epoch, s *wire.Session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.note("shard %d epoch %d session %s", shard, epoch, s.Publisher)
}

func (k *sink) HandleEnd(shard int, epoch wire.Epoch, complete bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.note("shard %d epoch %d end at %d complete %v", shard, epoch, k.next[shard].To, complete)
}

// got checks what was written down.
func (k *sink) got(t *testing.T, want ...string) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.wrong != nil {
		t.Error(k.wrong)
	}
	if !slices.Equal(k.events, want) {
		t.Errorf("handler saw\n%q, want\n%q", k.events, want)
	}
}

// live is one shard's stream as a subscriber hands it on.
type live struct {
	h     *Healer
	shard int
	epoch wire.Epoch
	next  wire.Seq // of the publisher
	seen  wire.Seq // of the subscriber
	hash  wire.Hash
	kept  *history // where a recorder keeps it
	size  int
}

func (l *live) batch(n int) *wire.Batch {
	b := numbered(l.epoch, l.shard, len(l.h.shards), l.next, n, max(l.size, 16))
	b.Hash = l.hash
	l.hash, l.next = l.hash.Roll(b.Count, b.CRC), b.Next()
	if l.kept != nil {
		l.kept.add(b)
	}
	return b
}

// send sends n records that arrive.
func (l *live) send(n int) error {
	b := l.batch(n)
	l.gap(b.FirstSeq)
	l.seen = l.next
	return l.h.HandleBatch(b, 0)
}

// lose sends n records that do not.
func (l *live) lose(n int) { l.batch(n) }

func (l *live) gap(at wire.Seq) {
	if l.seen < at {
		l.h.HandleGap(l.shard, l.epoch, l.seen, at)
		l.seen = at
	}
}

func (l *live) mark(flags wire.HeaderFlags) {
	l.gap(l.next)
	l.h.HandleMark(l.shard, &wire.Header{Epoch: l.epoch, Shard: uint16(l.shard), Shards: uint16(len(l.h.shards)), FirstSeq: l.next, Hash: l.hash, Flags: flags})
}

func (l *live) hello(publisher string, start *wire.SessionStart) {
	l.mark(wire.FlagHello)
	l.h.HandleSession(l.shard, l.epoch, &wire.Session{Publisher: publisher, Start: start})
}

func (l *live) end() {
	l.mark(wire.FlagEnd)
	l.h.HandleEnd(l.shard, l.epoch, false)
}

// begin goes over to another epoch.
func (l *live) begin(epoch wire.Epoch) *wire.SessionStart {
	s := &wire.SessionStart{Reason: "seek", PreviousEpoch: l.epoch, PreviousNext: l.next, PreviousHash: l.hash}
	l.epoch, l.next, l.seen, l.hash = epoch, 0, 0, 0
	return s
}

// startHealer runs a Healer until the test ends.
func startHealer(t testing.TB, cfg HealerConfig, next Handler) *Healer {
	t.Helper()
	cfg.Shards = max(cfg.Shards, 1)
	if cfg.Backoff == 0 {
		cfg.Backoff = time.Millisecond
	}
	h, err := NewHealer(cfg, next)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return h
}

func settle(t testing.TB, h *Healer) {
	t.Helper()
	if err := h.Settle(t.Context()); err != nil {
		t.Fatalf("settle: %v; %+v", err, h.Stats())
	}
}

type noticeSink struct{ *sink }

func (k *noticeSink) HandleNotice(_ int, r wire.Record) { k.note("notice %s", string(r)) }

// nothing is a Handler that takes everything.
type nothing struct{}
