"""Portfolio history: an account's worth over a span, window by window. Pure but for the handler.

A window is told by its beginning and holds the worth at its end. Profit is what is left of the
change of worth when deposits and withdrawals are taken out of it.
"""

from __future__ import annotations

import datetime
import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Final, NamedTuple, TypeVar

import msgspec

from madang.core.clock import Clock
from madang.edge import Request, Response
from madang.exchange.api.calendar import read_date
from madang.exchange.api.clock import MarketHours
from madang.exchange.api.decimals import cash_text, ratio_text
from madang.exchange.api.ledger_client import CurveView, LedgerClient
from madang.exchange.api.orders import caller
from madang.exchange.api.refusals import echo, invalid
from madang.exchange.api.schemas_account import PortfolioQuery
from madang.exchange.api.times import parse_time
from madang.exchange.venue.schedule import zone_of

SECOND_NS: Final = 1_000_000_000
DAY_S: Final = 86_400
TIMEFRAMES_S: Final = {"1Min": 60, "5Min": 300, "15Min": 900, "1H": 3_600, "1D": DAY_S}
SPANS_MAX_S: Final = {"1Min": 7 * DAY_S, "1D": 732 * DAY_S}
INTRADAY_SPAN_MAX_S: Final = 31 * DAY_S
DAY_WIDTH_S: Final = 900
"""Days of every time zone begin at a multiple of this."""
PERCENT_DECIMALS: Final = 6
_PERIOD: Final = re.compile(r"([1-9][0-9]{0,3})([DWMA])")
_DAYS: Final = {"D": 1, "W": 7, "M": 30, "A": 365}
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
Value = TypeVar("Value")


class Span(NamedTuple):
    """What is asked for, in seconds since the epoch."""

    from_s: int
    until_s: int
    timeframe: str
    market_hours: bool
    reset_daily: bool


class PortfolioMethods:
    """Handler of /v2/account/portfolio/history."""

    def __init__(self, ledger: LedgerClient, hours: MarketHours, clock: Clock) -> None:
        self._ledger = ledger
        self._hours = hours
        self._clock = clock

    async def get(self, request: Request) -> Response:
        """GET /v2/account/portfolio/history."""
        query = request.query_as(PortfolioQuery)
        span = read_span(query, self._hours, self._clock.now_ns() // SECOND_NS)
        flows = _or(query.cashflow_types, "NONE").upper()
        if flows not in ("NONE", "ALL") and set(flows.split(",")) - {"CSD", "CSW"}:
            raise invalid(f"invalid cashflow_types {echo(flows)}: use ALL, NONE, CSD, CSW")
        grid = list(windows(span, self._hours))
        begin_s, end_s = (grid[0][0], grid[-1][1]) if grid else (span.from_s, span.until_s)
        view = await self._ledger.curve(
            caller(request),
            from_ns=begin_s * SECOND_NS,
            until_ns=end_s * SECOND_NS,
            width_ns=min(TIMEFRAMES_S[span.timeframe], DAY_WIDTH_S) * SECOND_NS,
        )
        names = {"NONE": (), "ALL": ("CSD", "CSW")}.get(flows, tuple(flows.split(",")))
        zone = zone_of(self._hours.timezone)
        return Response(200, render(span, grid, view, names, zone))


def read_span(query: PortfolioQuery, hours: MarketHours, now_s: int) -> Span:
    """Return the span that a query asks for; raises ApiError."""
    if query.start and query.end and query.period:
        raise invalid("only two of start, end and period are accepted")
    until_s = min(_time_s("end", _or(query.end, "")) or now_s, now_s)
    if query.date_end:
        day = read_date("date_end", query.date_end, datetime.date.min)
        until_s = min(_midnight_s(day, hours) + DAY_S, now_s)
    start_s = _time_s("start", _or(query.start, ""))
    if query.date_start and start_s is None:
        start_s = _midnight_s(read_date("date_start", query.date_start, datetime.date.min), hours)
    length_s = _period_s(_or(query.period, "") or "1M")
    if start_s is not None and query.period:
        until_s = min(start_s + length_s, now_s)
    from_s = until_s - length_s if start_s is None else start_s
    if from_s >= until_s:
        raise invalid("start must be before end, and in the past")
    length_s = until_s - from_s
    timeframe = _or(query.timeframe, "")
    if not timeframe:
        days = length_s / DAY_S
        timeframe = "1Min" if days < 7 else "15Min" if days < 30 else "1D"
    longest_s = SPANS_MAX_S.get(timeframe, INTRADAY_SPAN_MAX_S)
    if length_s > longest_s:
        raise invalid(f"timeframe {timeframe} is offered for up to {longest_s // DAY_S} days")
    reporting = _or(query.intraday_reporting, "market_hours")
    extended = _or(query.extended_hours, "false").lower() == "true"
    return Span(
        from_s,
        until_s,
        timeframe,
        market_hours=reporting == "market_hours" and not extended,
        reset_daily=timeframe != "1D" and _or(query.pnl_reset, "per_day") == "per_day",
    )


def windows(span: Span, hours: MarketHours) -> Iterator[tuple[int, int]]:
    """Yield (beginning, end) of each window in seconds since the epoch; days are trading days."""
    zone = zone_of(hours.timezone)
    if span.timeframe == "1D":
        day = datetime.datetime.fromtimestamp(span.from_s, zone).date()
        while (begin_s := _midnight_s(day, hours)) < span.until_s:
            day += datetime.timedelta(1)
            weekday = (day.weekday() - 1) % 7
            if not hours.hours or any(weekday in found.weekdays for found in hours.hours):
                yield begin_s, _midnight_s(day, hours)
        return
    width_s = TIMEFRAMES_S[span.timeframe]
    for begin_s in range(span.from_s - span.from_s % width_s, span.until_s, width_s):
        if not span.market_hours or _is_open(begin_s, hours, zone):
            yield begin_s, begin_s + width_s


def _is_open(second: int, hours: MarketHours, zone: datetime.tzinfo) -> bool:
    if not hours.hours:
        return True
    moment = datetime.datetime.fromtimestamp(second, zone)
    return any(
        moment.weekday() in found.weekdays and found.open <= moment.time() < found.close
        for found in hours.hours
    )


def render(
    span: Span,
    grid: list[tuple[int, int]],
    view: CurveView,
    cashflow: tuple[str, ...],
    zone: datetime.tzinfo,
) -> bytes:
    """Return the PortfolioHistory entity; amounts are exact decimal numbers."""
    times = [time_ns for time_ns, _ in view.steps]
    worths, profits, percents = [], [], []
    flow_sums: dict[str, list[str]] = {name: [] for name in cashflow}
    flows = {name: _cash(view, deposits=name == "CSD") for name in cashflow}
    everything = _Flows([(now_ns, worth) for now_ns, worth, _ in view.flows])
    begin_ns = grid[0][0] * SECOND_NS if grid else 0
    base = first_base = _worth_at(view, times, begin_ns)
    moved_before, day = 0, None
    worth = base
    for begin_s, end_s in grid:
        this_day = datetime.datetime.fromtimestamp(begin_s, zone).date()
        if span.reset_daily and day is not None and this_day != day:
            base, moved_before = worth, everything.between(begin_ns, begin_s * SECOND_NS)
        day = this_day
        end_ns = end_s * SECOND_NS
        worth = view.equity if end_ns >= view.now_ns else _worth_at(view, times, end_ns)
        moved = everything.between(begin_ns, end_ns) - moved_before
        profit = worth - base - moved
        invested = base + max(moved, 0)
        worths.append(cash_text(worth))
        profits.append(cash_text(profit))
        percents.append(ratio_text(profit, invested, PERCENT_DECIMALS) if invested > 0 else "null")
        for name, sums in flow_sums.items():
            sums.append(cash_text(flows[name].between(begin_s * SECOND_NS, end_ns)))
    lists = (
        ("timestamp", [str(begin_s) for begin_s, _ in grid]), ("equity", worths),
        ("profit_loss", profits), ("profit_loss_pct", percents),
    )  # fmt: skip
    parts = [f'"{name}":[{",".join(values)}]' for name, values in lists]
    parts.append(f'"base_value":{cash_text(first_base)},"timeframe":"{span.timeframe}"')
    sums_text = ",".join(f'"{name}":[{",".join(sums)}]' for name, sums in flow_sums.items())
    parts.append(f'"cashflow":{{{sums_text}}}')
    return ("{" + ",".join(parts) + "}").encode()


def _worth_at(view: CurveView, times: list[int], at_ns: int) -> int:
    index = bisect_right(times, at_ns)
    return view.steps[index - 1][1] if index else 0


class _Flows:
    """Sums of flows by time; any span costs two look-ups."""

    def __init__(self, flows: list[tuple[int, int]]) -> None:
        self._times = [now_ns for now_ns, _ in flows]
        self._sums = [0, *accumulate(worth for _, worth in flows)]

    def between(self, after_ns: int, until_ns: int) -> int:
        """Return what moved after `after_ns` up to `until_ns`."""
        last = self._sums[bisect_right(self._times, until_ns)]
        return last - self._sums[bisect_right(self._times, after_ns)]


def _cash(view: CurveView, deposits: bool) -> _Flows:
    return _Flows(
        [(t, worth) for t, worth, is_cash in view.flows if is_cash and (worth > 0) == deposits]
    )


def _period_s(text: str) -> int:
    matched = _PERIOD.fullmatch(text)
    if matched is None:
        raise invalid(f"invalid period {echo(text)}: use for example 1D, 1W, 1M or 1A")
    return int(matched[1]) * _DAYS[matched[2]] * DAY_S


def _time_s(name: str, text: str) -> int | None:
    if not text:
        return None
    found = parse_time(text)
    if found is None:
        raise invalid(f"invalid {name} {echo(text)}: use RFC 3339")
    return found // SECOND_NS


def _midnight_s(day: datetime.date, hours: MarketHours) -> int:
    moment = datetime.datetime.combine(day, datetime.time(), zone_of(hours.timezone))
    return int((moment - _EPOCH) // datetime.timedelta(seconds=1))


def _or(value: Value | msgspec.UnsetType, default: Value) -> Value:
    return default if isinstance(value, msgspec.UnsetType) else value
