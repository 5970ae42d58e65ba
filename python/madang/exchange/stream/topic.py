"""What the data stream's topics have in common: from the bus to the hub, once for all listeners.

A topic is one kind (`trades`, `quotes`, …) of one symbol, or of every symbol (`*`), that somebody
on this worker listens to. Event topics tell everything and can be resumed, state topics tell how it
stands and are conflated for who is slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec

from madang.bus import Bus, Gap, Message
from madang.core import log
from madang.core.clock import Clock
from madang.exchange.api.feed_client import FeedClient, FeedUnavailable
from madang.exchange.api.ledger_client import LedgerClient, LedgerUnavailable
from madang.exchange.api.market_render import Tape, tape_of
from madang.exchange.directory import DirectoryReplica
from madang.exchange.listing import subject_token
from madang.exchange.stream import market_messages as say
from madang.hub import Channel, Connection, Hub, StateChannel

EVERY: Final = "*"
RETRY_S: Final = 0.25
HELD_MAX: Final = 10_000
"""Messages of the bus that may wait while something is loaded; beyond it loading begins anew."""
FLUSH_WINDOW_MS: Final = 5
SUBJECTS: Final = {
    "trades": "trades",
    "quotes": "quotes",
    "bars": "bars",
    "updatedBars": "bars",
    "dailyBars": "bars",
    "statuses": "status",
    "orderbooks": "depth",
}

Leave = Callable[["Topic"], None]


class Sources:
    """What topics are made from."""

    def __init__(
        self,
        bus: Bus,
        hub: Hub,
        ledger: LedgerClient,
        replica: DirectoryReplica,
        clock: Clock,
    ) -> None:
        self.clock = clock
        self.bus = bus
        self.hub = hub
        self.ledger = ledger
        self.replica = replica
        self.feed = FeedClient(bus)

    def tape(self, symbol: str) -> Tape:
        """Return the letters of a symbol."""
        found = self.replica.directory.instrument(symbol)
        return Tape("V", "B") if found is None else tape_of(found)


class Topic:
    """A channel of one kind and symbol: decodes what the bus brings and publishes it."""

    channel: Channel | StateChannel

    def __init__(self, kind: str, symbol: str, sources: Sources, leave: Leave) -> None:
        self.kind = kind
        self.symbol = symbol
        self.sources = sources
        self._leave = leave
        self.open()
        pattern = ">" if symbol == EVERY else subject_token(symbol)
        subject = f"market.{SUBJECTS[kind]}.{pattern}"
        self._subscription = sources.bus.subscribe(subject, self._on_messages, self._on_gap)

    @property
    def name(self) -> str:
        """The name of its channel."""
        return f"data.{self.kind}.{self.symbol}"

    @property
    def idle(self) -> bool:
        """Tell whether nobody listens or is about to."""
        return not self.channel.subscribers

    @property
    def live(self) -> bool:
        """Tell whether messages are passed on as they come."""
        return True

    def settled(self, connection: Connection) -> bool:
        """Tell whether a connection that joined has got what it begins with."""
        return True

    def stands_at(self, connection: Connection) -> int | None:
        """Return up to where a connection has everything; None where only the newest counts."""
        return None

    def resume(self, connection: Connection, last: int | None) -> None:
        """Go on with a connection of another worker; raises HistoryMissing."""
        raise NotImplementedError

    def open(self) -> None:
        """Make the channel; `leave_if_idle` is to be called when its last listener goes."""
        raise NotImplementedError

    def join(self, connection: Connection, since: int | None) -> None:
        """Send what is known, then everything that follows.

        With `since`, a position that the kind understands, what was missed after it is sent first;
        a `recovery` message says whether that is all of it, or none.
        """
        raise NotImplementedError

    def part(self, connection: Connection) -> None:
        """Stop sending."""
        connection.unsubscribe(self.channel)

    def leave_if_idle(self) -> None:
        """Let the topic go that nobody listens to."""
        if self.idle:
            self._leave(self)

    def close(self) -> None:
        """Stop following."""
        self._subscription.close()

    def _on_messages(self, messages: list[Message]) -> None:
        self.take([msgspec.msgpack.decode(message.payload) for message in messages])

    def _on_gap(self, gap: Gap) -> None:
        raise NotImplementedError

    def take(self, found: list[dict[str, Any]]) -> None:
        """Publish what a batch of the bus says."""
        raise NotImplementedError


class LoadedTopic(Topic):
    """A topic that loads something at its beginning and after a loss, while messages wait."""

    def __init__(self, kind: str, symbol: str, sources: Sources, leave: Leave) -> None:
        self._held: list[dict[str, Any]] = []
        self._task: asyncio.Task[None] | None = None
        super().__init__(kind, symbol, sources, leave)
        self.reload()

    @property
    def live(self) -> bool:
        """Tell whether messages are passed on as they come."""
        return self._task is None

    def close(self) -> None:
        """Stop following."""
        super().close()
        if self._task is not None:
            self._task.cancel()

    def reload(self) -> None:
        """Begin to load, anew where that is under way."""
        if self._task is not None:
            self._task.cancel()
        self._held.clear()
        self._task = asyncio.create_task(self._load_at_last())

    def _on_gap(self, gap: Gap) -> None:
        self.reload()

    def _on_messages(self, messages: list[Message]) -> None:
        if self._task is None:
            super()._on_messages(messages)
            return
        self._held += [msgspec.msgpack.decode(message.payload) for message in messages]
        if len(self._held) > HELD_MAX:
            self.reload()

    async def _load_at_last(self) -> None:
        waiting = False
        while True:
            try:
                if await self.load():
                    break
                why = "the feed does not know the symbol yet"
            except (FeedUnavailable, LedgerUnavailable) as error:
                why = error.message
            if not waiting:
                log.get("stream").info("loading waits", topic=self.name, why=why)
                waiting = True
            await asyncio.sleep(RETRY_S)
        self._task = None
        held, self._held = self._held, []
        self.take(held)

    async def load(self) -> bool:
        """Load what is needed before messages may go on; False to try again."""
        raise NotImplementedError


def say_recovery(topic: Topic, connection: Connection, *, recovered: bool) -> None:
    """Tell a client whether it gets everything after the position it gave, or nothing of it."""
    message = {"T": "recovery", "list": topic.kind, "S": topic.symbol, "recovered": recovered}
    connection.send(*say.encode([message], connection.dialect))
