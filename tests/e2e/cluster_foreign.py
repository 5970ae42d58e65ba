"""A program that knows nothing of Madang: systemd's protocols, standard input, an HTTP answer."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

FIRST_DESCRIPTOR = 3


def notify(text: str) -> None:
    """Say something by sd_notify(3)."""
    address = os.environ["NOTIFY_SOCKET"]
    address = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.sendto(text.encode(), address)


def listener() -> socket.socket:
    """Return the inherited socket (sd_listen_fds(3)), or one of our own on PORT."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        return socket.socket(fileno=FIRST_DESCRIPTOR)
    return socket.create_server(("127.0.0.1", int(os.environ["PORT"])))


class Answer(BaseHTTPRequestHandler):
    """Say who we are."""

    def do_GET(self) -> None:
        names = ["MADANG_NAME", "MADANG_INSTANCE", "MADANG_RUNTIME_DIR"]
        names += ["GREETING", "PORT", "LISTEN_FDNAMES"]
        told = [f"{name}={os.environ.get(name, '-')}" for name in names]
        body = "\n".join([*told, f"cwd={os.getcwd()}", f"uid={os.getuid()}", *sys.argv[1:]])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())


def main() -> None:
    """Serve until SIGUSR2, SIGTERM or the word `die` on standard input."""
    signal.signal(signal.SIGUSR2, lambda *_: os._exit(0))
    server = HTTPServer(("127.0.0.1", 0), Answer, bind_and_activate=False)
    server.socket.close()
    server.socket = listener()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if "--silent" not in sys.argv:
        notify("READY=1\nSTATUS=serving")
    for line in sys.stdin:
        print("heard", line.strip(), flush=True)
        if line.strip() == "die":
            os._exit(9)


main()
