"""Packets and descriptors over one end of a SOCK_SEQPACKET pair, on the event loop.

What a datagram does not hold travels in a memory file whose descriptor comes first.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
from collections.abc import Sequence
from typing import Final

from madang.core.errors import MadangError
from madang.edge.handover.packets import DESCRIPTORS_MAX, Packet, decode, encode

INLINE_BYTES_MAX: Final = 64 * 1024
"""Larger packets go through a memory file; far below what the kernel takes in one datagram."""
_INLINE: Final = b"i"
_FILE: Final = b"f"


class LaneClosed(MadangError):
    """The other side is gone, or has closed its end."""


class Lane:
    """Sends and receives; used by one task on each side."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._loop = asyncio.get_running_loop()

    async def send(self, packet: Packet, descriptors: Sequence[int] = ()) -> None:
        """Send one packet; when this returns it is the other side's. Raises LaneClosed."""
        data = encode(packet)
        if len(data) <= INLINE_BYTES_MAX:
            await self._send(_INLINE + data, list(descriptors))
            return
        file = os.memfd_create("madang-handover", os.MFD_CLOEXEC)
        try:
            _write_all(file, data)
            await self._send(_FILE, [file, *descriptors])
        finally:
            os.close(file)

    async def _send(self, data: bytes, descriptors: list[int]) -> None:
        while True:
            try:
                socket.send_fds(self._end, [data], descriptors, socket.MSG_NOSIGNAL)
                return
            except BlockingIOError:
                await self._wait(self._loop.add_writer, self._loop.remove_writer)
            except OSError as error:
                raise LaneClosed("the other side of the hand-over is gone") from error

    async def receive(self) -> tuple[Packet, list[int]]:
        """Return the next packet and its descriptors, which are the caller's; raises LaneClosed."""
        while True:
            try:
                return self.take()
            except BlockingIOError:
                await self._wait(self._loop.add_reader, self._loop.remove_reader)

    def take(self) -> tuple[Packet, list[int]]:
        """Return a packet that is there; raises BlockingIOError where none is, LaneClosed."""
        try:
            data, descriptors, _, _ = socket.recv_fds(
                self._end, INLINE_BYTES_MAX + 1, DESCRIPTORS_MAX + 1, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            raise
        except OSError as error:
            raise LaneClosed("the other side of the hand-over is gone") from error
        if not data:
            raise LaneClosed("the other side of the hand-over has ended")
        if data[:1] == _INLINE:
            return decode(data[1:]), list(descriptors)
        file = descriptors[0]
        try:
            with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as content:
                return decode(content[:]), list(descriptors[1:])
        finally:
            os.close(file)

    async def _wait(self, add: object, remove: object) -> None:
        ready = self._loop.create_future()
        number = self._end.fileno()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        add(number, wake)  # type: ignore[operator]
        try:
            await ready
        finally:
            remove(number)  # type: ignore[operator]

    def shut(self) -> None:
        """Neither side can send from here on; what was sent can still be received."""
        try:
            self._end.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is gone already


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
