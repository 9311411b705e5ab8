package lvc

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// TestJoin: exact, prefix and empty subscriptions, the second reader of a topic, a
// subscription that matches nothing, each answered alone, with live records that
// go on from there; nobody else hears of it.
func TestJoin(t *testing.T) {
	for _, endpoint := range []string{anyPort, "ipc://" + t.TempDir() + "/s"} {
		p, s, join := open(t, Config{Plain: []string{endpoint}}), newSource(), clients(t)
		early := join(p, "")
		early.answers(nil)
		s.add("A.1", wire.KindQuote, "a").add("A.2", wire.KindQuote, "b").add("B.1", wire.KindQuote, "c").send(t, p)
		early.live("A.1=a", "A.2=b", "B.1=c")

		prefix := join(p, "A.")
		prefix.answers(map[string]string{"A.1": "a", "A.2": "b"})
		exact := join(p, "A.1")
		exact.answers(map[string]string{"A.1": "a"})
		second := join(p, "A.1")
		second.answers(map[string]string{"A.1": "a"})
		all := join(p, "")
		all.answers(map[string]string{"A.1": "a", "A.2": "b", "B.1": "c"})
		nothing := join(p, "C")
		if m := nothing.next(); len(m) != 1 || m[0].topic != "C" || m[0].h.Flags != wire.PlainSnapshot|wire.PlainEmpty|wire.PlainLast {
			t.Fatalf("a subscription that matches nothing: %v", m)
		}

		s.one(t, p, "A.1", "d")
		s.one(t, p, "C.1", "e")
		for _, c := range []*client{early, all} {
			c.live("A.1=d", "C.1=e")
		}
		for _, c := range []*client{prefix, exact, second} {
			c.live("A.1=d")
		}
		nothing.live("C.1=e")
		if n := p.AnswerTimes().HDR().TotalCount(); uint64(n) != p.Stats().Subscriptions || n != 6 {
			t.Errorf("%d answers were timed, want 6", n)
		}
		if x := p.Totals(); x.Readers() != 6 {
			t.Errorf("totals %+v, want six readers", x)
		}
		// Nothing else was on its way to anybody: these are next.
		s.one(t, p, "A.1", "end")
		for _, c := range []*client{early, prefix, exact, second, all} {
			c.live("A.1=end")
		}
	}
}

// TestHeaders: what a reader learns of a record.
func TestHeaders(t *testing.T) {
	p, s, join := open(t, Config{}), newSource(), clients(t)
	c := join(p, "")
	c.answers(nil)
	s.add("T", wire.KindTrade, "x").add("T", wire.KindTrade, "y").send(t, p)
	want := wire.Plain{Epoch: 7, Shards: 1, Kind: wire.KindTrade, Event: 5, Receive: 9, Send: 77}
	for seq := range 2 {
		want.Seq, want.TopicSeq = wire.Seq(seq), uint32(seq)
		if m := c.next(); len(m) != 1 || m[0].h != want {
			t.Errorf("got %+v, want %+v", m, want)
		}
	}
	want.Flags = wire.PlainSnapshot | wire.PlainLast
	if m := join(p, "T").answer(); m["T"].h != want {
		t.Errorf("got %+v, want %+v", m["T"].h, want)
	}
	// Records that were delivered before are skipped.
	s.next = 0
	s.add("T", wire.KindTrade, "x").add("T", wire.KindTrade, "y").add("T", wire.KindTrade, "z")
	if err := p.HandleBatch(s.batch(0), 2); err != nil {
		t.Fatal(err)
	}
	c.live("T=z")
}

// TestResubscribe: who subscribes again is answered again, within another
// subscription too; live records come once.
func TestResubscribe(t *testing.T) {
	p, s, join := open(t, Config{}), newSource(), clients(t)
	s.one(t, p, "AB", "1")
	c := join(p, "A")
	c.answers(map[string]string{"AB": "1"})
	c.do(c.s.Subscribe("AB"))
	c.answers(map[string]string{"AB": "1"})
	c.do(c.s.Subscribe(""))
	c.answers(map[string]string{"AB": "1"})
	s.one(t, p, "AB", "2")
	c.live("AB=2")
	c.do(c.s.Unsubscribe(""))
	c.do(c.s.Unsubscribe("A"))
	c.do(c.s.Subscribe("A"))
	c.answers(map[string]string{"AB": "2"})
	c.do(c.s.Unsubscribe("AB"))
	c.do(c.s.Unsubscribe("A"))
	c.do(c.s.Subscribe("X"))
	c.answers(nil)
	s.add("AB", wire.KindQuote, "3").add("X", wire.KindQuote, "4").send(t, p)
	c.live("X=4")
}

// TestDelete: a topic that was deleted has no last value.
func TestDelete(t *testing.T) {
	p, s, join := open(t, Config{}), newSource(), clients(t)
	s.add("A", wire.KindQuote, "1").add("B", wire.KindQuote, "2").send(t, p)
	c := join(p, "")
	c.answers(map[string]string{"A": "1", "B": "2"})
	s.add("A", wire.KindDelete, "").send(t, p)
	if m := c.next(); m[0].topic != "A" || m[0].h.Kind != wire.KindDelete || m[0].h.Flags != 0 {
		t.Errorf("got %v", m)
	}
	join(p, "").answers(map[string]string{"B": "2"})
	s.one(t, p, "A", "3")
	join(p, "A").answers(map[string]string{"A": "3"})
}

// TestFull: where the table is full, records go on, and answers say that something
// may be missing.
func TestFull(t *testing.T) {
	p, s, join := open(t, Config{MaxTopics: 2}), newSource(), clients(t)
	c := join(p, "")
	c.answers(nil)
	s.add("A", wire.KindQuote, "1").add("B", wire.KindQuote, "2").add("C", wire.KindQuote, "3").send(t, p)
	c.live("A=1", "B=2", "C=3")
	for topic, entries := range map[string]int{"": 2, "A": 1, "C": 0} {
		m := join(p, topic).next()
		if last := m[len(m)-1]; last.h.Flags&wire.PlainIncomplete == 0 || last.h.Flags&wire.PlainEmpty != 0 != (entries == 0) {
			t.Errorf("%q: the answer does not say that it may be incomplete: %v", topic, m)
		}
	}
	if st := p.Stats(); st.RefusedByFull != 1 || !st.Full || st.Topics != 2 {
		t.Errorf("%+v", st)
	}
}

// TestLongTopics: the longest that there is, and longer.
func TestLongTopics(t *testing.T) {
	p, s, join := open(t, Config{}), newSource(), clients(t)
	longest := strings.Repeat("x", wire.TopicSizeMax)
	s.one(t, p, longest, "1")
	c := join(p, longest)
	c.answers(map[string]string{longest: "1"})
	c.do(c.s.Subscribe(longest + "x"))
	await(t, "the long subscription is counted", func() bool { return p.Stats().TooLong == 1 })
	s.one(t, p, longest, "2")
	c.live(longest + "=2")
}

// TestManyTopics: an answer of many topics is the table at one moment, whatever
// happens while it is put together, and live records go on from there.
func TestManyTopics(t *testing.T) {
	const topics, rounds = 20_000, 5
	p, s, join := open(t, Config{}), newSource(), clients(t)
	running(t, p)
	name := func(i int) string { return fmt.Sprintf("T.%05d", i) }
	for i := range topics {
		s.add(name(i), wire.KindQuote, "0")
	}
	s.send(t, p)
	var joined []*client
	for round := 1; round <= rounds; round++ {
		joined = append(joined, join(p, "T."))
		for i := range topics {
			s.add(name(i), wire.KindQuote, fmt.Sprint(round))
			if len(s.records) == 1000 {
				s.send(t, p)
			}
		}
	}
	for _, c := range joined {
		m := c.answer()
		if len(m) != topics {
			t.Fatalf("%d topics, want %d", len(m), topics)
		}
		// All up to one sequence is in the answer, and everything after it comes.
		at := wire.Seq(0)
		for _, g := range m {
			at = max(at, g.h.Seq)
		}
		for _, g := range m {
			if at-g.h.Seq >= topics {
				t.Fatalf("%v, though the answer is as of %d", g, at)
			}
		}
		for at++; at < s.next; at++ {
			if g := c.next(); len(g) != 1 || g[0].h.Seq != at || g[0].h.Flags != 0 {
				t.Fatalf("got %v, want sequence %d", g, at)
			}
		}
	}
	if st := p.Stats(); st.Dropped != 0 || st.LostAnswers != 0 || st.Stalled != 0 {
		t.Errorf("%+v", st)
	}
	await(t, "every answer has been timed", func() bool { return p.AnswerTimes().HDR().TotalCount() == rounds })
	await(t, "what was set aside is let go", func() bool { return p.Stats().KeptBytes == 0 })
}

// TestForeign: who is no subscriber of this protocol is refused and counted, and
// harms nobody.
func TestForeign(t *testing.T) {
	p, s, join := open(t, Config{MaxReaders: 1}), newSource(), clients(t)
	c := join(p, "")
	c.answers(nil)
	join(p, "") // one too many
	await(t, "a refused connection", func() bool { return p.Stats().Refused > 0 })
	s.one(t, p, "A", "1")
	c.live("A=1")
}

// TestNotices: what the proxy says of itself.
func TestNotices(t *testing.T) {
	p, s, join := open(t, Config{Heartbeat: upkeepEvery}), newSource(), clients(t)
	s.one(t, p, "A", "1")
	c := join(p, wire.OperatorPrefix)
	c.answers(nil)
	expect := func(topic, body string) {
		t.Helper()
		m := c.next()
		if len(m) != 1 || m[0].topic != topic || m[0].h.Kind != wire.KindNotice || m[0].h.Epoch != 0 || !strings.HasPrefix(m[0].body, body) {
			t.Fatalf("got %v, want %s: %s", m, topic, body)
		}
	}
	p.HandleGap(0, 7, 1, 4)
	expect(GapTopic, `{"shard":0,"epoch":7,"from":1,"to":4}`)
	p.HandleEnd(0, 7, true)
	expect(EndTopic, `{"shard":0,"epoch":7,"complete":true}`)
	notice, err := wire.AppendRecord(nil, &wire.Fields{Topic: []byte(wire.SquawkTopic), Body: []byte("late"), Kind: wire.KindNotice})
	if err != nil {
		t.Fatal(err)
	}
	p.HandleNotice(0, wire.Record(notice))
	expect(wire.SquawkTopic, "late")
	running(t, p)
	for range 2 {
		expect(wire.HeartbeatTopic, fmt.Sprintf(`{"topics":1,"bytes":%d,"full":false,"partial":true,"positions":[{"shard":0,"epoch":7,"next":1}]}`, p.Stats().TableBytes))
	}
	if st := p.Stats(); st.Gaps != 1 || st.Lost != 3 {
		t.Errorf("%+v", st)
	}
}

func TestConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no shards": {}, "negative": {Shards: 1, QueueBytes: -1}, "transport": {Shards: 1, Plain: []string{"inproc://x"}},
		"taken": {Shards: 1, Plain: []string{"tcp://127.0.0.1:1x"}}, "tap": {Shards: 1, Tap: "nowhere"},
	} {
		if p, err := New(cfg); err == nil {
			_ = p.Close()
			t.Errorf("%s: no error", name)
		}
	}
}
