"""Activities: complete and in order whether SQL has them yet or not, page by page."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from madang.core.ids import new_request_id
from madang.exchange.api.activities import activity_id
from madang.exchange.engine.python import PythonEngine
from madang.exchange.ledger.activities import ActivityFilter, ActivityKind
from madang.exchange.ledger.history import History
from madang.exchange.ledger.ledger import Ledger
from madang.exchange.ledger.opening import MIGRATIONS
from madang.store import database, migrations
from madang.wire import commands
from madang.wire.batch import encode_batch
from madang.wire.codes import (
    CASH_SCALE,
    PRICE_SCALE,
    QUANTITY_SCALE,
    OrderType,
    Side,
    Status,
    TimeInForce,
)

ALL = frozenset(ActivityKind)
CASH = 1_000 * CASH_SCALE


class Market:
    """An engine followed by a ledger; account 1 sells to account 2."""

    def __init__(self, ledger: Ledger) -> None:
        self.engine = PythonEngine()
        self._ledger = ledger
        self._number = 0
        self.apply(
            commands.encode_set_instrument(new_request_id(), commands.InstrumentTerms(b"KIM")),
            *(commands.encode_create_account(new_request_id(), name) for name in (b"a", b"b")),
        )
        self.transfer(1, 1, 100 * QUANTITY_SCALE)
        self.transfer(2, 0, CASH)

    def apply(self, *records: bytes) -> None:
        batch = encode_batch(
            b"".join(records), len(records), term=1, sequence=self.engine.sequence + 1,
            now_ns=self.engine.now_ns + 10, rules_version=1,
        )  # fmt: skip
        self._ledger.on_events(batch, self.engine.apply(batch))

    def transfer(self, account: int, instrument: int, amount: int) -> None:
        self.apply(commands.encode_transfer(account, new_request_id(), instrument, amount))

    def trade(self, *buys: int) -> None:
        """Offer as many shares as the buys want together, and buy them one after the other."""
        for account, side, shares in (
            (1, Side.SELL, sum(buys)), *((2, Side.BUY, shares) for shares in buys)
        ):  # fmt: skip
            self._number += 1
            terms = commands.OrderTerms(
                instrument=1, side=side, type=OrderType.LIMIT, time_in_force=TimeInForce.DAY,
                quantity=shares * QUANTITY_SCALE, limit_price=2 * PRICE_SCALE,
            )  # fmt: skip
            name = b"order-%d" % self._number
            self.apply(commands.encode_new_order(account, new_request_id(), terms, name))


def run(folder: Path, wanted: list[ActivityFilter], written: str) -> list[list[dict[str, Any]]]:
    """Return what is found of one story, of which nothing, half or all is in SQL."""

    async def main() -> list[list[dict[str, Any]]]:
        sql = database.open_database(database.sqlite_url(folder / "ledger.db"), rebuildable=True)
        await migrations.upgrade(sql, MIGRATIONS)
        ledger = Ledger(History(sql), folder, snapshot_every=1_000_000)
        await ledger.open()
        market = Market(ledger)
        market.trade(3, 4)
        if written != "nothing":
            await ledger.write(market.engine)
        market.transfer(2, 0, -CASH_SCALE)
        market.trade(5)
        if written == "all":
            await ledger.write(market.engine)
        found = [await ledger.activities(each) for each in wanted]
        await sql.dispose()
        return found

    return asyncio.run(main())


@pytest.mark.parametrize("written", ["nothing", "half", "all"])
def test_a_story_is_told_whole_wherever_it_lies(tmp_path: Path, written: str) -> None:
    [seller, buyer] = run(tmp_path, [ActivityFilter(n, ALL, 100, False) for n in (1, 2)], written)
    assert [row["kind"] for row in seller] == ["JNLS", "FILL", "FILL", "FILL"]
    assert [row["kind"] for row in buyer] == ["CSD", "FILL", "FILL", "CSW", "FILL"]
    first, second = [row for row in seller if row["kind"] == "FILL"][:2]
    assert (first["quantity"], first["cumulative_quantity"], first["order_quantity"]) == tuple(
        n * QUANTITY_SCALE for n in (3, 3, 7)
    )
    assert first["order_status"] == Status.PARTIALLY_FILLED
    assert (second["order_status"], second["side"]) == (Status.FILLED, Side.SELL)
    assert buyer[3]["amount"] == -CASH_SCALE


@pytest.mark.parametrize("written", ["nothing", "half", "all"])
@pytest.mark.parametrize("descending", [False, True])
def test_pages_join_without_a_gap_or_a_repetition(
    tmp_path: Path, written: str, descending: bool
) -> None:
    [whole] = run(tmp_path, [ActivityFilter(2, ALL, 100, descending)], written)
    ids = [row["event_id"] for row in whole]
    assert ids == sorted(ids, reverse=descending)
    asked = [
        ActivityFilter(2, ALL, 2, descending, beyond=beyond) for beyond in (None, ids[1], ids[3])
    ]
    folder = tmp_path / "again"
    folder.mkdir()
    pages = run(folder, asked, written)
    assert [row["event_id"] for page in pages for row in page] == ids


@pytest.mark.parametrize("written", ["nothing", "all"])
def test_kinds_and_times_narrow_what_is_found(tmp_path: Path, written: str) -> None:
    [whole] = run(tmp_path, [ActivityFilter(2, ALL, 100, False)], written)
    times = [row["now_ns"] for row in whole]
    wanted = [ActivityFilter(2, frozenset({kind}), 100, False) for kind in ActivityKind] + [
        ActivityFilter(2, ALL, 100, False, after_ns=times[0], until_ns=times[3])
    ]
    folder = tmp_path / "again"
    folder.mkdir()
    *by_kind, between = run(folder, wanted, written)
    for kind, rows in zip(ActivityKind, by_kind, strict=True):
        assert rows == [row for row in whole if row["kind"] == kind]
    assert between == whole[1:3]


def test_ids_begin_with_their_time() -> None:
    text = activity_id(1_795_321_800_123_456_789, 77)
    stamp, _, uuid = text.partition("::")
    assert stamp == "20261122043000123"
    assert len(uuid) == 36
