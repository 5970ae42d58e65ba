"""Small roles that the cluster tests run as real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from madang.cluster.process import Process


def say(line: str) -> None:
    """Write one line to the log."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def hang() -> None:
    """Hold the event loop."""
    say("hanging")
    time.sleep(60)


def start_sleepers() -> list[int]:
    """Start two processes that ignore SIGTERM, the second in a session of its own."""
    code = "import time, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    arguments = [sys.executable, "-c", code]
    return [subprocess.Popen(arguments, start_new_session=own).pid for own in (False, True)]


async def idle(process: Process) -> None:
    """Be ready and wait."""
    process.ready()
    await process.wait_stop()


async def answer(process: Process) -> None:
    """Answer each connection with the pid and close it; one request line `hang` blocks the loop."""
    loop = asyncio.get_running_loop()
    servers: dict[int, asyncio.Task[None]] = {}

    async def accept(listener: socket.socket) -> None:
        listener.setblocking(False)
        while True:
            client, _ = await loop.sock_accept(listener)
            tasks.add(task := loop.create_task(reply(client)))
            task.add_done_callback(tasks.discard)

    async def reply(client: socket.socket) -> None:
        with client:
            client.setblocking(False)
            word = await loop.sock_recv(client, 64)
            if word == b"hang\n":
                hang()
            await loop.sock_sendall(client, str(os.getpid()).encode())

    def take(port: str, listener: socket.socket) -> None:
        servers[id(listener)] = loop.create_task(accept(listener))

    def release(port: str, listener: socket.socket) -> None:
        servers.pop(id(listener)).cancel()

    tasks: set[asyncio.Task[None]] = set()
    own = loop.create_task(accept(process.sockets["http"][0]))
    process.on_socket(take, release)
    process.ready()
    await process.wait_stop()
    own.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=1)
    say("stopped gracefully")


async def crash(process: Process) -> None:
    """Say why, and die."""
    say("the disk is on fire")
    raise SystemExit(7)


async def crash_later(process: Process) -> None:
    """Serve well the first time, then die at every start."""
    if process.incarnation > 1:
        say("the disk is on fire")
        raise SystemExit(7)
    await idle(process)


async def fail_if(process: Process) -> None:
    """Serve, but die at once when a file is there."""
    if Path(str(process.options["file"])).exists():
        say("the flag is up")
        raise SystemExit(7)
    await answer(process)


async def deaf(process: Process) -> None:
    """Ignore SIGTERM and every wish to stop."""
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    process.ready()
    await asyncio.Event().wait()


async def parent(process: Process) -> None:
    """Have a child in our process group and one that left it; write down who they are."""
    near, far = start_sleepers()
    Path(str(process.options["file"])).write_text(f"{near} {far}")
    await idle(process)


async def talk(process: Process) -> None:
    """Write 50 MB and one last line."""
    line = ("x" * 99 + "\n") * 1_000
    for _ in range(500):
        sys.stdout.write(line)
    say("the last line")
    await idle(process)


async def report(process: Process) -> None:
    """Say on the status line what the process was given."""
    names = ",".join(os.environ[name] for name in ("LISTEN_FDS", "LISTEN_FDNAMES"))
    threads = len(os.listdir("/proc/self/task"))
    process.status(f"{names} {sorted(process.options)} threads={threads} parent={os.getppid()}")
    await idle(process)


async def never_ready(process: Process) -> None:
    """Never say that it is ready."""
    await process.wait_stop()


async def busy(process: Process) -> None:
    """Be ready, then never give the event loop back."""
    process.ready()
    await asyncio.sleep(0.05)
    while True:
        pass


async def asleep(process: Process) -> None:
    """Be ready, then sleep in the event loop."""
    process.ready()
    await asyncio.sleep(0.3)
    hang()


async def hog(process: Process) -> None:
    """Be ready; then one thread holds the interpreter, computing in C, for seconds."""
    process.ready()
    await asyncio.sleep(0.3)

    def compute() -> None:
        began = time.monotonic()
        size = 4_000_000
        while time.monotonic() - began < 3:
            # One call of C code that never lets go of the interpreter until it is done.
            size = size * 2
            sum(range(size))
        say(f"the interpreter was held for {time.monotonic() - began:.1f} s")

    await asyncio.get_running_loop().run_in_executor(None, compute)
    await process.wait_stop()


async def hold(process: Process) -> None:
    """Accept connections, keep them, and say how many there are."""
    loop = asyncio.get_running_loop()
    clients: list[socket.socket] = []
    listener = process.sockets["http"][0]
    listener.setblocking(False)

    def accept() -> None:
        while True:
            try:
                clients.append(listener.accept()[0])
            except BlockingIOError:
                break
            process.scores.connections = len(clients)

    loop.add_reader(listener.fileno(), accept)
    process.ready()
    await process.wait_stop()
    for client in clients:
        client.close()


async def grow(process: Process) -> None:
    """Take 300 MB, the first process of all only."""
    process.ready()
    hoard = b"x" * (300 * 1024 * 1024) if process.incarnation == 1 else b""
    await process.wait_stop()
    say(f"had {len(hoard)} bytes")


async def busy_if(process: Process) -> None:
    """Use most of a processor while a file is there."""
    process.ready()
    while not process.stopping:
        end = time.monotonic() + 0.04
        while Path(str(process.options["file"])).exists() and time.monotonic() < end:
            pass
        await asyncio.sleep(0.02)


async def count(process: Process) -> None:
    """Write one number after the other."""
    process.ready()
    number = 0
    while not process.stopping:
        say(str(number))
        number += 1
        await asyncio.sleep(0.001)
