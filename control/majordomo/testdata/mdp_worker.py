"""A worker of MDP/0.1, written from the specification (ZeroMQ RFC 7).

usage: mdp_worker.py ENDPOINT SERVICE HEARTBEAT_MS LIVENESS

It answers a request with the last frame of its body in capitals. It knows nothing
of number frames.
"""

import sys
import time

import zmq

READY, REQUEST, REPLY, HEARTBEAT, DISCONNECT = (bytes([i]) for i in range(1, 6))


def main():
    endpoint, service = sys.argv[1], sys.argv[2].encode()
    beat, liveness = int(sys.argv[3]) / 1000, int(sys.argv[4])
    ctx = zmq.Context()
    while True:
        s = ctx.socket(zmq.DEALER)
        s.linger = 0
        s.connect(endpoint)
        s.send_multipart([b"", b"MDPW01", READY, service])
        serve(s, beat, liveness)
        s.close()


def serve(s, beat, liveness):
    """Serves until the broker falls silent or sends the worker away."""
    left, due = liveness, time.monotonic() + beat
    while left > 0:
        if s.poll(beat * 1000):
            empty, header, command, *rest = s.recv_multipart()
            assert (empty, header) == (b"", b"MDPW01"), (empty, header)
            left = liveness
            if command == REQUEST:
                client, empty, *body = rest
                assert empty == b"" and body, rest
                s.send_multipart([b"", b"MDPW01", REPLY, client, b"", body[-1].upper()])
            elif command == DISCONNECT:
                return
            else:
                assert command == HEARTBEAT and not rest, (command, rest)
        else:
            left -= 1
        if time.monotonic() >= due:
            s.send_multipart([b"", b"MDPW01", HEARTBEAT])
            due = time.monotonic() + beat


main()
