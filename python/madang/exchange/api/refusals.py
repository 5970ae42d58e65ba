"""From the engine's reasons to what an Alpaca client is told. Pure.

The codes and words that clients look for are those of Alpaca; where Alpaca has none they are ours,
under 40010001 (the request is wrong in itself), 42210000 (right in itself, but not now or not here)
or 40310000 (the account may not).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from madang.edge import ApiError
from madang.edge.errors import MALFORMED, OUTCOME_UNKNOWN, UNAVAILABLE
from madang.exchange.api.decimals import cash_text, price_text, quantity_text
from madang.exchange.reasons import TEXTS
from madang.wire.codes import Reason
from madang.wire.events import Result

UNPROCESSABLE: Final = 42210000
FORBIDDEN: Final = 40310000
NOT_FOUND: Final = 40410000

SUB_PENNY: Final = "sub-penny increment does not fulfill minimum pricing criteria"
_ECHO_CHARACTERS_MAX: Final = 40


class Asked(NamedTuple):
    """What was asked for, as far as a refusal repeats it; prices are units, 0 where not given."""

    symbol: str = ""
    amount: str = ""
    limit_price: int = 0
    stop_price: int = 0


def echo(text: str) -> str:
    """Return what a client sent, short enough to be repeated to it."""
    if len(text) <= _ECHO_CHARACTERS_MAX:
        return text
    return text[:_ECHO_CHARACTERS_MAX] + "…"


def invalid(message: str) -> ApiError:
    """Return the refusal of a request that is wrong in itself."""
    return ApiError(422, message, MALFORMED)


def unprocessable(message: str) -> ApiError:
    """Return the refusal of a request that this venue cannot follow."""
    return ApiError(422, message, UNPROCESSABLE)


def forbidden(message: str, **data: object) -> ApiError:
    """Return the refusal of what the account may not do."""
    return ApiError(403, message, FORBIDDEN, **data)


def not_found(message: str) -> ApiError:
    """Return the refusal for something that is not there."""
    return ApiError(404, message, NOT_FOUND)


def sub_penny(field: str, text: str) -> ApiError:
    """Return the refusal of a price finer than the instrument's tick."""
    return unprocessable(f"invalid {field} {echo(text)}. {SUB_PENNY}")


def outcome_unknown() -> ApiError:
    """Return the answer when nobody knows whether the command was carried out."""
    return ApiError(503, "outcome unknown, ask by client_order_id", OUTCOME_UNKNOWN)


def venue_unavailable() -> ApiError:
    """Return the answer when the command certainly was not carried out."""
    return ApiError(503, "the venue is not available, nothing was done", UNAVAILABLE)


def _insufficient_cash(result: Result, _asked: Asked) -> ApiError:
    return forbidden(
        "insufficient buying power",
        buying_power=cash_text(result.a),
        cost_basis=cash_text(result.b),
    )


def _insufficient_shares(result: Result, asked: Asked) -> ApiError:
    available = quantity_text(result.a - result.b)
    return forbidden(
        f"insufficient qty available for order (requested: {asked.amount}, available: {available})",
        available=available,
        existing_qty=quantity_text(result.a),
        held_for_orders=quantity_text(result.b),
        symbol=asked.symbol,
    )


def _bad_tick(result: Result, asked: Asked) -> ApiError:
    if asked.limit_price and asked.limit_price % max(result.a, 1):
        return sub_penny("limit_price", price_text(asked.limit_price))
    return sub_penny("stop_price", price_text(asked.stop_price))


def _bad_lot(result: Result, _asked: Asked) -> ApiError:
    return unprocessable(f"qty must be a multiple of {quantity_text(result.a)}")


def _below_filled(result: Result, _asked: Asked) -> ApiError:
    return unprocessable(f"qty must be > filled_qty {quantity_text(result.a)}")


def _too_many_orders(result: Result, _asked: Asked) -> ApiError:
    return forbidden(f"too many open orders, the limit is {result.a}")


_WITH_FACTS: Final[dict[int, Callable[[Result, Asked], ApiError]]] = {
    Reason.INSUFFICIENT_CASH: _insufficient_cash,
    Reason.INSUFFICIENT_SHARES: _insufficient_shares,
    Reason.BAD_TICK: _bad_tick,
    Reason.BAD_LOT: _bad_lot,
    Reason.QUANTITY_BELOW_FILLED: _below_filled,
    Reason.TOO_MANY_ORDERS: _too_many_orders,
}
_PLAIN: Final[dict[int, tuple[int, int, str]]] = {
    Reason.SHORT_NOT_ALLOWED: (403, FORBIDDEN, TEXTS[Reason.SHORT_NOT_ALLOWED]),
    Reason.WASH_TRADE: (403, FORBIDDEN, "potential wash trade detected. use complex orders"),
    Reason.ACCOUNT_DISABLED: (403, FORBIDDEN, TEXTS[Reason.ACCOUNT_DISABLED]),
    Reason.UNKNOWN_ACCOUNT: (403, FORBIDDEN, TEXTS[Reason.UNKNOWN_ACCOUNT]),
    Reason.UNKNOWN_ORDER: (404, NOT_FOUND, "order not found"),
    Reason.DUPLICATE_CLIENT_ORDER_ID: (422, MALFORMED, "client_order_id must be unique"),
    Reason.BAD_QUANTITY: (422, MALFORMED, TEXTS[Reason.BAD_QUANTITY]),
    Reason.BAD_PRICE: (422, MALFORMED, TEXTS[Reason.BAD_PRICE]),
    Reason.BAD_FIELDS: (422, MALFORMED, TEXTS[Reason.BAD_FIELDS]),
    Reason.BAD_NOTIONAL: (422, UNPROCESSABLE, "notional is too small for one lot"),
    Reason.SESSION_CLOSED: (422, UNPROCESSABLE, "ioc and fok orders need an open market"),
    Reason.TOO_MANY_KEYS: (503, UNAVAILABLE, TEXTS[Reason.TOO_MANY_KEYS]),
}


def refusal(result: Result, asked: Asked) -> ApiError:
    """Return what the client is told of a command that changed nothing."""
    with_facts = _WITH_FACTS.get(result.reason)
    if with_facts is not None:
        return with_facts(result, asked)
    plain = _PLAIN.get(result.reason)
    if plain is not None:
        status, code, message = plain
        return ApiError(status, message, code)
    return unprocessable(TEXTS[result.reason])
