"""Signing up: a name, a password, an account in the venue's log.

Each try carries a `request_id` of the page. Invariant: repeating a try that broke off anywhere goes
on where it was and never makes a second account; an invitation belongs to the first try that claims
it, and is free again only once the venue has refused that try's name for good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from madang.core.clock import Clock
from madang.edge import ApiError, Request, Response, json_response
from madang.edge.errors import UNAVAILABLE
from madang.exchange import passwords
from madang.exchange.api.authenticator import unauthorized
from madang.exchange.api.hashing import Hashing
from madang.exchange.api.login import AttemptLimiter, LoginSettings, check_attempts
from madang.exchange.api.operating import Operating
from madang.exchange.api.refusals import forbidden, invalid, unprocessable
from madang.exchange.api.store_client import StoreClient
from madang.exchange.api.web import SessionCookies, check_own_page
from madang.exchange.directory import DirectoryReplica
from madang.exchange.operator import RefusedError
from madang.exchange.registration import (
    NAME_PATTERN,
    NAME_RULE,
    AccountsSettings,
    Registration,
    command_id,
    invitation_digest,
    is_name,
    is_reserved,
    neighbourhood,
)
from madang.wire.codes import CredentialKind

HOUR_S: Final = 3_600
TAKEN: Final = "this name is not available, choose another"
NOT_INVITED: Final = "the invitation does not hold: it may have been used, or be over"


class RegistrationRules(msgspec.Struct):
    """Who may sign up, and what names and passwords must be."""

    registration: Registration
    name_pattern: str
    password_length_min: int
    password_length_max: int


class NewAccount(msgspec.Struct):
    """Who signs up; `request_id` is 128 random bits in hex, the same when the try is repeated."""

    name: Annotated[str, Meta(max_length=128)]
    password: Annotated[str, Meta(max_length=256)]
    request_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
    invitation: Annotated[str, Meta(max_length=128)] | None = None


@dataclass(frozen=True, slots=True)
class SignUpParts:
    """What signing up uses."""

    operating: Operating
    store: StoreClient
    replica: DirectoryReplica
    hashing: Hashing
    cookies: SessionCookies
    clock: Clock


class SignUp:
    """Handlers of /web/registration and /web/accounts."""

    def __init__(self, settings: AccountsSettings, parts: SignUpParts) -> None:
        self._settings = settings
        self._parts = parts
        self._limiter = AttemptLimiter(
            LoginSettings(attempts_max=settings.sign_ups_per_hour, window_s=HOUR_S)
        )

    def rules(self, _request: Request) -> Response:
        """GET /web/registration."""
        return json_response(
            RegistrationRules(
                self._settings.registration,
                NAME_PATTERN,
                passwords.LENGTH_MIN,
                passwords.LENGTH_MAX,
            )
        )

    async def create(self, request: Request) -> Response:
        """POST /web/accounts: 201 and signed in."""
        check_own_page(request)
        asked = request.json(NewAccount)
        self._check(asked)
        self._count(request)
        hashed = await self._parts.hashing.make(asked.password)
        if is_reserved(asked.name):
            raise unprocessable(TAKEN)
        account = await self._account(asked)
        await self._set_password(account, asked, hashed)
        credential = self._parts.replica.directory.password(asked.name)
        if credential is None:  # made, but not known here yet: signing in will do
            return Response(201)
        if credential.account != account or not (
            credential.value == hashed
            or await self._parts.hashing.matches(credential.value, asked.password)
        ):
            raise unauthorized()
        return Response(201, headers=self._parts.cookies.of(credential, request))

    def _check(self, asked: NewAccount) -> None:
        """Refuse what can be refused without knowing anything of anybody."""
        if self._settings.registration == "closed":
            raise forbidden("registration is closed: the operator makes accounts")
        if self._settings.registration == "invite" and not asked.invitation:
            raise forbidden("an invitation is needed: the operator makes them")
        if not is_name(asked.name):
            raise invalid(NAME_RULE)
        weakness = passwords.weakness(asked.password, asked.name)
        if weakness is not None:
            raise invalid(weakness)

    def _count(self, request: Request) -> None:
        subject, now_ns = neighbourhood(request.peer), self._parts.clock.monotonic_ns()
        check_attempts(self._limiter, (subject,), now_ns)
        self._limiter.failed(subject, now_ns)
        if len(self._parts.replica.directory.accounts) >= self._settings.accounts_max:
            raise ApiError(503, "this venue takes no more accounts", UNAVAILABLE)

    async def _account(self, asked: NewAccount) -> int:
        """Make the account, or find the one that an earlier try made."""
        request_id = command_id(asked.request_id, "account", asked.name)
        claim = None
        if self._settings.registration == "invite":
            claim = (invitation_digest(asked.invitation or ""), request_id.hex())
            if not (
                await self._parts.store.ask("claim_invitation", digest=claim[0], claimant=claim[1])
            )["held"]:
                raise forbidden(NOT_INVITED)
        operating = self._parts.operating
        try:
            return await operating.done(operating.operator.create_account(asked.name, request_id))
        except RefusedError:
            if claim is not None:
                await self._parts.store.ask(
                    "release_invitation", digest=claim[0], claimant=claim[1]
                )
            raise unprocessable(TAKEN) from None

    async def _set_password(self, account: int, asked: NewAccount, hashed: str) -> None:
        request_id = command_id(asked.request_id, "password", asked.name)
        operating = self._parts.operating
        command = operating.operator.set_credential(
            account, CredentialKind.PASSWORD, asked.name, hashed, request_id
        )
        try:
            await operating.done(command)
        except RefusedError:
            raise unprocessable(TAKEN) from None
