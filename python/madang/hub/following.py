"""Keeps a worker's copy of a numbered channel complete: live events, holes filled from the past.

Invariant: within an epoch the hub's channel gets every event, in order, each once, or its
subscribers are told to come back (close code 4001). A change of the epoch is shown to clients by
their messages: the process that numbered was killed, and what it numbered last may be missing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Final

import msgspec

from madang.bus import Bus, Gap, Message, NotDelivered, OutcomeUnknown
from madang.bus.errors import BusClosed
from madang.core.errors import MadangError
from madang.hub.channel import Channel
from madang.hub.history import Position
from madang.hub.lines import Event, Past, Told
from madang.hub.numbering import EVENTS, Numbering
from madang.hub.state_channel import StateChannel

HELD_MAX: Final = 10_000
SEEN_MAX: Final = 1_024
RETRY_S: Final = 0.05
REFUSALS_MAX: Final = 3
"""Refusals in a row that are final; one may be that of a process that is just leaving."""
REFUSED_RETRY_S: Final = 1.0


class _Following:
    """What following is for a channel of either kind."""

    joining = 0
    """How many wait for it and have not joined yet: it is not closed under them."""
    state = False
    _other_state = True

    def __init__(self, bus: Bus, numbering: Numbering, name: str) -> None:
        self._name = name
        self._numbering = numbering
        self._loop = asyncio.get_running_loop()
        self._held: deque[Told] = deque()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._again = False
        self._subscription = bus.subscribe(EVENTS + name, self._take, self._on_gap)
        self._loading: asyncio.Task[MadangError | None] | None = None
        self._reload()

    @property
    def live(self) -> bool:
        """Tell whether events are passed on as they come."""
        return self._loading is None

    @property
    def position(self) -> Position | None:
        """Position of the last event that was passed on."""
        raise NotImplementedError

    def _fill(self, past: Past) -> None:
        raise NotImplementedError

    def _publish(self, epoch: int, event: Event) -> None:
        raise NotImplementedError

    async def ready(self) -> None:
        """Return when what is past is here; raise MadangError where that is refused."""
        ended = self._loading
        if ended is not None and ended.done() and not ended.cancelled():
            self._reload()  # it was refused to who asked before us
        while (loading := self._loading) is not None:
            await asyncio.wait([loading])
            if self._loading is loading:
                raise _why(loading)

    def close(self) -> None:
        """Follow no more."""
        self._subscription.close()
        if self._loading is not None:
            self._loading.cancel()

    def _take(self, batch: list[Message]) -> None:
        for message in batch:
            told = msgspec.msgpack.decode(message.payload, type=Told)
            if told.state is self._other_state:
                continue
            if self._loading is None and not self._shows_hole(told):
                self._publish(told.epoch, told.event)
            else:
                self._hold(told)

    def _shows_hole(self, told: Told) -> bool:
        last = self.position
        if last is None or (told.epoch, told.event.offset) <= last:
            return False
        return told.event.offset != (last.offset + 1 if told.epoch == last.epoch else 1)

    def _hold(self, told: Told) -> None:
        if len(self._held) >= HELD_MAX:
            self._held.clear()
        self._held.append(told)
        self._reload()

    def _on_gap(self, gap: Gap) -> None:
        self._reload()

    def _reload(self) -> None:
        if self._loading is None or self._loading.done():
            self._loading = self._loop.create_task(self._load())
        else:
            self._again = True

    async def _load(self) -> MadangError | None:
        """Ask for what is past until nothing is missing, then let go what was held.

        Returns the refusal where there is nothing to show: then `_loading` stays as it has ended.
        """
        refusals = 0
        while True:
            self._again = False
            try:
                past = await self._numbering.past(self._name, self.position, state=self.state)
            except (NotDelivered, OutcomeUnknown):
                await asyncio.sleep(RETRY_S)
                continue
            except MadangError as error:
                refusals += 1
                if refusals >= REFUSALS_MAX and self.position is None:
                    return error
                await asyncio.sleep(RETRY_S if refusals < REFUSALS_MAX else REFUSED_RETRY_S)
                continue
            refusals = 0
            self._fill(past)
            if past.events and past.events[-1].offset < past.last:
                continue
            if self._let_go():
                self._loading = None
                return None

    def _let_go(self) -> bool:
        """Pass on what was held as far as it goes; tell whether nothing is missing."""
        held, self._held = self._held, deque()
        while held and not self._shows_hole(held[0]):
            told = held.popleft()
            self._publish(told.epoch, told.event)
        self._held.extendleft(reversed(held))
        return not held and not self._again


def _why(ended: asyncio.Task[MadangError | None]) -> BaseException:
    """Return why loading has ended without what is past."""
    if ended.cancelled():
        return BusClosed("it is followed no more")
    return ended.exception() or ended.result() or AssertionError("it has ended well")


class Follower(_Following):
    """Feeds one event channel of this worker."""

    def __init__(self, bus: Bus, numbering: Numbering, channel: Channel) -> None:
        super().__init__(bus, numbering, channel.name)
        self.channel = channel
        self._prefix = b'{"type":"message","channel":%s' % msgspec.json.encode(channel.name)

    @property
    def position(self) -> Position | None:
        """See `_Following`."""
        return self.channel.position

    def _fill(self, past: Past) -> None:
        last = self.channel.position
        if last is not None and past.epoch < last.epoch:
            return
        if last is None or past.epoch > last.epoch:
            self.channel.begin(Position(past.epoch, past.floor))
        elif past.floor > last.offset:
            self.channel.interrupt()
            self.channel.begin(Position(past.epoch, past.floor))
        for event in past.events:
            self._publish(past.epoch, event)

    def _publish(self, epoch: int, event: Event) -> None:
        position = Position(epoch, event.offset)
        last = self.channel.position
        if event.id in self._seen and last is not None and epoch > last.epoch:
            self.channel.begin(position)  # numbered again after a kill: subscribers have it
            return
        self._seen[event.id] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        frame = b'%s,"epoch":%d,"offset":%d,"data":%s}' % (
            self._prefix, epoch, event.offset, event.data,
        )  # fmt: skip
        self.channel.publish(position, lambda _: (frame, False), len(frame))


class StateFollower(_Following):
    """Feeds one state channel of this worker, and a new owner with what is known here."""

    state = True
    _other_state = False

    def __init__(self, bus: Bus, numbering: Numbering, channel: StateChannel) -> None:
        super().__init__(bus, numbering, channel.name)
        self.channel = channel
        self._position: Position | None = None
        self._known: dict[str, tuple[Position, bytes]] = {}
        self._prefix = b'{"type":"state","channel":%s,"key":' % msgspec.json.encode(channel.name)
        self._restoring: asyncio.Task[None] | None = None

    @property
    def position(self) -> Position | None:
        """See `_Following`."""
        return self._position

    def close(self) -> None:
        """Follow no more."""
        super().close()
        if self._restoring is not None:
            self._restoring.cancel()

    def _fill(self, past: Past) -> None:
        last = self._position
        if last is not None and past.epoch < last.epoch:
            return
        for event in past.events:
            self._publish(past.epoch, event)
        if not past.events or past.events[-1].offset >= past.last:
            self._advance(Position(past.epoch, past.last))

    def _publish(self, epoch: int, event: Event) -> None:
        position = Position(epoch, event.offset)
        known = self._known.get(event.key)
        if known is not None and known[0] >= position:
            return
        self._known[event.key] = position, event.data
        key = msgspec.json.encode(event.key)
        frame = b'%s%s,"epoch":%d,"offset":%d,"data":%s}' % (
            self._prefix, key, epoch, event.offset, event.data,
        )  # fmt: skip
        self.channel.set(event.key, position, lambda _: (frame, False))
        self._advance(position)

    def _advance(self, position: Position) -> None:
        last = self._position
        if last is None or position > last:
            self._position = position
        if last is not None and position.epoch > last.epoch:
            if self._restoring is not None:
                self._restoring.cancel()
            self._restoring = self._loop.create_task(self._restore(position.epoch))

    async def _restore(self, epoch: int) -> None:
        """Give the owner of a new epoch what it may not know; it keeps what is newer."""
        await self.ready()
        for key, (was, data) in list(self._known.items()):
            while was.epoch < epoch and self._known[key][0] == was:
                try:
                    await self._numbering.set(self._name, key, data, was)
                    break
                except MadangError:
                    await asyncio.sleep(RETRY_S)
