"""RFC 3339 text and nanoseconds since the epoch, without floats."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

SECOND_NS: Final = 1_000_000_000
MICROSECOND_NS: Final = 1_000
_CACHED_SECONDS_MAX: Final = 4_096
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_FIRST_NS: Final = -(2**63)
_LAST_NS: Final = 2**63 - 1
_seconds: dict[int, str] = {}
_TIME: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2})(:\d{2})?(?:\.(\d{1,9}))?([Zz]|[+ -]\d{2}:?\d{2})?)?"
)


def time_text(time_ns: int) -> str:
    """Return RFC 3339 text in UTC with nanoseconds."""
    second, rest = divmod(time_ns, SECOND_NS)
    prefix = _seconds.get(second)
    if prefix is None:
        if len(_seconds) >= _CACHED_SECONDS_MAX:
            _seconds.clear()
        moment = datetime.fromtimestamp(second, UTC)
        prefix = _seconds[second] = moment.strftime("%Y-%m-%dT%H:%M:%S.")
    return f"{prefix}{rest:09d}Z"


def parse_time(text: str) -> int | None:
    """Return nanoseconds of RFC 3339 text or a date (UTC where no zone is given), else None.

    Times that 64 bits do not hold become the first or the last that they do: years 1 and 9999 are
    what people write for "no bound".
    """
    matched = _TIME.fullmatch(text)
    if matched is None:
        return None
    day, clock, seconds, fraction, zone = matched.groups()
    zone = (zone or "Z").upper()
    if zone.startswith(" "):  # a plus sign that was not percent-encoded in a query
        zone = "+" + zone[1:]
    if zone == "Z":
        zone = "+00:00"
    try:
        moment = datetime.fromisoformat(f"{day}T{clock or '00:00'}{seconds or ':00'}{zone}")
        second = (moment - _EPOCH) // _SECOND
    except (ValueError, OverflowError):
        return None
    time_ns = second * SECOND_NS + int((fraction or "0").ljust(9, "0"))
    return max(_FIRST_NS, min(time_ns, _LAST_NS))
