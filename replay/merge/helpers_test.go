package merge

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// made says what a test tape holds.
type made struct {
	shards int
	epochs []int // records of each
	topics int
	prefix string // of its topics
	codec  tape.Codec
	block  int // bytes
	step   int // times advance by less than this from record to record
	back   int // one in so many times goes back; 0: none
	holes  bool
	send   int // 0 no send times, 1 all, 2 some blocks
	start  wire.Nanos
	id     byte
	keys   int64  // payload between keyframes; 0: none
	seq    uint32 // at which topics begin
	apart  bool   // an epoch is on the tape before the next one; otherwise a shard may be ahead of another
}

const start = wire.Nanos(1_700_000_000_000_000_000)

// anyTape is a tape of any kind.
func anyTape(rng *rand.Rand, n int) made {
	m := made{
		shards: 1 + rng.IntN(3), topics: 1 + rng.IntN(8), prefix: fmt.Sprint(rng.IntN(3)), codec: tape.CodecPlain, block: 150 + rng.IntN(500),
		step: 1 + rng.IntN(6), back: rng.IntN(8), holes: rng.IntN(3) == 0, send: rng.IntN(3), start: start + wire.Nanos(rng.IntN(60)), id: byte(n + 1),
	}
	if rng.IntN(2) == 0 {
		m.seq = rng.Uint32()
	}
	if rng.IntN(20) == 0 {
		m.start = []wire.Nanos{wire.NanosMin + 100, -50, wire.NanosMax - 2000}[rng.IntN(3)]
	}
	for range rng.IntN(4) {
		m.epochs = append(m.epochs, rng.IntN(40))
	}
	if rng.IntN(2) == 0 {
		m.keys = int64(200 + rng.IntN(2000))
	}
	if rng.IntN(3) == 0 {
		m.codec = tape.CodecS2
	}
	return m
}

// write writes a tape into memory, or where fs is nil into a folder.
func (m *made) write(t testing.TB, rng *rand.Rand) *tape.Tape {
	t.Helper()
	if m.keys == 0 {
		m.keys = -1
	}
	fs := fsys.NewMem()
	w, err := tape.Create("/t.tape", tape.Config{FS: fs, Shards: m.shards, Codec: m.codec, BlockSize: m.block, SegmentSize: tape.SegmentSizeMin,
		SyncInterval: -1, KeyframeInterval: m.keys, ID: tape.ID{m.id}, Created: 1})
	if err != nil {
		t.Fatal(err)
	}
	at, seqs := m.start, map[string]uint32{}
	for n := range m.topics {
		seqs[fmt.Sprintf("%sT%02d", m.prefix, n)] = m.seq
	}
	for e, count := range m.epochs {
		next := make([]wire.Seq, m.shards)
		ordinal := wire.Ordinal(rng.IntN(3))
		for n := range count {
			at += wire.Nanos(rng.IntN(m.step))
			topic := fmt.Sprintf("%sT%02d", m.prefix, rng.IntN(m.topics))
			f := wire.Fields{Topic: []byte(topic), Body: fmt.Appendf(nil, "%d,%d,%d", m.id, e, n), Event: at, Receive: at + 3,
				TopicSeq: seqs[topic], Kind: wire.KindTrade}
			if m.back > 0 && rng.IntN(m.back) == 0 {
				f.Event -= wire.Nanos(rng.IntN(30))
			}
			if m.back > 0 && rng.IntN(m.back) == 0 {
				f.Receive -= wire.Nanos(rng.IntN(30))
			}
			// A topic stays on its shard.
			s := int(topic[len(topic)-1]) % m.shards
			place := tape.At{Shard: s, Epoch: wire.Epoch(10*(e+1) + int(m.id)), Seq: next[s], Ordinal: ordinal}
			if m.send == 1 || m.send == 2 && n/20%2 == 0 {
				place.Send = at + wire.Nanos(rng.IntN(9))
			}
			if err := w.AppendFields(place, &f); err != nil {
				t.Fatal(err)
			}
			next[s]++
			seqs[topic]++
			ordinal++
			if m.holes {
				ordinal += wire.Ordinal(rng.IntN(3))
			}
		}
		for s := range m.shards {
			if !m.apart {
				break
			}
			if err := w.EndBlock(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tp, err := tape.OpenFS(fs, "/t.tape")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tp.Close() })
	if !slices.IsSorted(tp.Epochs()) {
		// A shard was so far ahead that its second epoch is on the tape before anything of
		// the first one. The tape's order is then not that of its shards.
		m.apart = true
		return m.write(t, rng)
	}
	return tp
}

// placed is a record of the model.
type placed struct {
	rec   wire.Record
	block tape.BlockInfo
	send  wire.Nanos
	tape  int
	local wire.Ordinal // place on its tape
	key   wire.Nanos
	place wire.Ordinal // in the one order
}

// inMemory is the order by the rule alone: every record with the greatest time up to
// it on its tape, sorted stably, and its place the sum of where all tapes stand.
func inMemory(t testing.TB, tapes []*tape.Tape, c tape.Clock) []placed {
	t.Helper()
	var list []placed
	lists, spans := make([][]wire.Ordinal, len(tapes)), make([]wire.Ordinal, len(tapes))
	for i, tp := range tapes {
		source := replay.NewTapeSource(tp)
		spans[i] = source.Span()
		r := tp.Records(tape.ReadConfig{})
		key := wire.NanosMin
		for r.Next() {
			p := placed{rec: bytes.Clone(r.Record()), block: r.Block().Info, send: r.At().Send, tape: i}
			p.local, _ = source.Place(r.At().Epoch, r.At().Ordinal)
			at := p.time(c)
			if c == tape.ClockSend && p.send != 0 {
				at = p.send
			}
			key = max(key, at)
			p.key = key
			list, lists[i] = append(list, p), append(lists[i], p.local)
		}
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
	}
	slices.SortStableFunc(list, func(a, b placed) int {
		switch {
		case a.key < b.key:
			return -1
		case a.key > b.key:
			return 1
		}
		return 0
	})
	through(t, tapes, list)
	for n := range list {
		for i := range lists {
			if len(lists[i]) > 0 {
				list[n].place += lists[i][0]
			} else {
				list[n].place += spans[i]
			}
		}
		lists[list[n].tape] = lists[list[n].tape][1:]
	}
	return list
}

// through numbers topics of several tapes through: each record's topic sequence is how
// many the tapes have had. Where a tape leaves out sequences, or goes back, so does the
// stream.
func through(t testing.TB, from []*tape.Tape, list []placed) {
	t.Helper()
	type key struct {
		topic string
		tape  int
	}
	first, last, tapes := map[key]uint32{}, map[key]uint32{}, map[string]int{}
	for i, tp := range from {
		topics, err := tp.Topics()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range topics {
			first[key{x.Topic, i}] = x.LastTopicSeq + 1 - uint32(x.Records)
			tapes[x.Topic]++
		}
	}
	sums := map[string]uint32{}
	for i := range list {
		k := key{string(list[i].rec.Topic()), list[i].tape}
		if tapes[k.topic] < 2 {
			continue
		}
		n := list[i].rec.TopicSeq() - first[k] + 1
		sums[k.topic] += n - last[k]
		last[k] = n
		list[i].rec.SetTopicSeq(sums[k.topic] - 1)
	}
}

// time is a record's own time.
func (p *placed) time(c tape.Clock) wire.Nanos {
	if c == tape.ClockEvent {
		return p.rec.Event()
	}
	return p.rec.Receive()
}

// since reports whether a record counts as at or after a time, as on one tape.
func (p *placed) since(c tape.Clock, at wire.Nanos) bool {
	if c == tape.ClockSend && !p.block.NoSend {
		return p.block.Send.Max >= at
	}
	return p.time(c) >= at
}

// in reports whether a record is in a range.
func (p *placed) in(cfg tape.ReadConfig) bool {
	if cfg.To != 0 {
		if cfg.Clock == tape.ClockSend && !p.block.NoSend {
			if p.block.Send.Min >= cfg.To {
				return false
			}
		} else if p.time(cfg.Clock) >= cfg.To {
			return false
		}
	}
	return cfg.From == 0 || p.since(cfg.Clock, cfg.From)
}
