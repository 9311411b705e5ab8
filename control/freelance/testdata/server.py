#!/usr/bin/env python3
"""A Freelance server of one model, written from the pattern's description.

    server.py 1|2|3 ENDPOINT

1 answers what it got, 2 [number]["OK"], 3 speaks the Freelance Protocol and answers
the request's body behind "served". Ends when standard input does.
"""
import sys
import threading

import zmq

model, endpoint = sys.argv[1:]
context = zmq.Context()
socket = context.socket(zmq.ROUTER if model == "3" else zmq.REP)
if model == "3":
    socket.setsockopt(zmq.IDENTITY, endpoint.encode())
socket.bind(endpoint)


def serve():
    while True:
        message = socket.recv_multipart()
        if model == "1":
            socket.send_multipart(message)
        elif model == "2":
            socket.send_multipart([message[0], b"OK"])
        elif message[1:] == [b"PING"]:
            socket.send_multipart([message[0], b"PONG"])
        else:
            socket.send_multipart([message[0], message[1], b"served"] + message[2:])


threading.Thread(target=serve, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
