package zsock

/*
#include <errno.h>
#include <stdint.h>
#include <zmq.h>

// What libzmq does by itself, without Go: the loops that benchmarks compare with.

static int td_send_repeated(void *socket, const void *data, size_t size, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		int rc;
		do {
			rc = zmq_send(socket, data, size, 0);
		} while (rc < 0 && errno == EINTR);
		if (rc < 0)
			return errno;
	}
	return 0;
}

static int td_recv_repeated(void *socket, uint64_t n, uint64_t *bytes)
{
	zmq_msg_t msg;
	zmq_msg_init(&msg);
	for (uint64_t i = 0; i < n; i++) {
		int rc;
		do {
			rc = zmq_msg_recv(&msg, socket, 0);
		} while (rc < 0 && errno == EINTR);
		if (rc < 0) {
			int err = errno;
			zmq_msg_close(&msg);
			return err;
		}
		*bytes += zmq_msg_size(&msg);
	}
	zmq_msg_close(&msg);
	return 0;
}
*/
import "C"

import "unsafe"

// SendRepeated sends the same frame n times, each as a message of its own, in a
// loop in C. It is the baseline of benchmarks.
func (s *Socket) SendRepeated(frame []byte, n uint64) error {
	return errnoError(int(C.td_send_repeated(s.raw, unsafe.Pointer(unsafe.SliceData(frame)), C.size_t(len(frame)), C.uint64_t(n))))
}

// RecvRepeated receives n messages of one frame in a loop in C and returns how
// many bytes they had.
func (s *Socket) RecvRepeated(n uint64) (uint64, error) {
	var bytes C.uint64_t
	err := errnoError(int(C.td_recv_repeated(s.raw, C.uint64_t(n), &bytes)))
	return uint64(bytes), err
}
