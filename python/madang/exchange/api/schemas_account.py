"""Entities and parameters of what stands beside orders, account and positions.

As in `schemas`: names and order are Alpaca's, all amounts that Alpaca gives as text are text.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from madang.exchange.api.schemas import Asset, Decimal, SideName, StatusName, Time, Truth, Uuid

WATCHLIST_SYMBOLS_MAX: Final = 500
WATCHLIST_NAME_CHARACTERS_MAX: Final = 64

WatchlistName = Annotated[str, Meta(min_length=1, max_length=WATCHLIST_NAME_CHARACTERS_MAX)]
DateText = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Symbols = Annotated[list[str], Meta(max_length=WATCHLIST_SYMBOLS_MAX)]


class CalendarDay(msgspec.Struct):
    """A day on which the market opens, in the venue's time zone.

    Orders are taken whenever the market is open, and trades settle as they are made.
    """

    date: DateText
    open: Annotated[str, Meta(pattern=r"^\d{2}:\d{2}$")]
    close: Annotated[str, Meta(pattern=r"^\d{2}:\d{2}$")]
    session_open: Annotated[str, Meta(pattern=r"^\d{4}$")]
    session_close: Annotated[str, Meta(pattern=r"^\d{4}$")]
    settlement_date: DateText


class CalendarQuery(msgspec.Struct):
    """Parameters of GET /v2/calendar: dates, both included, of trading or of settlement."""

    start: str | UnsetType = UNSET
    end: str | UnsetType = UNSET
    date_type: Literal["TRADING", "SETTLEMENT"] | UnsetType = UNSET


class AccountConfiguration(msgspec.Struct):
    """What an account's owner has chosen; accounts are cash accounts, so some are fixed."""

    suspend_trade: bool
    fractional_trading: bool
    no_shorting: Literal[True]
    max_margin_multiplier: Literal["1"]
    trade_confirm_email: Literal["none"]
    ptp_no_exception_entry: bool
    max_options_trading_level: Literal[0]


class ConfigurationChange(msgspec.Struct):
    """What to change; fields that stand for things this venue has not take one value only.

    Clients without optional fields write an empty text for what they do not change.
    """

    suspend_trade: bool | None = None
    fractional_trading: bool | None = None
    no_shorting: Literal[True] | None = None
    max_margin_multiplier: Literal["1"] | None = None
    trade_confirm_email: Literal["none", ""] | None = None
    ptp_no_exception_entry: bool | None = None
    max_options_trading_level: Literal[0] | None = None
    dtbp_check: Literal[""] | None = None
    pdt_check: Literal[""] | None = None


class Watchlist(msgspec.Struct, omit_defaults=True):
    """A list of assets; `assets` is left out of the list of all lists."""

    id: Uuid
    account_id: Uuid
    name: str
    created_at: Time
    updated_at: Time
    assets: list[Asset] | UnsetType = UNSET


class WatchlistQuery(msgspec.Struct):
    """Parameters of /v2/watchlists:by_name."""

    name: WatchlistName


class NewWatchlist(msgspec.Struct):
    """A new watchlist; its name is unique in the account."""

    name: WatchlistName
    symbols: Symbols | None = None


class WatchlistChange(msgspec.Struct):
    """What to change; `symbols` replaces the whole list."""

    name: WatchlistName | None = None
    symbols: Symbols | None = None


class WatchlistSymbol(msgspec.Struct):
    """A symbol to add."""

    symbol: str


class TradeActivity(msgspec.Struct, tag_field="activity_type", tag="FILL"):
    """A fill."""

    id: str
    account_id: Uuid
    transaction_time: Time
    type: Literal["fill", "partial_fill"]
    price: Decimal
    qty: Decimal
    side: SideName
    symbol: str
    leaves_qty: Decimal
    order_id: Uuid
    cum_qty: Decimal
    order_status: StatusName


class CashDeposit(msgspec.Struct, tag_field="activity_type", tag="CSD"):
    """Cash that came in."""

    id: str
    account_id: Uuid
    date: str
    net_amount: Decimal
    description: str
    status: Literal["executed"] = "executed"


class CashWithdrawal(CashDeposit, tag="CSW"):
    """Cash that went out: a negative amount."""


class ShareTransfer(msgspec.Struct, tag_field="activity_type", tag="JNLS"):
    """Shares that came in, or went out: a negative quantity."""

    id: str
    account_id: Uuid
    date: str
    net_amount: Decimal
    description: str
    symbol: str
    qty: Decimal
    status: Literal["executed"] = "executed"


Activity = TradeActivity | CashDeposit | CashWithdrawal | ShareTransfer


class ActivitiesQuery(msgspec.Struct):
    """Parameters of GET /v2/account/activities/{activity_type}."""

    date: str | UnsetType = UNSET
    after: str | UnsetType = UNSET
    until: str | UnsetType = UNSET
    direction: Literal["asc", "desc"] | UnsetType = UNSET
    page_size: Annotated[int, Meta(ge=1, le=100)] | UnsetType = UNSET
    page_token: str | UnsetType = UNSET


class AllActivitiesQuery(ActivitiesQuery):
    """Parameters of GET /v2/account/activities."""

    activity_types: str | UnsetType = UNSET
    category: Literal["trade_activity", "non_trade_activity"] | UnsetType = UNSET


class PortfolioQuery(msgspec.Struct):
    """Parameters of GET /v2/account/portfolio/history."""

    period: str | UnsetType = UNSET
    timeframe: Literal["1Min", "5Min", "15Min", "1H", "1D"] | UnsetType = UNSET
    start: str | UnsetType = UNSET
    end: str | UnsetType = UNSET
    date_start: str | UnsetType = UNSET
    date_end: str | UnsetType = UNSET
    extended_hours: Truth | UnsetType = UNSET
    intraday_reporting: Literal["market_hours", "extended_hours", "continuous"] | UnsetType = UNSET
    pnl_reset: Literal["per_day", "no_reset"] | UnsetType = UNSET
    cashflow_types: str | UnsetType = UNSET


class PortfolioHistory(msgspec.Struct):
    """The account's value over time; lists of one length, oldest first."""

    timestamp: list[int]
    equity: list[float]
    profit_loss: list[float]
    profit_loss_pct: list[float | None]
    base_value: float
    timeframe: str
    cashflow: dict[str, list[float]]
