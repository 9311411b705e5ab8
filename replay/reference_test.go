package replay_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// storedTape writes a tape of small blocks and returns where it is.
func storedTape(t testing.TB, shards, records int, codec tape.Codec) *tape.Tape {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "t.tape")
	w, err := tape.Create(dir, tape.Config{Shards: shards, Codec: codec, BlockSize: 2 << 10, SyncInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	m, err := shard.NewMap(shards)
	if err != nil {
		t.Fatal(err)
	}
	next := make([]wire.Seq, shards)
	body := make([]byte, 50)
	for n := range records {
		topic := fmt.Appendf(nil, "T%02d", n*n%17)
		s := int(m.Of(topic))
		at := tape.At{Shard: s, Epoch: 1, Seq: next[s], Ordinal: wire.Ordinal(n), Send: 1}
		f := wire.Fields{Topic: topic, Body: fmt.Appendf(body[:0], "%050d", n), Event: 1, Receive: 2, TopicSeq: uint32(next[s])}
		if err := w.AppendFields(at, &f); err != nil {
			t.Fatal(err)
		}
		next[s]++
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tp.Close() })
	return tp
}

// announced is what a player of the tape says about it.
func announced(t testing.TB, tp *tape.Tape) wire.Session {
	t.Helper()
	info, err := tp.Info()
	if err != nil {
		t.Fatal(err)
	}
	at, err := tape.Place(tp.Dir())
	if err != nil {
		t.Fatal(err)
	}
	return wire.Session{Publisher: "test", Tape: info.ID.String(), ByReference: &at}
}

func openTape(id string, at wire.TapePlace) (subscriber.Referred, error) {
	return tape.OpenReferences(id, at)
}

// content is a Handler that keeps a checksum of each shard's records in order,
// and calls each with each batch.
type content struct {
	each func(b *wire.Batch)

	mu     sync.Mutex
	shards map[int]uint32
	gaps   uint64
}

func (c *content) HandleBatch(b *wire.Batch, skip uint32) error {
	if c.each != nil {
		c.each(b)
	}
	if b.Flags != 0 {
		return fmt.Errorf("batch with flags %#x", b.Flags)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shards == nil {
		c.shards = map[int]uint32{}
	}
	w, o := b.Records(), b.Ordinals()
	for w.Next() {
		sum := crc32.Update(c.shards[int(b.Shard)], crc32.IEEETable, w.Record())
		c.shards[int(b.Shard)] = crc32.Update(sum, crc32.IEEETable, fmt.Append(nil, o.Next()))
	}
	return w.Err()
}

func (c *content) HandleGap(_ int, _ wire.Epoch, from, to wire.Seq) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gaps += uint64(to - from)
}

func (*content) HandleSession(int, wire.Epoch, *wire.Session) {}
func (*content) HandleEnd(int, wire.Epoch, bool)              {}

// deck is a publisher and a player of a tape.
type deck struct {
	t      *testing.T
	pub    *publisher.Publisher
	player *replay.Player
}

func newDeck(t *testing.T, tp *tape.Tape, session wire.Session, cfg replay.Config) *deck {
	t.Helper()
	endpoints := make([]string, tp.Shards())
	for i := range endpoints {
		endpoints[i] = "tcp://127.0.0.1:*"
	}
	pub, err := publisher.New(publisher.Config{Endpoints: endpoints, Lossless: true, Session: session})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Tape, cfg.Publisher = tp, pub
	player, err := replay.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d := &deck{t, pub, player}
	t.Cleanup(d.close)
	return d
}

func (d *deck) close() {
	if d.pub == nil {
		return
	}
	if err := d.pub.Close(); err != nil {
		d.t.Error(err)
	}
	d.player.Close()
	d.pub = nil
}

// reader is a subscriber that runs.
type reader struct {
	*subscriber.Subscriber
	content *content
	done    chan error
}

func (d *deck) read(ctx context.Context, open subscriber.OpenTape, c *content) *reader {
	d.t.Helper()
	s, err := subscriber.New(subscriber.Config{Endpoints: d.pub.Endpoints(), OpenTape: open}, c)
	if err != nil {
		d.t.Fatal(err)
	}
	r := &reader{s, c, make(chan error, 1)}
	go func() { r.done <- s.Run(ctx) }()
	return r
}

// TestByReference: a reader by reference and one of bytes get the same, at one
// time and alone, and each only what it wants.
func TestByReference(t *testing.T) {
	for _, tc := range []struct {
		name   string
		shards int
		opens  []subscriber.OpenTape
	}{
		{"reference", 1, []subscriber.OpenTape{openTape}},
		{"bytes", 1, []subscriber.OpenTape{nil}},
		{"both", 1, []subscriber.OpenTape{openTape, nil}},
		{"three shards", 3, []subscriber.OpenTape{openTape, nil, openTape}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tp := storedTape(t, tc.shards, 5000, tape.CodecPlain)
			d := newDeck(t, tp, announced(t, tp), replay.Config{Wait: len(tc.opens), Passes: 3})
			var readers []*reader
			for _, open := range tc.opens {
				readers = append(readers, d.read(t.Context(), open, &content{}))
			}
			rep, err := d.player.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var first *content
			anybody := false
			for i, r := range readers {
				if err := <-r.done; err != nil {
					t.Fatal(err)
				}
				s := r.Summary()
				want := uint64(0)
				if tc.opens[i] != nil {
					want, anybody = rep.Batches, true
				}
				if !s.Complete || s.Records != 15000 || s.Referred != want || s.Fallbacks+s.Refused+s.Repeated != 0 {
					t.Errorf("reader %d: %+v, want %d batches by reference", i, s, want)
				}
				if first == nil {
					first = r.content
				}
				for shard, sum := range first.shards {
					if r.content.shards[shard] != sum {
						t.Errorf("reader %d got other records on shard %d", i, shard)
					}
				}
			}
			want := uint64(0)
			if anybody {
				want = rep.Batches
			}
			if st := d.pub.Stats(); st.Referred != want || st.Bytes == 0 {
				t.Errorf("publisher %+v, want %d batches by reference", st, want)
			}
		})
	}
}

// TestBytesWhereReferencesCannotBe: whatever is wrong with the place, the reader
// takes bytes and has everything.
func TestBytesWhereReferencesCannotBe(t *testing.T) {
	for name, tc := range map[string]struct {
		codec  tape.Codec
		change func(*wire.Session)
		cfg    replay.Config
	}{
		"the path is not there": {tape.CodecPlain, func(s *wire.Session) { s.ByReference.Path += "-gone" }, replay.Config{}},
		"another identity":      {tape.CodecPlain, func(s *wire.Session) { s.Tape = strings.Repeat("ab", 16) }, replay.Config{}},
		"another host":          {tape.CodecPlain, func(s *wire.Session) { s.ByReference.Host = "x" }, replay.Config{}},
		"no place":              {tape.CodecPlain, func(s *wire.Session) { s.ByReference = nil }, replay.Config{}},
		// The tape is there, and yet what is sent does not lie in it.
		"a compressed tape": {tape.CodecZstd, func(*wire.Session) {}, replay.Config{}},
		"a filter":          {tape.CodecPlain, func(*wire.Session) {}, replay.Config{Topics: []string{"T"}}},
		"a pace":            {tape.CodecPlain, func(*wire.Session) {}, replay.Config{Speed: 1e6}},
	} {
		t.Run(name, func(t *testing.T) {
			tp := storedTape(t, 2, 2000, tc.codec)
			session := announced(t, tp)
			tc.change(&session)
			tc.cfg.Wait = 1
			d := newDeck(t, tp, session, tc.cfg)
			r := d.read(t.Context(), openTape, &content{})
			_, err := d.player.Run(t.Context())
			if err := errors.Join(err, <-r.done); err != nil {
				t.Fatal(err)
			}
			if s := r.Summary(); !s.Complete || s.Records != 2000 || s.Referred != 0 || s.Fallbacks != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestPartsGoAsBytes: at the borders of a range records go out in batches of
// their own, which lie nowhere on the tape; readers by reference get them, too.
func TestPartsGoAsBytes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "t.tape")
	w, err := tape.Create(dir, tape.Config{Codec: tape.CodecPlain, BlockSize: 2 << 10, SyncInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 1000 {
		f := wire.Fields{Topic: []byte("T"), Body: make([]byte, 50), Event: 1, Receive: wire.Nanos(n + 1)}
		if err := w.AppendFields(tape.At{Epoch: 1, Seq: wire.Seq(n), Ordinal: wire.Ordinal(n)}, &f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	d := newDeck(t, tp, announced(t, tp), replay.Config{Wait: 1, From: 10, To: 990})
	r := d.read(t.Context(), openTape, &content{})
	rep, err := d.player.Run(t.Context())
	if err := errors.Join(err, <-r.done); err != nil {
		t.Fatal(err)
	}
	if s := r.Summary(); !s.Complete || s.Records != 980 || s.Referred == 0 || s.Referred != rep.Batches-2 {
		t.Errorf("%+v, want %d batches by reference", s, rep.Batches-2)
	}
}

// TestTapeRemovedWhilePlayed: what a reader has mapped does not go away.
func TestTapeRemovedWhilePlayed(t *testing.T) {
	tp := storedTape(t, 2, 5000, tape.CodecPlain)
	d := newDeck(t, tp, announced(t, tp), replay.Config{Wait: 1, Passes: 5})
	var once sync.Once
	r := d.read(t.Context(), openTape, &content{each: func(*wire.Batch) {
		once.Do(func() {
			if err := os.RemoveAll(tp.Dir()); err != nil {
				t.Error(err)
			}
		})
	}})
	rep, err := d.player.Run(t.Context())
	if err := errors.Join(err, <-r.done); err != nil {
		t.Fatal(err)
	}
	if s := r.Summary(); !s.Complete || s.Referred != rep.Batches || s.Fallbacks != 0 {
		t.Errorf("%+v", s)
	}
}

// losing is a tape that loses its bytes after some batches.
type losing struct {
	subscriber.Referred
	left atomic.Int64
}

func (l *losing) Bytes(at *wire.Reference, size int) []byte {
	if l.left.Add(-1) < 0 {
		return nil
	}
	return l.Referred.Bytes(at, size)
}

// TestFallBack: a reader whose references lead nowhere asks for bytes. What came
// as a reference meanwhile is missing, and it says so; what follows it gets,
// whether or not others take bytes already.
func TestFallBack(t *testing.T) {
	for _, others := range []int{0, 1} {
		tp := storedTape(t, 1, 5000, tape.CodecPlain)
		ctx, cancel := context.WithCancel(t.Context())
		d := newDeck(t, tp, announced(t, tp), replay.Config{Wait: 1 + others, Passes: -1})
		last := make(chan struct{})
		var seen atomic.Int64
		r := d.read(t.Context(), func(id string, at wire.TapePlace) (subscriber.Referred, error) {
			t, err := openTape(id, at)
			l := &losing{Referred: t}
			l.left.Store(100)
			return l, err
		}, &content{each: func(*wire.Batch) {
			if seen.Add(1) == 200 {
				close(last)
			}
		}})
		for range others {
			d.read(ctx, nil, &content{})
		}
		go func() {
			<-last // long after the reader had to fall back
			cancel()
		}()
		if _, err := d.player.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		d.pub.Stop()
		if err := <-r.done; err != nil {
			t.Fatal(err)
		}
		s := r.Summary()
		if s.Referred != 100 || s.Fallbacks != 1 || !s.Early || s.Repeated != 0 || s.Refused != 0 || s.Corrupt != 0 || s.Diverged != 0 {
			t.Errorf("%+v", s)
		}
		if s.Lost != r.content.gaps || s.Gaps > 1 || (s.Lost == 0) != (s.Gaps == 0) {
			t.Errorf("%d records lost in %d gaps, the handler saw %d", s.Lost, s.Gaps, r.content.gaps)
		}
		if st := d.pub.Stats(); st.Records != s.Records+s.Lost {
			t.Errorf("%d records sent, %d arrived, %d missing", st.Records, s.Records, s.Lost)
		}
	}
}

// TestCutTape: a segment that is cut under a reader faults in its memory. The
// reader goes on with bytes.
func TestCutTape(t *testing.T) {
	tp := storedTape(t, 1, 20000, tape.CodecPlain)
	// The reader has a copy, so that the player's tape stays whole.
	other := filepath.Join(t.TempDir(), "copy.tape")
	if err := os.CopyFS(other, os.DirFS(tp.Dir())); err != nil {
		t.Fatal(err)
	}
	open := func(id string, _ wire.TapePlace) (subscriber.Referred, error) {
		at, err := tape.Place(other)
		if err != nil {
			return nil, err
		}
		r, err := openTape(id, at)
		if err != nil {
			return nil, err
		}
		return r, os.Truncate(filepath.Join(other, "00000000.seg"), 64<<10)
	}
	d := newDeck(t, tp, announced(t, tp), replay.Config{Wait: 1})
	r := d.read(t.Context(), open, &content{})
	_, err := d.player.Run(t.Context())
	if err := errors.Join(err, <-r.done); err != nil {
		t.Fatal(err)
	}
	s := r.Summary()
	if s.Referred == 0 || s.Fallbacks != 1 || s.Records+s.Lost != 20000 || !s.Ended {
		t.Errorf("%+v", s)
	}
}

// TestComingAndGoing: readers of both kinds come and go while a tape is played;
// whatever the publisher has heard of whom at which moment, none of them misses
// a record from its first on, and none gets one twice.
func TestComingAndGoing(t *testing.T) {
	tp := storedTape(t, 1, 3000, tape.CodecPlain)
	ctx, cancel := context.WithCancel(t.Context())
	d := newDeck(t, tp, announced(t, tp), replay.Config{Wait: 2, Passes: -1})
	var wg sync.WaitGroup
	for i := range 4 {
		open := subscriber.OpenTape(openTape)
		if i%2 == 1 {
			open = nil
		}
		wg.Go(func() {
			for range 15 {
				readerCtx, leave := context.WithCancel(t.Context())
				var n atomic.Int64
				r := d.read(readerCtx, open, &content{each: func(*wire.Batch) {
					if n.Add(1) == 50 {
						leave()
					}
				}})
				if err := <-r.done; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				leave()
				s := r.Summary()
				if s.Gaps+s.Lost+s.Repeated+s.Refused+s.Corrupt+s.Diverged+s.Fallbacks != 0 || s.Batches < 50 {
					t.Errorf("reader of kind %d: %+v", i%2, s)
				}
				if open == nil && s.Referred != 0 {
					t.Errorf("a reader of bytes got %d references", s.Referred)
				}
			}
		})
	}
	go func() {
		wg.Wait()
		cancel()
	}()
	if _, err := d.player.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	d.pub.Stop()
	if st := d.pub.Stats(); st.Referred == 0 || st.Referred == st.Batches {
		t.Errorf("%+v: the test has not met both kinds", st)
	}
}

// TestAllocByReference: in steady state a batch by reference costs no allocation,
// neither where it is sent nor where it is taken.
func TestAllocByReference(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	tp := storedTape(t, 1, 5000, tape.CodecPlain)
	d := newDeck(t, tp, announced(t, tp), replay.Config{Wait: 1, Passes: 100})
	var before, after runtime.MemStats
	v := &counting{each: func(n int) {
		switch n {
		case 2000:
			runtime.ReadMemStats(&before)
		case 12000:
			runtime.ReadMemStats(&after)
		}
	}}
	s, err := subscriber.New(subscriber.Config{Endpoints: d.pub.Endpoints(), OpenTape: openTape}, v)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context()) }()
	_, err = d.player.Run(t.Context())
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	// Ten thousand batches; a few allocations are the runtime's own.
	if n := after.Mallocs - before.Mallocs; n > 500 || v.n < 12000 || s.Summary().Referred != uint64(v.n) {
		t.Errorf("%d allocations in 10,000 of %d batches", n, v.n)
	}
}

// counting is a Handler that walks and counts batches.
type counting struct {
	content
	n    int
	each func(int)
}

func (c *counting) HandleBatch(b *wire.Batch, _ uint32) error {
	c.n++
	c.each(c.n)
	w := b.Records()
	for w.Next() {
	}
	return w.Err()
}
