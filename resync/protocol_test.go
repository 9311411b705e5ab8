package resync

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/wire"
)

// example is one message of each command, with every field set.
func example(t testing.TB) map[Command][][]byte {
	t.Helper()
	find, err := AppendFind(nil, &FindRequest{ID: 2, Time: -5, Clock: "event", Deadline: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	snapHead, prefixes, err := AppendSnapshot(nil, nil, &SnapshotRequest{ID: 3, Credit: 1 << 20, Deadline: 3 * time.Second, ChunkBytes: 4096,
		Query: Query{Prefixes: []string{"GLBX.", "", "X"}, At: 1_700_000_000_000_000_000, Clock: "receive", Epoch: 9}})
	if err != nil {
		t.Fatal(err)
	}
	b := batch(t, 7, 1, 100, 3)
	chunk := make([]byte, ChunkHeadSize)
	PutChunkHead(chunk, 1, &b.Header)
	places := AppendPlace(nil, Span{Epoch: 7, Shard: 1, From: 41})
	places = AppendPlace(places, Span{Epoch: 7, Shard: 0, From: 12})
	places = AppendPlace(places, Span{Epoch: 6, Shard: 1, From: 99})
	spansHead, spans := AppendSpans(nil, nil, 2, []Span{{7, 0, 10, 20}, {8, 1, 0, 0}})
	endHead, positions := AppendEnd(nil, nil, &End{ID: 1, Digest: Digest{5, 600, 0x0123456789abcdef}, Next: 105, Ended: true,
		Positions: []Span{{Epoch: 7, Shard: 1, To: 105}}})
	errHead, text := AppendError(nil, nil, &RequestError{ID: 1, Code: CodeGone, Advice: AdviceSkip, Wait: 20 * time.Millisecond,
		Next: 100, Skip: 200, Text: "removed by retention"})
	return map[Command][][]byte{
		CommandRefill: {AppendRefill(nil, &RefillRequest{ID: 1, Span: Span{7, 1, 100, Open}, Credit: 8 << 20,
			Deadline: 5 * time.Second, ChunkBytes: 1 << 18})},
		CommandFind:     {find},
		CommandSnapshot: {snapHead, prefixes},
		CommandCredit:   {AppendCredit(nil, 1, 1<<20)},
		CommandCancel:   {AppendCancel(nil, 1)},
		CommandPing:     {AppendPing(nil, 1)},
		CommandChunk:    {chunk, b.Payload, b.Order},
		CommandEntries:  {AppendEntriesHead(nil, 3, b.Payload, places), b.Payload, places},
		CommandSpans:    {spansHead, spans},
		CommandEnd:      {endHead, positions},
		CommandError:    {errHead, text},
		CommandPong:     {AppendPong(nil, &Pong{ID: 1, Server: 77, Has: true})},
	}
}

// batch is count records of a shard of two, from sequence first on, with an
// order frame.
func batch(t testing.TB, epoch wire.Epoch, shard uint16, first wire.Seq, count int) wire.Batch {
	t.Helper()
	b := wire.Batch{Header: wire.Header{Epoch: epoch, Shard: shard, Shards: 2, FirstSeq: first, FirstOrdinal: wire.Ordinal(first) * 2, Count: uint32(count)}}
	for i := range count {
		var err error
		b.Payload, err = wire.AppendRecord(b.Payload, &wire.Fields{Topic: []byte("T"), Body: []byte{byte(i)}, Event: wire.Nanos(first) + wire.Nanos(i)})
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			b.Order = wire.AppendOrder(b.Order, wire.Ordinal(2*i), wire.Ordinal(2*i+2))
		}
	}
	b.PayloadSize, b.OrderSize, b.CRC = uint32(len(b.Payload)), uint32(len(b.Order)), wire.CRC(b.Payload, b.Order)
	return b
}

// again parses a message and encodes what it got.
func again(frames [][]byte) ([][]byte, error) {
	h, err := ParseHead(frames[0], len(frames))
	if err != nil {
		return nil, err
	}
	frame := func(i int) []byte {
		if i < len(frames) {
			return frames[i]
		}
		return nil
	}
	switch h.Command {
	case CommandRefill:
		r, err := ParseRefill(frames[0])
		return [][]byte{AppendRefill(nil, &r)}, err
	case CommandFind:
		r, err := ParseFind(frames[0])
		if err != nil {
			return nil, err
		}
		b, err := AppendFind(nil, &r)
		return [][]byte{b}, err
	case CommandSnapshot:
		r, err := ParseSnapshot(frames[0], frames[1])
		if err != nil {
			return nil, err
		}
		a, b, err := AppendSnapshot(nil, nil, &r)
		return [][]byte{a, b}, err
	case CommandCredit:
		id, n, err := ParseCredit(frames[0])
		return [][]byte{AppendCredit(nil, id, n)}, err
	case CommandCancel:
		return [][]byte{AppendCancel(nil, h.ID)}, nil
	case CommandPing:
		return [][]byte{AppendPing(nil, h.ID)}, nil
	case CommandChunk:
		id, b, err := ParseChunk(frames[0], frames[1], frame(2))
		head := make([]byte, ChunkHeadSize)
		PutChunkHead(head, id, &b.Header)
		out := [][]byte{head, b.Payload, b.Order}
		return out[:len(frames)], err
	case CommandEntries:
		e, err := ParseEntries(frames[0], frames[1], frames[2])
		var payload, places []byte
		for w := e; ; {
			r, at, ok := w.Next()
			if !ok {
				break
			}
			payload, places = append(payload, r...), AppendPlace(places, at)
		}
		return [][]byte{AppendEntriesHead(nil, e.ID, payload, places), payload, places}, err
	case CommandSpans:
		id, spans, err := ParseSpans(frames[0], frames[1])
		a, b := AppendSpans(nil, nil, id, spans)
		return [][]byte{a, b}, err
	case CommandEnd:
		e, err := ParseEnd(frames[0], frames[1])
		a, b := AppendEnd(nil, nil, &e)
		return [][]byte{a, b}, err
	case CommandError:
		e, err := ParseError(frames[0], frames[1])
		a, b := AppendError(nil, nil, &e)
		return [][]byte{a, b}, err
	case CommandPong:
		p, err := ParsePong(frames[0])
		return [][]byte{AppendPong(nil, &p)}, err
	}
	return nil, errors.New("a command without a test")
}

func TestRoundTrip(t *testing.T) {
	messages := example(t)
	for c := range shapes {
		m, ok := messages[c]
		if !ok {
			t.Errorf("no example of %v", c)
			continue
		}
		got, err := again(m)
		if err != nil {
			t.Errorf("%v: %v", c, err)
		} else if diff := cmp.Diff(m, got, cmp.Comparer(bytes.Equal)); diff != "" {
			t.Errorf("%v changed (-want +got):\n%s", c, diff)
		}
	}
}

func TestVersionIsToldWithItsID(t *testing.T) {
	b := AppendPing(nil, 42)
	b[headVersionOff] = 2
	h, err := ParseHead(b, 1)
	if !errors.Is(err, ErrVersion) || h.ID != 42 {
		t.Errorf("got id %d, %v", h.ID, err)
	}
	if h, err = ParseHead(b[:6], 1); !errors.Is(err, ErrVersion) || h.ID != 0 {
		t.Errorf("short frame: got id %d, %v", h.ID, err)
	}
}

func TestRequestErrorIsWhatTheSourceSaid(t *testing.T) {
	for code, want := range map[Code]error{CodeGone: ErrGone, CodeNotYet: ErrNotYet, CodeUnknownEpoch: ErrUnknownEpoch} {
		if err := error(&RequestError{Code: code}); !errors.Is(err, want) {
			t.Errorf("%v is not %v", err, want)
		}
	}
	if err := error(&RequestError{Code: CodeBusy}); errors.Is(err, ErrGone) {
		t.Error("busy is gone")
	}
}

func TestAppendRefusesWhatCannotBeSaid(t *testing.T) {
	if _, err := AppendFind(nil, &FindRequest{Clock: "wall"}); err == nil {
		t.Error("a clock that does not exist was taken")
	}
	if _, err := AppendFind(nil, &FindRequest{}); err == nil {
		t.Error("a find without a clock was taken")
	}
	for _, q := range []Query{
		{At: 1}, {Clock: "wall"}, {Prefixes: make([]string, PrefixesMax+1)}, {Prefixes: []string{string(make([]byte, 256))}},
	} {
		if _, _, err := AppendSnapshot(nil, nil, &SnapshotRequest{Query: q}); err == nil {
			t.Errorf("%d prefixes, at %d by %q: taken", len(q.Prefixes), q.At, q.Clock)
		}
	}
}

func TestAllocChunk(t *testing.T) {
	b := batch(t, 7, 1, 100, 100)
	head := make([]byte, ChunkHeadSize)
	var d Digest
	allocs := testing.AllocsPerRun(200, func() {
		PutChunkHead(head, 1, &b.Header)
		_, got, err := ParseChunk(head, b.Payload, b.Order)
		if err != nil {
			t.Fatal(err)
		}
		d.Add(got.Count, got.CRC, len(got.Payload)+len(got.Order))
	})
	if allocs != 0 {
		t.Errorf("%v allocations a chunk, want 0", allocs)
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range example(f) {
		frames := [FramesMax][]byte{}
		copy(frames[:], m)
		f.Add(frames[0], frames[1], frames[2], uint8(len(m)-1))
	}
	f.Fuzz(func(t *testing.T, a, b, c []byte, n uint8) {
		frames := [][]byte{a, b, c}[:1+int(n)%FramesMax]
		got, err := again(frames)
		if err != nil {
			return
		}
		// A code or advice that is not known is kept, and so is everything else.
		if diff := cmp.Diff(frames, got, cmp.Comparer(bytes.Equal)); diff != "" {
			t.Errorf("changed (-want +got):\n%s", diff)
		}
	})
}
