package lvc

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// track holds one client's stream: snapshot first, then live records with each
// topic's sequence next.
type track struct {
	filter string
	next   map[string]uint32
	joined bool
	last   map[string]string
}

// take takes a message in and reports whether it is the one that ends the test.
func (k *track) take(list []got) (end bool, err error) {
	if list[0].topic == endOfTest {
		return true, nil
	}
	if !k.joined {
		k.joined = true
		for i, g := range list {
			if g.h.Flags&wire.PlainSnapshot == 0 || g.h.Flags&wire.PlainLast != 0 != (i == len(list)-1) {
				return false, fmt.Errorf("the first message is no answer: %v", g)
			}
			if g.h.Flags&wire.PlainEmpty == 0 {
				if err := k.own(g); err != nil {
					return false, err
				}
				k.next[g.topic], k.last[g.topic] = g.h.TopicSeq+1, g.body
			}
		}
		return false, nil
	}
	g := list[0]
	if len(list) != 1 || g.h.Flags != 0 {
		return false, fmt.Errorf("something extra: %v", list)
	}
	if err := k.own(g); err != nil {
		return false, err
	}
	if want, known := k.next[g.topic]; (known || g.h.TopicSeq != 0) && g.h.TopicSeq != want {
		return false, fmt.Errorf("%v has topic sequence %d, want %d", g, g.h.TopicSeq, want)
	}
	k.next[g.topic], k.last[g.topic] = g.h.TopicSeq+1, g.body
	return false, nil
}

func (k *track) own(g got) error {
	if !strings.HasPrefix(g.topic, k.filter) {
		return fmt.Errorf("%v does not begin with %q", g, k.filter)
	}
	return nil
}

const endOfTest = "~end"

// TestJoinUnderLoad is the whole way: publisher, two shards, subscriber, proxy, and
// SUB clients of libzmq that join and leave at random moments while records flow.
// Every stream is checked by topic sequence: an answer, then what follows it, and
// nothing else; and at the end every client has the same values as the proxy.
func TestJoinUnderLoad(t *testing.T) {
	const shards, topics, records, joiners, stayers = 2, 400, 60_000, 60, 4
	pub, err := publisher.New(publisher.Config{Endpoints: []string{anyPort, anyPort}, Lossless: true})
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Close()
	p := open(t, Config{Shards: shards})
	running(t, p)
	sub, err := subscriber.New(subscriber.Config{Endpoints: pub.Endpoints()}, p)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	received := make(chan error, 1)
	go func() { received <- sub.Run(ctx) }()
	if err := pub.WaitReaders(ctx, 1); err != nil {
		t.Fatal(err)
	}

	zctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ends := make([]*track, stayers)
	client := func(filter string, messages int, keep **track) {
		defer wg.Done()
		k := &track{filter: filter, next: map[string]uint32{}, last: map[string]string{}}
		if err := follow(zctx, p.Endpoints()[0], k, messages); err != nil {
			t.Errorf("client of %q: %v", filter, err)
		}
		if keep != nil {
			*keep = k
		}
	}
	filters := []string{"", "T.", "T.0", "T.12", "T.123", "U"}
	for i := range stayers {
		wg.Add(1)
		go client(filters[i], -1, &ends[i])
	}
	m, err := shard.NewMap(shards)
	if err != nil {
		t.Fatal(err)
	}
	sources := []*source{newSource(), newSource()}
	r := rand.New(rand.NewPCG(1, 2))
	started := 0
	for i := range records {
		topic := fmt.Sprintf("T.%03d", r.IntN(topics))
		s := sources[m.Of([]byte(topic))]
		s.add(topic, wire.KindQuote, fmt.Sprint(i))
		if len(s.records) == 1+r.IntN(100) {
			if err := pub.Send(ctx, int(m.Of([]byte(topic))), s.batch(0), nil); err != nil {
				t.Fatal(err)
			}
		}
		if started < joiners && i*joiners/records >= started {
			started++
			wg.Add(1)
			go client(filters[r.IntN(len(filters))], 1+r.IntN(200), nil)
		}
	}
	for i, s := range sources {
		if len(s.records) > 0 {
			if err := pub.Send(ctx, i, s.batch(0), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := pub.End(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-received; err != nil {
		t.Fatal(err)
	}
	final := map[string]string{}
	snap := p.Snapshot()
	for rec, _, ok := snap.Next(); ok; rec, _, ok = snap.Next() {
		final[string(rec.Topic())] = string(rec.Body())
	}
	snap.Close()
	await(t, "everybody has joined", func() bool { return p.Stats().Subscriptions == stayers+uint64(started) })
	p.hub.mu.Lock() // the last word to everybody, whatever the filter
	for r := range p.hub.readers {
		var none *chunk
		end := appendEntry(nil, endOfTest, &wire.Plain{Kind: wire.KindNotice}, nil, false)
		for filter := range r.subscriptions {
			end = appendEntry(end, filter+"~", &wire.Plain{Kind: wire.KindNotice}, nil, false)
		}
		r.push(end, 1, &none)
	}
	p.hub.mu.Unlock()
	wg.Wait()
	if err := zctx.Close(); err != nil {
		t.Error(err)
	}
	for _, k := range ends {
		want := 0
		for topic, body := range final {
			if strings.HasPrefix(topic, k.filter) {
				want++
				if k.last[topic] != body {
					t.Errorf("client of %q: %s is %s, want %s", k.filter, topic, k.last[topic], body)
				}
			}
		}
		if len(k.last) != want {
			t.Errorf("client of %q has %d topics, want %d", k.filter, len(k.last), want)
		}
	}
	if st := p.Stats(); st.Records != records || st.Lost != 0 || st.Dropped != 0 || st.Stalled != 0 || st.LostAnswers != 0 || st.Foreign != 0 {
		t.Errorf("%+v", st)
	}
}

// follow is a client's life: it joins, checks what comes, and leaves after a number
// of messages, or at the end.
func follow(zctx *zsock.Context, endpoint string, k *track, messages int) (err error) {
	s, err := zctx.NewSocket(zsock.SUB, zsock.SocketConfig{RecvTimeout: zsock.Forever, ReceiveQueue: -1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := errors.Join(s.Connect(endpoint), s.Subscribe(k.filter)); err != nil {
		return err
	}
	for n := 0; n != messages; n++ {
		frames, err := s.RecvFrames()
		if err != nil {
			return err
		}
		if strings.HasSuffix(string(frames[0]), "~") || string(frames[0]) == endOfTest {
			return nil
		}
		list, err := parse(frames)
		if err != nil {
			return err
		}
		if list[0].h.Kind == wire.KindNotice && list[0].h.Flags == 0 {
			continue // a heartbeat, or the end of a shard
		}
		if _, err := k.take(list); err != nil {
			return err
		}
	}
	return nil
}

// TestSeek: a replay goes to another place; attached readers and those that join
// get the last values as of there, and what had none there is deleted.
func TestSeek(t *testing.T) {
	p, join := open(t, Config{Shards: 2}), clients(t)
	m, err := shard.NewMap(2)
	if err != nil {
		t.Fatal(err)
	}
	on := func(sh int, n int) string { // the n-th topic on a shard
		for i := 0; ; i++ {
			topic := fmt.Sprintf("T%d", i)
			if int(m.Of([]byte(topic))) == sh {
				if n--; n < 0 {
					return topic
				}
			}
		}
	}
	a, b, c, other := on(0, 0), on(0, 1), on(0, 2), on(1, 0)
	s0, s1 := newSource(), newSource()
	s0.shards, s1.shards, s1.shard = 2, 2, 1
	s0.add(a, wire.KindQuote, "late").add(b, wire.KindQuote, "late").send(t, p)
	s1.one(t, p, other, "late")
	reader := join(p, "")
	reader.answers(map[string]string{a: "late", b: "late", other: "late"})

	begin := func(s *source, snapshot bool) {
		s.epoch, s.next = s.epoch+1, 0
		p.HandleSession(int(s.shard), s.epoch, &wire.Session{Start: &wire.SessionStart{Reason: "seek", Snapshot: snapshot}})
	}
	expect := func(r *client, flags wire.PlainFlags, kind wire.Kind, topic, body string) {
		t.Helper()
		g := r.next()
		if len(g) != 1 || g[0].topic != topic || g[0].body != body || g[0].h.Flags != flags || g[0].h.Kind != kind || g[0].h.Epoch != s0.epoch {
			t.Fatalf("got %v, want %s=%s, flags %d, %v", g, topic, body, flags, kind)
		}
	}
	snapshot := func(s *source) {
		t.Helper()
		if err := p.HandleBatch(s.batch(wire.FlagSnapshotBatch), 0); err != nil {
			t.Fatal(err)
		}
	}
	begin(s0, true)
	snapshot(s0.add(a, wire.KindQuote, "early"))
	expect(reader, wire.PlainSnapshot, wire.KindQuote, a, "early")
	snapshot(s0.add(c, wire.KindQuote, "early"))
	expect(reader, wire.PlainSnapshot, wire.KindQuote, c, "early")
	s0.one(t, p, a, "next") // the last values are through: b had none
	expect(reader, wire.PlainSnapshot, wire.KindDelete, b, "")
	expect(reader, 0, wire.KindQuote, a, "next")
	late := join(p, "")
	late.answers(map[string]string{a: "next", c: "early", other: "late"})

	// Another epoch without last values keeps what there is.
	begin(s0, false)
	s0.one(t, p, b, "new")
	expect(reader, 0, wire.KindQuote, b, "new")
	join(p, "").answers(map[string]string{a: "next", b: "new", c: "early", other: "late"})

	// Silence ends last values too: the replay may pause there.
	begin(s1, true)
	s1.epoch = 50
	begin(s0, true)
	s0.epoch--
	begin(s0, true)
	snapshot(s0.add(c, wire.KindQuote, "paused"))
	expect(reader, wire.PlainSnapshot, wire.KindQuote, c, "paused")
	p.hub.mu.Lock()
	heard := p.feeds[1].heard
	p.hub.mu.Unlock()
	p.settleSeeks(heard.Add(seekQuiet - 1))
	if st := p.Stats(); st.Topics != 4 {
		t.Errorf("%d topics before it was silent for long enough", st.Topics)
	}
	p.settleSeeks(heard.Add(time.Hour))
	deleted := map[string]bool{}
	for len(deleted) < 2 {
		for _, g := range reader.next() {
			if g.h.Kind == wire.KindDelete {
				deleted[g.topic] = true
			}
		}
	}
	if !deleted[a] || !deleted[b] {
		t.Errorf("deleted %v", deleted)
	}
	join(p, "T").answers(map[string]string{c: "paused", other: "late"})

	// Who comes in the middle of last values does not know what is not among them.
	begin(s0, true)
	s0.next = 10
	snapshot(s0.add(a, wire.KindQuote, "x"))
	s0.one(t, p, a, "y")
	join(p, "T").answers(map[string]string{a: "y", c: "paused", other: "late"})
	if st := p.Stats(); st.Seeks != 2 {
		t.Errorf("%d seeks, want 2", st.Seeks)
	}
}

// TestSignals: plain readers that say who they are and how they fare are listed.
func TestSignals(t *testing.T) {
	p, join := open(t, Config{}), clients(t)
	id := wire.ReaderID{1, 2, 3}
	c := join(p, "A")
	c.answers(nil)
	c.do(c.s.Subscribe(wire.ReadyTopic(id, "desk 4")))
	report := wire.ReaderReport{Lag: 3e9, Lost: 5, Verdict: "snail"}
	c.do(c.s.Subscribe(report.Topic(id)))
	await(t, "the reader is listed", func() bool {
		list := p.Registry().List()
		return len(list) == 1 && list[0].Name == "desk 4" && list[0].ID == hex.EncodeToString(id[:]) && list[0].Lost == 5 && list[0].LagNs == 3e9
	})
	squawks := join(p, wire.SquawkTopic)
	squawks.answers(nil)
	running(t, p)
	if m := squawks.next(); !strings.Contains(m[0].body, `"desk 4"`) || !strings.Contains(m[0].body, `"snail"`) {
		t.Errorf("squawk: %v", m)
	}
	c.do(c.s.Subscribe("TPDK?what:"))
	await(t, "nonsense is counted", func() bool { return p.Stats().Foreign == 1 })
	c.do(c.s.Close())
	c.s = nil
	for !strings.Contains(squawks.next()[0].body, `"gone"`) {
	}
}

// TestTap: what a tap shows, and that it shows no more than it may.
func TestTap(t *testing.T) {
	p, s, join := open(t, Config{Tap: anyPort, TapRate: 100, Heartbeat: upkeepEvery}), newSource(), clients(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	shown := make(chan Tapped, 1000)
	ended := make(chan error, 1)
	go func() {
		ended <- Tap(ctx, TapConfig{Endpoint: p.TapEndpoint(), Topics: []string{"A", "B"}}, func(x *Tapped) error {
			shown <- *x
			return nil
		})
	}()
	await(t, "the tap is open", func() bool {
		p.tap.hub.mu.Lock()
		defer p.tap.hub.mu.Unlock()
		return len(p.tap.hub.filters.exact) == 5
	})
	c := join(p, "A")
	c.answers(nil)
	if x := <-shown; x.Event != Subscribed || string(x.Topic) != "A" || x.Peer == "" || x.Time == 0 {
		t.Errorf("got %+v", x)
	}
	s.add("C", wire.KindQuote, "no").add("A.1", wire.KindTrade, "yes").send(t, p)
	if x := <-shown; x.Event != "" || string(x.Topic) != "A.1" || string(x.Body) != "yes" || x.Header.Seq != 1 || x.Header.Kind != wire.KindTrade {
		t.Errorf("got %+v", x)
	}
	c.do(c.s.Unsubscribe("A"))
	if x := <-shown; x.Event != Unsubscribed || string(x.Topic) != "A" {
		t.Errorf("got %+v", x)
	}
	for range 5000 {
		s.add("B", wire.KindQuote, "many")
	}
	s.send(t, p)
	dropped := p.Stats().TapDropped
	if dropped < 4800 || dropped > 4999 {
		t.Errorf("%d were not shown", dropped)
	}
	for range 5000 - dropped {
		<-shown
	}
	running(t, p)
	await(t, "a report says how many were not shown", func() bool {
		s.one(t, p, "B", "later")
		select {
		case x := <-shown:
			return x.Dropped >= dropped
		default:
			return false
		}
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	await(t, "the tap is closed", func() bool { return p.tap.watching.Load() == 0 })

	// The plain stream is no tap, and a tap that says nothing is seen.
	s.one(t, p, "report", "x")
	if err := Tap(t.Context(), TapConfig{Endpoint: p.Endpoints()[0]}, func(*Tapped) error { return nil }); err == nil {
		t.Error("the plain stream was taken for a tap")
	}
	if err := Tap(t.Context(), TapConfig{Endpoint: "ipc://" + t.TempDir() + "/nobody", Silence: upkeepEvery}, nil); !errors.Is(err, ErrSilence) {
		t.Error(err)
	}
}
