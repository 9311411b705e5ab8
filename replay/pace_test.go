package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// TestPacerDoesNotDrift: over a simulated day, at several speeds, each record is
// due within a nanosecond of the exact quotient, however many came before it.
func TestPacerDoesNotDrift(t *testing.T) {
	const day = 24 * time.Hour
	for _, speed := range []float64{0.1, 0.3, 1, 10, 1000, 1.0 / 3} {
		t.Run(fmt.Sprint(speed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			p := newPacer(Speed(speed))
			start, mono := wire.Nanos(1_703_462_400_000_000_000), int64(123_456_789)
			p.anchor(start, mono)
			exactSpeed := new(big.Rat)
			if _, ok := exactSpeed.SetString(fmt.Sprint(speed)); !ok {
				t.Fatal("speed")
			}
			if speed == 1.0/3 {
				exactSpeed.SetFloat64(speed)
			}
			for at := time.Duration(0); at < day; at += time.Duration(r.Int64N(int64(20 * time.Second))) {
				exact := new(big.Rat).Quo(new(big.Rat).SetInt64(int64(at)), exactSpeed)
				exact.Sub(exact, new(big.Rat).SetInt64(p.due(start+wire.Nanos(at))-mono))
				if exact.Abs(exact).Cmp(big.NewRat(1, 1)) > 0 {
					t.Fatalf("%v into the tape the due time is off by %v ns", at, exact.FloatString(3))
				}
			}
		})
	}
}

// TestPacerKeepsPlaces: a record that lies before the one before it is due with
// it.
func TestPacerKeepsPlaces(t *testing.T) {
	p := newPacer(2)
	p.anchor(1000, 50)
	for i, tc := range []struct {
		at   wire.Nanos
		want int64
	}{{1000, 50}, {1200, 150}, {1100, 150}, {900, 150}, {1202, 151}, {-5000, 151}, {1300, 200}} {
		if got := p.due(tc.at); got != tc.want {
			t.Errorf("record %d at %d is due at %d, want %d", i, tc.at, got, tc.want)
		}
	}
}

// TestPacerExtremes: times that lie too far apart for the clock are due at its
// end or its beginning, never on the other side.
func TestPacerExtremes(t *testing.T) {
	for _, tc := range []struct {
		speed Speed
		from  wire.Nanos
		at    wire.Nanos
		far   bool
	}{
		{speedMin, 0, wire.Nanos(24 * time.Hour), true},
		{1, 0, wire.NanosMax, true},
		{1, wire.NanosMin, wire.NanosMax, true},
		{speedMin, wire.NanosMin, wire.NanosMax, true},
		{1, wire.NanosMax, wire.NanosMin, false},
		{speedMin, 0, wire.NanosMin, false},
	} {
		p := newPacer(tc.speed)
		p.anchor(tc.from, 1000)
		due := p.due(tc.at)
		if tc.far && due < math.MaxInt64/2 || !tc.far && due != 1000 {
			t.Errorf("speed %v, from %d to %d: due at %d", tc.speed, tc.from, tc.at, due)
		}
	}
}

// TestPacerCountsLateness: nothing is lost at the ends of the histogram.
func TestPacerCountsLateness(t *testing.T) {
	p := newPacer(1)
	p.anchor(0, 0)
	p.sent([]int64{10}, 5)
	p.sent([]int64{10}, 10)
	p.sent([]int64{10}, 1010)
	p.sent([]int64{0}, math.MaxInt64)
	if n := p.late.HDR().TotalCount(); n != 4 {
		t.Errorf("%d counted, want 4", n)
	}
}

// TestPacedPlay: paced, every record leaves at or after its due moment, in
// order, and none is held back to fill a batch.
func TestPacedPlay(t *testing.T) {
	const n = 30
	tp := makeTape(t, tapeSpec{shards: 2, epochs: []int{n}, step: wire.Nanos(2 * time.Millisecond)})
	for _, cfg := range []Config{{Speed: 1}, {Speed: 4, Shards: 3}, {Speed: 2, Spin: -1}, {Speed: 2, Clock: tape.ClockEvent}} {
		f := &fakePublisher{t: t}
		cfg.Tape, cfg.Publisher = tp, f
		p, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		f.onSend = func(b *wire.Batch) {
			due := int64(b.Due - p.wall)
			if now := p.wait.now(); now < due {
				t.Errorf("batch %d left %d ns before it was due", len(f.batches), due-now)
			}
		}
		rep, err := p.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		same(t, f.merged(), all(t, tp, tape.ReadConfig{}))
		if rep.Late == nil || rep.Late.TotalCount() != n {
			t.Errorf("pacing error of %d records, want %d", rep.Late.TotalCount(), n)
		}
		last := map[int]wire.Nanos{}
		for i, b := range f.batches {
			if b.header.Due < last[b.shard] {
				t.Errorf("batch %d was due before the one before it on its shard", i)
			}
			last[b.shard] = b.header.Due
		}
		p.Close()
	}
}

// TestPacedPlayKeepsOrderOfTimes: times that go back do not change the order.
func TestPacedPlayKeepsOrderOfTimes(t *testing.T) {
	dir := t.TempDir() + "/t.tape"
	w, err := tape.Create(dir, tape.Config{SyncInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i, at := range []wire.Nanos{5, 3, 9, 1, 9, 2} {
		f := wire.Fields{Topic: []byte("T"), Body: []byte{byte(i)}, Event: at * 1e5, Receive: at * 1e5, TopicSeq: uint32(i)}
		if err := w.AppendFields(tape.At{Epoch: 1, Seq: wire.Seq(i), Ordinal: wire.Ordinal(i)}, &f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	f := &fakePublisher{t: t}
	if _, err := run(t, Config{Tape: tp, Publisher: f, Speed: 1}); err != nil {
		t.Fatal(err)
	}
	for i, r := range f.merged() {
		if body := wire.Record(r).Body(); body[0] != byte(i) {
			t.Errorf("record %d is number %d", i, body[0])
		}
	}
}

// TestCancel: the end of the context ends a player wherever it is.
func TestCancel(t *testing.T) {
	far := makeTape(t, tapeSpec{shards: 1, epochs: []int{10}, step: wire.Nanos(time.Hour)})
	near := makeTape(t, tapeSpec{shards: 1, epochs: []int{50_000}})
	for name, build := range map[string]func(f *fakePublisher, cancel func()) *Player{
		"waiting for a far due moment": func(f *fakePublisher, cancel func()) *Player {
			f.onTick = cancel
			return newPlayer(t, Config{Tape: far, Publisher: f, Speed: 1})
		},
		"waiting for a lent buffer": func(f *fakePublisher, cancel func()) *Player {
			f.keep, f.onTick = true, cancel
			p := newPlayer(t, Config{Tape: near, Publisher: f, Shards: 2, BatchBytes: 1 << 10})
			p.pool.max = 3
			return p
		},
		"sending": func(f *fakePublisher, cancel func()) *Player {
			f.onSend = func(*wire.Batch) { cancel() }
			return newPlayer(t, Config{Tape: near, Publisher: f})
		},
		// Nothing is sent and nothing waited for: only the player itself can
		// look.
		"leaving everything out": func(f *fakePublisher, cancel func()) *Player {
			f.onWait = cancel
			return newPlayer(t, Config{Tape: near, Publisher: f, Topics: []string{"none"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			f := &fakePublisher{t: t}
			p := build(f, cancel)
			if _, err := p.Run(ctx); !errors.Is(err, context.Canceled) || f.ended != 0 {
				t.Errorf("ended with %v, end marks %d times", err, f.ended)
			}
			f.release()
			p.Close()
		})
	}
}

func newPlayer(t testing.TB, cfg Config) *Player {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// discard is a publisher that takes everything at once.
type discard struct{ records uint64 }

func (*discard) WaitReaders(context.Context, int) error { return nil }
func (*discard) Tick(context.Context) error             { return nil }
func (*discard) End(context.Context) error              { return nil }

func (d *discard) Send(_ context.Context, _ int, b *wire.Batch, done interface{ Release() }) error {
	d.records += uint64(b.Count)
	done.Release()
	return nil
}

// TestAllocRecords: record by record, sharded anew or paced, a play costs no
// allocation a record.
func TestAllocRecords(t *testing.T) {
	const n = 50_000
	tp := makeTape(t, tapeSpec{shards: 1, epochs: []int{n}, blockSize: 64 << 10, codec: tape.CodecPlain})
	for name, cfg := range map[string]Config{
		"blocks": {}, "sharded anew": {Shards: 3}, "paced": {Speed: speedMax}, "filtered": {Topics: []string{"T01"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := &discard{}
			cfg.Tape, cfg.Publisher = tp, d
			p := newPlayer(t, cfg)
			defer p.Close()
			var err error
			if p.wait, err = newWaiter(0); err != nil {
				t.Fatal(err)
			}
			defer p.wait.close()
			allocs := testing.AllocsPerRun(3, func() {
				p.startEpoch(0, lastPlace{})
				if err := p.play(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
			if want := 4 * (n - p.report.Filtered/4); d.records != want {
				t.Fatalf("%d records were played, want %d", d.records, want)
			}
			// What a run allocates once, and a block, is not a record's.
			if perRecord := allocs / n; perRecord > 0.01 {
				t.Errorf("%v allocations in a play of %d records", allocs, n)
			}
		})
	}
}
