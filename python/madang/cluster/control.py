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
from madang.cluster.handles import Share, given_socket, handle
from madang.cluster.loop import READ, WRITE, Loop

SOCKET_NAME = "control.sock"
NOT_OURS = "use a folder that is yours (--state), or be the user it belongs to"
CONNECTIONS_MAX = 32
QUESTION_BYTES_MAX = 64 * 1024
ANSWER_BYTES_MAX = 4 * 1024 * 1024
ANSWER_TIMEOUT_MS = 5_000

Answer = dict[str, object]
Reply = Callable[[Answer], None]


class Later:
    """An answer that is not known yet: `begin(reply)` is called with how to give it."""

    def __init__(self, begin: Callable[[Reply], None]) -> None:
        self.begin = begin


Handler = Callable[[Mapping[str, object]], "Answer | Later"]


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
    except PermissionError as error:
        client.close()
        text = f"{path}: {error.strerror}; {NOT_OURS}"
        raise ControlRefused(text, path=str(path)) from error
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
    """The supervisor's side: called by its loop, never blocks, bounds connections and bytes."""

    def __init__(
        self, path: Path, loop: Loop, handler: Handler, share: Share | None = None
    ) -> None:
        """Listen on `path`; `share` is what another of us left: the socket and its clients."""
        self._path = path
        self._loop = loop
        self._handler = handler
        self._clients: dict[socket.socket, tuple[bytearray, bytearray]] = {}
        if share is not None:
            self._go_on(share)
            return
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self.listener.bind(str(path))
        finally:
            os.umask(mask)
        self.listener.listen(CONNECTIONS_MAX)
        loop.watch(self.listener, self._accept)

    def leave(self) -> Share:
        """Return what a successor needs to go on, with what was half asked and half answered."""
        return {
            "listener": handle(self.listener),
            "clients": [
                [handle(client), question.decode("latin-1"), unsent.decode("latin-1")]
                for client, (question, unsent) in self._clients.items()
            ],
        }

    def _go_on(self, share: Share) -> None:
        self.listener = given_socket(share["listener"])
        self._loop.watch(self.listener, self._accept)
        for written, question, unsent in share["clients"]:
            client = given_socket(written)
            buffers = (bytearray(question, "latin-1"), bytearray(unsent, "latin-1"))
            self._clients[client] = buffers
            self._watch_client(client, unsent=bool(unsent))

    def _watch_client(self, client: socket.socket, *, unsent: bool) -> None:
        if unsent:
            self._loop.watch(client, lambda: self._flush(client), WRITE)
        else:
            self._loop.watch(client, lambda: self._readable(client))

    def _accept(self) -> None:
        """Take a connection; with too many of them the oldest goes."""
        try:
            client, _ = self.listener.accept()
        except OSError:
            return
        client.setblocking(False)
        if len(self._clients) >= CONNECTIONS_MAX:
            self._forget(next(iter(self._clients)))
        self._clients[client] = (bytearray(), bytearray())
        self._watch_client(client, unsent=False)

    def _readable(self, client: socket.socket) -> None:
        try:
            piece = client.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        question, _ = self._clients[client]
        question += piece
        if not piece:
            self._forget(client)
            return
        while b"\n" in question and client in self._clients:
            line, _, rest = bytes(question).partition(b"\n")
            question[:] = rest
            answer = self._answer(line)
            if isinstance(answer, Later):
                answer.begin(lambda known: self._reply(client, known))
            else:
                self._reply(client, answer)
        if len(question) > QUESTION_BYTES_MAX:
            self._forget(client)

    def _answer(self, line: bytes) -> Answer | Later:
        try:
            question = json.loads(line)
        except (ValueError, RecursionError):
            return {"error": "expected one JSON object a line"}
        if not isinstance(question, dict):
            return {"error": "expected a JSON object"}
        return self._handler(question)

    def _reply(self, client: socket.socket, answer: Answer) -> None:
        """Answer as far as the client reads; the rest waits, up to a limit."""
        if client not in self._clients:
            return
        _, unsent = self._clients[client]
        unsent += json.dumps(answer).encode() + b"\n"
        self._flush(client)

    def _flush(self, client: socket.socket) -> None:
        _, unsent = self._clients[client]
        try:
            del unsent[: client.send(unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._forget(client)
            return
        if len(unsent) > ANSWER_BYTES_MAX:
            self._forget(client)
        elif unsent:
            self._loop.change(client, lambda: self._flush(client), WRITE)
        else:
            self._loop.change(client, lambda: self._readable(client), READ)

    def _forget(self, client: socket.socket) -> None:
        self._clients.pop(client)
        self._loop.unwatch(client)
        client.close()

    def close(self) -> None:
        """Stop listening, remove the socket file, end every connection."""
        self._loop.unwatch(self.listener)
        self.listener.close()
        self._path.unlink(missing_ok=True)
        for client in list(self._clients):
            self._forget(client)
