"""Who numbers the messages of a channel: the holder of the lease of the channel's shard.

Every message of an event channel gets `(epoch, offset)` from one process, so that all clients see
one order. Invariant: offsets of one epoch of a channel are consecutive; an epoch goes on only where
its last holder released in order and left a note of where it was; else a new one begins, as for a
channel that was forgotten to make room (see `lines`). A broadcast is repeated under its id until
somebody has numbered it; who has numbered it already answers with its position, and who receives
it twice, under two epochs, drops the second. Of a state channel the newest event of each key is
kept; followers give what they know of it to a new owner, which takes the newest of what each key
had.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from typing import Final

import msgspec

from madang.bus import Bus, BusError, NoServer, NotDelivered, OutcomeUnknown, Request
from madang.bus.errors import LeaseTaken, MessageTooLarge
from madang.bus.lease import Held
from madang.bus.port import Subscription
from madang.bus.subjects import check_subject
from madang.core.errors import MadangError
from madang.hub.history import Position
from madang.hub.lines import Event, Line, Lines, Past, Question, StateLine, Told
from madang.wire.busframes import PAYLOAD_BYTES_MAX

SHARDS: Final = 64
QUESTIONS: Final = "_hub.number."
EVENTS: Final = "_hub.event."
CHANNEL_CHARACTERS_MAX: Final = 200
KEY_CHARACTERS_MAX: Final = 200
MESSAGE_BYTES_MAX: Final = PAYLOAD_BYTES_MAX // 2
ASK_TIMEOUT_MS: Final = 5_000
RETRY_S: Final = 0.01


def check_channel(name: str) -> None:
    """Raise BusError unless `name` can name a channel: words joined by dots, as a subject."""
    check_subject(name)
    if len(name) > CHANNEL_CHARACTERS_MAX:
        raise BusError("the channel's name is too long", limit=CHANNEL_CHARACTERS_MAX)


class _Shard:
    """The channels of one shard while this process holds its lease."""

    def __init__(self, bus: Bus, number: int, held: Held) -> None:
        self._bus = bus
        self._held = held
        self._lines = Lines(held.epoch, held.note)
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
        known = self._lines.find(question.channel)
        if known is not None and known.state != question.state:
            raise BusError(f"channel {question.channel} is of the other kind")
        if not question.id:
            return msgspec.msgpack.encode(self._lines.past(question))
        if known is not None and question.again:
            offset = known.offset_of(question.id)
            if offset is not None:
                return msgspec.msgpack.encode((known.epoch, offset))
        return self._number(self._lines.touch(question, known), question)

    def _number(self, line: Line, question: Question) -> bytes:
        event = Event(line.last + 1, question.id, question.data, question.key)
        if not isinstance(line, StateLine):
            line.append(event)
        elif not question.epoch:
            line.check_room(question)
            line.append(event)
        elif line.knows_better(question):
            return msgspec.msgpack.encode((line.epoch, line.last))
        else:
            line.check_room(question)
            line.restore(question, event)
        told = msgspec.msgpack.encode(Told(line.epoch, event, question.state))
        self._bus.publish(EVENTS + question.channel, told)
        return msgspec.msgpack.encode((line.epoch, event.offset))

    def close(self) -> None:
        """Leave in order: the next holder goes on where we were."""
        self._service.close()
        self._held.release(self._lines.note())

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
            except NotDelivered as error:
                failure = error
            except OutcomeUnknown as error:
                failure = error
                question = msgspec.structs.replace(question, again=True)
                payload = msgspec.msgpack.encode(question)
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
