"""A simple CSV of orders, for flow of one's own.

The first line names the columns, in any order:

    time,action,id,side,price,quantity

`time` in seconds, `action` one of place, reduce, cancel; `id` is the file's own number of the
order; `side` buy or sell; `price` and `quantity` decimal, `quantity` of a reduce being what is
left. A cancel needs no price and no quantity.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from madang.exchange.replay.bitstamp import Action, BitstampEvent
from madang.exchange.replay.files import ReplayFileError, read_lines
from madang.wire.codes import PRICE_SCALE, QUANTITY_SCALE, Side

COLUMNS = ("time", "action", "id", "side", "price", "quantity")
_ACTIONS = {"place": Action.CREATED, "reduce": Action.CHANGED, "cancel": Action.DELETED}
_SIDES = {"buy": Side.BUY, "sell": Side.SELL}
MS_PER_S = 1_000


def read_simple(lines: Iterable[str]) -> Iterator[BitstampEvent]:
    """Yield the events of a simple CSV; raises ReplayFileError."""
    rows = iter(lines)
    names = next(rows, "").strip().split(",")
    for column in COLUMNS:
        if column not in names:
            raise ReplayFileError(f"line 1 does not name the column {column}", line=1)
    place = {column: names.index(column) for column in COLUMNS}

    def parse(line: str) -> BitstampEvent:
        cells = line.split(",")
        time, action, number, side, price, quantity = (cells[place[name]] for name in COLUMNS)
        return BitstampEvent(
            int(number),
            int(Decimal(time) * MS_PER_S),
            _units(price, PRICE_SCALE),
            _units(quantity, QUANTITY_SCALE),
            _ACTIONS[action],
            _SIDES[side],
        )

    return read_lines(rows, parse, "simple order event", first_line=2)


def _units(text: str, scale: int) -> int:
    value = Decimal(text or "0") * scale
    if value < 0 or value != int(value):
        raise ValueError(text)
    return int(value)
