"""What the process that numbers keeps of the channels of one shard. Pure.

Invariant: a position is given to one message only. So a channel that is forgotten to make room
begins in an epoch that nobody has used when it comes back; and a channel that has had no message
takes no room, however many ask for its past. A state is never forgotten.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from madang.core.errors import MadangError
from madang.hub.history import Position
from madang.wire.busframes import PAYLOAD_BYTES_MAX

PAGE_BYTES_MAX: Final = PAYLOAD_BYTES_MAX // 2
HISTORY_COUNT_MAX: Final = 1_000
HISTORY_BYTES_MAX: Final = 1_048_576
GONE_IDS_MAX: Final = 1_000
"""Ids of messages that a line keeps no more, by which one that is sent again is known."""
NOTE_BYTES_MAX: Final = 32 * 1024 * 1024
NUMBERED_CHANNELS_MAX: Final = 100_000
FORGOTTEN_AT_ONCE: Final = 5_000
"""Lines forgotten in one go where there is no room: each go costs the unknown channels an epoch."""
EPOCHS_OF_A_LEASE: Final = 1 << 20
"""Epochs of channels in one epoch of the lease; those of 2³³ leases are exact in JavaScript."""
EVENT_BYTES: Final = 128
STATE_KEYS_MAX: Final = 10_000
STATE_BYTES_MAX: Final = 8 * 1024 * 1024
_NEWEST: Final = Position(1 << 63, 0)
_UNKNOWN: Final = ""
"""In a note, in place of a channel's name: the epoch of the channels it does not name."""


class NumberingFull(MadangError):
    """A process numbers as many channels as it may."""


class Event(msgspec.Struct, array_like=True, frozen=True):
    """A numbered message: `id` is unique to a broadcast, `data` its JSON text, `key` of a state."""

    offset: int
    id: str
    data: bytes
    key: str = ""


class Told(msgspec.Struct, array_like=True, frozen=True):
    """An event as it travels: with its epoch; `state`: of a state channel (None: nobody said)."""

    epoch: int
    event: Event
    state: bool | None = None


class Past(msgspec.Struct, array_like=True):
    """What is kept of a channel: every event after `floor` up to `last`."""

    epoch: int
    floor: int
    last: int
    events: list[Event]
    state: bool = False


class Question(msgspec.Struct, array_like=True, frozen=True):
    """`id` set: number `data`. Else: what came after `(epoch, offset)`; epoch 0: all there is."""

    channel: str
    id: str = ""
    data: bytes = b""
    epoch: int = 0
    offset: int = 0
    state: bool = False
    key: str = ""
    """With `id` and an epoch: what the key had there, for an owner that does not know it."""
    again: bool = False
    """It was asked before, and nobody knows whether it was numbered."""


class Line:
    """One channel at the process that numbers it."""

    __slots__ = ("_gone", "bytes_held", "epoch", "events", "floor", "last")

    state = False

    def __init__(self, epoch: int, floor: int = 0) -> None:
        self.epoch = epoch
        self.floor = self.last = floor
        self.events: deque[Event] = deque()
        self.bytes_held = 0
        self._gone: deque[tuple[str, int]] | None = None

    def append(self, event: Event) -> None:
        """Take the next event."""
        self.last = event.offset
        self.events.append(event)
        self.bytes_held += len(event.data) + EVENT_BYTES
        while len(self.events) > HISTORY_COUNT_MAX or self.bytes_held > HISTORY_BYTES_MAX:
            oldest = self.events.popleft()
            self.floor = oldest.offset
            self._let_go(oldest)

    def _let_go(self, event: Event) -> None:
        """Keep no more of an event than its id, for a while."""
        self.bytes_held -= len(event.data) + EVENT_BYTES
        if self._gone is None:
            self._gone = deque(maxlen=GONE_IDS_MAX)
        self._gone.append((event.id, event.offset))

    def offset_of(self, id: str) -> int | None:
        """Return the offset that a message has got; None where it has none, or long ago."""
        for event in self.kept():
            if event.id == id:
                return event.offset
        return next((offset for gone, offset in self._gone or () if gone == id), None)

    def kept(self) -> Iterable[Event]:
        """Return what is kept, in order."""
        return self.events

    def past(self, epoch: int, offset: int) -> Past:
        """Return one page after a position; all there is where that is of no use."""
        start = max(offset, self.floor) if epoch == self.epoch else self.floor
        page: list[Event] = []
        size = 0
        for event in self.kept():
            if event.offset > start:
                size += len(event.data) + EVENT_BYTES
                if page and size > PAGE_BYTES_MAX:
                    break
                page.append(event)
        return Past(self.epoch, start, self.last, page)


class StateLine(Line):
    """A state channel at the process that numbers it: the newest of each key."""

    __slots__ = ("_latest", "_restored")

    state = True

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self._latest: dict[str, Event] = {}
        self._restored: dict[str, Position] = {}

    def append(self, event: Event) -> None:
        """Take the newest of a key."""
        before = self._latest.pop(event.key, None)
        if before is not None:
            self._let_go(before)
        self.last = event.offset
        self._latest[event.key] = event
        self._restored.pop(event.key, None)
        self.bytes_held += len(event.data) + EVENT_BYTES

    def kept(self) -> Iterable[Event]:
        """See `Line`."""
        return self._latest.values()

    def check_room(self, question: Question) -> None:
        """Raise NumberingFull where a key has no room."""
        full = len(self._latest) >= STATE_KEYS_MAX and question.key not in self._latest
        if full or self.bytes_held + len(question.data) > STATE_BYTES_MAX:
            limits = {"keys": STATE_KEYS_MAX, "bytes": STATE_BYTES_MAX}
            raise NumberingFull("a state channel is full", **limits)

    def knows_better(self, question: Question) -> bool:
        """Tell whether a key has something newer than what is restored, and note that it may."""
        was = Position(question.epoch, question.offset)
        present = question.key in self._latest
        return present and self._restored.get(question.key, _NEWEST) >= was

    def restore(self, question: Question, event: Event) -> None:
        """Take what a key had in an earlier epoch."""
        self.append(event)
        self._restored[event.key] = Position(question.epoch, question.offset)


class Lines:
    """The channels of one shard, those with events in the order of their last one.

    Unknown channels are in `epoch`, before their first message; it rises when lines are forgotten.
    """

    def __init__(self, lease_epoch: int, note: bytes = b"") -> None:
        self._lease_epoch = lease_epoch
        self.epoch = lease_epoch * EPOCHS_OF_A_LEASE
        self._events: OrderedDict[str, Line] = OrderedDict()
        self._states: dict[str, StateLine] = {}
        if note:
            self._take_over(msgspec.msgpack.decode(note, type=dict[str, Past]))

    def _take_over(self, note: dict[str, Past]) -> None:
        unknown = note.pop(_UNKNOWN, None)
        if unknown is not None:
            self.epoch = unknown.epoch
        for channel, past in note.items():
            line: Line
            if past.state:
                line = self._states[channel] = StateLine(past.epoch)
            else:
                line = self._events[channel] = Line(past.epoch, past.floor)
            for event in past.events:
                line.append(event)
            line.last = past.last

    def __len__(self) -> int:
        return len(self._events) + len(self._states)

    def find(self, channel: str) -> Line | None:
        """Return a channel's line; None where it has had no message that is known."""
        return self._events.get(channel) or self._states.get(channel)

    def past(self, question: Question) -> Past:
        """Return one page of what came after a position."""
        line = self.find(question.channel)
        if line is None:
            return Past(self.epoch, 0, 0, [])
        return line.past(question.epoch, question.offset)

    def touch(self, question: Question, known: Line | None) -> Line:
        """Return the line that a message goes to: the one that was found, or a new one.

        Raises NumberingFull.
        """
        channel = question.channel
        if known is None:
            self._make_room()
            if question.state:
                known = self._states[channel] = StateLine(self.epoch)
            else:
                known = self._events[channel] = Line(self.epoch)
        elif not question.state:
            self._events.move_to_end(channel)
        return known

    def _make_room(self) -> None:
        if len(self) < NUMBERED_CHANNELS_MAX:
            return
        epoch = max(self.epoch + 1, self._lease_epoch * EPOCHS_OF_A_LEASE)
        if not self._events or epoch >= (self._lease_epoch + 1) * EPOCHS_OF_A_LEASE:
            raise NumberingFull("too many channels", limit=NUMBERED_CHANNELS_MAX)
        self.epoch = epoch
        for _ in range(min(FORGOTTEN_AT_ONCE, len(self._events))):
            self._events.popitem(last=False)

    def __iter__(self) -> Iterator[tuple[str, Line]]:
        yield from self._states.items()
        yield from self._events.items()

    def note(self) -> bytes:
        """Return what the next holder goes on with."""
        left = NOTE_BYTES_MAX
        note = {_UNKNOWN: Past(self.epoch, 0, 0, [])}
        for channel, line in self:
            kept = line.bytes_held <= left
            left -= line.bytes_held if kept else 0
            floor = line.floor if kept else line.last
            events = list(line.kept()) if kept else []
            note[channel] = Past(line.epoch, floor, line.last, events, line.state)
        return msgspec.msgpack.encode(note)
