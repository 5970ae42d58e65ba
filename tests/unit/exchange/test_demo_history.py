"""The demo's past: the same for the same seed, in sessions, with bars, and nobody disturbed."""

from __future__ import annotations

import datetime
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from madang.cli.app import demo_venue
from madang.exchange.bootstrap import PENDING, load_plans
from madang.exchange.demo import history
from madang.exchange.demo.people import SYMBOLS, TRADERS, VISITOR, People, load_or_invent
from madang.exchange.engine.port import Engine
from madang.exchange.venue.disk import RealDisk
from madang.exchange.venue.log import LogSettings
from madang.exchange.venue.recovery import LOG_FOLDER, recover
from madang.exchange.venue.replica import engine_factory
from madang.exchange.venue.segment import Position, Scan, list_segments
from madang.exchange.venue.settings import HoursSettings, VenueSettings
from madang.wire.codes import Reason, Session
from madang.wire.events import EventKind, parse_result, parse_trade, split_records
from madang.wire.records import parse_account, parse_level

SEED = 11
LOG = LogSettings(segment_bytes=16 * 1024 * 1024)
NOW = datetime.datetime(2026, 3, 4, 15, 30, 7, tzinfo=datetime.UTC)  # a Wednesday
DAY_S = 86_400
SILENCE_MINUTES = 45


class Past(NamedTuple):
    folder: Path
    engine: Engine
    minutes: dict[int, Counter[int]]  # by instrument: trades in each minute since the epoch
    results: Counter[Reason]
    days_ended: list[int]
    sessions: list[tuple[int, int]]


def nanoseconds(moment: datetime.datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000


def people_of(folder: Path) -> People:
    folder.mkdir()
    return msgspec.structs.replace(load_or_invent(folder), seed=SEED)


def venue_settings(**changes: object) -> VenueSettings:
    return msgspec.structs.replace(demo_venue(VenueSettings()), log=LOG, **changes)


def read(folder: Path) -> Past:
    disk = RealDisk()
    engine = engine_factory("auto").create()
    past = Past(folder, engine, {}, Counter(), [], [])
    for segment in list_segments(disk, folder / LOG_FOLDER):
        data = segment.path.read_bytes()
        for header, record in Scan(segment, data, Position(segment.first - 1, -1, 0)).batches():
            events = engine.apply(record)
            for kind, offset, _ in split_records(events):
                if kind == EventKind.TRADE:
                    trade = parse_trade(events, offset)
                    minute = trade.now_ns // 60_000_000_000
                    past.minutes.setdefault(trade.instrument, Counter())[minute] += 1
                elif kind == EventKind.RESULT:
                    past.results[Reason(parse_result(events, offset).reason)] += 1
                elif kind == EventKind.DAY:
                    past.days_ended.append(header.now_ns)
                elif kind == EventKind.SESSION:
                    past.sessions.append((header.now_ns, events[offset + 32 + 4]))
    return past


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    folder = tmp_path_factory.mktemp("past") / "state"
    people = people_of(folder)
    history.write_history(folder, venue_settings(), people, nanoseconds(NOW))
    return read(folder)


def test_two_sessions_and_the_day_so_far_are_there(past: Past) -> None:
    midnight = nanoseconds(NOW.replace(hour=0, minute=0, second=0))
    assert past.days_ended == [midnight - DAY_S * 10**9, midnight]
    assert past.engine.statistics()["session"] == 3
    for minutes in past.minutes.values():
        assert min(minutes) < midnight // 60_000_000_000 - 2 * 1_440 + 60
        assert max(minutes) > NOW.timestamp() // 60 - 15
    assert 0 < nanoseconds(NOW) - past.engine.now_ns < 120 * 10**9


def test_most_minutes_have_trades_and_none_is_refused_much(past: Past) -> None:
    assert len(past.minutes) == len(SYMBOLS)
    for minutes in past.minutes.values():
        span = max(minutes) - min(minutes) + 1
        assert len(minutes) > 0.4 * span
        known = sorted(minutes)
        assert max(after - before for before, after in pairwise(known)) < SILENCE_MINUTES
        recent = [minute for minute in known if minute > known[-1] - 120]
        assert len(recent) > 0.8 * 120
        assert max(minutes.values()) < 60
    assert sum(past.results.values()) < 1.3 * history.TURNS
    assert past.results[Reason.OK] > 0.97 * sum(past.results.values())


def test_prices_move_in_a_day_but_not_out_of_sight(past: Past) -> None:
    for number, (_, first) in enumerate(SYMBOLS.values(), 1):
        depth = past.engine.depth(number, 20)
        levels = [parse_level(depth, offset + 8) for _, offset, _ in split_records(depth)]
        assert 0.8 < levels[0].price / first < 1.25
        assert sum(level.side == 1 for level in levels) >= 10
        assert sum(level.side == 2 for level in levels) >= 10


def test_the_visitor_is_not_in_the_past_and_is_still_planned(past: Past) -> None:
    records = past.engine.accounts(0, 100)
    names = [parse_account(records, offset + 8).name for _, offset, _ in split_records(records)]
    assert sorted(names) == sorted(TRADERS.names())
    assert VISITOR in [plan.name for plan in load_plans(past.folder / PENDING)]


def test_the_log_is_one_that_a_venue_recovers(past: Past) -> None:
    recovered = recover(RealDisk(), past.folder, engine_factory("auto"), LOG)
    recovered.log.close()
    assert recovered.report.torn_tail is None
    assert recovered.engine.state_hash() == past.engine.state_hash()
    recovered.engine.check()
    assert not (past.folder / history.FOLDER).exists()


def test_the_same_people_and_time_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "TURNS", 2_000)
    people = people_of(tmp_path / "one")
    (tmp_path / "two").mkdir()
    logs = []
    for name in ("one", "two"):
        history.write_history(tmp_path / name, venue_settings(), people, nanoseconds(NOW))
        (segment,) = (tmp_path / name / LOG_FOLDER).iterdir()
        logs.append(segment.read_bytes())
    assert logs[0] == logs[1]


def test_hours_and_weekends_of_the_venue_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "TURNS", 3_000)
    days = ("mon", "tue", "wed", "thu", "fri")
    hours = HoursSettings(days, datetime.time(9, 30), datetime.time(16))
    settings = venue_settings(hours=(hours,), timezone="America/New_York")
    monday = datetime.datetime(2026, 3, 2, 18, 0, tzinfo=datetime.UTC)  # 13:00 in New York
    folder = tmp_path / "state"
    history.write_history(folder, settings, people_of(folder), nanoseconds(monday))
    past = read(folder)
    eastern = datetime.timezone(datetime.timedelta(hours=-5))
    traded = {
        datetime.datetime.fromtimestamp(minute * 60, eastern)
        for minutes in past.minutes.values()
        for minute in minutes
    }
    assert {moment.day for moment in traded} == {26, 27, 2}  # Thursday, Friday, today
    assert all(datetime.time(9, 30) <= moment.time() < datetime.time(16) for moment in traded)
    assert len(past.days_ended) == 4
    opened = [at for at, state in past.sessions if state == Session.OPEN]
    assert len(opened) == 3
    assert past.engine.statistics()["market_session"] == Session.OPEN
