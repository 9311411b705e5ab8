/* A subscriber of the plain stream: last values first, then everything new.
 *
 *     cc -O2 -o plain_subscriber plain_subscriber.c -lzmq
 *     tapedeck lvc --shards tcp://127.0.0.1:7100 --plain tcp://127.0.0.1:7200
 *     ./plain_subscriber tcp://127.0.0.1:7200 GLBX.MDP3.ES
 *
 * Needs libzmq and nothing of Tapedeck. The stream is described in docs/WIRE.md,
 * section 12. Says "joined" when every subscription is answered, reads to the end of
 * the stream, checks every topic's sequence, and ends with 3 when a record was
 * missing or came twice. "through" is the sum, over its topics, of the records that
 * they have had.
 */

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { HEADER = 64, SNAPSHOT = 1, EMPTY = 2, LAST = 4, NOTICE = 11, TOPIC_MAX = 255 };

/* One topic: the sequence that its next record has in an epoch. */
struct topic {
    uint64_t epoch;
    uint32_t next;
    uint8_t size; /* 0: the slot is free */
    uint8_t name[TOPIC_MAX];
};

static struct topic *slots;
static size_t slot_count, topics;

static uint64_t hash(const uint8_t *s, size_t n) /* FNV-1a */
{
    uint64_t h = 14695981039346656037u;
    while (n--)
        h = (h ^ *s++) * 1099511628211u;
    return h;
}

static struct topic *find(const uint8_t *name, size_t size)
{
    size_t i = hash(name, size) & (slot_count - 1);
    while (slots[i].size && (slots[i].size != size || memcmp(slots[i].name, name, size)))
        i = (i + 1) & (slot_count - 1);
    return &slots[i];
}

static void grow(void)
{
    struct topic *old = slots;
    size_t n = slot_count;
    slot_count = n ? n * 2 : 1024;
    slots = calloc(slot_count, sizeof *slots);
    if (!slots)
        exit(1);
    for (size_t i = 0; i < n; i++)
        if (old[i].size)
            *find(old[i].name, old[i].size) = old[i];
    free(old);
}

static struct topic *topic_of(const uint8_t *name, size_t size)
{
    if (topics * 2 >= slot_count)
        grow();
    struct topic *t = find(name, size);
    if (!t->size) {
        t->size = (uint8_t)size;
        memcpy(t->name, name, size);
        topics++;
    }
    return t;
}

/* All integers are little-endian; so is every machine this is for. */
static uint64_t u64(const uint8_t *b) { uint64_t v; memcpy(&v, b, 8); return v; }
static uint32_t u32(const uint8_t *b) { uint32_t v; memcpy(&v, b, 4); return v; }
static uint16_t u16(const uint8_t *b) { uint16_t v; memcpy(&v, b, 2); return v; }

static uint64_t last_values, live, missing, repeated, answers;
static unsigned shards = 1, ended, wanted;

static void record(const uint8_t *name, size_t size, const uint8_t *h)
{
    struct topic *t = topic_of(name, size);
    uint64_t epoch = u64(h + 16);
    uint32_t seq = u32(h + 32);
    shards = u16(h + 12);
    if (h[6] & SNAPSHOT) {
        last_values++;
    } else {
        live++;
        int32_t ahead = (int32_t)(seq - t->next);
        if (t->epoch == epoch && ahead < 0) {
            repeated++;
            return;
        }
        if (t->epoch == epoch && ahead > 0)
            missing += (uint64_t)ahead;
    }
    t->epoch = epoch;
    t->next = seq + 1;
}

static int entry(const uint8_t *name, size_t size, const uint8_t *h, size_t header_size)
{
    if (header_size != HEADER || memcmp(h, "TPLV", 4) || h[4] != 1) {
        fprintf(stderr, "not the plain stream, or a newer version of it\n");
        return -1;
    }
    if (h[6] & LAST && ++answers % wanted == 0) /* again after a reconnect */
        fprintf(stderr, "joined\n");
    if (h[7] == NOTICE && u64(h + 16) == 0) /* the proxy about itself, or "nothing yet" */
        ended += !(h[6] & EMPTY) && size == 8 && !memcmp(name, "TPDK!end", 8);
    else if (size > 0 && size <= TOPIC_MAX)
        record(name, size, h);
    return 0;
}

/* Take one message: one record, or the answer to a subscription, which is as many
 * entries of three frames as topics match. */
static int take(void *socket)
{
    zmq_msg_t frame[3];
    int more = 1, rc = 0, n = 0;
    for (int i = 0; i < 3; i++)
        zmq_msg_init(&frame[i]);
    while (more && rc >= 0) {
        rc = zmq_msg_recv(&frame[n], socket, 0);
        if (rc < 0) {
            fprintf(stderr, "receive: %s\n", zmq_strerror(errno));
            break;
        }
        more = zmq_msg_more(&frame[n]);
        if (++n == 3) {
            rc = entry(zmq_msg_data(&frame[0]), zmq_msg_size(&frame[0]), zmq_msg_data(&frame[1]), zmq_msg_size(&frame[1]));
            n = 0;
        }
    }
    for (int i = 0; i < 3; i++)
        zmq_msg_close(&frame[i]);
    return n ? -1 : rc;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s ENDPOINT [PREFIX...]\n", argv[0]);
        return 2;
    }
    int queue = 1000000, silence = 30000;
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_SUB);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &queue, sizeof queue);
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &silence, sizeof silence);
    if (zmq_connect(socket, argv[1])) {
        fprintf(stderr, "%s: %s\n", argv[1], zmq_strerror(errno));
        return 2;
    }
    grow();
    wanted = argc == 2 ? 3 : (unsigned)argc;
    zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "TPDK!end", 8);
    zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "TPDK!heartbeat", 14); /* or silence would mean nothing */
    if (argc == 2)
        zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0);
    for (int i = 2; i < argc; i++)
        zmq_setsockopt(socket, ZMQ_SUBSCRIBE, argv[i], strlen(argv[i]));

    int rc = 0;
    while (ended < shards && rc >= 0)
        rc = take(socket);
    uint64_t through = 0;
    for (size_t i = 0; i < slot_count; i++)
        through += slots[i].size ? slots[i].next : 0;
    printf("{\"last_values\": %llu, \"live\": %llu, \"topics\": %zu, \"through\": %llu, \"missing\": %llu, \"repeated\": %llu, \"answers\": %llu, \"ended\": %s}\n",
           (unsigned long long)last_values, (unsigned long long)live, topics, (unsigned long long)through,
           (unsigned long long)missing, (unsigned long long)repeated, (unsigned long long)answers, ended == shards ? "true" : "false");
    zmq_close(socket);
    zmq_ctx_term(context);
    return rc < 0 ? 1 : missing || repeated ? 3 : 0;
}
