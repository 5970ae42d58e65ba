"""What a person does to their own account on the pages: API keys and the password.

Only who signed in with a password may: a key cannot make keys, so to revoke it ends it all.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import msgspec
from msgspec import Meta

from madang.edge import ApiError, Request, Response, json_response
from madang.exchange import passwords
from madang.exchange.api.cookies import SessionClaim, password_tag
from madang.exchange.api.hashing import Hashing
from madang.exchange.api.login import Login
from madang.exchange.api.operating import Operating
from madang.exchange.api.refusals import forbidden, invalid, not_found, unprocessable
from madang.exchange.api.web import SessionCookies
from madang.exchange.directory import DirectoryReplica
from madang.exchange.operator import RefusedError
from madang.wire.codes import CredentialKind
from madang.wire.records import Credential


class Key(msgspec.Struct):
    """An API key as it can be seen again."""

    key_id: str


class NewKey(msgspec.Struct):
    """An API key with its secret, which is told this once."""

    key_id: str
    secret: str


class PasswordChange(msgspec.Struct):
    """The password that holds, and the one that is to hold."""

    current: Annotated[str, Meta(min_length=1, max_length=256)]
    new: Annotated[str, Meta(max_length=256)]


class WebKeys:
    """Handlers of /web/keys."""

    def __init__(self, operating: Operating, replica: DirectoryReplica, keys_max: int) -> None:
        self._operating = operating
        self._replica = replica
        self._keys_max = keys_max

    def list_all(self, request: Request) -> Response:
        """GET /web/keys: without secrets, oldest first."""
        keys = self._replica.directory.api_keys(signed_in(request).account)
        return json_response([Key(key_id) for key_id in keys])

    async def create(self, request: Request) -> Response:
        """POST /web/keys.

        Other workers may be making keys too. The log puts all of them in one order, and a key that
        stands in it behind the limit is taken back.
        """
        replica, account = self._replica, signed_in(request).account
        if len(replica.directory.api_keys(account)) >= self._keys_max:
            raise self._too_many()
        operating = self._operating
        try:
            key_id, secret = await operating.done(operating.operator.add_key(account))
        except RefusedError as error:
            raise unprocessable(error.message) from None
        if key_id in replica.directory.api_keys(account)[self._keys_max :]:
            with suppress(RefusedError):  # somebody was faster
                await self._remove(account, key_id)
            raise self._too_many()
        return json_response(NewKey(key_id, secret), 201)

    def _too_many(self) -> ApiError:
        return forbidden(f"an account has at most {self._keys_max} API keys: revoke one first")

    async def _remove(self, account: int, key_id: str) -> None:
        operator = self._operating.operator
        command = operator.set_credential(account, CredentialKind.API_KEY, key_id, "")
        await self._operating.done(command)

    async def revoke(self, request: Request) -> Response:
        """DELETE /web/keys/{key_id}."""
        account, key_id = signed_in(request).account, request.parameters["key_id"]
        found = self._replica.directory.api_key(key_id)
        if found is None or found.account != account:
            raise not_found("API key not found")
        try:
            await self._remove(account, key_id)
        except RefusedError:  # revoked twice at once
            raise not_found("API key not found") from None
        return Response(204)


class WebPassword:
    """Handler of /web/password."""

    def __init__(
        self,
        operating: Operating,
        replica: DirectoryReplica,
        login: Login,
        hashing: Hashing,
        cookies: SessionCookies,
    ) -> None:
        self._operating = operating
        self._replica = replica
        self._login = login
        self._hashing = hashing
        self._cookies = cookies

    async def change(self, request: Request) -> Response:
        """PUT /web/password: every session of the old one ends, this one goes on."""
        asked, claim = request.json(PasswordChange), signed_in(request)
        name = self._name(claim)
        weakness = passwords.weakness(asked.new, name)
        if weakness is not None:
            raise invalid(weakness)
        held = await self._login.verify(name, asked.current, request.peer)
        if held.account != claim.account:
            raise forbidden("the sign-in belongs to another account")
        hashed = await self._hashing.make(asked.new)
        operating = self._operating
        command = operating.operator.set_credential(
            claim.account, CredentialKind.PASSWORD, name, hashed
        )
        try:
            await operating.done(command)
        except RefusedError as error:
            raise unprocessable(error.message) from None
        return Response(204, headers=self._cookies.of(_with_value(held, hashed), request))

    def _name(self, claim: SessionClaim) -> str:
        """Return the sign-in that the session was opened with."""
        for password in self._replica.directory.passwords(claim.account):
            if password_tag(password.value) == claim.tag:
                return password.name
        raise forbidden("the session is over")


def signed_in(request: Request) -> SessionClaim:
    """Return the session of who calls; raises ApiError 403 for an API key."""
    principal = request.principal
    assert principal is not None
    if not isinstance(principal.data, SessionClaim):
        raise forbidden("this needs a sign-in with a password")
    return principal.data


def _with_value(credential: Credential, value: str) -> Credential:
    return credential._replace(value=value)
