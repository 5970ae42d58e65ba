"""Quotes, order books, corrected minutes and the day so far: what counts is how it stands.

A client that reads fast enough gets every change. One that does not gets, when it has caught up,
the newest of each: the last quote of a symbol, the whole book. So a slow reader holds nobody up, is
never closed for these, and what waits for it does not grow.
"""

from __future__ import annotations

from typing import Any, Final

from madang.bus import Gap
from madang.exchange.api.market_render import BarRow, QuoteRow
from madang.exchange.feed.days import MINUTE_NS
from madang.exchange.feed.depth import Delta, DepthState
from madang.exchange.stream import market_messages as say
from madang.exchange.stream.positions import position
from madang.exchange.stream.topic import (
    EVERY,
    FLUSH_WINDOW_MS,
    Leave,
    LoadedTopic,
    Sources,
    Topic,
)
from madang.hub import (
    ChannelKind,
    ChannelSettings,
    Connection,
    HistoryMissing,
    SlowPolicy,
    StateChannel,
)

KEYS_MAX: Final = 100_000
CORRECTED_KEPT: Final = 16
"""Corrected minutes of a symbol of which each is kept apart for a reader that is behind."""
GREETING: Final = ChannelSettings(
    kind=ChannelKind.STATE,
    policy=SlowPolicy.CONFLATE,
    flush_window_ms=FLUSH_WINDOW_MS,
    keys_max=KEYS_MAX,
)
SILENT: Final = ChannelSettings(
    kind=ChannelKind.STATE,
    policy=SlowPolicy.CONFLATE,
    flush_window_ms=FLUSH_WINDOW_MS,
    keys_max=KEYS_MAX,
    greets=False,
)
BAR_KINDS: Final = {"updatedBars": "u", "dailyBars": "d"}


class _StateTopic(Topic):
    """A topic over a state channel."""

    channel: StateChannel
    settings = GREETING

    def __init__(self, kind: str, symbol: str, sources: Sources, leave: Leave) -> None:
        self._published = 0
        super().__init__(kind, symbol, sources, leave)

    def open(self) -> None:
        """Make the channel."""
        self.channel = self.sources.hub.state_channel(self.name, self.settings)
        self.channel.on_last = lambda _: self.leave_if_idle()

    def join(self, connection: Connection, since: int | None) -> None:
        """Send how it stands, then every change."""
        connection.watch(self.channel)

    def resume(self, connection: Connection, last: int | None) -> None:
        """Go on with a connection of another worker: how everything stands is said once more."""
        if not self.live:
            raise HistoryMissing(f"{self.name} is not here yet")
        connection.resume(self.channel, position(0), ())

    def put(
        self, key: str, messages: list[say.Message], whole: list[say.Message] | None = None
    ) -> None:
        """Publish the newest of a key; `whole` where the messages only say what changed."""
        self._published += 1
        encode = None if whole is None else say.encoder(whole)
        self.channel.set(key, position(self._published), say.encoder(messages), encode)


class BarChangesTopic(_StateTopic):
    """Minutes that a late trade corrected, or the day so far."""

    settings = SILENT

    def _on_gap(self, gap: Gap) -> None:
        """Nothing is made good: what comes next says how it stands."""

    def take(self, found: list[dict[str, Any]]) -> None:
        """Publish bars of this topic's kind."""
        kind = BAR_KINDS[self.kind]
        for data in found:
            if data["kind"] == kind:
                symbol, bar = data["symbol"], BarRow(*data["bar"])
                key = symbol
                if kind == "u":
                    key = f"{symbol} {bar.start_ns // MINUTE_NS % CORRECTED_KEPT}"
                self.put(key, [say.bar_message(symbol, kind, bar)])


class QuotesTopic(_StateTopic, LoadedTopic):
    """The best bid and ask of one symbol or all; who joins gets them as they stand."""

    def __init__(self, kind: str, symbol: str, sources: Sources, leave: Leave) -> None:
        self._quotes: dict[str, QuoteRow] = {}
        super().__init__(kind, symbol, sources, leave)

    async def load(self) -> bool:
        """Load the quotes of now."""
        symbols = None if self.symbol == EVERY else [self.symbol]
        for symbol, fields in (await self.sources.feed.quotes(symbols)).items():
            self._tell(symbol, QuoteRow(*fields))
        return True

    def take(self, found: list[dict[str, Any]]) -> None:
        """Publish each change."""
        for data in found:
            self._tell(data["symbol"], QuoteRow(*data["quote"]))

    def _tell(self, symbol: str, quote: QuoteRow) -> None:
        told = self._quotes.get(symbol)
        if told is not None and (quote.now_ns <= told.now_ns or quote[1:] == told[1:]):
            return
        self._quotes[symbol] = quote
        self.put(symbol, [say.quote_message(symbol, self.sources.tape(symbol), quote)])


class BookTopic(_StateTopic, LoadedTopic):
    """The book of one symbol: who joins or was behind gets all of it, others what changed."""

    _state: DepthState | None = None
    _now_ns = 0

    async def load(self) -> bool:
        """Load the book and say all of it."""
        depth = await self.sources.feed.depth(self.symbol)
        if depth is None:
            return False
        self._state = DepthState(depth.sequence, dict(depth.bids), dict(depth.asks))
        self._now_ns = depth.now_ns
        self.put(self.symbol, [self._whole(self._state)])
        return True

    def _whole(self, state: DepthState) -> say.Message:
        delta = Delta(state.sequence, state.sequence, self._now_ns, *state.best(), state.checksum())
        return say.book_message(self.symbol, delta, whole=True)

    def take(self, found: list[dict[str, Any]]) -> None:
        """Apply deltas and pass them on; one that does not lead on means loading anew."""
        state = self._state
        assert state is not None or not found
        for data in found:
            previous, sequence, now_ns, bids, asks, checksum = data["delta"]
            assert state is not None
            if sequence <= state.sequence:
                continue
            delta = Delta(
                previous, sequence, now_ns, [(p, q) for p, q in bids], [(p, q) for p, q in asks],
                checksum,
            )  # fmt: skip
            if not state.apply(delta):
                self.reload()
                return
            self._now_ns = now_ns
            self._change(state, delta)

    def _change(self, state: DepthState, delta: Delta) -> None:
        """Publish a delta; the whole is only made for those who ask for it."""
        self._published += 1

        def whole(dialect: str) -> tuple[bytes, bool]:
            return say.encode([self._whole(state)], dialect)

        change = say.encoder([say.book_message(self.symbol, delta, whole=False)])
        self.channel.set(self.symbol, position(self._published), change, whole)
