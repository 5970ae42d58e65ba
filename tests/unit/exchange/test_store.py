"""What people have chosen: kept, told apart by account, and refused where it cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from madang.bus import Bus, Request, memory_bus_hub
from madang.core.clock import SystemClock
from madang.edge import ApiError
from madang.exchange.api.orders import check_choice
from madang.exchange.api.store_client import COPY, Configuration, Configurations, StoreClient
from madang.exchange.ledger import store as store_module
from madang.exchange.ledger.copy import copy_store
from madang.exchange.ledger.store import ChoiceRefused, Store
from madang.exchange.ledger.store_server import MIGRATIONS, open_store
from madang.store import database, migrations

LIMIT_S = 5.0


def with_store(folder: Path, work: Callable[[Store], Awaitable[None]]) -> None:
    async def main() -> None:
        url = database.sqlite_url(folder / "store.db")
        sql = database.open_database(url, rebuildable=False)
        await migrations.upgrade(sql, MIGRATIONS)
        store = Store(sql)
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(main())


def new(name: str, *instruments: int, account: int = 1, number: str = "") -> dict[str, Any]:
    return {
        "new": True, "id": number or f"id-{name}", "account": account, "name": name,
        "instruments": list(instruments),
    }  # fmt: skip


def test_configurations_keep_what_was_not_changed(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        assert await store.configurations_after(0) == []
        await store.configure(2, {"suspend_trade": True})
        row = await store.configure(2, {"fractional_trading": False, "unknown": True})
        assert row == {
            "account": 2, "suspend_trade": True, "fractional_trading": False,
            "ptp_no_exception_entry": False,
        }  # fmt: skip
        await store.configure(1, {})
        assert [found["account"] for found in await store.configurations_after(0)] == [1, 2]
        assert [found["account"] for found in await store.configurations_after(1)] == [2]

    with_store(tmp_path, work)


def test_a_list_is_made_changed_and_deleted(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        made = await store.put_watchlist(new("tech", 3, 1, 3), 10)
        assert (made["instruments"], made["created_ns"]) == ([3, 1], 10)
        assert await store.put_watchlist(new("tech", 3, 1), 10) == made, "asked twice"
        change = {"new": False, "id": "id-tech", "account": 1, "name": None, "instruments": [2]}
        assert (await store.put_watchlist(change, 20))["instruments"] == [2]
        add = {"account": 1, "id": "id-tech", "instrument": 9, "remove": False}
        found = await store.change_instrument(add, 30)
        assert await store.change_instrument(add, 30) == found, "asked twice"
        assert (found["instruments"], found["updated_ns"], found["name"]) == ([2, 9], 30, "tech")
        found = await store.change_instrument({**add, "instrument": 2, "remove": True}, 40)
        assert found["instruments"] == [9]
        assert await store.watchlist(1, "id-tech") == found
        await store.delete_watchlist(1, "id-tech")
        assert await store.watchlists(1) == []

    with_store(tmp_path, work)


def test_lists_of_others_and_doubled_names_are_refused(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        await store.put_watchlist(new("tech", 1), 1)
        await store.put_watchlist(new("tech", 1, account=2, number="other"), 1)
        await store.put_watchlist(new("more", 7), 1)
        change = {"new": False, "id": "id-tech", "account": 2, "name": "x", "instruments": None}
        foreign = {"account": 2, "id": "id-tech", "instrument": 1, "remove": True}
        absent = {**foreign, "account": 1, "instrument": 5}
        renamed = {**change, "account": 1, "name": "more", "instruments": [2]}
        for status, refused in (
            (404, store.watchlist(2, "id-tech")),
            (404, store.delete_watchlist(2, "id-tech")),
            (404, store.put_watchlist(change, 2)),
            (404, store.change_instrument(foreign, 2)),
            (404, store.change_instrument(absent, 2)),
            (422, store.put_watchlist(new("tech", number="again"), 2)),
            (422, store.put_watchlist(renamed, 2)),
        ):
            with pytest.raises(ChoiceRefused) as no:
                await refused
            assert no.value.status == status
        assert (await store.watchlist(1, "id-tech"))["instruments"] == [1], "nothing was changed"

    with_store(tmp_path, work)


def test_lists_and_their_symbols_have_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "WATCHLISTS_MAX", 2)
    monkeypatch.setattr(store_module, "INSTRUMENTS_MAX", 3)

    async def work(store: Store) -> None:
        await store.put_watchlist(new("a", 1, 2, 3), 1)
        add = {"account": 1, "id": "id-a", "instrument": 4, "remove": False}
        with pytest.raises(ChoiceRefused, match="3 symbols"):
            await store.change_instrument(add, 1)
        await store.put_watchlist(new("b"), 1)
        with pytest.raises(ChoiceRefused, match="2 watchlists"):
            await store.put_watchlist(new("c"), 1)

    with_store(tmp_path, work)


def test_every_worker_learns_of_a_change_also_one_that_missed_it(tmp_path: Path) -> None:
    async def main() -> None:
        hub = memory_bus_hub()
        serving: Bus = hub.open("ledger")
        server = await open_store(tmp_path, "", serving)
        clients = []
        for name in ("worker-0", "worker-1"):
            bus = hub.open(name)
            clients.append(Configurations(bus, StoreClient(bus, SystemClock())))
        first, second = clients
        assert first.of(1) is None, "not guessed before it was loaded"
        for replica in clients:
            replica.start()
            assert await replica.wait_for(1) == Configuration()
        changed = await first.change(1, {"suspend_trade": True})
        assert changed.suspend_trade
        assert second.of(1) == changed, "at once"
        held: list[Request] = []
        slow = hub.open("worker-9")
        service = slow.serve(f"settle.{COPY}.worker-9", held.extend)
        changing = asyncio.create_task(first.change(1, {"suspend_trade": True}))
        async with asyncio.timeout(LIMIT_S):
            while not held:
                await asyncio.sleep(0)
        assert not changing.done(), "not confirmed before every worker has it"
        held[0].respond(b"")
        await changing
        service.close()
        late = hub.open("worker-2")
        third = Configurations(late, StoreClient(late, SystemClock()))
        third.start()
        assert (await third.wait_for(1)).suspend_trade, "loaded by who came later"
        for replica in (first, second, third):
            await replica.close()
        await server.close()

    asyncio.run(main())


class LateAnswers(StoreClient):
    """A store whose answers to changes come when `gate` is open, as on a busy link."""

    gate: asyncio.Event

    async def ask(self, kind: str, *, repeatable: bool = True, **fields: object) -> dict[str, Any]:
        answer = await super().ask(kind, repeatable=repeatable, **fields)
        if kind == "configure":
            await self.gate.wait()
        return answer


def test_an_answer_that_comes_late_undoes_no_later_change(tmp_path: Path) -> None:
    async def main() -> None:
        hub = memory_bus_hub()
        server = await open_store(tmp_path, "", hub.open("ledger"))
        buses = [hub.open("worker-0"), hub.open("worker-1")]
        late = LateAnswers(buses[0], SystemClock())
        late.gate = asyncio.Event()
        first = Configurations(buses[0], late)
        second = Configurations(buses[1], StoreClient(buses[1], SystemClock()))
        for replica in (first, second):
            replica.start()
            await replica.wait_for(1)
        changing = asyncio.create_task(first.change(1, {"suspend_trade": True}))
        async with asyncio.timeout(LIMIT_S):
            while not (await second.wait_for(1)).suspend_trade:
                await asyncio.sleep(0)
        await second.change(1, {"suspend_trade": False})
        late.gate.set()
        await changing
        assert first.of(1) == second.of(1) == Configuration(account=1)
        for replica in (first, second):
            await replica.close()
        await server.close()

    asyncio.run(main())


def test_what_the_owner_does_not_want_is_refused() -> None:
    check_choice(Configuration(), fractional=True)
    check_choice(Configuration(fractional_trading=False), fractional=False)
    for chosen in (Configuration(suspend_trade=True), Configuration(fractional_trading=False)):
        with pytest.raises(ApiError) as refused:
            check_choice(chosen, fractional=True)
        assert (refused.value.status, refused.value.code) == (403, 40310000)


def test_a_backup_carries_the_store(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.mkdir()
    target.mkdir()
    assert not copy_store(source, target)

    async def fill(store: Store) -> None:
        await store.configure(4, {"suspend_trade": True})
        assert copy_store(source, target), "while it is open"

    async def look(store: Store) -> None:
        assert (await store.configurations_after(0))[0]["suspend_trade"]

    with_store(source, fill)
    with_store(target, look)
