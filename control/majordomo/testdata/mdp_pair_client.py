"""A client of a pair of brokers, written from the specifications: MDP/0.1 (ZeroMQ
RFC 7), and the client of the Binary Star pattern in the ZeroMQ guide.

usage: mdp_pair_client.py ENDPOINT ENDPOINT SERVICE COUNT TIMEOUT_MS

It sends COUNT requests, one after the other. One that is not answered in time it sends
again to the other broker, on a new socket. It prints each reply as a line, and at the
end how often it went to the other broker.
"""

import sys

import zmq


def main():
    endpoints, service = sys.argv[1:3], sys.argv[3].encode()
    count, timeout = int(sys.argv[4]), int(sys.argv[5])
    ctx = zmq.Context()
    at, moved, s = 0, 0, None
    for i in range(count):
        body = b"request %d" % i
        while True:
            if s is None:
                s = ctx.socket(zmq.REQ)
                s.linger = 0
                s.connect(endpoints[at])
            s.send_multipart([b"MDPC01", service, body])
            if s.poll(timeout):
                break
            s.close()
            s, at, moved = None, 1 - at, moved + 1
        header, name, reply = s.recv_multipart()
        assert (header, name) == (b"MDPC01", service), (header, name)
        assert reply == body.upper(), (reply, body)
        print(reply.decode(), flush=True)
    print("moved", moved, flush=True)
    ctx.destroy(linger=0)


main()
