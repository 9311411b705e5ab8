package splice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

func merge(t testing.TB, in []*tape.Tape, cfg MergeConfig) (*tape.Tape, MergeReport, string) {
	t.Helper()
	dir := outDir(t)
	rep, err := Merge(context.Background(), in, dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	sound(t, dir)
	return openTape(t, dir), rep, dir
}

// brute is the merge by the rule alone: every record with the greatest time up to
// it on its tape, sorted stably, topics of several tapes numbered anew.
func brute(t testing.TB, in []*tape.Tape, c tape.Clock) []rec {
	t.Helper()
	type keyed struct {
		rec
		key wire.Nanos
	}
	var list []keyed
	tapes := map[string]int{}
	for _, tp := range in {
		latest, topics := wire.NanosMin, map[string]bool{}
		for _, r := range all(t, tp) {
			at := timeOf(r.raw, c)
			if c == tape.ClockSend && r.at.Send != 0 {
				at = r.at.Send
			}
			latest = max(latest, at)
			list = append(list, keyed{r, latest})
			topics[string(r.raw.Topic())] = true
		}
		for topic := range topics {
			tapes[topic]++
		}
	}
	slices.SortStableFunc(list, func(a, b keyed) int {
		switch {
		case a.key < b.key:
			return -1
		case a.key > b.key:
			return 1
		}
		return 0
	})
	next := map[string]uint32{}
	var want []rec
	for _, k := range list {
		if topic := string(k.raw.Topic()); tapes[topic] > 1 {
			f := k.raw.Fields()
			f.TopicSeq = next[topic]
			next[topic]++
			raw, err := wire.AppendRecord(nil, &f)
			if err != nil {
				t.Fatal(err)
			}
			k.raw = raw
		}
		want = append(want, k.rec)
	}
	return want
}

func TestMerge(t *testing.T) {
	for _, c := range []tape.Clock{tape.ClockReceive, tape.ClockEvent, tape.ClockSend} {
		for _, shared := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, shared topics %v", c, shared), func(t *testing.T) {
				var in []*tape.Tape
				for i := range 7 {
					m := made{shards: 1 + i%3, records: 100 * i * i, seed: uint64(i), back: i%2 == 0, send: i%3 == 0, topics: fmt.Sprint(i)}
					if shared {
						m.topics = fmt.Sprint(i / 3)
					}
					in = append(in, makeTape(t, m))
				}
				out, rep, _ := merge(t, in, MergeConfig{Clock: c})
				want, got := brute(t, in, c), all(t, out)
				sameBytes(t, got, want)
				dense(t, got, 3)
				if rep.Records != uint64(len(want)) || (rep.Shared > 0) != shared || rep.Back == 0 {
					t.Errorf("%+v", rep)
				}
			})
		}
	}
}

// Cuts of a tape at any times, merged, are the tape.
func TestMergeOfCuts(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for seed := range uint64(10) {
		in := makeTape(t, made{shards: 1 + int(seed%3), records: 1000, seed: seed})
		times := []wire.Nanos{0, 0}
		for range 4 {
			times = append(times, start+wire.Nanos(rng.IntN(1_500_000)))
		}
		slices.Sort(times[2:])
		times = append(times[1:], 0)
		var parts []*tape.Tape
		for i := range len(times) - 1 {
			if part, rep, _ := cut(t, in, CutConfig{From: times[i], To: times[i+1]}); rep.Records > 0 {
				parts = append(parts, part)
			}
		}
		out, _, _ := merge(t, parts, MergeConfig{})
		// Every topic that several parts have counts on from one to the next, as
		// it did, so the bytes are the same.
		sameBytes(t, all(t, out), all(t, in))
	}
}

func TestMergeByTopics(t *testing.T) {
	in := makeTape(t, made{shards: 2, records: 2000, seed: 5, back: true})
	var parts []*tape.Tape
	for _, prefixes := range [][]string{{"T0"}, {"T1"}, {"T2"}} {
		part, _, _ := cut(t, in, CutConfig{Topics: prefixes})
		parts = append(parts, part)
	}
	out, rep, _ := merge(t, parts, MergeConfig{})
	sameBytes(t, all(t, out), brute(t, parts, tape.ClockReceive))
	if rep.Shared != 0 || rep.Records != 2000 {
		t.Errorf("%+v", rep)
	}
}

func TestMergeMarks(t *testing.T) {
	var in []*tape.Tape
	for i := range 3 {
		out, _, dir := cut(t, makeTape(t, made{records: 50, seed: uint64(i), topics: fmt.Sprint(i)}), CutConfig{})
		for _, m := range []tape.Mark{{Name: "same", Time: 5, At: &tape.MarkAt{Epoch: 7}}, {Name: "open", Time: wire.Nanos(i)}} {
			if err := tape.AddMark(dir, m); err != nil {
				t.Fatal(err)
			}
		}
		in = append(in, out)
	}
	out, rep, _ := merge(t, in, MergeConfig{})
	got, err := out.Marks()
	want := []tape.Mark{{Name: "open"}, {Name: "open-2", Time: 1}, {Name: "open-3", Time: 2}, {Name: "same", Time: 5}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%s %v", diff, err)
	}
	if rep.Marks != 4 || !slices.Equal(rep.Renamed, []string{"open-2", "open-3"}) {
		t.Errorf("%+v", rep)
	}
}

func TestMergeLeavesNothing(t *testing.T) {
	if _, err := Merge(context.Background(), nil, outDir(t), MergeConfig{}); !errors.Is(err, ErrNoTapes) {
		t.Errorf("no tapes: %v", err)
	}
	good := makeTape(t, made{records: 1000, seed: 1})
	bad, _, dir := cut(t, makeTape(t, made{records: 1000, seed: 2}), CutConfig{Tape: tape.Config{Codec: tape.CodecPlain}})
	bad.Close()
	flip(t, dir+"/00000000.seg", 30000)
	out := outDir(t)
	var corrupt *tape.CorruptError
	if _, err := Merge(context.Background(), []*tape.Tape{good, openTape(t, dir)}, out, MergeConfig{}); !errors.As(err, &corrupt) {
		t.Errorf("a damaged tape: %v", err)
	}
	nothing(t, out)
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	cancel(why)
	large := makeTape(t, made{records: 2 * checkEvery, seed: 3})
	if _, err := Merge(ctx, []*tape.Tape{large}, out, MergeConfig{}); !errors.Is(err, why) {
		t.Errorf("interrupted: %v", err)
	}
	nothing(t, out)
}

// Merging allocates nothing for a record.
func TestMergeAllocs(t *testing.T) {
	a, b := makeTape(t, made{records: 20_000, seed: 1, topics: "a"}), makeTape(t, made{records: 20_000, seed: 2, topics: "b"})
	q := queue{}
	defer q.close()
	for _, tp := range []*tape.Tape{a, b} {
		if err := q.add(tp); err != nil {
			t.Fatal(err)
		}
	}
	step := func() {
		for range 100 {
			if err := q.next(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 50 {
		step() // buffers and blocks are made
	}
	if n := testing.AllocsPerRun(50, step); n > 0 {
		t.Errorf("%v allocations for 100 records", n)
	}
}

// Bodies are read by the encoding of the tape they came from.
func TestMergeEncodings(t *testing.T) {
	csv := func(columns, topics string) wire.Encoding {
		return wire.Encoding{Format: "csv", Detail: map[string]string{"columns": columns}, Topics: topics}
	}
	infos := func(names ...string) (list []tape.TopicInfo) {
		for _, n := range names {
			list = append(list, tape.TopicInfo{Topic: n})
		}
		return list
	}
	for _, c := range []struct {
		name      string
		tapes     [][]wire.Encoding
		topics    [][]tape.TopicInfo
		want      []wire.Encoding
		ambiguous int
	}{
		{"all the same", [][]wire.Encoding{{csv("x", "")}, {csv("x", "")}}, [][]tape.TopicInfo{infos("A"), infos("B")},
			[]wire.Encoding{csv("x", "")}, 0},
		{"apart by the first byte", [][]wire.Encoding{{csv("x", "")}, {csv("y", "")}}, [][]tape.TopicInfo{infos("A.1", "A.2"), infos("B.1", "B.2")},
			[]wire.Encoding{csv("x", "A."), csv("y", "B.")}, 0},
		{"one topic begins the others", [][]wire.Encoding{{csv("x", "")}, {csv("y", "")}}, [][]tape.TopicInfo{infos("ES", "NQ"), infos("ESH4", "ESM4")},
			[]wire.Encoding{csv("x", "ES"), csv("y", "ESH4"), csv("y", "ESM4"), csv("x", "NQ")}, 0},
		{"a topic on both", [][]wire.Encoding{{csv("x", "")}, {csv("y", "")}}, [][]tape.TopicInfo{infos("A", "B"), infos("B", "C")},
			[]wire.Encoding{csv("x", "A"), csv("x", "B"), csv("y", "B"), csv("y", "C")}, 1},
		{"prefixes already", [][]wire.Encoding{{csv("x", "A"), csv("y", "B")}, {csv("z", "")}}, [][]tape.TopicInfo{infos("A1", "B1"), infos("C")},
			[]wire.Encoding{csv("x", "A1"), csv("y", "B1"), csv("z", "C")}, 0},
		{"no encoding", [][]wire.Encoding{{}, {csv("z", "")}}, [][]tape.TopicInfo{infos("A"), infos("C")},
			[]wire.Encoding{csv("z", "C")}, 0},
		{"no tapes with topics", [][]wire.Encoding{{csv("x", "")}, {csv("y", "")}}, [][]tape.TopicInfo{nil, nil},
			[]wire.Encoding{csv("x", ""), csv("y", "")}, 0},
	} {
		var e encodings
		for i := range c.tapes {
			e.add(c.tapes[i], c.topics[i])
		}
		got, ambiguous := e.list()
		if diff := cmp.Diff(c.want, got); diff != "" || ambiguous != c.ambiguous {
			t.Errorf("%s: %d ambiguous, %s", c.name, ambiguous, diff)
		}
	}
}

// Whatever the topics, the longest prefix of each gives the encodings that it had.
func TestMergeEncodingsAnyTopics(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 300 {
		var (
			e    encodings
			had  = map[string]map[string]bool{}
			size = 1 + rng.IntN(4)
		)
		for i := range 3 {
			enc := wire.Encoding{Format: fmt.Sprint("f", i)}
			var topics []tape.TopicInfo
			for range rng.IntN(20) {
				topic := make([]byte, 1+rng.IntN(size))
				for k := range topic {
					topic[k] = "AB"[rng.IntN(2)]
				}
				topics = append(topics, tape.TopicInfo{Topic: string(topic)})
				if had[string(topic)] == nil {
					had[string(topic)] = map[string]bool{}
				}
				had[string(topic)][enc.Format] = true
			}
			e.add([]wire.Encoding{enc}, topics)
		}
		list, _ := e.list()
		for topic, want := range had {
			got, longest := map[string]bool{}, -1
			for _, x := range list {
				if len(x.Topics) >= longest && bytes.HasPrefix([]byte(topic), []byte(x.Topics)) {
					if len(x.Topics) > longest {
						clear(got)
					}
					longest = len(x.Topics)
					got[x.Format] = true
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s of %v: %s", topic, list, diff)
			}
		}
	}
}
