package lvc

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// follower keeps the values that a Watcher is told.
type follower struct {
	t       *testing.T
	version uint64
	values  map[string]string
}

func (f *follower) HandleChange(version uint64, topic []byte, h *wire.Plain, body []byte) {
	if f.version++; version != f.version {
		f.t.Errorf("version %d, want %d", version, f.version)
	}
	if h.Kind == wire.KindDelete {
		delete(f.values, string(topic))
	} else {
		f.values[string(topic)] = string(body)
	}
}

func collect(t *testing.T, s *Snapshot) map[string]string {
	t.Helper()
	m := map[string]string{}
	for r, from, ok := s.Next(); ok; r, from, ok = s.Next() {
		m[string(r.Topic())] = string(r.Body())
		if from.Epoch == 0 || from.Shards == 0 || r.Event() != 5 || r.Receive() != 9 {
			t.Errorf("%s is of %+v", r.Topic(), from)
		}
	}
	if s.Err() != nil || uint64(len(m)) != s.Entries() {
		t.Errorf("%d records, want %d: %v", len(m), s.Entries(), s.Err())
	}
	s.Close()
	s.Close()
	return m
}

// TestWatcher: a snapshot and the changes after its version are what the table
// comes to.
func TestWatcher(t *testing.T) {
	w := &follower{t: t, values: map[string]string{}}
	p, s := open(t, Config{Watcher: w, MaxBytes: 1 << 20}), newSource()
	for i := range 1000 {
		s.add(fmt.Sprintf("T.%d", i), wire.KindQuote, "old")
	}
	s.send(t, p)
	snap, part := p.Snapshot(), p.Snapshot("T.1", "T.22", "T.11")
	if snap.Version() != 1000 || snap.Positions()[0] != (Position{Epoch: 7, Next: 1000}) {
		t.Errorf("version %d, %+v", snap.Version(), snap.Positions())
	}
	for i := range 500 {
		if i%3 == 0 {
			s.add(fmt.Sprintf("T.%d", i), wire.KindDelete, "")
		} else {
			s.add(fmt.Sprintf("T.%d", i), wire.KindQuote, "new")
		}
	}
	s.add("T.1", wire.KindQuote, string(make([]byte, 2<<20))) // does not fit: no value is left
	s.send(t, p)
	if m := collect(t, snap); len(m) != 1000 || m["T.0"] != "old" || m["T.1"] != "old" {
		t.Errorf("the snapshot has %d values", len(m))
	}
	if m := collect(t, part); len(m) != 111+11 {
		t.Errorf("a part has %d values", len(m))
	}
	if m := collect(t, p.Snapshot()); !maps.Equal(m, w.values) || m["T.1"] != "" {
		t.Errorf("the table has %d values, who watched it %d", len(m), len(w.values))
	}
}

// TestWarm: values of the past are there from the start, until the stream brings
// newer ones.
// TestPartial: who subscribes to a proxy that has not had all of the stream is told
// that values may be missing.
func TestPartial(t *testing.T) {
	warm := []Position{{Shard: 0, Epoch: 7, Next: 5}}
	for _, tc := range []struct {
		name    string
		cfg     Config
		first   wire.Seq
		gap     bool
		next    bool // another epoch, from its start
		partial bool
	}{
		{"from the start", Config{}, 0, false, false, false},
		{"in the middle", Config{}, 5, false, false, true},
		{"where the warm values end", Config{WarmTo: warm}, 5, false, false, false},
		{"behind a gap", Config{}, 0, true, false, true},
		{"warm, behind a gap", Config{WarmTo: warm}, 5, true, false, true},
		{"in the middle, then another epoch", Config{}, 5, true, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, s, join := open(t, tc.cfg), newSource(), clients(t)
			s.epoch, s.next = 7, tc.first
			if tc.gap {
				p.HandleGap(0, 7, tc.first, tc.first+3)
				s.next += 3
			}
			s.one(t, p, "A", "a")
			if tc.next {
				s.epoch, s.next = 8, 0
				s.one(t, p, "A", "a")
			}
			for _, topic := range []string{"A", "none"} {
				for _, m := range join(p, topic).answer() {
					if got := m.h.Flags&wire.PlainIncomplete != 0; got != tc.partial {
						t.Errorf("the answer to %q says incomplete: %v", topic, got)
					}
				}
			}
			if st := p.Stats(); st.Partial != tc.partial {
				t.Errorf("%+v", st)
			}
		})
	}
}

func TestWarm(t *testing.T) {
	var records []wire.Record
	for _, f := range []wire.Fields{
		{Topic: []byte("A"), Body: []byte("old"), Kind: wire.KindQuote, TopicSeq: 3},
		{Topic: []byte("B"), Body: []byte("older"), Kind: wire.KindQuote, TopicSeq: 4},
		{Topic: []byte("C"), Kind: wire.KindDelete},
	} {
		r, err := wire.AppendRecord(nil, &f)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	p, s, join := open(t, Config{Warm: func(yield func(wire.Record, Origin) bool) {
		for i, r := range records {
			if !yield(r, Origin{Epoch: 5, Seq: wire.Seq(i), Shard: 1, Shards: 4}) {
				return
			}
		}
	}}), newSource(), clients(t)
	c := join(p, "")
	want := wire.Plain{
		Flags: wire.PlainSnapshot | wire.PlainLast, Kind: wire.KindQuote, Epoch: 5, Seq: 1, Shard: 1, Shards: 4, TopicSeq: 4, Place: 1,
	}
	if m := c.answer(); len(m) != 2 || m["A"].body != "old" || m["B"].h != want {
		t.Errorf("got %v", m)
	}
	s.one(t, p, "B", "new")
	c.live("B=new")
	// Another place of the stream takes them away like all others.
	s.epoch, s.next = 8, 0
	p.HandleSession(0, 8, &wire.Session{Start: &wire.SessionStart{Snapshot: true}})
	s.one(t, p, "D", "first")
	join(p, "").answers(map[string]string{"D": "first"})
}

// TestBatchAlloc: a batch is taken in and sent on without an allocation, whatever is
// subscribed to.
func TestBatchAlloc(t *testing.T) {
	p, s := open(t, Config{}), newSource()
	var readers []*rawClient
	for _, filters := range [][]string{{""}, {"T.1"}, {"T.1", "T.2", "U"}} {
		c := dial(t, p, filters...)
		readers = append(readers, c)
		go func() {
			b := make([]byte, 1<<16)
			for {
				if _, err := c.conn.Read(b); err != nil {
					return
				}
			}
		}()
	}
	await(t, "all have joined", func() bool { return p.Stats().Subscriptions == 5 })
	for i := range 500 {
		s.add(fmt.Sprintf("T.%d", i%100), wire.KindQuote, "some body")
	}
	b := s.batch(0)
	allocs := testing.AllocsPerRun(200, func() {
		if err := p.HandleBatch(b, 0); err != nil {
			t.Fatal(err)
		}
		b.FirstSeq += 500
	})
	// Pools may be emptied at any time, so a few are no fault; one per record is.
	if allocs > 20 {
		t.Errorf("%v allocations for a batch of 500 records", allocs)
	}
	for _, c := range readers {
		_ = c.conn.Close()
	}
}

// TestMulticast: the plain stream goes out to a group where libzmq can.
func TestMulticast(t *testing.T) {
	if !zsock.Has("pgm") {
		t.Skip("libzmq here has no pgm")
	}
	endpoint := fmt.Sprintf("epgm://127.0.0.1;239.192.7.7:%d", 20000+os.Getpid()%20000)
	p, err := New(Config{Shards: 1, Plain: []string{endpoint}})
	if err != nil {
		t.Skipf("no multicast here: %v", err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	defer ctx.Close()
	sub, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{RecvTimeout: time.Millisecond, MulticastRate: 1e9})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if err := errors.Join(sub.Connect(endpoint), sub.Subscribe("A")); err != nil {
		t.Fatal(err)
	}
	// Who listens has the stream from some record on, and then every one.
	s, next := newSource(), wire.Seq(0)
	for heard := 0; heard < 100; {
		if s.one(t, p, "A", "body"); s.next > 500 && heard == 0 {
			t.Skip("multicast goes nowhere here")
		}
		frames, err := sub.RecvFrames()
		if errors.Is(err, zsock.ErrAgain) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		list, err := parse(frames)
		if err != nil || len(list) != 1 || heard > 0 && list[0].h.Seq != next {
			t.Fatalf("got %v, %v, want sequence %d", list, err, next)
		}
		heard, next = heard+1, list[0].h.Seq+1
	}
	if st := p.Stats(); st.Readers != 0 || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
}
