"""The control socket: one JSON object a line, question and answer, mode 0600.

The supervisor's side never blocks and bounds connections and bytes; the client's side is for
commands and waits with a limit. `stop` is answered at once, and the connection ends when the
supervisor has: end-of-file is the proof that everything is down.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from madang.cluster.errors import ControlRefused, NotRunning

SOCKET_NAME = "control.sock"
CONNECTIONS_MAX = 32
QUESTION_BYTES_MAX = 64 * 1024
ANSWER_BYTES_MAX = 4 * 1024 * 1024
ANSWER_TIMEOUT_MS = 5_000

Answer = dict[str, object]
Handler = Callable[[Mapping[str, object]], Answer]


def request(
    path: Path, command: Mapping[str, object], timeout_ms: int = ANSWER_TIMEOUT_MS
) -> Answer:
    """Ask the supervisor behind `path`. Raises NotRunning, or ControlRefused with its words."""
    with _ask(path, command, timeout_ms) as client:
        return _answer(client)


def request_until_end(path: Path, command: Mapping[str, object], timeout_ms: int) -> Answer:
    """Ask, then wait until the supervisor has ended. Raises ControlRefused when it has not."""
    with _ask(path, command, timeout_ms) as client:
        answer = _answer(client)
        try:
            while client.recv(4096):
                pass
        except TimeoutError as error:
            text = f"the supervisor has not ended within {timeout_ms} ms"
            raise ControlRefused(text, timeout_ms=timeout_ms) from error
        except ConnectionResetError:
            pass
        return answer


def _ask(path: Path, command: Mapping[str, object], timeout_ms: int) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(timeout_ms / 1_000)
    try:
        client.connect(str(path))
        client.sendall(json.dumps(dict(command)).encode() + b"\n")
    except OSError as error:
        client.close()
        text = f"no Madang runs here: nothing answers on {path} ({error.strerror})"
        raise NotRunning(text, path=str(path)) from error
    return client


def _answer(client: socket.socket) -> Answer:
    received = bytearray()
    try:
        while not received.endswith(b"\n") and len(received) < ANSWER_BYTES_MAX:
            piece = client.recv(65_536)
            if not piece:
                break
            received += piece
    except (TimeoutError, ConnectionResetError) as error:
        raise ControlRefused("the supervisor did not answer in time") from error
    if not received.endswith(b"\n"):
        raise ControlRefused("the supervisor ended before it answered")
    answer: Answer = json.loads(received)
    if "error" in answer:
        raise ControlRefused(str(answer["error"]))
    return answer


class ControlServer:
    """The supervisor's side: `accept` and `readable` are called by its loop and never block."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._buffers: dict[socket.socket, bytearray] = {}
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self.listener.bind(str(path))
        finally:
            os.umask(mask)
        self.listener.listen(CONNECTIONS_MAX)

    def accept(self) -> tuple[socket.socket | None, socket.socket | None]:
        """Return the new connection, and the oldest if that had to go for it; each may be None."""
        try:
            client, _ = self.listener.accept()
        except OSError:
            return None, None
        client.setblocking(False)
        oldest = next(iter(self._buffers)) if len(self._buffers) >= CONNECTIONS_MAX else None
        self._buffers[client] = bytearray()
        return client, oldest

    def readable(self, client: socket.socket) -> bool:
        """Read and answer; return whether the connection stays open."""
        try:
            piece = client.recv(65_536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        buffer = self._buffers[client]
        buffer += piece
        if not piece or len(buffer) > QUESTION_BYTES_MAX:
            return False
        while b"\n" in buffer:
            line, _, rest = bytes(buffer).partition(b"\n")
            buffer[:] = rest
            try:
                client.send(json.dumps(self._answer(line)).encode() + b"\n")
            except OSError:
                return False
        return True

    def _answer(self, line: bytes) -> Answer:
        try:
            question = json.loads(line)
        except ValueError:
            return {"error": "expected one JSON object a line"}
        if not isinstance(question, dict):
            return {"error": "expected a JSON object"}
        return self._handler(question)

    def forget(self, client: socket.socket) -> None:
        """Close one connection."""
        self._buffers.pop(client, None)
        client.close()

    def close(self) -> None:
        """Stop listening, remove the socket file, end every connection."""
        self.listener.close()
        self._path.unlink(missing_ok=True)
        for client in list(self._buffers):
            self.forget(client)
