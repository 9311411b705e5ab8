#ifndef TAPEDECK_ZSOCK_SHIM_H
#define TAPEDECK_ZSOCK_SHIM_H

#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

/* Frames of a message that the shim keeps; further ones are counted and dropped. */
#define TD_FRAMES_MAX 4

/* A received message: frames where libzmq received them. */
typedef struct {
	uint64_t msg[TD_FRAMES_MAX][8]; /* zmq_msg_t: 64 bytes each */
	void *data[TD_FRAMES_MAX];
	size_t size[TD_FRAMES_MAX];
	int kept;  /* frames held in msg, to be closed */
	int total; /* frames the message had */
} td_message;

/*
 * td_send sends [header][payload] or, with order_size > 0, [header][payload][order].
 * The header is copied. With a token, payload and order are handed to libzmq as they
 * lie and *token counts the frames libzmq still holds; without one they are copied.
 * Returns 0 or an errno value; on error nothing was sent and nothing is held.
 */
int td_send(void *socket, const void *header, size_t header_size, void *payload, size_t payload_size,
            void *order, size_t order_size, int32_t *token, int flags);

/* td_recv closes what m holds and receives the next message. Returns 0 or an errno value. */
int td_recv(void *socket, td_message *m, int flags);

/* td_message_close closes what m holds. */
void td_message_close(td_message *m);

/* Where a message came from, as its metadata says; texts end with a zero byte. */
typedef struct {
	char user[64];
	char address[64];
	int fd; /* -1: none */
} td_from;

/* td_where reads it. Of a text that does not fit there is nothing. */
void td_where(zmq_msg_t *msg, td_from *from);

#endif
