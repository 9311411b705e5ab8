package merge

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// tapeOf writes a tape of one epoch.
func tapeOf(t testing.TB, id byte, records int, change func(*made)) *tape.Tape {
	t.Helper()
	m := made{shards: 2, epochs: []int{records}, topics: 5, prefix: string('a' + rune(id)), codec: tape.CodecPlain, block: 400, step: 5, start: start, id: id}
	if change != nil {
		change(&m)
	}
	return m.write(t, rand.New(rand.NewPCG(uint64(id), 9)))
}

// alike are so many tapes, without topics in common.
func alike(t testing.TB, n, records int) (list []*tape.Tape) {
	t.Helper()
	for i := range n {
		list = append(list, tapeOf(t, byte(i+1), records, nil))
	}
	return list
}

func TestRefusals(t *testing.T) {
	plain := tapeOf(t, 1, 100, nil)
	again := tapeOf(t, 1, 100, nil) // the same recording once more
	sent := tapeOf(t, 2, 100, func(m *made) { m.send = 1 })
	empty := tapeOf(t, 3, 0, nil)
	for _, c := range []struct {
		name  string
		tapes []*tape.Tape
		clock tape.Clock
		want  string
	}{
		{"none", nil, tape.ClockReceive, "merge: no tapes"},
		{"one twice", []*tape.Tape{sent, plain, plain}, tape.ClockReceive,
			"merge: tapes 2 and 3 are of one recording and both have sequences [0, 59) of shard 0, epoch 11"},
		{"a copy", []*tape.Tape{plain, again}, tape.ClockEvent,
			"merge: tapes 1 and 2 are of one recording and both have sequences [0, 59) of shard 0, epoch 11"},
		{"no send times", []*tape.Tape{empty, sent, plain}, tape.ClockSend, "merge: tape 3 has no send times, and others have"},
		{"all without send times", []*tape.Tape{plain, empty}, tape.ClockSend, ""},
		{"all with send times", []*tape.Tape{sent, empty}, tape.ClockSend, ""},
		{"by another clock", []*tape.Tape{plain, sent}, tape.ClockReceive, ""},
		{"an empty one twice", []*tape.Tape{empty, plain, empty}, tape.ClockReceive, ""},
	} {
		_, err := New(c.tapes, c.clock)
		switch {
		case err == nil && c.want != "", err != nil && err.Error() != c.want:
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// Parts of one recording that do not overlap are played as one.
func TestPartsOfOneRecording(t *testing.T) {
	first := tapeOf(t, 1, 100, nil)
	second := tapeOf(t, 1, 100, func(m *made) { m.epochs = []int{0, 100}; m.start += 1000 })
	src, err := New([]*tape.Tape{second, first}, tape.ClockReceive)
	if err != nil || src.Span() != 200 {
		t.Fatalf("%d places: %v", src.Span(), err)
	}
}

// What is read of tapes that are damaged ends with what is wrong, and nothing of it is
// remembered.
func TestDamage(t *testing.T) {
	fs := fsys.NewMem()
	w, err := tape.Create("/t.tape", tape.Config{FS: fs, Codec: tape.CodecPlain, BlockSize: 300, SyncInterval: -1, ID: tape.ID{9}, KeyframeInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 200 {
		f := wire.Fields{Topic: []byte("D"), Body: []byte("0123456789"), Receive: start + wire.Nanos(n), Event: start, TopicSeq: uint32(n), Kind: wire.KindTrade}
		if err := w.AppendFields(tape.At{Epoch: 1, Seq: wire.Seq(n), Ordinal: wire.Ordinal(n)}, &f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	bad, err := tape.OpenFS(fs, "/t.tape")
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	file, err := fs.Open("/t.tape/00000000.seg", fsys.Write)
	if err != nil {
		t.Fatal(err)
	}
	b := bad.Block(bad.Blocks() / 2)
	if _, err := file.WriteAt([]byte{0xff, 0xff}, b.Offset+tape.BlockHeaderSize+20); err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	src, err := New([]*tape.Tape{tapeOf(t, 1, 200, nil), bad}, tape.ClockReceive)
	if err != nil {
		t.Fatal(err)
	}
	var corrupt *tape.CorruptError
	walk, err := src.Walk(tape.ReadConfig{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for it := (replay.Item{}); walk.Next(&it); n++ {
	}
	if !errors.As(walk.Err(), &corrupt) || n == 0 {
		t.Errorf("%d records, then %v", n, walk.Err())
	}
	_ = walk.Close()
	if walk.Next(&replay.Item{}) {
		t.Error("a closed walk goes on")
	}
	failed := 0
	for place := range src.Span() {
		if _, err := src.Walk(tape.ReadConfig{}, place); err != nil {
			failed++
			if !errors.As(err, &corrupt) {
				t.Fatal(err)
			}
		}
	}
	if failed == 0 || failed == int(src.Span()) {
		t.Errorf("%d of %d places cannot be reached", failed, src.Span())
	}
	last, err := src.WalkLast(src.Span(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	for ok := true; ok && err == nil; {
		ok, err = last.Next(context.Background())
	}
	if err != nil && !errors.As(err, &corrupt) {
		t.Error(err)
	}
}

// A walk allocates nothing for a record, also where it is numbered anew.
func TestWalkAllocs(t *testing.T) {
	for _, prefix := range []string{"", "x"} {
		var tapes []*tape.Tape
		for i := range 3 {
			tapes = append(tapes, tapeOf(t, byte(i+1), 30_000, func(m *made) {
				m.block = 16 << 10
				if prefix != "" {
					m.prefix = prefix // topics in common
				}
			}))
		}
		src, err := New(tapes, tape.ClockReceive)
		if err != nil {
			t.Fatal(err)
		}
		w, err := src.Walk(tape.ReadConfig{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		var it replay.Item
		step := func() {
			for range 500 {
				if !w.Next(&it) {
					t.Fatal(w.Err())
				}
			}
		}
		for range 20 {
			step() // blocks are mapped, and the memory is filled
		}
		// A block is opened every 300 records or so, and a place remembered every 8192.
		if n := testing.AllocsPerRun(50, step); n > 5 {
			t.Errorf("topics %q: %v allocations for 500 records", prefix, n)
		}
		_ = w.Close()
	}
}

// What a source remembers is bounded, however much is read of it.
func TestMemoryIsBounded(t *testing.T) {
	src, err := New(alike(t, 3, 3000), tape.ClockReceive)
	if err != nil {
		t.Fatal(err)
	}
	for place := wire.Ordinal(0); place < src.Span(); place += 7 {
		if _, err := src.Find(tape.ClockEvent, start, place); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(src.common.memory.list); n != standsMax {
		t.Errorf("%d stands are remembered, want %d", n, standsMax)
	}
	var m memory
	for n := range 100 {
		m.put(stand{place: wire.Ordinal(n), counts: make([]uint32, standsEntries/10)})
	}
	if len(m.list) != 10 {
		t.Errorf("%d stands with many counts are remembered, want 10", len(m.list))
	}
	var c tables
	big := make(table, tablesMax/10)
	for n := range 100 {
		c.put(tableKey{0, n}, big)
		if c.size > tablesMax || len(c.kept) > 10 {
			t.Fatalf("%d tables of %d entries", len(c.kept), c.size)
		}
	}
	if _, ok := c.get(tableKey{0, 99}); !ok {
		t.Error("the latest table is not remembered")
	}
	c.put(tableKey{1, 0}, make(table, 2*tablesMax))
	if len(c.kept) != 1 {
		t.Errorf("%d tables beside one that is too large", len(c.kept)-1)
	}
}

// Tapes without records are a source without places.
func TestEmpty(t *testing.T) {
	src, err := New(alike(t, 3, 0), tape.ClockReceive)
	if err != nil {
		t.Fatal(err)
	}
	w, err := src.Walk(tape.ReadConfig{From: 5, To: 9}, 3)
	if err != nil || w.Next(&replay.Item{}) || w.Err() != nil {
		t.Errorf("a walk: %v, %v", err, w.Err())
	}
	_ = w.Close()
	if at, err := src.Find(tape.ClockEvent, 0, 0); at != 0 || err != nil {
		t.Errorf("place %d, %v", at, err)
	}
	last, err := src.WalkLast(7, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := last.Next(context.Background()); ok || err != nil || !last.Ready() {
		t.Errorf("a last value: %v", err)
	}
	last.Close()
	p, err := replay.New(replay.Config{Source: src, Publisher: null{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Seek(context.Background(), replay.ToTime(0, tape.ClockReceive)); !errors.Is(err, replay.ErrBeyond) {
		t.Errorf("a seek: %v", err)
	}
	if rep, err := p.Run(context.Background()); err != nil || rep.Records != 0 {
		t.Errorf("%d records, %v", rep.Records, err)
	}
	p.Close()
}

// The same tapes give the same order at any speed, and to any number of shards the
// same ordinals.
func TestSameOrderAtAnySpeed(t *testing.T) {
	tapes := alike(t, 3, 2000)
	want := inMemory(t, tapes, tape.ClockEvent)
	for _, speed := range []replay.Speed{replay.Max, 1e9, 1e-3} {
		for _, shards := range []int{0, 1, 5} {
			src, err := New(tapes, tape.ClockEvent)
			if err != nil {
				t.Fatal(err)
			}
			p, err := replay.New(replay.Config{Source: src, Clock: tape.ClockEvent, Speed: speed, Shards: shards, BatchBytes: 2 << 10})
			if err != nil {
				t.Fatal(err)
			}
			var got []sent
			for b, err := range p.Batches(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, itemsOf(b)...)
			}
			slices.SortFunc(got, func(a, b sent) int { return int(int64(a.ordinal) - int64(b.ordinal)) })
			if len(got) != len(want) {
				t.Fatalf("speed %v: %d records, want %d", speed, len(got), len(want))
			}
			for i := range got {
				if got[i].ordinal != want[i].place || got[i].rec != string(want[i].rec) {
					t.Fatalf("speed %v, %d shards: another record at %d", speed, shards, i)
				}
			}
		}
	}
}

// Many read back what is being played.
func TestReadWhilePlaying(t *testing.T) {
	var tapes []*tape.Tape
	for i := range 3 {
		tapes = append(tapes, tapeOf(t, byte(i+1), 3000, func(m *made) { m.prefix = "x" }))
	}
	src, err := New(tapes, tape.ClockReceive)
	if err != nil {
		t.Fatal(err)
	}
	d := newDeck(t, replay.Config{Source: src, Shards: 2, Hold: true, Paused: true, Passes: 3, BatchBytes: 1 << 10}, 2)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for seed := range uint64(3) {
		wg.Go(func() {
			x := &trial{t: t, rng: rand.New(rand.NewPCG(seed, 5))}
			for {
				select {
				case <-stop:
					return
				default:
					x.readsBack(d)
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(1, 5))
	for range 20 {
		if err := d.player.Step(context.Background(), 1+rng.IntN(500)); err != nil {
			t.Fatal(err)
		}
		if err := d.seek(replay.ToTime(start+wire.Nanos(rng.IntN(6000)), tape.ClockReceive)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.held(); err != nil {
		t.Fatal(err)
	}
	close(stop)
	wg.Wait()
	d.end()
	d.player.Close()
}

// A tape that was opened once more serves only where it still has what it had.
func TestBegins(t *testing.T) {
	long, short := tapeOf(t, 1, 100, nil), tapeOf(t, 1, 50, nil)
	other, empty := tapeOf(t, 2, 100, nil), tapeOf(t, 1, 0, nil)
	for _, c := range []struct {
		t, with *tape.Tape
		want    bool
	}{{long, long, true}, {long, empty, true}, {empty, long, false}, {other, long, false}, {short, long, false}} {
		if got := begins(c.t, c.with); got != c.want {
			t.Errorf("%d blocks with %d: %v", c.t.Blocks(), c.with.Blocks(), got)
		}
	}
}
