package tape

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// disorder makes a tape over two shards whose times go back now and then, with
// gaps, two epochs, and appended to once.
func disorder(t testing.TB, codec Codec) (*Tape, []placed) {
	t.Helper()
	w, dir := create(t, Config{Shards: 2, Codec: codec, BlockSize: 700})
	rng := rand.New(rand.NewPCG(8, 8))
	var all []placed
	seq := [2]wire.Seq{}
	topicSeq := map[string]uint32{}
	for i := range 3000 {
		if i == 1500 {
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			var err error
			if w, err = OpenAppend(dir, Config{BlockSize: 700}); err != nil {
				t.Fatal(err)
			}
			seq = [2]wire.Seq{}
		}
		shard := rng.IntN(2)
		if rng.IntN(100) == 0 {
			seq[shard] += 5
		}
		topic := string([]byte{'A' + byte(shard), '0' + byte(rng.IntN(10))})
		topicSeq[topic]++
		event := wire.Nanos(1_000_000 + i*1000 - rng.IntN(2)*rng.IntN(200_000))
		f := wire.Fields{Topic: []byte(topic), Event: event, Receive: event + wire.Nanos(rng.IntN(50_000)), TopicSeq: topicSeq[topic], Body: []byte("body")}
		rec, err := wire.AppendRecord(nil, &f)
		if err != nil {
			t.Fatal(err)
		}
		at := At{Shard: shard, Epoch: wire.Epoch(9 - i/1500), Seq: seq[shard], Ordinal: wire.Ordinal(i)}
		seq[shard]++
		if err := w.Append(at, rec); err != nil {
			t.Fatal(err)
		}
		all = append(all, placed{at, rec})
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, dir), all
}

// inTapeOrder returns every record in block order, by a scan.
func inTapeOrder(t testing.TB, tp *Tape) (all []placed, pos []Position) {
	t.Helper()
	for n := range tp.Blocks() {
		b, err := tp.ReadBlock(n, false)
		if err != nil {
			t.Fatal(err)
		}
		ordinals, i := b.Ordinals(), 0
		for w := b.Records(); w.Next(); i++ {
			p := Position{Block: n, Index: i, Shard: int(b.Shard), Epoch: b.Epoch, Seq: w.Seq(), Ordinal: ordinals.Next()}
			pos = append(pos, p)
			all = append(all, placed{rec: bytes.Clone(w.Record())})
		}
		b.Release()
	}
	return all, pos
}

func TestFindAgainstScan(t *testing.T) {
	tp, _ := disorder(t, CodecS2)
	all, pos := inTapeOrder(t, tp)
	for _, clock := range []Clock{ClockEvent, ClockReceive, ClockSend} {
		for at := wire.Nanos(700_000); at < 4_200_000; at += 1777 {
			want := Position{Block: tp.Blocks()}
			for i := range all {
				// Without send times the send clock is the receive clock.
				if timeOf(all[i].rec, clock) >= at {
					want = pos[i]
					break
				}
			}
			if got, err := tp.Find(clock, at); err != nil || got != want {
				t.Fatalf("%v %d: found %+v, want %+v; error %v", clock, at, got, want, err)
			}
		}
	}
}

func TestFindSeqAgainstScan(t *testing.T) {
	tp, _ := disorder(t, CodecPlain)
	_, pos := inTapeOrder(t, tp)
	for _, epoch := range []wire.Epoch{9, 8, 7} {
		for shard := range 2 {
			for seq := wire.Seq(0); seq < 900; seq++ {
				want, found := Position{}, false
				for _, p := range pos {
					if p.Epoch == epoch && p.Shard == shard && p.Seq >= seq && (!found || p.Seq < want.Seq) {
						want, found = p, true
					}
				}
				got, err := tp.FindSeq(epoch, shard, seq)
				if found && (err != nil || got != want) || !found && !errors.Is(err, ErrNoSeq) {
					t.Fatalf("epoch %d, shard %d, sequence %d: %+v, want %+v; error %v", epoch, shard, seq, got, want, err)
				}
			}
		}
	}
	if _, err := tp.FindSeq(9, 2, 0); !errors.Is(err, ErrShard) {
		t.Errorf("shard 2 of 2: %v", err)
	}
}

func TestRecordsInRangeAgainstScan(t *testing.T) {
	tp, all := disorder(t, CodecZstd)
	same(t, tp, all)
	for _, clock := range []Clock{ClockEvent, ClockReceive} {
		for _, span := range [][2]wire.Nanos{{0, 0}, {1_500_000, 0}, {0, 1_500_000}, {1_200_000, 2_400_000}, {5, 6}, {9_000_000, 0}} {
			r := tp.Records(ReadConfig{Clock: clock, From: span[0], To: span[1], Shards: []int{1}})
			for _, p := range all {
				at := timeOf(p.rec, clock)
				if p.at.Shard != 1 || span[0] != 0 && at < span[0] || span[1] != 0 && at >= span[1] {
					continue
				}
				if !r.Next() || r.At() != p.at || !bytes.Equal(r.Record(), p.rec) {
					t.Fatalf("%v %v: missing or wrong at %+v; error %v", clock, span, p.at, r.Err())
				}
			}
			if r.Next() {
				t.Fatalf("%v %v: more records than wanted", clock, span)
			}
			r.Close()
		}
	}
}

func TestTopicsAndTotals(t *testing.T) {
	tp, all := disorder(t, CodecS2)
	topics, err := tp.Topics()
	if err != nil {
		t.Fatal(err)
	}
	scanned, err := tp.scanTopics()
	if err != nil || len(topics) != 20 {
		t.Fatalf("%d topics, %v", len(topics), err)
	}
	for i := range topics {
		if topics[i] != scanned[i] {
			t.Errorf("stored %+v, scanned %+v", topics[i], scanned[i])
		}
		count, last := uint64(0), wire.Record(nil)
		for _, p := range all {
			if string(p.rec.Topic()) == topics[i].Topic {
				count, last = count+1, p.rec
			}
		}
		b, err := tp.ReadBlock(topics[i].LastBlock, false)
		if err != nil {
			t.Fatal(err)
		}
		w := b.Records()
		for range topics[i].LastIndex + 1 {
			w.Next()
		}
		if topics[i].Records != count || !bytes.Equal(w.Record(), last) || topics[i].LastTopicSeq != last.TopicSeq() {
			t.Errorf("%+v: want %d records, last with topic sequence %d", topics[i], count, last.TopicSeq())
		}
		b.Release()
	}
	info, err := tp.Info()
	if err != nil {
		t.Fatal(err)
	}
	computed, err := tp.computeTotals()
	computed.Topics = len(topics)
	if err != nil || computed != info.Totals {
		t.Errorf("stored %+v\ncomputed %+v, %v", info.Totals, computed, err)
	}
	first, last := all[0].rec, all[len(all)-1].rec
	if info.Totals.FirstEvent != first.Event() || info.Totals.LastReceive != last.Receive() || info.Totals.Records != 3000 || info.Totals.Epochs != 2 {
		t.Errorf("%+v", info.Totals)
	}
}

// The digest says what the records are, not how they are stored.
func TestDigestIsIndependentOfStorage(t *testing.T) {
	digests := map[Digest]bool{}
	for _, codec := range codecs {
		for _, size := range []int64{SegmentSizeMin, SegmentSizeDefault} {
			w, dir := create(t, Config{Codec: codec, SegmentSize: size, BlockSize: 4 << 10, SyncInterval: -1})
			g := newGenerated(1, 1)
			g.epoch = wire.Epoch(size) // not part of the digest
			write(t, w, g, 3000)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			info, err := open(t, dir).Info()
			if err != nil {
				t.Fatal(err)
			}
			digests[info.Digest] = true
		}
	}
	if len(digests) != 1 {
		t.Errorf("%d digests for the same records", len(digests))
	}
}
