"""The ledger's process: a follower, a writer on a timer, and the server of `ledger.query`.

Read your writes: questions wait together; one of them asks the venue for its committed sequence,
and all are answered once the replica has reached it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from madang.bus import Bus, BusError, BusSettings, Request, open_unix_bus
from madang.cluster.process import Process
from madang.core import log
from madang.core.errors import MadangError
from madang.edge.gathering import Teller
from madang.exchange import bootstrap
from madang.exchange import engine as engines
from madang.exchange.feed.days import Days
from madang.exchange.gateway import OrderGateway
from madang.exchange.ledger.activities import ActivityFilter
from madang.exchange.ledger.equity import CurveQuery, equity_of, prices_of
from madang.exchange.ledger.history import History, OrderFilter
from madang.exchange.ledger.ledger import (
    WRITE_RETRY_S,
    HistoryForkedError,
    Ledger,
    bodies,
)
from madang.exchange.ledger.market_changes import MarketTracker
from madang.exchange.ledger.market_queries import MarketQueries, prune_for_ever
from madang.exchange.ledger.opening import open_history, set_aside
from madang.exchange.ledger.settings import LedgerOptions
from madang.exchange.ledger.store_server import open_store
from madang.exchange.ledger.today import DayBook, Sessions, closes_of, references_of
from madang.exchange.operator import Operator, read_directory
from madang.exchange.subjects import COMMITTED
from madang.exchange.venue.follower import Follower, FollowerError
from madang.exchange.venue.server import NOTICE
from madang.exchange.venue.settings import open_hours
from madang.wire.events import (
    ACCOUNT_BODY,
    RECORD_HEADER_BYTES,
    split_records,
)
from madang.wire.records import parse_account, parse_position

ANSWER_TIMEOUT_MS = 5_000
WAITING_MAX = 10_000
ORDERS_MAX = 500

Query = dict[str, Any]


class QueryServer:
    """Answers `ledger.query` as of what the venue has committed when the question came."""

    def __init__(self, ledger: Ledger, follower: Follower) -> None:
        self._ledger = ledger
        self._follower = follower
        self._waiting: list[Request] = []
        self._task: asyncio.Task[None] | None = None
        self._kinds: dict[str, Callable[[Query], Awaitable[Query]]] = {
            "order": self._order,
            "order_by_client_id": self._order_by_client_id,
            "orders": self._orders,
            "activities": self._activities,
            "curve": self._curve,
            "account": self._account,
            "events": self._events,
        }

    def add(self, kinds: Mapping[str, Callable[[Query], Awaitable[Query]]]) -> None:
        """Answer further kinds of questions."""
        self._kinds.update(kinds)

    def on_requests(self, requests: list[Request]) -> None:
        """Queue questions; those over the limit are refused."""
        room = WAITING_MAX - len(self._waiting)
        self._waiting.extend(requests[:room])
        for request in requests[room:]:
            request.refuse("ledger overloaded")
        if self._task is None:
            self._start()

    def _start(self) -> None:
        self._task = asyncio.create_task(self._answer_all())
        self._task.add_done_callback(self._on_answered)

    def _on_answered(self, _task: asyncio.Task[None]) -> None:
        self._task = None
        if self._waiting:  # came after the last look of the one that has just ended
            self._start()

    async def _answer_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                committed = await self._follower.committed(ANSWER_TIMEOUT_MS)
                await self._follower.wait_for(committed, ANSWER_TIMEOUT_MS)
            except (MadangError, TimeoutError) as error:
                for request in batch:
                    request.refuse(f"the venue does not answer: {error}")
                continue
            for request in batch:
                await self._answer(request)

    async def _answer(self, request: Request) -> None:
        try:
            query = msgspec.msgpack.decode(request.payload, type=Query)
            _check_numbers(query)
            kind = self._kinds.get(str(query.get("kind")))
            answer = await kind(query) if kind else {"error": "unknown kind of query"}
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            answer = {"error": f"malformed query: {error}"}
        except SQLAlchemyError:
            log.get("ledger").exception("query failed")
            answer = {"error": "history is not readable"}
        except Exception:  # noqa: BLE001 - one question must not end the answers to all
            log.get("ledger").exception("question failed")
            answer = {"error": "the question could not be answered"}
        with contextlib.suppress(BusError):
            request.respond(msgspec.msgpack.encode(answer))

    async def _order(self, query: Query) -> Query:
        order = await self._ledger.order(self._follower.engine, query["account"], query["order_id"])
        return {"order": bodies([order])[0] if order else None}

    async def _order_by_client_id(self, query: Query) -> Query:
        order = await self._ledger.order_by_client_id(
            self._follower.engine, query["account"], query["client_order_id"]
        )
        return {"order": bodies([order])[0] if order else None}

    async def _orders(self, query: Query) -> Query:
        wanted = OrderFilter(query["account"], query)
        wanted.limit = max(1, min(wanted.limit or ORDERS_MAX, ORDERS_MAX))
        found = await self._ledger.orders(
            self._follower.engine, wanted, str(query.get("status", "open"))
        )
        return {"orders": bodies(found)}

    async def _activities(self, query: Query) -> Query:
        wanted = msgspec.convert({"account": query["account"], **query["wanted"]}, ActivityFilter)
        return {"activities": await self._ledger.activities(wanted)}

    async def _curve(self, query: Query) -> Query:
        engine = self._follower.engine
        record = engine.account(query["account"])
        if record is None:
            return {"error": "unknown account"}
        account = parse_account(record, RECORD_HEADER_BYTES)
        worth, now_ns = equity_of(engine, account, prices_of(engine)), engine.now_ns
        names = ("account", "from_ns", "until_ns", "width_ns")
        curve = await self._ledger.curve(CurveQuery(*(query[name] for name in names)))
        return {**curve._asdict(), "equity": worth, "now_ns": now_ns}

    async def _account(self, query: Query) -> Query:
        engine = self._follower.engine
        number = query["account"]
        if engine.account(number) is None:
            return {"account": None}
        day = await self._ledger.day(engine, number)
        record, positions = engine.account(number), engine.positions(number)
        assert record is not None
        held = [
            positions[at + RECORD_HEADER_BYTES : at + length]
            for _, at, length in split_records(positions)
        ]
        references = references_of(engine) if held else {}
        closes = closes_of(self._ledger.market.book, references, engine.now_ns)
        parsed = [parse_position(body, 0) for body in held]
        return {
            "account": _account_body(record),
            "positions": held,
            "prices": prices_of(engine),
            "sequence": engine.sequence,
            "last_equity": day.last_equity,
            "closes": {one.instrument: closes[one.instrument] for one in parsed},
            "day_bases": {one.instrument: day.basis(one, closes[one.instrument]) for one in parsed},
        }

    async def _events(self, query: Query) -> Query:
        complete, records = self._ledger.events_after(
            self._follower.engine, query["account"], query["after"], query["limit"]
        )
        last = self._follower.engine.statistics()["events"]
        return {"complete": complete, "events": records, "last": last}


def _check_numbers(query: Query) -> None:
    """Refuse numbers that no column holds; raises TypeError."""
    for name, value in query.items():
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise TypeError(f"{name} is out of range")


def _account_body(record: bytes) -> bytes:
    name_length = record[RECORD_HEADER_BYTES + 5]
    end = RECORD_HEADER_BYTES + ACCOUNT_BODY.size + name_length
    return record[RECORD_HEADER_BYTES:end]


async def _write_for_ever(ledger: Ledger, follower: Follower) -> None:
    logger = log.get("ledger")
    while True:
        await ledger.write_due()
        try:
            await _whole(ledger.write(follower.engine))
            follower.release(ledger.written)
        except (SQLAlchemyError, OSError) as error:
            logger.exception("write failed, the rows wait", error=str(error))
            await asyncio.sleep(WRITE_RETRY_S)


async def _whole(writing: Coroutine[Any, Any, None]) -> None:
    """Await a write; a cancelled wait ends with it, since half of one would lock the database."""
    task = asyncio.ensure_future(writing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _settle_pending(process: Process, bus: Bus) -> None:
    """Make the accounts that were planned while nothing ran."""
    if bootstrap.is_pending(process.state_dir):
        gateway = OrderGateway(bus)
        listing = await read_directory(bus)
        await bootstrap.carry_out_pending(Operator(gateway), listing, process.state_dir)
        await gateway.close()


async def _committed(bus: Bus) -> int:
    """Wait for a venue and return how far it has committed."""
    while True:
        await bus.wait_for_server(COMMITTED, ANSWER_TIMEOUT_MS)
        with contextlib.suppress(BusError):
            return int(NOTICE.unpack(await bus.request(COMMITTED, b"", ANSWER_TIMEOUT_MS))[1])


async def main(process: Process) -> None:
    """Run the ledger until the cluster stops it."""
    options = msgspec.convert(dict(process.options), LedgerOptions)
    settings = options.ledger
    bus = await open_unix_bus(BusSettings(process.name, process.runtime_dir / "bus"))
    teller = Teller(bus, process)
    store = await open_store(process.state_dir, settings.store_database, bus)
    committed = await _committed(bus)
    sql = await open_history(process.state_dir, settings.database, committed)
    history = History(sql)
    ledger = Ledger(history, process.state_dir, settings.snapshot_every)
    days = Days(options.timezone)
    ledger.market = MarketTracker(days)
    ledger.days = DayBook(Sessions(days, open_hours(options.hours)))
    follower = Follower(
        process.name,
        lambda: engines.create(options.engine),
        process.state_dir,
        bus,
        ledger.on_events,
    )
    ledger.flow = follower
    ledger.market.depth = lambda instrument: follower.engine.depth(instrument, 1)
    ledger.replica = lambda: follower.engine
    written = await ledger.open()
    writer = asyncio.create_task(_write_for_ever(ledger, follower))  # makes room while catching up
    try:
        await follower.start(newest_snapshot=written)
    except FollowerError:
        cause = follower.failed.exception() if follower.failed.done() else None
        if isinstance(cause, HistoryForkedError) and not settings.database:
            await sql.dispose()
            set_aside(process.state_dir, cause.message)
        raise
    pruner = asyncio.create_task(prune_for_ever(history.market, follower, settings))
    queries = QueryServer(ledger, follower)
    queries.add(MarketQueries(ledger, history.market).kinds)
    server = bus.serve("ledger.query", queries.on_requests)
    await _settle_pending(process, bus)
    process.ready()
    await follower.run_until(process.wait_stop())
    server.close()
    for task in (writer, pruner):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await follower.close()
    await ledger.write(follower.engine)
    await store.close()
    teller.close()
    await bus.close()
    await sql.dispose()
