"""A broker of MDP/0.1 with mmi.service, written from the specifications (ZeroMQ
RFC 7 and 8).

usage: mdp_broker.py HEARTBEAT_MS LIVENESS

It binds a port of its own and prints the endpoint.
"""

import collections
import sys
import time

import zmq

READY, REQUEST, REPLY, HEARTBEAT, DISCONNECT = (bytes([i]) for i in range(1, 6))


class Broker:
    def __init__(self, beat, liveness):
        self.beat, self.expiry = beat, beat * liveness
        self.socket = zmq.Context().socket(zmq.ROUTER)
        port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        print(f"tcp://127.0.0.1:{port}", flush=True)
        self.workers = {}  # address -> [service, expiry]
        self.waiting = collections.defaultdict(collections.deque)  # service -> addresses
        self.requests = collections.defaultdict(collections.deque)  # service -> (client, body)

    def run(self):
        due = time.monotonic() + self.beat
        while True:
            if self.socket.poll(self.beat * 1000):
                sender, empty, header, *rest = self.socket.recv_multipart()
                assert empty == b"", empty
                if header == b"MDPC01":
                    self.client(sender, *rest)
                else:
                    assert header == b"MDPW01", header
                    self.worker(sender, *rest)
            if time.monotonic() >= due:
                self.purge()
                for waiting in self.waiting.values():
                    for address in waiting:
                        self.send(address, HEARTBEAT)
                due = time.monotonic() + self.beat

    def send(self, address, command, *rest):
        self.socket.send_multipart([address, b"", b"MDPW01", command, *rest])

    def client(self, sender, service, *body):
        assert body, "a request without a body"
        if service.startswith(b"mmi."):
            code = b"501"
            if service == b"mmi.service":
                code = b"200" if any(w[0] == body[-1] for w in self.workers.values()) else b"404"
            self.socket.send_multipart([sender, b"", b"MDPC01", service, *body[:-1], code])
            return
        self.requests[service].append((sender, body))
        self.dispatch(service)

    def worker(self, sender, command, *rest):
        known = self.workers.get(sender)
        if command == READY:
            (service,) = rest
            if known or service.startswith(b"mmi."):
                self.dismiss(sender)
            else:
                self.workers[sender] = [service, 0]
                self.wait(sender)
        elif command == DISCONNECT:
            assert not rest, rest
            self.forget(sender)
        elif not known:
            self.dismiss(sender)
        elif command == REPLY:
            client, empty, *body = rest
            assert empty == b"" and body, rest
            self.socket.send_multipart([client, b"", b"MDPC01", known[0], *body])
            self.wait(sender)
        else:
            assert command == HEARTBEAT and not rest, (command, rest)
            known[1] = time.monotonic() + self.expiry

    def wait(self, address):
        worker = self.workers[address]
        worker[1] = time.monotonic() + self.expiry
        self.waiting[worker[0]].append(address)
        self.dispatch(worker[0])

    def dispatch(self, service):
        self.purge()
        while self.waiting[service] and self.requests[service]:
            client, body = self.requests[service].popleft()
            self.send(self.waiting[service].popleft(), REQUEST, client, b"", *body)

    def dismiss(self, address):
        self.send(address, DISCONNECT)
        self.forget(address)

    def forget(self, address):
        worker = self.workers.pop(address, None)
        if worker and address in self.waiting[worker[0]]:
            self.waiting[worker[0]].remove(address)

    def purge(self):
        now = time.monotonic()
        for waiting in self.waiting.values():
            for address in [a for a in waiting if self.workers[a][1] < now]:
                self.forget(address)


Broker(int(sys.argv[1]) / 1000, int(sys.argv[2])).run()
