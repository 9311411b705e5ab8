#include "shim.h"

#include <errno.h>
#include <string.h>
#include <zmq.h>

_Static_assert(sizeof(zmq_msg_t) == 64, "zmq_msg_t has 64 bytes");

/* Called by libzmq, on any of its threads, when the last reference to a frame goes. */
static void td_free(void *data, void *hint)
{
	(void) data;
	__atomic_fetch_sub((int32_t *) hint, 1, __ATOMIC_RELEASE);
}

static int send_retry(zmq_msg_t *msg, void *socket, int flags)
{
	int rc;
	do {
		rc = zmq_msg_send(msg, socket, flags);
	} while (rc < 0 && errno == EINTR);
	return rc < 0 ? errno : 0;
}

static int send_frame(void *socket, void *data, size_t size, int32_t *token, int flags)
{
	zmq_msg_t msg;
	int err;
	if (token != NULL) {
		__atomic_fetch_add(token, 1, __ATOMIC_RELAXED);
		if (zmq_msg_init_data(&msg, data, size, td_free, token) != 0) {
			__atomic_fetch_sub(token, 1, __ATOMIC_RELAXED);
			return errno;
		}
	} else {
		if (zmq_msg_init_size(&msg, size) != 0)
			return errno;
		if (size > 0)
			memcpy(zmq_msg_data(&msg), data, size);
	}
	err = send_retry(&msg, socket, flags);
	if (err != 0)
		zmq_msg_close(&msg);
	return err;
}

int td_send(void *socket, const void *header, size_t header_size, void *payload, size_t payload_size,
            void *order, size_t order_size, int32_t *token, int flags)
{
	int err = send_frame(socket, (void *) header, header_size, NULL, flags | ZMQ_SNDMORE);
	if (err != 0)
		return err;
	/* The message has begun: its other frames never meet a full queue, and must
	 * follow or the socket stays in the middle of a message. */
	err = send_frame(socket, payload, payload_size, token, order_size > 0 ? ZMQ_SNDMORE : 0);
	if (err == 0 && order_size > 0)
		err = send_frame(socket, order, order_size, token, 0);
	return err;
}

void td_message_close(td_message *m)
{
	for (int i = 0; i < m->kept; i++)
		zmq_msg_close((zmq_msg_t *) m->msg[i]);
	m->kept = 0;
	m->total = 0;
}

static int recv_retry(zmq_msg_t *msg, void *socket, int flags)
{
	int rc;
	do {
		rc = zmq_msg_recv(msg, socket, flags);
	} while (rc < 0 && errno == EINTR);
	return rc < 0 ? errno : 0;
}

int td_recv(void *socket, td_message *m, int flags)
{
	zmq_msg_t extra;
	td_message_close(m);
	for (;;) {
		zmq_msg_t *msg = m->total < TD_FRAMES_MAX ? (zmq_msg_t *) m->msg[m->total] : &extra;
		int err, more;
		zmq_msg_init(msg);
		err = recv_retry(msg, socket, flags);
		if (err != 0) {
			zmq_msg_close(msg);
			td_message_close(m);
			return err;
		}
		more = zmq_msg_more(msg);
		if (msg == &extra) {
			zmq_msg_close(&extra);
		} else {
			m->data[m->kept] = zmq_msg_data(msg);
			m->size[m->kept] = zmq_msg_size(msg);
			m->kept++;
		}
		m->total++;
		if (!more)
			return 0;
	}
}

static void td_property(zmq_msg_t *msg, const char *name, char *to, size_t size)
{
	const char *value = zmq_msg_gets(msg, name);
	size_t length = value == NULL ? 0 : strlen(value);
	if (length >= size)
		length = 0;
	if (length > 0)
		memcpy(to, value, length);
	to[length] = 0;
}

void td_where(zmq_msg_t *msg, td_from *from)
{
	td_property(msg, "User-Id", from->user, sizeof from->user);
	td_property(msg, "Peer-Address", from->address, sizeof from->address);
	from->fd = zmq_msg_get(msg, ZMQ_SRCFD);
}
