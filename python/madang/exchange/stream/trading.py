"""The trading stream `/stream`: authenticate, listen, the account's order events, and orders.

Nothing is sent before the client has spoken, since clients read exactly one frame as the answer to
their authentication. `listen` replaces the list of streams; an empty list stops. Invariant: the
answer to `listen` leaves before the first event, and every event after it arrives, or the
connection is closed. Orders are the business of `trading_orders`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec

from madang.core.closecodes import CloseCode
from madang.edge import ApiError, Principal, Request
from madang.exchange.api.authenticator import ExchangeAuthenticator
from madang.exchange.api.orders import OrderMethods
from madang.exchange.stream.account_events import AccountEventsHub
from madang.exchange.stream.dialects import JSON, MSGPACK, TRADE_UPDATES, control
from madang.exchange.stream.moving import FrozenTrading, recall, refer
from madang.exchange.stream.trading_orders import TradingOrders
from madang.hub import Connection

FAILURES_MAX: Final = 3
FAILURE_DELAY_S: Final = 0.5
"""Clients without back-off are slowed down by the answer that refuses them."""
STREAMS_MAX: Final = 100
_MSGPACK_TYPES: Final = frozenset(("application/msgpack", "application/x-msgpack"))

_NOTHING: Final = msgspec.Raw(b"{}")

Watch = Callable[["TradingSession"], None]


class Frame(msgspec.Struct):
    """What a client says, `data` as it was written; an older form has the key beside the action."""

    action: str
    data: msgspec.Raw = _NOTHING
    key: str = ""
    secret: str = ""


_FRAME: Final = msgspec.json.Decoder(Frame)


class TradingSession:
    """One connection to `/stream`."""

    def __init__(
        self,
        connection: Connection,
        authenticator: ExchangeAuthenticator,
        events: AccountEventsHub,
        orders: OrderMethods,
        on_close: Watch,
    ) -> None:
        self._connection = connection
        self._orders = TradingOrders(connection, orders)
        self._authenticator = authenticator
        self._events = events
        self._on_close = on_close
        self._failures = 0
        self._listening = False
        self._delayed: asyncio.TimerHandle | None = None
        self.principal: Principal | None = None

    def on_message(self, payload: bytes, binary: bool) -> None:
        """Take one message of the client."""
        try:
            if self._connection.dialect == MSGPACK and binary:
                payload = msgspec.json.encode(msgspec.msgpack.decode(payload))
            frame = _FRAME.decode(payload)
            if frame.action == "order":
                self._orders.take(self.principal, frame.data)
                return
            data = msgspec.json.decode(frame.data, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError, ValueError):
            self._connection.close(CloseCode.POLICY_VIOLATION, "invalid syntax")
            return
        if frame.action in ("authenticate", "auth"):
            self._authenticate(frame, data)
        elif frame.action == "listen":
            self._listen(data)
        else:
            self._connection.close(CloseCode.POLICY_VIOLATION, "unknown action")

    def on_close(self, code: int, reason: str) -> None:
        """Leave the account."""
        if self._delayed is not None:
            self._delayed.cancel()
        self._on_close(self)
        if self.principal is not None:
            self._events.part(self.principal.account, self._connection)

    # MobileSession of the hub

    def may_move(self) -> bool:
        """Tell whether every order is answered, and what it listens to flows."""
        principal = self.principal
        if principal is None or self._delayed is not None or self._orders.under_way:
            return False
        if self._events.waits(principal.account, self._connection):
            return False
        return self._authenticator.key_holds(principal)

    def freeze(self) -> bytes:
        """Return it as plain data."""
        assert self.principal is not None
        account = self.principal.account
        last = self._events.stands_at(account, self._connection) if self._listening else None
        self._on_close(self)
        return msgspec.msgpack.encode(FrozenTrading(refer(self.principal), last))

    def thaw(self, frozen: FrozenTrading) -> None:
        """Be what was frozen; raises MadangError."""
        self.principal = recall(self._authenticator, frozen.who)
        self._connection.authenticated = True
        if frozen.events is not None:
            self._listening = True
            self._events.resume(frozen.who.account, self._connection, frozen.events)

    def moved(self, taker: str) -> None:
        """Another worker has it: nothing is sent to a session but by its channel."""

    def discard(self) -> None:
        """It was thawed and never went on."""
        self._on_close(self)

    def check(self) -> None:
        """Close the connection if its key was revoked."""
        principal = self.principal
        if principal is None or self._connection.closed:
            return
        if not self._authenticator.key_holds(principal):
            self._connection.close(CloseCode.UNAUTHORIZED, "the key was revoked")

    def _authenticate(self, frame: Frame, data: dict[str, Any]) -> None:
        if self._delayed is not None:
            self._connection.close(CloseCode.POLICY_VIOLATION, "wait for the answer")
            return
        key_id = data.get("key_id", frame.key)
        secret = data.get("secret_key", frame.secret)
        try:
            principal = self._authenticator.key(str(key_id), str(secret))
        except ApiError:
            self._delayed = asyncio.get_running_loop().call_later(FAILURE_DELAY_S, self._refuse)
            return
        if self.principal is not None and self.principal.account != principal.account:
            self._connection.close(CloseCode.POLICY_VIOLATION, "already authenticated")
            return
        self.principal = principal
        self._connection.authenticated = True
        self._say_authorization("authorized", "authenticate")

    def _refuse(self) -> None:
        self._delayed = None
        self._failures += 1
        self._say_authorization("unauthorized", "authenticate")
        if self._failures >= FAILURES_MAX:
            self._connection.close(CloseCode.UNAUTHORIZED, "too many failed attempts")

    def _listen(self, data: dict[str, Any]) -> None:
        principal = self.principal
        if principal is None:
            self._say_authorization("unauthorized", "listen")
            return
        streams = data.get("streams")
        if not isinstance(streams, list) or len(streams) > STREAMS_MAX:
            self._connection.close(CloseCode.POLICY_VIOLATION, "streams must be a list")
            return
        if TRADE_UPDATES not in streams:
            self._events.part(principal.account, self._connection)
            self._listening = False
            self._say_listening([])
        elif self._listening:
            self._say_listening([TRADE_UPDATES])
        else:
            self._events.join(principal.account, self._connection, self._begin)

    def _begin(self) -> None:
        self._listening = True
        self._say_listening([TRADE_UPDATES])

    def _say_authorization(self, status: str, action: str) -> None:
        self._say("authorization", {"status": status, "action": action})

    def _say_listening(self, streams: list[str]) -> None:
        self._say("listening", {"streams": streams})

    def _say(self, stream: str, data: dict[str, Any]) -> None:
        message = msgspec.json.encode({"stream": stream, "data": data})
        self._connection.send(*control(self._connection.dialect, message))


class TradingStream:
    """Opens sessions and closes those whose key is revoked."""

    def __init__(
        self, authenticator: ExchangeAuthenticator, events: AccountEventsHub, orders: OrderMethods
    ) -> None:
        self._authenticator = authenticator
        self._events = events
        self._orders = orders
        self._sessions: set[TradingSession] = set()

    def open(self, request: Request, connection: Connection) -> TradingSession:
        """Start a session; the Content-Type header chooses msgpack."""
        content_type = (request.headers.get("content-type") or "").partition(";")[0].strip()
        connection.dialect = MSGPACK if content_type.lower() in _MSGPACK_TYPES else JSON
        return self._make(connection)

    async def thaw(self, connection: Connection, frozen: bytes) -> TradingSession:
        """Go on with a session of another worker; raises MadangError."""
        session = self._make(connection)
        try:
            session.thaw(msgspec.msgpack.decode(frozen, type=FrozenTrading))
        except BaseException:
            self._sessions.discard(session)
            raise
        return session

    def _make(self, connection: Connection) -> TradingSession:
        session = TradingSession(
            connection, self._authenticator, self._events, self._orders, self._sessions.discard
        )
        self._sessions.add(session)
        return session

    def check(self) -> None:
        """Close every session whose key does not hold any more."""
        for session in list(self._sessions):
            session.check()
