"""Who calls: an API key in headers, Basic authorization, or a signed session cookie.

Everything is answered from this worker's directory, so it works while the venue is away, and a key
that was removed there is refused from the next request on. Secrets are compared as SHA-256 in
constant time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

from madang.core.clock import Clock
from madang.edge import ApiError, Principal, Request, Role
from madang.exchange.api.cookies import (
    SESSION_COOKIE,
    SessionClaim,
    csrf_token,
    password_tag,
    read_session,
)
from madang.exchange.api.refusals import forbidden
from madang.exchange.directory import DirectoryReplica

SECRET_CHARACTERS_MAX: Final = 256
UNAUTHORIZED_CODE: Final = 40110000
_ROLES: Final = frozenset((Role.VIEWER, Role.TRADER, Role.ADMIN))
_NOBODY: Final = "0" * 64


def unauthorized() -> ApiError:
    """Return the answer to whoever is not known."""
    return ApiError(401, "unauthorized", UNAUTHORIZED_CODE)


class ExchangeAuthenticator:
    """Finds accounts by what a request carries."""

    def __init__(self, replica: DirectoryReplica, secret: bytes, clock: Clock) -> None:
        self._replica = replica
        self._secret = secret
        self._clock = clock

    def authenticate(self, request: Request) -> Principal | None:
        """Return who calls, None where nobody says; raises ApiError 401 where it is not true."""
        key_id = request.headers.get("apca-api-key-id")
        if key_id is not None:
            return self.key(key_id, request.headers.get("apca-api-secret-key") or "")
        authorization = request.headers.get("authorization")
        if authorization is not None:
            return self._basic(authorization)
        return self.session(request)

    def key(self, key_id: str, secret: str) -> Principal:
        """Return who holds an API key; raises ApiError 401, 403 where the account is disabled."""
        found = self._replica.directory.api_key(key_id)
        known = _NOBODY if found is None else found.value
        given = hashlib.sha256(secret[:SECRET_CHARACTERS_MAX].encode(errors="replace")).hexdigest()
        if not hmac.compare_digest(given, known) or found is None:
            raise unauthorized()
        if not self._is_active(found.account):
            raise forbidden("the account is disabled")
        role = self.role(found.account)
        return Principal(found.account, role, key_id, by_cookie=False, data=found.value)

    def known_key(self, key_id: str) -> Principal | None:
        """Return who holds a key whose secret was shown to another worker."""
        found = self._replica.directory.api_key(key_id)
        if found is None or not self._is_active(found.account):
            return None
        role = self.role(found.account)
        return Principal(found.account, role, key_id, by_cookie=False, data=found.value)

    def key_holds(self, principal: Principal) -> bool:
        """Tell whether a key that was shown before is still what it was then."""
        found = self._replica.directory.api_key(principal.key_id)
        return (
            found is not None
            and found.account == principal.account
            and found.value == principal.data
            and self._is_active(found.account)
        )

    def session(self, request: Request) -> Principal | None:
        """Return who is signed in by cookie, None where nobody is."""
        value = request.cookie(SESSION_COOKIE)
        if value is None:
            return None
        claim = read_session(self._secret, value, self._clock.now_ns() // 1_000_000_000)
        if claim is None or not self.session_holds(claim):
            return None
        role, token = self.role(claim.account), csrf_token(self._secret, value)
        return Principal(claim.account, role, "", by_cookie=True, data=claim, csrf=token)

    def session_holds(self, claim: SessionClaim) -> bool:
        """Tell whether a session is in time, its account active and its password unchanged."""
        if not self._is_active(claim.account):
            return False
        if self._clock.now_ns() // 1_000_000_000 >= claim.expires_s:
            return False
        return any(
            hmac.compare_digest(password_tag(password.value), claim.tag)
            for password in self._replica.directory.passwords(claim.account)
        )

    def holds(self, principal: Principal) -> bool:
        """Tell whether who was let in before is still known, and has still that role."""
        if self.role(principal.account) is not principal.role:
            return False
        if principal.by_cookie:
            return isinstance(principal.data, SessionClaim) and self.session_holds(principal.data)
        return self.key_holds(principal)

    def _is_active(self, account: int) -> bool:
        found = self._replica.directory.accounts.get(account)
        return found is not None and found.active

    def role(self, account: int) -> Role:
        """Return the role of an account; one without a role is a trader."""
        text = self._replica.directory.role(account) or Role.TRADER
        return Role(text) if text in _ROLES else Role.VIEWER

    def name(self, account: int) -> str:
        """Return the name of an account."""
        found = self._replica.directory.accounts.get(account)
        return "" if found is None else found.name

    def _basic(self, authorization: str) -> Principal:
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "basic":
            raise unauthorized()
        try:
            text = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            raise unauthorized() from None
        key_id, _, secret = text.partition(":")
        return self.key(key_id, secret)
