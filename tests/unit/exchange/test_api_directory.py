"""The directory of a worker: what records do to it, and how it stays equal to the venue's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from madang.bus import Bus, MemoryHub, Request, memory_bus_hub
from madang.core.ids import new_request_id
from madang.exchange import engine as engines
from madang.exchange import settling as settling_module
from madang.exchange.directory import COPY, Directory, DirectoryReplica
from madang.exchange.engine.port import Engine
from madang.exchange.settling import settle_everywhere
from madang.exchange.subjects import COMMITTED
from madang.exchange.venue.answers import split_events
from madang.exchange.venue.directory import directory_page
from madang.wire.batch import encode_batch
from madang.wire.codes import AccountState, CredentialKind
from madang.wire.commands import (
    InstrumentTerms,
    encode_create_account,
    encode_set_account,
    encode_set_credential,
    encode_set_instrument,
)

LIMIT_S = 5.0
HELD_S = 0.05


def apply(engine: Engine, command: bytes) -> bytes:
    """Apply one command and return the directory's records that changed."""
    batch = encode_batch(
        command,
        1,
        term=1,
        sequence=engine.sequence + 1,
        now_ns=engine.now_ns + 1,
        rules_version=1,
    )
    return b"".join(split_events(engine.apply(batch), lambda _: False).directory)


def account(name: str) -> bytes:
    return encode_create_account(new_request_id(), name.encode())


def key(number: int, name: str, value: str) -> bytes:
    kind = CredentialKind.API_KEY
    return encode_set_credential(number, new_request_id(), kind, name.encode(), value.encode())


class Venue:
    """The venue's part: a real engine behind `venue.directory`, changes published as it does."""

    def __init__(self, hub: MemoryHub, engine: Engine) -> None:
        self.bus: Bus = hub.open("venue")
        self.engine = engine
        self.bus.serve("venue.directory", self._answer)

    def _answer(self, requests: list[Request]) -> None:
        for request in requests:
            page = directory_page(self.engine, request.payload)
            assert page is not None
            request.respond(page)

    def do(self, command: bytes) -> None:
        """Apply one command and publish what changed."""
        changed = apply(self.engine, command)
        if changed:
            self.bus.publish("venue.directory.changed", changed)


def engine_of(*names: str) -> Engine:
    """Return an engine with accounts that have one key each."""
    engine = engines.create("python")
    for number, name in enumerate(names, start=1):
        apply(engine, account(name))
        apply(engine, key(number, f"key-{name}", "digest"))
    return engine


def run(work: Callable[[MemoryHub], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(LIMIT_S * 2):
            await work(memory_bus_hub())

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.001)


def test_credentials_replace_and_remove_each_other() -> None:
    engine = engine_of("ann")
    directory = Directory()
    directory.apply(engine.accounts(0, 10) + engine.credentials(0, 10))
    found = directory.api_key("key-ann")
    assert found is not None
    assert (found.account, found.value) == (1, "digest")
    assert directory.accounts[1].active
    directory.apply(apply(engine, key(1, "key-ann", "another")))
    found = directory.api_key("key-ann")
    assert found is not None
    assert found.value == "another"
    directory.apply(apply(engine, key(1, "key-ann", "")))
    assert directory.api_key("key-ann") is None


def test_a_load_takes_every_page_of_a_large_venue() -> None:
    names = [f"account-{number}" for number in range(1, 701)]

    async def work(hub: MemoryHub) -> None:
        Venue(hub, engine_of(*names))
        replica = DirectoryReplica(hub.open("worker"))
        await replica.start()
        assert {account.name for account in replica.directory.accounts.values()} >= set(names)
        assert all(replica.directory.api_key(f"key-{name}") for name in names)
        await replica.close()

    run(work)


def test_changes_arrive_and_listeners_hear_of_them() -> None:
    async def work(hub: MemoryHub) -> None:
        venue = Venue(hub, engine_of())
        replica = DirectoryReplica(hub.open("worker"))
        heard: list[int] = []
        replica.on_change(lambda: heard.append(1))
        await replica.start()
        venue.do(encode_set_instrument(new_request_id(), InstrumentTerms(b"AAPL", name=b"Apple")))
        venue.do(account("ann"))
        venue.do(key(1, "K", "digest"))
        await until(lambda: replica.directory.api_key("K") is not None)
        instrument = replica.directory.instrument("AAPL")
        assert instrument is not None
        assert replica.directory.instrument(instrument.asset_id) is instrument
        venue.do(key(1, "K", ""))
        await until(lambda: replica.directory.api_key("K") is None)
        venue.do(encode_set_account(1, new_request_id(), AccountState.DISABLED))
        await until(lambda: not replica.directory.accounts[1].active)
        assert len(heard) >= 3
        await replica.close()

    run(work)


def test_after_the_venue_comes_back_everything_is_loaded_anew() -> None:
    """A key that was revoked while nobody heard it does not hold afterwards."""

    async def work(hub: MemoryHub) -> None:
        engine = engine_of("ann")
        venue = Venue(hub, engine)
        replica = DirectoryReplica(hub.open("worker"))
        await replica.start()
        assert replica.directory.api_key("key-ann") is not None
        await venue.bus.close()
        assert replica.directory.api_key("key-ann") is not None, "serves while the venue is away"
        apply(engine, key(1, "key-ann", ""))
        Venue(hub, engine)
        await until(lambda: replica.directory.api_key("key-ann") is None)
        assert replica.loads == 2
        await replica.close()

    run(work)


def answer_all(requests: list[Request]) -> None:
    for request in requests:
        request.respond(b"")


def test_a_change_is_confirmed_once_every_replica_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The venue holds its answer to one of two replicas back, as it does while a change is new."""

    async def work(hub: MemoryHub) -> None:
        venue = Venue(hub, engine_of())
        asked: dict[str, Request] = {}
        barrier = venue.bus.serve(COMMITTED, lambda all_: asked.update({r.peer: r for r in all_}))
        replicas = [DirectoryReplica(hub.open(name)) for name in ("worker-0", "worker-1")]
        for replica in replicas:
            await replica.start()
        operator = hub.open("command")
        await until(lambda: {"worker-0", "worker-1"} <= operator.peers())
        settling = asyncio.create_task(settle_everywhere(operator, COPY))
        await until(lambda: len(asked) == 2)
        asked["worker-0"].respond(b"")
        await asyncio.wait([settling], timeout=HELD_S)
        assert not settling.done()
        venue.do(account("ann"))
        asked["worker-1"].respond(b"")
        await settling
        assert all(1 in replica.directory.accounts for replica in replicas)
        barrier.close()
        settling = asyncio.create_task(settle_everywhere(operator, COPY))
        await asyncio.wait([settling], timeout=HELD_S)
        assert not settling.done(), "a venue that is away for a moment is waited for"
        barrier = venue.bus.serve(COMMITTED, answer_all)
        await settling
        barrier.close()
        monkeypatch.setattr(settling_module, "SETTLE_TIMEOUT_MS", 100)
        await settle_everywhere(operator, COPY)  # and for longer holds nobody up
        for replica in replicas:
            await replica.close()

    run(work)
