package zsock

/*
#cgo noescape td_accept
#cgo nocallback td_accept
#include <errno.h>
#include <zmq.h>

// ZMQ_XPUB_MANUAL_LAST_VALUE has a number in the header's draft section alone;
// the library takes it since 4.3.2, drafts or not.
#define TD_XPUB_MANUAL_LAST_VALUE 98

static int td_manual_last_value(void *socket)
{
	int on = 1;
	return zmq_setsockopt(socket, TD_XPUB_MANUAL_LAST_VALUE, &on, sizeof on) == 0 ? 0 : errno;
}

static int td_accept(void *socket, const void *topic, size_t size)
{
	return zmq_setsockopt(socket, ZMQ_SUBSCRIBE, topic, size) == 0 ? 0 : errno;
}
*/
import "C"

import (
	"errors"
	"unsafe"
)

// TopicSizeMax is the longest subscription that AcceptSubscription takes, bytes.
const TopicSizeMax = 255

// ErrTopicSize: a subscription is longer than TopicSizeMax.
var ErrTopicSize = errors.New("zsock: subscription is longer than 255 bytes")

// manualLastValue makes an XPUB socket private to whoever it last heard of: a
// subscription is not applied until AcceptSubscription, and the first message
// sent after a receive goes to the peer that was received from, and to nobody
// else. It is how a last-value cache can be made of libzmq alone; the tests of
// this file hold what one has to know of it:
//
//   - Only one message is private. Many values must be one multipart message.
//   - A record sent between a subscription and its answer goes to the joiner
//     alone: everybody else loses it.
//   - An unsubscription makes the next message private, too: it must be followed
//     by one that nobody wants, else a record is lost for all.
//   - When any peer leaves between a subscription and its answer, libzmq forgets
//     whom it had heard of, and the answer goes to everybody. Nothing tells.
//
// The last cannot be helped from outside, so what serves the plain stream speaks
// the protocol itself (internal/zmtp); this stands for what it is measured
// against.
func (s *Socket) manualLastValue() error {
	return errnoError(int(C.td_manual_last_value(s.raw)))
}

// AcceptSubscription applies a subscription to the peer whose frame was received
// last, of an XPUB socket with ManualLastValue. topic is the frame without its
// first byte, copied. Where that peer is gone meanwhile nothing happens.
func (s *Socket) AcceptSubscription(topic []byte) error {
	if len(topic) > TopicSizeMax {
		return ErrTopicSize
	}
	return errnoError(int(C.td_accept(s.raw, unsafe.Pointer(unsafe.SliceData(topic)), C.size_t(len(topic)))))
}
