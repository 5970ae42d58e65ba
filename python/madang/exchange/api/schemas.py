"""The entities of the API as types: what /openapi.json says, not what the hot path builds.

Field order and names are Alpaca's; all amounts are decimal text.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Decimal = Annotated[
    str, Meta(pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="decimal number as text")
]
DecimalIn = Annotated[
    str,
    Meta(pattern=r"^[0-9]{1,12}(\.[0-9]{1,9})?$", description="decimal number, as text or bare"),
]
NumberIn = DecimalIn | Annotated[float, Meta(gt=0)] | Annotated[int, Meta(gt=0)]
Time = Annotated[str, Meta(description="RFC 3339, UTC, nanoseconds")]
Uuid = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Truth = Literal["true", "false", "True", "False"]
ClientOrderId = Annotated[str, Meta(max_length=128)]

SideName = Literal["buy", "sell"]
TypeName = Literal["market", "limit", "stop", "stop_limit"]
TimeInForceName = Literal["day", "gtc", "ioc", "fok"]
StatusName = Literal[
    "accepted", "new", "partially_filled", "filled", "canceled", "expired", "replaced"
]
SelfTradeName = Literal["cancel_newest", "cancel_oldest", "cancel_both", "decrement", "refuse"]


class OrderRequest(msgspec.Struct, omit_defaults=True):
    """A new order: exactly one of qty and notional; prices as the type needs them."""

    symbol: str
    side: SideName
    type: TypeName
    time_in_force: TimeInForceName
    qty: NumberIn | None = None
    notional: NumberIn | None = None
    limit_price: NumberIn | None = None
    stop_price: NumberIn | None = None
    client_order_id: ClientOrderId | None = None
    extended_hours: bool | None = None
    order_class: Literal["", "simple"] | None = None
    position_intent: Literal["buy_to_open", "sell_to_close"] | None = None
    self_trade_prevention: SelfTradeName | None = None


class ReplaceRequest(msgspec.Struct, omit_defaults=True):
    """What a replacement changes; at least one of qty, prices and time_in_force."""

    qty: NumberIn | None = None
    limit_price: NumberIn | None = None
    stop_price: NumberIn | None = None
    time_in_force: Literal["day", "gtc"] | None = None
    client_order_id: ClientOrderId | None = None


class Order(msgspec.Struct):
    """An order as it stands."""

    id: Uuid
    client_order_id: str
    created_at: Time
    updated_at: Time
    submitted_at: Time
    filled_at: Time | None
    expired_at: Time | None
    canceled_at: Time | None
    replaced_at: Time | None
    replaced_by: Uuid | None
    replaces: Uuid | None
    asset_id: Uuid
    symbol: str
    asset_class: Literal["us_equity"]
    notional: Decimal | None
    qty: Decimal | None
    filled_qty: Decimal
    filled_avg_price: Decimal | None
    order_type: TypeName
    type: TypeName
    side: SideName
    time_in_force: TimeInForceName
    limit_price: Decimal | None
    stop_price: Decimal | None
    status: StatusName
    extended_hours: bool
    expires_at: Time | None
    failed_at: Time | None
    order_class: Literal["simple"]
    legs: None
    trail_percent: None
    trail_price: None
    hwm: None
    ratio_qty: None
    position_intent: Literal["buy_to_open", "sell_to_close"]
    commission: Decimal
    self_trade_prevention: SelfTradeName


class CanceledOrder(msgspec.Struct):
    """The outcome of cancelling one of all orders."""

    id: Uuid
    status: Literal[200, 500]
    body: Annotated[
        dict[str, Any], Meta(description="the order, or code and message where it was refused")
    ]


class ClosedPosition(msgspec.Struct, omit_defaults=True):
    """The outcome of closing one of all positions."""

    symbol: str
    status: int
    body: Annotated[
        dict[str, Any], Meta(description="the order, or code and message where it was refused")
    ]
    order_id: Uuid | None = None


class TradeAccount(msgspec.Struct):
    """An account: a cash account without margin."""

    id: Uuid
    account_number: str
    status: Literal["ACTIVE", "DISABLED"]
    crypto_status: Literal["INACTIVE"]
    currency: Literal["USD"]
    cash: Decimal
    buying_power: Decimal
    regt_buying_power: Decimal
    non_marginable_buying_power: Decimal
    options_buying_power: Decimal
    equity: Decimal
    last_equity: Decimal
    portfolio_value: Decimal
    long_market_value: Decimal
    short_market_value: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    last_maintenance_margin: Decimal
    sma: Decimal
    accrued_fees: Decimal
    pending_transfer_in: Decimal
    pending_transfer_out: Decimal
    multiplier: Literal["1"]
    shorting_enabled: bool
    trading_blocked: bool
    transfers_blocked: bool
    account_blocked: bool
    trade_suspended_by_user: bool
    options_approved_level: Literal[0]
    options_trading_level: Literal[0]
    created_at: Time


class Position(msgspec.Struct):
    """Shares of one symbol."""

    asset_id: Uuid
    symbol: str
    exchange: str
    asset_class: Literal["us_equity"]
    asset_marginable: bool
    avg_entry_price: Decimal
    qty: Decimal
    qty_available: Decimal
    side: Literal["long"]
    cost_basis: Decimal
    market_value: Decimal | None
    current_price: Decimal | None
    unrealized_pl: Decimal | None
    unrealized_plpc: Decimal | None
    unrealized_intraday_pl: Decimal | None
    unrealized_intraday_plpc: Decimal | None
    lastday_price: Decimal | None
    change_today: Decimal | None


class Asset(msgspec.Struct, rename={"asset_class": "class"}):
    """An instrument of the venue."""

    id: Uuid
    asset_class: Literal["us_equity"]
    exchange: str
    symbol: str
    name: str
    status: Literal["active"]
    tradable: bool
    marginable: bool
    shortable: bool
    easy_to_borrow: bool
    fractionable: bool
    min_order_size: Decimal
    min_trade_increment: Decimal
    price_increment: Decimal
    attributes: list[str]


class MarketClock(msgspec.Struct):
    """Whether the market is open, and when that changes."""

    timestamp: str
    is_open: bool
    next_open: str
    next_close: str


class SignIn(msgspec.Struct):
    """A name and its password."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    password: Annotated[str, Meta(min_length=1, max_length=256)]


class SignedIn(msgspec.Struct):
    """Who is signed in."""

    account: str
    name: str
    role: str


class SymbolRow(msgspec.Struct):
    """One symbol of the market; `last` is null until something traded."""

    symbol: str
    name: str
    last: Decimal | None


class OrdersQuery(msgspec.Struct):
    """Parameters of GET /v2/orders."""

    status: Literal["open", "closed", "all"] | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=500)] | UnsetType = UNSET
    after: str | UnsetType = UNSET
    until: str | UnsetType = UNSET
    after_order_id: str | UnsetType = UNSET
    before_order_id: str | UnsetType = UNSET
    direction: Literal["asc", "desc"] | UnsetType = UNSET
    nested: Truth | UnsetType = UNSET
    side: Literal["buy", "sell"] | UnsetType = UNSET
    symbols: str | UnsetType = UNSET
    asset_class: str | UnsetType = UNSET


class OrderQuery(msgspec.Struct):
    """Parameters of GET /v2/orders/{order_id}."""

    nested: Truth | UnsetType = UNSET


class ClientOrderIdQuery(msgspec.Struct):
    """Parameters of GET /v2/orders:by_client_order_id."""

    client_order_id: Annotated[str, Meta(min_length=1, max_length=128)]
    nested: Truth | UnsetType = UNSET


class CloseQuery(msgspec.Struct):
    """Parameters of DELETE /v2/positions/{symbol_or_asset_id}: all of it where neither is given."""

    qty: str | UnsetType = UNSET
    percentage: str | UnsetType = UNSET


class CloseAllQuery(msgspec.Struct):
    """Parameters of DELETE /v2/positions."""

    cancel_orders: Truth | UnsetType = UNSET


class AssetsQuery(msgspec.Struct):
    """Parameters of GET /v2/assets."""

    status: Literal["active", "inactive"] | UnsetType = UNSET
    asset_class: str | UnsetType = UNSET
    exchange: str | UnsetType = UNSET
    attributes: str | UnsetType = UNSET
