"""The Centrifugo peer of bench/fanout.py: runs the server and publishes through its HTTP API.

`BINARY`: prints the port; a line "RATE SECONDS" on stdin starts evenly spaced publishing. The
publisher is this process, whose CPU is not the server's: only what is below it counts.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time

START_LIMIT_S = 10.0
SETTINGS = {
    "ADDRESS": "127.0.0.1",
    "API_INSECURE": "true",
    "ALLOW_ANONYMOUS_CONNECT_WITHOUT_TOKEN": "true",
    "ALLOW_SUBSCRIBE_FOR_CLIENT": "true",
    "ALLOW_SUBSCRIBE_FOR_ANONYMOUS": "true",
    "CLIENT_INSECURE": "true",
    "LOG_LEVEL": "error",
}


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until the server accepts."""
    until_s = time.monotonic() + START_LIMIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.05)


def send(client: http.client.HTTPConnection, texts: list[str]) -> None:
    """Publish what is due in one request."""
    commands = [{"publish": {"channel": "m", "data": text}} for text in texts]
    client.request(
        "POST",
        "/api/batch",
        json.dumps({"commands": commands}),
        {"Content-Type": "application/json"},
    )
    answer = client.getresponse()
    if b"error" in answer.read() or answer.status != 200:
        raise SystemExit("a publication was refused")


def publish(port: int, rate: int, seconds: float) -> None:
    """Publish at even distances, and what was late at once."""
    client = http.client.HTTPConnection("127.0.0.1", port)
    begin = time.monotonic_ns()
    total = round(rate * seconds)
    sent = 0
    while sent < total:
        due = min(total, (time.monotonic_ns() - begin) * rate // 10**9)
        times = [begin + at * 10**9 // rate for at in range(sent, due)]
        if times:
            send(client, [f"{at:020}".ljust(100, "x") for at in times])
        sent = due
        time.sleep(max(0.0, (begin + sent * 10**9 // rate - time.monotonic_ns()) / 1e9))
    client.close()


def main() -> None:
    """Run the server until stdin ends."""
    port = free_port()
    settings = {f"CENTRIFUGO_{name}": value for name, value in SETTINGS.items()}
    environment = {**os.environ, **settings, "CENTRIFUGO_PORT": str(port)}
    server = subprocess.Popen([sys.argv[1]], env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        print(port, flush=True)
        for line in sys.stdin:
            rate, seconds = line.split()
            publish(port, int(rate), float(seconds))
    finally:
        server.terminate()
        server.wait(10)


main()
