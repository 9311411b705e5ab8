#!/usr/bin/env python3
"""Command a deck of tapedeck serve: open, play, pause, step, seek, close.

    python3 deck.py es.tape --speed 10x --seek +10m

Needs pyzmq (Debian: python3-zmq) and nothing of Tapedeck. It speaks the Majordomo
protocol (MDP/0.1, ZeroMQ RFC 7) with the bodies of docs/CONTROL.md. Each state of the
deck is a JSON line on standard output.

Ends with exit code 1 when nobody answers, or a command is refused.
"""

import argparse
import json
import os
import secrets
import sys
import time

import zmq

MDP_CLIENT = b"MDPC01"
SIGNATURE = b"TPDC01"


class Refused(Exception):
    """A service has not done a command."""

    def __init__(self, code, reason, advice):
        super().__init__(f"{reason or code}" + (f" ({advice})" if advice else ""))
        self.code = code


class Bus:
    """A client of the control bus.

    A command has a number. Without a reply it is said again, unchanged, as often as
    it takes: the service does it once, whatever was lost on the way.
    """

    def __init__(self, endpoint, wait=2.5, tries=3):
        self.endpoint, self.wait, self.tries = endpoint, wait, tries
        self.context = zmq.Context.instance()
        self.client, self.number = secrets.token_hex(16), 0
        self.socket = None

    def command(self, service, command, **args):
        """Give a command to a service and return its result."""
        self.number += 1
        request = json.dumps({"client": self.client, "number": self.number, "command": command, "args": args})
        missed = 0
        while missed < self.tries:
            reply = self.ask(service.encode(), request.encode())
            if reply is None:
                missed += 1
                self.close()  # whatever still comes on this connection is late
            elif reply["code"] == 202:
                missed = 0  # at work: say it again, which waits for the outcome
            elif reply["code"] == 200:
                return reply.get("result")
            else:
                raise Refused(reply["code"], reply.get("reason"), reply.get("try"))
        raise SystemExit(f"no answer from {service} at {self.endpoint}: is tapedeck serve running?")

    def ask(self, service, request):
        """Say a request once; return the reply to it, or None."""
        if self.socket is None:
            self.socket = self.context.socket(zmq.DEALER)
            self.socket.setsockopt(zmq.LINGER, 0)
            self.socket.connect(self.endpoint)
        self.socket.send_multipart([b"", MDP_CLIENT, service, SIGNATURE, request])
        until = time.monotonic() + self.wait
        while True:
            left = until - time.monotonic()
            if left <= 0 or not self.socket.poll(left * 1000):
                return None
            frames = self.socket.recv_multipart()
            if len(frames) != 5 or frames[:4] != [b"", MDP_CLIENT, service, SIGNATURE]:
                continue
            reply = json.loads(frames[4])
            # A reply to a request that could not be read has neither.
            if (reply.get("client", self.client), reply.get("number", self.number)) == (self.client, self.number):
                return reply

    def close(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("tape", help="a tape in the directory of tapedeck serve")
    args.add_argument("--bus", default=os.environ.get("TAPEDECK_BUS", "tcp://127.0.0.1:7400"), help="endpoint of the bus")
    args.add_argument("--speed", default="1x", help="such as 1x, 10x or max (default 1x)")
    args.add_argument("--seek", default="+10m", help="a place: a time, @mark, or a distance such as +10m or -5s")
    args.add_argument("--play", type=float, default=2, help="seconds to play before the pause (default 2)")
    args = args.parse_args()
    bus = Bus(args.bus)

    def show(state):
        print(json.dumps(state), flush=True)
        return state

    try:
        deck = show(bus.command("deck", "open", tapes=[args.tape], speed=args.speed, paused=True))["deck"]
        try:
            show(bus.command("deck", "play", deck=deck))
            time.sleep(args.play)
            show(bus.command("deck", "pause", deck=deck))
            show(bus.command("deck", "step", deck=deck, n=5))
            show(bus.command("deck", "seek", deck=deck, to=args.seek))
            show(bus.command("deck", "resume", deck=deck))
            show(bus.command("deck", "state", deck=deck))
        finally:
            show(bus.command("deck", "close", deck=deck))
    except Refused as refused:
        sys.exit(f"deck.py: {refused}")
    finally:
        bus.close()


if __name__ == "__main__":
    main()
