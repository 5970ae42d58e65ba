"""All links of one process: greeting, frames in, frames out, and what a lost link means.

The one owner of every Link. Adapters tell it `opened`, `received`, `writable` and `gone`, and are
told through `Transport` when a link is established or lost, so that they can dial again. Output
is flushed once per tick of the loop with one write per link.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Final, Protocol

from madang.bus.dispatch import Dispatcher
from madang.bus.errors import BusError, MessageTooLarge, NoServer, Overloaded, PeerLost
from madang.bus.inbound import Inbound
from madang.bus.link import (
    Calls,
    Future,
    Identity,
    Known,
    Link,
    PeerLink,
    Verdict,
    Wire,
    decide,
)
from madang.bus.port import UNKNOWN_LOSS, PeerHandler
from madang.bus.registry import LocalRegistry, PeerRegistry
from madang.bus.settings import BusLimits
from madang.wire.busframes import (
    PAYLOAD_BYTES_MAX,
    PROTOCOL_VERSION,
    VERSION,
    CloseReason,
    FrameError,
    Kind,
    encode,
    encode_prefix,
)

_MESSAGE: Final = int(Kind.MESSAGE)
_REQUEST: Final = int(Kind.REQUEST)
LOST_PEERS_MAX: Final = 4096


class Transport(Protocol):
    """What makes and remakes links: the adapter."""

    def link_established(self, link: PeerLink) -> None:
        """A greeting is complete."""
        ...

    def link_lost(self, link: PeerLink, reason: CloseReason | None) -> None:
        """A link ended; `reason` where an end said one."""
        ...

    async def leave(self) -> None:
        """Take no new links and be found by nobody."""
        ...

    def abort(self) -> None:
        """Drop everything that is not a link."""
        ...

    async def ended(self) -> None:
        """Return when no connection is left, after all were told to close."""
        ...


class _LinkAnswer:
    """Carries answers back over one link."""

    __slots__ = ("_link", "_peering")

    def __init__(self, peering: Peering, link: PeerLink) -> None:
        self._peering = peering
        self._link = link

    def respond(self, number: int, payload: bytes) -> None:
        """Queue a RESPONSE."""
        self._peering.answer(self._link, Kind.RESPONSE, number, payload)

    def refuse(self, number: int, error: str) -> None:
        """Queue a REFUSAL."""
        self._peering.answer(self._link, Kind.REFUSAL, number, error.encode()[:PAYLOAD_BYTES_MAX])


class Peering:
    """The links of one process."""

    def __init__(
        self,
        identity: Identity,
        limits: BusLimits,
        local: LocalRegistry,
        dispatcher: Dispatcher,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.identity = identity
        self.limits = limits
        self.links: dict[str, PeerLink] = {}  # by peer name: the one that counts
        self.registry: PeerRegistry[PeerLink] = PeerRegistry()
        self.counters: Counter[str] = Counter()
        self.peer_handlers: list[PeerHandler] = []
        self.transport: Transport | None = None
        self._all: set[PeerLink] = set()
        self._local = local
        self._dispatcher = dispatcher
        self._loop = loop
        self._lost: dict[str, int] = {}  # peer name -> mark of the local registry at the loss
        self._waiting: dict[str, set[asyncio.Future[bool]]] = {}
        self._dirty: list[PeerLink] = []
        self._flush_planned = False
        self._inbound = Inbound(self, local, dispatcher)

    # -- the adapter's side

    def dialling(self, peer: str) -> PeerLink | None:
        """Return a new link that is being dialled; None where one exists or there are too many."""
        if peer in self.links or len(self._all) >= 2 * self.limits.peers:
            return None
        link: PeerLink = Link(self.limits, True, peer)
        self.links[peer] = link
        self._all.add(link)
        return link

    def accepted(self) -> PeerLink | None:
        """Return a new link that a peer has dialled; None where there are too many."""
        if len(self._all) >= 2 * self.limits.peers:
            self.counters["links_refused"] += 1
            return None
        link: PeerLink = Link(self.limits, False)
        self._all.add(link)
        return link

    def opened(self, link: PeerLink, wire: Wire) -> None:
        """The link has a connection; whoever dialled speaks first."""
        if link.closed:
            wire.abort()
            return
        link.wire = wire
        link.answer = _LinkAnswer(self, link)
        self._loop.call_later(self.limits.handshake_timeout_ms / 1000, self._check_greeting, link)
        if link.initiated:
            self.greet(link)

    def received(self, link: PeerLink, data: bytes) -> None:
        """Bytes have come."""
        if link.closed:
            return
        try:
            self._inbound.handle(link, link.decoder.feed(data))
        except (FrameError, BusError) as error:
            self.counters["protocol_errors"] += 1
            self.close_link(link, CloseReason.PROTOCOL, error.message)

    def writable(self, link: PeerLink) -> None:
        """The wire takes more."""
        if not link.pump():
            self.touch(link)

    def gone(self, link: PeerLink, reason: CloseReason | None = None) -> None:
        """The connection is lost, or was never made."""
        if not link.closed:
            self._forget(link, reason)

    def hung_up(self, link: PeerLink, reason: CloseReason | None) -> None:
        """The peer has said that it closes the link."""
        if link.wire is not None:
            link.wire.abort()
        self.gone(link, reason)

    def close_link(self, link: PeerLink, reason: CloseReason, text: str) -> None:
        """End a link and, where its output allows, say why."""
        if link.closed:
            return
        self.counters[f"closed_{reason.name.lower()}"] += 1
        wire = link.wire
        if wire is not None:
            if link.outbox.queued_bytes == 0:  # else a frame may be half written
                wire.write(encode(Kind.CLOSE, reason, "", text.encode()[:1024]))
                wire.close()
            else:
                wire.abort()
        self._forget(link, reason)

    # -- the node's side

    def publish(self, subject: str, payload: bytes) -> None:
        """Queue a message for each peer that wants it, or count it as lost there."""
        links = self.registry.match(subject)
        if links:
            prefix = encode_prefix(_MESSAGE, 0, subject, len(payload))
            for link in links:
                if link.outbox.offer(prefix, payload):
                    if not link.dirty:
                        self.touch(link)
                else:
                    self.counters["dropped"] += 1
                    link.outbox.lose(self.registry.patterns(subject, link))

    def call(self, subject: str, payload: bytes, future: Future) -> tuple[Calls[Future], int]:
        """Queue a request at the peer with the fewest open; raise NoServer or Overloaded."""
        servers = self.registry.servers(subject)
        if not servers:
            raise NoServer(f"nobody serves {subject}", subject=subject)
        link = min(servers, key=lambda server: len(server.calls))
        calls, outbox = link.calls, link.outbox
        prefix = encode_prefix(_REQUEST, calls.next_number, subject, len(payload))
        start = outbox.queued_total
        if calls.full or not outbox.offer(prefix, payload):
            self.counters["overloaded"] += 1
            raise Overloaded(f"{link.peer} is full", subject=subject, peer=link.peer)
        self.touch(link)
        return calls, calls.add(future, start)

    def answer(self, link: PeerLink, kind: Kind, number: int, payload: bytes) -> None:
        """Queue an answer; where it does not fit, say at least that."""
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise MessageTooLarge(f"answer of {len(payload)} bytes", limit=PAYLOAD_BYTES_MAX)
        if link.closed:
            self.counters["answers_lost"] += 1
            return
        link.owed -= 1
        if link.outbox.offer_answer(encode_prefix(kind, number, "", len(payload)), payload):
            self.touch(link)
        else:
            self.counters["answers_lost"] += 1
            self.control(link, encode(Kind.ANSWER_LOST, number))

    def announce(self, kind: Kind, subject: str) -> None:
        """Tell every peer of a change of our interests."""
        frame = encode(kind, 0, subject)
        for link in list(self.links.values()):
            if link.greeted:
                self.control(link, frame)

    def wait_server(self, subject: str) -> asyncio.Future[bool]:
        """Return a future that is done when a peer announces that it serves `subject`."""
        future: asyncio.Future[bool] = self._loop.create_future()
        waiting = self._waiting.setdefault(subject, set())
        waiting.add(future)
        return future

    def served(self, subject: str) -> None:
        """Wake who waits for a server of `subject`."""
        for future in self._waiting.pop(subject, ()):
            if not future.done():
                future.set_result(True)

    def unwait(self, subject: str, future: asyncio.Future[bool]) -> None:
        """Forget a waiter."""
        waiting = self._waiting.get(subject)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._waiting[subject]

    def unsent_bytes(self) -> int:
        """Return what the system has not yet taken, over all links."""
        return sum(
            link.outbox.queued_bytes + (link.wire.buffered_bytes() if link.wire else 0)
            for link in self._all
        )

    def drop_all(self, abort: bool) -> None:
        """End every link without a word."""
        for link in list(self._all):
            if link.wire is not None:
                (link.wire.abort if abort else link.wire.close)()
            self._forget(link, None)
        for waiting in self._waiting.values():
            for future in waiting:
                if not future.done():
                    future.set_result(False)

    # -- output

    def touch(self, link: PeerLink) -> None:
        """Have the output of a link written at the end of this tick."""
        if link.dirty:
            return
        link.dirty = True
        self._dirty.append(link)
        if not self._flush_planned:
            self._flush_planned = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_planned = False
        dirty, self._dirty = self._dirty, []
        for link in dirty:
            link.dirty = False
            if not link.pump():
                self.touch(link)

    def control(self, link: PeerLink, frame: bytes) -> None:
        """Queue what must not be dropped; a link without room even for that is closed."""
        if link.outbox.force(frame):
            self.touch(link)
        else:
            self.close_link(link, CloseReason.OVERRUN, "the peer does not read")

    def greet(self, link: PeerLink) -> None:
        """Queue HELLO, our interests and READY."""
        me = self.identity
        frames = [encode(Kind.HELLO, me.incarnation, me.name, VERSION.pack(PROTOCOL_VERSION))]
        frames += [encode(Kind.SUBSCRIBE, 0, pattern) for pattern in self._local.patterns()]
        frames += [encode(Kind.SERVE, 0, subject) for subject in self._local.served()]
        frames.append(encode(Kind.READY))
        link.greeted = True
        link.outbox.greet(b"".join(frames))
        self.touch(link)

    # -- beginning and end of a link

    def adopt(self, link: PeerLink, peer: str, incarnation: int) -> bool:
        """Decide about a link whose HELLO has come; False if it was closed."""
        current = self.links.get(peer)
        if current is link:
            current = None
        known = None
        if current is not None:
            known = Known(current.incarnation, current.established, current.initiated)
        verdict = decide(self.identity.name, peer, known, Known(incarnation, False, link.initiated))
        if verdict is Verdict.DUPLICATE:
            self.close_link(link, CloseReason.DUPLICATE, "another link is kept")
            return False
        if verdict is Verdict.OUTDATED:
            self.close_link(link, CloseReason.REPLACED, "a younger process has this name")
            return False
        if current is not None:
            older = current.incarnation not in (0, incarnation)
            reason = CloseReason.REPLACED if older else CloseReason.DUPLICATE
            self.close_link(current, reason, "another link is kept")
        if len(self.links) >= self.limits.peers and peer not in self.links:
            self.close_link(link, CloseReason.OVERRUN, "too many peers")
            return False
        link.peer, link.incarnation = peer, incarnation
        self.links[peer] = link
        if not link.greeted:
            self.greet(link)
        return True

    def establish(self, link: PeerLink) -> None:
        """Both directions are in force: report what may have been missed, then tell of the peer."""
        self.counters["links_established"] += 1
        mark = self._lost.pop(link.peer, None)
        if mark is not None:
            self._dispatcher.gap(self._local.older_than(mark), link.peer, UNKNOWN_LOSS)
        self._tell(link.peer, True)
        if self.transport is not None and not link.closed:
            self.transport.link_established(link)

    def _forget(self, link: PeerLink, reason: CloseReason | None) -> None:
        link.closed = True
        self._all.discard(link)
        if self.links.get(link.peer) is link:
            del self.links[link.peer]
        self.registry.drop(link)
        for future, handed_over in link.calls.drain(link.outbox.taken_total):
            if not future.done():
                future.set_exception(_lost_request(link.peer, handed_over))
        if link.established:
            self.counters["links_lost"] += 1
            if len(self._lost) >= LOST_PEERS_MAX:
                del self._lost[next(iter(self._lost))]
            self._lost.setdefault(link.peer, self._local.mark)
            self._tell(link.peer, False)
        if self.transport is not None:
            self.transport.link_lost(link, reason)

    def _tell(self, peer: str, connected: bool) -> None:
        for handler in list(self.peer_handlers):
            self._dispatcher.guard(partial(handler, peer), connected)

    def _check_greeting(self, link: PeerLink) -> None:
        if not link.established and not link.closed:
            self.close_link(link, CloseReason.PROTOCOL, "no greeting in time")


def _lost_request(peer: str, handed_over: bool) -> BusError:
    if handed_over:
        return PeerLost(f"link to {peer} lost with the request open", peer=peer)
    return NoServer(f"link to {peer} lost before the request was sent", peer=peer)
