"""The state of the market: plain records, and one object that holds them all.

Every live order is in exactly one place (book, stops or queue of its instrument), in `State.orders`
and in the `orders` of its account. An order that ends leaves all of them; only its key stays.
Dictionaries are walked in insertion order only, which the commands determine; nothing depends on a
hash.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from madang.exchange.engine.events import EventWriter
from madang.exchange.engine.levels import PriceLevels
from madang.wire.codes import Side

RULES_VERSION = 1
KEYS_MAX_DEFAULT = 10_000_000
OPEN_ORDERS_MAX_DEFAULT = 100_000
KEY_SESSIONS_KEPT = 3


class Place(IntEnum):
    """Where a live order waits."""

    NONE = 0  # only within a command
    BOOK = 1
    STOPS = 2
    QUEUE = 3


@dataclass(slots=True, eq=False)
class Order:
    """An order from its acceptance on."""

    order_id: int
    account: int
    instrument: int
    side: int
    type: int
    time_in_force: int
    self_trade: int
    flags: int
    quantity: int
    notional: int
    limit_price: int
    stop_price: int
    client_order_id: bytes
    protection_price: int  # P: it never trades beyond
    maker_ppm: int
    taker_ppm: int
    created_ns: int
    updated_ns: int
    status: int = 0
    close_reason: int = 0
    filled_quantity: int = 0
    filled_value: int = 0  # V, 13 decimals
    fee_value: int = 0  # F: sum of fill value x ppm
    closed_ns: int = 0
    replaces: int = 0
    replaced_by: int = 0
    hold: int = 0
    priority: int = 0
    place: int = Place.NONE

    @property
    def leaves(self) -> int:
        """The quantity still to be filled."""
        return self.quantity - self.filled_quantity

    @property
    def by_notional(self) -> bool:
        """Whether it is a market order for an amount of money (a limit order has a quantity)."""
        return self.quantity == 0


@dataclass(slots=True, eq=False)
class Position:
    """Shares of one account. `held` is promised to its sell orders."""

    account: int
    instrument: int
    quantity: int = 0
    held: int = 0
    cost_basis: int = 0


@dataclass(slots=True, eq=False)
class Account:
    """Cash, positions and live orders of one account. `held` cash is promised to its buy orders."""

    number: int
    name: bytes
    created_ns: int
    state: int = 0
    cash: int = 0
    held: int = 0
    positions: dict[int, Position] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Instrument:
    """The rules, the book, the stops and the queue of one instrument."""

    number: int
    symbol: bytes
    exchange: bytes
    name: bytes
    tick: int
    lot: int
    reference_price: int
    collar_bps: int
    session: int = 0
    last_price: int = 0
    last_ns: int = 0
    shares_total: int = 0
    bids: PriceLevels[Order] = field(default_factory=lambda: PriceLevels(highest_first=True))
    asks: PriceLevels[Order] = field(default_factory=lambda: PriceLevels(highest_first=False))
    buy_stops: PriceLevels[Order] = field(default_factory=lambda: PriceLevels(highest_first=False))
    sell_stops: PriceLevels[Order] = field(default_factory=lambda: PriceLevels(highest_first=True))
    queue: dict[int, Order] = field(default_factory=dict)  # by priority

    def book_side(self, side: int) -> PriceLevels[Order]:
        """Return the resting orders of one side."""
        return self.bids if side == Side.BUY else self.asks

    def stops_side(self, side: int) -> PriceLevels[Order]:
        """Return the waiting stops of one side, those that trigger first in front."""
        return self.buy_stops if side == Side.BUY else self.sell_stops


@dataclass(slots=True, eq=False)
class Credential:
    """A name and a secret's digest by which somebody acts for an account."""

    number: int
    account: int
    kind: int
    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Key:
    """A used client_order_id: whose order it became, in which session."""

    order_id: int
    session: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command with a request id came to; a repeat gets it again."""

    reason: int
    kind: int
    session: int
    number: int
    a: int
    b: int


@dataclass(slots=True, eq=False)
class State:
    """Everything the engine knows; `next_*` are the numbers to be given next."""

    events: EventWriter = field(default_factory=EventWriter)
    rules_version: int = RULES_VERSION
    session_number: int = 1
    sequence: int = 0
    now_ns: int = 0
    next_order_id: int = 1
    next_trade_id: int = 1
    next_priority: int = 1
    next_credential: int = 1
    maker_ppm: int = 0
    taker_ppm: int = 0
    market_session: int = 0
    keys_max: int = KEYS_MAX_DEFAULT
    open_orders_max: int = OPEN_ORDERS_MAX_DEFAULT
    cash_total: int = 0
    instruments: dict[int, Instrument] = field(default_factory=dict)
    symbols: dict[bytes, Instrument] = field(default_factory=dict)
    accounts: list[Account] = field(default_factory=list)
    account_names: set[bytes] = field(default_factory=set)
    credentials: dict[int, Credential] = field(default_factory=dict)
    credential_index: dict[tuple[int, int, bytes], Credential] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    keys: dict[bytes, Key] = field(default_factory=dict)
    outcomes: dict[bytes, Outcome] = field(default_factory=dict)

    def effective_session(self, instrument: Instrument) -> int:
        """Return the stricter of the market's state and the instrument's."""
        return max(self.market_session, instrument.session)

    def trading_account(self, number: int) -> Account | None:
        """Return the account of a number that commands may act for (never the fee account)."""
        return self.accounts[number] if 0 < number < len(self.accounts) else None

    def take_priority(self) -> int:
        """Return the next priority: whoever gets it stands behind all others."""
        priority = self.next_priority
        self.next_priority = priority + 1
        return priority


def position_quantity(account: Account, instrument: int) -> int:
    """Return how many shares an account has."""
    position = account.positions.get(instrument)
    return position.quantity if position else 0
