"""Who listens to a channel: what both kinds of channel keep of their subscribers.

Invariant: `on_first` and `on_last` are called once for each time that the first comes and the last
leaves; `on_count` after every change of the number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, Self, TypeVar

from madang.core.closecodes import CloseCode
from madang.hub.history import Position
from madang.hub.settings import ChannelKind, ChannelSettings


class Closable(Protocol):
    """What is needed of every subscriber."""

    def close(self, code: int, reason: str = "") -> None:
        """End this connection; it leaves its channels."""
        ...


Listener = TypeVar("Listener", bound=Closable)


class Audience(Generic[Listener]):
    """A named channel's subscribers, each with the position up to which it has everything."""

    kind: ChannelKind
    on_first: Callable[[Self], None] | None
    on_last: Callable[[Self], None] | None

    def __init__(self, name: str, settings: ChannelSettings) -> None:
        if settings.kind is not self.kind:
            raise ValueError(f"channel {name} needs settings of kind {self.kind}")
        self.name = name
        self.settings = settings
        self.on_first = None
        self.on_last = None
        self.on_count: Callable[[str], None] | None = None
        self.publications = 0
        self.deliveries = 0
        self.repeats = 0
        self._subscribers: dict[Listener, Position | None] = {}

    @property
    def subscribers(self) -> int:
        """How many connections listen."""
        return len(self._subscribers)

    def _enter(self: Self, subscriber: Listener, after: Position | None) -> None:
        first = not self._subscribers
        self._subscribers[subscriber] = after
        self._counted()
        if first and self.on_first is not None:
            self.on_first(self)

    def remove(self: Self, subscriber: Listener) -> None:
        """Remove a subscriber; unknown ones are ignored."""
        if subscriber not in self._subscribers:
            return
        del self._subscribers[subscriber]
        self._counted()
        if not self._subscribers and self.on_last is not None:
            self.on_last(self)

    def _counted(self) -> None:
        if self.on_count is not None:
            self.on_count(self.name)

    def _send_back(self, reason: str) -> None:
        """Close every subscriber with the code that says to come back and load anew."""
        for subscriber in list(self._subscribers):
            subscriber.close(CloseCode.RECOVERY_REFUSED, reason)
