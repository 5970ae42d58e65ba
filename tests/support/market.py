"""A market for tests that read like the domain: whole shares, prices as text, books as tables.

`market.sell(bob, 10, "100.02")` sends an order, `market.book()` shows what rests. After every
command the engine's invariants are checked in full.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from madang.exchange.engine import create, engine_name, restore
from madang.wire import commands as wire
from madang.wire.batch import encode_batch
from madang.wire.codes import (
    CASH_SCALE,
    PRICE_SCALE,
    QUANTITY_SCALE,
    OrderType,
    Reason,
    Side,
    TimeInForce,
)
from madang.wire.commands import InstrumentTerms, OrderTerms, ReplaceTerms
from madang.wire.events import (
    ACCOUNT_BODY,
    LEVEL_BODY,
    POSITION_BODY,
    RECORD_HEADER_BYTES,
    EventKind,
    Order,
    OrderUpdate,
    Result,
    Trade,
    parse_order,
    parse_order_update,
    parse_result,
    parse_trade,
    split_records,
)

ENGINES = ("python", "rust") if engine_name() == "rust" else ("python",)  # those installed
TYPES = {
    "market": OrderType.MARKET,
    "limit": OrderType.LIMIT,
    "stop": OrderType.STOP,
    "stop_limit": OrderType.STOP_LIMIT,
}
TIFS = {tif.name.lower(): tif for tif in TimeInForce}
STEP_NS = 1_000


def price(text: str) -> int:
    """Return price units."""
    return int(Decimal(text) * PRICE_SCALE)


def cash(amount: str | int) -> int:
    """Return cash units."""
    return int(Decimal(amount) * CASH_SCALE)


def shares(amount: str | int) -> int:
    """Return quantity units."""
    return int(Decimal(amount) * QUANTITY_SCALE)


@dataclass
class Outcome:
    """What one command came to."""

    result: Result
    updates: list[OrderUpdate] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)

    @property
    def reason(self) -> Reason:
        return Reason(self.result.reason)

    @property
    def number(self) -> int:
        return self.result.number

    @property
    def order(self) -> Order:
        assert self.result.order is not None, f"refused: {self.reason.name}"
        return self.result.order

    def events_of(self, order_id: int) -> list[int]:
        """Return what happened to an order, as OrderEvents."""
        return [update.event for update in self.updates if update.order.order_id == order_id]

    def fills(self) -> list[tuple[int, int, str]]:
        """Return (resting order, whole shares, price) of each trade."""
        return [
            (
                trade.sell_order if trade.aggressor == Side.BUY else trade.buy_order,
                trade.quantity // QUANTITY_SCALE,
                f"{Decimal(trade.price) / PRICE_SCALE:.2f}",
            )
            for trade in self.trades
        ]


class Market:
    """An engine with one instrument; every account has 1,000,000 in cash and 1,000 shares.

    After every command the engine's invariants are checked in full.
    """

    def __init__(self, kind: str = "python", terms: InstrumentTerms | None = None) -> None:
        self.kind = kind
        self.engine = create(kind)
        self._number = 0
        self.instrument = self.send(
            wire.encode_set_instrument(
                self.request(), terms or InstrumentTerms(b"AAPL", reference_price=price("100.00"))
            )
        ).number

    def request(self) -> bytes:
        """Return a request id that was not used."""
        self._number += 1
        return self._number.to_bytes(16, "big")

    def client_order_id(self) -> bytes:
        """Return a client_order_id that was not used."""
        self._number += 1
        return b"order-%d" % self._number

    def send(self, record: bytes) -> Outcome:
        """Apply one command."""
        return self.send_all([record])[0]

    def send_all(self, records: list[bytes]) -> list[Outcome]:
        """Apply commands in one batch."""
        batch = encode_batch(
            b"".join(records), len(records), term=1, sequence=self.engine.sequence + 1,
            now_ns=self.engine.now_ns + STEP_NS, rules_version=1,
        )  # fmt: skip
        events = self.engine.apply(batch)
        self.engine.check()
        return read_outcomes(events)

    def account(self, name: str, money: str = "1000000", quantity: int = 1_000) -> int:
        """Create an account and fund it."""
        number = self.send(wire.encode_create_account(self.request(), name.encode())).number
        if cash(money):
            self.transfer(number, 0, cash(money))
        if quantity:
            self.transfer(number, self.instrument, shares(quantity))
        return number

    def transfer(self, account: int, instrument: int, amount: int) -> Outcome:
        """Move cash (instrument 0) or shares in or out."""
        return self.send(wire.encode_transfer(account, self.request(), instrument, amount))

    def terms(
        self, side: Side, amount: int | str, limit: str = "", /, **more: object
    ) -> OrderTerms:
        """Return an order's terms; a limit makes it a limit order, a stop a stop order."""
        stop = str(more.pop("stop", ""))
        kind = ("stop_limit" if limit else "stop") if stop else ("limit" if limit else "market")
        tif = TIFS[str(more.pop("tif", "day"))]
        terms = OrderTerms(
            instrument=self.instrument, side=side, type=TYPES[kind], time_in_force=tif,
            quantity=shares(amount),
            limit_price=price(limit) if limit else 0, stop_price=price(stop) if stop else 0,
        )  # fmt: skip
        for name, value in more.items():
            assert name in OrderTerms.__slots__, name
            setattr(terms, name, value)
        return terms

    def order(self, account: int, terms: OrderTerms) -> Outcome:
        """Send a new order."""
        return self.send(
            wire.encode_new_order(account, self.request(), terms, self.client_order_id())
        )

    def buy(self, account: int, amount: int | str, limit: str = "", **more: object) -> Outcome:
        """Send a buy order; see `terms`."""
        return self.order(account, self.terms(Side.BUY, amount, limit, **more))

    def sell(self, account: int, amount: int | str, limit: str = "", **more: object) -> Outcome:
        """Send a sell order; see `terms`."""
        return self.order(account, self.terms(Side.SELL, amount, limit, **more))

    def replace(self, account: int, order_id: int, **changes: int) -> Outcome:
        """Send a replacement; the changes are in units."""
        terms = ReplaceTerms(order_id, **changes)
        return self.send(
            wire.encode_replace(account, self.request(), terms, self.client_order_id())
        )

    def cancel(self, account: int, order_id: int) -> Outcome:
        """Cancel an order."""
        return self.send(wire.encode_cancel(account, self.request(), order_id))

    def session(self, state: int, instrument: int | None = None) -> Outcome:
        """Open, halt or close the instrument (0: the market)."""
        number = self.instrument if instrument is None else instrument
        return self.send(wire.encode_set_session(self.request(), number, state))

    def fees(self, maker_ppm: int, taker_ppm: int) -> Outcome:
        """Set the fees."""
        return self.send(wire.encode_set_fees(self.request(), maker_ppm, taker_ppm))

    def end_day(self) -> Outcome:
        """End the day."""
        return self.send(wire.encode_end_day(self.request()))

    def book(self) -> str:
        """Return the book as a table: asks above bids, best prices in the middle."""
        data = self.engine.depth(self.instrument, 100)
        asks: list[str] = []
        bids: list[str] = []
        for _, offset, _ in split_records(data):
            side, _, _, orders, level, quantity = LEVEL_BODY.unpack_from(
                data, offset + RECORD_HEADER_BYTES
            )
            name = "bid" if side == Side.BUY else "ask"
            amount = Decimal(quantity) / QUANTITY_SCALE
            line = f"{name} {Decimal(level) / PRICE_SCALE:.2f} x {amount:f} ({orders})"
            (bids if side == Side.BUY else asks).append(line)
        return "\n".join([*reversed(asks), *bids])

    def live(self, order_id: int) -> Order | None:
        """Return a live order."""
        record = self.engine.order(order_id)
        return None if record is None else parse_order(record, RECORD_HEADER_BYTES)

    def money(self, account: int) -> tuple[int, int]:
        """Return an account's cash and what of it is held."""
        record = self.engine.account(account)
        assert record is not None
        fields = ACCOUNT_BODY.unpack_from(record, RECORD_HEADER_BYTES)
        return fields[4], fields[5]

    def position(self, account: int) -> tuple[int, int, int]:
        """Return an account's quantity, held quantity and cost basis in the instrument."""
        data = self.engine.positions(account)
        for _, offset, _ in split_records(data):
            _, instrument, quantity, held, basis = POSITION_BODY.unpack_from(
                data, offset + RECORD_HEADER_BYTES
            )
            if instrument == self.instrument:
                return quantity, held, basis
        return 0, 0, 0

    def same_after_restore(self) -> None:
        """Continue from a snapshot from here on."""
        snapshot = self.engine.snapshot()
        restored = restore(snapshot, self.kind)
        assert restored.snapshot() == snapshot
        self.engine = restored


def read_outcomes(events: bytes) -> list[Outcome]:
    """Return what the commands of a batch came to."""
    outcomes = []
    updates: list[OrderUpdate] = []
    trades: list[Trade] = []
    kinds: list[int] = []
    for kind, offset, _ in split_records(events):
        kinds.append(kind)
        if kind == EventKind.ORDER:
            updates.append(parse_order_update(events, offset))
        elif kind == EventKind.TRADE:
            trades.append(parse_trade(events, offset))
        elif kind == EventKind.RESULT:
            outcomes.append(Outcome(parse_result(events, offset), updates, trades, kinds))
            updates, trades, kinds = [], [], []
    return outcomes
