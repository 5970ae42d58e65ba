"""The demo's past: its traders run over the days before the first start, in engine time.

The commands are ordinary ones in an ordinary log, written before any venue opens it: ledger and
feed take them up like any other past. Everything follows from (people, settings, now): the same
again gives the same bytes. The log is made beside its place and renamed to it, whole and durable.
"""

from __future__ import annotations

import asyncio
import datetime
import shutil
from pathlib import Path
from typing import NamedTuple

from madang.exchange.bootstrap import carry_out
from madang.exchange.demo.people import SYMBOLS, TRADER_SHARES, TRADERS, People
from madang.exchange.engine.port import Engine
from madang.exchange.operator import Listing, Operator
from madang.exchange.sim.crowd import Crowd, Kind, Turn
from madang.exchange.sim.desk import MARKET
from madang.exchange.sim.prices import hour_activity
from madang.exchange.sim.runner import seeded
from madang.exchange.sim.strategies import LEVELS
from madang.exchange.venue.disk import RealDisk, RealFile
from madang.exchange.venue.log import Log
from madang.exchange.venue.recovery import LOG_FOLDER, recover
from madang.exchange.venue.replica import engine_factory
from madang.exchange.venue.schedule import SECOND_NS, Schedule, zone_of
from madang.exchange.venue.segment import RULES_VERSION
from madang.exchange.venue.settings import VenueSettings
from madang.exchange.venue.setup import setup_commands
from madang.wire.batch import encode_batch
from madang.wire.codes import QUANTITY_SCALE, OrderType, Reason, Session, Side, Status, TimeInForce
from madang.wire.commands import (
    NO_REQUEST,
    OrderTerms,
    ReplaceTerms,
    encode_new_order,
    encode_replace,
    split_commands,
)
from madang.wire.events import (
    RECORD_HEADER_BYTES,
    EventKind,
    Result,
    parse_order_update,
    parse_result,
    parse_trade,
    split_records,
)
from madang.wire.records import parse_instrument, parse_level

FOLDER = "history.tmp"
TERM = 1
DAYS = 2
STEP_S = 30
TURNS = 56_000
"""Orders from the first day until the first start, about: a start must stay quick."""
BUSY_MIN, BUSY_MAX = 0.5, 2.0
HISTORY_MAKERS, HISTORY_LEVELS = 1, 1
"""A thin book is moved with few orders; at the end all makers fill their ladders."""
KINDS = (Kind.NOISE, Kind.MAKER, Kind.NOISE, Kind.MAKER, Kind.NOISE, Kind.TREND)
"""Whose turns follow each other on a symbol."""
HISTORY_SCALE = 25
"""How many times larger orders are, since so many fewer stand for a day's volume."""
LAST_ROUNDS = 80
HOUR_S = 3_600
HOUR_NS = HOUR_S * SECOND_NS


class _UnsyncedFile(RealFile):
    """A file of a log that is not yet in its place: it is made durable once, at the end."""

    __slots__ = ()

    def fdatasync(self) -> None:
        """Do nothing."""


class _UnsyncedDisk(RealDisk):
    def open(self, path: Path, *, create: bool = False) -> RealFile:
        file = super().open(path, create=create)
        file.__class__ = _UnsyncedFile
        return file

    def sync_folder(self, folder: Path) -> None:
        """Do nothing."""


class Pen:
    """Writes batches and applies them, as a venue does."""

    def __init__(self, engine: Engine, log: Log, now_ns: int) -> None:
        self.engine = engine
        self._log = log
        self._last_ns = now_ns

    def write(self, commands: list[bytes], now_ns: int) -> bytes:
        """Log the commands at `now_ns` or right after what came before; return their events."""
        now_ns = max(now_ns, self._last_ns + 1)
        first = self.engine.sequence + 1
        record = encode_batch(
            b"".join(commands), len(commands), term=TERM, sequence=first, now_ns=now_ns,
            rules_version=RULES_VERSION,
        )  # fmt: skip
        self._log.write(record, first)
        self._last_ns = now_ns + len(commands) - 1
        return self.engine.apply(record)

    async def submit(self, command: bytes) -> Result:
        """Log one command right after what came before."""
        events = self.write([command], self._last_ns + 1)
        *_, (_, offset, _) = split_records(events)
        return parse_result(events, offset)

    def listing(self) -> Listing:
        """Return the instruments; there are no accounts yet."""
        listing = Listing({}, {}, [])
        data = self.engine.instruments()
        for _, offset, _ in split_records(data):
            instrument = parse_instrument(data, offset + RECORD_HEADER_BYTES)
            listing.instruments[instrument.symbol] = instrument
        return listing


class _Sent(NamedTuple):
    trader: int
    tag: int


class TradersInEngine:
    """A crowd whose orders go into an engine, and which hears what became of them."""

    def __init__(
        self, crowd: Crowd, pen: Pen, accounts: list[int], symbols: dict[str, int]
    ) -> None:
        self._crowd = crowd
        self._pen = pen
        self._accounts = accounts
        self._traders = {account: number for number, account in enumerate(accounts)}
        self._numbers = symbols
        self._symbols = {number: symbol for symbol, number in symbols.items()}
        self._resting: dict[int, _Sent] = {}
        self._orders = 0
        for desk in crowd.desks:
            desk.restart(dict.fromkeys(symbols, TRADER_SHARES // QUANTITY_SCALE))

    def trade(self, turns: list[tuple[Kind, str]], now_ns: int) -> None:
        """Give some traders their turns, about a symbol each, in one batch."""
        sent: list[_Sent] = []
        commands: list[bytes] = []
        for kind, symbol in turns:
            turn = self._crowd.turn_of(kind, symbol)
            if turn is not None:
                commands.append(self._command(turn))
                sent.append(_Sent(turn.trader, self._crowd.desks[turn.trader].last_tag))
        if commands:
            self.hear(self._pen.write(commands, now_ns), sent)
            self._look()

    def _command(self, turn: Turn) -> bytes:
        desk, order = self._crowd.desks[turn.trader], turn.order
        old = desk.orders.get(order.replaces)
        resting = desk.send(order)
        account = self._accounts[turn.trader]
        self._orders += 1
        name = b"history-%d" % self._orders
        quantity = (order.shares + resting.filled) * QUANTITY_SCALE
        if old is not None:
            assert isinstance(old.order_id, int)
            changes = ReplaceTerms(old.order_id, quantity=quantity, limit_price=order.price)
            return encode_replace(account, NO_REQUEST, changes, name)
        tif = TimeInForce.GTC if order.long else TimeInForce.DAY
        terms = OrderTerms(
            instrument=self._numbers[order.symbol],
            side=order.side,
            type=OrderType.LIMIT if order.price else OrderType.MARKET,
            time_in_force=tif if order.rests or order.price == MARKET else TimeInForce.IOC,
            quantity=quantity,
            limit_price=order.price,
        )
        return encode_new_order(account, NO_REQUEST, terms, name)

    def hear(self, events: bytes, sent: list[_Sent]) -> None:
        """Tell every trader what the events say of its orders and holdings."""
        answers = iter(sent)
        for kind, offset, _ in split_records(events):
            if kind == EventKind.TRADE:
                self._hear_trade(events, offset)
            elif kind == EventKind.RESULT and sent:
                self._hear_result(parse_result(events, offset), next(answers))
            elif kind == EventKind.ORDER and not sent:
                update = parse_order_update(events, offset)
                if update.order.status > Status.PARTIALLY_FILLED:
                    self._left(update.order.order_id, 0)

    def _hear_trade(self, events: bytes, offset: int) -> None:
        trade = parse_trade(events, offset)
        symbol = self._symbols[trade.instrument]
        shares = trade.quantity // QUANTITY_SCALE
        self._crowd.shares[symbol].last = trade.price
        for account, moved in ((trade.buy_account, shares), (trade.sell_account, -shares)):
            self._crowd.desks[self._traders[account]].held[symbol] += moved
        for order in (trade.buy_order, trade.sell_order):
            known = self._resting.get(order)
            if known is not None:
                resting = self._crowd.desks[known.trader].orders.get(known.tag)
                self._left(order, resting.left - shares if resting else 0)

    def _left(self, order_id: int, left: int) -> None:
        known = self._resting.get(order_id)
        if known is not None:
            self._crowd.desks[known.trader].left(known.tag, left)
            if left <= 0:
                del self._resting[order_id]

    def _hear_result(self, result: Result, sent: _Sent) -> None:
        desk = self._crowd.desks[sent.trader]
        order = result.order
        if result.reason != Reason.OK or order is None:
            desk.refused(sent.tag, unknown=result.reason == Reason.UNKNOWN_ORDER)
            return
        final = order.status > Status.PARTIALLY_FILLED
        left = 0 if final else (order.quantity - order.filled_quantity) // QUANTITY_SCALE
        self._resting.pop(order.replaces, None)
        if left:
            self._resting[order.order_id] = sent
        desk.accepted(sent.tag, order.order_id, left)

    def _look(self) -> None:
        """See the best prices."""
        for symbol, share in self._crowd.shares.items():
            data = self._pen.engine.depth(self._numbers[symbol], 1)
            share.bid = share.ask = 0
            for _, offset, _ in split_records(data):
                level = parse_level(data, offset + RECORD_HEADER_BYTES)
                if level.side == Side.BUY:
                    share.bid = level.price
                else:
                    share.ask = level.price


def first_day(settings: VenueSettings, now_ns: int) -> datetime.date:
    """Return the earlier of the last DAYS trading days before the one of `now_ns`."""
    day = datetime.datetime.fromtimestamp(now_ns // SECOND_NS, zone_of(settings.timezone)).date()
    weekdays = {day for hours in settings.open_hours() for day in hours.weekdays}
    found = 0
    while found < DAYS:
        day -= datetime.timedelta(days=1)
        found += not weekdays or day.weekday() in weekdays
    return day


class _Days:
    """Time from the first day until now: boundaries of sessions, and hours for activity."""

    def __init__(self, settings: VenueSettings, now_ns: int) -> None:
        self._hours = settings.open_hours()
        self.schedule = Schedule(settings.timezone, self._hours)
        zone = zone_of(settings.timezone)
        day = first_day(settings, now_ns)
        midnight = datetime.datetime.combine(day, datetime.time(), zone)
        self.start_ns = int(midnight.timestamp()) * SECOND_NS
        self._zone = zone

    def activity(self, at_ns: int) -> float:
        moment = datetime.datetime.fromtimestamp(at_ns // SECOND_NS, self._zone)
        return hour_activity(moment.hour + moment.minute / 60)

    def busy_s(self, now_ns: int) -> float:
        """Return the seconds of trading until `now_ns`, each as long as its hour is busy."""
        seconds = 0.0
        for at_ns in range(self.start_ns, max(now_ns, self.start_ns + HOUR_NS), HOUR_NS // 4):
            if self.is_open(at_ns):
                seconds += HOUR_S / 4 * self.activity(at_ns)
        return seconds

    def is_open(self, at_ns: int) -> bool:
        """Tell whether the market has hours and this is one, or it has none."""
        moment = datetime.datetime.fromtimestamp(at_ns // SECOND_NS, self._zone)
        return not self._hours or any(
            moment.weekday() in hours.weekdays and hours.open <= moment.time() < hours.close
            for hours in self._hours
        )


class _Rota:
    """Deals out turns evenly: each symbol has as many as it is busy, kinds in a fixed order."""

    def __init__(self, crowd: Crowd, turns_per_s: float) -> None:
        """`turns_per_s` is for one symbol, where it and the hour have an activity of 1."""
        self._crowd = crowd
        self._turns_per_s = turns_per_s
        self._due = dict.fromkeys(crowd.shares, 0.0)
        self._dealt = dict.fromkeys(crowd.shares, 0)

    def turns(self, seconds: float, hour: float) -> list[tuple[Kind, str]]:
        """Return the turns of some seconds in an hour of that activity."""
        found: list[tuple[Kind, str]] = []
        for symbol, share in self._crowd.shares.items():
            busy = min(BUSY_MAX, max(BUSY_MIN, share.fair.activity))
            self._due[symbol] += seconds * self._turns_per_s * hour * busy
            while self._due[symbol] >= 1.0:
                self._due[symbol] -= 1.0
                found.append((KINDS[self._dealt[symbol] % len(KINDS)], symbol))
                self._dealt[symbol] += 1
        return found


def live_through(
    traders: TradersInEngine, crowd: Crowd, pen: Pen, days: _Days, now_ns: int
) -> None:
    """Let the traders trade, session after session, until `now_ns`."""
    rota = _Rota(crowd, TURNS / len(crowd.shares) / days.busy_s(now_ns))
    at_ns = days.start_ns
    boundary_ns = days.schedule.next_ns(at_ns)
    while (at_ns := at_ns + STEP_S * SECOND_NS) < now_ns:
        while boundary_ns <= at_ns:
            for command in days.schedule.due(boundary_ns - 1, boundary_ns):
                traders.hear(pen.write([command], boundary_ns), [])
            boundary_ns = days.schedule.next_ns(boundary_ns)
        if pen.engine.statistics()["market_session"] == Session.OPEN:
            crowd.pass_time(STEP_S)
            traders.trade(rota.turns(STEP_S, days.activity(at_ns)), at_ns)
    crowd.set_makers(TRADERS.makers, LEVELS)
    crowd.scale = 1
    for _ in range(LAST_ROUNDS):
        traders.trade([(Kind.MAKER, symbol) for symbol in crowd.shares], at_ns - STEP_S * SECOND_NS)


def write_history(state_dir: Path, settings: VenueSettings, people: People, now_ns: int) -> None:
    """Write the log of a state folder that has none; raises LogError, OSError."""
    aside = state_dir / FOLDER
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    recovered = recover(_UnsyncedDisk(), aside, engine_factory(settings.engine), settings.log)
    engine = recovered.engine
    days = _Days(settings, now_ns)
    pen = Pen(engine, recovered.log, days.start_ns)
    begin = setup_commands(settings, engine) + b"".join(days.schedule.state_at(days.start_ns))
    pen.write(list(split_commands(begin)), days.start_ns)
    listing = pen.listing()
    plans = [people.persons[name].plan for name in TRADERS.names()]
    ids = seeded(people.seed)("ids")
    asyncio.run(carry_out(Operator(pen, lambda: ids.randbytes(16)), listing, plans))
    prices = {symbol: price for symbol, (_, price) in SYMBOLS.items()}
    crowd = Crowd(seeded(people.seed), TRADERS, prices)
    crowd.set_makers(HISTORY_MAKERS, HISTORY_LEVELS)
    crowd.scale = HISTORY_SCALE
    numbers = {symbol: listing.instruments[symbol].number for symbol in SYMBOLS}
    traders = TradersInEngine(crowd, pen, list(range(1, TRADERS.total + 1)), numbers)
    live_through(traders, crowd, pen, days, now_ns)
    recovered.log.close()
    _put_in_place(aside, state_dir)


def _put_in_place(aside: Path, state_dir: Path) -> None:
    disk = RealDisk()
    log = aside / LOG_FOLDER
    for name in disk.names(log):
        file = disk.open(log / name)
        file.fdatasync()
        file.close()
    disk.sync_folder(log)
    disk.rename(log, state_dir / LOG_FOLDER)
    disk.sync_folder(state_dir)
    shutil.rmtree(aside)
