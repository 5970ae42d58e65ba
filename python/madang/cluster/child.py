"""A child from its first instruction to its last: signals, logging, heartbeat, the role's main.

It is entered by fork from the template, or as `python -m madang.cluster.child` where forking is not
safe; both call `run`. The heartbeat is written by the event loop, so a hung loop falls silent; the
supervisor then sends SIGABRT, and faulthandler writes every thread's stack to the log without
needing the interpreter. When the supervisor dies, the parent-death signal and the end-of-file on
the channel both ask for a stop, and ORPHAN_LIMIT_S later the process group is killed.
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
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import uvloop

from madang.cluster import channel, linux
from madang.cluster.notify import Sender, compose
from madang.cluster.process import Identity, Process, Surroundings
from madang.core import log

SPEC_VARIABLE = "MADANG_CHILD"
FIRST_DESCRIPTOR = 3
ORPHAN_LIMIT_S = 3.0
EXIT_FAILED = 1

Main = Callable[[Process], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """Everything a child is told; `ports` names its listening sockets in order."""

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


def decode_spec(table: dict[str, object]) -> ChildSpec:
    """Return the spec that `table`, its plain form, describes."""
    fields = dict(table)
    identity = fields.pop("identity")
    ports = fields.pop("ports")
    assert isinstance(identity, dict)
    assert isinstance(ports, list)
    return ChildSpec(identity=Identity(**identity), ports=tuple(ports), **fields)  # type: ignore[arg-type]


def run(spec: ChildSpec, descriptors: list[int]) -> NoReturn:
    """Be the child: `descriptors` are output, channel, and one listening socket for each port."""
    code = EXIT_FAILED
    try:
        _enter(spec, descriptors[0])
        process_main = _load(spec.target)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_Child(spec, descriptors[1:]).serve(process_main))
        code = 0
    except SystemExit as request:
        code = request.code if isinstance(request.code, int) else EXIT_FAILED
        if isinstance(request.code, str):
            sys.stderr.write(request.code + "\n")
    except BaseException:  # noqa: BLE001  the last line of the process: say it, exit with a code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _enter(spec: ChildSpec, output: int) -> None:
    linux.die_with_parent(signal.SIGTERM)
    if os.getppid() != spec.supervisor:
        raise SystemExit("the supervisor died before this child started")
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    faulthandler.enable(file=2, all_threads=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    linux.set_name(spec.identity.name)
    if spec.nice:
        os.nice(spec.nice)
    os.environ["NOTIFY_SOCKET"] = spec.notify_path
    os.environ["WATCHDOG_USEC"] = str(2_000 * spec.heartbeat_ms)
    os.environ["WATCHDOG_PID"] = os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = str(len(spec.ports))
    os.environ["LISTEN_FDNAMES"] = ":".join(spec.ports)
    log.configure(spec.identity.name)


def _load(target: str) -> Main:
    module, _, name = target.partition(":")
    function: Main = getattr(importlib.import_module(module), name)
    return function


class _Child:
    """The event-loop side of a child: channel, heartbeat and the role's main."""

    def __init__(self, spec: ChildSpec, descriptors: list[int]) -> None:
        self._channel = socket.socket(fileno=descriptors[0])
        self._channel.setblocking(False)
        self._heartbeat_s = spec.heartbeat_ms / 1_000
        self._sender = Sender(spec.notify_path)
        sockets: dict[str, list[socket.socket]] = {}
        for name, descriptor in zip(spec.ports, descriptors[1:], strict=True):
            sockets[name] = [socket.socket(fileno=descriptor)]
        surroundings = Surroundings(
            spec.options, Path(spec.state_dir), Path(spec.runtime_dir), sockets
        )
        self.process = Process(spec.identity, surroundings, self._notify)

    async def serve(self, process_main: Main) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.process.request_stop)
        loop.add_reader(self._channel.fileno(), self._receive)
        self._beat()
        await process_main(self.process)

    def _notify(self) -> None:
        self._sender.send(compose(self.process.is_ready, self.process.status_text))

    def _beat(self) -> None:
        self._notify()
        asyncio.get_running_loop().call_later(self._heartbeat_s, self._beat)

    def _receive(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                message, descriptors = channel.receive(self._channel)
                port, slot = str(message["port"]), int(str(message["slot"]))
                if message["kind"] == "take":
                    self.process.take(port, slot, socket.socket(fileno=descriptors[0]))
                else:
                    self.process.release(port, slot)
        except BlockingIOError:
            return
        except channel.ChannelClosed:
            loop.remove_reader(self._channel.fileno())
            self.process.request_stop()
            loop.call_later(ORPHAN_LIMIT_S, os.killpg, os.getpgrp(), signal.SIGKILL)


def main() -> NoReturn:
    """Enter by exec: the spec is in the environment, the descriptors start at 3."""
    spec = decode_spec(json.loads(os.environ.pop(SPEC_VARIABLE)))
    descriptors = list(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + 2 + len(spec.ports)))
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    run(spec, descriptors)


if __name__ == "__main__":
    main()
