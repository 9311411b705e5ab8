package splice

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// made says what a test tape holds.
type made struct {
	shards   int
	records  int
	topics   string // prefix of its topics
	seed     uint64
	codec    tape.Codec
	back     bool // times go back now and then
	send     bool // send times are known
	encoding []wire.Encoding
}

const start = wire.Nanos(1_700_000_000_000_000_000)

// makeTape writes a tape and returns it, open.
func makeTape(t testing.TB, m made) *tape.Tape {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "in.tape")
	w, err := tape.Create(dir, tape.Config{Shards: max(m.shards, 1), Codec: m.codec, BlockSize: 700, SegmentSize: tape.SegmentSizeMin,
		SyncInterval: -1, Encodings: m.encoding, Sources: []string{m.topics + "source"}})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(m.seed, 2))
	shards, err := shard.NewMap(max(m.shards, 1))
	if err != nil {
		t.Fatal(err)
	}
	next, seqs := make([]wire.Seq, max(m.shards, 1)), map[string]uint32{}
	at := start
	for i := range m.records {
		at += wire.Nanos(rng.IntN(4) * 1000) // equal times are common
		event := at - 500
		if m.back && rng.IntN(10) == 0 {
			event -= wire.Nanos(rng.IntN(100_000))
		}
		topic := fmt.Sprintf("%sT%02d", m.topics, rng.IntN(30))
		f := wire.Fields{Topic: []byte(topic), Body: fmt.Appendf(nil, "%d,%s", i, topic), Event: event, Receive: at,
			TopicSeq: seqs[topic], Kind: wire.KindTrade}
		if m.back {
			f.Receive = event + 500
		}
		s := shards.Of(f.Topic)
		place := tape.At{Shard: int(s), Epoch: 7, Seq: next[s], Ordinal: wire.Ordinal(i)}
		if m.send {
			place.Send = at + 77
		}
		if err := w.AppendFields(place, &f); err != nil {
			t.Fatal(err)
		}
		next[s]++
		seqs[topic]++
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return openTape(t, dir)
}

func openTape(t testing.TB, dir string) *tape.Tape {
	t.Helper()
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tp.Close() })
	return tp
}

// rec is one record with its place.
type rec struct {
	at  tape.At
	raw wire.Record
}

// all returns a tape's records in their order.
func all(t testing.TB, tp *tape.Tape) []rec {
	t.Helper()
	r := tp.Records(tape.ReadConfig{})
	defer r.Close()
	var list []rec
	for r.Next() {
		list = append(list, rec{r.At(), bytes.Clone(r.Record())})
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return list
}

// sameBytes fails unless the records have the same bytes in the same order.
func sameBytes(t testing.TB, got, want []rec) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i].raw, want[i].raw) {
			t.Fatalf("record %d is %q, want %q", i, got[i].raw, want[i].raw)
		}
	}
}

// samePlaces fails unless the records have the same places, too.
func samePlaces(t testing.TB, got, want []rec) {
	t.Helper()
	sameBytes(t, got, want)
	for i := range got {
		if got[i].at != want[i].at {
			t.Fatalf("record %d is at %+v, want %+v", i, got[i].at, want[i].at)
		}
	}
}

// dense fails unless the records have places from 0 without gaps, each on the
// shard of its topic.
func dense(t testing.TB, list []rec, shards int) {
	t.Helper()
	m, err := shard.NewMap(shards)
	if err != nil {
		t.Fatal(err)
	}
	next := make([]wire.Seq, shards)
	for i := range list {
		s := int(m.Of(list[i].raw.Topic()))
		if at := list[i].at; at.Shard != s || at.Seq != next[s] || at.Ordinal != wire.Ordinal(i) || at.Epoch != list[0].at.Epoch {
			t.Fatalf("record %d is at %+v, want shard %d, sequence %d", i, at, s, next[s])
		}
		next[s]++
	}
}

// sound fails unless Verify finds nothing wrong, and returns its report.
func sound(t testing.TB, dir string) tape.Report {
	t.Helper()
	rep, err := tape.Verify(context.Background(), dir, nil)
	if err != nil || !rep.OK() || len(rep.Warnings) > 0 {
		t.Fatalf("%v %+v %+v", err, rep.Problems, rep.Warnings)
	}
	return rep
}

// nothing fails unless the folder of dir is empty.
func nothing(t testing.TB, dir string) {
	t.Helper()
	list, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(list) > 0 {
		t.Fatalf("left behind: %v, %v", list, err)
	}
}

func outDir(t testing.TB) string { return filepath.Join(t.TempDir(), "out.tape") }

// where filters.
func where(list []rec, keep func(r wire.Record) bool) []rec {
	return slices.DeleteFunc(slices.Clone(list), func(r rec) bool { return !keep(r.raw) })
}
