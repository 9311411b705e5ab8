"""Reads a job log as docs/CONTROL.md, "The job log", describes it, and prints its
jobs as JSON lines, by number. Written from that page alone; needs nothing but Python.

usage: read_log.py FILE
"""

import json
import struct
import sys

TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    TABLE.append(n)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def frames(body):
    (count,), at, found = struct.unpack_from("<I", body), 4, []
    for _ in range(count):
        (size,) = struct.unpack_from("<I", body, at)
        found.append(body[at + 4:at + 4 + size].decode("latin-1"))
        at += 4 + size
    assert at == len(body)
    return found


def records(log):
    """Gives kind, time, id and body of each record, and then the bytes left over."""
    signature, version, identity = struct.unpack_from("<4sB3xQ", log)
    assert signature == b"TPJL" and version in (1, 2) and identity
    assert struct.unpack_from("<I", log, 60)[0] == crc32c(log[:60])
    at, sequence = 64, 0
    while at + 64 <= len(log):
        signature, kind, crc, size, of, number = struct.unpack_from("<4sB3xIIQQ", log, at)
        whole = log[at:at + 64 + size]
        if signature != b"TPJR" or (of, number) != (identity, sequence) or len(whole) < 64 + size:
            break
        if crc32c(whole[:8] + bytes(4) + whole[12:]) != crc:
            break
        yield kind, struct.unpack_from("<q", whole, 40)[0], whole[48:64], whole[64:]
        at, sequence = (at + 64 + size + 7) // 8 * 8, sequence + 1
    yield 0, 0, b"", log[at:].rstrip(b"\0")


def main(name):
    jobs, keys = {}, {}
    for kind, time, who, body in records(open(name, "rb").read()):
        job = jobs.get(who)
        pending = job and job["state"] in ("stored", "dispatched")
        if kind == 1 and not job:
            number, before, expires, service, key, note, bare = struct.unpack_from("<Qqq16xHHHBx", body)
            text = body[48:48 + service + key + note].decode()
            job = {"number": number, "id": who.hex().upper(), "service": text[:service], "key": text[service:service + key],
                   "note": text[service + key:], "state": "stored", "attempt": 0, "added": time, "not_before": before,
                   "expires": expires, "ended": 0, "reason": "", "body": None, "reply": None}
            if not bare:
                job["body"] = frames(body[48 + service + key + note:])
            if job["key"] in keys:
                del jobs[keys[job["key"]]]
            if job["key"]:
                keys[job["key"]] = who
            jobs[who] = job
        elif kind == 2 and pending:
            job.update(state="dispatched", attempt=struct.unpack("<Q", body)[0])
        elif kind == 3 and pending:
            job.update(state="answered", ended=time, body=None, reply=frames(body))
        elif kind == 4 and (pending or job and job["state"] == "answered"):
            how = {4: "cancelled", 5: "expired", 6: "failed"}[body[0]]
            job.update(state=how, ended=time, reason=body[8:].decode(), body=None, reply=None)
        elif kind == 5 and job and job["state"] != "closed":
            job.update(state="closed", ended=time, reason="", body=None, reply=None)
            if not job["key"]:
                del jobs[who]
        elif kind == 0 and body:
            print("torn: %d bytes" % len(body), file=sys.stderr)
    for job in sorted(jobs.values(), key=lambda job: job["number"]):
        print(json.dumps(job))


main(sys.argv[1])
