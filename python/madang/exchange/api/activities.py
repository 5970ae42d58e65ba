"""Account activities: fills, deposits and withdrawals as Alpaca tells them.

An activity's id begins with its time and ends with the id of the venue's event, so ids sort by time
and any id is where the next page goes on.
"""

from __future__ import annotations

import datetime
from typing import Any, Final, TypeVar

import msgspec

from madang.core.ids import Kind, from_uuid, to_uuid
from madang.edge import Request, Response, json_response
from madang.exchange.api.calendar import read_date
from madang.exchange.api.clock import MarketHours
from madang.exchange.api.decimals import (
    QUANTITY_DECIMALS,
    cash_text,
    price_text,
    quantity_text,
    units_text,
)
from madang.exchange.api.ledger_client import LedgerClient
from madang.exchange.api.orders import caller
from madang.exchange.api.refusals import echo, invalid
from madang.exchange.api.render import SIDES, STATUSES
from madang.exchange.api.schemas_account import (
    ActivitiesQuery,
    Activity,
    AllActivitiesQuery,
    CashDeposit,
    CashWithdrawal,
    ShareTransfer,
    TradeActivity,
)
from madang.exchange.api.times import parse_time, time_text
from madang.exchange.directory import DirectoryReplica
from madang.exchange.venue.schedule import zone_of
from madang.wire.codes import Status

PAGE_MAX: Final = 100
SECOND_NS: Final = 1_000_000_000
TRADES: Final = ("FILL",)
TRANSFERS: Final = ("CSD", "CSW", "JNLS")
OFFERED: Final = TRADES + TRANSFERS
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
Value = TypeVar("Value")


class ActivityMethods:
    """Handlers of /v2/account/activities."""

    def __init__(self, ledger: LedgerClient, replica: DirectoryReplica, hours: MarketHours) -> None:
        """`hours` tell in which time zone a date is."""
        self._ledger = ledger
        self._replica = replica
        self._zone = zone_of(hours.timezone)

    async def list_all(self, request: Request) -> Response:
        """GET /v2/account/activities."""
        query = request.query_as(AllActivitiesQuery)
        kinds = list(OFFERED)
        if query.activity_types:
            if query.category:
                raise invalid("only one of activity_types and category is accepted")
            kinds = query.activity_types.split(",")
        elif query.category:
            kinds = list(TRADES if query.category == "trade_activity" else TRANSFERS)
        return await self._answer(request, query, kinds)

    async def list_kind(self, request: Request) -> Response:
        """GET /v2/account/activities/{activity_type}."""
        query = request.query_as(ActivitiesQuery)
        return await self._answer(request, query, [request.parameters["activity_type"]])

    async def _answer(self, request: Request, query: ActivitiesQuery, kinds: list[str]) -> Response:
        for kind in kinds:
            if not (kind.isalpha() and kind.isupper() and kind.isascii()):
                raise invalid(f"invalid activity type {echo(kind)}")
        after_ns, until_ns = self._bounds(query)
        offered = [kind for kind in kinds if kind in OFFERED]
        if not offered:  # a type of Alpaca's that never happens here
            return json_response([])
        rows = await self._ledger.activities(
            caller(request),
            kinds=offered,
            limit=_or(query.page_size, PAGE_MAX),
            descending=_or(query.direction, "desc") == "desc",
            after_ns=after_ns,
            until_ns=until_ns,
            beyond=_event_of(_or(query.page_token, "")),
        )
        return json_response([self._entity(row) for row in rows])

    def _bounds(self, query: ActivitiesQuery) -> tuple[int | None, int | None]:
        """Return the exclusive bounds of time; raises ApiError."""
        if not query.date:
            after, until = _or(query.after, ""), _or(query.until, "")
            return self._time("after", after), self._time("until", until)
        if query.after or query.until:
            raise invalid("date cannot be combined with after or until")
        day = read_date("date", query.date, datetime.date.min)
        if day == datetime.date.max:
            raise invalid(f"invalid date {echo(query.date)}: nothing follows it")
        following = day + datetime.timedelta(1)
        return self._midnight_ns(day) - 1, self._midnight_ns(following)

    def _midnight_ns(self, day: datetime.date) -> int:
        moment = datetime.datetime.combine(day, datetime.time(), self._zone)
        seconds = int((moment - _EPOCH) // datetime.timedelta(seconds=1))
        return max(-(2**63) + 1, min(seconds * SECOND_NS, 2**63 - 1))

    def _time(self, name: str, text: str) -> int | None:
        if not text:
            return None
        found = parse_time(text)
        if found is None:
            raise invalid(f"invalid {name} {echo(text)}: use RFC 3339 or a date")
        return found

    def _entity(self, row: dict[str, Any]) -> Activity:
        if row["kind"] == "FILL":
            return self._trade(row)
        facts: dict[str, Any] = {
            "id": activity_id(row["now_ns"], row["event_id"]),
            "account_id": to_uuid(Kind.ACCOUNT, row["account"]),
            "date": self._moment(row["now_ns"]).date().isoformat(),
        }
        amount, instrument = row["amount"], row["instrument"]
        if instrument:
            symbol = self._replica.directory.instruments[instrument].symbol
            return ShareTransfer(
                **facts,
                net_amount="0",
                description="transfer of shares",
                symbol=symbol,
                qty=units_text(amount, QUANTITY_DECIMALS),
            )
        if amount < 0:
            return CashWithdrawal(**facts, net_amount=cash_text(amount), description="withdrawal")
        return CashDeposit(**facts, net_amount=cash_text(amount), description="deposit")

    def _trade(self, row: dict[str, Any]) -> TradeActivity:
        whole = row["order_quantity"] or row["cumulative_quantity"]  # a notional order has none
        filled = row["order_status"] == Status.FILLED
        return TradeActivity(
            id=activity_id(row["now_ns"], row["event_id"]),
            account_id=to_uuid(Kind.ACCOUNT, row["account"]),
            transaction_time=time_text(row["now_ns"]),
            type="fill" if filled else "partial_fill",
            price=price_text(row["price"]),
            qty=quantity_text(row["quantity"]),
            side=SIDES[row["side"]],  # type: ignore[arg-type]
            symbol=self._replica.directory.instruments[row["instrument"]].symbol,
            leaves_qty=quantity_text(max(0, whole - row["cumulative_quantity"])),
            order_id=to_uuid(Kind.ORDER, row["order_id"]),
            cum_qty=quantity_text(row["cumulative_quantity"]),
            order_status=STATUSES[row["order_status"]],  # type: ignore[arg-type]
        )

    def _moment(self, now_ns: int) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(now_ns // SECOND_NS, self._zone)


def activity_id(now_ns: int, event_id: int) -> str:
    """Return `YYYYMMDDhhmmssfff::uuid` of an event."""
    second, rest = divmod(now_ns, SECOND_NS)
    moment = datetime.datetime.fromtimestamp(second, datetime.UTC)
    stamp = f"{moment:%Y%m%d%H%M%S}{rest // 1_000_000:03d}"
    return f"{stamp}::{to_uuid(Kind.EXECUTION, event_id)}"


def _event_of(token: str) -> int | None:
    """Return the event that a page token names; 422 where it names none."""
    if not token:
        return None
    found = from_uuid(Kind.EXECUTION, token.rpartition("::")[2])
    if found is None or found >= 2**63:
        raise invalid(f"invalid page_token {echo(token)}")
    return found


def _or(value: Value | msgspec.UnsetType, default: Value) -> Value:
    return default if isinstance(value, msgspec.UnsetType) else value
