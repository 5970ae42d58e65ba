"""The small numbers of the market's records, shared by both engines, the log and the interface.

A number never changes its meaning: logs are read for ever. Units everywhere: price 1/10,000 of the
currency, quantity 1/1,000,000,000 share, cash 1/1,000,000 of the currency, time in nanoseconds.
"""

from __future__ import annotations

from enum import IntEnum

PRICE_SCALE = 10_000
QUANTITY_SCALE = 1_000_000_000
CASH_SCALE = 1_000_000
VALUE_PER_CASH = 10_000_000  # price x quantity has 13 decimals, cash has 6
PPM = 1_000_000

PRICE_MAX = 10**13
QUANTITY_MAX = 10**18
CASH_MAX = 9 * 10**18
FEE_PPM_MAX = 100_000

FEE_ACCOUNT = 0
CASH = 0  # "instrument" of a cash transfer


class Side(IntEnum):
    """The side of an order."""

    BUY = 1
    SELL = 2


class OrderType(IntEnum):
    """How an order is priced."""

    MARKET = 1
    LIMIT = 2
    STOP = 3
    STOP_LIMIT = 4


class TimeInForce(IntEnum):
    """How long an order lives."""

    DAY = 1
    GTC = 2
    IOC = 3
    FOK = 4


class SelfTrade(IntEnum):
    """What happens when an order meets one of its own account."""

    CANCEL_NEWEST = 0
    CANCEL_OLDEST = 1
    CANCEL_BOTH = 2
    DECREMENT = 3
    REFUSE = 4


class OrderFlag(IntEnum):
    """Bits of an order's flags."""

    EXTENDED_HOURS = 1
    TRIGGERED = 2


class Status(IntEnum):
    """Where an order stands; FILLED and above are final."""

    ACCEPTED = 1  # queued until the instrument is open
    NEW = 2
    PARTIALLY_FILLED = 3
    FILLED = 4
    CANCELED = 5
    EXPIRED = 6
    REPLACED = 7


class OrderEvent(IntEnum):
    """What happened to an order (the `flags` byte of an ORDER event)."""

    ACCEPTED = 1
    NEW = 2
    PARTIAL_FILL = 3
    FILL = 4
    CANCELED = 5
    EXPIRED = 6
    REPLACED = 7
    RESTATED = 8


class CloseReason(IntEnum):
    """Why an order ended without being filled (0 while that is not so)."""

    NONE = 0
    REQUESTED = 1
    UNFILLED = 2  # the rest of ioc, fok, market: nothing left within its price
    SELF_TRADE = 3
    ACCOUNT_DISABLED = 4
    END_OF_DAY = 5
    REPLACED = 6


class Session(IntEnum):
    """The state of an instrument, or of the whole market; the stricter of both holds."""

    OPEN = 0
    HALTED = 1
    CLOSED = 2


class AccountState(IntEnum):
    """Whether an account may trade."""

    ACTIVE = 0
    DISABLED = 1


class CredentialKind(IntEnum):
    """What a credential proves or grants."""

    API_KEY = 1  # name = key id, value = SHA-256 of the secret in hex
    PASSWORD = 2  # name = login name, value = Argon2id text
    ROLE = 3  # name = "role", value = admin | trader | viewer


class Reason(IntEnum):
    """The outcome of a command: OK, or why it changed nothing."""

    OK = 0
    UNKNOWN_ACCOUNT = 1
    ACCOUNT_DISABLED = 2
    UNKNOWN_INSTRUMENT = 3
    UNKNOWN_ORDER = 4  # not live, or not this account's
    DUPLICATE_CLIENT_ORDER_ID = 5
    INSUFFICIENT_CASH = 6  # a = available, b = required
    INSUFFICIENT_SHARES = 7  # a = existing, b = held
    SHORT_NOT_ALLOWED = 8
    BAD_QUANTITY = 9
    BAD_LOT = 10  # a = lot
    BAD_PRICE = 11
    BAD_TICK = 12  # a = tick
    BAD_NOTIONAL = 13
    VALUE_TOO_LARGE = 14
    BAD_FIELDS = 15
    SESSION_CLOSED = 16
    NO_REFERENCE_PRICE = 17
    WASH_TRADE = 18
    TOO_MANY_ORDERS = 19  # a = limit
    TOO_MANY_KEYS = 20  # a = limit
    NOT_REPLACEABLE = 21
    NOTHING_CHANGED = 22
    QUANTITY_BELOW_FILLED = 23  # a = filled
    BALANCE_OUT_OF_RANGE = 24
    DUPLICATE_NAME = 25
    BAD_COMMAND = 26
    UNKNOWN_RULES = 27
