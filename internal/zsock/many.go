package zsock

/*
#cgo noescape td_many_send
#cgo nocallback td_many_send
#cgo noescape td_many_recv
#cgo nocallback td_many_recv
#cgo noescape td_many_free
#cgo nocallback td_many_free
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>
#include "shim.h"

// Frames of many messages, one after the other: bytes in data, sizes in sizes,
// whose highest bit says that another frame of the same message follows.
typedef struct {
	uint8_t *data;
	size_t size, cap;
	uint32_t *sizes;
	size_t frames, frames_cap;
	td_from *from; // of each message, where that is wanted
	size_t messages, from_cap;
} td_many;

#define TD_MORE 0x80000000u

// libzmq looks only about once in a millisecond at what peers have taken
// meanwhile when it sends, but always when it is asked for its events. Without
// that look a queue seems full that is empty, and a PUB socket drops for it.
static void td_many_look(void *socket)
{
	int events = 0;
	size_t size = sizeof events;
	zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size);
}

static int td_many_send(void *socket, const uint8_t *data, const uint32_t *sizes, size_t frames, int flags,
                        size_t *sent_frames, size_t *sent_bytes)
{
	size_t at = 0, i;
	int first = 1, looked = 0;
	td_many_look(socket);
	for (i = 0; i < frames; i++) {
		size_t size = sizes[i] & ~TD_MORE;
		int more = (sizes[i] & TD_MORE) != 0, rc;
		zmq_msg_t msg;
		if (zmq_msg_init_size(&msg, size) != 0)
			return errno;
		if (size > 0)
			memcpy(zmq_msg_data(&msg), data + at, size);
		do {
			rc = zmq_msg_send(&msg, socket, flags | (more ? ZMQ_SNDMORE : 0));
		} while (rc < 0 && errno == EINTR);
		if (rc < 0 && errno == EAGAIN && first && !looked) {
			looked = 1;
			td_many_look(socket);
			zmq_msg_close(&msg);
			i--;
			continue;
		}
		if (rc < 0) {
			int err = errno;
			zmq_msg_close(&msg);
			// Only a message's first frame can meet a full queue or an unknown peer.
			return first ? err : (err == EAGAIN ? EPROTO : err);
		}
		at += size;
		first = !more;
		looked = 0;
		if (first) {
			*sent_frames = i + 1;
			*sent_bytes = at;
		}
	}
	return 0;
}

static int td_many_grow(td_many *m, size_t size)
{
	if (m->frames == m->frames_cap) {
		size_t cap = m->frames_cap ? m->frames_cap * 2 : 64;
		uint32_t *sizes = realloc(m->sizes, cap * sizeof *sizes);
		if (sizes == NULL)
			return ENOMEM;
		m->sizes = sizes;
		m->frames_cap = cap;
	}
	if (m->cap - m->size < size) {
		size_t cap = m->cap ? m->cap : 4096;
		uint8_t *data;
		while (cap - m->size < size)
			cap *= 2;
		data = realloc(m->data, cap);
		if (data == NULL)
			return ENOMEM;
		m->data = data;
		m->cap = cap;
	}
	return 0;
}

static int td_many_where(td_many *m, zmq_msg_t *msg)
{
	if (m->messages == m->from_cap) {
		size_t cap = m->from_cap ? m->from_cap * 2 : 16;
		td_from *from = realloc(m->from, cap * sizeof *from);
		if (from == NULL)
			return ENOMEM;
		m->from = from;
		m->from_cap = cap;
	}
	td_where(msg, &m->from[m->messages++]);
	return 0;
}

// The first message may be waited for, further ones are taken if they are there.
static int td_many_recv(void *socket, td_many *m, size_t messages, size_t bytes, int where)
{
	m->size = m->frames = m->messages = 0;
	for (size_t n = 0; n < messages && (n == 0 || m->size < bytes); n++) {
		int more = 1, flags = n == 0 ? 0 : ZMQ_DONTWAIT;
		while (more) {
			zmq_msg_t msg;
			size_t size;
			int rc, err = 0;
			zmq_msg_init(&msg);
			do {
				rc = zmq_msg_recv(&msg, socket, flags);
			} while (rc < 0 && errno == EINTR);
			if (rc < 0)
				err = errno;
			if (err == EAGAIN && n > 0) {
				zmq_msg_close(&msg);
				return 0;
			}
			size = zmq_msg_size(&msg);
			if (err == 0 && size >= TD_MORE)
				err = EMSGSIZE;
			if (err == 0)
				err = td_many_grow(m, size);
			more = zmq_msg_more(&msg);
			if (err == 0 && where && !more)
				err = td_many_where(m, &msg);
			if (err != 0) {
				zmq_msg_close(&msg);
				return err;
			}
			if (size > 0)
				memcpy(m->data + m->size, zmq_msg_data(&msg), size);
			m->size += size;
			m->sizes[m->frames++] = (uint32_t) size | (more ? TD_MORE : 0);
			zmq_msg_close(&msg);
		}
	}
	return 0;
}

static void td_many_free(td_many *m)
{
	free(m->data);
	free(m->sizes);
	free(m->from);
	free(m);
}
*/
import "C"

import (
	"syscall"
	"unsafe"
)

// more is the bit of a frame's size that says that the message goes on.
const more = 1 << 31

// Outbox holds many small messages, to be sent in one crossing. Its frames are
// copied in. The zero value is empty and ready.
type Outbox struct {
	data  []byte
	sizes []uint32
	ends  int // messages that are whole
}

// Frame appends a frame to the message at the end; last ends the message. The
// frame is copied and must be below 2 GiB.
func (o *Outbox) Frame(frame []byte, last bool) {
	size := uint32(len(frame))
	if len(frame) >= more {
		panic("BUG: zsock: frame of 2 GiB or more")
	}
	if last {
		o.ends++
	} else {
		size |= more
	}
	o.data = append(o.data, frame...)
	o.sizes = append(o.sizes, size)
}

// Messages is how many messages wait.
func (o *Outbox) Messages() int { return o.ends }

// Size is how many bytes wait.
func (o *Outbox) Size() int { return len(o.data) }

// Reset takes everything out and keeps the memory.
func (o *Outbox) Reset() { o.data, o.sizes, o.ends = o.data[:0], o.sizes[:0], 0 }

// Drop takes the first message out, as SendMany takes out those that were sent:
// for one that cannot be. It does nothing where there is none.
func (o *Outbox) Drop() {
	bytes := 0
	for i, size := range o.sizes {
		bytes += int(size &^ more)
		if size&more == 0 {
			o.data = append(o.data[:0], o.data[bytes:]...)
			o.sizes = append(o.sizes[:0], o.sizes[i+1:]...)
			o.ends--
			return
		}
	}
}

// SendMany sends messages from the front of o, without waiting, until all are
// sent or one cannot be, and takes those out of o that were sent. sent is how
// many they were. ErrAgain: the queue is full; ErrUnreachable: a ROUTER that
// must reach its peers has none of that identity. The last message in o must be
// whole.
func (s *Socket) SendMany(o *Outbox) (sent int, err error) {
	if len(o.sizes) == 0 {
		return 0, nil
	}
	if s.port != nil {
		return s.sendManyIn(o)
	}
	var frames, bytes C.size_t
	rc := C.td_many_send(s.raw, (*C.uint8_t)(unsafe.SliceData(o.data)), (*C.uint32_t)(unsafe.SliceData(o.sizes)),
		C.size_t(len(o.sizes)), C.ZMQ_DONTWAIT, &frames, &bytes)
	if rc == 0 {
		sent = o.ends
		o.Reset()
		return sent, nil
	}
	for _, size := range o.sizes[:frames] {
		if size&more == 0 {
			sent++
		}
	}
	o.data = append(o.data[:0], o.data[bytes:]...)
	o.sizes = append(o.sizes[:0], o.sizes[frames:]...)
	o.ends -= sent
	return sent, manyError(int(rc))
}

func manyError(errno int) error {
	if syscall.Errno(errno) == syscall.EHOSTUNREACH {
		return ErrUnreachable
	}
	return errnoError(errno)
}

// Inbox holds many small messages that were received in one crossing, copied
// out of libzmq's memory. It lies in C memory and must be closed.
type Inbox struct {
	c      *C.td_many
	frame  int // the next frame's index
	offset int // and where it lies
	frames [][]byte

	of      *Socket // that it was received from, where peers have names there
	where   bool    // it is known where messages came from
	message int     // the next message's index

	imagined [][][]byte // messages that came in a World
}

// NewInbox returns an empty Inbox.
func NewInbox() *Inbox { return &Inbox{c: (*C.td_many)(C.calloc(1, C.sizeof_td_many))} }

// Close frees the memory. The Inbox is not to be used again.
func (in *Inbox) Close() {
	if in.c != nil {
		C.td_many_free(in.c)
		in.c, in.frames = nil, nil
	}
}

// RecvMany takes what waits at the socket: one message, which it waits for as
// long as the configured receive timeout, and then those that are there already,
// until messages of them or about so many bytes are in. Without any it returns
// ErrAgain. What the Inbox held is gone.
func (s *Socket) RecvMany(in *Inbox, messages, bytes int) error {
	if s.port != nil {
		return s.recvManyIn(in, messages, bytes)
	}
	in.Rewind()
	in.of, in.where = nil, s.typ == XPUB
	if s.guarded() {
		in.of, in.where = s, true
	}
	where := C.int(0)
	if in.where {
		where = 1
	}
	rc := C.td_many_recv(s.raw, in.c, C.size_t(messages), C.size_t(bytes), where)
	if rc != 0 {
		in.c.frames = 0
		return errnoError(int(rc))
	}
	return nil
}

// Rewind makes Next begin with the first message again.
func (in *Inbox) Rewind() { in.frame, in.offset, in.message = 0, 0, 0 }

// From is where the message came from that Next returned last. It is known only of XPUB
// sockets, and of those whose context has a Lock with a Check; of others it is nowhere.
func (in *Inbox) From() Peer {
	if !in.where || in.message == 0 {
		return Peer{FD: NoFD}
	}
	return peerOf((*C.td_from)(unsafe.Add(unsafe.Pointer(in.c.from), (in.message-1)*C.sizeof_td_from)))
}

// Next returns the frames of the next message, at least one, or nil after the
// last. The slice is borrowed until the next call, the frames until the next
// RecvMany. Messages of peers that Lock.Expel has expelled are left out.
func (in *Inbox) Next() [][]byte {
	for {
		frames := in.next()
		if frames == nil || in.of == nil || in.of.attend(in.From) {
			return frames
		}
	}
}

func (in *Inbox) next() [][]byte {
	if in.imagined != nil {
		return in.nextIn()
	}
	in.frames = in.frames[:0]
	for in.frame < int(in.c.frames) {
		size := uint32(*(*C.uint32_t)(unsafe.Add(unsafe.Pointer(in.c.sizes), in.frame*4)))
		n := int(size &^ more)
		var frame []byte
		if n > 0 {
			frame = unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(in.c.data), in.offset)), n)
		}
		in.frames = append(in.frames, frame)
		in.frame++
		in.offset += n
		if size&more == 0 {
			break
		}
	}
	if len(in.frames) == 0 {
		return nil
	}
	in.message++
	return in.frames
}
