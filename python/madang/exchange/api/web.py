"""What only the pages use: the session of a person, and the list of symbols."""

from __future__ import annotations

from typing import Final

from madang.core.clock import Clock
from madang.core.ids import Kind, to_uuid
from madang.edge import ApiError, Request, Response, json_response
from madang.edge.guard import is_own_origin
from madang.exchange.api import schemas
from madang.exchange.api.authenticator import ExchangeAuthenticator
from madang.exchange.api.cookies import (
    CSRF_COOKIE,
    SESSION_COOKIE,
    SESSION_SECONDS,
    SessionClaim,
    csrf_token,
    password_tag,
    sign_session,
)
from madang.exchange.api.decimals import price_text
from madang.exchange.api.feed_client import FeedClient, FeedUnavailable
from madang.exchange.api.login import Login
from madang.exchange.directory import DirectoryReplica
from madang.wire.records import Credential

SECOND_NS: Final = 1_000_000_000


class SessionCookies:
    """Makes the cookies of who has shown a password."""

    def __init__(self, secret: bytes, clock: Clock, *, tls: bool) -> None:
        """`tls` says that this server is reached over TLS, so that cookies may not leave it."""
        self._tls = tls
        self._secret = secret
        self._clock = clock

    def of(self, credential: Credential, request: Request) -> tuple[tuple[str, str], ...]:
        """Return the headers that sign a password's owner in."""
        expires_s = self._clock.now_ns() // SECOND_NS + SESSION_SECONDS
        claim = SessionClaim(credential.account, expires_s, password_tag(credential.value))
        session = sign_session(self._secret, claim)
        behind_tls = self._tls or request.headers.get("x-forwarded-proto") == "https"
        secure = "; Secure" if behind_tls else ""
        common = f"; Path=/; SameSite=Lax; Max-Age={SESSION_SECONDS}{secure}"
        token = csrf_token(self._secret, session)
        return (
            ("set-cookie", f"{SESSION_COOKIE}={session}; HttpOnly{common}"),
            ("set-cookie", f"{CSRF_COOKIE}={token}{common}"),
        )


class WebSession:
    """Handlers of /web/session."""

    def __init__(
        self, login: Login, authenticator: ExchangeAuthenticator, cookies: SessionCookies
    ) -> None:
        self._login = login
        self._authenticator = authenticator
        self._cookies = cookies

    async def create(self, request: Request) -> Response:
        """POST /web/session."""
        check_own_page(request)
        asked = request.json(schemas.SignIn)
        credential = await self._login.verify(asked.name, asked.password, request.peer)
        return Response(204, headers=self._cookies.of(credential, request))

    def delete(self, request: Request) -> Response:
        """DELETE /web/session: the browser forgets it; whoever is not signed in loses nothing."""
        check_own_page(request)
        gone = "; Path=/; SameSite=Lax; Max-Age=0"
        cookies = (
            ("set-cookie", f"{SESSION_COOKIE}=; HttpOnly{gone}"),
            ("set-cookie", f"{CSRF_COOKIE}={gone}"),
        )
        return Response(204, headers=cookies)

    def get(self, request: Request) -> Response:
        """GET /web/session."""
        principal = request.principal
        assert principal is not None
        return json_response(
            schemas.SignedIn(
                account=to_uuid(Kind.ACCOUNT, principal.account),
                name=self._authenticator.name(principal.account),
                role=principal.role.value,
            )
        )


class WebSymbols:
    """Handler of /web/symbols."""

    def __init__(self, replica: DirectoryReplica, feed: FeedClient) -> None:
        self._replica = replica
        self._feed = feed

    async def list_all(self, _request: Request) -> Response:
        """GET /web/symbols; without the feed, every symbol without its price."""
        try:
            last = {state.symbol: state.last for state in await self._feed.symbols()}
        except FeedUnavailable:
            last = {}
        rows = [
            schemas.SymbolRow(
                symbol=instrument.symbol,
                name=instrument.name,
                last=price_text(last[instrument.symbol]) if last.get(instrument.symbol) else None,
            )
            for instrument in self._replica.directory.instruments.values()
        ]
        return json_response(sorted(rows, key=lambda row: row.symbol))


def check_own_page(request: Request) -> None:
    """Refuse a page of another site that signs a visitor in, up or out."""
    if request.headers.get("origin") is not None and not is_own_origin(request):
        raise ApiError(403, "this origin may not sign in here")
