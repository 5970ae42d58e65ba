"""How one order event is said to each kind of listener, encoded once for all of a kind. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from madang.exchange.api.render import update_text
from madang.exchange.directory import Instrument
from madang.wire.events import OrderUpdate

JSON: Final = "json"
"""Alpaca's trading stream: JSON in binary frames, as Alpaca's paper host sends it."""
MSGPACK: Final = "msgpack"
PAGE: Final = "page"
"""Our own pages: JSON in text frames."""
TRADE_UPDATES: Final = "trade_updates"


def encoder(update: OrderUpdate, instrument: Instrument) -> Callable[[str], tuple[bytes, bool]]:
    """Return the function that says `update` in a dialect: (payload, binary)."""

    def encode(dialect: str) -> tuple[bytes, bool]:
        text = update_text(update, instrument)
        if dialect == PAGE:
            return f'{{"type":"order",{text[1:]}'.encode(), False
        return control(dialect, f'{{"stream":"{TRADE_UPDATES}","data":{text}}}'.encode())

    return encode


def control(dialect: str, message: bytes) -> tuple[bytes, bool]:
    """Return a message of the trading stream, given as JSON, in its dialect: (payload, binary)."""
    if dialect == MSGPACK:
        return msgspec.msgpack.encode(msgspec.json.decode(message)), True
    return message, True
