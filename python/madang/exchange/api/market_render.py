"""The market's rows as JSON text: numbers exact to the last digit, no float in between. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from madang.exchange.api.decimals import price_text, quantity_text, ratio_text
from madang.exchange.api.times import time_text
from madang.exchange.directory import Instrument
from madang.wire.codes import PRICE_SCALE

VWAP_DECIMALS: Final = 6
_CODES: Final = {
    "NASDAQ": ("Q", "C"),
    "NYSE": ("N", "A"),
    "AMEX": ("A", "B"),
    "ARCA": ("P", "B"),
    "NYSEARCA": ("P", "B"),
    "BATS": ("Z", "B"),
}
_OTHER: Final = ("V", "B")


class Tape(NamedTuple):
    """The letters that stand for an instrument's exchange and its tape."""

    exchange: str
    tape: str


def tape_of(instrument: Instrument) -> Tape:
    """Return an instrument's letters; an exchange without one of its own shares IEX's."""
    return Tape(*_CODES.get(instrument.exchange, _OTHER))


class TradeRow(NamedTuple):
    """A trade as the ledger answers it."""

    trade_id: int
    price: int
    quantity: int
    aggressor: int
    now_ns: int


class QuoteRow(NamedTuple):
    """A quote as the ledger answers it."""

    now_ns: int
    bid: int
    bid_quantity: int
    ask: int
    ask_quantity: int


class BarRow(NamedTuple):
    """A bar as the ledger answers it; `volume` and `value` are text."""

    start_ns: int
    open: int
    high: int
    low: int
    close: int
    volume: str
    trades: int
    value: str


def trade_json(row: TradeRow, tape: Tape) -> str:
    """Return a trade."""
    return (
        f'{{"t":"{time_text(row.now_ns)}","x":"{tape.exchange}","p":{price_text(row.price)},'
        f'"s":{quantity_text(row.quantity)},"c":[],"i":{row.trade_id},"z":"{tape.tape}"}}'
    )


def quote_json(row: QuoteRow, tape: Tape) -> str:
    """Return a quote."""
    return (
        f'{{"t":"{time_text(row.now_ns)}","ax":"{tape.exchange}","ap":{price_text(row.ask)},'
        f'"as":{quantity_text(row.ask_quantity)},"bx":"{tape.exchange}",'
        f'"bp":{price_text(row.bid)},"bs":{quantity_text(row.bid_quantity)},'
        f'"c":[],"z":"{tape.tape}"}}'
    )


def bar_json(row: BarRow, _tape: Tape) -> str:
    """Return a bar."""
    return (
        f'{{"t":"{time_text(row.start_ns)}","o":{price_text(row.open)},"h":{price_text(row.high)},'
        f'"l":{price_text(row.low)},"c":{price_text(row.close)},'
        f'"v":{quantity_text(int(row.volume))},"n":{row.trades},'
        f'"vw":{vwap_text(int(row.value), int(row.volume))}}}'
    )


def vwap_text(value: int, volume: int) -> str:
    """Return the volume-weighted price, rounded to VWAP_DECIMALS."""
    text = ratio_text(value, volume * PRICE_SCALE, VWAP_DECIMALS)
    return text or "0"
