"""The side that gives: detach, freeze, send, and take back what was not acknowledged.

Invariant: a connection that was detached is in the taker or thawed here again, and never both. A
connection is given up here only by the taker's acknowledgement; before anything is taken back the
lane is shut, so that no acknowledgement can follow, and those that came before are counted.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from madang.core import log
from madang.core.errors import MadangError
from madang.edge.handover.detach import Detached
from madang.edge.handover.lane import Lane, LaneClosed
from madang.edge.handover.mobile import Mobile, Mover
from madang.edge.handover.packets import Ack, Batch, Done, Hello, Moving, Warm, Withdrawn

BATCH_CONNECTIONS: Final = 25
"""Frozen at a time: they are silent until the taker has them."""
LOOK_S: Final = 0.005
PATIENCE_S: Final = 2.0
"""How long nothing may have moved, while connections are busy, before the rest is left to drain."""
RETRY_S: Final = 0.25
WARM_LIMIT_S: Final = 5.0
SETTLE_LIMIT_S: Final = 2.0
ACKNOWLEDGE_LIMIT_S: Final = 3.0


@dataclass(slots=True)
class _Parcel:
    """One connection on its way."""

    mobile: Mobile
    moving: Moving
    socket: socket.socket


class Giver:
    """Gives the connections of one process away."""

    def __init__(self, mover: Mover, end: socket.socket) -> None:
        self.given = 0
        self.returned = 0
        self.longest_batch_s = 0.0
        self._mover = mover
        self._lane = Lane(end)
        self._loop = asyncio.get_running_loop()
        self._taker = ""
        self._refused: dict[Mobile, float] = {}
        self._log = log.get("handover")

    async def run(self) -> None:
        """Give what can be given; what is left when this returns stays."""
        try:
            await self._lane.send(Hello(self._mover.name, self._mover.channels()))
            async with asyncio.timeout(WARM_LIMIT_S):
                packet, _ = await self._lane.receive()
            if not isinstance(packet, Warm):
                raise LaneClosed("the taker does not speak this protocol")
            self._taker = packet.taker
            async with asyncio.timeout(SETTLE_LIMIT_S):
                await self._mover.settle()
            await self._give_all()
            await self._lane.send(Done())
        except (LaneClosed, TimeoutError, msgspec.MsgspecError) as error:
            self._log.warning("the hand-over ended early", reason=str(error) or "time is over")
        finally:
            for mobile in self._mover.mobiles():
                mobile.stay()
            self._mover.ended()
        self._log.info(
            "connections given",
            given=self.given,
            returned=self.returned,
            longest_batch_ms=round(self.longest_batch_s * 1_000, 1),
        )

    async def _give_all(self) -> None:
        until_s = self._loop.time() + PATIENCE_S
        while self._loop.time() < until_s:
            batch = self._detach()
            if batch:
                began_ns = time.monotonic_ns()
                if await self._move(batch):
                    until_s = self._loop.time() + PATIENCE_S
                # As long as a batch took, so that those who do not move right now are served.
                await asyncio.sleep((time.monotonic_ns() - began_ns) / 1e9)
            elif not any(True for _ in self._mover.mobiles()):
                return
            else:
                await asyncio.sleep(LOOK_S)

    def _detach(self) -> list[tuple[Mobile, Detached]]:
        """Take what can move now out of the event loop, as much as a batch holds."""
        batch: list[tuple[Mobile, Detached]] = []
        now_s = self._loop.time()
        for mobile in list(self._mover.mobiles()):
            if self._refused.get(mobile, 0.0) <= now_s:
                detached = mobile.detach()
                if detached is not None:
                    batch.append((mobile, detached))
                    if len(batch) == BATCH_CONNECTIONS:
                        break
        return batch

    async def _move(self, batch: list[tuple[Mobile, Detached]]) -> int:
        """Move a batch; return how many have moved. Raises LaneClosed, nothing being on its way."""
        began_s = self._loop.time()
        await asyncio.gather(*(detached.ended for _, detached in batch))
        parcels: list[_Parcel] = []
        for mobile, detached in batch:
            moving = mobile.freeze(detached.unsent_bytes)
            parcels.append(_Parcel(mobile, moving, detached.socket))
        failure: LaneClosed | None = None
        taken: set[int] = set()
        try:
            taken = await self._send(parcels)
        except LaneClosed as error:
            failure = error
            taken = self._last_word()
        self.longest_batch_s = max(self.longest_batch_s, self._loop.time() - began_s)
        returned: list[_Parcel] = []
        for place, parcel in enumerate(parcels):
            if place in taken:
                parcel.socket.close()
                parcel.mobile.moved(self._taker)
                self._refused.pop(parcel.mobile, None)
            else:
                returned.append(parcel)
        self.given += len(taken)
        await asyncio.gather(*(self._take_back(parcel) for parcel in returned))
        if failure is not None:
            raise failure
        return len(taken)

    async def _send(self, parcels: list[_Parcel]) -> set[int]:
        """Send a batch and return the places that were taken; raises LaneClosed."""
        batch = Batch([parcel.moving for parcel in parcels])
        try:
            async with asyncio.timeout(ACKNOWLEDGE_LIMIT_S):
                await self._lane.send(batch, [parcel.socket.fileno() for parcel in parcels])
                packet, _ = await self._lane.receive()
        except TimeoutError:
            await self._withdraw()
            raise LaneClosed("the taker did not answer in time") from None
        if not isinstance(packet, Ack):
            raise LaneClosed("the taker does not speak this protocol")
        for reason in packet.refusals[:1]:
            self._log.warning("refused", count=len(packet.refusals), first=reason)
        return set(packet.taken)

    async def _withdraw(self) -> None:
        """Tell the taker, should it wake up, that the batch is ours again; it must be able to know.

        One batch and this word always fit into the socket's buffer.
        """
        with suppress(LaneClosed):
            await self._lane.send(Withdrawn())

    def _last_word(self) -> set[int]:
        """Return what was acknowledged; after this nothing can be."""
        self._lane.shut()
        try:
            while True:
                packet, _ = self._lane.take()
                if isinstance(packet, Ack):
                    return set(packet.taken)
        except (LaneClosed, BlockingIOError):
            return set()

    async def _take_back(self, parcel: _Parcel) -> None:
        """Go on here with a connection that did not move."""
        self.returned += 1
        try:
            thawed = await self._mover.thaws[parcel.moving.kind](parcel.moving.state)
            await thawed.go_on(parcel.socket)
        except (MadangError, OSError) as error:
            parcel.socket.close()
            self._log.error("a connection was lost in a hand-over", reason=str(error))
            return
        self._refused[thawed] = self._loop.time() + RETRY_S  # type: ignore[index]
