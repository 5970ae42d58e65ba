"""What the clock makes the venue do: ends of days, opening and closing, once each."""

from __future__ import annotations

import datetime

import pytest

from madang.core.errors import SettingsError
from madang.exchange.engine.python import PythonEngine
from madang.exchange.venue.schedule import OpenHours, Schedule, start_of_catch_up, zone_of
from madang.wire.batch import encode_batch
from madang.wire.codes import Session
from madang.wire.commands import CommandKind, encode_end_day
from madang.wire.events import parse_result, split_records

WEEKDAYS = frozenset(range(5))
NINE, FIVE = datetime.time(9), datetime.time(17)


def at(text: str, zone: str = "UTC") -> int:
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=zone_of(zone))
    return int(moment.timestamp()) * 1_000_000_000


def kinds(commands: list[bytes]) -> list[int]:
    return [command[2] for command in commands]


def states(commands: list[bytes]) -> list[int]:
    return [command[28] for command in commands if command[2] == CommandKind.SET_SESSION]


def test_a_day_ends_at_midnight_of_the_venue() -> None:
    schedule = Schedule("UTC", ())
    assert schedule.due(at("2026-11-21 12:00"), at("2026-11-21 23:59:59")) == []
    assert kinds(schedule.due(at("2026-11-21 12:00"), at("2026-11-22 00:00"))) == [
        CommandKind.END_DAY
    ]
    assert schedule.due(at("2026-11-22 00:00"), at("2026-11-22 12:00")) == []
    assert schedule.next_ns(at("2026-11-21 12:00")) == at("2026-11-22 00:00")


def test_midnight_is_that_of_the_time_zone_also_when_clocks_change() -> None:
    schedule = Schedule("America/New_York", ())
    zone = "America/New_York"
    for day in ("2026-03-08", "2026-03-09", "2026-11-01", "2026-11-02"):
        midnight = at(f"{day} 00:00", zone)
        assert schedule.next_ns(midnight - 1) == midnight
        assert len(schedule.due(midnight - 1, midnight)) == 1


def test_days_that_were_missed_end_once() -> None:
    schedule = Schedule("UTC", ())
    due = schedule.due(at("2026-11-02 12:00"), at("2026-11-22 12:00"))
    assert kinds(due) == [CommandKind.END_DAY]
    assert due == schedule.due(at("2026-11-21 12:00"), at("2026-11-22 12:00"))


def test_the_market_opens_and_closes_on_its_days() -> None:
    schedule = Schedule("UTC", (OpenHours(WEEKDAYS, NINE, FIVE),))
    monday, friday = "2026-11-23", "2026-11-20"
    assert states(schedule.due(at(f"{monday} 08:59"), at(f"{monday} 09:00"))) == [Session.OPEN]
    assert states(schedule.due(at(f"{monday} 16:59"), at(f"{monday} 17:00"))) == [Session.CLOSED]
    assert states(schedule.due(at("2026-11-21 00:01"), at("2026-11-22 23:00"))) == []
    assert states(schedule.state_at(at("2026-11-22 12:00"))) == [Session.CLOSED]
    assert states(schedule.state_at(at(f"{monday} 09:30"))) == [Session.OPEN]
    assert schedule.next_ns(at(f"{friday} 17:00")) == at("2026-11-21 00:00")
    assert Schedule("UTC", ()).state_at(at(f"{monday} 09:30")) == []


def test_the_same_boundary_is_the_same_command_so_the_engine_does_it_once() -> None:
    schedule = Schedule("UTC", ())
    [first] = schedule.due(at("2026-11-21 12:00"), at("2026-11-22 00:00"))
    [again] = schedule.due(start_of_catch_up(at("2026-11-22 00:30")), at("2026-11-22 08:00"))
    [next_day] = schedule.due(at("2026-11-22 12:00"), at("2026-11-23 00:00"))
    assert first == again != next_day
    assert first != encode_end_day(bytes(16))
    engine = PythonEngine()
    repeats = []
    for number, command in enumerate((first, again, next_day), 1):
        batch = encode_batch(command, 1, term=1, sequence=number, now_ns=number, rules_version=1)
        events = engine.apply(batch)
        offset = list(split_records(events))[-1][1]
        repeats.append(parse_result(events, offset).repeat)
    assert repeats == [False, True, False]


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(SettingsError, match="Mars/Olympus"):
        Schedule("Mars/Olympus", ())
