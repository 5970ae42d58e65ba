"""Positions, publications and the bounded history of one channel. Pure.

Invariant: while `floor` is known, the ring holds every publication after `floor` up to `last`,
without a gap; so a recovery is complete or it is refused. Offsets rise but need not be
consecutive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from madang.wire.websocket import encode_message

Encoder = Callable[[str], tuple[bytes, bool]]
PUBLICATION_BYTES = 256
"""What a publication costs beside its frames, for the byte limit."""


class Position(NamedTuple):
    """Where in a channel: a later epoch is another life of its sequencer."""

    epoch: int
    offset: int


class Publication:
    """One message of a channel, encoded once per dialect and framed once."""

    __slots__ = ("_encode", "_frames", "_payloads", "frame_bytes", "position", "source_bytes")

    def __init__(self, position: Position, encode: Encoder, source_bytes: int = 0) -> None:
        self.position = position
        self.source_bytes = source_bytes
        self.frame_bytes = 0
        self._encode = encode
        self._frames: dict[str, bytes] = {}
        self._payloads: dict[str, tuple[bytes, bool]] = {}

    def payload(self, dialect: str) -> tuple[bytes, bool]:
        """Return the encoded message and whether it is binary."""
        found = self._payloads.get(dialect)
        if found is None:
            found = self._payloads[dialect] = self._encode(dialect)
        return found

    def frame(self, dialect: str) -> bytes:
        """Return the message as a WebSocket frame, the same object for every connection."""
        frame = self._frames.get(dialect)
        if frame is None:
            frame = self._frames[dialect] = encode_message(*self._encode(dialect))
            self.frame_bytes += len(frame)
        return frame

    @property
    def cost_bytes(self) -> int:
        """What keeping this publication takes."""
        return PUBLICATION_BYTES + self.source_bytes + self.frame_bytes


class History:
    """A ring of publications bounded by count and bytes."""

    __slots__ = ("_bytes", "_bytes_max", "_costs", "_count_max", "_ring", "floor", "last", "whole")

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._ring: deque[Publication] = deque()
        self._costs: deque[int] = deque()
        self._bytes = 0
        self.whole = False
        self.floor: Position | None = None
        self.last: Position | None = None

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def bytes_held(self) -> int:
        """Bytes counted against the limit."""
        return self._bytes

    def begin(self, position: Position) -> None:
        """Forget everything; from `position` on nothing will be missing."""
        self.forget()
        self.floor = self.last = position
        self.whole = True

    def forget(self) -> None:
        """Forget everything, so that recovery is refused until a new beginning."""
        self._ring.clear()
        self._costs.clear()
        self._bytes = 0
        self.floor = self.last = None
        self.whole = False

    def append(self, publication: Publication) -> None:
        """Keep a publication that follows `last`, and let the oldest go where a limit is passed.

        Call it after the fan-out, when the frames it will share exist and are counted.
        """
        position = publication.position
        assert self.last is None or position > self.last
        if self.floor is None:
            self.floor = Position(position.epoch, position.offset - 1)
        self.last = position
        cost = publication.cost_bytes
        self._ring.append(publication)
        self._costs.append(cost)
        self._bytes += cost
        while self._ring and (len(self._ring) > self._count_max or self._bytes > self._bytes_max):
            self.floor = self._ring.popleft().position
            self.whole = False
            self._bytes -= self._costs.popleft()

    def resume_from(self, position: Position) -> Position | None:
        """Return from where a client of another worker goes on here; None where that has a hole.

        That worker had everything published before this history began, so a client that stands
        before the beginning has missed exactly what is here, while nothing of it has gone.
        """
        if self.floor is None or position.epoch != self.floor.epoch:
            return None
        if position >= self.floor:
            return position
        return self.floor if self.whole else None

    def since(self, position: Position) -> list[Publication] | None:
        """Return every publication after `position`, or None where that cannot be complete."""
        if self.floor is None or position.epoch != self.floor.epoch:
            return None
        if position.offset < self.floor.offset:
            return None
        missed: list[Publication] = []
        for publication in reversed(self._ring):
            if publication.position <= position:
                break
            missed.append(publication)
        missed.reverse()
        return missed
