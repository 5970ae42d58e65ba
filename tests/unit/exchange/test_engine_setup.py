"""Accounts, credentials, instruments, limits; snapshots; which engine runs."""

from __future__ import annotations

import importlib.util
from decimal import Decimal

import pytest

from madang.exchange import engine as engines
from madang.exchange.engine import EngineMissing
from madang.exchange.engine.python import PythonEngine
from madang.exchange.engine.snapshot import SnapshotError
from madang.wire import commands as wire
from madang.wire.codes import QUANTITY_MAX, QUANTITY_SCALE, CredentialKind, Reason, Side
from madang.wire.commands import InstrumentTerms
from madang.wire.events import EventKind
from tests.support.market import ENGINES, Market, Outcome, shares


@pytest.fixture(params=ENGINES)
def market(request: pytest.FixtureRequest) -> Market:
    return Market(request.param)


def credential(
    market: Market, account: int, name: bytes, value: bytes, kind: int = CredentialKind.API_KEY
) -> Outcome:
    return market.send(wire.encode_set_credential(account, market.request(), kind, name, value))


def test_accounts_have_unique_names_and_numbers_from_one(market: Market) -> None:
    def create(name: bytes) -> Outcome:
        return market.send(wire.encode_create_account(market.request(), name))

    assert [create(b"anna").number, create(b"bob").number] == [1, 2]
    assert create(b"anna").reason == Reason.DUPLICATE_NAME
    assert create(b"fees").reason == Reason.DUPLICATE_NAME
    assert create(b"").reason == Reason.BAD_FIELDS
    assert create(b"n" * 65).reason == Reason.BAD_FIELDS
    assert create(b"n" * 64).kinds == [EventKind.ACCOUNT, EventKind.RESULT]


def test_credentials_are_unique_replaced_and_removed(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    first = credential(market, anna, b"key", b"secret")
    assert first.kinds == [EventKind.CREDENTIAL, EventKind.RESULT]
    assert credential(market, anna, b"key", b"other").number == first.number
    assert credential(market, bob, b"key", b"x").reason == Reason.DUPLICATE_NAME
    assert credential(market, bob, b"key", b"").reason == Reason.DUPLICATE_NAME
    assert credential(market, anna, b"key", b"").number == first.number
    assert credential(market, anna, b"key", b"").reason == Reason.BAD_FIELDS
    assert credential(market, bob, b"key", b"x").number == first.number + 1
    role = CredentialKind.ROLE
    assert credential(market, anna, b"role", b"admin", role).reason == Reason.OK
    assert credential(market, bob, b"role", b"trader", role).reason == Reason.OK


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (0, b"k", b"v"),
        (4, b"k", b"v"),
        (1, b"", b"v"),
        (1, b"k" * 129, b"v"),
        (1, b"k", b"v" * 513),
    ],
)  # fmt: skip
def test_credentials_have_bounds(market: Market, kind: int, name: bytes, value: bytes) -> None:
    anna = market.account("anna")
    assert credential(market, anna, name, value, kind).reason == Reason.BAD_FIELDS
    assert credential(market, 99, b"k", b"v").reason == Reason.UNKNOWN_ACCOUNT


@pytest.mark.parametrize(
    "wrong",
    [
        {"tick": 0}, {"tick": 10**13 + 1}, {"lot": 0}, {"lot": -1}, {"reference_price": -1},
        {"collar_bps": 0}, {"collar_bps": 10_001}, {"exchange": b""}, {"exchange": b"E" * 9},
        {"name": b"n" * 65}, {"symbol": b""}, {"symbol": b"S" * 17},
    ],
)  # fmt: skip
def test_instruments_have_bounds(market: Market, wrong: dict[str, bytes | int]) -> None:
    terms = InstrumentTerms(b"NEXT")
    for name, value in wrong.items():
        setattr(terms, name, value)
    record = wire.encode_set_instrument(market.request(), terms)
    assert market.send(record).reason == Reason.BAD_FIELDS


def test_a_known_symbol_is_changed_and_a_new_one_numbered(market: Market) -> None:
    def set_instrument(terms: InstrumentTerms) -> int:
        return market.send(wire.encode_set_instrument(market.request(), terms)).number

    assert set_instrument(InstrumentTerms(b"AAPL", tick=1)) == market.instrument
    assert set_instrument(InstrumentTerms(b"NEXT")) == market.instrument + 1
    anna = market.account("anna")
    assert market.buy(anna, 1, "90.0001").reason == Reason.OK


@pytest.mark.parametrize(("keys", "orders"), [(0, 1), (10_000_001, 1), (1, 0), (1, 1_000_001)])
def test_limits_have_limits(market: Market, keys: int, orders: int) -> None:
    record = wire.encode_set_limits(market.request(), keys, orders)
    assert market.send(record).reason == Reason.BAD_FIELDS


@pytest.mark.parametrize(("maker", "taker"), [(100_001, 0), (0, 100_001)])
def test_fees_have_limits(market: Market, maker: int, taker: int) -> None:
    assert market.fees(maker, taker).reason == Reason.BAD_FIELDS


def full_market(market: Market) -> Market:
    """Leave something in every section of a snapshot."""
    anna, bob = market.account("anna"), market.account("bob")
    credential(market, anna, b"key", b"secret")
    market.fees(100, 250)
    market.sell(bob, 5, "100.00")
    market.buy(anna, 3, "100.00")
    market.buy(anna, "0.5", stop="130.00", tif="gtc")
    market.session(1)
    market.order(anna, market.terms(Side.BUY, 0, notional=10**7))
    return market


def test_a_restored_engine_is_the_same_and_has_the_same_future(market: Market) -> None:
    twin = full_market(Market(market.kind))
    full_market(market).same_after_restore()
    assert market.engine.state_hash() == twin.engine.state_hash()
    for one in (market, twin):
        one.session(0)
        one.sell(2, shares(0) + 2, "99.00")
        one.end_day()
    assert market.engine.snapshot() == twin.engine.snapshot()


def test_a_damaged_snapshot_is_refused(market: Market) -> None:
    data = full_market(market).engine.snapshot()
    for damaged in (b"", data[:-1], data + b"\0", b"X" + data[1:], data[: len(data) // 2]):
        with pytest.raises(SnapshotError):
            engines.restore(damaged, market.kind)


def test_a_snapshot_with_any_byte_changed_is_read_or_refused() -> None:
    data = full_market(Market("python")).engine.snapshot()
    refused = 0
    for offset in range(len(data)):
        for value in (0, 0xFF, data[offset] ^ 0x40):
            damaged = data[:offset] + bytes([value]) + data[offset + 1 :]
            try:
                engines.restore(damaged, "python")
            except SnapshotError:
                refused += 1
    assert refused > 100


def test_queries_answer_nothing_for_what_is_not_there(market: Market) -> None:
    engine = market.engine
    assert engine.order(5) is None
    assert engine.account(5) is None
    assert engine.orders(5) == engine.positions(5) == engine.depth(5, 10) == b""
    assert engine.credentials(0, 10) == b""
    assert engine.statistics()["orders"] == 0


def test_a_level_shows_at_most_what_its_field_holds(market: Market) -> None:
    anna = market.account("anna")
    terms = market.terms(Side.BUY, 0, "0.0001", quantity=QUANTITY_MAX)
    for _ in range(9):
        assert market.order(anna, terms).reason == Reason.OK
    assert market.book() == "bid 0.00 x 9000000000 (9)"
    assert market.order(anna, market.terms(Side.BUY, 900_000_000, "0.0001")).reason == Reason.OK
    assert market.book() == f"bid 0.00 x {Decimal(2**63 - 1) / QUANTITY_SCALE:f} (10)"
    market.send(wire.encode_cancel_all(anna, market.request()))
    assert market.book() == ""


def test_pages_of_accounts_and_credentials_follow_on(market: Market) -> None:
    for name in ("anna", "bob", "carl"):
        credential(market, market.account(name), name.encode(), b"secret")
    engine = market.engine
    whole = engine.accounts(0, 100)
    assert engine.accounts(0, 2) + engine.accounts(2, 2) == whole
    assert engine.accounts(3, 10) == b""
    whole = engine.credentials(0, 100)
    assert engine.credentials(0, 1) + engine.credentials(1, 5) == whole


def test_the_python_engine_is_always_there() -> None:
    assert engines.engine_name("python") == "python"
    assert isinstance(engines.create("python"), PythonEngine)


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(EngineMissing, match="'go'"):
        engines.create("go")


def test_rust_is_refused_with_advice_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert engines.engine_name("auto") == "python"
    with pytest.raises(EngineMissing, match="madang-core"):
        engines.create("rust")
