"""Slow and hostile stream clients against the real product: told, closed, bounded; others go on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from tests.support.data_stream import Book
from tests.support.raw_stream import (
    BINARY,
    PING,
    RawClient,
    abort_all,
    dial,
    frame,
    resident_bytes,
    until,
)
from tests.support.venue_fixture import Venue, running_venue

LIMIT_S = 50.0
BURST = 5_000
BURST_S = 5.0
GAP_S_MAX = 2.5
"""Five times what a client that behaves should ever wait between two deals a tenth apart."""
GROWTH_BYTES_MAX = 160 * 1024 * 1024
LEFT_BYTES_MAX = 96 * 1024 * 1024
OUTBOX_BYTES = 262_144
RAISED = 1_500
"""How often the best bid is raised, each time a new quote."""
AT_ONCE = 100
"""Orders under way on a trading stream, so that their answers fit into its outbox."""
EDGE = (
    "connections_per_address_max = 20_000\nwebsocket_send_buffer_bytes = 16_384\n"
    f"[hub]\noutbox_bytes_max = {OUTBOX_BYTES}\n"
    "[stream]\ndata_connections_per_account_max = 6_000\ntrading_messages_per_s_max = 15_000\n"
)
MSGPACK = {"Content-Type": "application/msgpack"}


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    folder = tmp_path_factory.mktemp("venue")
    with running_venue(folder, "ann", "bob", "greedy", workers=1, edge=EDGE) as running:
        yield running


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        try:
            await asyncio.wait_for(main(), LIMIT_S)
        finally:
            abort_all()
            await asyncio.sleep(0.01)

    uvloop.run(limited())


class Desk:
    """Two traders who deal over one trading stream each, and a client that behaves."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.dealt = 0
        self.heard_s: list[float] = []
        self.traders: dict[str, RawClient] = {}
        self.listener: RawClient

    async def open(self) -> None:
        for name in ("ann", "bob"):
            client = self.traders[name] = await dial(self.venue.port, "/stream")
            person = self.venue.people[name]
            keys = {"key_id": person.key_id, "secret_key": person.secret}
            client.say(action="authenticate", data=keys)
            await answered(client, 1)
        self.listener = await stream(self.venue, trades=["AAPL"])

    async def deal(self, count: int = 1, price: str = "100") -> None:
        """Let `count` shares change hands, one by one, and wait for the answers."""
        for name, side in (("ann", "sell"), ("bob", "buy")):
            client = self.traders[name]
            before = len(client.frames)
            order = {
                "op": "place", "symbol": "AAPL", "side": side, "type": "limit", "qty": "0.1",
                "time_in_force": "day", "limit_price": price,
            }  # fmt: skip
            for number in range(count):
                client.say(action="order", data={**order, "id": str(number)})
                if number % AT_ONCE == AT_ONCE - 1:
                    await answered(client, before + number - AT_ONCE // 2)
            await answered(client, before + count)
            assert all(b'"status":200' in payload for _, payload in client.frames[1:])
            del client.frames[1:]
        self.dealt += count

    async def deal_for_ever(self) -> None:
        """Deal ten times a second and note when the listener hears of it."""
        while True:
            await self.deal()
            await until(lambda: len(self.trades()) == self.dealt, "the trade")
            self.heard_s.append(time.monotonic())
            await asyncio.sleep(0.1)

    def trades(self) -> list[dict[str, Any]]:
        return [message for message in self.listener.messages() if message["T"] == "t"]

    @property
    def longest_gap_s(self) -> float:
        return max(b - a for a, b in zip(self.heard_s, self.heard_s[1:], strict=False))


@asynccontextmanager
async def dealing(venue: Venue) -> AsyncIterator[Desk]:
    """Deals go on meanwhile, and the client that behaves hears of each without a long gap."""
    desk = Desk(venue)
    await desk.open()
    task = asyncio.create_task(desk.deal_for_ever())
    yield desk
    heard = len(desk.heard_s)
    await until(lambda: len(desk.heard_s) > heard + 2 or task.done(), "more deals")
    if task.done():
        task.result()
    task.cancel()
    ids = [trade["i"] for trade in desk.trades()]
    assert ids == list(range(ids[0], ids[0] + len(ids))), "complete and in order"
    assert desk.longest_gap_s < GAP_S_MAX


async def answered(client: RawClient, count: int) -> None:
    """Wait until so many frames came."""
    await until(lambda: len(client.frames) >= count or client.ended, f"{count} frames")
    assert not client.ended, client.frames[-1]


async def stream(venue: Venue, **lists: list[str]) -> RawClient:
    """Return a signed-in client of the data stream with these subscriptions."""
    return await subscribed(await dial(venue.port, "/v2/iex", venue.people["ann"].headers), lists)


async def slow_stream(venue: Venue, **lists: list[str]) -> RawClient:
    """Return one whose kernel takes little and that stops reading."""
    headers = venue.people["ann"].headers
    client = await dial(venue.port, "/v2/iex", headers, receive_bytes=4_096)
    await subscribed(client, lists)
    client.transport.pause_reading()
    return client


async def subscribed(client: RawClient, lists: dict[str, list[str]]) -> RawClient:
    client.say(action="subscribe", **lists)
    await until(lambda: len(client.messages()) >= 3, "the subscription")
    return client


async def forgotten(venue: Venue, kept: int = 0) -> None:
    """Wait until the worker knows of no more than `kept` WebSockets."""

    def counted() -> bool:
        return venue.metric("madang_websockets") <= kept

    until_s = time.monotonic() + 30
    while not await asyncio.to_thread(counted):
        assert time.monotonic() < until_s, "connections are not forgotten"
        await asyncio.sleep(0.1)


def test_who_never_reads_trades_is_told_407_and_closed_and_others_miss_nothing(
    venue: Venue,
) -> None:
    async def main() -> None:
        (pid,) = venue.pids("worker")
        desk = Desk(venue)
        await desk.open()
        slow = await slow_stream(venue, trades=["AAPL"])
        before = resident_bytes(pid)
        while not await was_cut(venue, slow):
            await desk.deal(1_000)
            assert desk.dealt < 60_000, "a client that never reads is still served"
        assert resident_bytes(pid) - before < GROWTH_BYTES_MAX
        slow.transport.resume_reading()
        await until(lambda: slow.close_code is not None, "the close frame")
        assert slow.messages()[-1] == {"T": "error", "code": 407, "msg": "slow client"}
        assert slow.close_code == 4000
        ids = [message["i"] for message in slow.messages() if message["T"] == "t"]
        assert ids == list(range(ids[0], ids[0] + len(ids))), "whole until it was closed"
        assert len(ids) < desk.dealt
        await until(lambda: len(desk.trades()) == desk.dealt, "every trade")

    run(main)


async def was_cut(venue: Venue, client: RawClient) -> bool:
    count = await asyncio.to_thread(venue.metric, "madang_hub_slow_consumers_total")
    assert not client.ended
    return count > 0


def test_who_never_reads_books_and_quotes_stays_and_finds_the_newest(venue: Venue) -> None:
    async def main() -> None:
        desk = Desk(venue)
        await desk.open()
        lists = {"orderbooks": ["AAPL"], "quotes": ["*"], "dailyBars": ["*"]}
        slow = await slow_stream(venue, **lists)
        quick = await stream(venue, **lists)
        bob = desk.traders["bob"]
        for number in range(RAISED):
            order = {
                "op": "place", "symbol": "AAPL", "side": "buy", "type": "limit", "qty": "0.1",
                "time_in_force": "day", "limit_price": f"{80 + number / 100:.2f}",
            }  # fmt: skip
            bob.say(action="order", data={**order, "id": "1"})
            await answered(bob, 2 + number)
        del bob.frames[1:]
        await desk.deal(1, "97")
        slow.transport.resume_reading()
        last = await asyncio.to_thread(venue.call, "ann", "GET", "/v2/stocks/AAPL/quotes/latest")
        wanted = last.json()["quote"]
        for client in (slow, quick):
            await until(
                lambda client=client: quote(client) == (wanted["bp"], wanted["ap"]),  # type: ignore[misc]
                "the newest quote",
            )
            assert client.close_code is None
        await until(lambda: book(slow) == book(quick), "the same book")
        assert len(slow.frames) < len(quick.frames), "what was over is left out"
        assert len(quick.frames) > RAISED / 2, "who reads gets each"
        await asyncio.to_thread(venue.call, "bob", "DELETE", "/v2/orders")

    run(main)


def quote(client: RawClient) -> tuple[float, float]:
    last = [m for m in client.messages() if m["T"] == "q" and m["S"] == "AAPL"][-1]
    return last["bp"], last["ap"]


def book(client: RawClient) -> tuple[dict[int, int], dict[int, int]]:
    """Return the book that a client has; each message must lead on from the one before."""
    found = Book()
    for message in client.messages():
        if message["T"] == "o":
            found.take(message)
    return found.bids, found.asks


def test_five_thousand_come_within_seconds_and_the_market_goes_on(venue: Venue) -> None:
    """A third signs in and listens, a third vanishes half-way, a third never says who it is."""

    async def main() -> None:
        (pid,) = venue.pids("worker")
        before = resident_bytes(pid)
        async with dealing(venue):
            begin_s = time.monotonic()
            clients: list[list[RawClient]] = [[], [], []]
            for at in range(0, BURST, 100):
                await asyncio.sleep(max(0, begin_s + at * BURST_S / BURST - time.monotonic()))
                dialled = [come(venue, number % 3) for number in range(at, at + 100)]
                for number, client in enumerate(await asyncio.gather(*dialled)):
                    clients[(at + number) % 3].append(client)
            print(f"{BURST} came in {time.monotonic() - begin_s:.1f} s")
            honest, vanished, silent = clients
            await until(lambda: all(len(c.messages()) >= 3 for c in honest), "subscriptions")
            assert resident_bytes(pid) - before < GROWTH_BYTES_MAX
            assert all(client.ended for client in vanished)
            await until(lambda: all(c.close_code == 4500 for c in silent), "auth timeout")
            assert all(c.messages()[-1]["code"] == 404 for c in silent)
            assert not any(client.ended for client in honest)
            for client in honest:
                client.vanish()
            await forgotten(venue, kept=3)
        assert resident_bytes(pid) - before < LEFT_BYTES_MAX

    run(main)


async def come(venue: Venue, kind: int) -> RawClient:
    if kind == 0:
        client = await dial(venue.port, "/v2/iex", venue.people["ann"].headers)
        client.say(action="subscribe", trades=["AAPL"])
        return client
    client = await dial(venue.port, "/v2/iex")
    if kind == 1:
        client.vanish()
    return client


def test_subscriptions_to_everything_are_limited_and_served(venue: Venue) -> None:
    async def main() -> None:
        async with dealing(venue):
            names = [f"S{number}" for number in range(1_000)]
            lists = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses")
            everything = {name: ["*"] for name in lists}
            clients = [
                await stream(venue, **everything, orderbooks=["AAPL", "MSFT"]) for _ in range(50)
            ]
            for client in clients:
                client.say(action="subscribe", lulds=names)
            await until(lambda: all(code(client) == 405 for client in clients), "405")
            for client in clients:
                for _ in range(20):
                    client.say(action="unsubscribe", **everything)
                    client.say(action="subscribe", **everything)
            await until(lambda: all(confirmed(c) == 41 for c in clients), "every answer")
            for client in clients:
                client.transport.abort()

    run(main)


def confirmed(client: RawClient) -> int:
    return sum(message["T"] == "subscription" for message in client.messages())


def code(client: RawClient) -> int | None:
    """Return the code of the newest error."""
    errors = [m["code"] for m in client.messages() if m["T"] == "error"]
    return errors[-1] if errors else None


AUTH = json.dumps({"action": "auth", "key": "nobody", "secret": "wrong"}).encode()
DEEP = b"[" * 20_000
PIECES = b"".join([frame(b"[", final=False), *[frame(b" ", 0, final=False)] * 2_000])
SUBSCRIBE = b'{"action":"subscribe","trades":["*"]}'
STAYS = None


@pytest.mark.parametrize(
    ("sent", "error", "closed"),
    [
        (frame(b"garbage"), 400, STAYS),
        (frame(b"\x00\xff\xfe", BINARY), 400, STAYS),
        (frame(DEEP), 400, STAYS),
        (frame(b"7"), 400, STAYS),
        (frame(b'{"action":7}'), 400, STAYS),
        (frame(b"{}" * 10_000), 400, STAYS),
        (frame(b'{"action":"subscribe","trades":{"a":1}}'), 401, STAYS),
        (frame(SUBSCRIBE), 401, STAYS),
        (frame(AUTH), 402, STAYS),
        (frame(b"") + frame(b"x"), 400, STAYS),
        (frame(b"\xc3\x28"), None, 1007),
        (frame(b"\xc3", final=False) + frame(b"\x28", 0), None, 1007),
        (PIECES, None, 1008),
        (frame(b"x" * 65_537), None, 1009),
        (b"\x81\xff" + (2**40).to_bytes(8, "big") + bytes(4), None, 1009),
        (b"\x81\xff" + (2**63).to_bytes(8, "big") + bytes(4), None, 1002),
        (b"\x81\x02hi", None, 1002),
        (b"\xf1\x80\0\0\0\0", None, 1002),
        (b"\x83\x80\0\0\0\0", None, 1002),
        (b"\x89\xfe\x00\x7e\0\0\0\0", None, 1002),
        (frame(b"", 0), None, 1002),
        (frame(b"garbage") * 100, 400, 1008),
        (frame(AUTH) * 2, None, 1008),
        (frame(b"", PING) * 600, None, 4502),
        (frame(b"garbage") * 600, 400, 1008),
    ],
)
def test_garbage_gets_its_code(
    venue: Venue, sent: bytes, error: int | None, closed: int | None
) -> None:
    async def main() -> None:
        client = await dial(venue.port, "/v2/iex")
        client.send(sent)
        if error is not None:
            await until(lambda: code(client) == error, f"error {error}")
        if closed is not None:
            await until(lambda: client.close_code == closed, f"close {closed}")
            await until(lambda: client.ended, "the end")
        else:
            person = venue.people["ann"]
            client.say(action="auth", key=person.key_id, secret=person.secret)
            await until(lambda: client.messages()[-1].get("msg") == "authenticated", "still served")
            client.transport.abort()

    run(main)


@pytest.mark.parametrize(
    "sent", [b"\xc1", b"\xdf\xff\xff\xff\xff", b"\x81\xa6action", b"\x91" * 5_000, b"\x81\xc0\xc0"]
)
def test_bad_msgpack_is_invalid_syntax(venue: Venue, sent: bytes) -> None:
    async def main() -> None:
        client = await dial(venue.port, "/v2/iex", MSGPACK)
        client.send(frame(sent, BINARY))
        wanted = b"\x83\xa1T\xa5error\xa4code\xcd\x01\x90"  # 400
        await until(lambda: any(wanted in payload for _, payload in client.frames), "400")
        assert client.close_code is None
        client.transport.abort()

    run(main)


def test_three_wrong_secrets_close_and_each_is_answered_late(venue: Venue) -> None:
    async def main() -> None:
        client = await dial(venue.port, "/v2/iex")
        begin_s = time.monotonic()
        for number in range(1, 4):
            client.send(frame(AUTH))
            await until(
                lambda number=number: (
                    [m.get("code") for m in client.messages()[1:]]  # type: ignore[misc]
                    == [402] * number
                ),
                "402",
            )
        assert time.monotonic() - begin_s > 1.4, "guessing is slowed down"
        await until(lambda: client.close_code == 4500, "the end")

    run(main)


def test_one_connection_too_many_of_an_account_is_told_406(venue: Venue) -> None:
    async def main() -> None:
        headers = venue.people["greedy"].headers
        clients = [await dial(venue.port, "/v2/iex", headers) for _ in range(6_001)]
        await until(lambda: all(len(client.frames) >= 2 for client in clients), "answers")
        refused = [client for client in clients if client.close_code is not None]
        assert len(refused) == 1
        assert refused[0].messages()[-1] == {
            "T": "error", "code": 406, "msg": "connection limit exceeded",
        }  # fmt: skip
        assert refused[0].close_code == 4503
        for client in clients:
            client.vanish()
        await forgotten(venue)

    run(main)


def test_the_trading_stream_takes_more_than_others_and_names_its_limit(venue: Venue) -> None:
    async def main() -> None:
        desk = Desk(venue)
        await desk.open()
        await desk.deal(900)  # in far less than a second, and more than other streams take
        bob = desk.traders["bob"]
        bob.send(frame(b"", PING) * 15_100)
        await until(lambda: bob.close_code is not None, "the end")
        ((_, payload),) = [f for f in bob.frames if f[0] == 8]
        assert (bob.close_code, payload[2:]) == (4502, b"more than 15000 messages a second")

    run(main)
