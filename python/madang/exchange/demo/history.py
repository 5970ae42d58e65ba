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

from madang.exchange.bootstrap import carry_out
from madang.exchange.demo.in_engine import TradersInEngine
from madang.exchange.demo.pen import Pen, UnsyncedDisk, make_durable
from madang.exchange.demo.people import SYMBOLS, TRADERS, People
from madang.exchange.operator import Operator
from madang.exchange.sim.crowd import Crowd, Kind
from madang.exchange.sim.prices import hour_activity
from madang.exchange.sim.runner import seeded
from madang.exchange.sim.strategies import LEVELS
from madang.exchange.venue.disk import RealDisk
from madang.exchange.venue.recovery import LOG_FOLDER, recover
from madang.exchange.venue.replica import engine_factory
from madang.exchange.venue.schedule import SECOND_NS, Schedule, zone_of
from madang.exchange.venue.settings import VenueSettings
from madang.exchange.venue.setup import setup_commands
from madang.wire.codes import Session
from madang.wire.commands import (
    split_commands,
)

FOLDER = "history.tmp"
TERM = 1
DAYS = 2
STEP_S = 30
TURNS = 58_000
"""Orders from the first day until the first start, about: a start must stay quick."""
BUSY_MIN, BUSY_MAX = 0.5, 2.0
HISTORY_MAKERS, HISTORY_LEVELS = 1, 1
"""A thin book is moved with few orders; at the end all makers fill their ladders."""
RECENT_S, RECENT_STEP_S, RECENT_FACTOR = 3 * 3_600, 10, 4
"""The last hours have so many times the orders: it is these that charts show by the minute."""
KINDS = (Kind.NOISE, Kind.MAKER, Kind.NOISE, Kind.MAKER, Kind.NOISE, Kind.TREND)
"""Whose turns follow each other on a symbol."""
HISTORY_SCALE = 25
"""How many times larger orders are, since so many fewer stand for a day's volume."""
LAST_ROUNDS = 80
HOUR_S = 3_600
HOUR_NS = HOUR_S * SECOND_NS


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
                factor = RECENT_FACTOR if at_ns > now_ns - RECENT_S * SECOND_NS else 1
                seconds += HOUR_S / 4 * self.activity(at_ns) * factor
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
    recent_ns = now_ns - RECENT_S * SECOND_NS
    step_s, factor = STEP_S, 1
    while (at_ns := at_ns + step_s * SECOND_NS) < now_ns:
        while boundary_ns <= at_ns:
            for command in days.schedule.due(boundary_ns - 1, boundary_ns):
                traders.hear(pen.write([command], boundary_ns), [])
            boundary_ns = days.schedule.next_ns(boundary_ns)
        if factor == 1 and at_ns > recent_ns:
            step_s, factor = RECENT_STEP_S, RECENT_FACTOR
            traders.grow(HISTORY_SCALE // RECENT_FACTOR)
        if pen.engine.statistics()["market_session"] == Session.OPEN:
            crowd.pass_time(step_s)
            traders.trade(rota.turns(step_s, days.activity(at_ns) * factor), at_ns)
    crowd.set_makers(TRADERS.makers, LEVELS)
    traders.grow(1)
    for _ in range(LAST_ROUNDS):
        turns = [(Kind.MAKER, symbol) for symbol in crowd.shares]
        traders.trade(turns, at_ns - step_s * SECOND_NS)


def write_history(state_dir: Path, settings: VenueSettings, people: People, now_ns: int) -> None:
    """Write the log of a state folder that has none; raises LogError, OSError."""
    aside = state_dir / FOLDER
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    recovered = recover(UnsyncedDisk(), aside, engine_factory(settings.engine), settings.log)
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
    numbers = {symbol: listing.instruments[symbol].number for symbol in SYMBOLS}
    traders = TradersInEngine(crowd, pen, list(range(1, TRADERS.total + 1)), numbers)
    traders.grow(HISTORY_SCALE)
    live_through(traders, crowd, pen, days, now_ns)
    recovered.log.close()
    _put_in_place(aside, state_dir)


def _put_in_place(aside: Path, state_dir: Path) -> None:
    disk = RealDisk()
    log = aside / LOG_FOLDER
    make_durable(disk, log)
    disk.rename(log, state_dir / LOG_FOLDER)
    disk.sync_folder(state_dir)
    shutil.rmtree(aside)
