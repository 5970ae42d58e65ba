"""The data stream `/v2/iex`, `/v2/sip`, `/v2/test`: sign in, subscribe, then the market.

Alpaca's protocol: every frame is an array, control messages are arrays of one. The header
`Content-Type: application/msgpack` chooses msgpack. Beyond it, a subscription may say after which
position (`since`) it goes on. Invariant: the answer to a subscription leaves before its first data.
A connection that cannot keep up gets the newest of what only counts as it stands; of what counts
message by message (trades, bars, statuses) none is left out: it is told so (407) and closed.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

import msgspec

from madang.core.closecodes import CloseCode
from madang.edge import ApiError, Principal, Request
from madang.exchange.api.authenticator import ExchangeAuthenticator
from madang.exchange.api.times import parse_time
from madang.exchange.stream import market_messages as say
from madang.exchange.stream.market_topics import MarketTopics
from madang.exchange.stream.moving import FrozenMarket, recall, refer
from madang.exchange.stream.settings import StreamSettings
from madang.exchange.stream.topic import EVERY, SUBJECTS
from madang.hub import Connection

PATHS: Final = ("/v2/iex", "/v2/sip", "/v2/test")
LISTS: Final = (
    "trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "imbalances",
    "orderbooks",
)  # fmt: skip
RESUMED: Final = frozenset(("trades", "bars", "statuses"))
"""Lists whose messages have positions: a trade's id, the time of a bar or a status."""
POSITION_MAX: Final = 2**62
FOLLOWERS: Final = ("corrections", "cancelErrors")
"""These come with trades; a venue that corrects nothing sends none."""
AUTHENTICATION_S: Final = 8.0
FAILURES_MAX: Final = 3
FAILURE_DELAY_S: Final = 0.5
ERRORS_MAX: Final = 100
SYMBOL_CHARACTERS_MAX: Final = 16
_MSGPACK_TYPES: Final = frozenset(("application/msgpack", "application/x-msgpack"))


class Fault(NamedTuple):
    """An error as clients know it."""

    code: int
    text: str


SYNTAX: Final = Fault(400, "invalid syntax")
NOT_AUTHENTICATED: Final = Fault(401, "not authenticated")
AUTH_FAILED: Final = Fault(402, "auth failed")
ALREADY_AUTHENTICATED: Final = Fault(403, "already authenticated")
AUTH_TIMEOUT: Final = Fault(404, "auth timeout")
SYMBOL_LIMIT: Final = Fault(405, "symbol limit exceeded")
CONNECTION_LIMIT: Final = Fault(406, "connection limit exceeded")
SLOW_CLIENT: Final = Fault(407, "slow client")


class MarketSession:
    """One connection to the data stream."""

    def __init__(self, connection: Connection, owner: MarketStream) -> None:
        self.principal: Principal | None = None
        self._connection = connection
        self._owner = owner
        self._lists: dict[str, dict[str, None]] = {name: {} for name in LISTS}
        self._failures = 0
        self._errors = 0
        connection.farewell = say.encode([_error(SLOW_CLIENT)], connection.dialect)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(AUTHENTICATION_S, self._time_out)
        self._delayed: asyncio.TimerHandle | None = None

    def greet(self) -> None:
        """Say the first word."""
        self._say({"T": "success", "msg": "connected"})

    def on_message(self, payload: bytes, binary: bool) -> None:
        """Take one message of the client."""
        packed = binary and self._connection.dialect == say.MSGPACK
        try:
            decode = msgspec.msgpack.decode if packed else msgspec.json.decode
            frame = decode(payload, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._complain(SYNTAX)
            return
        action = frame.get("action")
        if action == "auth":
            self._authenticate(str(frame.get("key", "")), str(frame.get("secret", "")))
        elif action not in ("subscribe", "unsubscribe"):
            self._complain(SYNTAX)
        elif self.principal is None:
            self._complain(NOT_AUTHENTICATED)
        else:
            self._change(frame, adding=action == "subscribe")

    def on_close(self, code: int, reason: str) -> None:
        """Forget the connection; the hub has left its channels."""
        for timer in (self._timer, self._delayed):
            if timer is not None:
                timer.cancel()
        self._owner.forget(self)

    # MobileSession of the hub

    def _joined(self) -> list[tuple[str, str]]:
        """Return kind and symbol of every topic it listens to."""
        lists = ((name, sorted(_effective(self._lists[name]))) for name in SUBJECTS)
        return [(name, symbol) for name, symbols in lists for symbol in symbols]

    def may_move(self) -> bool:
        """Tell whether it is signed in and has got all that its subscriptions begin with."""
        principal, owner = self.principal, self._owner
        if principal is None or self._delayed is not None:
            return False
        topics = [owner.topics.find(name, symbol) for name, symbol in self._joined()]
        settled = all(topic is None or topic.settled(self._connection) for topic in topics)
        return settled and owner.authenticator.key_holds(principal)

    def freeze(self) -> bytes:
        """Return it as plain data."""
        assert self.principal is not None
        positions: list[tuple[str, str, int | None]] = []
        for name, symbol in self._joined():
            topic = self._owner.topics.find(name, symbol)
            if topic is not None:
                positions.append((name, symbol, topic.stands_at(self._connection)))
        lists = {name: list(symbols) for name, symbols in self._lists.items() if symbols}
        self.discard()
        frozen = FrozenMarket(refer(self.principal), lists, positions, self._errors)
        return msgspec.msgpack.encode(frozen)

    def thaw(self, frozen: FrozenMarket) -> None:
        """Be what was frozen; raises MadangError."""
        principal = recall(self._owner.authenticator, frozen.who)
        self.principal = principal
        self._timer.cancel()
        self._owner.count(principal.account, 1)
        self._errors = frozen.errors
        for name, symbols in frozen.lists.items():
            self._lists[name] = dict.fromkeys(symbols)
        for name, symbol, last in frozen.positions:
            self._owner.topics.resume(name, symbol, self._connection, last)
        self._connection.authenticated = True

    def moved(self, taker: str) -> None:
        """Another worker has it: nothing is sent to a session but by its channels."""

    def discard(self) -> None:
        """It is not of this worker any more, or never was."""
        self._timer.cancel()
        self._owner.forget(self)

    def check(self) -> None:
        """Close the connection if its key was revoked."""
        principal = self.principal
        if principal is None or self._connection.closed:
            return
        if not self._owner.authenticator.key_holds(principal):
            self._connection.close(CloseCode.UNAUTHORIZED, "the key was revoked")

    def _time_out(self) -> None:
        self._complain(AUTH_TIMEOUT)
        self._connection.close(CloseCode.UNAUTHORIZED, AUTH_TIMEOUT.text)

    def _authenticate(self, key: str, secret: str) -> None:
        if self.principal is not None:
            self._complain(ALREADY_AUTHENTICATED)
        elif self._delayed is not None:
            self._connection.close(CloseCode.POLICY_VIOLATION, "wait for the answer")
        else:
            try:
                self.admit(self._owner.authenticator.key(key, secret))
            except ApiError:
                # Clients without back-off are slowed down by the answer that refuses them.
                loop = asyncio.get_running_loop()
                self._delayed = loop.call_later(FAILURE_DELAY_S, self._refuse)

    def admit(self, principal: Principal) -> None:
        """Take who calls, unless the account has too many connections."""
        if not self._owner.has_room(principal.account):
            self._complain(CONNECTION_LIMIT)
            self._connection.close(CloseCode.TOO_MANY_CONNECTIONS, CONNECTION_LIMIT.text)
            return
        self.principal = principal
        self._connection.authenticated = True
        self._timer.cancel()
        self._owner.count(principal.account, 1)
        self._say({"T": "success", "msg": "authenticated"})

    def _refuse(self) -> None:
        self._delayed = None
        self._failures += 1
        self._complain(AUTH_FAILED)
        if self._failures >= FAILURES_MAX:
            self._connection.close(CloseCode.UNAUTHORIZED, "too many failed attempts")

    def _change(self, frame: dict[str, Any], *, adding: bool) -> None:
        asked: dict[str, list[str]] = {}
        for name in LISTS:
            symbols = frame.get(name) or []
            if not _are_symbols(symbols) or (name == "orderbooks" and EVERY in symbols):
                self._complain(SYNTAX)
                return
            asked[name] = symbols
        since = _positions(frame.get("since"))
        if since is None:
            self._complain(SYNTAX)
            return
        after = {name: dict(symbols) for name, symbols in self._lists.items()}
        for name, symbols in asked.items():
            for symbol in symbols:
                if adding:
                    after[name][symbol] = None
                else:
                    after[name].pop(symbol, None)
        if sum(map(len, after.values())) > self._owner.limits.data_subscriptions_max:
            self._complain(SYMBOL_LIMIT)
            return
        before, self._lists = self._lists, after
        self._say(self._subscription())
        for name in SUBJECTS:
            self._move(name, _effective(before[name]), _effective(after[name]), since.get(name))

    def _move(self, name: str, before: set[str], after: set[str], since: int | None) -> None:
        """Join what is new, after a position if one is given; leave what is not wanted any more."""
        topics = self._owner.topics
        known = topics.sources.replica.directory
        for symbol in sorted(after - before):
            found = known.instrument(symbol)
            if symbol == EVERY or (found is not None and found.symbol == symbol):
                topics.join(name, symbol, self._connection, since)
        for symbol in sorted(before - after):
            topics.part(name, symbol, self._connection)

    def _subscription(self) -> say.Message:
        lists = {name: list(symbols) for name, symbols in self._lists.items()}
        return {"T": "subscription", **lists, **dict.fromkeys(FOLLOWERS, lists["trades"])}

    def _say(self, message: say.Message) -> None:
        self._connection.send(*say.encode([message], self._connection.dialect))

    def _complain(self, fault: Fault) -> None:
        self._say(_error(fault))
        self._errors += 1
        if self._errors >= ERRORS_MAX:
            self._connection.close(CloseCode.POLICY_VIOLATION, "too many errors")


class MarketStream:
    """Opens sessions, counts them by account, closes those whose key is revoked."""

    def __init__(
        self,
        authenticator: ExchangeAuthenticator,
        topics: MarketTopics,
        limits: StreamSettings,
    ) -> None:
        self.authenticator = authenticator
        self.topics = topics
        self.limits = limits
        self._sessions: set[MarketSession] = set()
        self._counts: dict[int, int] = {}

    def open(self, request: Request, connection: Connection) -> MarketSession:
        """Start a session; a key in the headers signs in at once."""
        content_type = (request.headers.get("content-type") or "").partition(";")[0].strip()
        packed = content_type.lower() in _MSGPACK_TYPES
        connection.dialect = say.MSGPACK if packed else say.JSON
        principal = None
        if request.headers.get("apca-api-key-id") is not None:
            principal = self.authenticator.authenticate(request)
        session = self._make(connection)
        session.greet()
        if principal is not None:
            session.admit(principal)
        return session

    async def thaw(self, connection: Connection, frozen: bytes) -> MarketSession:
        """Go on with a session of another worker; raises MadangError."""
        session = self._make(connection)
        try:
            session.thaw(msgspec.msgpack.decode(frozen, type=FrozenMarket))
        except BaseException:
            session.discard()
            raise
        return session

    def _make(self, connection: Connection) -> MarketSession:
        session = MarketSession(connection, self)
        self._sessions.add(session)
        return session

    def has_room(self, account: int) -> bool:
        """Tell whether an account may have one more connection here."""
        return self._counts.get(account, 0) < self.limits.data_connections_per_account_max

    def count(self, account: int, change: int) -> None:
        """Count a connection that came or went."""
        self._counts[account] = self._counts.get(account, 0) + change
        if not self._counts[account]:
            del self._counts[account]

    def forget(self, session: MarketSession) -> None:
        """Drop a session that has ended."""
        self._sessions.discard(session)
        if session.principal is not None:
            self.count(session.principal.account, -1)

    def check(self) -> None:
        """Close every session whose key does not hold any more."""
        for session in list(self._sessions):
            session.check()


def _error(fault: Fault) -> say.Message:
    return {"T": "error", "code": fault.code, "msg": fault.text}


def _are_symbols(symbols: object) -> bool:
    return isinstance(symbols, list) and all(
        isinstance(symbol, str) and 0 < len(symbol) <= SYMBOL_CHARACTERS_MAX for symbol in symbols
    )


def _positions(since: object) -> dict[str, int] | None:
    """Return the position after which each list goes on, None where that cannot be read."""
    if since is None:
        return {}
    if not isinstance(since, dict) or not since.keys() <= RESUMED:
        return None
    found: dict[str, int] = {}
    for name, value in since.items():
        position = parse_time(value) if isinstance(value, str) and name != "trades" else value
        if type(position) is not int or not 0 <= position <= POSITION_MAX:
            return None
        found[name] = position
    return found


def _effective(symbols: dict[str, None]) -> set[str]:
    """Return what is to be joined: every symbol contains each."""
    return {EVERY} if EVERY in symbols else set(symbols)
