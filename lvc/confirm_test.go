package lvc

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// full is a SUB socket of libzmq with room for few messages, which reads when asked.
func full(t *testing.T, p *Proxy, l *zsock.Lock) *client {
	t.Helper()
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	ctx.SetLock(l)
	s, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{RecvTimeout: zsock.Forever, ReceiveQueue: 2})
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, s: s}
	t.Cleanup(func() {
		c.do(s.Close())
		c.do(ctx.Close())
	})
	c.do(s.Connect(p.Endpoints()[0]))
	c.do(s.Subscribe(""))
	c.answer()
	return c
}

// TestConfirm: what the library of a reader has taken is confirmed, what waits before
// it is not, whatever its kernel has acknowledged.
func TestConfirm(t *testing.T) {
	keys := &Lock{Secret: lockSecret, Check: (&doorman{}).check}
	for _, tc := range []struct {
		at   string
		lock *Lock
		keys *zsock.Lock
	}{{at: anyPort}, {at: "ipc://" + t.TempDir() + "/p"}, {anyPort, keys, lockOfClient(t)}} {
		p, s := open(t, Config{Standby: &Standby{Keep: time.Hour}, Plain: []string{tc.at}, Lock: tc.lock}), newSource()
		if have, _ := p.Confirm(); have != nil {
			t.Errorf("a passive one: %v", have)
		}
		p.Activate(2, "a test")
		c := full(t, p, tc.keys)
		next := func() wire.Seq {
			if have, _ := p.Confirm(); have != nil {
				return have[0].Next
			}
			return 0
		}
		s.one(t, p, "A", "0")
		await(t, "it is confirmed", func() bool { return next() == 1 })
		const more = 10_000 // more than a read of libzmq takes
		for i := range more {
			s.one(t, p, "A", fmt.Sprint(i+1))
		}
		for range 20 { // what comes back is awaited, with nothing to wait for
			pause(t)
			if n := next(); n > more/2 {
				t.Fatalf("%d are confirmed, and the reader has read nothing", n)
			}
		}
		for i := range more + 1 {
			c.live(fmt.Sprintf("A=%d", i))
		}
		await(t, "all is confirmed", func() bool { return next() == more+1 })
	}
}

// TestConfirmMany: many readers are asked less often each.
func TestConfirmMany(t *testing.T) {
	p := open(t, Config{Standby: &Standby{Keep: time.Hour}})
	p.Activate(2, "a test")
	for range 3 * askedAtOnce {
		r := newReader(p.hub, nil, "nobody")
		p.hub.readers[r] = struct{}{}
	}
	before := p.hub.confirms.last()
	for range 40 {
		p.Confirm()
	}
	if n := p.hub.confirms.last() - before; n != 10 {
		t.Errorf("asked %d times in 40 calls, want every fourth", n)
	}
	clear(p.hub.readers)
}

// TestConfirmByKernel: a reader whose protocol has no pings is asked for by what its
// kernel has acknowledged.
func TestConfirmByKernel(t *testing.T) {
	p, s := open(t, Config{Standby: &Standby{Keep: time.Hour}, Plain: []string{"ipc://" + t.TempDir() + "/p"}}), newSource()
	p.Activate(2, "a test")
	c := dial(t, p, "")
	c.next()
	s.one(t, p, "A", "0")
	for range 20 {
		if have, _ := p.Confirm(); have != nil && have[0].Next > 0 {
			t.Fatalf("%v is confirmed, and nobody has read it", have)
		}
		pause(t)
	}
	if m := c.next(); m[0].body != "0" {
		t.Errorf("got %v", m)
	}
	await(t, "it is confirmed", func() bool { have, _ := p.Confirm(); return have != nil && have[0].Next == 1 })
}

// TestConfirmWaitsFor: a reader that has left is waited for a moment longer, one that is
// further behind than is kept is not; nobody at all has everything.
func TestConfirmWaitsFor(t *testing.T) {
	const keep = 4 * time.Second
	p, s := open(t, Config{Standby: &Standby{Keep: keep}, Plain: []string{"ipc://" + t.TempDir() + "/p"}}), newSource()
	p.Activate(2, "a test")
	now := time.Unix(1000, 0)
	at := func(after time.Duration) wire.Seq {
		now = now.Add(after)
		p.confirm(now)
		if have, _ := p.confirm(now); have != nil {
			return have[0].Next
		}
		return 0
	}
	s.one(t, p, "A", "0")
	if n := at(0); n != 1 {
		t.Errorf("%d are confirmed by nobody, want 1", n)
	}
	idle := dial(t, p, "Z") // that wants nothing of what comes
	idle.next()
	stuck := dial(t, p, "")
	stuck.next()
	s.one(t, p, "A", "1")
	if n := at(time.Second); n != 1 {
		t.Errorf("%d are confirmed by one that does not read, want 1", n)
	}
	at(2 * keep)
	await(t, "one that is behind too far is not waited for", func() bool { return at(0) == 2 })
	if _, behind := p.confirm(now); behind != 1 || p.Stats().TooFar != 1 {
		t.Errorf("%d are behind; %+v", behind, p.Stats())
	}
	other := dial(t, p, "")
	other.next()
	s.one(t, p, "A", "2")
	if n := at(time.Second); n != 2 {
		t.Errorf("%d are confirmed, want 2", n)
	}
	_ = idle.conn.Close()
	_ = other.conn.Close()
	await(t, "it has left", func() bool { return p.Stats().Readers == 1 })
	if n := at(0); n != 2 {
		t.Errorf("%d are confirmed by one that has just left, want 2", n)
	}
	_ = stuck.conn.Close()
	await(t, "nobody is there", func() bool { return p.Stats().Readers == 0 })
	now = time.Now().Add(keep)
	if n := at(0); n != 3 {
		t.Errorf("%d are confirmed by one that left long ago, want 3", n)
	}
}

// TestConfirmWaitsForAll: where half of the readers lag, however much, the others are
// waited for until they lag by some times as much.
func TestConfirmWaitsForAll(t *testing.T) {
	const keep = 4 * time.Second
	p, s := open(t, Config{Standby: &Standby{Keep: keep}, Plain: []string{"ipc://" + t.TempDir() + "/p"}}), newSource()
	p.Activate(2, "a test")
	now := time.Unix(1000, 0)
	at := func(after time.Duration) (next wire.Seq, behind int) {
		now = now.Add(after)
		p.confirm(now)
		have, behind := p.confirm(now)
		return have[0].Next, behind
	}
	s.one(t, p, "A", "0")
	at(0)
	slow, slower, stuck := dial(t, p, ""), dial(t, p, ""), dial(t, p, "")
	for _, c := range []*rawClient{slow, slower, stuck} {
		c.next()
	}
	s.one(t, p, "A", "1")
	at(0)
	for range 5 {
		if n, behind := at(keep); n != 1 || behind != 0 {
			t.Fatalf("%d are confirmed by readers that do not read, %d of which are behind", n, behind)
		}
	}
	slow.next()
	slower.next()
	await(t, "half of them lag no more", func() bool {
		n, behind := at(time.Second)
		return n == 2 && behind == 1
	})
}

// TestMarksMax: however slow all readers are, so many marks are under way.
func TestMarksMax(t *testing.T) {
	p, s := open(t, Config{Standby: &Standby{Keep: time.Second}, Plain: []string{"ipc://" + t.TempDir() + "/p"}}), newSource()
	p.Activate(2, "a test")
	stuck := dial(t, p, "")
	stuck.next()
	s.one(t, p, "A", "0")
	now := time.Unix(1000, 0)
	for range 2 * marksMax {
		now = now.Add(time.Second)
		p.confirm(now)
	}
	have, behind := p.confirm(now)
	if c := p.hub.confirms; len(c.marks) > marksMax || behind != 1 || have[0].Next != 1 {
		t.Errorf("%d marks, %d behind, %v", len(c.marks), behind, have)
	}
}

// TestOnlyWhatIsMissing: a passive proxy that knows what all readers of the active one
// have sends the rest.
func TestOnlyWhatIsMissing(t *testing.T) {
	keep := &Standby{Keep: time.Hour}
	a, b := open(t, Config{Standby: keep}), open(t, Config{Standby: keep})
	one, two := newSource(), newSource()
	a.Activate(2, "a test")
	join := clients(t)
	ca, cb := join(a, ""), join(b, "")
	ca.answer()
	await(t, "it is there", func() bool { return b.Stats().Subscriptions == 1 })
	for i := range 100 {
		one.one(t, a, "A", fmt.Sprint(i))
		two.one(t, b, "A", fmt.Sprint(i))
		ca.live(fmt.Sprintf("A=%d", i))
	}
	b.HandleNotice(0, wire.Record(noticeRecord(t)))
	await(t, "all is confirmed", func() bool {
		b.Confirmed(a.Confirm())
		kept, _ := b.Passive()
		return kept.Had == 100 && kept.Messages == 1
	})
	if kept, _ := b.Passive(); kept.Reach != keep.Keep {
		t.Errorf("%+v, and it covers everything", kept)
	}
	two.one(t, b, "A", "100")
	if kept := b.Activate(5, "a test"); kept.Messages != 2 {
		t.Errorf("kept %+v", kept)
	}
	if list := cb.next(); list[0].topic != PairTopic {
		t.Errorf("got %v", list)
	}
	if list := cb.next(); list[0].topic != "TPDK!note" {
		t.Errorf("got %v", list)
	}
	cb.live("A=100")
	cb.answers(map[string]string{"A": "100"})
	if st := b.Stats(); st.RingHad != 100 || st.SentAgain != 2 || st.RingYoung != 0 {
		t.Errorf("%+v", st)
	}
}

func noticeRecord(t *testing.T) []byte {
	b, err := wire.AppendRecord(nil, &wire.Fields{Topic: []byte("TPDK!note"), Body: []byte("{}"), Kind: wire.KindNotice})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRingDrops: what goes and what stays, by where the active proxy's readers are.
func TestRingDrops(t *testing.T) {
	type msg struct {
		shard uint16
		epoch wire.Epoch
		seq   wire.Seq
	}
	at := func(list ...uint64) (p []Position) {
		for i := 0; i < len(list); i += 2 {
			p = append(p, Position{Shard: i / 2, Epoch: wire.Epoch(list[i]), Next: wire.Seq(list[i+1])})
		}
		return p
	}
	for name, tc := range map[string]struct {
		in       []msg
		from     []Position // where it began; epoch 0: as the first messages say
		have, at []Position
		want     []msg
		covered  bool
	}{
		"some":            {[]msg{{0, 1, 0}, {1, 1, 0}, {0, 1, 1}}, at(0, 0, 0, 0), at(1, 1, 1, 1), at(1, 2, 1, 1), []msg{{0, 1, 1}}, true},
		"all":             {[]msg{{0, 1, 0}, {1, 1, 0}, {0, 1, 1}}, at(0, 0, 0, 0), at(1, 2, 1, 1), at(1, 2, 1, 1), nil, true},
		"one shard":       {[]msg{{0, 1, 0}, {1, 1, 0}, {0, 1, 1}}, at(0, 0, 0, 0), at(1, 2, 1, 0), at(1, 2, 1, 1), []msg{{1, 1, 0}, {0, 1, 1}}, true},
		"ahead of us":     {[]msg{{0, 1, 5}}, at(0, 0), at(1, 9), at(1, 6), nil, true},
		"earlier epoch":   {[]msg{{0, 1, 5}, {0, 2, 0}}, at(0, 0), at(2, 0), at(2, 1), []msg{{0, 2, 0}}, true},
		"unknown epoch":   {[]msg{{0, 1, 5}}, at(0, 0), at(2, 3), at(1, 6), []msg{{0, 1, 5}}, false},
		"we are ahead":    {[]msg{{0, 2, 0}}, at(1, 3), at(1, 9), at(2, 1), []msg{{0, 2, 0}}, true},
		"began too late":  {[]msg{{0, 1, 5}}, at(0, 0), at(1, 3), at(1, 6), []msg{{0, 1, 5}}, false},
		"nothing known":   {[]msg{{0, 1, 5}}, at(0, 0), at(0, 0), at(1, 6), []msg{{0, 1, 5}}, false},
		"silent shard":    {[]msg{{0, 1, 5}}, at(0, 0, 0, 0), at(1, 6, 0, 0), at(1, 6, 0, 0), nil, true},
		"unknown shard":   {nil, at(0, 0), at(1, 6), at(0, 0), nil, false},
		"another's count": {[]msg{{0, 1, 5}}, at(0, 0), at(1, 6, 1, 6), at(1, 6), nil, false},
	} {
		now := time.Unix(1000, 0)
		g := newRing(time.Hour, 1<<20, now, tc.from)
		for _, m := range tc.in {
			g.add(now, []byte("T"), &wire.Plain{Shard: m.shard, Shards: uint16(len(tc.from)), Epoch: m.epoch, Seq: m.seq}, []byte("body"))
		}
		g.drop(now, tc.have, 0, tc.at)
		var got []msg
		size := 0
		g.each(func(topic []byte, h *wire.Plain, body []byte) {
			got = append(got, msg{h.Shard, h.Epoch, h.Seq})
			size += len(appendEntry(nil, topic, h, body, false))
		})
		st := g.state(now)
		if !slices.Equal(got, tc.want) || g.covered != tc.covered || int(st.Had) != len(tc.in)-len(got) || st.Messages != len(got) || st.Bytes != int64(size) {
			t.Errorf("%s: %v stay, covered %v, %+v; want %v", name, got, g.covered, st, tc.want)
		}
	}
}

// TestNoticesStay: notices have no place in the stream, and are kept for their time,
// before what is left of it.
func TestNoticesStay(t *testing.T) {
	now := time.Unix(1000, 0)
	g := newRing(8*time.Second, 1<<20, now, make([]Position, 1))
	have := []Position{{Epoch: 1, Next: 10}}
	for seq := range wire.Seq(20) {
		g.add(now, []byte("T"), &wire.Plain{Shards: 1, Epoch: 1, Seq: seq}, nil)
		if seq%5 == 0 {
			g.add(now, []byte("N"), &wire.Plain{Kind: wire.KindNotice, Event: wire.Nanos(seq)}, nil)
		}
	}
	g.drop(now, have, 0, have)
	text := func() (s string) {
		g.each(func(topic []byte, h *wire.Plain, _ []byte) { s += fmt.Sprintf("%s%d ", topic, h.Seq+wire.Seq(h.Event)) })
		return s
	}
	if got, want := text(), "N0 N5 T10 N10 T11 T12 T13 T14 T15 N15 T16 T17 T18 T19 "; got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
	have[0].Next = 20
	g.drop(now, have, 0, have)
	if got, want := text(), "N0 N5 N10 N15 "; got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
	now = now.Add(9 * time.Second)
	g.drop(now, have, 0, have)
	g.trim(now)
	if st := g.state(now); st.Messages != 0 || st.Bytes != 0 || st.Had != 20 || st.Short != 0 {
		t.Errorf("%+v after their time", st)
	}
}

func TestHave(t *testing.T) {
	for behind, have := range [][]Position{{{Epoch: 1<<64 - 1, Next: 1<<64 - 1}}, {{}, {Shard: 1, Epoch: 7, Next: 9}}} {
		note := AppendHave(nil, have, behind)
		got, n, err := ParseHave(append(note, " and=more"...))
		if err != nil || !slices.Equal(got, have) || n != behind {
			t.Errorf("%s is %v, %d, %v", note, got, n, err)
		}
	}
	for _, bad := range []string{"", "have=", "have", "had=1.2", "have=1", "have=1.2,", "have=1.2,3", "have=-1.2", "have=1.18446744073709551616",
		"have=1.2 behind=", "have=1.2 behind=-1", "have=1.2 behind=2147483648"} {
		if got, _, err := ParseHave([]byte(bad)); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

func FuzzHave(f *testing.F) {
	f.Add([]byte("have=1.2,3.4"))
	f.Add([]byte("have=1.2 behind=3 more"))
	f.Fuzz(func(t *testing.T, b []byte) {
		have, behind, err := ParseHave(b)
		if err != nil {
			return
		}
		again, n, err := ParseHave(AppendHave(nil, have, behind))
		if err != nil || !slices.Equal(again, have) || n != behind {
			t.Errorf("%v, %d came back as %v, %d, %v", have, behind, again, n, err)
		}
	})
}
