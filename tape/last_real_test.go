package tape_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/formats"
	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// importFile makes a tape of a vendor's file, dealing topics out to shards.
func importFile(t *testing.T, name string, cfg tape.Config) *tape.Tape {
	t.Helper()
	in, err := feed.OpenInput(t.Context(), testdata.Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	format, err := feed.Detect(formats.All, in, "")
	if err != nil {
		t.Fatal(err)
	}
	src, err := format.Open(t.Context(), in, feed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "a.tape")
	w, err := tape.Create(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Abort() }()
	topics, next := map[string]uint32{}, make([]wire.Seq, cfg.Shards)
	for ordinal := wire.Ordinal(0); ; ordinal++ {
		rec, err := src.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		var bad *feed.BadRecord
		if errors.As(err, &bad) {
			ordinal-- // a capture that breaks off
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		topic := string(rec.Topic)
		f := fields(rec)
		f.TopicSeq = topics[topic]
		topics[topic]++
		shard := int(topic[len(topic)-1]) % cfg.Shards
		at := tape.At{Shard: shard, Epoch: 1, Seq: next[shard], Ordinal: ordinal}
		if err := w.AppendFields(at, &f); err != nil {
			t.Fatal(err)
		}
		next[shard]++
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tp.Close() })
	return tp
}

func fields(r *feed.Record) wire.Fields {
	return wire.Fields{Topic: r.Topic, Body: r.Body, Event: r.Event, Receive: r.Receive, Kind: r.Kind, Flags: r.Flags}
}

// On tapes of real files the last records as of any time are those that a scan
// in tape order finds.
func TestLastOfRealFiles(t *testing.T) {
	times := 1000
	if testing.Short() {
		times = 50
	}
	for _, name := range []string{
		"dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst", "csv/tardis-quotes.csv", "csv/tardis-trades.csv",
		"csv/lean-equity-tick-aig-20131007_quote.zip", "csv/questdb-nasdaq_trades.csv", "iex-pcap/DEEP10.pcap.gz",
	} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			tp := importFile(t, name, tape.Config{Shards: 3, BlockSize: 8 << 10, SegmentSize: tape.SegmentSizeMin,
				KeyframeInterval: 30_000, SyncInterval: -1})
			for _, c := range []tape.Clock{tape.ClockReceive, tape.ClockEvent} {
				lastAgainstScan(t, tp, c, times)
			}
		})
	}
}

// lastAgainstScan holds Last at random times against one scan that answers for
// all of them.
func lastAgainstScan(t *testing.T, tp *tape.Tape, c tape.Clock, times int) {
	t.Helper()
	info, err := tp.Info()
	if err != nil {
		t.Fatal(err)
	}
	span := info.Totals.Receive
	if c == tape.ClockEvent {
		span = info.Totals.Event
	}
	rng := rand.New(rand.NewPCG(1, 1))
	keyframes, answers := map[int]bool{}, scanTimes(t, tp, c, randomTimes(rng, tp, c, span, times))
	for at, want := range answers {
		l, err := tp.Last(t.Context(), tape.LastConfig{At: at, Clock: c})
		if err != nil || l.Len() != len(want) {
			t.Fatalf("%v %v: %d topics, want %d; error %v", c, at, l.Len(), len(want), err)
		}
		keyframes[l.Stats().Keyframe] = true
		for l.Next() {
			if w := want[string(l.Record().Topic())]; !bytes.Equal(w.rec, l.Record()) || w.at != l.At() {
				t.Fatalf("%v %v: topic %s: at %+v, want %+v; or the bytes differ", c, at, l.Record().Topic(), l.At(), w.at)
			}
		}
	}
	t.Logf("%v: %d records, %d topics, %d blocks, from %d different keyframes", c, info.Totals.Records, info.Totals.Topics, info.Totals.Blocks, len(keyframes))
}

// randomTimes draws times: half of them evenly, half of them those of records.
func randomTimes(rng *rand.Rand, tp *tape.Tape, c tape.Clock, span tape.Span, n int) []wire.Nanos {
	list := make([]wire.Nanos, n)
	for i := range list {
		list[i] = span.Min + wire.Nanos(rng.Int64N(int64(span.Max-span.Min)+1))
		if i%2 == 0 {
			b := tp.Block(rng.IntN(tp.Blocks()))
			list[i] = b.Receive.Min
			if c == tape.ClockEvent {
				list[i] = b.Event.Max
			}
		}
	}
	return list
}

type scannedLast struct {
	rec wire.Record
	at  tape.At
}

// scanTimes returns, by the definition, the last records as of each time.
func scanTimes(t *testing.T, tp *tape.Tape, c tape.Clock, times []wire.Nanos) map[wire.Nanos]map[string]scannedLast {
	t.Helper()
	answers := map[wire.Nanos]map[string]scannedLast{}
	for _, at := range times {
		answers[at] = map[string]scannedLast{}
	}
	// In tape order a topic's records come one after the other on its shard, so
	// what is written last stays. Of each topic the records of one time class are
	// gathered first: between two of the wanted times they answer alike.
	r := tp.Records(tape.ReadConfig{})
	defer r.Close()
	type one struct {
		scannedLast
		time wire.Nanos
	}
	byTopic := map[string][]one{}
	for r.Next() {
		rec := r.Record()
		o := one{time: rec.Receive()}
		if c == tape.ClockEvent {
			o.time = rec.Event()
		}
		at := r.At()
		at.Send = 0
		o.rec, o.at = bytes.Clone(rec), at
		// A record hides those before it that are not earlier than it.
		list := byTopic[string(rec.Topic())]
		for len(list) > 0 && list[len(list)-1].time >= o.time {
			list = list[:len(list)-1]
		}
		byTopic[string(rec.Topic())] = append(list, o)
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	for at, answer := range answers {
		for topic, list := range byTopic {
			for i := len(list) - 1; i >= 0; i-- {
				if list[i].time <= at {
					answer[topic] = list[i].scannedLast
					break
				}
			}
		}
	}
	return answers
}
