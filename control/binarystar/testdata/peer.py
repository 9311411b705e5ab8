#!/usr/bin/env python3
"""One server of a Binary Star pair, written from the pattern's description.

    peer.py primary|backup BIND PEER

Announces its state once a heartbeat as one ASCII digit, reads the other one's, and
writes each state it goes to on standard output. A line on standard input is a
client's request; its end ends the server.
"""
import os
import sys
import time

import zmq

PRIMARY, BACKUP, ACTIVE, PASSIVE = 1, 2, 3, 4
HEARTBEAT = 0.02
EXPIRY = 25 * HEARTBEAT


def step(state, peer):
    if state == PRIMARY:
        return {BACKUP: ACTIVE, ACTIVE: PASSIVE}.get(peer, state)
    if state == BACKUP:
        return {ACTIVE: PASSIVE}.get(peer, state)
    if state == ACTIVE:
        if peer == ACTIVE:
            sys.exit("both are active")
        return state
    if peer == PASSIVE:
        sys.exit("both are passive")
    return {PRIMARY: ACTIVE, BACKUP: ACTIVE}.get(peer, state)


def main():
    role, bind, peer = sys.argv[1:]
    context = zmq.Context()
    pub = context.socket(zmq.PUB)
    pub.bind(bind)
    sub = context.socket(zmq.SUB)
    sub.subscribe(b"")
    sub.connect(peer)
    poller = zmq.Poller()
    poller.register(sub, zmq.POLLIN)
    poller.register(sys.stdin.fileno(), zmq.POLLIN)

    state = PRIMARY if role == "primary" else BACKUP
    expires = time.monotonic() + EXPIRY
    beat = 0.0
    while True:
        now = time.monotonic()
        if now >= beat:
            pub.send(b"%d" % state)
            beat = now + HEARTBEAT
        ready = dict(poller.poll(max(0, (beat - now) * 1000)))
        before = state
        if sub in ready:
            state = step(state, int(sub.recv()))
            expires = time.monotonic() + EXPIRY
        if sys.stdin.fileno() in ready:
            if not os.read(sys.stdin.fileno(), 100):
                break
            if state == PASSIVE and time.monotonic() >= expires:
                state = ACTIVE
        if state != before:
            print(state, flush=True)
    context.destroy(linger=0)


main()
