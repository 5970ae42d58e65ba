"""The data stream's sessions: what a slow client is told, and how many an account may have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from madang.bus import Request as Question
from madang.bus import memory_bus_hub
from madang.core.clock import SystemClock
from madang.core.closecodes import CloseCode
from madang.edge import Principal, Request, Role
from madang.edge.request import Headers
from madang.exchange.api.authenticator import ExchangeAuthenticator
from madang.exchange.api.ledger_client import LedgerClient
from madang.exchange.directory import DirectoryReplica
from madang.exchange.stream import market_messages as say
from madang.exchange.stream.event_topics import StatusesTopic
from madang.exchange.stream.market_stream import MarketSession, MarketStream
from madang.exchange.stream.market_topics import MarketTopics
from madang.exchange.stream.settings import StreamSettings
from madang.exchange.stream.topic import Sources
from madang.hub import Connection, Hub, HubSettings
from madang.wire.codes import PRICE_SCALE, QUANTITY_SCALE

OUTBOX_BYTES = 20_000
LIMIT_S = 5.0
ANN = Principal(1, Role.TRADER, "key", by_cookie=False)


class Wire:
    """A transport that remembers what is written."""

    def __init__(self) -> None:
        self.writable = True
        self.written = b""
        self.closed: tuple[int, str] | None = None

    def write(self, data: bytes) -> None:
        self.written += data

    def begin_close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


class Desk:
    """A worker's data stream over a bus in memory, with few connections allowed."""

    def __init__(self) -> None:
        self.buses = memory_bus_hub()
        bus = self.buses.open("worker-0")
        self.hub = Hub(HubSettings(outbox_bytes_max=OUTBOX_BYTES))
        clock, replica = SystemClock(), DirectoryReplica(bus)
        sources = Sources(bus, self.hub, LedgerClient(bus, clock), replica, clock)
        self.topics = MarketTopics(sources)
        authenticator = ExchangeAuthenticator(replica, b"secret", clock)
        limits = StreamSettings(data_connections_per_account_max=2)
        self.stream = MarketStream(authenticator, self.topics, limits)

    def open(self) -> tuple[Wire, Connection, MarketSession]:
        wire = Wire()
        connection = self.hub.connect("127.0.0.1", wire)
        request = Request("GET", "/v2/iex", b"", Headers({}))
        return wire, connection, self.stream.open(request, connection)


def at_the_desk(work: Callable[[Desk], None]) -> None:
    async def main() -> None:
        desk = Desk()
        work(desk)
        await asyncio.sleep(0.01)
        desk.topics.close()

    asyncio.run(main())


def test_a_slow_client_is_told_so_and_closed_and_others_go_on() -> None:
    def work(desk: Desk) -> None:
        slow, slow_connection, slow_session = desk.open()
        quick, quick_connection, quick_session = desk.open()
        for session in (slow_session, quick_session):
            session.admit(ANN)
            session.on_message(b'{"action":"subscribe","statuses":["*"]}', binary=False)
        for connection in (slow_connection, quick_connection):
            connection.flush()
        slow.writable, slow.written = False, b""
        channel = desk.hub.find("data.statuses.*")
        assert channel is not None
        topic = desk.topics.find("statuses", "*")
        assert isinstance(topic, StatusesTopic)
        for number in range(OUTBOX_BYTES // 1_000 + 2):
            topic.tell(number, {"T": "s", "pad": "x" * 1_000})
            quick_connection.flush()
        assert slow.closed
        assert slow.closed[0] == CloseCode.SLOW_CONSUMER
        told = msgspec.json.decode(slow.written[2:])
        assert told == [{"T": "error", "code": 407, "msg": "slow client"}]
        assert quick.closed is None
        assert channel.subscribers == 1

    at_the_desk(work)


def test_an_account_has_a_limited_number_of_connections() -> None:
    def work(desk: Desk) -> None:
        opened = [desk.open() for _ in range(3)]
        for _, _, session in opened:
            session.admit(ANN)
        wire, connection, _ = opened[2]
        assert b'"code":406' in wire.written
        assert wire.closed
        assert wire.closed[0] == CloseCode.TOO_MANY_CONNECTIONS
        assert connection.closed
        opened[0][2].on_close(1000, "")
        desk.open()[2].admit(ANN)
        assert sum(wire.closed is None for wire, _, _ in opened) == 2

    at_the_desk(work)


def test_a_wildcard_covers_single_symbols_once() -> None:
    def work(desk: Desk) -> None:
        _, connection, session = desk.open()
        session.admit(ANN)
        for lists in (b'"quotes":["*","KIM"]', b'"quotes":["LEE"]'):
            session.on_message(b'{"action":"subscribe",' + lists + b"}", binary=False)
        assert desk.topics.count == 1
        session.on_message(b'{"action":"unsubscribe","quotes":["*"]}', binary=False)
        assert desk.topics.count == 0, "the rest are not known here"
        assert not connection.closed

    at_the_desk(work)


def test_amounts_are_exact_in_json_and_numbers_in_msgpack() -> None:
    message = {"p": say.Price(1_234_567), "s": say.Size(10**18 + 1), "t": say.Moment(5)}
    text, binary = say.encode([message], say.JSON)
    assert text == b'[{"p":123.4567,"s":1000000000.000000001,"t":"1970-01-01T00:00:00.000000005Z"}]'
    assert binary is False
    packed, binary = say.encode([message], say.MSGPACK)
    (found,) = msgspec.msgpack.decode(packed)
    assert (found["p"], found["s"], binary) == (123.4567, float(10**9), True)
    assert found["t"].timestamp() == 0


def test_leaving_a_list_and_resuming_it_at_once_loses_nothing() -> None:
    trade = [8, 50 * PRICE_SCALE, QUANTITY_SCALE, 1, 1]
    latest = {1: [[7, *trade[1:]], None, None, None, None]}
    known = msgspec.msgpack.encode({"latest": latest, "trades": [], "complete": True})

    def answer(requests: list[Question]) -> None:
        for request in requests:
            request.respond(known)

    async def main() -> None:
        desk = Desk()
        market = desk.buses.open("market")
        for subject in ("feed.query", "ledger.query"):
            market.serve(subject, answer)
        wire, connection, session = desk.open()
        session.admit(ANN)
        for action in ("subscribe", "unsubscribe", "subscribe"):
            ask = {"action": action, "trades": ["*"], "since": {"trades": 7}}
            session.on_message(msgspec.json.encode(ask), binary=False)

        async def until(said: bytes) -> None:
            async with asyncio.timeout(LIMIT_S):
                while said not in wire.written:
                    connection.flush()
                    await asyncio.sleep(0.001)

        await until(b'"recovered":true')
        told = {"symbol": "KIM", "trades": [trade]}
        market.publish("market.trades.KIM", msgspec.msgpack.encode(told))
        await until(b'"T":"t","S":"KIM","i":8,')
        assert desk.topics.count == 1
        connection.close(CloseCode.NORMAL)
        desk.topics.close()

    asyncio.run(main())
