"""Sessions of the streams as they move between workers: plain data, who it is by reference only.

A key's secret never travels: the next worker looks the key up in its own directory, and a session
by cookie is checked again there, so what was revoked meanwhile does not go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from madang.core.errors import MadangError
from madang.edge import Principal
from madang.exchange.api.authenticator import ExchangeAuthenticator
from madang.exchange.api.cookies import SessionClaim
from madang.hub import Channel, Connection

WARM_LIMIT_S: Final = 4.0
WARM_POLL_S: Final = 0.005


class NotOurs(MadangError):
    """A client whose key or session does not hold here."""


class Reference(msgspec.Struct, array_like=True, frozen=True):
    """Who a session belongs to: an API key, or what a cookie said."""

    account: int
    key_id: str = ""
    expires_s: int = 0
    tag: str = ""


class FrozenTrading(msgspec.Struct, array_like=True, frozen=True):
    """A session of `/stream`; `events`: the last event it has, None where it does not listen."""

    who: Reference
    events: int | None


class FrozenMarket(msgspec.Struct, array_like=True, frozen=True):
    """A session of the data stream; `positions`: kind, symbol, and where it is in what counts."""

    who: Reference
    lists: dict[str, list[str]]
    positions: list[tuple[str, str, int | None]]
    errors: int


class FrozenPage(msgspec.Struct, array_like=True, frozen=True):
    """A page; what it looks at is said anew, its orders go on where they were."""

    who: Reference | None
    symbols: list[str]
    overview: bool
    events: int | None


def refer(principal: Principal) -> Reference:
    """Return how to find who calls again."""
    claim = principal.data
    if isinstance(claim, SessionClaim):
        return Reference(claim.account, expires_s=claim.expires_s, tag=claim.tag)
    return Reference(principal.account, principal.key_id)


def recall(authenticator: ExchangeAuthenticator, who: Reference) -> Principal:
    """Return who calls as this worker knows it; raises NotOurs."""
    if who.key_id:
        found = authenticator.known_key(who.key_id)
        if found is None or found.account != who.account:
            raise NotOurs("the key does not hold here")
        return found
    claim = SessionClaim(who.account, who.expires_s, who.tag)
    if not authenticator.session_holds(claim):
        raise NotOurs("the session does not hold here")
    return Principal(who.account, authenticator.role(who.account), "", by_cookie=True, data=claim)


def stands_at(channel: Channel, connection: Connection) -> int:
    """Return the offset up to which a client has everything."""
    at = channel.stands_at(connection)
    return 0 if at is None else at.offset


async def until_live(parts: Iterable[object], live: Callable[[object], bool]) -> None:
    """Return when all are live, or the limit has passed: what is not live refuses its clients."""
    waiting = list(parts)
    until_s = asyncio.get_running_loop().time() + WARM_LIMIT_S
    while waiting and asyncio.get_running_loop().time() < until_s:
        waiting = [part for part in waiting if not live(part)]
        if waiting:
            await asyncio.sleep(WARM_POLL_S)


class Pins:
    """What is followed although nobody listens, for as long as connections move."""

    def __init__(self) -> None:
        self._pinned: set[str] = set()

    def hold(self, names: Iterable[str]) -> None:
        """Keep them."""
        self._pinned.update(names)

    def __contains__(self, name: str) -> bool:
        return name in self._pinned

    def clear(self) -> None:
        """Keep nothing any more."""
        self._pinned.clear()


def by_kind(names: Iterable[str]) -> Mapping[str, list[str]]:
    """Return the rest of each name by its first word."""
    found: dict[str, list[str]] = {}
    for name in names:
        kind, _, rest = name.partition(".")
        found.setdefault(kind, []).append(rest)
    return found
