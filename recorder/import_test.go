package recorder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// script is a source that gives what it is told: a record for a *wire.Fields, an
// error for an error, and then io.EOF.
type script struct {
	steps []any
	at    int
}

func (s *script) Next() (*wire.Fields, error) {
	if s.at == len(s.steps) {
		return nil, io.EOF
	}
	step := s.steps[s.at]
	s.at++
	if f, ok := step.(*wire.Fields); ok {
		return f, nil
	}
	return nil, step.(error)
}

func record(topic string, receive wire.Nanos, body string) *wire.Fields {
	return &wire.Fields{Topic: []byte(topic), Body: []byte(body), Event: receive - 1, Receive: receive, Kind: wire.KindTrade}
}

func create(t testing.TB, cfg tape.Config) (string, *tape.Writer) {
	t.Helper()
	dir := t.TempDir() + "/t.tape"
	cfg.SyncInterval = -1
	w, err := tape.Create(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return dir, w
}

// contents are the records of a tape in its one order, with their places.
type content struct {
	at     tape.At
	record string
}

func contents(t testing.TB, dir string) []content {
	t.Helper()
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	r := tp.Records(tape.ReadConfig{})
	defer r.Close()
	var list []content
	for r.Next() {
		list = append(list, content{r.At(), string(r.Record())})
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestImportNumbers: an import gives each record its shard, its place in the
// shard, in its topic and in the whole, in the order of the source.
func TestImportNumbers(t *testing.T) {
	const n, shards = 500, 3
	var steps []any
	for i := range n {
		steps = append(steps, record(fmt.Sprintf("T%d", i*i%11), wire.Nanos(1000+i), fmt.Sprint(i)))
	}
	dir, w := create(t, tape.Config{Shards: shards})
	rep, err := Import(t.Context(), w, &script{steps: steps}, ImportConfig{Shards: shards, Epoch: 77})
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	if rep.Records != n || rep.OutOfOrder != 0 || rep.Bad != 0 {
		t.Errorf("report %+v", rep)
	}
	m, err := shard.NewMap(shards)
	if err != nil {
		t.Fatal(err)
	}
	next, topics := map[int]wire.Seq{}, map[string]uint32{}
	for i, c := range contents(t, dir) {
		r := wire.Record(c.record)
		topic := string(r.Topic())
		s := int(m.Of(r.Topic()))
		want := tape.At{Shard: s, Epoch: 77, Seq: next[s], Ordinal: wire.Ordinal(i), Send: c.at.Send}
		if c.at != want || r.TopicSeq() != topics[topic] || string(r.Body()) != fmt.Sprint(i) {
			t.Fatalf("record %d is %q at %+v, topic sequence %d; want %+v and %d", i, r.Body(), c.at, r.TopicSeq(), want, topics[topic])
		}
		next[s]++
		topics[topic]++
	}
	if rep.Topics != len(topics) {
		t.Errorf("%d topics, want %d", rep.Topics, len(topics))
	}
}

// TestImportOutOfOrder: records keep the place they have in the source, and those
// received before the one before them are counted.
func TestImportOutOfOrder(t *testing.T) {
	for _, tc := range []struct {
		times []wire.Nanos
		count uint64
		first uint64
	}{
		{[]wire.Nanos{1, 2, 2, 3}, 0, 0},
		{[]wire.Nanos{5, 3, 4, 2}, 2, 1},
		// One time far ahead is one record out of place, not all behind it.
		{[]wire.Nanos{1, 1_000_000, 2, 3, 4}, 1, 2},
		{[]wire.Nanos{-1, -2}, 1, 1},
	} {
		var steps []any
		for i, at := range tc.times {
			steps = append(steps, record("T", at, fmt.Sprint(i)))
		}
		dir, w := create(t, tape.Config{})
		rep, err := Import(t.Context(), w, &script{steps: steps}, ImportConfig{Shards: 1, Epoch: 1})
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		if rep.OutOfOrder != tc.count || rep.FirstOutOfOrder != tc.first {
			t.Errorf("%v: %d out of order, first %d; want %d, %d", tc.times, rep.OutOfOrder, rep.FirstOutOfOrder, tc.count, tc.first)
		}
		for i, c := range contents(t, dir) {
			if body := string(wire.Record(c.record).Body()); body != fmt.Sprint(i) {
				t.Errorf("%v: record %d is %s", tc.times, i, body)
			}
		}
	}
}

// TestImportBadRecords: a bad place ends an import, or is left out and counted
// without leaving a hole in the numbers.
func TestImportBadRecords(t *testing.T) {
	place := errors.New("line 2: no time")
	steps := []any{record("T", 1, "0"), &BadRecord{place}, record("T", 2, "1")}
	_, w := create(t, tape.Config{})
	rep, err := Import(t.Context(), w, &script{steps: steps}, ImportConfig{Shards: 1, Epoch: 1})
	if !errors.Is(err, place) || rep.Records != 1 {
		t.Errorf("%v, report %+v", err, rep)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		steps = append(steps, &BadRecord{place})
	}
	dir, w := create(t, tape.Config{})
	rep, err = Import(t.Context(), w, &script{steps: steps}, ImportConfig{Shards: 1, Epoch: 1, SkipBad: true})
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	if rep.Records != 2 || rep.Bad != 21 || len(rep.BadFirst) != badKept {
		t.Errorf("report %+v", rep)
	}
	if got := contents(t, dir); len(got) != 2 || got[1].at.Seq != 1 || got[1].at.Ordinal != 1 || wire.Record(got[1].record).TopicSeq() != 1 {
		t.Errorf("tape has %+v", got)
	}
}

// TestImportErrors: the source's and the tape's errors end it, and the end of the
// context does.
func TestImportErrors(t *testing.T) {
	broken := errors.New("disk on fire")
	_, w := create(t, tape.Config{})
	defer w.Abort()
	if _, err := Import(t.Context(), w, &script{steps: []any{broken}}, ImportConfig{Shards: 1, Epoch: 1}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := Import(t.Context(), w, &script{steps: []any{record("", 1, "")}}, ImportConfig{Shards: 1, Epoch: 1}); !errors.Is(err, wire.ErrTopicSize) {
		t.Errorf("no topic: got %v", err)
	}
	if _, err := Import(t.Context(), w, &script{}, ImportConfig{Shards: 0}); err == nil {
		t.Error("0 shards: accepted")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	if _, err := Import(ctx, w, &script{steps: []any{record("T", 1, "")}}, ImportConfig{Shards: 1, Epoch: 1}); !errors.Is(err, broken) {
		t.Errorf("context: got %v", err)
	}
}

// cycle gives the same few records for ever.
type cycle struct {
	records []*wire.Fields
	left    int
}

func (c *cycle) Next() (*wire.Fields, error) {
	if c.left == 0 {
		return nil, io.EOF
	}
	c.left--
	return c.records[c.left%len(c.records)], nil
}

// TestAllocImport: an import costs no allocation a record.
func TestAllocImport(t *testing.T) {
	const n = 50_000
	src := &cycle{}
	for i := range 100 {
		src.records = append(src.records, record(fmt.Sprintf("T%d", i), 1, "some bytes"))
	}
	_, w := create(t, tape.Config{})
	defer w.Abort()
	epoch := wire.Epoch(0)
	allocs := testing.AllocsPerRun(2, func() {
		src.left = n
		epoch++
		if _, err := Import(t.Context(), w, src, ImportConfig{Shards: 1, Epoch: epoch}); err != nil {
			t.Fatal(err)
		}
	})
	if allocs/n > 0.02 {
		t.Errorf("%v allocations for %d records", allocs, n)
	}
}
