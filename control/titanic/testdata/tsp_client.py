"""A client of the Titanic Service Protocol, 9/TSP, over the Majordomo Protocol,
7/MDP, written from the two specifications: a REQ socket and nothing else.

usage: tsp_client.py ENDPOINT SERVICE COUNT
Has COUNT jobs done and prints OK, or says on stderr what was not as it must be.
"""

import sys
import time

import zmq


class Bus:
    """An MDP client: a request, and its reply."""

    def __init__(self, endpoint):
        self.socket = zmq.Context.instance().socket(zmq.REQ)
        self.socket.connect(endpoint)

    def ask(self, service, *body):
        self.socket.send_multipart([b"MDPC01", service, *body])
        reply = self.socket.recv_multipart()
        assert reply[:2] == [b"MDPC01", service] and len(reply) > 2, reply
        return reply[2:]


def main(endpoint, service, count):
    bus = Bus(endpoint)
    for n in range(count):
        body = [b"job %d" % n, b"", bytes(range(256))]
        status, uuid = bus.ask(b"titanic.request", service, *body)
        assert status[:3] == b"200", status
        assert len(uuid) == 32 and int(uuid, 16) >= 0, uuid

        reply = bus.ask(b"titanic.reply", uuid)
        while reply[0][:3] == b"300":
            time.sleep(0.005)
            reply = bus.ask(b"titanic.reply", uuid)
        want = [b"did " + frame for frame in body]
        assert reply[0][:3] == b"200" and reply[1:] == want, reply
        assert bus.ask(b"titanic.reply", uuid) == reply, "a reply is not taken away by asking"

        for _ in range(2):
            assert bus.ask(b"titanic.close", uuid)[0][:3] == b"200"
        assert bus.ask(b"titanic.reply", uuid)[0][:3] == b"400"
    print("OK")


main(sys.argv[1], sys.argv[2].encode(), int(sys.argv[3]))
