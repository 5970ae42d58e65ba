"""The bus inside one process: the same nodes and frames, joined by pipes in memory.

For tests, and for running several parts in one process. Bytes cross on a later tick of the loop, so
that ordering, batching and bounds are those of the socket adapter.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from madang.bus.lanes import Lanes
from madang.bus.lease import MemoryLease
from madang.bus.link import Identity, PeerLink
from madang.bus.node import Node
from madang.bus.peering import Peering
from madang.bus.settings import BusLimits
from madang.bus.subjects import check_name
from madang.wire.busframes import CloseReason

PIPE_BYTES: Final = 256 * 1024


class _Pipe:
    """One end of a connection; what is written here is received there."""

    def __init__(self, peering: Peering, link: PeerLink) -> None:
        self._peering = peering
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._in_flight = 0
        self._open = True
        self.other: _Pipe | None = None

    def write(self, data: bytes) -> None:
        if self._open:
            self._in_flight += len(data)
            self._loop.call_soon(self._carry, data)

    def writable(self) -> bool:
        return self._open and self._in_flight <= PIPE_BYTES

    def paused(self) -> bool:
        return True

    def buffered_bytes(self) -> int:
        return self._in_flight

    def close(self) -> None:
        self._open = False
        self._loop.call_soon(self._end)

    def abort(self) -> None:
        self._open = False
        self._loop.call_soon(self._end)

    def _carry(self, data: bytes) -> None:
        self._in_flight -= len(data)
        other = self.other
        if other is not None and other._open:
            other._peering.received(other._link, data)
        if self._open:
            self._peering.writable(self._link)

    def _end(self) -> None:
        self._peering.gone(self._link)
        other = self.other
        if other is not None:
            other._open = False
            other._peering.gone(other._link)


class _MemoryTransport:
    """Joins one node with the others of its hub."""

    def __init__(self, hub: MemoryHub, node: Node) -> None:
        self._hub = hub
        self._node = node

    def link_established(self, link: PeerLink) -> None:
        pass

    def link_lost(self, link: PeerLink, reason: CloseReason | None) -> None:
        if reason is not CloseReason.REPLACED:
            asyncio.get_running_loop().call_soon(partial(self._hub.dial, self._node, link.peer))

    async def leave(self) -> None:
        self._hub.leave(self._node)

    def abort(self) -> None:
        self._hub.leave(self._node)

    async def ended(self) -> None:
        await asyncio.sleep(0)


class MemoryHub:
    """The place where the nodes of one process find each other."""

    def __init__(self, leases: MemoryLease | None = None) -> None:
        self._bulk: MemoryHub | None = None
        self._nodes: dict[str, Node] = {}
        self._leases = leases or MemoryLease()
        self._incarnation = 0

    def open(self, name: str, limits: BusLimits | None = None) -> Lanes:
        """Return a bus of this name, linked with all others; it replaces one of the same name."""
        check_name(name)
        return Lanes(self._open(name, limits), self._bulk_hub()._open(name, limits))

    def _bulk_hub(self) -> MemoryHub:
        if self._bulk is None:
            self._bulk = MemoryHub(self._leases)
        return self._bulk

    def _open(self, name: str, limits: BusLimits | None) -> Node:
        self._incarnation += 1
        identity = Identity(name, self._incarnation)
        node = Node(identity, limits or BusLimits(), self._leases)
        node.peering.transport = _MemoryTransport(self, node)
        self._nodes[name] = node
        for peer in list(self._nodes):
            self.dial(node, peer)
        return node

    def dial(self, node: Node, peer: str) -> None:
        """Link `node` with the node of that name, if there is one and no link yet."""
        target = self._nodes.get(peer)
        if target is None or target is node or self._nodes.get(node.name) is not node:
            return
        ours = node.peering.dialling(peer)
        if ours is None:
            return
        theirs = target.peering.accepted()
        if theirs is None:
            node.peering.gone(ours)
            return
        near, far = _Pipe(node.peering, ours), _Pipe(target.peering, theirs)
        near.other, far.other = far, near
        target.peering.opened(theirs, far)
        node.peering.opened(ours, near)

    def leave(self, node: Node) -> None:
        """Take a node out: nobody links with it any more."""
        if self._nodes.get(node.name) is node:
            del self._nodes[node.name]


def memory_bus_hub() -> MemoryHub:
    """Return an empty hub."""
    return MemoryHub()
