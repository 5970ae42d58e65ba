"""The topics of the data stream that somebody on this worker listens to: one each, for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from madang.exchange.stream.event_topics import BarsTopic, StatusesTopic, TradesTopic
from madang.exchange.stream.moving import Pins, until_live
from madang.exchange.stream.state_topics import BarChangesTopic, BookTopic, QuotesTopic
from madang.exchange.stream.topic import Leave, Sources, Topic
from madang.hub import Connection

_TOPICS: Final[dict[str, Callable[[str, str, Sources, Leave], Topic]]] = {
    "trades": TradesTopic,
    "quotes": QuotesTopic,
    "bars": BarsTopic,
    "updatedBars": BarChangesTopic,
    "dailyBars": BarChangesTopic,
    "statuses": StatusesTopic,
    "orderbooks": BookTopic,
}


class MarketTopics:
    """The topics that connections of this worker listen to."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._topics: dict[tuple[str, str], Topic] = {}
        self._pins = Pins()

    @property
    def count(self) -> int:
        """How many topics somebody listens to."""
        return len(self._topics)

    def find(self, kind: str, symbol: str) -> Topic | None:
        """Return a topic that somebody listens to."""
        return self._topics.get((kind, symbol))

    def join(
        self, kind: str, symbol: str, connection: Connection, since: int | None = None
    ) -> None:
        """Send a channel of a symbol to a connection; see `Topic.join`."""
        self._follow(kind, symbol).join(connection, since)

    def _follow(self, kind: str, symbol: str) -> Topic:
        topic = self._topics.get((kind, symbol))
        if topic is None:
            topic = _TOPICS[kind](kind, symbol, self.sources, self._leave)
            self._topics[kind, symbol] = topic
        return topic

    def part(self, kind: str, symbol: str, connection: Connection) -> None:
        """Stop sending it."""
        topic = self._topics.get((kind, symbol))
        if topic is not None:
            topic.part(connection)

    def resume(self, kind: str, symbol: str, connection: Connection, last: int | None) -> None:
        """Go on with a connection of another worker; raises HistoryMissing."""
        self._follow(kind, symbol).resume(connection, last)

    def keep(self) -> list[str]:
        """Keep every topic until `let_go`, and return their names."""
        names = [topic.name for topic in self._topics.values()]
        self._pins.hold(names)
        return names

    async def warm(self, names: list[str]) -> None:
        """Follow topics, named as `kind.symbol`, until `let_go`; returns when they are live."""
        asked = [name.partition(".") for name in names]
        topics = [self._follow(kind, symbol) for kind, _, symbol in asked if kind in _TOPICS]
        self._pins.hold(topic.name for topic in topics)
        await until_live(topics, lambda topic: cast("Topic", topic).live)

    def let_go(self) -> None:
        """Keep no topic that nobody listens to."""
        self._pins.clear()
        for topic in list(self._topics.values()):
            topic.leave_if_idle()

    def _leave(self, topic: Topic) -> None:
        if topic.name in self._pins:
            return
        if self._topics.get((topic.kind, topic.symbol)) is topic:
            del self._topics[topic.kind, topic.symbol]
            topic.close()
            self.sources.hub.drop(topic.name)

    def close(self) -> None:
        """Let every topic go."""
        for topic in list(self._topics.values()):
            topic.close()
        self._topics.clear()
