"""What each kind of frame from a peer does.

Order on a link is kept: messages are handed over before a GAP that follows them. A frame out of
turn (anything but greeting before READY, a second HELLO) is a FrameError, which ends the link.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from madang.bus.dispatch import Dispatcher
from madang.bus.errors import NoServer, Overloaded, PeerLost, RequestRefused
from madang.bus.link import PeerLink
from madang.bus.port import Message, Request
from madang.bus.registry import LocalRegistry
from madang.bus.subjects import check_name
from madang.core.errors import MadangError
from madang.wire.busframes import (
    PROTOCOL_VERSION,
    VERSION,
    CloseReason,
    Frame,
    FrameError,
    Kind,
    encode,
)

if TYPE_CHECKING:
    from madang.bus.peering import Peering

FrameHandler = Callable[[PeerLink, int, str, bytes], None]

_MESSAGE: Final = int(Kind.MESSAGE)
_REQUEST: Final = int(Kind.REQUEST)
_CLOSE: Final = int(Kind.CLOSE)


class Inbound:
    """Takes the frames of every link of one process."""

    def __init__(self, peering: Peering, local: LocalRegistry, dispatcher: Dispatcher) -> None:
        self._peering = peering
        self._local = local
        self._dispatcher = dispatcher
        self._handlers: dict[int, FrameHandler] = {
            Kind.HELLO: self._on_hello,
            Kind.SUBSCRIBE: self._interest(Kind.SUBSCRIBE),
            Kind.UNSUBSCRIBE: self._interest(Kind.UNSUBSCRIBE),
            Kind.SERVE: self._interest(Kind.SERVE),
            Kind.WITHDRAW: self._interest(Kind.WITHDRAW),
            Kind.READY: self._on_ready,
            Kind.SYNCED: self._on_synced,
            Kind.GAP: self._on_gap,
            Kind.RESPONSE: self._on_response,
            Kind.REFUSAL: self._on_refusal,
            Kind.OVERLOADED: self._on_overloaded,
            Kind.NO_SERVER: self._on_no_server,
            Kind.ANSWER_LOST: self._on_answer_lost,
            Kind.CLOSE: self._on_close,
        }

    def handle(self, link: PeerLink, frames: list[Frame]) -> None:
        """Act on frames in order; raise FrameError or BusError on one that breaks a rule."""
        messages: list[Message] = []
        requests: list[Request] = []
        peer = link.peer
        for kind, number, subject, payload in frames:
            if kind == _MESSAGE and link.ready:
                messages.append(Message(subject, payload, peer))
            elif kind == _REQUEST and link.ready:
                self._take_request(link, (number, subject, payload), requests)
            else:
                if kind >= _MESSAGE and kind != _CLOSE and not link.ready:
                    raise FrameError(f"{Kind(kind).name} before READY", kind=kind)
                if kind == Kind.GAP and messages:
                    self._hand_over(messages)
                    messages = []
                self._handlers[kind](link, number, subject, payload)
                peer = link.peer
                if link.closed:
                    break
        if messages:
            self._hand_over(messages)
        if requests:
            self._dispatcher.requests(requests)

    def _hand_over(self, messages: list[Message]) -> None:
        self._peering.counters["received"] += len(messages)
        self._dispatcher.messages(messages)

    # -- requests and their answers

    def _take_request(
        self, link: PeerLink, frame: tuple[int, str, bytes], requests: list[Request]
    ) -> None:
        number, subject, payload = frame
        if self._local.service(subject) is None:
            self._peering.control(link, encode(Kind.NO_SERVER, number))
        elif link.owed >= self._peering.limits.open_requests:
            self._peering.control(link, encode(Kind.OVERLOADED, number))
        else:
            link.owed += 1
            assert link.answer is not None
            requests.append(Request(subject, payload, link.peer, number, link.answer))

    def _on_response(self, link: PeerLink, number: int, subject: str, payload: bytes) -> None:
        future = link.calls.pop(number)
        if future is not None and not future.done():
            future.set_result(payload)

    def _fail(self, link: PeerLink, number: int, error: MadangError) -> None:
        future = link.calls.pop(number)
        if future is not None and not future.done():
            future.set_exception(error)

    def _on_refusal(self, link: PeerLink, number: int, subject: str, payload: bytes) -> None:
        self._fail(link, number, RequestRefused(payload.decode(errors="replace"), peer=link.peer))

    def _on_overloaded(self, link: PeerLink, number: int, subject: str, payload: bytes) -> None:
        self._fail(link, number, Overloaded(f"{link.peer} has too many open", peer=link.peer))

    def _on_no_server(self, link: PeerLink, number: int, subject: str, payload: bytes) -> None:
        self._fail(link, number, NoServer(f"{link.peer} serves it no more", peer=link.peer))

    def _on_answer_lost(self, link: PeerLink, number: int, subject: str, payload: bytes) -> None:
        self._fail(link, number, PeerLost(f"answer of {link.peer} did not fit", peer=link.peer))

    def _on_gap(self, link: PeerLink, number: int, subject: str, payload: bytes) -> None:
        self._dispatcher.gap(self._local.of_pattern(subject), link.peer, number)

    # -- greeting and interests

    def _on_hello(self, link: PeerLink, number: int, subject: str, payload: bytes) -> None:
        if link.incarnation or not number:
            raise FrameError("HELLO out of turn")
        if payload != VERSION.pack(PROTOCOL_VERSION):
            raise FrameError("peer speaks another version", expected=PROTOCOL_VERSION)
        check_name(subject)
        if subject == self._peering.identity.name or link.peer not in ("", subject):
            raise FrameError(f"HELLO of {subject}, expected another", peer=subject)
        self._peering.adopt(link, subject, number)

    def _interest(self, kind: Kind) -> FrameHandler:
        def on_interest(link: PeerLink, number: int, subject: str, payload: bytes) -> None:
            if not link.incarnation:
                raise FrameError(f"{kind.name} before HELLO")
            if link.ready:
                self._apply(link, kind, subject)
            elif len(link.staged) < self._peering.limits.interests:
                link.staged.append((kind, subject))
            else:
                raise FrameError("too many interests")

        return on_interest

    def _apply(self, link: PeerLink, kind: int, subject: str) -> None:
        registry = self._peering.registry
        if kind == Kind.SUBSCRIBE:
            link.interests += registry.subscribe(link, subject)
        elif kind == Kind.SERVE:
            link.interests += registry.serve(link, subject)
            self._peering.served(subject)
        elif kind == Kind.UNSUBSCRIBE:
            link.interests -= registry.unsubscribe(link, subject)
            link.outbox.forget(subject)
        else:
            link.interests -= registry.withdraw(link, subject)
        if link.interests > self._peering.limits.interests:
            raise FrameError("too many interests")

    def _on_ready(self, link: PeerLink, number: int, subject: str, payload: bytes) -> None:
        if not link.incarnation or link.ready:
            raise FrameError("READY out of turn")
        link.ready = True
        staged, link.staged = link.staged, []
        for kind, interest in staged:
            self._apply(link, kind, interest)
        self._peering.control(link, encode(Kind.SYNCED))
        if link.synced and not link.closed:
            self._peering.establish(link)

    def _on_synced(self, link: PeerLink, number: int, subject: str, payload: bytes) -> None:
        if not link.greeted or link.synced:
            raise FrameError("SYNCED out of turn")
        link.synced = True
        if link.ready:
            self._peering.establish(link)

    def _on_close(self, link: PeerLink, number: int, subject: str, payload: bytes) -> None:
        reason = next((known for known in CloseReason if known == number), None)
        self._peering.hung_up(link, reason)
