"""The venue's role as a whole: lease, setup, service on the bus, stopping, starting again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from madang.bus import Bus, BusSettings, Message, open_unix_bus
from madang.bus.lease import FileLease
from madang.cluster.process import Identity, Process, Surroundings
from madang.core.errors import SettingsError
from madang.core.ids import new_request_id
from madang.core.settings import decode_section
from madang.exchange.gateway import OrderGateway
from madang.exchange.venue import process as role
from madang.exchange.venue.directory import QUESTION
from madang.exchange.venue.settings import VenueSettings
from madang.wire.codes import CredentialKind, Reason, Session, Side
from madang.wire.commands import (
    encode_create_account,
    encode_set_credential,
    encode_set_session,
    encode_transfer,
)
from madang.wire.events import EventKind, Result, parse_order_update, split_records
from tests.support.venue_log import order

LIMIT_MS = 10_000
OPTIONS: dict[str, object] = {
    "engine": "python",
    "instruments": [{"symbol": "AAPL", "reference_price": "100"}, {"symbol": "MSFT"}],
    "log": {"segment_bytes": 1024 * 1024 + 4096},
}


@contextlib.asynccontextmanager
async def venue(
    folder: Path, options: dict[str, object] | None = None
) -> AsyncIterator[tuple[Bus, OrderGateway]]:
    """Run the role; yields a worker's bus and gateway."""
    readies: list[bool] = []
    surroundings = Surroundings(options or OPTIONS, folder / "state", folder / "run")
    process = Process(
        Identity("venue", "venue", 0, 1, 1), surroundings, lambda: readies.append(process.is_ready)
    )
    running = asyncio.create_task(role.main(process))
    (folder / "run").mkdir(exist_ok=True)
    bus = await open_unix_bus(BusSettings("worker-0", folder / "run" / "bus"))
    gateway = OrderGateway(bus)
    try:
        served = asyncio.create_task(bus.wait_for_server("venue.commands", LIMIT_MS))
        await asyncio.wait([served, running], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        assert await served
        assert True in readies
        yield bus, gateway
    finally:
        process.request_stop()
        try:
            await asyncio.wait_for(running, 20)
        finally:
            await gateway.close()
            await bus.close()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(scenario(), 60)

    asyncio.run(main())


async def fund(gateway: OrderGateway) -> None:
    for name in (b"kim", b"lee"):
        await gateway.submit(encode_create_account(new_request_id(), name))
    for account in (1, 2):
        for instrument in (0, 1):
            await gateway.submit(encode_transfer(account, new_request_id(), instrument, 10**12))


async def committed(bus: Bus) -> int:
    return int.from_bytes((await bus.request("venue.committed", b"", LIMIT_MS))[8:], "little")


def test_orders_survive_a_restart_and_the_setup_is_done_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with venue(tmp_path) as (bus, gateway):
            await fund(gateway)
            first = await gateway.submit(order(1))
            assert first.reason == Reason.OK
            before = await committed(bus)
        async with venue(tmp_path) as (bus, gateway):
            page = await bus.request("venue.directory", QUESTION.pack(0, 0, 0, 100), LIMIT_MS)
            kinds = [kind for kind, _, _ in split_records(page)]
            assert kinds.count(EventKind.INSTRUMENT) == 2
            assert kinds.count(EventKind.ACCOUNT) == 2
            assert await committed(bus) == before + 2, "fees and limits are said, nothing else"
            again: Result = await gateway.submit(order(1))
            assert (again.repeat, again.number) == (True, first.number)

    run(scenario)


def test_settings_that_changed_become_commands(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with venue(tmp_path):
            pass
        changed = {**OPTIONS, "instruments": [{"symbol": "AAPL", "lot": "1"}, {"symbol": "TSLA"}]}
        async with venue(tmp_path, changed) as (bus, gateway):
            page = await bus.request("venue.directory", QUESTION.pack(0, 0, 0, 100), LIMIT_MS)
            assert [kind for kind, _, _ in split_records(page)].count(EventKind.INSTRUMENT) == 3
            await fund(gateway)
            assert (await gateway.submit(order(1))).reason == Reason.OK

    run(scenario)


def test_order_events_go_only_where_somebody_listens(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with venue(tmp_path) as (bus, gateway):
            await fund(gateway)
            heard: list[Message] = []
            bus.subscribe("venue.events.1", heard.extend)
            bus.subscribe("venue.notices", heard.extend)
            await asyncio.sleep(0.05)
            await gateway.submit(order(1, 1, Side.BUY))
            last = (await gateway.submit(order(2, 2, Side.SELL))).sequence
            await until(lambda: any(_notice(message) == last for message in heard))
            events = [message for message in heard if message.subject == "venue.events.1"]
            updates = [
                parse_order_update(message.payload, offset)
                for message in events
                for _, offset, _ in split_records(message.payload)
            ]
            assert [update.order.account for update in updates] == [1, 1]
            assert [update.event for update in updates] == [2, 4]
            assert updates[0].event_id < updates[1].event_id

    run(scenario)


def _notice(message: Message) -> int:
    if message.subject != "venue.notices":
        return 0
    return int.from_bytes(message.payload[8:16], "little")


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(LIMIT_MS // 10):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not in time")


def test_changes_of_the_directory_are_published_as_query_records(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with venue(tmp_path) as (bus, gateway):
            heard: list[int] = []

            def hear(messages: list[Message]) -> None:
                for message in messages:
                    heard.extend(kind for kind, _, _ in split_records(message.payload))

            bus.subscribe("venue.directory.changed", hear)
            await asyncio.sleep(0.05)
            await gateway.submit(encode_create_account(new_request_id(), b"kim"))
            credential = encode_set_credential(
                1, new_request_id(), CredentialKind.API_KEY, b"PK1", b"d" * 64
            )
            await gateway.submit(credential)
            await gateway.submit(encode_set_session(new_request_id(), 1, Session.HALTED))
            await until(lambda: len(heard) >= 4)
            expected = [EventKind.ACCOUNT, EventKind.CREDENTIAL, *[EventKind.INSTRUMENT] * 2]
            assert heard == expected

    run(scenario)


def test_the_directory_comes_in_pages(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with venue(tmp_path) as (bus, gateway):
            accounts = [
                gateway.submit(encode_create_account(new_request_id(), b"account %d" % number))
                for number in range(25)
            ]
            await asyncio.gather(*accounts)
            after, seen = 0, 0
            while True:
                question = QUESTION.pack(after, 0, 0, 10)
                page = await bus.request("venue.directory", question, LIMIT_MS)
                found = [kind for kind, _, _ in split_records(page)].count(EventKind.ACCOUNT)
                if not found:
                    break
                assert found <= 10
                seen += found
                after += found
            assert seen == 25

    run(scenario)


def test_keys_are_expired_before_they_refuse_orders(tmp_path: Path) -> None:
    async def scenario() -> None:
        options = {**OPTIONS, "keys_max": 100}
        async with venue(tmp_path, options) as (_, gateway):
            await fund(gateway)
            for number in range(300):
                result = await gateway.submit(order(number, 1 + number % 2, Side(1 + number % 2)))
                assert result.reason == Reason.OK, number

    run(scenario)


def test_another_venue_on_the_same_state_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(role, "LEASE_WAIT_S", 0.1)
        held = FileLease(tmp_path / "state" / "leases").acquire("venue")
        with pytest.raises(Exception, match="venue"):
            async with venue(tmp_path):
                pass
        held.release()

    (tmp_path / "state" / "leases").mkdir(parents=True)
    run(scenario)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"instruments": [{"symbol": "AAPL", "tick": "0.00001"}]}, "tick"),
        ({"instruments": [{"symbol": "AAPL", "lot": "zero"}]}, "lot"),
        ({"instruments": [{"symbol": ""}]}, "symbol"),
        ({"instruments": [{"symbol": "A"}, {"symbol": "A"}]}, "instruments"),
        ({"fees": {"maker_ppm": -1}}, "maker_ppm"),
        ({"timezone": "Nowhere"}, "timezone"),
        ({"collar_percent": "0"}, "collar_percent"),
        ({"hours": [{"days": ["someday"], "open": "09:00:00", "close": "10:00:00"}]}, "days"),
        ({"hours": [{"days": ["mon"], "open": "10:00:00", "close": "09:00:00"}]}, "hours"),
        ({"retain": -1}, "retain"),
        ({"engine": "abacus"}, "engine"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(
    table: dict[str, object], key: str
) -> None:
    with pytest.raises(SettingsError, match=key):
        decode_section(VenueSettings, table, "madang.toml", "venue")
