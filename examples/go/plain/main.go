// Plain is a subscriber of the plain stream: last values first, then everything
// new. It uses a ZeroMQ binding and the header's layout, and nothing else of
// Tapedeck.
//
//	tapedeck lvc --shards tcp://127.0.0.1:7100 --plain tcp://127.0.0.1:7200
//	go run ./examples/go/plain -topics GLBX.MDP3.ES -count 1000 tcp://127.0.0.1:7200
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"strings"
	"syscall"
	"time"

	zmq "github.com/pebbe/zmq4"

	"github.com/tapedeck/tapedeck/wire"
)

func main() {
	topics := flag.String("topics", "", "prefixes, separated by commas (default: every topic)")
	count := flag.Int("count", 0, "end after so many live records (default: at the end of the stream)")
	timeout := flag.Duration("timeout", 10*time.Second, "silence after which to give up")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: plain [flags] ENDPOINT")
	}
	if err := run(flag.Arg(0), strings.Split(*topics, ","), *count, *timeout); err != nil {
		log.Fatal(err)
	}
}

// expected is the sequence that a topic's next record has. Sequences begin anew
// with each epoch.
type expected struct {
	epoch wire.Epoch
	seq   uint32
}

// tally is what a reader of the plain stream can say about it.
type tally struct {
	next              map[string]expected // by topic
	snapshot, live    int
	missing, repeated uint64
	shards, ended     int
}

func run(endpoint string, topics []string, count int, timeout time.Duration) (err error) {
	socket, err := zmq.NewSocket(zmq.SUB)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, socket.Close()) }()
	err = errors.Join(socket.SetRcvhwm(100_000), socket.SetRcvtimeo(timeout), socket.Connect(endpoint))
	for _, topic := range append(topics, wire.OperatorPrefix+"end") {
		err = errors.Join(err, socket.SetSubscribe(topic))
	}
	if err != nil {
		return err
	}
	t := tally{next: map[string]expected{}, shards: 1}
	for t.ended < t.shards && (count == 0 || t.live < count) {
		frames, err := socket.RecvMessageBytes(0)
		if zmq.AsErrno(err) == zmq.Errno(syscall.EAGAIN) {
			return fmt.Errorf("nothing for %v", timeout)
		}
		if err != nil {
			return err
		}
		if err := t.take(frames); err != nil {
			return err
		}
	}
	fmt.Printf("%d last values, %d live records of %d topics; %d missing, %d repeated\n",
		t.snapshot, t.live, len(t.next), t.missing, t.repeated)
	if t.missing+t.repeated > 0 {
		return errors.New("the stream is not whole")
	}
	return nil
}

// take takes a message: one record, or the answer to a subscription, which is as
// many entries as topics match.
func (t *tally) take(frames [][]byte) error {
	if len(frames)%3 != 0 {
		return fmt.Errorf("message of %d frames", len(frames))
	}
	for ; len(frames) > 0; frames = frames[3:] {
		topic := string(frames[0])
		h, err := wire.ParsePlain(frames[1])
		switch {
		case err != nil:
			return err
		case topic == wire.OperatorPrefix+"end" && h.Flags&wire.PlainEmpty == 0:
			t.ended++
		case h.Kind == wire.KindNotice && h.Epoch == 0:
			// The proxy about itself, or the answer to a subscription that
			// matches nothing yet.
		default:
			t.record(topic, &h)
		}
	}
	return nil
}

func (t *tally) record(topic string, h *wire.Plain) {
	t.shards = int(h.Shards)
	want := t.next[topic]
	t.next[topic] = expected{h.Epoch, h.TopicSeq + 1}
	if h.Flags&wire.PlainSnapshot != 0 {
		t.snapshot++ // what comes live continues it
		return
	}
	t.live++
	if want.epoch != h.Epoch {
		return
	}
	switch ahead := int32(h.TopicSeq - want.seq); {
	case ahead > 0:
		t.missing += uint64(ahead)
	case ahead < 0:
		t.repeated++
		t.next[topic] = want
	}
}
