"""The screener: which symbols are traded most and which move most, on the newest day that traded.

A move is counted from the close of the day before; where there was none, from the reference price,
else from the day's first trade.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

from madang.core.clock import Clock
from madang.edge import Request, Response, json_response
from madang.exchange.api import market_schemas as schemas
from madang.exchange.api.decimals import (
    PRICE_DECIMALS,
    price_text,
    quantity_text,
    ratio_text,
    units_text,
)
from madang.exchange.api.ledger_client import LedgerClient
from madang.exchange.api.market_render import BarRow
from madang.exchange.api.times import time_text
from madang.exchange.directory import DirectoryReplica, Instrument

TOP_DEFAULT: Final = 10
PERCENT_DECIMALS: Final = 2


class Traded(NamedTuple):
    """A symbol that traded on the newest day."""

    instrument: Instrument
    day: BarRow
    base: int

    @property
    def change(self) -> int:
        """How far it moved, in price units."""
        return self.day.close - self.base


class ScreenerMethods:
    """Handlers of /v1beta1/screener."""

    def __init__(self, ledger: LedgerClient, replica: DirectoryReplica, clock: Clock) -> None:
        self._ledger = ledger
        self._replica = replica
        self._clock = clock

    async def most_actives(self, request: Request) -> Response:
        """GET /v1beta1/screener/stocks/most-actives."""
        query = request.query_as(schemas.MostActivesQuery)
        traded = await self._traded()
        by_trades = query.by == "trades"

        def rank(one: Traded) -> tuple[int, str]:
            amount = one.day.trades if by_trades else int(one.day.volume)
            return -amount, one.instrument.symbol

        rows = [
            {
                "symbol": one.instrument.symbol,
                "volume": _number(quantity_text(int(one.day.volume))),
                "trade_count": one.day.trades,
            }
            for one in sorted(traded, key=rank)[: _top(query.top)]
        ]
        return json_response({"most_actives": rows, "last_updated": self._now()})

    async def movers(self, request: Request) -> Response:
        """GET /v1beta1/screener/stocks/movers."""
        top = _top(request.query_as(schemas.MoversQuery).top)
        traded = await self._traded()

        def rank(one: Traded) -> tuple[int, str]:
            share = one.change * 10**12 // one.base  # exact enough to sort by
            return -abs(share), one.instrument.symbol

        ranked = sorted(traded, key=rank)
        return json_response(
            {
                "gainers": [_mover(one) for one in ranked if one.change > 0][:top],
                "losers": [_mover(one) for one in ranked if one.change < 0][:top],
                "market_type": "stocks",
                "last_updated": self._now(),
            }
        )

    async def _traded(self) -> list[Traded]:
        answer = await self._ledger.ask({"kind": "market_latest", "instruments": None})
        found: list[Traded] = []
        for number, (_, _, _, day, former) in answer["latest"].items():
            instrument = self._replica.directory.instruments.get(number)
            if instrument is not None and day is not None:
                found.append(Traded(instrument, BarRow(*day), base_price(instrument, day, former)))
        newest_ns = max((one.day.start_ns for one in found), default=0)
        return [one for one in found if one.day.start_ns == newest_ns]

    def _now(self) -> str:
        return time_text(self._clock.now_ns())


def base_price(instrument: Instrument, day: list[Any], former: list[Any] | None) -> int:
    """Return what the move of a day is counted from; see above."""
    if former is not None:
        return BarRow(*former).close
    return instrument.reference_price or BarRow(*day).open


def _mover(one: Traded) -> dict[str, object]:
    return {
        "symbol": one.instrument.symbol,
        "percent_change": _number(ratio_text(one.change * 100, one.base, PERCENT_DECIMALS)),
        "change": _number(units_text(one.change, PRICE_DECIMALS)),
        "price": _number(price_text(one.day.close)),
    }


def _number(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def _top(top: int | msgspec.UnsetType) -> int:
    return TOP_DEFAULT if top is UNSET else top
