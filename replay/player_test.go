package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// same fails the test where two lists of records differ, and says where.
func same(t *testing.T, got, want []string) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("record %d is %q, want %q", i, wire.Record(got[i]).Body(), wire.Record(want[i]).Body())
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
}

func TestConfigIsChecked(t *testing.T) {
	tp, pub := makeTape(t, tapeSpec{shards: 1, epochs: []int{1}}), &fakePublisher{t: t}
	for name, cfg := range map[string]Config{
		"no tape":       {Publisher: pub},
		"shards":        {Tape: tp, Publisher: pub, Shards: -1},
		"too many":      {Tape: tp, Publisher: pub, Shards: shard.Max + 1},
		"small batches": {Tape: tp, Publisher: pub, BatchBytes: batchBytesMin - 1},
		"large batches": {Tape: tp, Publisher: pub, BatchBytes: batchBytesMax + 1},
		"range":         {Tape: tp, Publisher: pub, From: 2, To: 2},
		"slow":          {Tape: tp, Publisher: pub, Speed: speedMin / 2},
		"fast":          {Tape: tp, Publisher: pub, Speed: speedMax * 2},
		"backwards":     {Tape: tp, Publisher: pub, Speed: -1},
		"not a number":  {Tape: tp, Publisher: pub, Speed: Speed(math.NaN())},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRunNeedsAPublisher(t *testing.T) {
	p, err := New(Config{Tape: makeTape(t, tapeSpec{shards: 1, epochs: []int{1}})})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Run(t.Context()); err == nil {
		t.Error("ran without a publisher")
	}
}

func TestParseSpeed(t *testing.T) {
	for s, want := range map[string]Speed{"max": Max, "1x": 1, "1": 1, "10x": 10, "0.5x": 0.5, "1e3x": 1000} {
		if got, err := ParseSpeed(s); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "x", "0", "0x", "-1x", "NaN", "Inf", "1e-7x", "1e10", "1xx", "fast", "Max"} {
		if got, err := ParseSpeed(s); err == nil {
			t.Errorf("%q: accepted as %v", s, got)
		}
	}
	for _, s := range []Speed{Max, 1, 0.1, 1e-6, 1e9, 2.5} {
		if got, err := ParseSpeed(s.String()); err != nil || got != s {
			t.Errorf("%v does not come back: %v, %v", s, got, err)
		}
	}
}

// TestBlocksGoOutAsTheyAre: at full speed, with the tape's shards, a batch is a
// block: its bytes, its order, one after the other, and of a plain block the
// memory itself.
func TestBlocksGoOutAsTheyAre(t *testing.T) {
	for _, spec := range []tapeSpec{
		{shards: 1, epochs: []int{1000}, codec: tape.CodecPlain},
		{shards: 3, epochs: []int{1000}, codec: tape.CodecPlain},
		{shards: 3, epochs: []int{500, 700}, codec: tape.CodecZstd},
		{shards: 2, epochs: []int{900}, codec: tape.CodecS2},
	} {
		t.Run(fmt.Sprintf("%d shards %v", spec.shards, spec.codec), func(t *testing.T) {
			tp := makeTape(t, spec)
			f := &fakePublisher{t: t}
			var at []*byte
			f.onSend = func(b *wire.Batch) { at = append(at, unsafe.SliceData(b.Payload)) }
			rep, err := run(t, Config{Tape: tp, Publisher: f, Wait: 3})
			if err != nil {
				t.Fatal(err)
			}
			if len(f.batches) != tp.Blocks() || tp.Blocks() < 4 {
				t.Fatalf("%d batches, %d blocks", len(f.batches), tp.Blocks())
			}
			bytes := uint64(0)
			for n, s := range f.batches {
				b, err := tp.ReadBlock(n, false)
				if err != nil {
					t.Fatal(err)
				}
				if string(s.payload) != string(b.Payload) || string(s.order) != string(b.Order) ||
					s.shard != int(b.Shard) || s.header.Count != b.Count || s.header.CRC != b.Info.RawCRC || s.header.Due != 0 || !s.lent {
					t.Errorf("batch %d is not block %d", n, n)
				}
				if spec.codec == tape.CodecPlain && at[n] != unsafe.SliceData(b.Payload) {
					t.Errorf("block %d was copied", n)
				}
				bytes += uint64(len(s.payload))
				b.Release()
			}
			want := all(t, tp, tape.ReadConfig{})
			same(t, f.merged(), want)
			if rep.Records != uint64(len(want)) || rep.Bytes != bytes || rep.Batches != uint64(tp.Blocks()) || rep.Passes != 1 || rep.Late != nil {
				t.Errorf("report %+v", rep)
			}
			if f.waited != 3 || f.ended != 1 {
				t.Errorf("waited for %d readers, ended %d times", f.waited, f.ended)
			}
		})
	}
}

// TestResharding: to any number of shards the records keep their one order, each
// topic is on the shard that the map says, and numbers start nowhere twice.
func TestResharding(t *testing.T) {
	for _, from := range []int{1, 3} {
		for _, to := range []int{1, 2, 3, 8} {
			for _, epochs := range [][]int{{900}, {300, 1, 400}} {
				for _, apart := range []bool{false, true} {
					t.Run(fmt.Sprintf("%d to %d, epochs %v, apart %v", from, to, epochs, apart), func(t *testing.T) {
						tp := makeTape(t, tapeSpec{shards: from, epochs: epochs, apart: apart})
						f := &fakePublisher{t: t}
						if _, err := run(t, Config{Tape: tp, Publisher: f, Shards: to, BatchBytes: 1 << 10}); err != nil {
							t.Fatal(err)
						}
						same(t, f.merged(), all(t, tp, tape.ReadConfig{}))
						m, err := shard.NewMap(to)
						if err != nil {
							t.Fatal(err)
						}
						for i, it := range f.items() {
							if want := int(m.Of(wire.Record(it.record).Topic())); it.shard != want {
								t.Fatalf("record %d is on shard %d, want %d", i, it.shard, want)
							}
						}
					})
				}
			}
		}
	}
}

// TestRange: from and to, by each clock, whole blocks or record by record, give
// what the tape gives for them.
func TestRange(t *testing.T) {
	const n, step = 1000, 1000
	tp := makeTape(t, tapeSpec{shards: 2, epochs: []int{n}, codec: tape.CodecPlain, step: step})
	for _, clock := range []tape.Clock{tape.ClockReceive, tape.ClockEvent, tape.ClockSend} {
		for _, r := range [][2]wire.Nanos{
			{0, 0}, {firstTime + 333*step, 0}, {0, firstTime + 666*step}, {firstTime + 333*step, firstTime + 666*step},
			{firstTime + 500*step, firstTime + 500*step + 1}, {firstTime + n*step, 0}, {1, firstTime - step}, {1, math.MaxInt64},
		} {
			want := all(t, tp, tape.ReadConfig{Clock: clock, From: r[0], To: r[1]})
			for _, shards := range []int{2, 3} {
				t.Run(fmt.Sprintf("%v from %d to %d, %d shards", clock, max(r[0]-firstTime, 0), max(r[1]-firstTime, 0), shards), func(t *testing.T) {
					f := &fakePublisher{t: t}
					rep, err := run(t, Config{Tape: tp, Publisher: f, Shards: shards, Clock: clock, From: r[0], To: r[1]})
					if err != nil {
						t.Fatal(err)
					}
					same(t, f.merged(), want)
					if rep.Records != uint64(len(want)) || f.ended != 1 {
						t.Errorf("report %+v", rep)
					}
				})
			}
		}
	}
}

func TestTopics(t *testing.T) {
	tp := makeTape(t, tapeSpec{shards: 2, epochs: []int{1000}, topics: 30})
	for _, topics := range [][]string{{"T0"}, {"T01", "T04"}, {"T"}, {"nothing"}} {
		f := &fakePublisher{t: t}
		rep, err := run(t, Config{Tape: tp, Publisher: f, Topics: topics})
		if err != nil {
			t.Fatal(err)
		}
		want := all(t, tp, tape.ReadConfig{}, topics...)
		same(t, f.merged(), want)
		if rep.Filtered != 1000-uint64(len(want)) {
			t.Errorf("%q: %d records filtered, want %d", topics, rep.Filtered, 1000-len(want))
		}
	}
}

// TestPasses: each pass has every record again, behind those of the pass before.
func TestPasses(t *testing.T) {
	tp := makeTape(t, tapeSpec{shards: 2, epochs: []int{100, 200}})
	once := all(t, tp, tape.ReadConfig{})
	for _, cfg := range []Config{{}, {Shards: 3}, {Speed: speedMax}, {From: firstTime + 50_000}} {
		f := &fakePublisher{t: t}
		cfg.Tape, cfg.Publisher, cfg.Passes = tp, f, 3
		rep, err := run(t, cfg)
		if err != nil {
			t.Fatal(err)
		}
		want := once
		if cfg.From != 0 {
			want = once[50:]
		}
		same(t, f.merged(), slices.Concat(want, want, want))
		if rep.Passes != 3 || f.ended != 1 {
			t.Errorf("report %+v", rep)
		}
	}
}

// TestPassesForEver: an endless loop ends with its context, and over nothing to
// play it ends at once.
func TestPassesForEver(t *testing.T) {
	tp := makeTape(t, tapeSpec{shards: 1, epochs: []int{10}})
	ctx, cancel := context.WithCancel(t.Context())
	f := &fakePublisher{t: t}
	f.onSend = func(*wire.Batch) {
		if len(f.batches) == 5 {
			cancel()
		}
	}
	p, err := New(Config{Tape: tp, Publisher: f, Passes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Run(ctx); !errors.Is(err, context.Canceled) || f.ended != 0 {
		t.Errorf("ended with %v", err)
	}
	f = &fakePublisher{t: t}
	if rep, err := run(t, Config{Tape: tp, Publisher: f, Passes: -1, Topics: []string{"none"}}); err != nil || rep.Passes != 1 || f.ended != 1 {
		t.Errorf("%v, report %+v", err, rep)
	}
}

// TestOutsizeRecords: a record larger than a batch gets one of its own.
func TestOutsizeRecords(t *testing.T) {
	tp := makeTape(t, tapeSpec{shards: 1, epochs: []int{6}, body: 5 << 20, codec: tape.CodecPlain})
	f := &fakePublisher{t: t, keep: true}
	if _, err := run(t, Config{Tape: tp, Publisher: f, Shards: 2}); err != nil {
		t.Fatal(err)
	}
	same(t, f.merged(), all(t, tp, tape.ReadConfig{}))
	if len(f.batches) != 6 {
		t.Errorf("%d batches, want 6", len(f.batches))
	}
}

func TestEmptyTape(t *testing.T) {
	tp := makeTape(t, tapeSpec{shards: 2})
	for _, speed := range []Speed{Max, 1} {
		f := &fakePublisher{t: t}
		rep, err := run(t, Config{Tape: tp, Publisher: f, Speed: speed, Passes: 5})
		if err != nil || rep.Records != 0 || len(f.batches) != 0 || f.ended != 1 {
			t.Errorf("speed %v: %v, report %+v, %d batches, ended %d times", speed, err, rep, len(f.batches), f.ended)
		}
	}
}

// TestDamageIsNotPlayed: a damaged block never goes out as a sound batch. Whole
// blocks carry the CRC they were stored with; what is cut out of a block gets a
// new one, so the block is checked before.
func TestDamageIsNotPlayed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "t.tape")
	tp := makeTape(t, tapeSpec{dir: dir, shards: 1, epochs: []int{1000}, codec: tape.CodecPlain, step: 1000})
	info, err := tp.Info()
	if err != nil {
		t.Fatal(err)
	}
	b := tp.Block(2)
	path := filepath.Join(dir, info.Segments[b.Segment].Name)
	flip(t, path, b.Offset+tape.BlockHeaderSize+int64(b.StoredSize)-1)
	// The range begins inside the damaged block.
	f := &fakePublisher{t: t}
	_, err = run(t, Config{Tape: tp, Publisher: f, From: b.Receive.Min + 2000})
	var corrupt *tape.CorruptError
	if !errors.As(err, &corrupt) {
		t.Errorf("a range that begins in a damaged block: %v, want a *tape.CorruptError", err)
	}
	if len(f.batches) != 0 || f.ended != 0 {
		t.Errorf("%d batches were sent, ended %d times", len(f.batches), f.ended)
	}
	// So does one that goes record by record.
	if _, err = run(t, Config{Tape: tp, Publisher: &fakePublisher{t: t}, Shards: 2}); !errors.As(err, &corrupt) {
		t.Errorf("record by record: %v, want a *tape.CorruptError", err)
	}
}

func flip(t *testing.T, path string, offset int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], offset); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], offset); err != nil {
		t.Fatal(err)
	}
}

// TestSendErrorEndsTheRun: the error is the publisher's, and every buffer comes
// back.
func TestSendErrorEndsTheRun(t *testing.T) {
	tp := makeTape(t, tapeSpec{shards: 1, epochs: []int{1000}})
	gone := errors.New("the network is gone")
	for _, shards := range []int{1, 2} {
		f := &fakePublisher{t: t, fail: gone}
		p, err := New(Config{Tape: tp, Publisher: f, Shards: shards, BatchBytes: 1 << 10})
		if err != nil {
			t.Fatal(err)
		}
		rep, err := p.Run(t.Context())
		if !errors.Is(err, gone) || rep.Records != 0 || f.ended != 0 {
			t.Errorf("%d shards: %v, report %+v", shards, err, rep)
		}
		open := 0
		for _, b := range p.open {
			if b != nil {
				open++
			}
		}
		if got := len(p.pool.free) + open; got != p.pool.made {
			t.Errorf("%d shards: %d of %d buffers came back", shards, got, p.pool.made)
		}
		p.Close()
	}
}
