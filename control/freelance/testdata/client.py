#!/usr/bin/env python3
"""A Freelance Protocol client, written from the pattern's description.

    client.py ENDPOINT N

Sends N requests with the bodies 0, 1, 2 ... to a server, and writes each answer's
frames on a line.
"""
import sys

import zmq

endpoint, n = sys.argv[1].encode(), int(sys.argv[2])
context = zmq.Context()
socket = context.socket(zmq.ROUTER)
socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
socket.connect(endpoint.decode())


def send(*frames):
    while True:
        try:
            return socket.send_multipart([endpoint, *frames])
        except zmq.ZMQError as e:
            if e.errno != zmq.EHOSTUNREACH:
                raise


send(b"PING")
assert socket.recv_multipart() == [endpoint, b"PONG"]
for i in range(n):
    send(b"%d" % i, b"request", b"%d" % i)
    server, control, *reply = socket.recv_multipart()
    assert server == endpoint and control == b"%d" % i, (server, control)
    print(b" ".join(reply).decode(), flush=True)
context.destroy(linger=0)
