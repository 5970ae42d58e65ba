"""Who numbers the messages of a channel: the holder of the lease of the channel's shard.

Every message of an event channel gets `(epoch, offset)` from one process, so that all clients see
one order. Invariant: offsets of one epoch of a channel are consecutive; an epoch goes on only where
its last holder released in order and left a note of where it was; else a new one begins. A
broadcast is repeated under its id until somebody has numbered it; who receives it twice, under
two epochs, drops the second. Of a state channel the newest event of each key is kept; followers
give what they know of it to a new owner, which takes the newest of what each key had.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from madang.bus import Bus, BusError, NoServer, NotDelivered, OutcomeUnknown, Request
from madang.bus.errors import LeaseTaken, MessageTooLarge
from madang.bus.lease import Held
from madang.bus.port import Subscription
from madang.bus.subjects import check_subject
from madang.core.errors import MadangError
from madang.hub.history import Position
from madang.wire.busframes import PAYLOAD_BYTES_MAX

SHARDS: Final = 64
QUESTIONS: Final = "_hub.number."
EVENTS: Final = "_hub.event."
CHANNEL_CHARACTERS_MAX: Final = 200
KEY_CHARACTERS_MAX: Final = 200
MESSAGE_BYTES_MAX: Final = PAYLOAD_BYTES_MAX // 2
PAGE_BYTES_MAX: Final = MESSAGE_BYTES_MAX
ASK_TIMEOUT_MS: Final = 5_000
RETRY_S: Final = 0.01
HISTORY_COUNT_MAX: Final = 1_000
HISTORY_BYTES_MAX: Final = 1_048_576
NOTE_BYTES_MAX: Final = 32 * 1024 * 1024
NUMBERED_CHANNELS_MAX: Final = 100_000
EVENT_BYTES: Final = 128
STATE_KEYS_MAX: Final = 10_000
STATE_BYTES_MAX: Final = 8 * 1024 * 1024
_NEWEST: Final = Position(1 << 63, 0)


class NumberingFull(MadangError):
    """A process numbers as many channels as it may."""


class Event(msgspec.Struct, array_like=True, frozen=True):
    """A numbered message: `id` is unique to a broadcast, `data` its JSON text, `key` of a state."""

    offset: int
    id: str
    data: bytes
    key: str = ""


class Told(msgspec.Struct, array_like=True, frozen=True):
    """An event as it travels: with its epoch."""

    epoch: int
    event: Event


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


def check_channel(name: str) -> None:
    """Raise BusError unless `name` can name a channel: words joined by dots, as a subject."""
    check_subject(name)
    if len(name) > CHANNEL_CHARACTERS_MAX:
        raise BusError("the channel's name is too long", limit=CHANNEL_CHARACTERS_MAX)


class _Line:
    """One channel at the process that numbers it."""

    __slots__ = ("bytes_held", "epoch", "events", "floor", "last")

    def __init__(self, epoch: int, floor: int = 0) -> None:
        self.epoch = epoch
        self.floor = self.last = floor
        self.events: deque[Event] = deque()
        self.bytes_held = 0

    def append(self, event: Event) -> None:
        self.last = event.offset
        self.events.append(event)
        self.bytes_held += len(event.data) + EVENT_BYTES
        while len(self.events) > HISTORY_COUNT_MAX or self.bytes_held > HISTORY_BYTES_MAX:
            oldest = self.events.popleft()
            self.floor = oldest.offset
            self.bytes_held -= len(oldest.data) + EVENT_BYTES

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


class _State(_Line):
    """A state channel at the process that numbers it: the newest of each key."""

    __slots__ = ("_latest", "_restored")

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self._latest: dict[str, Event] = {}
        self._restored: dict[str, Position] = {}

    def append(self, event: Event) -> None:
        before = self._latest.pop(event.key, None)
        if before is not None:
            self.bytes_held -= len(before.data) + EVENT_BYTES
        self.last = event.offset
        self._latest[event.key] = event
        self._restored.pop(event.key, None)
        self.bytes_held += len(event.data) + EVENT_BYTES

    def kept(self) -> Iterable[Event]:
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


class _Shard:
    """The channels of one shard while this process holds its lease."""

    def __init__(self, bus: Bus, number: int, held: Held) -> None:
        self._bus = bus
        self._held = held
        self._lines: dict[str, _Line] = {}
        if held.note:
            for channel, past in msgspec.msgpack.decode(held.note, type=dict[str, Past]).items():
                line = self._lines[channel] = (
                    _State(past.epoch) if past.state else _Line(past.epoch, past.floor)
                )
                for event in past.events:
                    line.append(event)
                line.last = past.last
        self._service: Subscription = bus.serve(f"{QUESTIONS}{number}", self._answer)

    def _answer(self, batch: list[Request]) -> None:
        for request in batch:
            try:
                question = msgspec.msgpack.decode(request.payload, type=Question)
                request.respond(self.act(question))
            except (MadangError, msgspec.MsgspecError) as error:
                request.refuse(str(error))

    def act(self, question: Question) -> bytes:
        """Number a message, or tell what is past."""
        line = self._lines.get(question.channel)
        if line is None:
            if len(self._lines) >= NUMBERED_CHANNELS_MAX:
                raise NumberingFull("too many channels", limit=NUMBERED_CHANNELS_MAX)
            line = _State(self._held.epoch) if question.state else _Line(self._held.epoch)
            self._lines[question.channel] = line
        if isinstance(line, _State) != question.state:
            raise BusError(f"channel {question.channel} is of the other kind")
        if not question.id:
            return msgspec.msgpack.encode(line.past(question.epoch, question.offset))
        event = Event(line.last + 1, question.id, question.data, question.key)
        if not isinstance(line, _State):
            line.append(event)
        elif not question.epoch:
            line.check_room(question)
            line.append(event)
        elif line.knows_better(question):
            return msgspec.msgpack.encode((line.epoch, line.last))
        else:
            line.check_room(question)
            line.restore(question, event)
        told = msgspec.msgpack.encode(Told(line.epoch, event))
        self._bus.publish(EVENTS + question.channel, told)
        return msgspec.msgpack.encode((line.epoch, event.offset))

    def close(self) -> None:
        """Leave in order: the next holder goes on where we were."""
        self._service.close()
        left = NOTE_BYTES_MAX
        note: dict[str, Past] = {}
        for channel, line in self._lines.items():
            kept = line.bytes_held <= left
            left -= line.bytes_held if kept else 0
            floor = line.floor if kept else line.last
            events = list(line.kept()) if kept else []
            state = isinstance(line, _State)
            note[channel] = Past(line.epoch, floor, line.last, events, state)
        self._held.release(msgspec.msgpack.encode(note))

    def abort(self) -> None:
        """Leave as if killed."""
        self._service.close()
        self._held.release()


class Numbering:
    """A process's way to whoever numbers, which may be itself."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._loop = asyncio.get_running_loop()
        self._shards: dict[int, _Shard] = {}
        self._prefix = f"{bus.name}-{os.urandom(4).hex()}-"
        self._next = 0

    async def broadcast(self, channel: str, data: bytes) -> Position:
        """Have a message numbered and sent to every follower; raises BusError."""
        return await self._number(Question(channel, self._id(), data))

    async def set(
        self, channel: str, key: str, data: bytes, was: Position | None = None
    ) -> Position:
        """Have the newest of a key numbered; `was`: what it had in an earlier epoch."""
        if len(key) > KEY_CHARACTERS_MAX:
            raise BusError("the key is too long", limit=KEY_CHARACTERS_MAX)
        epoch, offset = was or (0, 0)
        return await self._number(
            Question(channel, self._id(), data, epoch, offset, state=True, key=key)
        )

    def _id(self) -> str:
        self._next += 1
        return f"{self._prefix}{self._next}"

    async def _number(self, question: Question) -> Position:
        check_channel(question.channel)
        size = len(question.data)
        if size > MESSAGE_BYTES_MAX:
            raise MessageTooLarge(f"a message of {size} bytes", limit=MESSAGE_BYTES_MAX)
        answer = await self._ask(question.channel, question)
        return Position(*msgspec.msgpack.decode(answer, type=tuple[int, int]))

    async def past(self, channel: str, since: Position | None, *, state: bool = False) -> Past:
        """Return what is kept after a position, one page of it; raises BusError."""
        epoch, offset = since or (0, 0)
        question = Question(channel, epoch=epoch, offset=offset, state=state)
        answer = await self._ask(channel, question)
        return msgspec.msgpack.decode(answer, type=Past)

    async def _ask(self, channel: str, question: Question) -> bytes:
        number = zlib.crc32(channel.encode()) % SHARDS
        payload = msgspec.msgpack.encode(question)
        deadline = self._loop.time() + ASK_TIMEOUT_MS / 1000
        failure: BusError = NoServer(f"nobody numbers {channel}", channel=channel)
        while (left_s := deadline - self._loop.time()) > 0:
            shard = self._stand(number)
            if shard is not None:
                return shard.act(question)
            try:
                return await self._bus.request(
                    f"{QUESTIONS}{number}", payload, int(left_s * 1000) + 1
                )
            except (NotDelivered, OutcomeUnknown) as error:
                failure = error
            await asyncio.sleep(RETRY_S)
        raise failure

    def _stand(self, number: int) -> _Shard | None:
        """Return the shard where it is ours, or can be."""
        shard = self._shards.get(number)
        if shard is None:
            try:
                held = self._bus.acquire(f"hub-{number}")
            except LeaseTaken:
                return None
            shard = self._shards[number] = _Shard(self._bus, number, held)
        return shard

    def close(self) -> None:
        """Leave in order."""
        for shard in self._shards.values():
            shard.close()
        self._shards.clear()

    def abort(self) -> None:
        """Leave as if killed."""
        for shard in self._shards.values():
            shard.abort()
        self._shards.clear()
