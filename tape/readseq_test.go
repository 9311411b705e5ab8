package tape

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// bySequence is what can be read by sequence: a tape, or one that is written.
type bySequence interface {
	Extents() []SeqSpan
	ReadSeq(ctx context.Context, epoch wire.Epoch, shard int, from, to wire.Seq, max int) (wire.Batch, func(), error)
	FindSpans(ctx context.Context, c Clock, at wire.Nanos) ([]SeqSpan, error)
}

// stream is a shard in an epoch.
type stream struct {
	epoch wire.Epoch
	shard int
}

// sent are the records that a tape was given, by stream and sequence.
type sent map[stream]map[wire.Seq]placed

func (s sent) add(list ...placed) {
	for _, p := range list {
		key := stream{p.at.Epoch, p.at.Shard}
		if s[key] == nil {
			s[key] = map[wire.Seq]placed{}
		}
		s[key][p.at.Seq] = p
	}
}

// spans are the extents of what was sent, for epochs in the given order.
func (s sent) spans(epochs ...wire.Epoch) (list []SeqSpan) {
	for _, e := range epochs {
		for shard := range 8 {
			var seqs []wire.Seq
			for seq := range s[stream{e, shard}] {
				seqs = append(seqs, seq)
			}
			slices.Sort(seqs)
			var own []SeqSpan
			for _, seq := range seqs {
				own = appendSpan(own, SeqSpan{Epoch: e, Shard: shard, From: seq, To: seq + 1})
			}
			list = append(list, own...)
		}
	}
	return list
}

// readOne reads once and holds what comes against what was sent. It returns the
// sequence to go on from.
func (s sent) readOne(t testing.TB, src bySequence, key stream, from, to wire.Seq, most int) (wire.Seq, error) {
	t.Helper()
	b, release, err := src.ReadSeq(t.Context(), key.epoch, key.shard, from, to, most)
	if err != nil {
		return from, err
	}
	defer release()
	b, err = wire.ParseBatch(wire.AppendHeader(nil, &b.Header), b.Payload, b.Order)
	if err != nil {
		t.Fatalf("[%d, %d) of %v: %v", from, to, key, err)
	}
	if b.Epoch != key.epoch || int(b.Shard) != key.shard || b.FirstSeq != from || b.Next() > to || b.Count == 0 {
		t.Fatalf("[%d, %d) of %v: got %+v", from, to, key, b.Header)
	}
	if most > 0 && len(b.Payload) > most && b.Count > 1 {
		t.Fatalf("%d bytes where at most %d were wanted", len(b.Payload), most)
	}
	ordinals := b.Ordinals()
	for w := b.Records(); w.Next(); {
		want, ok := s[key][w.Seq()]
		if o := ordinals.Next(); !ok || o != want.at.Ordinal || !bytes.Equal(w.Record(), want.rec) {
			t.Fatalf("sequence %d of %v is %x with ordinal %d, want %x with %d", w.Seq(), key, w.Record(), o, want.rec, want.at.Ordinal)
		}
	}
	return b.Next(), nil
}

// readAll reads a span in parts of about most bytes, and fails unless all of it
// is there.
func (s sent) readAll(t testing.TB, src bySequence, x SeqSpan, most int) {
	t.Helper()
	for at := x.From; at < x.To; {
		next, err := s.readOne(t, src, stream{x.Epoch, x.Shard}, at, x.To, most)
		if err != nil {
			t.Fatalf("[%d, %d) of %+v: %v", at, x.To, x, err)
		}
		at = next
	}
}

// writeStreams appends records over several shards with gaps, in two epochs.
func writeStreams(t testing.TB, w *Writer, shards, n int) sent {
	t.Helper()
	all, g := sent{}, newGenerated(shards, 5)
	for i := range 2 {
		for part := range 5 {
			all.add(write(t, w, g, n/10)...)
			g.seq[part%shards] += wire.Seq(part + 1) // a gap
		}
		if i == 0 {
			g.epoch, g.seq, g.next = 3, make([]wire.Seq, shards), 0
		}
	}
	return all
}

func TestReadSeq(t *testing.T) {
	for _, codec := range codecs {
		for _, shards := range []int{1, 3} {
			t.Run(fmt.Sprintf("codec=%v/shards=%d", codec, shards), func(t *testing.T) {
				w, dir := create(t, Config{Shards: shards, Codec: codec, BlockSize: 4 << 10, SegmentSize: SegmentSizeMin, SyncInterval: -1})
				all := writeStreams(t, w, shards, 4000)
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				tp := open(t, dir)
				extents := tp.Extents()
				if want := all.spans(7, 3); !slices.Equal(extents, want) {
					t.Fatalf("extents %v, want %v", extents, want)
				}
				for _, x := range extents {
					for _, most := range []int{1, 700, 5000, 0} {
						all.readAll(t, tp, x, most)
					}
				}
				rng := rand.New(rand.NewPCG(1, 1))
				for range 500 {
					x := extents[rng.IntN(len(extents))]
					from := x.From + wire.Seq(rng.Uint64N(x.Len()))
					to := from + 1 + wire.Seq(rng.Uint64N(x.Len()))
					if _, err := all.readOne(t, tp, stream{x.Epoch, x.Shard}, from, to, rng.IntN(9000)); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

// A block that is wanted whole comes as it is stored; a plain one is the mapping.
func TestReadSeqDoesNotCopy(t *testing.T) {
	w, dir := create(t, Config{Codec: CodecPlain, BlockSize: 4 << 10, SyncInterval: -1})
	write(t, w, newGenerated(1, 1), 500)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tp := open(t, dir)
	for _, part := range []bool{false, true} {
		info := tp.Block(1)
		from := info.FirstSeq
		if part {
			from++
		}
		b, release, err := tp.ReadSeq(t.Context(), info.Epoch, 0, from, info.Next(), 0)
		if err != nil {
			t.Fatal(err)
		}
		block, err := tp.ReadBlock(1, false)
		if err != nil {
			t.Fatal(err)
		}
		if !part && (b.CRC != info.RawCRC || &b.Payload[0] != &block.Payload[0]) {
			t.Error("a whole block does not come as it is")
		}
		if &b.Payload[len(b.Payload)-1] != &block.Payload[len(block.Payload)-1] {
			t.Error("the bytes were copied")
		}
		block.Release()
		release()
	}
}

func TestReadSeqErrors(t *testing.T) {
	w, dir := create(t, Config{Shards: 2, SyncInterval: -1})
	g := newGenerated(1, 1)
	write(t, w, g, 10)
	g.seq[0] += 5
	write(t, w, g, 5) // 15 to 20
	g.epoch, g.seq[0] = 8, 0
	write(t, w, g, 3)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tp := open(t, dir)
	missingCases(t, tp)
	if _, _, err := tp.ReadSeq(t.Context(), 7, 0, 5, 5, 0); !errors.Is(err, errEmptyRange) {
		t.Errorf("empty range: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := tp.ReadSeq(ctx, 7, 0, 5, 6, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	b, release, err := tp.ReadSeq(t.Context(), 7, 0, 5, 6, 0)
	if err := errors.Join(err, tp.Close()); err != nil {
		t.Fatal(err)
	}
	if err := b.Check(); err != nil { // still the caller's
		t.Error(err)
	}
	release()
	if _, _, err := tp.ReadSeq(t.Context(), 7, 0, 5, 6, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// missingCases asks a source of two shards for what it does not have: shard 0 has
// [0, 10) and [15, 20) in epoch 7, and [0, 3) in epoch 8; shard 1 has nothing.
func missingCases(t *testing.T, src bySequence) {
	t.Helper()
	for _, tc := range []struct {
		epoch wire.Epoch
		shard int
		from  wire.Seq
		kind  error
		to    wire.Seq
	}{
		{9, 0, 0, ErrUnknownEpoch, 0},
		{7, 2, 0, ErrUnknownEpoch, 0},
		{7, -1, 0, ErrUnknownEpoch, 0},
		{7, 0, 10, ErrGone, 15},
		{7, 0, 14, ErrGone, 15},
		{7, 0, 20, ErrGone, 20},
		{8, 0, 3, ErrNotYet, 3},
		{8, 0, 99, ErrNotYet, 99},
		{8, 1, 0, ErrNotYet, 0},
	} {
		_, _, err := src.ReadSeq(t.Context(), tc.epoch, tc.shard, tc.from, tc.from+1, 0)
		var e *SeqError
		if !errors.As(err, &e) || !errors.Is(err, tc.kind) || e.SeqSpan != (SeqSpan{tc.epoch, tc.shard, tc.from, tc.to}) || e.LastValues {
			t.Errorf("%+v: %v, %+v", tc, err, e)
		}
	}
}

// A block whose bytes changed is reported, and the others are read.
func TestReadSeqDamage(t *testing.T) {
	disk := memTape(t, CodecS2, 1, 500)
	tp, err := OpenFS(disk, memDir)
	if err != nil {
		t.Fatal(err)
	}
	info := tp.Block(3)
	tp.Close()
	seg := load(t, disk, segmentName(0))
	seg[info.Offset+BlockHeaderSize+5] ^= 1
	store(t, disk, segmentName(0), seg)
	if tp, err = OpenFS(disk, memDir); err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	var damage *CorruptError
	if _, _, err := tp.ReadSeq(t.Context(), info.Epoch, 0, info.FirstSeq, info.Next(), 0); !errors.As(err, &damage) || damage.Offset != info.Offset {
		t.Errorf("%v", err)
	}
	_, release, err := tp.ReadSeq(t.Context(), info.Epoch, 0, info.Next(), info.Next()+1, 0)
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// foundSpans says by brute force what FindSpans has to find: want are the records
// of each shard in stream order.
func foundSpans(shards [][]scannedRecord, c Clock, at wire.Nanos) (list []SeqSpan) {
	for _, records := range shards {
		var own []SeqSpan
		found := false
		for i := range records {
			r := &records[i]
			blockwise := c == ClockSend && !r.info.NoSend
			if !found && (blockwise && r.info.Send.Max >= at || !blockwise && timeOf(r.rec, c) >= at) {
				found = true
			}
			if found {
				own = appendSpan(own, SeqSpan{r.at.Epoch, r.at.Shard, r.at.Seq, r.at.Seq + 1})
			}
		}
		list = append(list, own...)
	}
	return list
}

func TestFindSpans(t *testing.T) {
	for _, back := range []int{1, 3000, 5_000_000} {
		tp := mixedTape(t, Config{}, 6000, back, true)
		shards := make([][]scannedRecord, 3)
		times := []wire.Nanos{wire.NanosMin, wire.NanosMax, 0}
		for _, r := range scanAll(t, tp) {
			shards[r.at.Shard] = append(shards[r.at.Shard], r)
			times = append(times, r.rec.Receive(), r.rec.Event(), r.rec.Receive()+5001)
		}
		rng := rand.New(rand.NewPCG(2, 2))
		rng.Shuffle(len(times)-3, func(i, j int) { times[i+3], times[j+3] = times[j+3], times[i+3] })
		for _, at := range times[:100] {
			for c := range Clock(len(clockNames)) {
				got, err := tp.FindSpans(t.Context(), c, at)
				if want := foundSpans(shards, c, at); err != nil || !slices.Equal(got, want) {
					t.Fatalf("back %d, %v %d: %v, want %v; %v", back, c, at, got, want, err)
				}
			}
		}
	}
}

// Reading by sequence may go on in many goroutines at once.
func TestReadSeqAtOnce(t *testing.T) {
	w, dir := create(t, Config{Shards: 3, BlockSize: 2 << 10, SegmentSize: SegmentSizeMin, SyncInterval: -1})
	all := writeStreams(t, w, 3, 4000)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tp := open(t, dir)
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			for _, x := range tp.Extents() {
				all.readAll(t, tp, x, 500*(i+1))
			}
		})
	}
}

// TestCutBatch cuts a batch with an order frame everywhere.
func TestCutBatch(t *testing.T) {
	var b wire.Batch
	const count = 40
	ordinal, ordinals := wire.Ordinal(1000), []wire.Ordinal{}
	for i := range count {
		var err error
		f := wire.Fields{Topic: []byte("T"), Body: make([]byte, i%7)}
		if b.Payload, err = wire.AppendRecord(b.Payload, &f); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			step := wire.Ordinal(1 + i*i%400)
			b.Order = wire.AppendOrder(b.Order, ordinal, ordinal+step)
			ordinal += step
		}
		ordinals = append(ordinals, ordinal)
	}
	b.Header = wire.Header{Epoch: 1, Shards: 1, FirstSeq: 50, FirstOrdinal: ordinals[0], Count: count,
		PayloadSize: uint32(len(b.Payload)), OrderSize: uint32(len(b.Order)), CRC: wire.CRC(b.Payload, b.Order)}
	for _, dense := range []bool{false, true} {
		if dense {
			b.Order, b.OrderSize = nil, 0
			for i := range ordinals {
				ordinals[i] = ordinals[0] + wire.Ordinal(i)
			}
		}
		for from := range wire.Seq(count) {
			for to := from + 1; to <= count; to++ {
				got, err := cutBatch(&b, 50+from, 50+to, 0, false, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got, err = wire.ParseBatch(wire.AppendHeader(nil, &got.Header), got.Payload, got.Order); err != nil {
					t.Fatal(err)
				}
				order := got.Ordinals()
				for w := got.Records(); w.Next(); {
					if o := order.Next(); o != ordinals[w.Seq()-50] || len(w.Record().Body()) != int(w.Seq()-50)%7 {
						t.Fatalf("[%d, %d): sequence %d has ordinal %d", from, to, w.Seq(), o)
					}
				}
				if got.FirstSeq != 50+from || got.Next() != 50+to {
					t.Fatalf("[%d, %d): %+v", from, to, got.Header)
				}
			}
		}
	}
	b.Order, b.OrderSize = []byte{1, 2}, 2
	if _, err := cutBatch(&b, 55, 60, 0, false, nil); err == nil {
		t.Error("an order frame that is cut off is taken")
	}
	b.Order, b.Payload = nil, b.Payload[:100]
	if _, err := cutBatch(&b, 51, 90, 0, false, nil); err == nil {
		t.Error("a payload that is cut off is taken")
	}
}

// BenchmarkReadSeq reads a tape from its start to its end.
func BenchmarkReadSeq(b *testing.B) {
	for _, codec := range []Codec{CodecPlain, CodecS2} {
		for _, most := range []int{0, 64 << 10} {
			b.Run(fmt.Sprintf("codec=%v/max=%d", codec, most), func(b *testing.B) {
				const n = 500_000
				tp, records := benchTape(b, codec, 2, n), uint64(0)
				b.ReportAllocs()
				at := [2]wire.Seq{}
				for i := 0; b.Loop(); i++ {
					s := i % 2
					batch, release, err := tp.ReadSeq(b.Context(), 1, s, at[s], n/2, most)
					if err != nil {
						b.Fatal(err)
					}
					records += uint64(batch.Count)
					if at[s] = batch.Next(); at[s] == n/2 {
						at[s] = 0
					}
					release()
				}
				b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

// BenchmarkReadSeqRandom reads 100 records anywhere.
func BenchmarkReadSeqRandom(b *testing.B) {
	for _, codec := range []Codec{CodecPlain, CodecS2} {
		b.Run("codec="+codec.String(), func(b *testing.B) {
			const n = 1_000_000
			tp, rng := benchTape(b, codec, 1, n), rand.New(rand.NewPCG(1, 1))
			b.ReportAllocs()
			for b.Loop() {
				from := wire.Seq(rng.IntN(n - 100))
				_, release, err := tp.ReadSeq(b.Context(), 1, 0, from, from+100, 0)
				if err != nil {
					b.Fatal(err)
				}
				release()
			}
		})
	}
}

// BenchmarkFindSpans finds where a time is on every shard.
func BenchmarkFindSpans(b *testing.B) {
	const n = 1_000_000
	tp, rng := benchTape(b, CodecS2, 2, n), rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		if list, err := tp.FindSpans(b.Context(), ClockEvent, wire.Nanos(rng.IntN(n)*1000)); err != nil || len(list) == 0 {
			b.Fatal(list, err)
		}
	}
}
