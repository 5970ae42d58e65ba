"""A child from its first instruction to its last: signals, logging, heartbeat, the role's main.

It is entered by fork from the template, or as `python -m madang.cluster.child` where forking is not
safe; both call `run`. The heartbeat is one store into the scoreboard by the event loop, so a hung
loop falls silent; the supervisor then sends SIGABRT, and faulthandler writes every thread's stack
to the log without needing the interpreter. When the supervisor dies, the parent-death signal and
the end-of-file on the channel both ask for a stop, and ORPHAN_LIMIT_S later the process group is
killed.
"""

from __future__ import annotations

import asyncio
import faulthandler
import importlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import uvloop

from madang.cluster import channel, linux
from madang.cluster.launch import NotPermitted, become_user, take_nice
from madang.cluster.notify import Sender, compose
from madang.cluster.process import Identity, Process, Surroundings
from madang.cluster.scoreboard import Scoreboard, Scores
from madang.core import log

SPEC_VARIABLE = "MADANG_CHILD"
FIRST_DESCRIPTOR = 3
ORPHAN_LIMIT_S = 3.0
NOTICE_PERIOD_S = 1.0
LAG_WINDOW_S = 1.0
EXIT_FAILED = 1

Main = Callable[[Process], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """Everything a child is told; `ports` names its listening sockets in order.

    `row` is its row of the scoreboard, None when there was none left.
    """

    identity: Identity
    target: str
    options: dict[str, object]
    state_dir: str
    runtime_dir: str
    ports: tuple[str, ...]
    notify_path: str
    heartbeat_ms: int
    nice: int
    supervisor: int
    directory: str = ""
    user: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    accepting: bool = True
    row: int | None = None


def decode_spec(table: dict[str, object]) -> ChildSpec:
    """Return the spec that `table`, its plain form, describes."""
    fields = dict(table)
    identity = fields.pop("identity")
    ports = fields.pop("ports")
    assert isinstance(identity, dict)
    assert isinstance(ports, list)
    return ChildSpec(identity=Identity(**identity), ports=tuple(ports), **fields)  # type: ignore[arg-type]


def run(spec: ChildSpec, descriptors: list[int]) -> NoReturn:
    """Be the child: `descriptors` are output, channel, scoreboard, a listening socket per port."""
    code = EXIT_FAILED
    try:
        _enter(spec, descriptors[0])
        scores = _open_scores(spec.row, descriptors[2])
        sockets = {
            name: [socket.socket(fileno=descriptor)]
            for name, descriptor in zip(spec.ports, descriptors[3:], strict=True)
        }
        surroundings = Surroundings(
            spec.options,
            Path(spec.state_dir),
            Path(spec.runtime_dir),
            sockets,
            scores,
            spec.accepting,
        )
        child = _Child(spec, descriptors[1], surroundings)
        process_main = _load(spec.target)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(child.serve(process_main))
        code = 0
    except SystemExit as request:
        code = request.code if isinstance(request.code, int) else EXIT_FAILED
        if isinstance(request.code, str):
            sys.stderr.write(request.code + "\n")
    except NotPermitted as error:
        sys.stderr.write(f"madang: {error}\n")
    except BaseException:  # noqa: BLE001  the last line of the process: say it, exit with a code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _enter(spec: ChildSpec, output: int) -> None:
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    if spec.nice:
        take_nice(spec.nice)
    os.environ.update(spec.environment)
    enter_directory(spec.directory)
    if spec.user:
        become_user(spec.user)
    linux.die_with_parent(signal.SIGTERM)  # after the change of user, which would clear it
    if os.getppid() != spec.supervisor:
        raise SystemExit("the supervisor died before this child started")
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    faulthandler.enable(file=2, all_threads=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    linux.set_name(spec.identity.name)
    os.environ["NOTIFY_SOCKET"] = spec.notify_path
    os.environ["WATCHDOG_USEC"] = str(2_000 * spec.heartbeat_ms)
    os.environ["WATCHDOG_PID"] = os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = str(len(spec.ports))
    os.environ["LISTEN_FDNAMES"] = ":".join(spec.ports)
    log.configure(spec.identity.name)


def enter_directory(directory: str) -> None:
    """Make `directory` the working directory and the first place to import from."""
    if directory:
        os.chdir(directory)
        if sys.path[:1] != [directory]:
            sys.path.insert(0, directory)


def _open_scores(row: int | None, descriptor: int) -> Scores:
    scores = Scores() if row is None else Scoreboard(descriptor).scores(row)
    os.close(descriptor)
    return scores


def _load(target: str) -> Main:
    module, _, name = target.partition(":")
    function: Main = getattr(importlib.import_module(module), name)
    return function


class _Child:
    """The event-loop side of a child: channel, heartbeat and the role's main."""

    def __init__(self, spec: ChildSpec, descriptor: int, surroundings: Surroundings) -> None:
        self._channel = socket.socket(fileno=descriptor)
        self._channel.setblocking(False)
        self._heartbeat_s = spec.heartbeat_ms / 1_000
        self._sender = Sender(spec.notify_path)
        self._scores = surroundings.scores
        self._said_at = 0.0
        self._due_at = 0.0
        self._window_at = 0.0
        self._worst_us = self._worst_before_us = 0
        self._moves: set[asyncio.Task[None]] = set()
        self.process = Process(spec.identity, surroundings, self._notify)

    async def serve(self, process_main: Main) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.process.request_stop)
        loop.add_reader(self._channel.fileno(), self._receive)
        self._due_at = self._window_at = loop.time()
        self._beat()
        await process_main(self.process)

    def _notify(self) -> None:
        process = self.process
        self._said_at = asyncio.get_running_loop().time()
        if not self._sender.send(compose(process.is_ready, process.status_text)):
            self._said_at = 0.0

    def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._scores.heartbeat += 1
        self._measure_lag(now)
        if now - self._said_at >= NOTICE_PERIOD_S:
            self._notify()
        self._due_at = now + self._heartbeat_s
        loop.call_at(self._due_at, self._beat)

    def _measure_lag(self, now: float) -> None:
        if now - self._window_at >= LAG_WINDOW_S:
            self._window_at = now
            self._worst_before_us, self._worst_us = self._worst_us, 0
        self._worst_us = max(self._worst_us, int((now - self._due_at) * 1_000_000))
        self._scores.loop_lag_us = max(self._worst_us, self._worst_before_us)

    def _receive(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._obey(*channel.receive(self._channel))
        except BlockingIOError:
            return
        except channel.ChannelClosed:
            loop.remove_reader(self._channel.fileno())
            self.process.request_stop()
            loop.call_later(ORPHAN_LIMIT_S, os.killpg, os.getpgrp(), signal.SIGKILL)

    def _obey(self, message: dict[str, object], descriptors: list[int]) -> None:
        match message["kind"]:
            case "take":
                listener = socket.socket(fileno=descriptors[0])
                self.process.take(str(message["port"]), int(str(message["slot"])), listener)
            case "release":
                self.process.release(str(message["port"]), int(str(message["slot"])))
            case "accepting":
                self.process.accept(message["wanted"] is True)
            case "hand_over":
                end = socket.socket(fileno=descriptors[0])
                end.setblocking(False)
                task = asyncio.get_running_loop().create_task(self._move(str(message["way"]), end))
                self._moves.add(task)
                task.add_done_callback(self._moves.discard)

    async def _move(self, way: str, end: socket.socket) -> None:
        """Give or take connections, then say that it is done, however it ended."""
        moved = False
        try:
            moved = await self.process.hand_over(way, end)
        except Exception:  # noqa: BLE001  a role's own code; what has not moved is drained instead
            traceback.print_exc()
        finally:
            with suppress(channel.ChannelClosed, BlockingIOError):
                channel.send(self._channel, {"kind": "handed_over", "way": way, "moved": moved})


def main() -> NoReturn:
    """Enter by exec: the spec is in the environment, the descriptors start at 3."""
    spec = decode_spec(json.loads(os.environ.pop(SPEC_VARIABLE)))
    descriptors = list(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + 3 + len(spec.ports)))
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    run(spec, descriptors)


if __name__ == "__main__":
    main()
