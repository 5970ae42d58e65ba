"""The clients of bench/fanout.py: raw sockets, so that reading costs a small part of sending.

`PORT KIND CLIENTS PAUSE_MS MEASURE`: connects, prints "ready", reads every PAUSE_MS (0: at
once) and on "reset" begins to count anew; "count" is answered with the messages so far; at the
end of stdin it prints {"messages", "latencies_us"}. With MEASURE 1 the due
times in the messages are compared with the clock.
"""

from __future__ import annotations

import json
import re
import select
import socket
import sys
import time
from dataclasses import dataclass, field

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PATHS = {
    "raw": "/",
    "socketio": "/socket.io/?EIO=4&transport=websocket",
    "centrifugo": "/connection/websocket",
}
BEFORE = {
    "raw": b"",
    "socketio": b'42["m","',
    "centrifugo": b'{"push":{"channel":"m","pub":{"data":"',
}
OVERHEAD_BYTES = {"raw": 2, "socketio": 2 + len('42["m",""]'), "centrifugo": 4 + 38 + len('"}}}')}
DUE = {kind: re.compile(re.escape(before) + rb"(\d{20})x{80}") for kind, before in BEFORE.items()}
PAYLOAD_BYTES = 100
TIMEOUT_S = 20.0
LATENCIES_MAX = 200_000


def connect(port: int, kind: str) -> socket.socket:
    """Return a socket on which messages will come."""
    sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
    sock.sendall(HANDSHAKE.format(path=PATHS[kind]).encode())
    seen = b""
    while b"\r\n\r\n" not in seen:
        seen += sock.recv(4_096)
    if kind == "socketio":
        while b"0{" not in seen:
            seen += sock.recv(4_096)
        sock.sendall(b"\x81\x82\0\0\0\x0040")
        while b"40{" not in seen:
            seen += sock.recv(4_096)
    if kind == "centrifugo":
        for command, answer in (
            (b'{"id":1,"connect":{}}', b'"id":1'),
            (b'{"id":2,"subscribe":{"channel":"m"}}', b'"id":2'),
        ):
            sock.sendall(bytes((0x81, 0x80 | len(command), 0, 0, 0, 0)) + command)
            while answer not in seen:
                seen += sock.recv(4_096)
    sock.setblocking(False)
    return sock


def take(data: bytes, kind: str, latencies: list[int]) -> None:
    """Note how old each message of a read is, where its beginning is in it."""
    now_ns = time.monotonic_ns()
    for found in DUE[kind].finditer(data):
        if len(latencies) < LATENCIES_MAX:
            latencies.append((now_ns - int(found[1])) // 1_000)


@dataclass
class Tally:
    """What was received: bytes, and how old messages were."""

    received: int = 0
    latencies: list[int] = field(default_factory=list)


def obey(tally: Tally, size: int) -> bool:
    """Do what the next line of stdin says; False at its end."""
    word = sys.stdin.readline().strip()
    if word == "reset":
        tally.received = 0
        tally.latencies.clear()
        print("reset", flush=True)
    elif word == "count":
        print(tally.received / size, flush=True)
    else:
        found = sorted(tally.latencies)
        print(json.dumps({"messages": tally.received / size, "latencies_us": found}))
    return bool(word)


def main() -> None:
    """Connect, read, tell."""
    port, kind, clients, pause_ms = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    pause_s = int(pause_ms) / 1_000
    measured = sys.argv[5] == "1"
    poll = select.epoll()
    socks = {sock.fileno(): sock for sock in (connect(port, kind) for _ in range(clients))}
    for number in socks:
        poll.register(number, select.EPOLLIN)
    poll.register(0, select.EPOLLIN)
    print("ready", flush=True)
    buffer = bytearray(262_144)
    size = PAYLOAD_BYTES + OVERHEAD_BYTES[kind]
    tally = Tally()
    while True:
        for number, _ in poll.poll():
            if number == 0:
                if not obey(tally, size):
                    return
                continue
            count = socks[number].recv_into(buffer)
            if not count:
                raise SystemExit("a connection was closed")
            if kind == "centrifugo":  # messages may share a frame: count them
                tally.received += buffer.count(BEFORE[kind], 0, count) * size
            else:
                tally.received += count
            if measured:
                take(bytes(buffer[:count]), kind, tally.latencies)
        if pause_s:
            time.sleep(pause_s)


main()
