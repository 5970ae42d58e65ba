"""What holds of the readable engine on every stream of commands.

The streams are seeded and reach every rule. An auditor that reads only events keeps its own
accounts; planted mistakes show that the checks see them.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.exchange.engine import levels, lifecycle, matching, money
from madang.exchange.engine.money import collar, paid, received
from madang.exchange.engine.python import PythonEngine
from madang.wire import events as wire
from madang.wire.codes import (
    CASH_MAX,
    FEE_PPM_MAX,
    PPM,
    PRICE_MAX,
    VALUE_PER_CASH,
    CloseReason,
    OrderEvent,
    Reason,
    Side,
    Status,
)
from madang.wire.events import EventKind, parse_order_update, parse_trade, split_records
from tests.support.commands import Coverage, generate

SEEDS = range(1, 6)
COMMANDS = 8_000
SNAPSHOT_EVERY = 25  # batches


class Auditor:
    """Keeps cash and shares of every account from the events alone, in exact fractions."""

    def __init__(self) -> None:
        self.cash: dict[int, int] = defaultdict(int)
        self.shares: dict[tuple[int, int], int] = defaultdict(int)
        self._rates = (0, 0)
        self._order_rates: dict[int, tuple[int, int]] = {}
        self._moved: dict[int, Fraction] = defaultdict(Fraction)  # value with fees, exact
        self._settled: dict[int, int] = defaultdict(int)

    def read(self, events: bytes) -> None:
        """Follow the events of a batch."""
        for kind, offset, _ in split_records(events):
            body = offset + wire.HEADER_BYTES
            if kind == EventKind.FEES:
                self._rates = wire.FEES_BODY.unpack_from(events, body)
            elif kind == EventKind.TRANSFER:
                account = wire.HEADER.unpack_from(events, offset)[3]
                instrument, _, amount, _ = wire.TRANSFER_BODY.unpack_from(events, body)
                if instrument:
                    self.shares[account, instrument] += amount
                else:
                    self.cash[account] += amount
            elif kind == EventKind.ORDER:
                self._read_order(parse_order_update(events, offset))
            elif kind == EventKind.TRADE:
                self._read_trade(parse_trade(events, offset))

    def _read_order(self, update: wire.OrderUpdate) -> None:
        order = update.order
        if order.order_id in self._order_rates:
            return
        self._order_rates[order.order_id] = self._order_rates.get(order.replaces, self._rates)
        if order.replaces:
            self._moved[order.order_id] = self._moved[order.replaces]
            self._settled[order.order_id] = self._settled[order.replaces]

    def _read_trade(self, trade: wire.Trade) -> None:
        value = Fraction(trade.price * trade.quantity, VALUE_PER_CASH)
        for side, order, account in (
            (Side.BUY, trade.buy_order, trade.buy_account),
            (Side.SELL, trade.sell_order, trade.sell_account),
        ):
            maker, taker = self._order_rates[order]
            fee = value * (taker if side == trade.aggressor else maker) / PPM
            buys = side == Side.BUY
            self._moved[order] += value + fee if buys else value - fee
            settled = ceil(self._moved[order]) if buys else floor(self._moved[order])
            change = settled - self._settled[order]
            self._settled[order] = settled
            self.cash[account] += -change if buys else change
            self.cash[0] += change if buys else -change
            self.shares[account, trade.instrument] += trade.quantity if buys else -trade.quantity


def audit(seed: int) -> PythonEngine:
    engine, auditor = PythonEngine(), Auditor()
    for _, events in generate(seed, COMMANDS, engine):
        engine.check()
        auditor.read(events)
    data = engine.accounts(-1, 10**6)
    balances = {}
    for _, offset, _ in split_records(data):
        fields = wire.ACCOUNT_BODY.unpack_from(data, offset + wire.RECORD_HEADER_BYTES)
        balances[fields[0]] = fields[4]
        positions = engine.positions(fields[0])
        for _, place, _ in split_records(positions):
            account, instrument, quantity, *_ = wire.POSITION_BODY.unpack_from(
                positions, place + wire.RECORD_HEADER_BYTES
            )
            assert auditor.shares.pop((account, instrument)) == quantity
    assert balances == {number: auditor.cash[number] for number in balances}, "balances differ"
    assert not any(auditor.shares.values())
    return engine


@pytest.mark.parametrize("seed", SEEDS)
def test_invariants_hold_after_every_batch_and_the_books_are_balanced(seed: int) -> None:
    assert audit(seed).statistics()["trades"] > 100


def test_proceeds_that_are_rounded_up_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(money, "received", lambda value, fee: -received(-value, -fee))
    with pytest.raises(AssertionError, match="balances differ"):
        audit(1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restored_engine_has_the_same_future(seed: int) -> None:
    engine = PythonEngine()
    restored = PythonEngine()
    for number, (batch, events) in enumerate(generate(seed, COMMANDS, engine)):
        assert restored.apply(batch) == events
        if number % SNAPSHOT_EVERY == 0:
            snapshot = engine.snapshot()
            restored = PythonEngine.restore(snapshot)
            assert restored.snapshot() == snapshot
            restored.check()
    assert restored.state_hash() == engine.state_hash()


def test_every_command_ends_with_one_result_and_events_are_numbered_without_gaps() -> None:
    engine = PythonEngine()
    sequence, event_id = 0, 0
    for _, events in generate(6, COMMANDS, engine):
        for kind, offset, _ in split_records(events):
            header = wire.HEADER.unpack_from(events, offset)
            event_id += 1
            assert header[6] == event_id
            assert header[4] == sequence + 1
            sequence += kind == EventKind.RESULT
    assert sequence == engine.sequence


def test_an_order_that_ended_is_never_heard_of_again() -> None:
    ended: set[int] = set()
    for _, events in generate(7, COMMANDS, PythonEngine()):
        for kind, offset, _ in split_records(events):
            if kind == EventKind.ORDER:
                order = parse_order_update(events, offset).order
                assert order.order_id not in ended
                assert (order.closed_ns != 0) == (order.status >= Status.FILLED)
                if order.status >= Status.FILLED:
                    ended.add(order.order_id)


def test_no_fill_is_beyond_the_limit() -> None:
    fills = 0
    for _, events in generate(8, COMMANDS, PythonEngine()):
        for kind, offset, _ in split_records(events):
            if kind != EventKind.ORDER:
                continue
            update = parse_order_update(events, offset)
            order = update.order
            if update.fill_quantity and order.limit_price:
                fills += 1
                buys = order.side == Side.BUY
                assert (
                    update.fill_price <= order.limit_price
                    if buys
                    else update.fill_price >= order.limit_price
                )
    assert fills > 100


def test_the_streams_reach_every_rule() -> None:
    coverage = Coverage()
    for _, events in generate(1, 20_000, PythonEngine()):
        coverage.add(events)
    assert set(coverage.reasons) == {int(reason) for reason in Reason}
    assert set(coverage.order_events) == {int(event) for event in OrderEvent}
    assert set(coverage.endings) == {int(reason) for reason in CloseReason}
    assert coverage.repeats > 100


def run_planted(seed: int) -> None:
    engine = PythonEngine()
    for _ in generate(seed, COMMANDS, engine):
        engine.check()


def test_a_level_that_forgets_its_total_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = levels.PriceLevels.swap

    def forgetful(
        self: levels.PriceLevels[object], price: int, priority: int, item: object, change: int
    ) -> None:
        honest(self, price, priority, item, change + (change < 0))

    monkeypatch.setattr(levels.PriceLevels, "swap", forgetful)
    with pytest.raises(AssertionError, match="a level's total equals its orders"):
        run_planted(1)


def test_a_hold_that_is_not_released_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "set_hold", lambda state, order, hold: None)
    with pytest.raises(AssertionError, match=r"a hold equals|held (cash|shares) equal"):
        run_planted(1)


def test_a_book_that_stays_crossed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "_match", lambda state, instrument, order, traded: None)
    with pytest.raises(AssertionError, match="the book is not crossed"):
        run_planted(1)


@given(
    value=st.integers(0, CASH_MAX * VALUE_PER_CASH),
    more=st.integers(0, 10**20),
    ppm=st.integers(0, FEE_PPM_MAX),
)
@settings(max_examples=200, deadline=None)
def test_buyers_never_pay_less_than_sellers_receive(value: int, more: int, ppm: int) -> None:
    fee = value * ppm
    exact = Fraction(value * PPM + fee, VALUE_PER_CASH * PPM)
    assert 0 <= paid(value, fee) - exact < 1
    assert paid(value, fee) >= received(value, fee)
    assert paid(value + more, fee + more * ppm) >= paid(value, fee)
    assert received(value + more, fee + more * ppm) >= received(value, fee) >= 0


@given(base=st.integers(1, PRICE_MAX), bps=st.integers(1, 10_000))
@settings(max_examples=200, deadline=None)
def test_collars_stay_within_the_prices_there_are(base: int, bps: int) -> None:
    assert base <= collar(Side.BUY, base, bps) <= PRICE_MAX
    assert 1 <= collar(Side.SELL, base, bps) <= base
