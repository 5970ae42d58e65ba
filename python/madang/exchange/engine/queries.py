"""Reading the state: records for the ledger, the feed and the directory of the workers."""

from __future__ import annotations

from itertools import islice

from madang.exchange.engine.events import (
    account_body,
    credential_body,
    instrument_body,
    order_body,
    position_body,
)
from madang.exchange.engine.state import Instrument, State
from madang.wire import events as wire
from madang.wire.codes import Side
from madang.wire.events import EventKind

_LEVEL_QUANTITY_MAX = 2**63 - 1


def _record(kind: EventKind, body: bytes) -> bytes:
    length = wire.RECORD_HEADER_BYTES + len(body)
    return wire.RECORD_HEADER.pack(length, kind, 0, 0) + body


def order(state: State, order_id: int) -> bytes | None:
    """Return the ORDER record of a live order."""
    found = state.orders.get(order_id)
    return None if found is None else _record(EventKind.ORDER, order_body(found))


def orders(state: State, account: int) -> bytes:
    """Return the ORDER records of an account's live orders, ascending by id."""
    if account >= len(state.accounts):
        return b""
    live = state.accounts[account].orders
    return b"".join(_record(EventKind.ORDER, order_body(live[number])) for number in sorted(live))


def account(state: State, number: int) -> bytes | None:
    """Return an ACCOUNT record."""
    if number >= len(state.accounts):
        return None
    return _record(EventKind.ACCOUNT, account_body(state.accounts[number]))


def accounts(state: State, after: int, limit: int) -> bytes:
    """Return at most `limit` ACCOUNT records with numbers above `after`."""
    page = state.accounts[after + 1 : after + 1 + limit]
    return b"".join(_record(EventKind.ACCOUNT, account_body(one)) for one in page)


def positions(state: State, account: int) -> bytes:
    """Return the POSITION records of an account, ascending by instrument."""
    if account >= len(state.accounts):
        return b""
    held = state.accounts[account].positions
    return b"".join(
        _record(EventKind.POSITION, position_body(held[number])) for number in sorted(held)
    )


def instruments(state: State) -> bytes:
    """Return all INSTRUMENT records, ascending by number."""
    return b"".join(
        _record(EventKind.INSTRUMENT, instrument_body(one)) for one in state.instruments.values()
    )


def credentials(state: State, after: int, limit: int) -> bytes:
    """Return at most `limit` CREDENTIAL records with numbers above `after`."""
    later = (one for number, one in state.credentials.items() if number > after)
    return b"".join(
        _record(EventKind.CREDENTIAL, credential_body(one)) for one in islice(later, limit)
    )


def depth(state: State, instrument: int, levels: int) -> bytes:
    """Return LEVEL records: at most `levels` bids, best first, then as many asks, best first."""
    found = state.instruments.get(instrument)
    if found is None:
        return b""
    return _side_depth(found, Side.BUY, levels) + _side_depth(found, Side.SELL, levels)


def _side_depth(instrument: Instrument, side: Side, levels: int) -> bytes:
    book_side = instrument.book_side(side)
    records = []
    for price in islice(book_side.prices(), levels):
        level = book_side.levels[price]
        # Orders are bounded one by one; many at a tiny price can come to more than a field holds.
        quantity = min(level.quantity, _LEVEL_QUANTITY_MAX)
        body = wire.LEVEL_BODY.pack(side, 0, 0, len(level.orders), price, quantity)
        records.append(_record(EventKind.LEVEL, body))
    return b"".join(records)


def statistics(state: State) -> dict[str, int]:
    """Return counts of what the engine keeps."""
    return {
        "orders": len(state.orders),
        "keys": len(state.keys),
        "requests": len(state.outcomes),
        "accounts": len(state.accounts),
        "outcomes": len(state.outcomes),
        "trades": state.next_trade_id - 1,
        "events": state.events.next_event_id - 1,
        "session": state.session_number,
        "market_session": state.market_session,
    }
