"""The supervisor's helpers among its children: templates, and the logger.

A template forks; where that is unsafe children are started by exec. Each helper is a small state
around a channel; nothing here waits.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from madang.cluster import channel

HIGH_DESCRIPTOR = 200
FIRST_DESCRIPTOR = 3
TEMPLATE_FAILURES_MAX = 3
SPEC_VARIABLE = "MADANG_CHILD"


def execute(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    descriptors: Sequence[int],
    output: int | None,
) -> int:
    """Start `python arguments` in a session of its own and return the pid.

    `descriptors` become 3, 4, …, `output` its standard output and error (None: ours).
    """
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR) for fd in descriptors]
    actions: list[tuple[object, ...]] = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)]
    if output is not None:
        actions += [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    for index, descriptor in enumerate(moved):
        actions.append((os.POSIX_SPAWN_DUP2, descriptor, FIRST_DESCRIPTOR + index))
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, *arguments],
            dict(environment),
            file_actions=actions,
            setsid=True,
            setsigmask=(),
        )
    finally:
        for descriptor in moved:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class SpawnRequest:
    """A child that is wanted: `descriptors` stay open until it is known to exist."""

    id: int
    spec: dict[str, object]
    descriptors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Spawned:
    """The answer to a request: `pid`, or None with the reason."""

    id: int
    pid: int | None
    reason: str = ""


class Template:
    """One template process, replaced when it dies.

    Requests wait until it is ready; a request that was not answered when it died was not carried
    out, and goes to the next one. After TEMPLATE_FAILURES_MAX deaths before readiness, or when it
    says that forking is not safe, children are started by exec.
    """

    def __init__(self, preload: tuple[str, ...], output: int) -> None:
        self._preload = preload
        self._output = output
        self._failures = 0
        self._requests: dict[int, SpawnRequest] = {}
        self._ready = False
        self.unsafe = ""
        self.pid: int | None = None
        self.channel: socket.socket | None = None

    def start(self) -> None:
        """Start the process."""
        self._ready = False
        self.channel, theirs = channel.pair()
        self.channel.setblocking(False)
        arguments = ["-m", "madang.cluster.template", *self._preload]
        self.pid = execute(arguments, os.environ, [theirs.fileno()], self._output)
        theirs.close()

    def spawn(self, request: SpawnRequest) -> list[Spawned]:
        """Ask for a child; return the answer when it is known at once."""
        if self.unsafe:
            return [_execute_child(request)]
        self._requests[request.id] = request
        if self._ready:
            self._send(request)
        return []

    def withdraw(self, request_id: int) -> bool:
        """Take a request back; False when it is already on its way."""
        if self._ready or request_id not in self._requests:
            return False
        del self._requests[request_id]
        return True

    def read(self) -> list[Spawned]:
        """Return the answers that arrived; a dead process is replaced."""
        answers: list[Spawned] = []
        while self.channel is not None:
            try:
                message, _ = channel.receive(self.channel)
            except BlockingIOError:
                break
            except channel.ChannelClosed:
                answers += self._died()
                break
            answers += self._take(message)
        return answers

    def _take(self, message: Mapping[str, object]) -> list[Spawned]:
        match message["kind"]:
            case "ready":
                self._ready = True
                self._failures = 0
                for request in list(self._requests.values()):
                    self._send(request)
                return []
            case "unsafe":
                return self._give_up(str(message["reason"]))
        request_id = int(str(message["id"]))
        self._requests.pop(request_id, None)
        if message["kind"] == "failed":
            return [Spawned(request_id, None, str(message["reason"]))]
        return [Spawned(request_id, int(str(message["pid"])))]

    def _send(self, request: SpawnRequest) -> None:
        assert self.channel is not None
        message = {"id": request.id, "spec": request.spec}
        try:
            channel.send(self.channel, message, request.descriptors)
        except channel.ChannelClosed:
            return  # its end-of-file follows, and the next template gets the request

    def _died(self) -> list[Spawned]:
        self.close()
        if not self._ready:
            self._failures += 1
        if self._failures >= TEMPLATE_FAILURES_MAX:
            return self._give_up(f"died {self._failures} times before it was ready")
        try:
            self.start()
        except OSError as error:
            return self._give_up(f"cannot start a template: {error.strerror}")
        return []

    def _give_up(self, reason: str) -> list[Spawned]:
        self.unsafe = reason
        self.close()
        waiting, self._requests = list(self._requests.values()), {}
        return [_execute_child(request) for request in waiting]

    def close(self) -> None:
        """Close the channel: the process ends."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None


def _execute_child(request: SpawnRequest) -> Spawned:
    environment = {**os.environ, SPEC_VARIABLE: json.dumps(request.spec)}
    arguments = ["-m", "madang.cluster.child"]
    try:
        pid = execute(arguments, environment, request.descriptors, request.descriptors[0])
    except OSError as error:
        return Spawned(request.id, None, str(error))
    return Spawned(request.id, pid)


class LoggerProcess:
    """The logger and the pipes that it reads. The pipes are ours and outlive it."""

    def __init__(self, options: Mapping[str, object]) -> None:
        self._options = json.dumps(dict(options))
        self._pipes: dict[str, tuple[int, int, str]] = {}
        self.pid: int | None = None
        self.channel: socket.socket | None = None

    def start(self) -> None:
        """Start the process and hand it every pipe."""
        self.close()
        self.channel, theirs = channel.pair()
        self.channel.setblocking(False)
        arguments = ["-m", "madang.cluster.logger", self._options]
        self.pid = execute(arguments, os.environ, [theirs.fileno()], None)
        theirs.close()
        for name in self._pipes:
            self._announce(name)

    def add_stream(self, name: str, file: str) -> int:
        """Make a pipe whose lines are named `name` and go to `file`; return its write end."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        with suppress(PermissionError):  # the user's pipe budget is used up: the default works too
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, channel.BUFFER_BYTES)
        self._pipes[name] = (reading, writing, file)
        self._announce(name)
        return writing

    def ask_tail(self, name: str) -> None:
        """Ask for the last lines of `name`."""
        self._send({"kind": "tail", "name": name})

    def finish(self) -> None:
        """Ask it to write what is there, and end."""
        self._send({"kind": "finish"})

    def read_tail(self) -> tuple[str, list[str]] | None:
        """Return the next answer to `ask_tail`, None when there is none."""
        if self.channel is None:
            return None
        try:
            message, _ = channel.receive(self.channel)
        except BlockingIOError:
            return None
        except channel.ChannelClosed:
            self.close()
            return None
        lines = message["lines"]
        assert isinstance(lines, list)
        return str(message["name"]), [str(line) for line in lines]

    def close(self) -> None:
        """Close the channel."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    def close_pipes(self) -> None:
        """Close every pipe."""
        for reading, writing, _ in self._pipes.values():
            os.close(reading)
            os.close(writing)
        self._pipes.clear()

    def _announce(self, name: str) -> None:
        reading, _, file = self._pipes[name]
        self._send({"kind": "stream", "name": name, "file": file}, [reading])

    def _send(self, message: Mapping[str, object], descriptors: Sequence[int] = ()) -> None:
        if self.channel is None:
            return
        try:
            channel.send(self.channel, message, descriptors)
        except (channel.ChannelClosed, BlockingIOError):
            return  # a dead logger is replaced and told everything anew
