"""The side that takes: thaw, acknowledge, go on.

Invariant: a thawed connection neither reads nor writes before its acknowledgement was accepted by
the kernel. Where it was not, the giver is dead and nobody else has the connection, or it has said
that it withdraws, and the connection is forgotten here.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Final

import msgspec

from madang.core import log
from madang.core.errors import MadangError
from madang.edge.handover.lane import Lane, LaneClosed
from madang.edge.handover.mobile import Mover, Thawed
from madang.edge.handover.packets import Ack, Batch, Done, Hello, Moving, Warm, Withdrawn

THAW_LIMIT_S: Final = 1.0
"""How long the clients of a batch wait for a history that is not complete here yet."""


class Taker:
    """Takes the connections of another process."""

    def __init__(self, mover: Mover, end: socket.socket) -> None:
        self.taken = 0
        self.refused = 0
        self._mover = mover
        self._lane = Lane(end)
        self._log = log.get("handover")

    async def run(self) -> None:
        """Take what comes until the giver has done or is gone."""
        try:
            while True:
                packet, descriptors = await self._lane.receive()
                match packet:
                    case Hello():
                        await self._mover.warm(packet.giver, packet.channels)
                        await self._lane.send(Warm(self._mover.name))
                    case Batch():
                        await self._take(packet, [socket.socket(fileno=d) for d in descriptors])
                    case _:
                        _close(descriptors)
                        if isinstance(packet, (Done, Withdrawn)):
                            break
        except LaneClosed:
            self._log.warning("the giver has gone", taken=self.taken)
        except msgspec.MsgspecError as error:
            self._log.error("the giver does not speak this protocol", reason=str(error))
        finally:
            self._mover.ended()
        self._log.info("connections taken", taken=self.taken, refused=self.refused)

    async def _take(self, batch: Batch, sockets: list[socket.socket]) -> None:
        thawed: dict[int, Thawed] = {}
        until_s = asyncio.get_running_loop().time() + THAW_LIMIT_S
        refusals: list[str] = []
        for place, moving in enumerate(batch.moving):
            try:
                thawed[place] = await self._thaw(moving, until_s)
            except (MadangError, msgspec.MsgspecError, ValueError) as error:
                refusals.append(str(error))
                sockets[place].close()
        try:
            await self._lane.send(Ack(list(thawed), refusals))
        except LaneClosed:
            if self._is_withdrawn():
                for place, one in thawed.items():
                    one.discard()
                    sockets[place].close()
                raise
        self.taken += len(thawed)
        self.refused += len(refusals)
        await asyncio.gather(*(self._start(one, sockets[at]) for at, one in thawed.items()))

    async def _thaw(self, moving: Moving, until_s: float) -> Thawed:
        thaw = self._mover.thaws.get(moving.kind)
        if thaw is None:
            raise MadangError(f"connections of kind {moving.kind} are unknown here")
        try:
            async with asyncio.timeout_at(until_s):
                return await thaw(moving.state)
        except TimeoutError:
            raise MadangError("the histories are not here yet") from None

    async def _start(self, one: Thawed, sock: socket.socket) -> None:
        try:
            await one.go_on(sock)
        except (OSError, MadangError) as error:  # the peer has gone meanwhile
            one.discard()
            sock.close()
            self._log.info("a connection ended while it moved", reason=str(error))

    def _is_withdrawn(self) -> bool:
        """Tell whether the giver, of which nothing more can come, has taken the batch back."""
        try:
            while True:
                packet, descriptors = self._lane.take()
                _close(descriptors)
                if isinstance(packet, Withdrawn):
                    return True
        except (LaneClosed, BlockingIOError):
            return False


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
