package bench

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/wire"
)

// benchTopics begins the topics of all benches.
const benchTopics = "BENCH."

func benchTopic(n int) string { return fmt.Sprintf("%s%05d", benchTopics, n) }

// topicNumber takes no memory, as converting a string would.
func topicNumber(topic []byte) (n int, ok bool) {
	digits, ok := bytes.CutPrefix(topic, []byte(benchTopics))
	if !ok || len(digits) != 5 {
		return 0, false
	}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = 10*n + int(d-'0')
	}
	return n, true
}

// plainTally is what readers of the plain stream found, by the topics' sequences.
type plainTally struct {
	Live       uint64 `json:"live"`        // records that were new
	LastValues uint64 `json:"last_values"` // flagged snapshot
	Missing    uint64 `json:"missing"`     // records that never came
	Repeated   uint64 `json:"repeated"`    // records that came again, as if they were new
	Early      uint64 `json:"early"`       // records of a topic whose last value had not come yet
	Complete   int    `json:"complete"`    // readers that got the value of every topic
	Reached    uint64 `json:"reached"`     // records of all topics up to the last that came
}

func (t *plainTally) merge(o *plainTally) {
	t.Live += o.Live
	t.LastValues += o.LastValues
	t.Missing += o.Missing
	t.Repeated += o.Repeated
	t.Early += o.Early
	t.Complete += o.Complete
	t.Reached += o.Reached
}

// plainReader is a SUB client as any program could be one: a ZeroMQ socket, the
// layout of the header, and a sequence for each topic.
type plainReader struct {
	plainTally
	topics []topicState
	seen   int // topics that have a value
	ended  bool

	measured uint64 // new records that are part of a measurement

	visit func(k wire.Kind, event wire.Nanos) // what is done with a new record; nil: nothing

	socket *zsock.Socket
	inbox  *zsock.Inbox
}

type topicState struct {
	next uint32 // sequence of the next record
	seen bool
}

// newPlainReader connects a reader. Its queue holds so many messages as in our
// examples, and all subscriptions that it makes.
func newPlainReader(ctx *zsock.Context, endpoint string, topics int) (*plainReader, error) {
	s, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{ReceiveQueue: 100_000, SendQueue: -1, RecvTimeout: cacheWait})
	if err != nil {
		return nil, err
	}
	r := &plainReader{topics: make([]topicState, topics), socket: s, inbox: zsock.NewInbox()}
	if err := s.Connect(endpoint); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *plainReader) close() error {
	r.inbox.Close()
	return r.socket.Close()
}

// receiveBytes is about how many bytes a reader takes in one crossing.
const receiveBytes = 64 << 10

// receive takes what has come, and waits for it.
func (r *plainReader) receive() error {
	if err := r.socket.RecvMany(r.inbox, 1<<20, receiveBytes); err != nil {
		return fmt.Errorf("bench: nothing for %v: %w", cacheWait, err)
	}
	for frames := r.inbox.Next(); frames != nil; frames = r.inbox.Next() {
		if err := r.message(frames); err != nil {
			return err
		}
	}
	return nil
}

var (
	errPlainFrames = errors.New("bench: a message whose frames are no triples of the bench's topics")
	errPlainAnswer = errors.New("bench: an answer whose entries are not numbered to the last one")
)

// message takes a message: one record, or an answer of many entries.
func (r *plainReader) message(frames [][]byte) error {
	entries := len(frames) / 3
	if len(frames)%3 != 0 {
		return errPlainFrames
	}
	for i := range entries {
		topic := frames[3*i]
		h, err := wire.ParsePlain(frames[3*i+1])
		if err != nil {
			return err
		}
		if h.Flags&wire.PlainSnapshot != 0 || entries > 1 {
			if int(h.Place) != i || (h.Flags&wire.PlainLast != 0) != (i == entries-1) {
				return errPlainAnswer
			}
		}
		if h.Epoch == 0 {
			r.ended = r.ended || string(topic) == lvc.EndTopic
			continue // the server of itself, or nothing matches
		}
		if err := r.record(topic, &h); err != nil {
			return err
		}
	}
	return nil
}

func (r *plainReader) record(topic []byte, h *wire.Plain) error {
	n, ok := topicNumber(topic)
	if !ok || n >= len(r.topics) {
		return errPlainFrames
	}
	t, snapshot := &r.topics[n], h.Flags&wire.PlainSnapshot != 0
	ahead := int32(h.TopicSeq - t.next)
	if snapshot {
		// The value that is the last one: what is known already comes up to it.
		ahead++
		r.LastValues++
	}
	switch {
	case !t.seen:
		t.seen = true
		r.seen++
		if !snapshot {
			r.Early++
		}
	case ahead > 0:
		r.Missing += uint64(ahead)
	case ahead < 0:
		r.Repeated++
		return nil
	}
	t.next = h.TopicSeq + 1
	if snapshot {
		return nil
	}
	r.Live++
	if h.Kind != kindWarm {
		r.measured++
	}
	if r.visit != nil {
		r.visit(h.Kind, h.Event)
	}
	return nil
}

// reached counts the records of all topics up to the last one that came: as many as
// were sent, where the end is not missing.
func (r *plainReader) reached() (n uint64) {
	for i := range r.topics {
		n += uint64(r.topics[i].next)
	}
	return n
}

// lateness is how late a record is visited that was to be sent at its event time.
func lateness(event wire.Nanos) int64 {
	return min(max(time.Now().UnixNano()-int64(event), 1), latencyMax)
}
