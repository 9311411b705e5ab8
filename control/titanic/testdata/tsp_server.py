"""A server of the Titanic Service Protocol, 9/TSP, over the Majordomo Protocol,
7/MDP, written from the two specifications: three workers and a client of MDP in one
loop. It keeps its jobs in memory.

usage: tsp_server.py ENDPOINT
Prints READY when the broker has heard of its workers, and ends when stdin does.
"""

import sys
import threading
import uuid

import zmq

WORKER, CLIENT = b"MDPW01", b"MDPC01"
READY, REQUEST, REPLY, HEARTBEAT, DISCONNECT = b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"


class Worker:
    """An MDP worker of one service: a DEALER that answers one request at a time."""

    def __init__(self, endpoint, service, handler):
        self.endpoint, self.service, self.handler = endpoint, service, handler
        self.connect()

    def connect(self):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(self.endpoint)
        self.socket.send_multipart([b"", WORKER, READY, self.service])

    def beat(self):
        self.socket.send_multipart([b"", WORKER, HEARTBEAT])

    def read(self):
        """Takes one message in, and says whether the socket is another one now."""
        message = self.socket.recv_multipart()
        assert message[:2] == [b"", WORKER], message
        if message[2] == REQUEST:
            client, empty, body = message[3], message[4], message[5:]
            assert empty == b""
            self.socket.send_multipart([b"", WORKER, REPLY, client, b"", *self.handler(body)])
        elif message[2] == DISCONNECT:
            self.socket.close()
            self.connect()
            return True
        return False


class Titanic:
    def __init__(self):
        self.pending, self.replies = {}, {}

    def request(self, body):
        number, body = self.number(body)
        name = uuid.uuid4().hex.encode()
        self.pending[name] = body
        return [*number, b"200", name]

    def reply(self, body):
        number, body = self.number(body)
        if body[0] in self.replies:
            return [*number, b"200 OK", *self.replies[body[0]]]
        return [*number, b"300 Pending" if body[0] in self.pending else b"400 Unknown"]

    def close(self, body):
        number, body = self.number(body)
        self.pending.pop(body[0], None)
        self.replies.pop(body[0], None)
        return [*number, b"200"]

    @staticmethod
    def number(body):
        """Tapedeck's clients put a frame of 16 bytes in front, and want it back."""
        if len(body) > 1 and len(body[0]) == 16 and body[0].startswith(b"TPLP"):
            return body[:1], body[1:]
        return [], body


def main(endpoint):
    titanic = Titanic()
    workers = [Worker(endpoint, name, handler) for name, handler in (
        (b"titanic.request", titanic.request), (b"titanic.reply", titanic.reply), (b"titanic.close", titanic.close))]
    client = zmq.Context.instance().socket(zmq.DEALER)
    client.linger = 0
    client.connect(endpoint)
    poller = zmq.Poller()
    for socket in [client, *(w.socket for w in workers)]:
        poller.register(socket, zmq.POLLIN)
    print("READY", flush=True)
    asking = None
    while True:
        if asking is None and titanic.pending:
            asking = next(iter(titanic.pending))
            service, *body = titanic.pending[asking]
            client.send_multipart([b"", CLIENT, service, *body])
        ready = dict(poller.poll(20))
        if client in ready:
            message = client.recv_multipart()
            assert message[:2] == [b"", CLIENT], message
            if titanic.pending.pop(asking, None) is not None:
                titanic.replies[asking] = message[3:]
            asking = None
        for worker in workers:
            before = worker.socket
            if before in ready and worker.read():
                poller.unregister(before)
                poller.register(worker.socket, zmq.POLLIN)
            worker.beat()


threading.Thread(target=main, args=(sys.argv[1],), daemon=True).start()
sys.stdin.read()
