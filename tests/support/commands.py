"""A seeded stream of commands that reaches every rule of the market, for comparing engines.

`CommandStream` makes batches; it learns from the events which orders live, so that cancels,
replacements and self-trades hit. `generate` drives an engine with it. The same seed and the same
events give the same batches. `coverage` tells which reasons, events and endings a run has seen.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from madang.exchange.engine.port import Engine
from madang.wire import commands as wire
from madang.wire.batch import encode_batch
from madang.wire.codes import (
    CASH_MAX,
    CASH_SCALE,
    PRICE_MAX,
    QUANTITY_MAX,
    QUANTITY_SCALE,
    OrderType,
    Side,
    Status,
)
from madang.wire.commands import InstrumentTerms, OrderTerms, ReplaceTerms
from madang.wire.events import EventKind, Order, parse_order_update, parse_result, split_records

BATCH_COMMANDS_MAX = 40
LIVE_ORDERS_AIM = 300
RECENT = 64
I64_MAX = 2**63 - 1
EXTREMES = (-(2**63), -1, 0, 1, 7, PRICE_MAX, PRICE_MAX + 1, QUANTITY_MAX, CASH_MAX, I64_MAX)

# Fine and coarse ticks, odd and round lots, prices below one unit of currency and near the bound.
INSTRUMENTS = (
    InstrumentTerms(b"AAPL", name=b"Apple Inc.", reference_price=1_500_000),
    InstrumentTerms(b"PENY", tick=100, lot=1, reference_price=5_000),
    InstrumentTerms(b"WHOL", tick=100, lot=QUANTITY_SCALE, reference_price=300_000),
    InstrumentTerms(b"COARSE", tick=2_500, lot=10**8, reference_price=8_000_000, collar_bps=50),
    InstrumentTerms(b"HUGE", tick=10**9, lot=10**9, reference_price=9 * 10**12, collar_bps=10_000),
)
ACCOUNTS = 8
WHALE = 1


@dataclass
class Coverage:
    """What a run has seen, counted."""

    reasons: Counter[int] = field(default_factory=Counter)
    order_events: Counter[int] = field(default_factory=Counter)
    endings: Counter[int] = field(default_factory=Counter)
    kinds: Counter[int] = field(default_factory=Counter)
    repeats: int = 0

    def add(self, events: bytes) -> None:
        """Count the events of a batch."""
        for kind, offset, _ in split_records(events):
            self.kinds[kind] += 1
            if kind == EventKind.ORDER:
                update = parse_order_update(events, offset)
                self.order_events[update.event] += 1
                self.endings[update.order.close_reason] += 1
            elif kind == EventKind.RESULT:
                result = parse_result(events, offset)
                self.reasons[result.reason] += 1
                self.repeats += result.repeat


class CommandStream:
    """Makes batches of commands; tell it the events of each with `observe`."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._sequence = 0
        self._now_ns = 1_700_000_000_000_000_000
        self._number = 0
        self._recent_requests: list[bytes] = []
        self._recent_ids: list[tuple[int, bytes]] = []
        self._live: dict[int, Order] = {}
        self._live_ids: list[int] = []
        self._prices = {i + 1: terms.reference_price for i, terms in enumerate(INSTRUMENTS)}
        self._terms = dict(enumerate(INSTRUMENTS, 1))
        self._accounts = ACCOUNTS
        self._pending = list(self._setup())
        self._actions = (
            (self._new_order, 580), (self._replace, 140), (self._cancel, 60), (self._transfer, 35),
            (self._cancel_all, 3), (self._set_session, 14), (self._set_account, 4),
            (self._set_credential, 12), (self._set_instrument, 6), (self._create_account, 4),
            (self._set_fees, 4), (self._end_day, 1), (self._expire_keys, 2), (self._limits, 3),
            (self._rules, 2), (self._malformed, 12),
        )  # fmt: skip
        self._weights = [weight for _, weight in self._actions]

    def batch(self) -> bytes:
        """Return the next batch record."""
        records = [self._next() for _ in range(self._random.randint(1, BATCH_COMMANDS_MAX))]
        self._now_ns += self._random.randint(1, 10**9)
        batch = encode_batch(
            b"".join(records), len(records),
            term=1, sequence=self._sequence + 1, now_ns=self._now_ns, rules_version=1,
        )  # fmt: skip
        self._sequence += len(records)
        return batch

    @property
    def sequence(self) -> int:
        """How many commands were made."""
        return self._sequence

    def observe(self, events: bytes) -> None:
        """Learn from the events of the last batch which orders live."""
        for kind, offset, _ in split_records(events):
            if kind == EventKind.ORDER:
                order = parse_order_update(events, offset).order
                if order.status >= Status.FILLED:
                    self._live.pop(order.order_id, None)
                else:
                    self._live[order.order_id] = order
        self._live_ids = list(self._live)

    def _setup(self) -> Iterator[bytes]:
        for terms in INSTRUMENTS:
            yield wire.encode_set_instrument(self._fresh_request(), terms)
        for number in range(1, ACCOUNTS + 1):
            yield wire.encode_create_account(self._fresh_request(), b"account %d" % number)
            cash = 4 * 10**18 if number == WHALE else 50_000_000 * CASH_SCALE
            yield wire.encode_transfer(number, self._fresh_request(), 0, cash)
            for instrument in self._terms:
                shares = 10**17 if number == WHALE else 2_000 * QUANTITY_SCALE
                yield wire.encode_transfer(number, self._fresh_request(), instrument, shares)
        yield wire.encode_set_fees(self._fresh_request(), 100, 250)

    def _next(self) -> bytes:
        return self._pending.pop(0) if self._pending else self._command()

    def _command(self) -> bytes:
        if len(self._live) > LIVE_ORDERS_AIM and self._random.random() < 0.5:
            return self._cancel()
        action = self._random.choices(self._actions, self._weights)[0][0]
        return action()

    def _chance(self, part: float) -> bool:
        return self._random.random() < part

    def _fresh_request(self) -> bytes:
        self._number += 1
        request = self._number.to_bytes(8, "little") + self._random.randbytes(8)
        self._recent_requests = [*self._recent_requests[-RECENT:], request]
        return request

    def _request(self) -> bytes:
        if self._chance(0.03):
            return wire.NO_REQUEST
        if self._chance(0.03):
            return self._random.choice(self._recent_requests)
        return self._fresh_request()

    def _client_order_id(self, account: int) -> bytes:
        if self._recent_ids and self._chance(0.03):
            same_account = [text for owner, text in self._recent_ids if owner == account]
            if same_account:
                return self._random.choice(same_account)
        self._number += 1
        text = b"c%d" % self._number
        if self._chance(0.05):
            text = text.ljust(self._random.choice((7, 8, 9, 127, 128, 129)), b"x")
        if self._chance(0.002):
            text = b""
        self._recent_ids = [*self._recent_ids[-RECENT:], (account, text)]
        return text

    def _account(self) -> int:
        if self._chance(0.01):
            return self._random.choice((0, self._accounts + 5, 2**32 - 1))
        if self._chance(0.05):
            return self._random.randint(1, self._accounts)
        return self._random.randint(1, ACCOUNTS)

    def _instrument(self) -> int:
        if self._chance(0.01):
            return self._random.choice((0, len(self._terms) + 3, 2**32 - 1))
        # Most of the flow meets in few books, so that it trades.
        return min(self._random.randint(1, len(self._terms)), self._random.randint(1, 8))

    def _price(self, instrument: int, side: int) -> int:
        terms = self._terms.get(instrument, INSTRUMENTS[0])
        anchor = self._prices.get(instrument, 10_000) or 10_000
        if self._chance(0.01):
            anchor = max(terms.tick, anchor * self._random.randint(95, 105) // 100)
            self._prices[instrument] = min(anchor, PRICE_MAX)
        tick = 1 if anchor < 10_000 and terms.tick <= 100 else terms.tick
        # Most orders rest on their side of the anchor, some reach over it.
        spread = self._random.randint(-3, 12) * self._random.choice((1, 1, 1, 5))
        if side == Side.BUY:
            spread = -spread
        price = max(tick, anchor - anchor % tick + spread * tick)
        if self._chance(0.01):
            return price + 1
        return self._random.choice(EXTREMES) if self._chance(0.003) else price

    def _quantity(self, instrument: int) -> int:
        terms = self._terms.get(instrument, INSTRUMENTS[0])
        if self._chance(0.003):
            return self._random.choice(EXTREMES)
        if terms.lot == 1 and self._chance(0.5):
            return self._random.randint(1, 20 * QUANTITY_SCALE)
        unit = max(terms.lot, QUANTITY_SCALE)
        quantity = self._random.randint(1, 30) * unit
        if self._chance(0.01):
            quantity *= self._random.choice((1_000, 10**6))
        return quantity + 1 if self._chance(0.01) else quantity

    def _notional(self, instrument: int) -> int:
        if self._chance(0.02):
            return self._random.choice(EXTREMES)
        price_cash = self._prices.get(instrument, 10_000) * 100
        return max(1, price_cash * self._random.randint(1, 4_000) // 100)

    def _new_order(self, account: int | None = None) -> bytes:
        account = self._account() if account is None else account
        instrument = self._instrument()
        terms = OrderTerms(
            instrument=instrument,
            side=self._random.randint(1, 2),
            type=self._random.choices((1, 2, 3, 4), (12, 70, 8, 10))[0],
            time_in_force=self._random.choices((1, 2, 3, 4), (45, 35, 12, 8))[0],
            self_trade=self._random.randint(0, 4),
            flags=self._random.randint(0, 1),
        )
        if terms.type in (OrderType.LIMIT, OrderType.STOP_LIMIT):
            terms.limit_price = self._price(instrument, terms.side)
        if terms.type in (OrderType.STOP, OrderType.STOP_LIMIT):
            terms.stop_price = self._price(instrument, terms.side)
            if self._chance(0.95):
                terms.time_in_force = self._random.randint(1, 2)
        amount_allowed = terms.type in (OrderType.MARKET, OrderType.LIMIT)
        if amount_allowed and terms.time_in_force != 4 and self._chance(0.2):
            terms.notional = self._notional(instrument)
        else:
            terms.quantity = self._quantity(instrument)
        if self._chance(0.02):
            self._spoil(terms)
        request, text = self._request(), self._client_order_id(account)
        return wire.encode_new_order(account, request, terms, text)

    def _spoil(self, terms: OrderTerms) -> None:
        """Make one field wrong, or at least odd."""
        name = self._random.choice(OrderTerms.__slots__)
        if name == "instrument":
            terms.instrument = self._random.randint(0, 9)
        elif name in ("quantity", "notional", "limit_price", "stop_price"):
            setattr(terms, name, self._random.choice(EXTREMES))
        else:
            setattr(terms, name, self._random.choice((0, 1, 2, 3, 4, 5, 128, 255)))

    def _some_order(self) -> Order | None:
        return self._live[self._random.choice(self._live_ids)] if self._live_ids else None

    def _known_live(self) -> Order | None:
        order = self._some_order()
        return order if order is not None and not self._chance(0.03) else None

    def _replace(self) -> bytes:
        order = self._known_live()
        if order is None:
            terms = ReplaceTerms(self._random.randint(0, 2**64 - 1), quantity=QUANTITY_SCALE)
            account = self._account()
            return wire.encode_replace(
                account, self._request(), terms, self._client_order_id(account)
            )
        terms = ReplaceTerms(order.order_id)
        if self._chance(0.5):
            leaves = order.quantity - order.filled_quantity
            lot = self._terms.get(order.instrument, INSTRUMENTS[0]).lot
            smaller = order.filled_quantity + leaves // 2
            terms.quantity = self._random.choice(
                (smaller, smaller - smaller % lot, order.quantity, order.quantity + lot * 3)
            )
            if self._chance(0.03):
                terms.quantity = self._random.choice((*EXTREMES, order.filled_quantity))
        limited = order.type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
        if self._chance(0.8) and order.notional:
            return self._cancel()
        if limited != self._chance(0.02) and self._chance(0.6):
            terms.limit_price = self._price(order.instrument, order.side)
        stop = order.type in (OrderType.STOP, OrderType.STOP_LIMIT)
        if stop != self._chance(0.02) and self._chance(0.4):
            terms.stop_price = self._price(order.instrument, order.side)
        if self._chance(0.2):
            terms.time_in_force = self._random.choice((1, 2, 1, 2, 1, 2, 3, 4, 9))
        account = order.account if not self._chance(0.02) else self._account()
        return wire.encode_replace(account, self._request(), terms, self._client_order_id(account))

    def _cancel(self) -> bytes:
        order = self._known_live()
        if order is None:
            number = self._random.choice((0, 1, self._random.randint(0, 2**64 - 1)))
            return wire.encode_cancel(self._account(), self._request(), number)
        account = order.account if not self._chance(0.02) else self._account()
        return wire.encode_cancel(account, self._request(), order.order_id)

    def _cancel_all(self) -> bytes:
        return wire.encode_cancel_all(self._account(), self._request())

    def _transfer(self) -> bytes:
        instrument = 0 if self._chance(0.5) else self._instrument()
        if self._chance(0.1):
            amount = self._random.choice((*EXTREMES, -CASH_MAX, -QUANTITY_MAX))
        elif instrument:
            amount = self._random.randint(-500, 500) * QUANTITY_SCALE + self._random.randint(-9, 9)
        else:
            amount = self._random.randint(-4 * 10**6, 4 * 10**6) * CASH_SCALE
        account = 0 if self._chance(0.05) else self._account()
        if account == 0 and self._chance(0.7):
            instrument, amount = 0, -self._random.randint(1, CASH_SCALE)
        return wire.encode_transfer(account, self._request(), instrument, amount)

    def _create_account(self) -> bytes:
        self._accounts += 1
        names = (b"", b"fees", b"account 1", b"n" * 64, b"n" * 65, b"account %d" % self._accounts)
        return wire.encode_create_account(
            self._request(), self._random.choices(names, (1, 1, 1, 1, 1, 10))[0]
        )

    def _set_account(self) -> bytes:
        state = self._random.choices((0, 1, 2), (8, 4, 1))[0]
        account = self._account()
        if state == 1:
            # It comes back soon, or nobody would be left to trade.
            self._pending.append(wire.encode_set_account(account, self._fresh_request(), 0))
            self._pending.insert(0, self._new_order(account))
        return wire.encode_set_account(account, self._request(), state)

    def _set_credential(self) -> bytes:
        kind = self._random.choice((1, 2, 3, 3, 0, 4)) if self._chance(0.2) else 1
        name = b"key %d" % self._random.randint(1, 12)
        if self._chance(0.05):
            name = self._random.choice((b"", b"k" * 128, b"k" * 129))
        value = self._random.choice((b"", b"secret", b"v" * 64, b"v" * 512))
        if self._chance(0.03):
            value = b"v" * 513
        return wire.encode_set_credential(self._account(), self._request(), kind, name, value)

    def _set_instrument(self) -> bytes:
        number = self._random.randint(1, len(INSTRUMENTS))
        base = INSTRUMENTS[number - 1]
        terms = InstrumentTerms(
            base.symbol,
            name=self._random.choice((b"", b"n" * 64, b"n" * 65, b"Name")),
            tick=self._random.choice((base.tick, base.tick, base.tick * 5, 0, -1, PRICE_MAX + 1)),
            lot=self._random.choice((base.lot, base.lot, base.lot * 2, 0, -1)),
            reference_price=base.reference_price,
            collar_bps=self._random.choice((base.collar_bps, 1, 500, 10_000, 0, 10_001)),
        )
        if self._chance(0.3):
            # A new instrument, traded by nobody yet: it has no price.
            self._number += 1
            terms = InstrumentTerms(b"N%d" % self._number, exchange=b"X" * 8)
            order = OrderTerms(
                instrument=len(INSTRUMENTS) + self._random.randint(1, 3),
                side=1, type=1, time_in_force=1, quantity=1,
            )  # fmt: skip
            text = self._client_order_id(WHALE)
            self._pending.append(wire.encode_new_order(WHALE, self._fresh_request(), order, text))
        elif self._chance(0.1):
            terms = InstrumentTerms(self._random.choice((b"", b"S" * 17)), exchange=b"Y")
        if terms.symbol == base.symbol:
            # Its rules come back soon, or most prices would be off its tick.
            self._pending.extend(self._new_order() for _ in range(10))
            self._pending.append(wire.encode_set_instrument(self._fresh_request(), base))
        return wire.encode_set_instrument(self._request(), terms)

    def _set_session(self) -> bytes:
        instrument = 0 if self._chance(0.3) else self._instrument()
        state = self._random.choice((0, 1, 2)) if not self._chance(0.02) else 3
        if state:
            for _ in range(self._random.randint(0, 25)):
                self._pending.append(self._command_while_closed())
            self._pending.append(wire.encode_set_session(self._fresh_request(), instrument, 0))
        return wire.encode_set_session(self._request(), instrument, state)

    def _command_while_closed(self) -> bytes:
        action = self._random.choices(
            (self._new_order, self._replace, self._cancel, self._cancel_all), (60, 25, 10, 1)
        )[0]
        return action()

    def _set_fees(self) -> bytes:
        maker = self._random.choice((0, 1, 100, 100_000, 100_001))
        taker = self._random.choice((0, 3, 250, 100_000, 100_001))
        return wire.encode_set_fees(self._request(), maker, taker)

    def _end_day(self) -> bytes:
        return wire.encode_end_day(self._request())

    def _expire_keys(self) -> bytes:
        keep = self._random.choice((0, 10, 100, 1_000, 2**64 - 1))
        return wire.encode_expire_keys(self._request(), keep)

    def _limits(self) -> bytes:
        keys = self._random.choice((0, 1, 50, 1_000, 10_000_000, 10_000_001))
        orders = self._random.choice((0, 1, 5, 100_000, 1_000_000, 1_000_001))
        for _ in range(3):
            self._pending.append(self._new_order())
        self._pending.append(wire.encode_set_limits(self._fresh_request(), 10_000_000, 100_000))
        return wire.encode_set_limits(self._request(), keys, orders)

    def _rules(self) -> bytes:
        return wire.encode_set_rules(self._request(), self._random.choice((0, 1, 2)))

    def _malformed(self) -> bytes:
        """Return a record with sound framing whose content does not add up."""
        record = self._random.choice((self._new_order, self._cancel, self._set_credential))()
        way = self._random.randint(0, 3)
        if way == 0:
            kind = self._random.choice((0, 16, 99, 255))
            return record[:2] + bytes([kind]) + record[3:]
        if way == 1 and len(record) + 8 <= wire.COMMAND_BYTES_MAX:
            record += bytes(8)
        elif way == 2:
            record = record[: wire.HEADER_BYTES + self._random.choice((0, 8))]
        else:
            record = record[: max(wire.HEADER_BYTES, len(record) - 8)]
        return struct.pack("<H", len(record)) + record[2:]


def generate(seed: int, count: int, engine: Engine) -> Iterator[tuple[bytes, bytes]]:
    """Drive an engine with at least `count` commands; yield each batch and its events."""
    stream = CommandStream(seed)
    while stream.sequence < count:
        batch = stream.batch()
        events = engine.apply(batch)
        stream.observe(events)
        yield batch, events
