"""What the clock makes the venue do: the end of the day at 00:00 venue time, opening and closing.

Pure: times in, commands out. Each command's request_id follows from what and when it is, so a venue
that starts again may give it again and the engine knows it: a boundary is never worked twice.
"""

from __future__ import annotations

import datetime
import hashlib
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from madang.core.errors import SettingsError
from madang.wire.codes import Session
from madang.wire.commands import encode_end_day, encode_set_session

SECOND_NS = 1_000_000_000
CATCH_UP_NS = 3_600 * SECOND_NS
"""A boundary this long before the last logged command was worked by who logged that."""
_DAYS_BACK = 8


class OpenHours(NamedTuple):
    """The market is open from `open` to `close` on `weekdays` (0 = Monday)."""

    weekdays: frozenset[int]
    open: datetime.time
    close: datetime.time


class Due(NamedTuple):
    """A boundary in time and the command it causes."""

    at_ns: int
    command: bytes


def zone_of(name: str) -> datetime.tzinfo:
    """Return the time zone of that name; raises SettingsError."""
    if name == "UTC":
        return datetime.UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise SettingsError("venue", "timezone", f"a known time zone, not {name!r}") from None


def _request_id(text: str) -> bytes:
    return hashlib.sha256(b"madang schedule " + text.encode()).digest()[:16]


class Schedule:
    """The boundaries of one venue; empty `hours` mean always open."""

    def __init__(self, timezone: str, hours: tuple[OpenHours, ...]) -> None:
        self._zone = zone_of(timezone)
        self._hours = hours

    def due(self, after_ns: int, until_ns: int) -> list[bytes]:
        """Return the commands for after_ns < boundary <= until_ns, in order.

        Of each kind (end of day; open or close) only the last counts, however many were missed.
        """
        first = max(after_ns, until_ns - _DAYS_BACK * 86_400 * SECOND_NS)
        last = {
            kind: due
            for kind, due in self._boundaries(first, until_ns)
            if first < due.at_ns <= until_ns
        }
        return [due.command for due in sorted(last.values())]

    def state_at(self, now_ns: int) -> list[bytes]:
        """Return the command of the last opening or closing up to `now_ns`; none if never."""
        first = now_ns - _DAYS_BACK * 86_400 * SECOND_NS
        past = [
            due
            for kind, due in self._boundaries(first, now_ns)
            if kind == "session" and due.at_ns <= now_ns
        ]
        return [max(past).command] if past else []

    def next_ns(self, after_ns: int) -> int:
        """Return the first boundary after `after_ns`."""
        horizon = after_ns + _DAYS_BACK * 86_400 * SECOND_NS
        return min(
            due.at_ns for _, due in self._boundaries(after_ns, horizon) if due.at_ns > after_ns
        )

    def _boundaries(self, first_ns: int, last_ns: int) -> list[tuple[str, Due]]:
        day = datetime.datetime.fromtimestamp(first_ns // SECOND_NS, self._zone).date()
        end = datetime.datetime.fromtimestamp(last_ns // SECOND_NS, self._zone).date()
        found: list[tuple[str, Due]] = []
        while day <= end:
            midnight = self._at(day, datetime.time())
            found.append(("day", Due(midnight, encode_end_day(_request_id(f"end of day {day}")))))
            for hours in self._hours:
                if day.weekday() in hours.weekdays:
                    found.append(("session", self._session(day, hours.open, Session.OPEN)))
                    found.append(("session", self._session(day, hours.close, Session.CLOSED)))
            day += datetime.timedelta(days=1)
        return sorted(found, key=lambda item: item[1].at_ns)

    def _session(self, day: datetime.date, time: datetime.time, state: Session) -> Due:
        request_id = _request_id(f"session {int(state)} at {day} {time}")
        return Due(self._at(day, time), encode_set_session(request_id, 0, state))

    def _at(self, day: datetime.date, time: datetime.time) -> int:
        moment = datetime.datetime.combine(day, time, self._zone)
        return int(moment.timestamp()) * SECOND_NS


def start_of_catch_up(engine_now_ns: int) -> int:
    """Return from when on a venue that starts again works boundaries."""
    return engine_now_ns - CATCH_UP_NS
