#!/usr/bin/env python3
"""A subscriber of two last-value proxies that are a pair: every record once.

    python3 pair_subscriber.py tcp://one:7200 tcp://two:7200

Connects to both and subscribes at both. The active one sends; when it is gone, the
other one goes on, with what it is not sure that everybody has. So a record may come
twice, and is dropped here by its place in the stream: epoch, shard and sequence. Last
values are dropped where they are not newer than what is known of their topic.

Needs pyzmq (Debian: python3-zmq) and nothing of Tapedeck. The stream is described in
docs/WIRE.md, section 12. Ends with the stream, and with exit code 3 where a record is
missing or a message was none.
"""

import argparse
import json
import struct
import sys
from collections import namedtuple

import zmq

HEADER = struct.Struct("<4sBBBBBBHHHQQIIqqq")
Header = namedtuple(
    "Header",
    "signature version size flags kind record_flags zero shard shards zero2 epoch seq"
    " topic_seq place event_time receive_time send_time",
)
SNAPSHOT, EMPTY, LAST, INCOMPLETE, REFUSED = 1, 2, 4, 8, 16
NOTICE = 11


def entries(frames):
    """Yield (topic, header, body) of a message; ValueError where it is none."""
    if not frames or len(frames) % 3:
        raise ValueError(f"message of {len(frames)} frames")
    for topic, head, body in zip(*[iter(frames)] * 3):
        if len(head) != HEADER.size:
            raise ValueError(f"header of {len(head)} bytes")
        h = Header._make(HEADER.unpack(head))
        if h.signature != b"TPLV" or h.version != 1 or h.size != HEADER.size or h.zero or h.zero2:
            raise ValueError("not the plain stream, or a newer version of it")
        if h.flags & ~31 or (h.shard >= h.shards if h.shards else h.shard) or bool(h.shards) != bool(h.epoch):
            raise ValueError("a header that cannot be")
        yield topic, h, body


class Stream:
    """What has come of one shard in one epoch."""

    def __init__(self, first):
        self.next = first  # everything before has come
        self.ahead = set()  # and of what is beyond a hole, these

    def take(self, seq):
        """Report whether a record is new."""
        if seq < self.next or seq in self.ahead:
            return False
        self.ahead.add(seq)
        while self.next in self.ahead:
            self.ahead.remove(self.next)
            self.next += 1
        return True

    def missing(self):
        return max(self.ahead) + 1 - self.next - len(self.ahead) if self.ahead else 0


class Reader:
    def __init__(self):
        self.streams = {}  # (epoch, shard) -> Stream
        self.values = {}  # topic -> header of its last value
        self.ended = set()
        self.shards = 1
        self.records = self.repeated = self.old = self.refused = self.takeovers = 0

    def message(self, frames):
        try:
            for topic, header, body in entries(frames):
                self.entry(topic, header, body)
        except (ValueError, struct.error):
            self.refused += 1

    def entry(self, topic, h, body):
        if h.shards:
            self.shards = h.shards
        if h.flags & SNAPSHOT:
            if not h.flags & EMPTY:
                self.value(topic, h)
        elif h.kind == NOTICE:
            self.notice(topic, body)
        else:
            stream = self.streams.setdefault((h.epoch, h.shard), Stream(h.seq))
            if not stream.take(h.seq):
                self.repeated += 1
                return
            self.records += 1
            self.value(topic, h)

    def value(self, topic, h):
        known = self.values.get(topic)
        if known and known.epoch == h.epoch and (h.topic_seq - known.topic_seq - 1) & 0xFFFFFFFF >= 1 << 31:
            self.old += 1
            return
        self.values[topic] = h

    def notice(self, topic, body):
        if topic == b"TPDK!pair" and json.loads(body)["state"] == "active":
            self.takeovers += 1
        elif topic == b"TPDK!end":
            self.ended.add(json.loads(body)["shard"])

    def missing(self):
        return sum(s.missing() for s in self.streams.values())

    def done(self):
        return len(self.ended) >= self.shards and not self.missing()


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("endpoints", nargs=2, help="--plain of both proxies")
    args.add_argument("--topics", default="", help="prefix of topics (default: every topic); what is missing is told of all of them alone")
    args.add_argument("--timeout", type=float, default=60, help="seconds of silence after which to give up")
    args = args.parse_args()

    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.RCVTIMEO, int(args.timeout * 1000))
    for endpoint in args.endpoints:
        socket.connect(endpoint)
    for topic in {args.topics.encode(), b"TPDK!"} if args.topics else {b""}:
        socket.setsockopt(zmq.SUBSCRIBE, topic)

    reader = Reader()
    try:
        while not reader.done():
            reader.message(socket.recv_multipart())
    except zmq.Again:
        print(f"nothing for {args.timeout} s", file=sys.stderr)
    missing = 0 if args.topics else reader.missing()
    summary = {
        "records": reader.records,
        "repeated": reader.repeated,
        "missing": missing,
        "old_values": reader.old,
        "topics": len(reader.values),
        "takeovers": reader.takeovers,
        "refused": reader.refused,
    }
    print(json.dumps(summary))
    return 3 if missing or reader.refused else 0


if __name__ == "__main__":
    sys.exit(main())
