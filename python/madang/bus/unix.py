"""The bus of one machine: a mesh of Unix sockets, every process linked with every other.

A process listens in the folder, dials every socket that it finds there, and is dialled by those
that come later. A link lost while both live is dialled again by both ends, with growing delays;
which of two links stays is decided by `link.decide`. A process that dies leaves a stale file,
removed by who is refused there; its successor dials everybody again. Invariant: a closed mesh has
no connection left, not even one that is only being closed: a loop may end right after it.
"""

from __future__ import annotations

import asyncio
import socket
import time
from functools import partial
from pathlib import Path
from typing import Final, cast

from msgspec import structs

from madang.bus.folder import FolderBusy, SocketFolder
from madang.bus.lanes import BULK, Lanes
from madang.bus.lease import FileLease
from madang.bus.link import Identity, PeerLink
from madang.bus.node import Node
from madang.bus.peering import Peering
from madang.bus.port import Bus
from madang.bus.settings import BusSettings
from madang.wire.busframes import CloseReason

HIGH_WATER_BYTES: Final = 256 * 1024
LOW_WATER_BYTES: Final = 64 * 1024
REDIAL_FIRST_S: Final = 0.02
REDIAL_LAST_S: Final = 1.0
BUSY_POLL_S: Final = 0.005
LEASES: Final = "leases"


class _UnixWire(asyncio.Protocol):
    """One connection: the loop's callbacks become calls of the peering.

    It is among `wires` from its making (accepted) or its connection (dialled) until it is lost.
    """

    def __init__(self, peering: Peering, link: PeerLink | None, wires: set[_UnixWire]) -> None:
        self._peering = peering
        self._link = link
        self._wires = wires
        self._transport: asyncio.Transport | None = None
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._wires.add(self)
        if self._link is None:  # over the limit of peers
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES, low=LOW_WATER_BYTES)
        self._peering.opened(self._link, self)

    def data_received(self, data: bytes) -> None:
        assert self._link is not None
        self._peering.received(self._link, data)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        assert self._link is not None
        self._peering.writable(self._link)

    def connection_lost(self, error: Exception | None) -> None:
        self._wires.discard(self)
        if self._link is not None:
            self._peering.gone(self._link)

    # -- the Wire of the link

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def writable(self) -> bool:
        transport = self._transport
        return (
            transport is not None
            and not self._paused
            and not transport.is_closing()
            and transport.get_write_buffer_size() <= HIGH_WATER_BYTES
        )

    def paused(self) -> bool:
        return self._paused or self._transport is None or self._transport.is_closing()

    def buffered_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class UnixMesh:
    """Makes and remakes the links of one process."""

    def __init__(self, node: Node, settings: BusSettings) -> None:
        self._peering = node.peering
        self._settings = settings
        self._folder = SocketFolder(settings.folder, settings.name)
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._dials: set[asyncio.Task[None]] = set()
        self._redials: dict[str, asyncio.TimerHandle] = {}
        self._delays: dict[str, float] = {}
        self._wires: set[_UnixWire] = set()
        self._settling: dict[str, asyncio.Future[None]] = {}
        self._left = False

    async def start(self) -> None:
        """Listen and dial everybody there; return when all have answered, or `open_timeout_ms` on.

        Who has not answered by then (stopped, or busy) is linked when it does.
        """
        limits = self._settings.limits
        self._folder.prepare()
        listener = await self._listen(self._loop.time() + limits.handshake_timeout_ms / 1000)
        self._server = await self._loop.create_unix_server(self._accept, sock=listener)
        names = self._folder.others()
        self._settling = {name: self._loop.create_future() for name in names}
        for name in names:
            self._dial(name)
        if self._settling:
            await asyncio.wait(list(self._settling.values()), timeout=limits.open_timeout_ms / 1000)
        self._settling = {}

    async def _listen(self, deadline: float) -> socket.socket:
        while True:
            try:
                return self._folder.listen()
            except FolderBusy:
                if self._loop.time() > deadline:
                    raise
            await asyncio.sleep(BUSY_POLL_S)

    def link_established(self, link: PeerLink) -> None:
        """See `Transport`."""
        self._delays.pop(link.peer, None)
        self._settle(link.peer)

    def link_lost(self, link: PeerLink, reason: CloseReason | None) -> None:
        """See `Transport`."""
        if not link.peer or self._left:
            return
        if reason is not CloseReason.DUPLICATE:
            self._settle(link.peer)
        if reason is not CloseReason.REPLACED:
            self._redial_later(link.peer)

    async def leave(self) -> None:
        """See `Transport`."""
        deadline = self._loop.time() + self._settings.limits.close_timeout_ms / 1000
        while self._loop.time() < deadline:
            try:
                self._folder.remove_own()
                break
            except FolderBusy:
                await asyncio.sleep(BUSY_POLL_S)
        dials = list(self._dials)
        self.abort()
        await asyncio.gather(*dials, return_exceptions=True)

    def abort(self) -> None:
        """See `Transport`."""
        self._left = True
        if self._server is not None:
            self._server.close()
        for timer in self._redials.values():
            timer.cancel()
        self._redials.clear()
        for task in self._dials:
            task.cancel()

    async def ended(self) -> None:
        """See `Transport`."""
        deadline = self._loop.time() + self._settings.limits.close_timeout_ms / 1000
        while self._wires and self._loop.time() < deadline:  # noqa: ASYNC110 - a few ticks
            await asyncio.sleep(0)

    def _accept(self) -> _UnixWire:
        wire = _UnixWire(self._peering, self._peering.accepted(), self._wires)
        self._wires.add(wire)
        return wire

    def _settle(self, name: str) -> None:
        future = self._settling.get(name)
        if future is not None and not future.done():
            future.set_result(None)

    def _redial_later(self, name: str) -> None:
        if name in self._redials:
            return
        delay = self._delays.get(name, REDIAL_FIRST_S)
        self._delays[name] = min(2 * delay, REDIAL_LAST_S)
        self._redials[name] = self._loop.call_later(delay, self._redial, name)

    def _redial(self, name: str) -> None:
        self._redials.pop(name, None)
        if not self._left:
            self._dial(name)

    def _dial(self, name: str) -> None:
        link = self._peering.dialling(name)
        if link is None:
            self._settle(name)
            return
        task = self._loop.create_task(self._connect(link))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _connect(self, link: PeerLink) -> None:
        name = link.peer
        try:
            await self._loop.create_unix_connection(
                partial(_UnixWire, self._peering, link, self._wires), str(self._folder.path(name))
            )
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if isinstance(error, ConnectionRefusedError):
                self._folder.remove_stale(name)
            self._delays.pop(name, None)
            # Nobody to dial again: a successor will dial us.
            self._peering.gone(link, CloseReason.REPLACED)
        except OSError:
            self._peering.gone(link)


async def open_unix_bus(settings: BusSettings) -> Bus:
    """Return the bus of this process, linked with all that are there.

    Raises BusError for a folder whose path is too long, FolderBusy where its lock is never free.
    """
    bulk_settings = structs.replace(settings, folder=settings.folder / BULK)
    main = await _open_node(settings, settings.folder / LEASES)
    try:
        bulk = await _open_node(bulk_settings, settings.folder / LEASES)
    except BaseException:
        main.abort()
        raise
    return Lanes(main, bulk)


async def _open_node(settings: BusSettings, leases: Path) -> Node:
    identity = Identity(settings.name, time.monotonic_ns())
    node = Node(identity, settings.limits, FileLease(leases))
    mesh = UnixMesh(node, settings)
    node.peering.transport = mesh
    try:
        await mesh.start()
    except BaseException:
        node.abort()
        await mesh.ended()
        raise
    return node
