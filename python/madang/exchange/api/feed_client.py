"""Questions to the feed: books, trades and the state of each symbol."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from madang.bus import Bus, BusError
from madang.core.errors import MadangError

SUBJECT: Final = "feed.query"
ANSWER_WITHIN_MS: Final = 1_000


class FeedUnavailable(MadangError):
    """No answer from the feed in time."""


class SymbolState(NamedTuple):
    """A symbol's last price (or reference, or 0) in price units, and its effective session."""

    symbol: str
    last: int
    session: str


class Book(msgspec.Struct, frozen=True):
    """Ten best levels a side, (price, quantity) in units, best first."""

    symbol: str
    sequence: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]
    session: str = "open"


class Tick(msgspec.Struct, frozen=True, array_like=True):
    """One trade in units; `aggressor` is a Side."""

    trade_id: int
    price: int
    quantity: int
    aggressor: int
    now_ns: int


class Depth(msgspec.Struct, frozen=True):
    """The best levels of a book at a sequence, (price, quantity) in units, in no order."""

    sequence: int
    now_ns: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class FeedClient:
    """Asks `feed.query`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def symbols(self) -> list[SymbolState]:
        """Return the state of every symbol."""
        rows = msgspec.msgpack.decode(
            await self._ask({"kind": "symbols"}), type=list[dict[str, Any]]
        )
        return [SymbolState(row["symbol"], row["last"] or 0, row["session"]) for row in rows]

    async def book(self, symbol: str) -> Book | None:
        """Return a book, None where the feed does not know the symbol."""
        answer = await self._ask({"kind": "book", "symbol": symbol})
        return msgspec.msgpack.decode(answer, type=Book | None)

    async def sync(self) -> None:
        """Return when the feed publishes to every subscription made before the call.

        What it had applied until then is committed, so the ledger tells it from then on.
        """
        await self._ask({"kind": "sync"})

    async def depth(self, symbol: str) -> Depth | None:
        """Return the book that the next delta leads on from; from then on deltas are published."""
        answer = await self._ask({"kind": "depth", "symbol": symbol})
        return msgspec.msgpack.decode(answer, type=Depth | None)

    async def quotes(self, symbols: list[str] | None) -> dict[str, list[int]]:
        """Return (time, bid, its quantity, ask, its quantity) as they stand; None: of all symbols.

        Changes are published from then on.
        """
        found: dict[str, list[int]] = {}
        after: int | None = 0
        while after is not None:
            answer = await self._ask({"kind": "quotes", "symbols": symbols, "after": after})
            page = msgspec.msgpack.decode(answer, type=dict[str, Any])
            found.update(page["quotes"])
            after = page["next"]
        return found

    async def trades(self, symbol: str, limit: int) -> list[Tick]:
        """Return the last trades, oldest first."""
        answer = await self._ask({"kind": "trades", "symbol": symbol, "limit": limit})
        return msgspec.msgpack.decode(answer, type=list[Tick])

    async def _ask(self, question: dict[str, object]) -> bytes:
        try:
            payload = msgspec.msgpack.encode(question)
            return await self._bus.request(SUBJECT, payload, ANSWER_WITHIN_MS)
        except BusError as error:
            raise FeedUnavailable(error.message) from None
