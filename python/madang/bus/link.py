"""One connection to one peer: who it is, how far the greeting is, and what is open on it.

Greeting: each end sends HELLO, its interests, READY; the accepting end only after it has read the
other's HELLO and decided to keep the link (see `decide`). Interests are staged and taken over at
READY, which is answered with SYNCED; the link is established when READY and SYNCED have come. So
what a peer published after its SYNCED is known to have been published with our interests in
force. Pure: bytes go out through the `Wire` that the adapter gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeAlias, TypeVar

from madang.bus.outbox import Outbox
from madang.bus.port import Answer
from madang.bus.settings import BusLimits
from madang.wire.busframes import FrameDecoder

if TYPE_CHECKING:
    import asyncio

WRITE_BYTES_MAX: Final = 256 * 1024

Waiter = TypeVar("Waiter")


class Wire(Protocol):
    """The adapter's end of a connection."""

    def write(self, data: bytes) -> None:
        """Hand bytes over; they may wait in the adapter's buffer."""
        ...

    def writable(self) -> bool:
        """Tell whether more may be written: the adapter's buffer is below its bound."""
        ...

    def paused(self) -> bool:
        """Tell whether the adapter will say when it is writable again."""
        ...

    def buffered_bytes(self) -> int:
        """Return how much was written here but not yet handed to the system."""
        ...

    def close(self) -> None:
        """Send what was written, then close."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class Calls(Generic[Waiter]):
    """Requests that wait for an answer, by number; at most `limit`."""

    __slots__ = ("_limit", "_next", "_open")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._next = 1
        self._open: dict[int, tuple[Waiter, int]] = {}

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    @property
    def full(self) -> bool:
        """Tell whether the limit is reached."""
        return len(self._open) >= self._limit

    @property
    def next_number(self) -> int:
        """Return the number that the next `add` gives."""
        return self._next

    def add(self, waiter: Waiter, start: int = 0) -> int:
        """Remember a request whose frame starts at byte `start` of the output; return a number."""
        number = self._next
        self._next += 1
        self._open[number] = (waiter, start)
        return number

    def pop(self, number: int) -> Waiter | None:
        """Return and forget who waits for `number`; None where nobody does any more."""
        entry = self._open.pop(number, None)
        return None if entry is None else entry[0]

    def drain(self, taken_total: int) -> Iterator[tuple[Waiter, bool]]:
        """Forget all; yield each with whether any byte of it was handed over."""
        entries = list(self._open.values())
        self._open.clear()
        for waiter, start in entries:
            yield waiter, start < taken_total


class Link(Generic[Waiter]):
    """State of one connection. `peer` is empty until its HELLO (or the dialling) names it."""

    __slots__ = (
        "answer",
        "calls",
        "closed",
        "decoder",
        "dirty",
        "greeted",
        "incarnation",
        "initiated",
        "interests",
        "outbox",
        "owed",
        "peer",
        "ready",
        "staged",
        "synced",
        "wire",
    )

    def __init__(self, limits: BusLimits, initiated: bool, peer: str = "") -> None:
        self.peer = peer
        self.initiated = initiated
        self.incarnation = 0
        self.wire: Wire | None = None
        self.decoder = FrameDecoder()
        self.outbox = Outbox(limits.queued_bytes, limits.control_bytes)
        self.calls: Calls[Waiter] = Calls(limits.open_requests)
        self.owed = 0  # requests of the peer that we have not answered
        self.interests = 0  # patterns and served subjects the peer announced
        self.staged: list[tuple[int, str]] = []
        self.greeted = False  # our HELLO, interests and READY are queued
        self.ready = False  # the peer's READY has come
        self.synced = False  # the peer's SYNCED has come
        self.answer: Answer | None = None  # where answers to the peer's requests go
        self.closed = False
        self.dirty = False  # queued for the next flush

    @property
    def established(self) -> bool:
        """Tell whether both directions are in force."""
        return self.ready and self.synced

    def pump(self) -> bool:
        """Write what the wire takes; False when output is left that no one else will write."""
        wire, outbox = self.wire, self.outbox
        if wire is None or self.closed:
            return True
        while outbox.queued_bytes:
            if not wire.writable():
                return wire.paused()
            wire.write(outbox.take(WRITE_BYTES_MAX))
        return True


Future: TypeAlias = "asyncio.Future[bytes]"
PeerLink: TypeAlias = Link[Future]


@dataclass(frozen=True, slots=True)
class Identity:
    """A process on the bus; a later one of the same name has the greater incarnation."""

    name: str
    incarnation: int


class Verdict(Enum):
    """What to do with a link whose HELLO has just come."""

    KEEP = auto()  # it is the only one
    REPLACE = auto()  # close the other one
    DUPLICATE = auto()  # close this one, the other is kept
    OUTDATED = auto()  # close this one, a younger process of that name is known


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a link when two compete; `incarnation` 0: not greeted yet."""

    incarnation: int
    established: bool
    initiated: bool


def decide(us: str, peer: str, current: Known | None, newcomer: Known) -> Verdict:
    """Choose between a peer's current link and another one, such that both ends choose the same.

    A younger process wins. An established link loses to a new one, because its other end would
    not have dialled again without having lost it. Of two that are both being greeted, the one
    dialled by the process with the smaller name stays; the other was never used.
    """
    if current is None:
        return Verdict.KEEP
    if current.incarnation and newcomer.incarnation != current.incarnation:
        younger = newcomer.incarnation > current.incarnation
        return Verdict.REPLACE if younger else Verdict.OUTDATED
    if current.established or current.initiated == newcomer.initiated:
        return Verdict.REPLACE
    dialled_by = us if newcomer.initiated else peer
    return Verdict.REPLACE if dialled_by == min(us, peer) else Verdict.DUPLICATE
