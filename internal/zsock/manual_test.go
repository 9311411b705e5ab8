package zsock

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// cache is an XPUB socket with ManualLastValue and its readers, over loopback TCP.
type cache struct {
	t        *testing.T
	ctx      *Context
	pub      *Socket
	endpoint string
	open     []*Socket
}

func newCache(t *testing.T, pub SocketConfig) *cache {
	t.Helper()
	ctx, err := NewContext(NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	pub.ManualLastValue = true
	c := &cache{t: t, ctx: ctx}
	if c.pub, err = ctx.NewSocket(XPUB, pub); err != nil {
		t.Fatal(err)
	}
	c.open = append(c.open, c.pub)
	if c.endpoint, err = c.pub.Bind("tcp://127.0.0.1:*"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range c.open {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := ctx.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// reader returns a SUB socket that has subscribed; nothing of it was taken in yet.
func (c *cache) reader(topics ...string) *Socket {
	c.t.Helper()
	s, err := c.ctx.NewSocket(SUB, SocketConfig{RecvTimeout: Forever})
	if err != nil {
		c.t.Fatal(err)
	}
	c.open = append(c.open, s)
	if err := s.Connect(c.endpoint); err != nil {
		c.t.Fatal(err)
	}
	for _, topic := range topics {
		if err := s.Subscribe(topic); err != nil {
			c.t.Fatal(err)
		}
	}
	return s
}

// hear waits for the next subscription frame.
func (c *cache) hear(want string) {
	c.t.Helper()
	if _, err := NewPoller(c.pub).Wait(nil, Forever); err != nil {
		c.t.Fatal(err)
	}
	if frame, err := c.pub.TryRecvFrame(); err != nil || string(frame) != want {
		c.t.Fatalf("heard %q, %v, want %q", frame, err, want)
	}
}

func (c *cache) accept(topic string) {
	c.t.Helper()
	if err := c.pub.AcceptSubscription([]byte(topic)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cache) send(frames ...string) {
	c.t.Helper()
	var b [][]byte
	for _, f := range frames {
		b = append(b, []byte(f))
	}
	if err := c.pub.SendFrames(b...); err != nil {
		c.t.Fatal(err)
	}
}

// join is a reader whose subscription has been taken in, accepted and answered.
func (c *cache) join(topic string, answer ...string) *Socket {
	c.t.Helper()
	s := c.reader(topic)
	c.hear("\x01" + topic)
	c.accept(topic)
	c.send(answer...)
	return s
}

// gets holds what a reader receives next, message by message.
func (c *cache) gets(s *Socket, who string, want ...string) {
	c.t.Helper()
	for _, w := range want {
		frames, err := s.RecvFrames()
		if err != nil {
			c.t.Fatal(err)
		}
		var got []string
		for _, f := range frames {
			got = append(got, string(f))
		}
		if !slices.Equal(got, strings.Fields(w)) {
			c.t.Fatalf("%s got %q, want %q", who, got, w)
		}
	}
}

// nobody is a topic that no reader has.
const nobody = "\x00"

// TestManualAnswerIsPrivate: exact, prefix and empty subscriptions, and the second
// reader of a topic, each get their own answer, many values as one message.
func TestManualAnswerIsPrivate(t *testing.T) {
	c := newCache(t, SocketConfig{})
	first := c.join("", "A.1", "h", "old", "B.1", "h", "old")
	second := c.join("A.1", "A.1", "h", "exact")
	third := c.join("A.1", "A.1", "h", "again")
	fourth := c.join("A.", "A.1", "h", "prefix", "A.2", "h", "prefix")
	c.send("A.1", "h", "live")
	c.gets(first, "first", "A.1 h old B.1 h old", "A.1 h live")
	c.gets(second, "second", "A.1 h exact", "A.1 h live")
	c.gets(third, "third", "A.1 h again", "A.1 h live")
	c.gets(fourth, "fourth", "A.1 h prefix A.2 h prefix", "A.1 h live")
}

// TestManualOnlyTheFirstMessageIsPrivate: what follows the answer goes to all, so
// values in messages of their own would, too.
func TestManualOnlyTheFirstMessageIsPrivate(t *testing.T) {
	c := newCache(t, SocketConfig{})
	old := c.join("T", "T", "answer")
	joiner := c.join("T", "T", "first")
	c.send("T", "second")
	c.gets(joiner, "joiner", "T first", "T second")
	c.gets(old, "old", "T answer", "T second")
}

// TestManualLiveRecordBeforeTheAnswer: it reaches the joiner alone, and the answer
// is private no more.
func TestManualLiveRecordBeforeTheAnswer(t *testing.T) {
	c := newCache(t, SocketConfig{})
	old := c.join("T", "T", "answer")
	joiner := c.reader("T")
	c.hear("\x01T")
	c.accept("T")
	c.send("T", "live")
	c.send("T", "snapshot")
	c.gets(joiner, "joiner", "T live", "T snapshot")
	c.gets(old, "old", "T answer", "T snapshot")
}

// TestManualUnsubscription: the record after it is lost for everybody, unless a
// message that nobody wants comes first.
func TestManualUnsubscription(t *testing.T) {
	c := newCache(t, SocketConfig{})
	stays := c.join("T", "T", "answer")
	leaves := c.join("T", "T", "answer")
	leave := func() {
		t.Helper()
		if err := leaves.Unsubscribe("T"); err != nil {
			t.Fatal(err)
		}
		c.hear("\x00T")
	}
	leave()
	c.send("T", "lost")
	c.send("T", "1")
	c.gets(stays, "stays", "T answer", "T 1")

	if err := leaves.Subscribe("T"); err != nil {
		t.Fatal(err)
	}
	c.hear("\x01T")
	c.accept("T")
	c.send("T", "anew")
	leave()
	c.send(nobody, "")
	c.send("T", "2")
	c.gets(stays, "stays", "T 2")
}

// TestManualUnmatchedSubscription: a subscription without an answer takes the
// next record from everybody else, and needs the same throw-away message.
func TestManualUnmatchedSubscription(t *testing.T) {
	c := newCache(t, SocketConfig{})
	old := c.join("T", "T", "answer")
	c.reader("U")
	c.hear("\x01U")
	c.accept("U")
	c.send("T", "lost")
	c.send("T", "1")
	c.gets(old, "old", "T answer", "T 1")
	c.reader("V")
	c.hear("\x01V")
	c.accept("V")
	c.send(nobody, "")
	c.send("T", "2")
	c.gets(old, "old", "T 2")
}

// TestManualPeerDies: when any peer leaves between a subscription and its answer,
// the answer goes to everybody who has the topic. This one has no remedy.
func TestManualPeerDies(t *testing.T) {
	for _, who := range []string{"another", "the joiner"} {
		t.Run(who, func(t *testing.T) {
			c := newCache(t, SocketConfig{})
			old := c.join("T", "T", "answer")
			dies := c.join("T", "T", "answer")
			joiner := c.reader("T")
			c.hear("\x01T")
			c.accept("T")
			if who == "the joiner" {
				dies = joiner
			}
			c.open = slices.DeleteFunc(c.open, func(s *Socket) bool { return s == dies })
			if err := dies.Close(); err != nil {
				t.Fatal(err)
			}
			// The socket has taken in that it is gone, but nobody has received it.
			if _, err := NewPoller(c.pub).Wait(nil, Forever); err != nil {
				t.Fatal(err)
			}
			c.send("T", "private")
			c.gets(old, "old", "T answer", "T private")
			c.hear("\x00T")
		})
	}
}

// TestManualSubscriptionOfTheDead: one that is received after its peer has gone
// is applied to nobody, and does no harm.
func TestManualSubscriptionOfTheDead(t *testing.T) {
	c := newCache(t, SocketConfig{})
	old := c.join("T", "T", "answer")
	dead := c.reader("T")
	if _, err := NewPoller(c.pub).Wait(nil, Forever); err != nil {
		t.Fatal(err)
	}
	c.open = slices.DeleteFunc(c.open, func(s *Socket) bool { return s == dead })
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	c.hear("\x01T")
	c.accept("T")
	c.hear("\x00T")
	c.send(nobody, "")
	c.send("T", "live")
	c.gets(old, "old", "T answer", "T live")
}

// TestManualLongTopic: 245 bytes is the longest subscription that libzmq 4.3.4
// sends right to one of its kind: from 246 to 255 the length it writes is wrong.
func TestManualLongTopic(t *testing.T) {
	c := newCache(t, SocketConfig{})
	long := strings.Repeat("x", 245)
	s := c.join(long, long, "answer")
	c.gets(s, "reader", long+" answer")
	if err := c.pub.AcceptSubscription(make([]byte, TopicSizeMax)); err != nil {
		t.Error(err)
	}
	if err := c.pub.AcceptSubscription(make([]byte, TopicSizeMax+1)); !errors.Is(err, ErrTopicSize) {
		t.Errorf("got %v", err)
	}
}
