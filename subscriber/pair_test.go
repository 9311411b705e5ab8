package subscriber

import (
	"context"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// TestPairOfPublishers: a reader of two publishers goes over to the one that takes over,
// says how far it has come to both, drops what repeats, and refuses what the other one
// still sends.
func TestPairOfPublishers(t *testing.T) {
	one := newFake(t, "tcp://127.0.0.1:*", 0, 1, 100)
	other := newFake(t, "tcp://127.0.0.1:*", 0, 1, 200)
	n := &notes{batch: make(chan struct{}, 16)}
	s, err := New(Config{Endpoints: []string{one.endpoint}, Pair: []string{other.endpoint}}, n)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(context.Background()) }()
	one.greet()
	other.await(readyPrefix) // to whom it is said, too
	one.sendRecords(10)
	<-n.batch
	said := wire.ReaderStep{Epoch: 100, Next: 10}.Topic(s.id)
	other.await(said[:len(said)-1]) // and which hello it has had

	// Without its hello the epoch is not entered: nobody knows what of it repeats.
	other.topicSeq = 7
	h, payload := other.records(2)
	other.send(h, payload)
	other.await(wire.HelloTopic())
	other.source = source{epoch: 200}
	other.helloFrom(wire.Session{Publisher: "fake", Start: &wire.SessionStart{Reason: wire.TakeoverReason, PreviousEpoch: 100, PreviousNext: 7}})
	other.await(readyPrefix)
	other.send(h, payload)
	other.source.batch(2, h.CRC)
	other.topicSeq = 9
	other.sendRecords(4)
	<-n.batch
	// The other one comes back to life.
	one.sendRecords(5)
	one.source.epoch = 150
	one.hello()
	one.sendRecords(5)
	one.end()
	other.sendRecords(1)
	<-n.batch
	other.end()
	other.await(donePrefix)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	sum := s.Summary()
	want := []uint32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}
	if !slices.Equal(n.bodies[0], want) || sum.Repeated != 3 || !sum.Complete || sum.Lost != 0 || sum.Epochs != 2 {
		t.Errorf("%v, %+v", n.bodies[0], sum)
	}
}

// TestWatch: who only watches takes marks, and says nothing.
func TestWatch(t *testing.T) {
	p := newFake(t, "tcp://127.0.0.1:*", 0, 1, 100)
	n := &notes{}
	s, err := New(Config{Endpoints: []string{p.endpoint}, Watch: true}, n)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(context.Background()) }()
	for _, topic := range wire.MarkTopics() {
		p.await(topic)
	}
	p.hello()
	p.sendRecords(3)
	p.end()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(n.bodies[0]) != 0 || len(n.sessions) != 1 || len(n.ends) != 1 {
		t.Errorf("%+v", n)
	}
	for p.socket.Readable() {
		frame, err := p.socket.TryRecvFrame()
		if err != nil {
			t.Fatal(err)
		}
		if frame[0] == 1 {
			t.Errorf("it said %q", frame[1:])
		}
	}
}

func TestPairWantsAsManyShards(t *testing.T) {
	if _, err := New(Config{Endpoints: []string{"a", "b"}, Pair: []string{"c"}}, &notes{}); err == nil {
		t.Error("taken")
	}
}
