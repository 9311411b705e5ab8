package zsock

/*
#cgo noescape td_readable
#cgo nocallback td_readable
#include <errno.h>
#include <zmq.h>

static int td_readable(void *socket)
{
	int events = 0, rc;
	size_t size = sizeof events;
	do {
		rc = zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size);
	} while (rc != 0 && errno == EINTR);
	// A socket that cannot say is as good as one that can be read: reading gives
	// the error.
	return rc != 0 || (events & ZMQ_POLLIN) != 0;
}
*/
import "C"

// Readable reports whether a message waits, or an error. It does not wait and
// takes in what peers have sent to the socket's own queues before it looks.
func (s *Socket) Readable() bool { return C.td_readable(s.raw) != 0 }
