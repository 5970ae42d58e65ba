"""A state channel: only the latest publication of each key matters.

Invariant: a subscriber that keeps up gets every publication; one that is behind gets, once it
drains, the newest of each key that changed meanwhile, each once. So what waits for a slow reader is
at most one entry per key, whatever the rate. Where a publication is a change (a book's delta),
those that keep up get the change, and who joins or was behind gets the whole that it led to. A key
is never taken back: what is over is said by setting it so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from madang.core.errors import MadangError
from madang.hub.audience import Audience
from madang.hub.history import Encoder, Position, Publication
from madang.hub.settings import ChannelKind, ChannelSettings, SlowPolicy


class StateFullError(MadangError):
    """A state channel holds as many keys as it may."""


class StateSubscriber(Protocol):
    """What a state channel needs of a connection."""

    dialect: str

    @property
    def behind(self) -> bool:
        """Tell whether what it was sent before still waits for its reader."""
        ...

    def deliver(self, frame: bytes, window_ms: int) -> bool:
        """Queue a ready frame; False where the outbox is full."""
        ...

    def conflate(self, channel: StateChannel, key: str) -> None:
        """Ask for the newest of a key once it drains."""
        ...

    def overflow(self) -> None:
        """End this connection as a slow consumer."""
        ...

    def close(self, code: int, reason: str = "") -> None:
        """End this connection; it leaves its channels."""
        ...


class StateChannel(Audience[StateSubscriber]):
    """The latest publication per key with its subscribers."""

    kind = ChannelKind.STATE

    def __init__(self, name: str, settings: ChannelSettings) -> None:
        super().__init__(name, settings)
        self.conflated = 0
        self._latest: dict[str, Publication] = {}
        self._conflates = settings.policy is SlowPolicy.CONFLATE

    @property
    def keys(self) -> int:
        """How many keys have a latest publication."""
        return len(self._latest)

    def set(
        self, key: str, position: Position, encode: Encoder, whole: Encoder | None = None
    ) -> None:
        """Publish the newest of `key`; at or before its present position it is a repeat.

        Where `encode` says only what changed, `whole` says how it stands; it is called at most once
        per dialect, and only while this is the newest of its key. Raises StateFullError.
        """
        latest = self._latest
        present = latest.get(key)
        if present is None:
            limit = self.settings.keys_max
            if len(latest) >= limit:
                raise StateFullError(f"a state channel may hold {limit} keys", limit=limit)
        elif position <= present.position:
            self.repeats += 1
            return
        publication = Publication(position, encode)
        latest[key] = publication if whole is None else Publication(position, whole)
        self.publications += 1
        for subscriber, after in tuple(self._subscribers.items()):
            if after is None or position > after:
                self._give(subscriber, key, publication)

    def _give(self, subscriber: StateSubscriber, key: str, publication: Publication) -> None:
        if self._conflates and subscriber.behind:
            self.conflated += 1
            subscriber.conflate(self, key)
        elif subscriber.deliver(
            publication.frame(subscriber.dialect), self.settings.flush_window_ms
        ):
            self.deliveries += 1
        elif self._conflates:
            self.conflated += 1
            subscriber.conflate(self, key)
        else:
            subscriber.overflow()

    def frame(self, key: str, dialect: str) -> bytes:
        """Return the newest of a key as a frame, for a subscriber that drains."""
        self.deliveries += 1
        return self._latest[key].frame(dialect)

    def add(self, subscriber: StateSubscriber) -> None:
        """Add a subscriber and send it the latest of every key, where the channel greets."""
        self._enter(subscriber, None)
        greeting = list(self._latest.items()) if self.settings.greets else []
        self._greet(subscriber, greeting)

    def resume(self, subscriber: StateSubscriber, after: Position, missed: Iterable[str]) -> None:
        """Add a subscriber that has everything up to a position but for the keys it missed."""
        self._enter(subscriber, after)
        wanted = frozenset(missed)
        items = self._latest.items()
        self._greet(subscriber, [(k, p) for k, p in items if k in wanted or p.position > after])

    def _greet(self, subscriber: StateSubscriber, greeting: list[tuple[str, Publication]]) -> None:
        for key, publication in greeting:
            if subscriber not in self._subscribers:
                break  # it was ended as a slow consumer
            self._give(subscriber, key, publication)

    def interrupt(self, reason: str = "messages were lost") -> None:
        """Say that the state is unknown: it is void, subscribers come back and load anew."""
        self._latest.clear()
        self._send_back(reason)
