"""What is told to people when a command changes nothing."""

from __future__ import annotations

from madang.wire.codes import Reason

TEXTS: dict[int, str] = {
    Reason.UNKNOWN_ACCOUNT: "there is no such account",
    Reason.ACCOUNT_DISABLED: "the account is disabled",
    Reason.UNKNOWN_INSTRUMENT: "there is no such instrument",
    Reason.UNKNOWN_ORDER: "there is no such live order of this account",
    Reason.DUPLICATE_CLIENT_ORDER_ID: "client_order_id must be unique",
    Reason.INSUFFICIENT_CASH: "not enough cash is available",
    Reason.INSUFFICIENT_SHARES: "not enough shares are available",
    Reason.SHORT_NOT_ALLOWED: "account is not allowed to short",
    Reason.BAD_QUANTITY: "the quantity is out of range",
    Reason.BAD_LOT: "the quantity is not a multiple of the lot",
    Reason.BAD_PRICE: "the price is out of range",
    Reason.BAD_TICK: "the price is not a multiple of the tick",
    Reason.BAD_NOTIONAL: "the notional is out of range",
    Reason.VALUE_TOO_LARGE: "the order's value is out of range",
    Reason.BAD_FIELDS: "fields are missing, out of range or do not go together",
    Reason.SESSION_CLOSED: "the instrument is not open",
    Reason.NO_REFERENCE_PRICE: "there is no price yet to protect a market order by",
    Reason.WASH_TRADE: "potential wash trade detected",
    Reason.TOO_MANY_ORDERS: "the account has too many open orders",
    Reason.TOO_MANY_KEYS: "the venue keeps too many order ids; try again later",
    Reason.NOT_REPLACEABLE: "the order cannot be replaced",
    Reason.NOTHING_CHANGED: "order parameters are not changed",
    Reason.QUANTITY_BELOW_FILLED: "the quantity must be above what is filled",
    Reason.BALANCE_OUT_OF_RANGE: "the venue's total would be out of range",
    Reason.DUPLICATE_NAME: "the name is taken",
    Reason.BAD_COMMAND: "the command is malformed",
    Reason.UNKNOWN_RULES: "this engine does not know these rules",
}
assert set(TEXTS) == set(Reason) - {Reason.OK}
