package zsock

/*
#cgo noescape td_parts_recv
#cgo nocallback td_parts_recv
#cgo noescape td_parts_send
#cgo nocallback td_parts_send
#cgo noescape td_frame_send
#cgo nocallback td_frame_send
#cgo noescape td_parts_append
#cgo nocallback td_parts_append
#cgo noescape td_parts_clear
#cgo nocallback td_parts_clear
#cgo noescape td_parts_where
#cgo nocallback td_parts_where
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>
#include "shim.h"

#define TD_PARTS_MAX 16

typedef struct {
	zmq_msg_t msg[TD_PARTS_MAX];
	void *data[TD_PARTS_MAX];
	size_t size[TD_PARTS_MAX];
	int kept;  // frames held, to be closed
	int total; // frames the message had
} td_parts;

static void td_parts_clear(td_parts *p)
{
	for (int i = 0; i < p->kept; i++)
		zmq_msg_close(&p->msg[i]);
	p->kept = p->total = 0;
}

static int td_parts_recv(void *socket, td_parts *p)
{
	zmq_msg_t extra;
	td_parts_clear(p);
	for (;;) {
		zmq_msg_t *msg = p->total < TD_PARTS_MAX ? &p->msg[p->total] : &extra;
		int rc, more;
		zmq_msg_init(msg);
		do {
			rc = zmq_msg_recv(msg, socket, 0);
		} while (rc < 0 && errno == EINTR);
		if (rc < 0) {
			int err = errno;
			zmq_msg_close(msg);
			td_parts_clear(p);
			return err;
		}
		more = zmq_msg_more(msg);
		if (msg == &extra) {
			zmq_msg_close(&extra);
		} else {
			p->data[p->kept] = zmq_msg_data(msg);
			p->size[p->kept] = zmq_msg_size(msg);
			p->kept++;
		}
		p->total++;
		if (!more)
			return 0;
	}
}

// A ROUTER puts the identity before what has come, and that frame does not always say
// where it came from: the last one does.
static void td_parts_where(td_parts *p, td_from *from) { td_where(&p->msg[p->kept - 1], from); }

static int td_parts_append(td_parts *p, const char *data, size_t size)
{
	zmq_msg_t *msg = &p->msg[p->kept];
	if (p->kept == TD_PARTS_MAX)
		return E2BIG;
	if (zmq_msg_init_size(msg, size) != 0)
		return errno;
	if (size > 0)
		memcpy(zmq_msg_data(msg), data, size);
	p->data[p->kept] = zmq_msg_data(msg);
	p->size[p->kept] = size;
	p->kept++;
	p->total++;
	return 0;
}

static int td_send_once(zmq_msg_t *msg, void *socket, int flags)
{
	int rc;
	do {
		rc = zmq_msg_send(msg, socket, flags);
	} while (rc < 0 && errno == EINTR);
	if (rc < 0) {
		int err = errno;
		zmq_msg_close(msg);
		return err;
	}
	return 0;
}

static int td_frame_send(void *socket, const char *data, size_t size, int flags)
{
	zmq_msg_t msg;
	if (zmq_msg_init_size(&msg, size) != 0)
		return errno;
	if (size > 0)
		memcpy(zmq_msg_data(&msg), data, size);
	return td_send_once(&msg, socket, flags);
}

// Frames [from, kept) go out; libzmq counts references to the large ones and
// copies the small ones. p keeps them.
static int td_parts_send(void *socket, td_parts *p, int from)
{
	for (int i = from; i < p->kept; i++) {
		zmq_msg_t msg;
		int err;
		zmq_msg_init(&msg);
		if (zmq_msg_copy(&msg, &p->msg[i]) != 0)
			return errno;
		err = td_send_once(&msg, socket, i + 1 < p->kept ? ZMQ_SNDMORE : 0);
		if (err != 0)
			return err;
	}
	return 0;
}
*/
import "C"

import (
	"errors"
	"syscall"
	"unsafe"
)

// PartsMax is how many frames a Parts holds.
const PartsMax = C.TD_PARTS_MAX

// Errors of messages that are passed on.
var (
	// ErrUnreachable: a ROUTER knows no peer of that identity.
	ErrUnreachable = errors.New("zsock: no such peer")
	// ErrFrames: the message had, or would have, more than PartsMax frames. A
	// received one was dropped.
	ErrFrames = errors.New("zsock: message has too many frames")
)

// Parts is a received message whose frames can be sent on, to any socket of any
// context, without copying the large ones: a proxy's message. It lies in C
// memory and must be closed. It is bound to no socket: whoever holds it may use
// it, one goroutine at a time.
type Parts struct {
	c        *C.td_parts
	imagined [][]byte // in a World
}

// NewParts returns an empty message.
func NewParts() *Parts { return &Parts{c: (*C.td_parts)(C.calloc(1, C.sizeof_td_parts))} }

// Clear lets the frames go.
func (p *Parts) Clear() {
	p.imagined = nil
	C.td_parts_clear(p.c)
}

// Close lets the frames go and frees the message. It is not to be used again.
func (p *Parts) Close() {
	if p.c == nil {
		return
	}
	C.td_parts_clear(p.c)
	C.free(unsafe.Pointer(p.c))
	p.c = nil
}

// Len is how many frames the message has.
func (p *Parts) Len() int { return int(p.c.kept) + len(p.imagined) }

// Frame returns frame i, borrowed until p is received into again, cleared or
// closed. Frames that the message does not have are nil.
func (p *Parts) Frame(i int) []byte {
	if i < 0 || i >= int(p.c.kept) {
		if i >= 0 && i < len(p.imagined) {
			return p.imagined[i]
		}
		return nil
	}
	return unsafe.Slice((*byte)(p.c.data[i]), int(p.c.size[i]))
}

// Append adds a frame with a copy of b, so that it can be sent many times without
// another one. The error is ErrFrames where there is no room.
func (p *Parts) Append(b []byte) error {
	if p.imagined != nil {
		p.imagined = append(p.imagined, append([]byte{}, b...))
		return nil
	}
	switch errno := C.td_parts_append(p.c, chars(b), C.size_t(len(b))); syscall.Errno(errno) {
	case 0:
		return nil
	case syscall.E2BIG:
		return ErrFrames
	default:
		return partsError(int(errno))
	}
}

// Size is the size of all frames together, bytes.
func (p *Parts) Size() int {
	n := 0
	for i := range int(p.c.kept) {
		n += int(p.c.size[i])
	}
	for _, f := range p.imagined {
		n += len(f)
	}
	return n
}

// RecvParts lets go what p held and receives the next message into it. It waits
// for the configured receive timeout and then returns ErrAgain. Messages of peers that
// Lock.Expel has expelled are dropped.
func (s *Socket) RecvParts(p *Parts) (err error) {
	if s.port != nil {
		if p.imagined, err = s.port.Recv(); len(p.imagined) > PartsMax {
			p.imagined, err = nil, ErrFrames
		}
		return err
	}
	for {
		if rc := C.td_parts_recv(s.raw, p.c); rc != 0 {
			return partsError(int(rc))
		}
		if !s.guarded() || s.attend(p.from) {
			break
		}
	}
	if p.c.total > p.c.kept {
		p.Clear()
		return ErrFrames
	}
	return nil
}

// From is where the message that was received last came from. Of a World's it is nowhere.
func (p *Parts) From() Peer {
	if p.imagined != nil {
		return Peer{FD: NoFD}
	}
	return p.from()
}

// from is From, of libzmq's.
func (p *Parts) from() Peer {
	var f C.td_from
	C.td_parts_where(p.c, &f)
	return peerOf(&f)
}

// SendParts sends the frames of lead, copied, and then those of p from frame
// from on, where they lie; p keeps them, and may be nil. It waits for the
// configured send timeout and then returns ErrAgain; on any error nothing was
// sent. A ROUTER that must reach its peers returns ErrUnreachable for an identity
// it does not know.
func (s *Socket) SendParts(p *Parts, from int, lead ...[]byte) error {
	rest := 0
	if p != nil {
		rest = max(p.Len()-from, 0)
	}
	if len(lead)+rest == 0 {
		return errors.New("zsock: message without frames")
	}
	if s.port != nil {
		return s.port.Send(p.after(from, lead))
	}
	for i, f := range lead {
		flags := C.int(C.ZMQ_SNDMORE)
		if i == len(lead)-1 && rest == 0 {
			flags = 0
		}
		// Only the first frame can meet a full queue or an unknown peer.
		if rc := C.td_frame_send(s.raw, chars(f), C.size_t(len(f)), flags); rc != 0 {
			return partsError(int(rc))
		}
	}
	if rest == 0 {
		return nil
	}
	return partsError(int(C.td_parts_send(s.raw, p.c, C.int(from))))
}

// chars is where b begins. As a pointer to characters cgo need not look for
// pointers in whatever b is a part of, and does not refuse a part of a struct
// that has some.
func chars(b []byte) *C.char { return (*C.char)(unsafe.Pointer(unsafe.SliceData(b))) }

func partsError(errno int) error {
	if syscall.Errno(errno) == syscall.EHOSTUNREACH {
		return ErrUnreachable
	}
	return errnoError(errno)
}
