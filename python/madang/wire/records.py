"""State records as values: accounts, positions, instruments, credentials, levels.

`offset` is always that of the body: after the event header in an event, after the record header in
an answer to a query.
"""

from __future__ import annotations

from typing import NamedTuple

from madang.wire.events import (
    ACCOUNT_BODY,
    CREDENTIAL_BODY,
    INSTRUMENT_BODY,
    LEVEL_BODY,
    POSITION_BODY,
)


class Account(NamedTuple):
    """An account: `cash` and `held` in cash units."""

    number: int
    state: int
    cash: int
    held: int
    created_ns: int
    name: str


class Position(NamedTuple):
    """Shares of one instrument; `cost_basis` in cash units."""

    account: int
    instrument: int
    quantity: int
    held: int
    cost_basis: int


class Instrument(NamedTuple):
    """An instrument with its own session; the stricter of it and the market's holds."""

    number: int
    session: int
    tick: int
    lot: int
    reference_price: int
    last_price: int
    last_ns: int
    shares_total: int
    collar_bps: int
    symbol: str
    exchange: str
    name: str


class Credential(NamedTuple):
    """A credential; an empty value in a change means that it was removed."""

    number: int
    account: int
    kind: int
    name: str
    value: str


class Level(NamedTuple):
    """One price of a book."""

    side: int
    orders: int
    price: int
    quantity: int


def _texts(data: bytes, at: int, *lengths: int) -> list[str]:
    texts: list[str] = []
    for length in lengths:
        texts.append(bytes(data[at : at + length]).decode())
        at += length
    return texts


def parse_account(data: bytes, offset: int) -> Account:
    """Return the account whose body begins at `offset`."""
    number, state, name_length, _, cash, held, created = ACCOUNT_BODY.unpack_from(data, offset)
    (name,) = _texts(data, offset + ACCOUNT_BODY.size, name_length)
    return Account(number, state, cash, held, created, name)


def parse_position(data: bytes, offset: int) -> Position:
    """Return the position whose body begins at `offset`."""
    return Position(*POSITION_BODY.unpack_from(data, offset))


def parse_instrument(data: bytes, offset: int) -> Instrument:
    """Return the instrument whose body begins at `offset`."""
    number, session, symbol_length, exchange_length, name_length, *numbers = (
        INSTRUMENT_BODY.unpack_from(data, offset)
    )
    texts = _texts(data, offset + INSTRUMENT_BODY.size, symbol_length, exchange_length, name_length)
    return Instrument(number, session, *numbers, *texts)


def parse_credential(data: bytes, offset: int) -> Credential:
    """Return the credential whose body begins at `offset`."""
    number, account, kind, name_length, value_length, _ = CREDENTIAL_BODY.unpack_from(data, offset)
    name, value = _texts(data, offset + CREDENTIAL_BODY.size, name_length, value_length)
    return Credential(number, account, kind, name, value)


def parse_level(data: bytes, offset: int) -> Level:
    """Return the level whose body begins at `offset`."""
    side, _, _, orders, price, quantity = LEVEL_BODY.unpack_from(data, offset)
    return Level(side, orders, price, quantity)
