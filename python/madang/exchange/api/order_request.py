"""What a client asks for, checked and turned into the engine's terms. Pure.

Numbers are kept as the text they were sent as (`msgspec.Raw`) until `decimals` reads them, so 290.1
arrives as 290.1. Invariant: whatever passes here is well formed for the engine; what remains to be
refused there depends on the state of the market.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from madang.core.ids import new_uuid
from madang.edge import ApiError
from madang.exchange.api.decimals import (
    CASH_DECIMALS,
    PRICE_DECIMALS,
    QUANTITY_DECIMALS,
    DecimalRefused,
    Fault,
    parse_units,
)
from madang.exchange.api.refusals import (
    Asked,
    echo,
    forbidden,
    invalid,
    sub_penny,
    unprocessable,
)
from madang.exchange.directory import Directory
from madang.wire.codes import (
    CASH_MAX,
    CASH_SCALE,
    PRICE_MAX,
    QUANTITY_MAX,
    QUANTITY_SCALE,
    OrderFlag,
    OrderType,
    SelfTrade,
    Side,
    TimeInForce,
)
from madang.wire.commands import TEXT_BYTES_MAX, OrderTerms, ReplaceTerms

NOTIONAL_MIN: Final = CASH_SCALE
_SIDES: Final = {side.name.lower(): int(side) for side in Side}
_TYPES: Final = {kind.name.lower(): int(kind) for kind in OrderType}
_TIMES_IN_FORCE: Final = {tif.name.lower(): int(tif) for tif in TimeInForce}
_SELF_TRADES: Final = {mode.name.lower(): int(mode) for mode in SelfTrade}
_TYPES_LATER: Final = frozenset(("trailing_stop",))
_TIMES_LATER: Final = frozenset(("opg", "cls"))
_CLASSES_LATER: Final = frozenset(("bracket", "oco", "oto", "mleg"))
_INTENTS: Final = {"buy_to_open": "buy", "sell_to_close": "sell"}
_SHORT_INTENTS: Final = frozenset(("sell_to_open", "buy_to_close"))
_WITH_LIMIT: Final = (OrderType.LIMIT, OrderType.STOP_LIMIT)
_WITH_STOP: Final = (OrderType.STOP, OrderType.STOP_LIMIT)
_NOT_GIVEN: Final = msgspec.Raw()
_QUOTE: Final = ord('"')


class OrderBody(msgspec.Struct):
    """The body of POST /v2/orders; numbers as they were written."""

    symbol: str | None = None
    side: str | None = None
    type: str | None = None
    time_in_force: str | None = None
    qty: msgspec.Raw = _NOT_GIVEN
    notional: msgspec.Raw = _NOT_GIVEN
    limit_price: msgspec.Raw = _NOT_GIVEN
    stop_price: msgspec.Raw = _NOT_GIVEN
    client_order_id: str | None = None
    extended_hours: bool | None = None
    order_class: str | None = None
    position_intent: str | None = None
    self_trade_prevention: str | None = None
    trail_price: msgspec.Raw = _NOT_GIVEN
    trail_percent: msgspec.Raw = _NOT_GIVEN
    take_profit: msgspec.Raw = _NOT_GIVEN
    stop_loss: msgspec.Raw = _NOT_GIVEN
    legs: msgspec.Raw = _NOT_GIVEN


class ReplaceBody(msgspec.Struct):
    """The body of PATCH /v2/orders/{order_id}."""

    qty: msgspec.Raw = _NOT_GIVEN
    limit_price: msgspec.Raw = _NOT_GIVEN
    stop_price: msgspec.Raw = _NOT_GIVEN
    trail: msgspec.Raw = _NOT_GIVEN
    time_in_force: str | None = None
    client_order_id: str | None = None


class NewOrder(NamedTuple):
    """A checked order: the engine's terms, its id and what a refusal repeats."""

    terms: OrderTerms
    client_order_id: bytes
    asked: Asked


class Replacement(NamedTuple):
    """A checked replacement."""

    terms: ReplaceTerms
    client_order_id: bytes
    asked: Asked


def read_order(body: OrderBody, directory: Directory) -> NewOrder:
    """Return the checked order; raises ApiError."""
    _check_offered(body)
    if not body.symbol:
        raise invalid("symbol is required")
    instrument = directory.instrument(body.symbol)
    if instrument is None:
        raise unprocessable(f'asset "{echo(body.symbol)}" not found')
    side = _choose("side", body.side, _SIDES)
    kind = _choose("type", body.type, _TYPES)
    tif = _choose("time_in_force", body.time_in_force, _TIMES_IN_FORCE)
    _check_intent(body)
    quantity, notional, amount = _read_size(body, kind, tif)
    limit_price = _read_price("limit_price", body.limit_price)
    stop_price = _read_price("stop_price", body.stop_price)
    _check_prices(kind, limit_price, stop_price)
    if kind in _WITH_STOP and tif in (TimeInForce.IOC, TimeInForce.FOK):
        raise unprocessable("stop orders must be day or gtc orders")
    terms = OrderTerms(
        instrument=instrument.number,
        side=side,
        type=kind,
        time_in_force=tif,
        quantity=quantity,
        notional=notional,
        limit_price=limit_price,
        stop_price=stop_price,
        self_trade=_self_trade(body),
        flags=_extended_hours(body, kind, tif),
    )
    asked = Asked(instrument.symbol, amount, limit_price, stop_price)
    return NewOrder(terms, read_client_order_id(body.client_order_id), asked)


def read_replacement(order_id: int, body: ReplaceBody) -> Replacement:
    """Return the checked replacement; raises ApiError."""
    if _text("trail", body.trail) is not None:
        raise unprocessable("trail is not offered: there are no trailing_stop orders")
    quantity = _read_quantity(body.qty)
    limit_price = _read_price("limit_price", body.limit_price)
    stop_price = _read_price("stop_price", body.stop_price)
    tif = 0
    if body.time_in_force:  # clients without optional fields write an empty one
        tif = _choose("time_in_force", body.time_in_force, _TIMES_IN_FORCE)
        if tif not in (TimeInForce.DAY, TimeInForce.GTC):
            raise unprocessable("a replacement must be a day or gtc order")
    if not (quantity or limit_price or stop_price or tif):
        raise invalid("at least one of qty, limit_price, stop_price, time_in_force is required")
    terms = ReplaceTerms(
        order_id,
        quantity=quantity,
        limit_price=limit_price,
        stop_price=stop_price,
        time_in_force=tif,
    )
    asked = Asked("", _text("qty", body.qty) or "", limit_price, stop_price)
    return Replacement(terms, read_client_order_id(body.client_order_id), asked)


def read_client_order_id(text: str | None) -> bytes:
    """Return a client's own id, or a new one where it gave none."""
    if not text:
        return new_uuid().encode()
    encoded = text.encode()
    if len(encoded) > TEXT_BYTES_MAX:
        raise invalid(f"client_order_id must be no more than {TEXT_BYTES_MAX} characters")
    return encoded


def _check_offered(body: OrderBody) -> None:
    order_class = body.order_class
    if order_class not in (None, "", "simple"):
        if order_class in _CLASSES_LATER:
            raise unprocessable(f"order_class {order_class} is not offered: only simple orders are")
        raise invalid(f"invalid order_class {echo(order_class)}")
    if body.type in _TYPES_LATER:
        raise unprocessable(f"{body.type} orders are not offered")
    if body.time_in_force in _TIMES_LATER:
        raise unprocessable(
            f"time_in_force {body.time_in_force} is not offered: no auctions are held"
        )
    for name in ("take_profit", "stop_loss", "legs", "trail_price", "trail_percent"):
        if _given(getattr(body, name)):
            raise unprocessable(f"{name} is not offered: only simple orders are")


def _check_intent(body: OrderBody) -> None:
    intent = body.position_intent
    if intent is None or intent == "":
        return
    if intent in _SHORT_INTENTS:
        raise forbidden("account is not allowed to short")
    if _INTENTS.get(intent) != body.side:
        raise invalid(f"invalid position_intent {echo(intent)} for side {body.side}")


def _choose(name: str, text: str | None, choices: dict[str, int]) -> int:
    if not text:
        raise invalid(f"{name} is required")
    found = choices.get(text)
    if found is None:
        raise invalid(f"invalid {name} {echo(text)}: use one of {', '.join(choices)}")
    return found


def _read_size(body: OrderBody, kind: int, tif: int) -> tuple[int, int, str]:
    """Return (quantity, notional, text of the one that was given)."""
    has_quantity, has_notional = _given(body.qty), _given(body.notional)
    if has_quantity == has_notional:
        if has_quantity:
            raise invalid("only one of qty or notional is accepted")
        raise invalid("qty or notional is required")
    quantity = notional = 0
    if has_quantity:
        quantity = _read_quantity(body.qty)
        fractional = quantity % QUANTITY_SCALE != 0
    else:
        notional = _read_notional(body.notional)
        fractional = True
        if kind not in (OrderType.MARKET, OrderType.LIMIT):
            raise unprocessable("notional is offered for market and limit orders")
    if fractional and tif != TimeInForce.DAY:
        raise unprocessable("fractional orders must be DAY orders")
    text = _text("qty", body.qty) if has_quantity else _text("notional", body.notional)
    return quantity, notional, text or ""


def _read_quantity(raw: msgspec.Raw) -> int:
    text = _text("qty", raw)
    if text is None:
        return 0
    try:
        return parse_units(text, QUANTITY_DECIMALS, QUANTITY_MAX)
    except DecimalRefused as refused:
        raise _bad_number("qty", text, refused, QUANTITY_DECIMALS) from None


def _read_notional(raw: msgspec.Raw) -> int:
    text = _text("notional", raw) or ""
    try:
        notional = parse_units(text, CASH_DECIMALS, CASH_MAX)
    except DecimalRefused as refused:
        raise _bad_number("notional", text, refused, CASH_DECIMALS) from None
    if notional < NOTIONAL_MIN:
        raise forbidden("cost basis must be >= minimal amount of order 1")
    return notional


def _read_price(name: str, raw: msgspec.Raw) -> int:
    text = _text(name, raw)
    if text is None:
        return 0
    try:
        return parse_units(text, PRICE_DECIMALS, PRICE_MAX)
    except DecimalRefused as refused:
        if refused.fault is Fault.PRECISION:
            raise sub_penny(name, text) from None
        raise _bad_number(name, text, refused, PRICE_DECIMALS) from None


def _bad_number(name: str, text: str, refused: DecimalRefused, decimals: int) -> ApiError:
    if refused.fault is Fault.PRECISION:
        return invalid(f"invalid {name} {echo(text)}: at most {decimals} decimals")
    if refused.fault is Fault.SIGN:
        return invalid(f"{name} must be > 0")
    return invalid(f"invalid {name} {echo(text)}: it {refused.fault.value}")


def _check_prices(kind: int, limit_price: int, stop_price: int) -> None:
    name = OrderType(kind).name.lower()
    if kind in _WITH_LIMIT and not limit_price:
        raise invalid(f"{name} orders require a limit price")
    if kind in _WITH_STOP and not stop_price:
        raise invalid(f"{name} orders require a stop price")
    if limit_price and kind not in _WITH_LIMIT:
        raise invalid(f"{name} orders require no limit price")
    if stop_price and kind not in _WITH_STOP:
        raise invalid(f"{name} orders require no stop price")


def _extended_hours(body: OrderBody, kind: int, tif: int) -> int:
    if not body.extended_hours:
        return 0
    if kind != OrderType.LIMIT or tif not in (TimeInForce.DAY, TimeInForce.GTC):
        raise unprocessable("extended hours order must be DAY or GTC limit orders")
    return int(OrderFlag.EXTENDED_HOURS)


def _self_trade(body: OrderBody) -> int:
    text = body.self_trade_prevention
    return 0 if not text else _choose("self_trade_prevention", text, _SELF_TRADES)


def _given(raw: msgspec.Raw) -> bool:
    return len(raw) > 0 and bytes(raw) != b"null"


def _text(name: str, raw: msgspec.Raw) -> str | None:
    """Return a number's own text, sent bare or in quotes, None where it was not given."""
    if not _given(raw):
        return None
    data = bytes(raw)
    if data[0] == _QUOTE:
        try:
            text = msgspec.json.decode(data, type=str)
        except msgspec.DecodeError:
            raise ApiError(400, "the body is not valid JSON") from None
    else:
        text = data.decode(errors="replace")
    if not text or not (text[0].isdigit() or text[0] in "+-."):
        raise invalid(f"invalid {name} {echo(text)}: it {Fault.SYNTAX.value}")
    return text
