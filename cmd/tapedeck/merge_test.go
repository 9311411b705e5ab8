package main

import (
	"bytes"
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/tapedeck/tapedeck/feed/render"
	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// mergedRecord is what a record of a merged tape must be.
type mergedRecord struct {
	key   wire.Nanos // greatest time up to it on its tape
	input int32
	topic int32
	hash  uint64 // of all but the topic sequence
	seq   uint32
}

// TestMergeRealFiles merges the tapes of all market data by both clocks and holds
// the result against a stable sort of all their records, and the decoded bodies
// against those of the tapes they come from.
func TestMergeRealFiles(t *testing.T) {
	dir := testdata.Dir(t)
	var tapes []*tape.Tape
	args := []string{"merge", "--json", "--shards", "2"}
	for i, e := range readManifest(t, dir) {
		to := filepath.Join(t.TempDir(), fmt.Sprintf("%d.tape", i))
		mustRun(t, "import", filepath.Join(dir, filepath.FromSlash(e.File)), "-o", to, "--skip-bad")
		tp, err := tape.Open(to)
		if err != nil {
			t.Fatal(err)
		}
		defer tp.Close()
		tapes, args = append(tapes, tp), append(args, to)
	}
	for _, clock := range []tape.Clock{tape.ClockReceive, tape.ClockEvent} {
		t.Run(clock.String(), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "merged.tape")
			mustRun(t, append(slices.Clone(args), "--clock", clock.String(), "-o", out)...)
			want, topics := sortedRecords(t, tapes, clock)
			verifyTape(t, out, uint64(len(want)))
			checkMerged(t, out, tapes, want, topics)
		})
	}
}

// topicUse is a topic and the tapes that have it.
type topicUse struct {
	tapes []int
	next  uint32
}

// sortedRecords is the merge by brute force.
func sortedRecords(t *testing.T, tapes []*tape.Tape, clock tape.Clock) ([]mergedRecord, []topicUse) {
	t.Helper()
	var (
		list   []mergedRecord
		topics []topicUse
		number = map[string]int32{}
	)
	for i, tp := range tapes {
		r := tp.Records(tape.ReadConfig{})
		defer r.Close()
		for latest := wire.NanosMin; r.Next(); {
			rec := r.Record()
			n, ok := number[string(rec.Topic())]
			if !ok {
				n = int32(len(topics))
				number[string(rec.Topic())], topics = n, append(topics, topicUse{})
			}
			if u := &topics[n]; len(u.tapes) == 0 || u.tapes[len(u.tapes)-1] != i {
				u.tapes = append(u.tapes, i)
			}
			at := rec.Receive()
			if clock == tape.ClockEvent {
				at = rec.Event()
			}
			latest = max(latest, at)
			list = append(list, mergedRecord{latest, int32(i), n, hashRecord(rec), rec.TopicSeq()})
		}
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
	}
	slices.SortStableFunc(list, func(a, b mergedRecord) int { return cmp.Compare(a.key, b.key) })
	for i := range list {
		if u := &topics[list[i].topic]; len(u.tapes) > 1 {
			list[i].seq = u.next
			u.next++
		}
	}
	return list, topics
}

// hashRecord is the hash of a record without its topic sequence.
func hashRecord(r wire.Record) uint64 {
	const seqOff, seqEnd = 12, 16
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write(r[:seqOff])
	_, _ = d.Write(r[seqEnd:])
	return d.Sum64()
}

// decodeEvery is how many records lie between those whose bodies are compared.
const decodeEvery = 37

func checkMerged(t *testing.T, dir string, tapes []*tape.Tape, want []mergedRecord, topics []topicUse) {
	t.Helper()
	merged, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer merged.Close()
	all := render.NewDecoder(merged.Encodings())
	own := make([]*render.Decoder, len(tapes))
	for i, tp := range tapes {
		own[i] = render.NewDecoder(tp.Encodings())
	}
	r := merged.Records(tape.ReadConfig{})
	defer r.Close()
	decoded := 0
	for i := range want {
		w := &want[i]
		if !r.Next() {
			t.Fatalf("the tape ends after %d records of %d: %v", i, len(want), r.Err())
		}
		rec := r.Record()
		if hashRecord(rec) != w.hash || rec.TopicSeq() != w.seq {
			t.Fatalf("record %d is %s #%d, want one of tape %d, #%d", i, rec.Topic(), rec.TopicSeq(), w.input, w.seq)
		}
		if i%decodeEvery != 0 || len(topics[w.topic].tapes) > 1 {
			continue
		}
		fields, known := own[w.input].Decode(rec)
		line := render.AppendJSON(nil, rec, fields, known)
		fields, known = all.Decode(rec)
		if got := render.AppendJSON(nil, rec, fields, known); !bytes.Equal(got, line) {
			t.Fatalf("record %d reads\n%s\non its own tape\n%s", i, got, line)
		}
		decoded++
	}
	if r.Next() || r.Err() != nil || decoded == 0 {
		t.Fatalf("more than %d records, or %v; %d decoded", len(want), r.Err(), decoded)
	}
}
