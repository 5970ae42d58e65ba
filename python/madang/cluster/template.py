"""The template: imports the applications' modules once and forks children from that.

A child is forked twice: the process in between ends at once, so the supervisor, being the child
subreaper, becomes the parent, and the template may die without any worker noticing. Forking is
safe only while this process has one thread and no event loop; otherwise, or when an import fails,
it answers `unsafe` with the reason and the supervisor starts children by exec instead.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from typing import NoReturn

from madang.cluster import channel, linux
from madang.cluster.child import decode_spec, enter_directory, run

CHANNEL_DESCRIPTOR = 3
ADOPTION_LIMIT_S = 5.0
ADOPTION_POLL_S = 0.0002


def prepare(modules: list[str]) -> str:
    """Import `modules` and freeze what they made; return why forking is not safe, "" if it is."""
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001  a module may raise anything when imported
            return f"cannot import {name}: {error!r}"
    gc.collect()
    gc.freeze()
    threads = linux.thread_count()
    if threads != 1:
        return f"{threads} threads after importing {', '.join(modules)}"
    if asyncio._get_running_loop() is not None:
        return "an event loop runs"
    return ""


def serve(end: socket.socket) -> None:
    """Fork a child for each message until the supervisor is gone."""
    while True:
        try:
            message, descriptors = channel.receive(end)
        except channel.ChannelClosed:
            return
        try:
            _fork(end, message, descriptors)
        except OSError as error:
            channel.send(end, {"kind": "failed", "id": message["id"], "reason": str(error)})
        for descriptor in descriptors:
            os.close(descriptor)


def _fork(end: socket.socket, message: dict[str, object], descriptors: list[int]) -> None:
    between = os.fork()
    if between == 0:
        _between(end, message, descriptors)
    os.waitpid(between, 0)


def _between(end: socket.socket, message: dict[str, object], descriptors: list[int]) -> NoReturn:
    try:
        pid = os.fork()
        if pid == 0:
            os.setsid()
            end.close()
            _adopted(message, descriptors)
        channel.send(end, {"kind": "spawned", "id": message["id"], "pid": pid})
    except OSError as error:
        channel.send(end, {"kind": "failed", "id": message["id"], "reason": str(error)})
    finally:
        os._exit(0)


def _adopted(message: dict[str, object], descriptors: list[int]) -> NoReturn:
    table = message["spec"]
    assert isinstance(table, dict)
    spec = decode_spec(table)
    limit = time.monotonic() + ADOPTION_LIMIT_S
    while os.getppid() != spec.supervisor and time.monotonic() < limit:
        time.sleep(ADOPTION_POLL_S)
    run(spec, descriptors)


def main() -> None:
    """`python -m madang.cluster.template <what to import, as JSON>`, channel on descriptor 3."""
    linux.die_with_parent(signal.SIGKILL)
    linux.set_name("template")
    os.set_inheritable(CHANNEL_DESCRIPTOR, False)
    end = socket.socket(fileno=CHANNEL_DESCRIPTOR)
    told = json.loads(sys.argv[1])
    enter_directory(told["directory"])
    reason = prepare(told["modules"])
    try:
        channel.send(end, {"kind": "unsafe" if reason else "ready", "reason": reason})
        if not reason:
            serve(end)
    except channel.ChannelClosed:
        return


if __name__ == "__main__":
    main()
