"""`/web/stream`: the market for everybody, and the account's own orders for who is signed in.

A page says which symbols it looks at, and is told at once whether venue and feed are there. Whoever
brings a valid session cookie also gets `resync` once order events flow (what was loaded before may
be old: load it again) and `order` for each event after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from madang.core.closecodes import CloseCode
from madang.edge import Principal, Request
from madang.exchange.api.authenticator import ExchangeAuthenticator
from madang.exchange.api.cookies import SessionClaim
from madang.exchange.api.refusals import echo
from madang.exchange.stream.account_events import AccountEventsHub
from madang.exchange.stream.dialects import PAGE
from madang.exchange.stream.moving import FrozenPage, recall, refer
from madang.exchange.stream.page_health import PageHealth
from madang.exchange.stream.page_market import PageMarket
from madang.exchange.stream.page_overview import EVERYTHING, PageOverview
from madang.hub import Connection

SYMBOLS_MAX: Final = 50
_RESYNC: Final = b'{"type":"resync"}'


class Ask(msgspec.Struct):
    """What a page says."""

    action: str
    symbol: str = ""


class PageSession:
    """One connection to `/web/stream`."""

    def __init__(
        self, connection: Connection, owner: PageStream, principal: Principal | None
    ) -> None:
        self.principal = principal
        self._connection = connection
        self._owner = owner
        self._symbols: set[str] = set()
        self._overview = False

    def begin(self) -> None:
        """Tell what a new page hears first."""
        connection, owner = self._connection, self._owner
        owner.health.join(connection)
        if self.principal is not None:
            account = self.principal.account
            owner.events.join(account, connection, lambda: connection.send(_RESYNC))

    def on_message(self, payload: bytes, binary: bool) -> None:
        """Take one message of the page."""
        try:
            ask = msgspec.json.decode(payload, type=Ask)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._connection.close(CloseCode.POLICY_VIOLATION, "invalid syntax")
            return
        if ask.action == "subscribe":
            self._subscribe(ask.symbol)
        elif ask.action == "unsubscribe":
            if ask.symbol == EVERYTHING:
                self._overview = False
                self._owner.overview.part(self._connection)
            if ask.symbol in self._symbols:
                self._symbols.discard(ask.symbol)
                self._owner.market.part(ask.symbol, self._connection)
        elif ask.action == "ping":
            self._connection.send(self._owner.health.message())
        else:
            self._connection.close(CloseCode.POLICY_VIOLATION, "unknown action")

    def on_close(self, code: int, reason: str) -> None:
        """Leave the account; the hub has left the symbols."""
        self._owner.forget(self)
        if self.principal is not None:
            self._owner.events.part(self.principal.account, self._connection)

    # MobileSession of the hub

    def may_move(self) -> bool:
        """Tell whether the account's orders, if any are to, flow."""
        principal = self.principal
        return principal is None or not self._owner.events.waits(
            principal.account, self._connection
        )

    def freeze(self) -> bytes:
        """Return it as plain data."""
        who = last = None
        if self.principal is not None:
            who = refer(self.principal)
            last = self._owner.events.stands_at(self.principal.account, self._connection)
        self._owner.forget(self)
        frozen = FrozenPage(who, sorted(self._symbols), self._overview, last)
        return msgspec.msgpack.encode(frozen)

    def thaw(self, frozen: FrozenPage) -> None:
        """Be what was frozen; raises MadangError."""
        connection, owner = self._connection, self._owner
        if self.principal is not None and frozen.events is not None:
            owner.events.resume(self.principal.account, connection, frozen.events)
        owner.health.join(connection)
        for symbol in frozen.symbols:
            self._subscribe(symbol)
        if frozen.overview:
            self._subscribe(EVERYTHING)

    def moved(self, taker: str) -> None:
        """Another worker has it: nothing is sent to a page but by its channels."""

    def discard(self) -> None:
        """It was thawed and never went on."""
        self._owner.forget(self)

    def check(self, session_holds: Callable[[SessionClaim], bool]) -> None:
        """Close the connection if its session is over."""
        if self.principal is None or self._connection.closed:
            return
        claim = self.principal.data
        if not isinstance(claim, SessionClaim) or not session_holds(claim):
            self._connection.close(CloseCode.UNAUTHORIZED, "the session is over")

    def _subscribe(self, symbol: str) -> None:
        if symbol == EVERYTHING:
            self._overview = True
            self._owner.overview.join(self._connection)
            return
        if symbol in self._symbols:
            return
        if len(self._symbols) >= SYMBOLS_MAX:
            self._complain(f"at most {SYMBOLS_MAX} symbols")
        elif self._owner.market.join(symbol, self._connection):
            self._symbols.add(symbol)
        else:
            self._complain(f"unknown symbol {echo(symbol)}")

    def _complain(self, message: str) -> None:
        self._connection.send(msgspec.json.encode({"type": "error", "message": message}))


class PageStream:
    """Opens sessions and closes those that are over."""

    def __init__(
        self,
        authenticator: ExchangeAuthenticator,
        events: AccountEventsHub,
        market: PageMarket,
        health: PageHealth,
        overview: PageOverview,
    ) -> None:
        self.events = events
        self.market = market
        self.health = health
        self.overview = overview
        self._authenticator = authenticator
        self._sessions: set[PageSession] = set()

    def open(self, request: Request, connection: Connection) -> PageSession:
        """Start a session; a cookie that is not valid makes an anonymous one."""
        connection.dialect = PAGE
        session = self._make(connection, self._authenticator.session(request))
        session.begin()
        return session

    async def thaw(self, connection: Connection, frozen: bytes) -> PageSession:
        """Go on with a page of another worker; raises MadangError."""
        was = msgspec.msgpack.decode(frozen, type=FrozenPage)
        principal = None if was.who is None else recall(self._authenticator, was.who)
        session = self._make(connection, principal)
        try:
            session.thaw(was)
        except BaseException:
            self._sessions.discard(session)
            raise
        return session

    def _make(self, connection: Connection, principal: Principal | None) -> PageSession:
        connection.authenticated = True
        session = PageSession(connection, self, principal)
        self._sessions.add(session)
        return session

    def forget(self, session: PageSession) -> None:
        """Drop a session that has ended."""
        self._sessions.discard(session)

    def check(self) -> None:
        """Close every session that does not hold any more."""
        for session in list(self._sessions):
            session.check(self._authenticator.session_holds)
