"""What `/web/stream` says of the market, as JSON; see docs/protocol.md. Pure.

Amounts are decimal text; a level of quantity "0" is gone. Each message is encoded once for all.
"""

from __future__ import annotations

import msgspec

from madang.exchange.api.decimals import price_text, quantity_text
from madang.exchange.api.feed_client import Tick
from madang.exchange.api.render import SIDES
from madang.exchange.api.times import SECOND_NS, time_text
from madang.exchange.feed.bars import Bar
from madang.exchange.feed.depth import DepthState

Levels = list[tuple[int, int]]


def book_message(symbol: str, state: DepthState) -> bytes:
    """Return the best levels of a book, best first."""
    bids, asks = state.best()
    return msgspec.json.encode(
        {
            "type": "book",
            "symbol": symbol,
            "sequence": state.sequence,
            "bids": _levels(bids),
            "asks": _levels(asks),
        }
    )


def change_message(symbol: str, previous: int, sequence: int, bids: Levels, asks: Levels) -> bytes:
    """Return what changed among those levels from one sequence to another."""
    return msgspec.json.encode(
        {
            "type": "change",
            "symbol": symbol,
            "previous": previous,
            "sequence": sequence,
            "bids": _levels(bids),
            "asks": _levels(asks),
        }
    )


def trades_message(symbol: str, ticks: list[Tick], *, whole: bool) -> bytes:
    """Return trades, oldest first: the last ones in full, or those that follow what was said."""
    trades = [
        {
            "id": tick.trade_id,
            "price": price_text(tick.price),
            "qty": quantity_text(tick.quantity),
            "side": SIDES[tick.aggressor],
            "t": time_text(tick.now_ns),
        }
        for tick in ticks
    ]
    return msgspec.json.encode(
        {"type": "trades", "symbol": symbol, "whole": whole, "trades": trades}
    )


def status_message(symbol: str, session: str) -> bytes:
    """Return a symbol's session."""
    return msgspec.json.encode({"type": "status", "symbol": symbol, "session": session})


def day_message(symbol: str, day: Bar, base: int, trade_id: int) -> bytes:
    """Return the day so far, up to a trade; `base` is the price that its change is counted from."""
    return msgspec.json.encode(
        {
            "type": "day",
            "symbol": symbol,
            "trade": trade_id,
            "start": day.start_ns // SECOND_NS,
            "open": price_text(day.open),
            "high": price_text(day.high),
            "low": price_text(day.low),
            "close": price_text(day.close),
            "base": price_text(base),
            "volume": quantity_text(day.volume),
            "trades": day.trades,
        }
    )


def health_message(*, venue: bool, feed: bool) -> bytes:
    """Return whether orders are taken and whether prices move."""
    return msgspec.json.encode({"type": "health", "venue": venue, "feed": feed})


def _levels(levels: Levels) -> list[tuple[str, str]]:
    return [(price_text(price), quantity_text(quantity)) for price, quantity in levels]
