package bench

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// TestOnce: two connections that bring the same sequences, each in order and with pieces
// left out, are one stream without repeats; what it says is what a set says.
func TestOnce(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var o once
		have := map[wire.Seq]bool{}
		at := [2]wire.Seq{}
		const end = 400
		for at[0] < end || at[1] < end {
			i := r.IntN(2)
			if r.IntN(20) == 0 {
				at[i] += wire.Seq(r.IntN(30)) // it misses some
			}
			if r.IntN(40) == 0 {
				at[i] -= min(at[i], wire.Seq(r.IntN(50))) // and sends some again
			}
			for range r.IntN(30) {
				if got := o.take(at[i]); got == have[at[i]] {
					t.Fatalf("seed %d: sequence %d is new: %v", seed, at[i], got)
				}
				have[at[i]] = true
				at[i]++
			}
		}
		for seq := range o.next {
			if !have[seq] {
				t.Fatalf("seed %d: sequence %d lies before the first hole, and never came", seed, seq)
			}
		}
		if have[o.next] {
			t.Fatalf("seed %d: %d is no hole", seed, o.next)
		}
		count, last := int(o.next), o.next
		for _, s := range o.ahead {
			if s.from <= last || s.to <= s.from {
				t.Fatalf("seed %d: next %d, ahead %v", seed, o.next, o.ahead)
			}
			last = s.to
			count += int(s.to - s.from)
		}
		if count != len(have) {
			t.Fatalf("seed %d: %d sequences, want %d", seed, count, len(have))
		}
	}
}

// plainEntry is one record as it travels: three frames of ZMTP.
func plainEntry(dst []byte, topic string, h *wire.Plain, body string, more bool) []byte {
	for i, f := range [][]byte{[]byte(topic), wire.AppendPlain(nil, h), []byte(body)} {
		flags := byte(0)
		if i < 2 || more {
			flags = 1
		}
		if len(f) > 255 {
			dst = append(dst, flags|2, 0, 0, 0, 0, 0, 0, byte(len(f)>>8), byte(len(f)))
		} else {
			dst = append(dst, flags, byte(len(f)))
		}
		dst = append(dst, f...)
	}
	return dst
}

// TestFailoverReader: what is missing, comes twice, is handed on twice or is something
// else is told apart, and a kill is measured by the first record that was due behind it.
func TestFailoverReader(t *testing.T) {
	const topics = 3
	at := func(seq int) (string, *wire.Plain) {
		return benchTopic(seq % topics), &wire.Plain{Epoch: 7, Seq: wire.Seq(seq), TopicSeq: uint32(seq / topics), Event: wire.Nanos(1000 + seq), Shards: 1, Kind: wire.KindQuote}
	}
	type step func(r *failoverReader)
	take := func(topic string, h *wire.Plain, now int64) step {
		return func(r *failoverReader) {
			if err := r.message([]byte(topic), wire.AppendPlain(nil, h), []byte("{}"), now); err != nil {
				t.Error(err)
			}
		}
	}
	seqs := func(all ...int) step {
		return func(r *failoverReader) {
			for _, s := range all {
				topic, h := at(s)
				take(topic, h, int64(5000+s))(r)
			}
		}
	}
	other := func(change func(h *wire.Plain)) step {
		topic, h := at(4)
		change(h)
		return take(topic, h, 1)
	}
	for name, tc := range map[string]struct {
		steps        []step
		sent         uint64
		want         failoverTally
		first, whole int64
	}{
		"whole":       {[]step{seqs(0, 1, 2, 3)}, 4, failoverTally{Records: 4}, 0, 0},
		"twice":       {[]step{seqs(0, 1, 2, 1, 2, 3)}, 4, failoverTally{Records: 4, CameTwice: 2}, 0, 0},
		"ahead":       {[]step{seqs(0, 3, 4, 1, 2, 3, 4, 5)}, 6, failoverTally{Records: 6, CameTwice: 2, Pieces: 1}, 0, 0},
		"hole":        {[]step{seqs(0, 1, 3)}, 4, failoverTally{Records: 3, Missing: 1, Pieces: 1}, 0, 0},
		"end missing": {[]step{seqs(0, 1)}, 4, failoverTally{Records: 2, Missing: 2}, 0, 0},
		"other epoch": {[]step{seqs(0), other(func(h *wire.Plain) { h.Epoch = 8 })}, 1, failoverTally{Records: 1, Foreign: 1}, 0, 0},
		"other topic": {[]step{other(func(h *wire.Plain) { h.TopicSeq++ })}, 0, failoverTally{Wrong: 1, Pieces: 1}, 0, 0},
		"again under another sequence": {[]step{seqs(0, 1, 2, 3), other(func(h *wire.Plain) { h.TopicSeq-- })}, 4,
			failoverTally{Records: 4, Repeated: 1}, 0, 0},
		"last value": {[]step{seqs(0), other(func(h *wire.Plain) { h.Flags = wire.PlainSnapshot })}, 1, failoverTally{Records: 1, Values: 1}, 0, 0},
		"notice": {[]step{take(pairNotices, &wire.Plain{Kind: wire.KindNotice}, 1), take("TPDK!heartbeat", &wire.Plain{Kind: wire.KindNotice}, 1)}, 0,
			failoverTally{Notices: 1}, 0, 0},
		"killed": {[]step{seqs(0, 1), func(r *failoverReader) { r.await(failoverNews{Killed: 4000, Dead: 1003 - 100}) }, seqs(2, 3, 5, 4, 6)}, 7,
			failoverTally{Records: 7, Pieces: 1}, 1005, 1004},
	} {
		came := make(chan struct{}, 1)
		r := newFailoverReader(topics, 100, came)
		for _, s := range tc.steps {
			s(r)
		}
		got, loss := r.end(tc.sent)
		if got.Missing = loss.Missing; got != tc.want || r.first != tc.first || r.whole != tc.whole || (len(came) == 1) != (tc.first != 0) {
			t.Errorf("%s: %+v, first %d, whole %d, want %+v, %d, %d", name, got, r.first, r.whole, tc.want, tc.first, tc.whole)
		}
	}
}

// TestFailoverReaderAlloc: a record takes no memory, but for the set of those that were
// seen.
func TestFailoverReaderAlloc(t *testing.T) {
	r := newFailoverReader(10, 0, nil)
	r.seen.words = make([]uint64, 1<<16)
	topics := make([][]byte, 10)
	for i := range topics {
		topics[i] = []byte(benchTopic(i))
	}
	h := wire.Plain{Epoch: 7, Shards: 1, Kind: wire.KindQuote}
	header := wire.AppendPlain(nil, &h)
	if allocs := testing.AllocsPerRun(1000, func() {
		now := r.begin()
		for range 100 {
			h.TopicSeq = uint32(h.Seq / 10)
			wire.PutPlain(header, &h)
			if err := r.message(topics[h.Seq%10], header, nil, now); err != nil {
				t.Fatal(err)
			}
			h.Seq++
		}
	}); allocs != 0 || r.tally.Records != uint64(h.Seq) {
		t.Errorf("%v allocations, %+v", allocs, r.tally)
	}
}

// TestSubConn: entries are handed on as they were sent, wherever reads end.
func TestSubConn(t *testing.T) {
	var stream []byte
	var want []string
	for i := range 40 {
		topic := fmt.Sprint("topic ", i)
		want = append(want, topic)
		stream = plainEntry(stream, topic, &wire.Plain{Kind: wire.KindNotice}, string(bytes.Repeat([]byte{'b'}, i*i)), i%3 == 0)
		if i%5 == 4 {
			stream = append(stream, 4, 5, 4, 'P', 'I', 'N', 'G')
		}
	}
	for _, piece := range []int{1, 7, 100, 1 << 20} {
		var got []string
		c := subConn{
			begin: func() int64 { return 5 }, end: func() {},
			entry: func(topic, header, _ []byte, now int64) error {
				if _, err := wire.ParsePlain(header); err != nil || now != 5 {
					t.Fatal(err, now)
				}
				got = append(got, string(topic))
				return nil
			},
		}
		var waiting []byte
		for rest := stream; len(rest) > 0; {
			n := min(piece, len(rest))
			waiting = append(waiting, rest[:n]...)
			rest = rest[n:]
			left, err := c.take(waiting)
			if err != nil {
				t.Fatal(err)
			}
			waiting = slices.Clone(left)
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pieces of %d: %q", piece, got)
		}
	}
	wrong := errors.New("wrong")
	c := subConn{begin: func() int64 { return 0 }, end: func() {}, entry: func(_, _, _ []byte, _ int64) error { return wrong }}
	if _, err := c.take(stream); !errors.Is(err, wrong) {
		t.Errorf("an entry that is wrong: %v", err)
	}
}

// TestGreetAsSub: who does not speak ZMTP, or wants keys, is refused.
func TestGreetAsSub(t *testing.T) {
	ready := []byte("\x04\x06\x05READY")
	for name, tc := range map[string]struct {
		theirs []byte
		good   bool
	}{
		"good":        {append(slices.Concat([]byte{0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1}, make([]byte, 52)), ready...), true},
		"old":         {append(slices.Concat([]byte{0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 1, 1}, make([]byte, 52)), ready...), false},
		"no greeting": {append(make([]byte, 64), ready...), false},
		"short":       {[]byte{0xff}, false},
	} {
		ours, theirs := net.Pipe()
		go func() {
			_ = theirs.SetDeadline(time.Now().Add(time.Minute))
			_, _ = theirs.Read(make([]byte, 1024))
			_, _ = theirs.Write(tc.theirs)
			_ = theirs.Close()
		}()
		if err := greetAsSub(ours, ours); (err == nil) != tc.good {
			t.Errorf("%s: %v", name, err)
		}
		_ = ours.Close()
	}
}

// TestFixedEndpoints: all differ, and are free.
func TestFixedEndpoints(t *testing.T) {
	all, err := fixedEndpoints(20)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != 20 {
		t.Error(all)
	}
}

func TestFailoverConfig(t *testing.T) {
	program := []string{"tapedeck"}
	for _, bad := range []FailoverConfig{
		{}, {Program: program, Parts: []string{"nonsense"}}, {Program: program, Kills: -1}, {Program: program, Readers: 3, Libzmq: 4},
		{Program: program, Rate: 10, Tick: 20}, {Program: program, Size: 7}, {Program: program, Heartbeats: []time.Duration{-1}},
	} {
		if _, err := Failover(t.Context(), Env{}, bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}
