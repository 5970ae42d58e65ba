"""The Bus of one process, the same over every adapter of this family.

What goes to our own handlers waits for the next tick of the loop, so that a handler is never called
from inside `publish` or `request`; that queue has the same byte bound as a peer's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from madang.bus.dispatch import Dispatcher
from madang.bus.errors import (
    BusClosed,
    BusError,
    MessageTooLarge,
    Overloaded,
    PeerLost,
    RequestRefused,
    RequestTimeout,
)
from madang.bus.lease import Held, Lease
from madang.bus.link import Calls, Future, Identity
from madang.bus.peering import Peering
from madang.bus.port import (
    GapHandler,
    Message,
    MessageHandler,
    PeerHandler,
    Request,
    RequestHandler,
    Submission,
    Subscription,
    WorkHandler,
)
from madang.bus.registry import Listener, LocalRegistry, Registration, Service
from madang.bus.settings import BusLimits
from madang.bus.subjects import check_subject
from madang.bus.workshare import WorkDesk
from madang.wire.busframes import PAYLOAD_BYTES_MAX, Kind

DRAIN_POLL_S = 0.002


class _LocalAnswer:
    """Carries answers back to requests of this process."""

    __slots__ = ("_calls",)

    def __init__(self, calls: Calls[Future]) -> None:
        self._calls = calls

    def respond(self, number: int, payload: bytes) -> None:
        """Give the answer to who waits for it."""
        _check_size(payload)
        future = self._calls.pop(number)
        if future is not None and not future.done():
            future.set_result(payload)

    def refuse(self, number: int, error: str) -> None:
        """Give the refusal to who waits for it."""
        future = self._calls.pop(number)
        if future is not None and not future.done():
            future.set_exception(RequestRefused(error))


class Node:
    """A Bus over links; the adapter attaches itself to `peering.transport`."""

    def __init__(self, identity: Identity, limits: BusLimits, leases: Lease) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._name = identity.name
        self._local = LocalRegistry()
        self._dispatcher = Dispatcher(self._local, self._loop)
        self.peering = Peering(identity, limits, self._local, self._dispatcher, self._loop)
        self._calls: Calls[Future] = Calls(limits.open_requests)
        self._answer = _LocalAnswer(self._calls)
        self._messages: list[Message] = []
        self._requests: list[Request] = []
        self._lost: dict[str, int] = {}
        self._queued_bytes = 0
        self._delivery_planned = False
        self._published = 0
        self._leases = leases
        self._desk: WorkDesk | None = None
        self._closed = False

    @property
    def name(self) -> str:
        """Return the name by which peers know this process."""
        return self._name

    def publish(self, subject: str, payload: bytes) -> None:
        """See `Bus.publish`."""
        if self._closed:
            raise BusClosed("publish after close", subject=subject)
        if len(payload) > PAYLOAD_BYTES_MAX:
            _check_size(payload)
        self._published += 1
        self.peering.publish(subject, payload)
        if self._local.match(subject):
            self._queue_local(subject, payload)

    def interested(self, subject: str) -> bool:
        """See `Bus.interested`."""
        return bool(self.peering.registry.match(subject) or self._local.match(subject))

    def subscribe(
        self, pattern: str, handler: MessageHandler, on_gap: GapHandler | None = None
    ) -> Listener:
        """See `Bus.subscribe`."""
        self._check_room()
        listener, first = self._local.listen(pattern, handler, on_gap, self._unsubscribe)
        if first:
            self.peering.announce(Kind.SUBSCRIBE, pattern)
        return listener

    async def request(self, subject: str, payload: bytes, timeout_ms: int) -> bytes:
        """See `Bus.request`."""
        if self._closed:
            raise BusClosed("request after close", subject=subject)
        check_subject(subject)
        _check_size(payload)
        future: Future = self._loop.create_future()
        if self._local.service(subject) is not None:
            calls, number = self._call_local(subject, payload, future)
        else:
            calls, number = self.peering.call(subject, payload, future)
        timer = self._loop.call_later(timeout_ms / 1000, _expire, future, subject, timeout_ms)
        try:
            return await future
        finally:
            timer.cancel()
            calls.pop(number)

    def serve(self, subject: str, handler: RequestHandler) -> Service:
        """See `Bus.serve`."""
        self._check_room()
        service = self._local.add_service(subject, handler, self._withdraw)
        self.peering.announce(Kind.SERVE, subject)
        self.peering.served(subject)
        return service

    async def wait_for_server(self, subject: str, timeout_ms: int) -> bool:
        """See `Bus.wait_for_server`."""
        check_subject(subject)
        if self._local.service(subject) is not None or self.peering.registry.servers(subject):
            return True
        future = self.peering.wait_server(subject)
        try:
            return await asyncio.wait_for(future, timeout_ms / 1000)
        except TimeoutError:
            return False
        finally:
            self.peering.unwait(subject, future)

    def work(self, subject: str, handler: WorkHandler, slots: int) -> Subscription:
        """See `Bus.work`."""
        self._check_room()
        return self._work_desk().work(subject, handler, slots)

    async def submit(self, subject: str, payload: bytes) -> Submission:
        """See `Bus.submit`."""
        self._check_room()
        return await self._work_desk().submit(subject, payload)

    def _work_desk(self) -> WorkDesk:
        if self._desk is None:
            self._desk = WorkDesk(self, self._limits.work)
        return self._desk

    def acquire(self, name: str) -> Held:
        """See `Bus.acquire`."""
        if self._closed:
            raise BusClosed("acquire after close", name=name)
        return self._leases.acquire(name)

    def peers(self) -> frozenset[str]:
        """See `Bus.peers`."""
        return frozenset(name for name, link in self.peering.links.items() if link.established)

    def on_peer(self, handler: PeerHandler) -> None:
        """See `Bus.on_peer`."""
        self.peering.peer_handlers.append(handler)

    def statistics(self) -> Mapping[str, int]:
        """See `Bus.statistics`; peers, unsent_bytes, interests, open_requests are gauges."""
        links = self.peering.links.values()
        return {
            **self.peering.counters,
            **(self._desk.statistics() if self._desk is not None else {}),
            "published": self._published,
            "delivered": self._dispatcher.delivered,
            "gaps": self._dispatcher.gaps,
            "handler_failures": self._dispatcher.failures,
            "peers": len(self.peers()),
            "unsent_bytes": self.peering.unsent_bytes(),
            "interests": sum(link.interests for link in links),
            "open_requests": len(self._calls) + sum(len(link.calls) for link in links),
        }

    async def close(self) -> None:
        """Send what is queued, for at most `close_timeout_ms`, then leave."""
        if self._closed:
            return
        if self._desk is not None:
            desk, self._desk = self._desk, None
            await desk.close(self._limits.close_timeout_ms)
        self._closed = True
        if self.peering.transport is not None:
            await self.peering.transport.leave()
        deadline = self._loop.time() + self._limits.close_timeout_ms / 1000
        while self.peering.unsent_bytes() and self._loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(DRAIN_POLL_S)
        self._end(abort=self.peering.unsent_bytes() > 0)
        if self.peering.transport is not None:
            await self.peering.transport.ended()

    def abort(self) -> None:
        """Leave at once, as if killed: nothing is sent, nothing tidied up."""
        self._closed = True
        self._end(abort=True)
        if self._desk is not None:
            self._desk.abort()

    def _end(self, abort: bool) -> None:
        if self.peering.transport is not None:
            self.peering.transport.abort()
        self.peering.drop_all(abort)
        for future, _ in self._calls.drain(0):
            if not future.done():
                future.set_exception(PeerLost("the bus was closed with the request open"))
        self._messages.clear()
        self._requests.clear()

    # -- our own handlers

    def _queue_local(self, subject: str, payload: bytes) -> None:
        if self._lost or self._queued_bytes + len(payload) > self._limits.queued_bytes:
            self.peering.counters["dropped"] += 1
            for pattern in self._local.matching_patterns(subject):
                self._lost[pattern] = self._lost.get(pattern, 0) + 1
            return
        self._queued_bytes += len(payload) + len(subject)
        self._messages.append(Message(subject, payload, self._name))
        self._plan_delivery()

    def _call_local(
        self, subject: str, payload: bytes, future: Future
    ) -> tuple[Calls[Future], int]:
        if self._calls.full or self._queued_bytes + len(payload) > self._limits.queued_bytes:
            self.peering.counters["overloaded"] += 1
            raise Overloaded("too many requests wait here", subject=subject, peer=self._name)
        number = self._calls.add(future)
        self._queued_bytes += len(payload) + len(subject)
        self._requests.append(Request(subject, payload, self._name, number, self._answer))
        self._plan_delivery()
        return self._calls, number

    def _plan_delivery(self) -> None:
        if not self._delivery_planned:
            self._delivery_planned = True
            self._loop.call_soon(self._deliver_local)

    def _deliver_local(self) -> None:
        self._delivery_planned = False
        messages, self._messages = self._messages, []
        requests, self._requests = self._requests, []
        lost, self._lost = self._lost, {}
        self._queued_bytes = 0
        if messages:
            self._dispatcher.messages(messages)
        for pattern, count in lost.items():
            self._dispatcher.gap(self._local.of_pattern(pattern), self._name, count)
        if requests:
            self._dispatcher.requests(requests)

    # -- ends of registrations

    def _unsubscribe(self, listener: Registration) -> None:
        if self._local.unlisten(listener):
            self.peering.announce(Kind.UNSUBSCRIBE, listener.subject)

    def _withdraw(self, service: Registration) -> None:
        self._local.remove_service(service)
        self.peering.announce(Kind.WITHDRAW, service.subject)

    def _check_room(self) -> None:
        if self._closed:
            raise BusClosed("the bus is closed")
        if self._local.size >= self._limits.interests:
            raise BusError("too many subscriptions", limit=self._limits.interests)


def _check_size(payload: bytes) -> None:
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise MessageTooLarge(f"payload of {len(payload)} bytes", limit=PAYLOAD_BYTES_MAX)


def _expire(future: Future, subject: str, timeout_ms: int) -> None:
    if not future.done():
        future.set_exception(
            RequestTimeout(f"no answer on {subject} in {timeout_ms} ms", subject=subject)
        )
