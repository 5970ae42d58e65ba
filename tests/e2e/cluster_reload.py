"""A role whose behaviour is in a file, as a deploy changes code: for the tests of reloads.

`version` is imported from the application's directory; it says what this generation is like.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from madang.cluster.process import Process


class Server:
    """Accepts while it is told to, answers each line with the version, keeps connections open.

    Everything happens in callbacks, so that nothing is between two states when it is handed over.
    """

    def __init__(self, process: Process, version: str) -> None:
        self.process = process
        self.version = version
        self.loop = asyncio.get_running_loop()
        self.clients: dict[int, socket.socket] = {}

    def accepting(self, wanted: bool) -> None:
        for listener in self.process.sockets["http"]:
            if wanted:
                self.take("http", listener)
            else:
                self.release("http", listener)

    def take(self, port: str, listener: socket.socket) -> None:
        self.loop.add_reader(listener.fileno(), self.accept, listener)

    def release(self, port: str, listener: socket.socket) -> None:
        self.loop.remove_reader(listener.fileno())

    def accept(self, listener: socket.socket) -> None:
        try:
            self.serve(listener.accept()[0])
        except BlockingIOError:
            return  # the other generation was faster

    def serve(self, client: socket.socket) -> None:
        client.setblocking(False)
        self.clients[client.fileno()] = client
        self.loop.add_reader(client.fileno(), self.answer, client)
        self.count()

    def leave(self, client: socket.socket) -> None:
        self.loop.remove_reader(client.fileno())
        del self.clients[client.fileno()]
        client.close()
        self.count()

    def count(self) -> None:
        self.process.scores.connections = len(self.clients)

    def answer(self, client: socket.socket) -> None:
        try:
            line = client.recv(1_000)
        except (BlockingIOError, ConnectionResetError):
            return
        if not line:
            self.leave(client)
            return
        lines = line.count(b"\n")
        self.process.scores.requests += lines
        if self.version == "wrong":
            self.process.scores.errors += lines
        client.send(f"{self.version} {os.getpid()}\n".encode() * lines)

    async def give(self, end: socket.socket) -> None:
        """Send every connection; the client's next word waits in the kernel."""
        for client in list(self.clients.values()):
            socket.send_fds(end, [b"x"], [client.fileno()])
            self.leave(client)

    async def get(self, end: socket.socket) -> None:
        done = asyncio.Event()

        def receive() -> None:
            while True:
                try:
                    data, descriptors, _, _ = socket.recv_fds(end, 10, 4)
                except BlockingIOError:
                    return
                if not data:
                    self.loop.remove_reader(end.fileno())
                    done.set()
                    return
                for descriptor in descriptors:
                    self.serve(socket.socket(fileno=descriptor))

        self.loop.add_reader(end.fileno(), receive)
        await done.wait()


async def main(process: Process) -> None:
    """Be what the file says."""
    import version  # type: ignore[import-not-found]  # written by the test

    word: str = version.VERSION
    if word == "never":
        await process.wait_stop()
        return
    server = Server(process, word)
    process.on_accepting(server.accepting)
    process.on_socket(server.take, server.release)
    if process.options.get("hand_over", True):
        process.on_hand_over(server.give, server.get)
    if process.accepting:
        server.accepting(True)
    process.ready()
    if word == "crash":
        await asyncio.sleep(0.3)
        sys.stdout.write("the new version is no good\n")
        raise SystemExit(9)
    await process.wait_stop()
    server.accepting(False)
    for client in list(server.clients.values()):
        server.leave(client)
