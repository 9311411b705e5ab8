"""A client of MDP/0.1, written from the specification (ZeroMQ RFC 7).

usage: mdp_client.py ENDPOINT SERVICE COUNT [--dealer]

It asks mmi.service for the service until it is there, then sends COUNT requests,
one after the other as a REQ or all at once as a DEALER. For each reply it prints
the body as a JSON array of strings.
"""

import json
import sys

import zmq


def main():
    endpoint, service, count = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3])
    dealer = "--dealer" in sys.argv
    ctx = zmq.Context()
    req = ctx.socket(zmq.REQ)
    req.connect(endpoint)

    def ask(name, *body):
        req.send_multipart([b"MDPC01", name, *body])
        header, answered, *reply = req.recv_multipart()
        assert header == b"MDPC01" and answered == name, (header, answered)
        return reply

    code = None
    while code != b"200":
        (code,) = ask(b"mmi.service", service)
        assert code in (b"200", b"404"), code
    assert ask(b"mmi.unknown", b"") == [b"501"]

    replies = []
    if dealer:
        s = ctx.socket(zmq.DEALER)
        s.connect(endpoint)
        for i in range(count):
            s.send_multipart([b"", b"MDPC01", service, b"request", b"", str(i).encode()])
        for _ in range(count):
            empty, header, name, *body = s.recv_multipart()
            assert (empty, header, name) == (b"", b"MDPC01", service)
            replies.append(body)
    else:
        for i in range(count):
            replies.append(ask(service, b"request", b"", str(i).encode()))
    for body in replies:
        print(json.dumps([f.decode() for f in body]), flush=True)
    ctx.destroy(linger=0)


main()
