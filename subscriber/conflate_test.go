package subscriber

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/wire"
)

// line is one thing that a handler behind an adapter was given.
type line struct {
	what    string // "" for a record
	topic   string
	seq     wire.Seq
	ordinal wire.Ordinal
	skipped uint64
	kind    wire.Kind
	body    uint64
	by      string // how a record came: "batch" or "conflated"
}

// desk is a slow Handler that writes everything down. For one shard it must never
// be called concurrently.
type desk struct {
	t     testing.TB
	hold  func() // called with each batch or conflated record
	fail  error
	lines [][]line // per shard
	busy  []atomic.Bool
}

func newDesk(t testing.TB, shards int) *desk {
	return &desk{t: t, lines: make([][]line, shards), busy: make([]atomic.Bool, shards)}
}

func (d *desk) enter(shard int) func() {
	if d.busy[shard].Swap(true) {
		d.t.Errorf("shard %d: called concurrently", shard)
	}
	return func() { d.busy[shard].Store(false) }
}

func (d *desk) write(shard int, l line) { d.lines[shard] = append(d.lines[shard], l) }

func (d *desk) record(r wire.Record) line {
	return line{topic: string(r.Topic()), kind: r.Kind(), body: binary.LittleEndian.Uint64(r.Body())}
}

func (d *desk) HandleBatch(b *wire.Batch, skip uint32) error {
	defer d.enter(int(b.Shard))()
	if d.hold != nil {
		d.hold()
	}
	if err := b.Check(); err != nil {
		d.t.Error(err)
	}
	if crc := wire.CRC(b.Payload, b.Order); crc != b.CRC {
		d.t.Errorf("checksum of batch %d is wrong", b.FirstSeq)
	}
	w, o := b.Records(), b.Ordinals()
	for i := uint32(0); w.Next(); i++ {
		l := d.record(w.Record())
		l.seq, l.ordinal, l.by = w.Seq(), o.Next(), "batch"
		if i >= skip {
			d.write(int(b.Shard), l)
		}
	}
	return errors.Join(w.Err(), d.fail)
}

func (d *desk) told(shard int, what string, seq wire.Seq) {
	defer d.enter(shard)()
	d.write(shard, line{what: what, seq: seq})
}

func (d *desk) HandleGap(shard int, _ wire.Epoch, _, to wire.Seq) { d.told(shard, "gap", to) }

func (d *desk) HandleSession(shard int, _ wire.Epoch, s *wire.Session) {
	d.told(shard, "session "+s.Tape, 0)
}

func (d *desk) HandleEnd(shard int, _ wire.Epoch, complete bool) {
	d.told(shard, fmt.Sprint("end ", complete), 0)
}

func (d *desk) HandleNotice(shard int, r wire.Record) { d.told(shard, "notice "+string(r.Body()), 0) }

// board is a desk that knows of conflation.
type board struct{ *desk }

func (b board) HandleConflated(c *Conflated) error {
	defer b.enter(c.Shard)()
	if b.hold != nil {
		b.hold()
	}
	l := b.record(c.Record)
	l.seq, l.ordinal, l.skipped, l.by = c.Seq, c.Ordinal, c.Skipped, "conflated"
	if c.Batch.FirstSeq > c.Seq || c.Batch.Next() <= c.Seq || int(c.Batch.Shard) != c.Shard {
		b.t.Errorf("sequence %d of batch %d to %d", c.Seq, c.Batch.FirstSeq, c.Batch.Next())
	}
	b.write(c.Shard, l)
	return b.fail
}

// spring makes the batches of one shard: topics at random, the number in a body is
// its sequence.
type spring struct {
	t      testing.TB
	rng    *rand.Rand
	shard  uint16
	topics int
	seq    wire.Seq
	sent   map[string][]wire.Seq // by topic
	buf    []byte
	order  []byte
}

func newSpring(t testing.TB, rng *rand.Rand, shard, topics int) *spring {
	return &spring{t: t, rng: rng, shard: uint16(shard), topics: topics, sent: map[string][]wire.Seq{}}
}

// ordinalOf is what a spring gives the record with a sequence: with holes.
func ordinalOf(s wire.Seq) wire.Ordinal { return wire.Ordinal(3*s + s%2) }

func (s *spring) batch(n, skip int) *wire.Batch {
	s.buf, s.order = s.buf[:0], s.order[:0]
	first := s.seq
	for i := range n {
		topic := fmt.Sprintf("T%d", s.rng.IntN(s.topics))
		kind := wire.KindQuote
		if s.rng.IntN(10) == 0 {
			kind = wire.KindDelete
		}
		body := binary.LittleEndian.AppendUint64(nil, uint64(s.seq))
		body = append(body, make([]byte, s.rng.IntN(30))...)
		var err error
		if s.buf, err = wire.AppendRecord(s.buf, &wire.Fields{Topic: []byte(topic), Body: body, Kind: kind}); err != nil {
			s.t.Fatal(err)
		}
		if i > 0 {
			s.order = wire.AppendOrder(s.order, ordinalOf(s.seq-1), ordinalOf(s.seq))
		}
		if i >= skip {
			s.sent[topic] = append(s.sent[topic], s.seq)
		}
		s.seq++
	}
	return &wire.Batch{
		Header: wire.Header{
			Epoch: 7, Shard: s.shard, Shards: s.shard + 1, FirstSeq: first, FirstOrdinal: ordinalOf(first), Count: uint32(n),
			PayloadSize: uint32(len(s.buf)), OrderSize: uint32(len(s.order)), CRC: wire.CRC(s.buf, s.order), Send: 1,
		},
		Payload: s.buf, Order: s.order,
	}
}

// checkLines holds what a desk was given against what was sent: per topic nothing
// twice, nothing out of order, the last record always, and every other one either
// handed over or counted as skipped.
func checkLines(t *testing.T, name string, lines []line, sent map[string][]wire.Seq, counted bool) (skipped uint64) {
	t.Helper()
	got := map[string][]line{}
	for _, l := range lines {
		if l.what == "" {
			got[l.topic] = append(got[l.topic], l)
		}
	}
	for topic, seqs := range sent {
		at := 0
		for _, l := range got[topic] {
			i := slices.Index(seqs[at:], l.seq)
			if i < 0 {
				t.Fatalf("%s: %s: sequence %d came twice, out of order, or was never sent", name, topic, l.seq)
			}
			if counted && uint64(i) != l.skipped {
				t.Fatalf("%s: %s at %d: %d skipped, it says %d", name, topic, l.seq, i, l.skipped)
			}
			if l.by == "batch" && counted && i != 0 {
				t.Fatalf("%s: %s at %d: %d lost while passing", name, topic, l.seq, i)
			}
			if l.body != uint64(l.seq) || l.ordinal != ordinalOf(l.seq) {
				t.Fatalf("%s: %+v is not what was sent", name, l)
			}
			at, skipped = at+i+1, skipped+uint64(i)
		}
		if at != len(seqs) {
			t.Fatalf("%s: %s: the last record was not handed over, it was at %d", name, topic, seqs[len(seqs)-1])
		}
	}
	return skipped
}

// TestConflaterProperty: streams of two shards through a conflater that is switched
// on and off at random, to a handler of random pace.
func TestConflaterProperty(t *testing.T) {
	defer goleak.VerifyNone(t)
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 5))
		const shards = 2
		d := newDesk(t, shards)
		var next Handler = d
		if known := seed%2 == 0; known {
			next = board{d}
		}
		gate := make(chan struct{}, 100)
		d.hold = func() { <-gate }
		c, err := NewConflater(ConflaterConfig{Shards: shards}, next)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		run := make(chan error, 1)
		go func() { run <- c.Run(ctx) }()
		stop := make(chan struct{})
		var helpers, loops sync.WaitGroup
		helpers.Go(func() { // the handler's pace
			for {
				select {
				case gate <- struct{}{}:
				case <-stop:
					close(gate)
					return
				}
			}
		})
		springs := make([]*spring, shards)
		for i := range springs {
			rng := rand.New(rand.NewPCG(seed, uint64(10+i)))
			springs[i] = newSpring(t, rng, i, 1+rng.IntN(400))
			loops.Go(func() {
				s := springs[i]
				c.HandleSession(i, 7, &wire.Session{Tape: "a"})
				for range 300 {
					n := 1 + rng.IntN(40)
					skip := rng.IntN(n + 1)
					if rng.IntN(3) > 0 {
						skip = 0
					}
					b := s.batch(n, skip)
					if skip < n {
						if err := c.HandleBatch(b, uint32(skip)); err != nil {
							t.Error(err)
						}
					}
					switch rng.IntN(20) {
					case 0:
						c.HandleGap(i, 7, s.seq, s.seq+3)
						s.seq += 3
					case 1:
						b := []byte("hear, hear")
						c.HandleNotice(i, makeRecord(t, wire.SquawkTopic, b, wire.KindNotice))
					}
					switch rng.IntN(6) {
					case 0:
						c.Conflate(i, true)
					case 1:
						c.Conflate(i, false)
					}
				}
				c.HandleEnd(i, 7, true)
			})
		}
		helpers.Go(func() { // somebody else who switches
			for range 100 {
				c.Conflate(rng.IntN(shards), rng.IntN(2) == 0)
				_ = c.Summary()
			}
		})
		loops.Wait()
		if err := c.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		close(stop)
		helpers.Wait()
		cancel()
		if err := <-run; err != nil {
			t.Fatal(err)
		}
		sum, sent, got, skipped := c.Summary(), uint64(0), uint64(0), uint64(0)
		for i, s := range springs {
			name := fmt.Sprintf("seed %d, shard %d", seed, i)
			skipped += checkLines(t, name, d.lines[i], s.sent, seed%2 == 0)
			checkTold(t, name, d.lines[i])
			for _, seqs := range s.sent {
				sent += uint64(len(seqs))
			}
			for _, l := range d.lines[i] {
				if l.what == "" {
					got++
				}
			}
		}
		if sum.Passed+sum.Conflated != got || sum.Skipped != skipped || got+skipped != sent || sum.Dropped+sum.Untold != 0 || sum.Waiting != 0 {
			t.Fatalf("seed %d: %+v; %d sent, %d came, %d skipped", seed, sum, sent, got, skipped)
		}
	}
}

// checkTold: nothing that was sent after something told came before it, or the
// other way round.
func checkTold(t *testing.T, name string, lines []line) {
	t.Helper()
	if len(lines) == 0 || lines[0].what != "session a" || lines[len(lines)-1].what != "end true" {
		t.Fatalf("%s: %d lines do not begin with the session and end with the end", name, len(lines))
	}
	high, bar := wire.Seq(0), wire.Seq(0)
	for _, l := range lines {
		switch {
		case l.what == "gap":
			if l.seq <= high {
				t.Fatalf("%s: the gap to %d comes after sequence %d", name, l.seq, high)
			}
			bar = l.seq
		case l.what == "" && l.seq < bar:
			t.Fatalf("%s: sequence %d comes after the gap to %d", name, l.seq, bar)
		case l.what == "":
			high = max(high, l.seq)
		}
	}
}

// TestConflaterNeverWaits: while a shard is conflated its loop goes on, whatever
// the handler does; the other shard passes.
func TestConflaterNeverWaits(t *testing.T) {
	defer goleak.VerifyNone(t)
	d := newDesk(t, 2)
	release := make(chan struct{})
	d.hold = func() { <-release }
	c, err := NewConflater(ConflaterConfig{Shards: 2}, board{d})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	run := make(chan error, 1)
	go func() { run <- c.Run(ctx) }()
	c.Conflate(0, true)
	s := newSpring(t, rand.New(rand.NewPCG(1, 1)), 0, 10)
	for range 1000 {
		if err := c.HandleBatch(s.batch(10, 0), 0); err != nil {
			t.Fatal(err)
		}
	}
	c.HandleEnd(0, 7, true)
	if !c.Conflating(0) || c.Conflating(1) || c.Skipped(0) < 9000 || c.Skipped(1) != 0 {
		t.Errorf("%+v", c.Summary())
	}
	close(release)
	if err := c.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkLines(t, "shard 0", d.lines[0], s.sent, true)
	other := newSpring(t, rand.New(rand.NewPCG(1, 2)), 1, 10)
	if err := c.HandleBatch(other.batch(10, 0), 0); err != nil || len(d.lines[1]) != 10 {
		t.Errorf("%v, %d lines", err, len(d.lines[1]))
	}
	cancel()
	if err := <-run; err != nil {
		t.Error(err)
	}
	// Nobody hands over any more: that is an error, not silence.
	c.Conflate(0, true)
	if err := c.HandleBatch(s.batch(1, 0), 0); !errors.Is(err, errConflaterEnded) {
		t.Error(err)
	}
}

// TestConflaterSettles: when conflation ends and little waits, the loop waits for
// that and passes its next batch itself, so that a busy stream cannot keep the
// shard from settling; where much waits, it does not wait.
func TestConflaterSettles(t *testing.T) {
	defer goleak.VerifyNone(t)
	d := newDesk(t, 1)
	var gate sync.Mutex // the handler stands still while it is locked
	d.hold = func() {
		gate.Lock()
		defer gate.Unlock()
	}
	c, err := NewConflater(ConflaterConfig{Shards: 1}, board{d})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	run := make(chan error, 1)
	go func() { run <- c.Run(ctx) }()
	s := newSpring(t, rand.New(rand.NewPCG(1, 1)), 0, 10*settleMax)
	put := func() {
		t.Helper()
		if err := c.HandleBatch(s.batch(10, 0), 0); err != nil {
			t.Fatal(err)
		}
	}
	gate.Lock()
	c.Conflate(0, true)
	for len(s.sent) <= settleMax+1 { // one may be in hand
		put()
	}
	c.Conflate(0, false)
	put() // it would block here
	if !c.Conflating(0) || c.Summary().Passed != 0 {
		t.Errorf("much waits: %+v", c.Summary())
	}
	gate.Unlock()
	if err := c.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}

	gate.Lock()
	c.Conflate(0, true)
	put()
	c.Conflate(0, false)
	done := make(chan struct{})
	go func() {
		defer close(done)
		put()
	}()
	gate.Unlock()
	<-done
	if c.Conflating(0) || c.Summary().Passed != 10 {
		t.Errorf("little waits: %+v", c.Summary())
	}
	cancel()
	if err := <-run; err != nil {
		t.Error(err)
	}
	checkLines(t, "shard 0", d.lines[0], s.sent, true)
	if last := d.lines[0][len(d.lines[0])-1]; last.by != "batch" {
		t.Errorf("the last record came %s", last.by)
	}
}

// TestConflaterFails: the handler's error ends Run and the loop's run.
func TestConflaterFails(t *testing.T) {
	defer goleak.VerifyNone(t)
	d := newDesk(t, 1)
	d.fail = errors.New("full")
	c, err := NewConflater(ConflaterConfig{Shards: 1}, board{d})
	if err != nil {
		t.Fatal(err)
	}
	c.Conflate(0, true)
	s := newSpring(t, rand.New(rand.NewPCG(1, 1)), 0, 10)
	if err := c.HandleBatch(s.batch(5, 0), 0); err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); !errors.Is(err, d.fail) {
		t.Error(err)
	}
	if err := c.HandleBatch(s.batch(5, 0), 0); !errors.Is(err, d.fail) {
		t.Error(err)
	}
	if err := c.Drain(t.Context()); !errors.Is(err, d.fail) {
		t.Error(err)
	}
}

// TestConflaterRefuses: a batch whose records are cut off is an error, as it is
// to any handler.
func TestConflaterRefuses(t *testing.T) {
	c, err := NewConflater(ConflaterConfig{Shards: 1}, newDesk(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	c.Conflate(0, true)
	b := newSpring(t, rand.New(rand.NewPCG(1, 1)), 0, 10).batch(5, 0)
	b.Payload = b.Payload[:len(b.Payload)-1]
	var format *wire.FormatError
	if err := c.HandleBatch(b, 0); !errors.As(err, &format) {
		t.Error(err)
	}
	for _, cfg := range []ConflaterConfig{{}, {Shards: 1, TopicsMax: -1}, {Shards: 1, BytesMax: -1}} {
		if _, err := NewConflater(cfg, nil); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// counter is the cheapest Handler.
type counter struct{ records uint64 }

func (c *counter) HandleBatch(b *wire.Batch, skip uint32) error {
	c.records += uint64(b.Count - skip)
	return nil
}
func (c *counter) HandleConflated(*Conflated) error              { c.records++; return nil }
func (c *counter) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq) {}
func (c *counter) HandleSession(int, wire.Epoch, *wire.Session)  {}
func (c *counter) HandleEnd(int, wire.Epoch, bool)               {}

// TestConflateAllocs: neither passing nor conflating makes garbage.
func TestConflateAllocs(t *testing.T) {
	c, err := NewConflater(ConflaterConfig{Shards: 1}, &counter{})
	if err != nil {
		t.Fatal(err)
	}
	b := newSpring(t, rand.New(rand.NewPCG(1, 1)), 0, 50).batch(400, 0)
	var out taken
	cycle := func() {
		if err := c.HandleBatch(b, 0); err != nil {
			t.Fatal(err)
		}
		for c.shards[0].take(&out) {
			if err := c.shards[0].hand(&out); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := testing.AllocsPerRun(100, cycle); n != 0 {
		t.Errorf("passing: %v allocations", n)
	}
	c.Conflate(0, true)
	for range 200 { // the memory of records goes round among the topics
		cycle()
	}
	if n := testing.AllocsPerRun(100, cycle); n != 0 {
		t.Errorf("conflating: %v allocations", n)
	}
}

// BenchmarkConflate is what a batch of 400 records costs with a conflater before
// the handler.
func BenchmarkConflate(b *testing.B) {
	for _, x := range []struct {
		name string
		on   bool
	}{{"passing", false}, {"conflating", true}} {
		b.Run(x.name, func(b *testing.B) {
			h := &counter{}
			c, err := NewConflater(ConflaterConfig{Shards: 1}, h)
			if err != nil {
				b.Fatal(err)
			}
			c.Conflate(0, x.on)
			batch := newSpring(b, rand.New(rand.NewPCG(1, 1)), 0, 1000).batch(400, 0)
			b.SetBytes(int64(len(batch.Payload)))
			b.ReportAllocs()
			for b.Loop() {
				if err := c.HandleBatch(batch, 0); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(400*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
