package replay

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// fakePublisher writes down what it is sent. It belongs to the player's
// goroutine.
type fakePublisher struct {
	t       testing.TB
	batches []sentBatch
	waited  int
	ended   int
	ticks   int
	keep    bool // hold on to what is lent until the end
	held    []interface{ Release() }
	onWait  func()            // called in WaitReaders
	onTick  func()            // called in Tick
	onSend  func(*wire.Batch) // called in Send
	fail    error             // what Send returns
}

// sentBatch is a copy of one batch.
type sentBatch struct {
	shard   int
	header  wire.Header
	payload []byte
	order   []byte
	lent    bool
}

func (f *fakePublisher) WaitReaders(ctx context.Context, n int) error {
	f.waited = n
	if f.onWait != nil {
		f.onWait()
		return nil
	}
	return ctx.Err()
}

func (f *fakePublisher) Send(ctx context.Context, shardNo int, b *wire.Batch, done interface{ Release() }) error {
	if f.onSend != nil {
		f.onSend(b)
	}
	if ctx.Err() != nil {
		done.Release()
		return ctx.Err()
	}
	f.batches = append(f.batches, sentBatch{shardNo, b.Header, bytes.Clone(b.Payload), bytes.Clone(b.Order), done != nil})
	if crc := wire.CRC(b.Payload, b.Order); crc != b.CRC {
		f.t.Errorf("batch %d has CRC %08x, its bytes %08x", len(f.batches)-1, b.CRC, crc)
	}
	if f.keep {
		f.held = append(f.held, done)
	} else if done != nil {
		done.Release()
	}
	return f.fail
}

func (f *fakePublisher) Tick(ctx context.Context) error {
	f.ticks++
	if f.onTick != nil {
		f.onTick()
	}
	return ctx.Err()
}

func (f *fakePublisher) End(ctx context.Context) error {
	f.ended++
	return ctx.Err()
}

// release gives everything back that was kept.
func (f *fakePublisher) release() {
	for _, h := range f.held {
		h.Release()
	}
	f.held = nil
}

// item is one record with its place.
type item struct {
	shard   int
	ordinal wire.Ordinal
	record  string
}

// items takes the batches apart and checks each as a reader would: per shard
// ordinals strictly increase, and over all shards none comes twice.
func (f *fakePublisher) items() []item {
	f.t.Helper()
	var all []item
	last := map[int]wire.Ordinal{}
	seen := map[wire.Ordinal]bool{}
	for i, s := range f.batches {
		b := wire.Batch{Header: s.header, Payload: s.payload, Order: s.order}
		b.PayloadSize, b.OrderSize = uint32(len(s.payload)), uint32(len(s.order))
		if err := b.Check(); err != nil {
			f.t.Fatalf("batch %d: %v", i, err)
		}
		o, w := b.Ordinals(), b.Records()
		for w.Next() {
			at := o.Next()
			if before, any := last[s.shard]; any && at <= before {
				f.t.Fatalf("batch %d: ordinal %d after %d", i, at, before)
			}
			if seen[at] {
				f.t.Fatalf("batch %d: ordinal %d comes twice", i, at)
			}
			last[s.shard], seen[at] = at, true
			all = append(all, item{s.shard, at, string(w.Record())})
		}
	}
	return all
}

// merged is the records in the one order over all shards.
func (f *fakePublisher) merged() []string {
	f.t.Helper()
	all := f.items()
	slices.SortFunc(all, func(a, b item) int {
		if a.ordinal < b.ordinal {
			return -1
		}
		return 1
	})
	return recordsOf(all)
}

func recordsOf(all []item) []string {
	records := make([]string, len(all))
	for i := range all {
		records[i] = all[i].record
	}
	return records
}

// tapeSpec describes a tape to make; epochs is how many records each epoch has.
type tapeSpec struct {
	dir       string // default: a temporary folder
	shards    int
	epochs    []int
	codec     tape.Codec
	blockSize int
	topics    int
	body      int // bytes
	step      wire.Nanos
	apart     bool // the shards' epochs overlap in the file: shard 0 is through with both before shard 1 begins
}

const firstTime = wire.Nanos(1_700_000_000_000_000_000)

// makeTape writes a tape. Record n was received at firstTime + n*step, happened
// half a step before, and was sent half a step after.
func makeTape(t testing.TB, spec tapeSpec) *tape.Tape {
	t.Helper()
	spec.topics, spec.step, spec.blockSize = max(spec.topics, 7), max(spec.step, 1000), max(spec.blockSize, 2<<10)
	dir := spec.dir
	if dir == "" {
		dir = t.TempDir() + "/t.tape"
	}
	w, err := tape.Create(dir, tape.Config{Shards: spec.shards, Codec: spec.codec, BlockSize: spec.blockSize, SyncInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	m, err := shard.NewMap(spec.shards)
	if err != nil {
		t.Fatal(err)
	}
	type placed struct {
		at tape.At
		f  wire.Fields
	}
	var all []placed
	n := 0
	topicSeq := map[string]uint32{}
	for e, count := range spec.epochs {
		next := make([]wire.Seq, spec.shards)
		for ordinal := range count {
			topic := fmt.Sprintf("T%02d", n*n%spec.topics)
			s := int(m.Of([]byte(topic)))
			receive := firstTime + wire.Nanos(n)*spec.step
			all = append(all, placed{
				tape.At{Shard: s, Epoch: wire.Epoch(e + 1), Seq: next[s], Ordinal: wire.Ordinal(ordinal), Send: receive + spec.step/2},
				wire.Fields{
					Topic: []byte(topic), Body: append(fmt.Appendf(nil, "%d", n), make([]byte, spec.body)...), Kind: wire.KindTrade,
					Event: receive - spec.step/2, Receive: receive, TopicSeq: topicSeq[topic],
				},
			})
			topicSeq[topic]++
			next[s]++
			n++
		}
	}
	if spec.apart {
		slices.SortStableFunc(all, func(a, b placed) int { return a.at.Shard - b.at.Shard })
	}
	for i := range all {
		if err := w.AppendFields(all[i].at, &all[i].f); err != nil {
			t.Fatal(err)
		}
		if spec.apart && i+1 < len(all) && all[i].at.Shard != all[i+1].at.Shard {
			if err := w.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tp.Close() })
	return tp
}

// all is the records that a configuration wants, in tape order, as the tape
// package gives them.
func all(t testing.TB, tp *tape.Tape, cfg tape.ReadConfig, topics ...string) []string {
	t.Helper()
	r := tp.Records(cfg)
	defer r.Close()
	var list []string
	for r.Next() {
		topic := string(r.Record().Topic())
		if len(topics) == 0 || slices.ContainsFunc(topics, func(p string) bool { return len(topic) >= len(p) && topic[:len(p)] == p }) {
			list = append(list, string(r.Record()))
		}
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// run plays and closes.
func run(t testing.TB, cfg Config) (Report, error) {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := p.Run(t.Context())
	if f, ok := cfg.Publisher.(*fakePublisher); ok {
		f.release()
	}
	p.Close()
	return rep, err
}

// tapeOf writes a tape of one record for each time.
func tapeOf(t testing.TB, shards int, times []wire.Nanos) *tape.Tape {
	t.Helper()
	dir := t.TempDir() + "/t.tape"
	w, err := tape.Create(dir, tape.Config{Shards: shards, Codec: tape.CodecPlain, BlockSize: 2 << 10, SyncInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	m, err := shard.NewMap(shards)
	if err != nil {
		t.Fatal(err)
	}
	next := make([]wire.Seq, shards)
	for n, at := range times {
		topic := fmt.Appendf(nil, "T%02d", n*n%19)
		s := int(m.Of(topic))
		f := wire.Fields{Topic: topic, Body: fmt.Append(nil, n), Kind: wire.KindTrade, Event: at, Receive: at}
		if err := w.AppendFields(tape.At{Shard: s, Epoch: 1, Seq: next[s], Ordinal: wire.Ordinal(n), Send: at}, &f); err != nil {
			t.Fatal(err)
		}
		next[s]++
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tp.Close() })
	return tp
}
