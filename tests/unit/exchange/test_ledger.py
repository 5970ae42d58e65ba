"""The ledger: what it answers and what it writes, over the real engine and a real database."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from madang.exchange.ledger.changes import Liquidity, RecentEvents
from madang.exchange.ledger.history import History, HistoryConflictError, OrderFilter
from madang.exchange.ledger.ledger import HistoryForkedError, Ledger
from madang.exchange.ledger.opening import MIGRATIONS
from madang.exchange.venue.disk import RealDisk
from madang.exchange.venue.snapshot import FOLDER, list_snapshots
from madang.store import database, migrations
from madang.wire.codes import (
    Side,
    Status,
)
from madang.wire.events import EventKind, OrderUpdate, parse_order_update, split_records
from tests.support.followed import FollowedEngine


class Market(FollowedEngine):
    """An engine followed by a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger.on_events)


def with_ledger(tmp_path: Path, work: Callable[[Ledger, History], Awaitable[None]]) -> None:
    """Run `work` with a ledger over a fresh database."""

    async def main() -> None:
        sql = database.open_database(database.sqlite_url(tmp_path / "ledger.db"), rebuildable=True)
        await migrations.upgrade(sql, MIGRATIONS)
        history = History(sql)
        ledger = Ledger(history, tmp_path, snapshot_every=1)
        await ledger.open()
        try:
            await work(ledger, history)
        finally:
            await sql.dispose()

    asyncio.run(main())


def everything(account: int, **query: object) -> OrderFilter:
    """Return a filter for all orders of an account."""
    return OrderFilter(account, {"limit": 500, "direction": "asc", **query})


def test_an_order_is_found_before_and_after_it_is_written(tmp_path: Path) -> None:
    async def work(ledger: Ledger, history: History) -> None:
        market = Market(ledger)
        market.order(1, Side.SELL, 5, b"sell")
        market.order(2, Side.BUY, 5, b"buy")
        for written in (False, True):
            if written:
                await ledger.write(market.engine)
                assert await history.order(1, 1) is not None
            for account, order_id, text in ((1, 1, "sell"), (2, 2, "buy")):
                order = await ledger.order(market.engine, account, order_id)
                assert order is not None
                assert order.status == Status.FILLED
                by_text = await ledger.order_by_client_id(market.engine, account, text)
                assert by_text == order
            assert await ledger.order(market.engine, 2, 1) is None, "another account's order"

    with_ledger(tmp_path, work)


def test_open_closed_and_all_orders_are_told_apart(tmp_path: Path) -> None:
    async def work(ledger: Ledger, _history: History) -> None:
        market = Market(ledger)
        market.order(1, Side.SELL, 5, b"first")
        market.order(2, Side.BUY, 2, b"taker")
        market.skip_time()
        market.order(1, Side.SELL, 1, b"second")
        await ledger.write(market.engine)
        market.order(2, Side.BUY, 3, b"rest")
        found = {
            status: [o.client_order_id for o in await ledger.orders(market.engine, every, status)]
            for status in ("open", "closed", "all")
            for every in [everything(1)]
        }
        assert found == {"open": [b"second"], "closed": [b"first"], "all": [b"first", b"second"]}
        newest_first = everything(1, direction="desc", limit=1)
        newest = await ledger.orders(market.engine, newest_first, "all")
        assert [order.client_order_id for order in newest] == [b"second"]

    with_ledger(tmp_path, work)


@pytest.mark.parametrize("written", [0, 3, 6])
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_a_page_never_ends_within_a_microsecond(
    tmp_path: Path, written: int, direction: str
) -> None:
    async def work(ledger: Ledger, _history: History) -> None:
        market = Market(ledger)
        for number in range(6):
            if number == written:
                await ledger.write(market.engine)
            if number in (1, 5):
                market.skip_time()
            market.order(1, Side.SELL, 1, b"%d" % number)
            market.stay_in_time()
        if written == 6:
            await ledger.write(market.engine)
        whole = [
            order.created_ns for order in await ledger.orders(market.engine, everything(1), "all")
        ]
        assert [time_ns // 1_000 - whole[0] // 1_000 for time_ns in whole] == [0, 1, 1, 1, 1, 2]
        for limit, count in ((1, 1), (2, 5), (5, 5), (6, 6)):
            wanted = everything(1, direction=direction, limit=limit)
            assert len(await ledger.orders(market.engine, wanted, "all")) == count

    with_ledger(tmp_path, work)


def test_rows_and_progress_are_written_together_and_once(tmp_path: Path) -> None:
    async def work(ledger: Ledger, history: History) -> None:
        market = Market(ledger)
        market.order(1, Side.SELL, 5, b"sell")
        await ledger.write(market.engine)
        assert await history.sequence() == market.engine.sequence == ledger.written
        stale = Ledger(history, tmp_path, snapshot_every=1)
        stale_market = Market(stale)
        stale_market.order(1, Side.SELL, 5, b"sell")
        with pytest.raises(HistoryConflictError):
            await stale.write(stale_market.engine)

    with_ledger(tmp_path, work)


def test_a_history_of_a_command_that_the_log_has_no_more_is_noticed(tmp_path: Path) -> None:
    async def work(ledger: Ledger, history: History) -> None:
        first = Market(ledger)
        first.order(1, Side.SELL, 5, b"lost with the log's last record")
        await ledger.write(first.engine)
        again = Ledger(history, tmp_path, snapshot_every=1)
        await again.open()
        later = Market(again)
        later.skip_time()
        with pytest.raises(HistoryForkedError):
            later.order(2, Side.BUY, 5, b"given the same number")

    with_ledger(tmp_path, work)


def test_replaying_what_sql_has_writes_nothing_twice(tmp_path: Path) -> None:
    async def work(ledger: Ledger, history: History) -> None:
        first = Market(ledger)
        first.order(1, Side.SELL, 5, b"sell")
        first.order(2, Side.BUY, 5, b"buy")
        await ledger.write(first.engine)
        again = Ledger(history, tmp_path, snapshot_every=1)
        await again.open()
        second = Market(again)
        second.order(1, Side.SELL, 5, b"sell")
        second.order(2, Side.BUY, 5, b"buy")
        assert again.waiting == 0
        await again.write(second.engine)
        second.order(1, Side.SELL, 1, b"later")
        await again.write(second.engine)
        assert await history.sequence() == second.engine.sequence

    with_ledger(tmp_path, work)


class Valve:
    """What a ledger pauses and resumes; commands that come while it is shut wait."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def pause(self) -> None:
        self.log.append("pause")

    def resume(self) -> None:
        self.log.append("resume")


def test_following_pauses_at_the_limit_until_a_write_made_room(tmp_path: Path) -> None:
    async def main() -> None:
        sql = database.open_database(database.sqlite_url(tmp_path / "ledger.db"), rebuildable=True)
        await migrations.upgrade(sql, MIGRATIONS)
        ledger = Ledger(History(sql), tmp_path, snapshot_every=1000, changes_max=10)
        ledger.flow = valve = Valve()
        await ledger.open()
        market = Market(ledger)
        assert not ledger.full()
        for number in range(10 - ledger.waiting):
            assert valve.log == []
            market.order(1, Side.SELL, 1, b"%d" % number)
        assert ledger.full()
        assert ledger.waiting == 10
        assert valve.log == ["pause"]
        market.order(1, Side.SELL, 1, b"another")
        assert valve.log == ["pause"], "once"
        await asyncio.wait_for(ledger.write_due(), 10)
        await ledger.write(market.engine)
        assert valve.log == ["pause", "resume"]
        assert ledger.waiting == 0
        await sql.dispose()

    asyncio.run(main())


def test_a_snapshot_is_taken_while_orders_go_on_and_only_of_what_sql_has(tmp_path: Path) -> None:
    async def work(ledger: Ledger, history: History) -> None:
        market = Market(ledger)
        at = market.engine.sequence
        writing = asyncio.ensure_future(ledger.write(market.engine))
        await asyncio.sleep(0)
        market.order(1, Side.SELL, 1, b"meanwhile")
        await writing
        (file,) = list_snapshots(RealDisk(), tmp_path / FOLDER)
        assert file.sequence == at == await history.sequence() < market.engine.sequence
        await ledger.write(market.engine)
        newest = max(file.sequence for file in list_snapshots(RealDisk(), tmp_path / FOLDER))
        assert newest == market.engine.sequence

    with_ledger(tmp_path, work)


def test_rows_hold_what_the_records_say(tmp_path: Path) -> None:
    async def work(ledger: Ledger, history: History) -> None:
        market = Market(ledger)
        updates: list[OrderUpdate] = []
        for side, shares, text in ((Side.SELL, 5, "매도-ab"), (Side.BUY, 2, "b" * 128)):
            market.order(1 if side == Side.SELL else 2, side, shares, text.encode())
            updates += [
                parse_order_update(market.events, at)
                for kind, at, _ in split_records(market.events)
                if kind == EventKind.ORDER
            ]
        await ledger.write(market.engine)
        newest = {update.order.order_id: update.order for update in updates}
        for order in newest.values():
            assert await history.order(order.account, order.order_id) == order
        fills = [update for update in updates if update.fill_quantity]
        assert len(fills) == 2
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as reading:
            reading.row_factory = sqlite3.Row
            rows = reading.execute("SELECT * FROM fills ORDER BY event_id").fetchall()
        for row, update in zip(rows, fills, strict=True):
            order = update.order
            taker = order.side == Side.BUY
            assert dict(row) == {
                "sequence": update.sequence,
                "now_ns": update.now_ns,
                "event_id": update.event_id,
                "price": update.fill_price,
                "quantity": update.fill_quantity,
                "trade_id": update.trade_id,
                "position_quantity": update.position_quantity,
                "order_id": order.order_id,
                "account": order.account,
                "instrument": order.instrument,
                "side": order.side,
                "order_status": order.status,
                "cumulative_quantity": order.filled_quantity,
                "liquidity": Liquidity.TAKER if taker else Liquidity.MAKER,
            }

    with_ledger(tmp_path, work)


def event(event_id: int) -> bytes:
    """Return a record as far as `RecentEvents` looks at it."""
    return bytes(24) + event_id.to_bytes(8, "little")


def test_recent_events_are_complete_or_refused() -> None:
    recent = RecentEvents(first_event_id=10, events_max=3)
    for event_id in range(10, 14):
        recent.add(1, event(event_id))
    assert recent.after(1, 9, limit=9) == (False, []), "event 10 was dropped"
    assert recent.after(1, 10, limit=9) == (True, [event(11), event(12), event(13)])
    assert recent.after(1, 12, limit=1) == (True, [event(13)])
    assert recent.after(1, 10, limit=2) == (True, [event(11), event(12)]), "the oldest first"
    assert recent.after(1, 13, limit=9) == (True, [])
    assert recent.after(2, 9, limit=9) == (True, [])
    assert recent.after(2, 8, limit=9) == (False, []), "before the start nothing is known"
