#!/usr/bin/env python3
"""A Clone client: a copy of a server's table, kept up to date.

    python3 clone_client.py tcp://127.0.0.1:5556 --subtree /deck/ --count 10

Needs pyzmq (Debian: python3-zmq) and nothing of Tapedeck. Works with any server of
the Clustered Hashmap Protocol (ZeroMQ RFC 12) and of the guide's models 5 and 6;
with --model 3 of the models 2 to 4, whose messages have three frames. docs/WIRE.md,
section "Clone", has the bytes. The endpoint is the snapshots'; updates are at the
next port unless --updates says otherwise.

Ends with exit code 1 when the server says nothing, and 3 when it saw that an update
is missing, which a server of Tapedeck says and the whole table shows.
"""

import argparse
import json
import struct
import sys
import time

import zmq


def parse(frames, model):
    """Return key, sequence, properties and value of a message."""
    if len(frames) != (3 if model == 3 else 5) or len(frames[1]) != 8:
        raise ValueError(f"no key-value message: {len(frames)} frames")
    properties = {}
    if model != 3:
        for line in frames[3].split(b"\n")[:-1]:
            name, _, value = line.partition(b"=")
            properties[name.decode()] = value.decode()
    return frames[0], struct.unpack(">Q", frames[1])[0], properties, frames[-1]


class Table:
    """What a client has, and how it fares."""

    def __init__(self, subtree):
        self.subtree, self.values = subtree, {}
        self.sequence = None  # None: the snapshot is not whole yet
        self.epoch = None
        self.kept = []  # updates that came before the snapshot's end
        self.updates = self.missing = 0

    def before(self, sequence, properties):
        """Say which update came before this one, as far as anybody knows."""
        for pair in properties.get("previous", "").split(","):
            length, _, previous = pair.partition(":")
            if length.isdigit() and int(length) == len(self.subtree):
                return int(previous)
        return sequence - 1 if not self.subtree else None

    def update(self, key, sequence, properties, value):
        """Apply an update; say whether it was news."""
        if key == b"HUGZ" or not key.startswith(self.subtree):
            return False
        if self.sequence is None:
            self.kept.append((key, sequence, properties, value))
            return False
        if properties.get("epoch") != self.epoch:
            raise SystemExit("the server has started again")
        if sequence <= self.sequence:
            return False
        before = self.before(sequence, properties)
        if before is not None and before > self.sequence:
            self.missing += 1
        self.sequence = sequence
        if value:
            self.values[key] = value
        else:
            self.values.pop(key, None)
        self.updates += 1
        return True


def next_port(endpoint):
    host, _, port = endpoint.rpartition(":")
    return f"{host}:{int(port) + 1}"


def show(key, sequence, properties, value):
    print(
        json.dumps(
            {
                "key": key.decode(errors="replace"),
                "sequence": sequence,
                "deleted": not value,
                "value_size": len(value),
                "ttl": int(properties.get("ttl", 0)),
            }
        ),
        flush=True,
    )


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("endpoint", help="the server's snapshots, such as tcp://host:5556")
    args.add_argument("--updates", help="the server's updates (default: the next port)")
    args.add_argument("--subtree", default="", help="only keys that begin so, such as /deck/")
    args.add_argument("--model", type=int, choices=[2, 3, 4, 5, 6], default=6, help="the guide's model (default 6, which CHP is)")
    args.add_argument("--count", type=int, default=0, help="end after so many updates (default: never)")
    args.add_argument("--timeout", type=float, default=5, help="seconds of silence after which the server counts as dead")
    args = args.parse_args()
    model = 3 if args.model < 5 else 6

    # Subscribe first, then ask, and read both: nothing is lost between the two,
    # however long the snapshot takes. HUGZ shows that a quiet server lives.
    context, subtree = zmq.Context.instance(), args.subtree.encode()
    updates = context.socket(zmq.SUB)
    updates.setsockopt(zmq.RCVHWM, 100_000)
    for prefix in {subtree, b"HUGZ" if subtree else subtree}:
        updates.setsockopt(zmq.SUBSCRIBE, prefix)
    updates.connect(args.updates or next_port(args.endpoint))
    snapshot = context.socket(zmq.DEALER)
    snapshot.setsockopt(zmq.LINGER, 0)
    snapshot.connect(args.endpoint)
    snapshot.send_multipart([b"ICANHAZ?", subtree])

    poller = zmq.Poller()
    poller.register(updates, zmq.POLLIN)
    poller.register(snapshot, zmq.POLLIN)
    table, heard = Table(subtree), time.monotonic()
    while table.sequence is None or not args.count or table.updates < args.count:
        ready = dict(poller.poll(100))
        if updates in ready:
            message = parse(updates.recv_multipart(), model)
            if table.sequence is not None:
                heard = time.monotonic()
            if table.update(*message):
                show(*message)
        if snapshot in ready:
            key, sequence, properties, value = parse(snapshot.recv_multipart(), model)
            heard = time.monotonic()
            if key != b"KTHXBAI":
                table.values[key] = value
                continue
            if int(properties.get("entries", len(table.values))) != len(table.values):
                raise SystemExit("the snapshot is not whole")
            table.sequence, table.epoch = sequence, properties.get("epoch")
            print(json.dumps({"snapshot": len(table.values), "sequence": sequence}), flush=True)
            for message in table.kept:
                if table.update(*message):
                    show(*message)
        if time.monotonic() - heard > args.timeout:
            print(f"the server said nothing for {args.timeout} s", file=sys.stderr)
            return 1
    print(json.dumps({"keys": len(table.values), "updates": table.updates, "sequence": table.sequence, "missing": table.missing}))
    return 3 if table.missing else 0


if __name__ == "__main__":
    sys.exit(main())
