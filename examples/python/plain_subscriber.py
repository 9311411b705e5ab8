#!/usr/bin/env python3
"""A subscriber of the plain stream: last values first, then everything new.

    tapedeck lvc --shards tcp://127.0.0.1:7100 --plain tcp://127.0.0.1:7200
    python3 plain_subscriber.py tcp://127.0.0.1:7200 --topics GLBX.MDP3.ES --count 1000

Where the proxy has keys: --key desk.key --server-key deck.pub, as tapedeck keys new
writes them (Python 3.11 for that). What a reader has no right to is answered so.

Needs pyzmq (Debian: python3-zmq) and nothing of Tapedeck. The stream is described
in docs/WIRE.md, section 12. Says "joined" when every subscription is answered, checks
every topic's sequence, and ends with exit code 3 when a record was missing or came
twice. "through" is the sum, over its topics, of the records that they have had.
"""

import argparse
import json
import struct
import sys
from collections import namedtuple

import zmq

HEADER = struct.Struct("<4sBBBBBxHHxxQQIIqqq")
Header = namedtuple(
    "Header",
    "signature version size flags kind record_flags shard shards epoch seq"
    " topic_seq place event_time receive_time send_time",
)
SNAPSHOT, EMPTY, LAST, INCOMPLETE, REFUSED = 1, 2, 4, 8, 16
DELETE, NOTICE = 10, 11


def entries(frames):
    """Yield (topic, header, body) of a message: one of a record, many of an answer."""
    if len(frames) % 3:
        raise ValueError(f"message of {len(frames)} frames")
    for topic, head, body in zip(*[iter(frames)] * 3):
        if len(head) != HEADER.size:
            raise ValueError(f"header of {len(head)} bytes")
        header = Header._make(HEADER.unpack(head))
        if header.signature != b"TPLV" or header.version != 1:
            raise ValueError("not the plain stream, or a newer version of it")
        yield topic, header, body


class Continuity:
    """Whether every topic's records come one after the other."""

    def __init__(self):
        self.next = {}  # topic -> epoch, and topic sequence expected in it
        self.missing = self.repeated = 0

    def take(self, topic, header):
        epoch, expected = self.next.get(topic, (0, 0))
        # A last value is as of now, whatever came before: what comes live continues it.
        if epoch == header.epoch and not header.flags & SNAPSHOT:
            ahead = (header.topic_seq - expected) & 0xFFFFFFFF
            if ahead >= 1 << 31:
                self.repeated += 1
                return
            self.missing += ahead
        self.next[topic] = header.epoch, (header.topic_seq + 1) & 0xFFFFFFFF

    def through(self):
        return sum(seq for _, seq in self.next.values())


def show(topic, header, body):
    print(
        json.dumps(
            {
                "topic": topic.decode(errors="replace"),
                "kind": header.kind,
                "snapshot": bool(header.flags & SNAPSHOT),
                "epoch": header.epoch,
                "shard": header.shard,
                "seq": header.seq,
                "topic_seq": header.topic_seq,
                "event_time": header.event_time,
                "body_size": len(body),
            }
        )
    )


def lock(socket, key, server_key):
    """Give a socket the keys of two files, before it connects."""
    import tomllib

    def read(name):
        with open(name, "rb") as file:
            return tomllib.load(file)

    pair = read(key)
    socket.curve_publickey, socket.curve_secretkey = pair["public"].encode(), pair["secret"].encode()
    socket.curve_serverkey = read(server_key)["public"].encode()


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("endpoint", help="the proxy's --plain endpoint")
    args.add_argument("--topics", action="append", help="prefix, may be repeated (default: every topic)")
    args.add_argument("--count", type=int, default=0, help="end after so many live records (default: at the end of the stream)")
    args.add_argument("--timeout", type=float, default=10, help="seconds of silence after which to give up")
    args.add_argument("--key", help="file with this reader's key pair, where the proxy has keys")
    args.add_argument("--server-key", help="file with the proxy's public key")
    args.add_argument("--print", action="store_true", help="print every record as a line of JSON")
    args = args.parse_args()

    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.setsockopt(zmq.RCVHWM, 100_000)
    socket.setsockopt(zmq.RCVTIMEO, int(args.timeout * 1000))
    if args.key:
        lock(socket, args.key, args.server_key)
    socket.connect(args.endpoint)
    topics = [t.encode() for t in args.topics or [""]] + [b"TPDK!end"]
    for topic in topics:
        socket.setsockopt(zmq.SUBSCRIBE, topic)

    continuity, snapshot, live, answers, shards, ended = Continuity(), 0, 0, 0, 1, set()
    while len(ended) < shards and (not args.count or live < args.count):
        try:
            frames = socket.recv_multipart()
        except zmq.Again:
            print(f"nothing for {args.timeout} s", file=sys.stderr)
            break
        for topic, header, body in entries(frames):
            if header.flags & REFUSED:
                print(f"no right to {topic.decode(errors='replace')}", file=sys.stderr, flush=True)
            if header.flags & LAST:
                answers += 1
                if answers == len(topics):
                    print("joined", file=sys.stderr, flush=True)
            if header.kind == NOTICE and header.epoch == 0:
                # The proxy about itself, or "nothing matches yet".
                if topic == b"TPDK!end" and not header.flags & EMPTY:
                    ended.add(json.loads(body)["shard"])
                continue
            continuity.take(topic, header)
            snapshot += header.flags & SNAPSHOT
            live += not header.flags & SNAPSHOT
            shards = header.shards
            if args.print:
                show(topic, header, body)

    summary = {
        "last_values": snapshot,
        "live": live,
        "topics": len(continuity.next),
        "through": continuity.through(),
        "missing": continuity.missing,
        "repeated": continuity.repeated,
        "ended": len(ended) == shards,
    }
    print(json.dumps(summary))
    return 3 if continuity.missing or continuity.repeated else 0


if __name__ == "__main__":
    sys.exit(main())
