"""A channel: one sequence of publications and who listens to it.

Invariant: a subscriber gets every publication after the position it subscribed at, in order, each
once, or is disconnected with a code that says to come back; under DROP_TO_KEYFRAME it may instead
miss a run of them that ends with a keyframe. Publications at or before `last`, or
of an older epoch, are repeats of the bus and are dropped and counted.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from madang.hub.audience import Audience
from madang.hub.history import Encoder, History, Position, Publication
from madang.hub.settings import ChannelKind, ChannelSettings, SlowPolicy


class Subscriber(Protocol):
    """What a channel needs of a connection."""

    dialect: str

    def deliver(self, frame: bytes, window_ms: int) -> bool:
        """Queue a ready frame; False where the outbox is full."""
        ...

    def overflow(self) -> None:
        """End this connection as a slow consumer."""
        ...

    def close(self, code: int, reason: str = "") -> None:
        """End this connection; it leaves its channels."""
        ...


class Recovery(NamedTuple):
    """What a subscription begins with.

    `recovered` is False where a position was given and history cannot fill the whole gap; then
    nothing of the gap is sent and the client must load the state anew.
    """

    recovered: bool
    position: Position | None
    publications: tuple[Publication, ...]


class Channel(Audience[Subscriber]):
    """A named sequence of publications with its subscribers and history."""

    kind = ChannelKind.EVENT

    def __init__(self, name: str, settings: ChannelSettings) -> None:
        super().__init__(name, settings)
        self.history = History(settings.history_count_max, settings.history_bytes_max)
        self.dropped = 0
        self._drops = settings.policy is SlowPolicy.DROP_TO_KEYFRAME
        self._dropping: set[Subscriber] = set()

    @property
    def position(self) -> Position | None:
        """Position of the last publication (or of the beginning), None before there is one."""
        return self.history.last

    def begin(self, position: Position) -> None:
        """Say that everything after `position` will be published here; history starts anew."""
        self.history.begin(position)

    def publish(
        self, position: Position, encode: Encoder, source_bytes: int = 0, *, keyframe: bool = False
    ) -> None:
        """Fan one message out: `encode(dialect) -> (payload, binary)` runs once per dialect in use.

        `source_bytes` is what `encode` keeps alive, counted against the history's byte limit. A
        `keyframe` can be understood without anything before it.
        """
        last = self.history.last
        if last is not None:
            if position <= last:
                self.repeats += 1
                return
            if position.epoch != last.epoch:
                self.history.forget()
        publication = Publication(position, encode, source_bytes)
        self.publications += 1
        self._fan_out(publication, keyframe)
        self.history.append(publication)

    def _fan_out(self, publication: Publication, keyframe: bool) -> None:
        position = publication.position
        window_ms = self.settings.flush_window_ms
        dropping = self._dropping
        slow = [] if keyframe else list(dropping)
        skipped = 0
        dialect, frame = "", b""  # neighbours mostly speak the same: no call for each of them
        for subscriber, after in self._subscribers.items():
            if after is not None and position <= after:
                skipped += 1
            elif dropping and not keyframe and subscriber in dropping:
                continue
            else:
                if subscriber.dialect != dialect or not frame:
                    dialect = subscriber.dialect
                    frame = publication.frame(dialect)
                if not subscriber.deliver(frame, window_ms):
                    slow.append(subscriber)
                elif dropping:
                    dropping.discard(subscriber)
        self.deliveries += len(self._subscribers) - len(slow) - skipped
        for subscriber in slow:
            self._fell_behind(subscriber)

    def _fell_behind(self, subscriber: Subscriber) -> None:
        if self._drops:
            self.dropped += 1
            self._dropping.add(subscriber)
        else:
            subscriber.overflow()

    def recover(self, since: Position | None) -> Recovery:
        """Tell what a subscription at `since` would begin with; changes nothing."""
        if since is None:
            return Recovery(True, self.history.last, ())
        missed = self.history.since(since)
        if missed is None:
            return Recovery(False, self.history.last, ())
        return Recovery(True, self.history.last, tuple(missed))

    def has(self, subscriber: Subscriber) -> bool:
        """Tell whether it listens."""
        return subscriber in self._subscribers

    def stands_at(self, subscriber: Subscriber) -> Position | None:
        """Return the position up to which a subscriber has everything."""
        after, last = self._subscribers[subscriber], self.history.last
        if after is None or last is None or after.epoch != last.epoch:
            return last
        return max(after, last)

    def add(self, subscriber: Subscriber, since: Position | None = None) -> Recovery:
        """Add a subscriber and send it what it missed after `since`."""
        recovery = self.recover(since)
        self._enter(subscriber, since if recovery.recovered else None)
        for publication in recovery.publications:
            if not subscriber.deliver(
                publication.frame(subscriber.dialect), self.settings.flush_window_ms
            ):
                self._fell_behind(subscriber)
                break
        return recovery

    def remove(self, subscriber: Subscriber) -> None:
        """Remove a subscriber; unknown ones are ignored."""
        self._dropping.discard(subscriber)
        super().remove(subscriber)

    def interrupt(self, reason: str = "messages were lost") -> None:
        """Say that messages were lost: history is void, subscribers come back and load anew."""
        self.history.forget()
        self._send_back(reason)
