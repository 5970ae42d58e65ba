"""The table of what only the pages use: signing up, keys, password, the overview."""

from __future__ import annotations

from dataclasses import dataclass

from madang.edge import Operation, Role, Route
from madang.exchange.api.login import Login
from madang.exchange.api.market_overview import Overview, OverviewRow
from madang.exchange.api.sign_up import NewAccount, RegistrationRules, SignUp, SignUpParts
from madang.exchange.api.web_account import Key, NewKey, PasswordChange, WebKeys, WebPassword
from madang.exchange.api.web_overview import WebOverview
from madang.exchange.registration import AccountsSettings


@dataclass(frozen=True, slots=True)
class WebMethods:
    """The handlers of one worker that only pages use."""

    sign_up: SignUp
    keys: WebKeys
    password: WebPassword
    overview: WebOverview


def web_methods(
    settings: AccountsSettings, parts: SignUpParts, login: Login, overview: Overview
) -> WebMethods:
    """Return the handlers."""
    operating, replica = parts.operating, parts.replica
    return WebMethods(
        SignUp(settings, parts),
        WebKeys(operating, replica, settings.keys_max),
        WebPassword(operating, replica, login, parts.hashing, parts.cookies),
        WebOverview(overview),
    )


def web_routes(methods: WebMethods) -> tuple[Route, ...]:
    """Return the routes of the pages."""
    tags = ("pages",)
    return (
        Route("GET", "/web/registration", methods.sign_up.rules, Role.PUBLIC, Operation(
            "Tell who may sign up, and what names and passwords must be", tags,
            responses={200: RegistrationRules},
        )),
        Route("POST", "/web/accounts", methods.sign_up.create, Role.PUBLIC, Operation(
            "Sign up", tags, request=NewAccount,
            responses={201: None, 401: None, 403: None, 422: None, 429: None},
        )),
        Route("GET", "/web/keys", methods.keys.list_all, Role.VIEWER, Operation(
            "List the account's API keys", tags, responses={200: list[Key]},
        )),
        Route("POST", "/web/keys", methods.keys.create, Role.VIEWER, Operation(
            "Make an API key", tags, responses={201: NewKey},
        )),
        Route("DELETE", "/web/keys/{key_id}", methods.keys.revoke, Role.VIEWER, Operation(
            "Revoke an API key", tags, responses={204: None, 404: None},
        )),
        Route("PUT", "/web/password", methods.password.change, Role.VIEWER, Operation(
            "Change the password, which ends every other session", tags, request=PasswordChange,
            responses={204: None, 422: None, 429: None},
        )),
        Route("GET", "/web/overview", methods.overview.get, Role.PUBLIC, Operation(
            "List all symbols with the day's change, volume and line", tags,
            responses={200: list[OverviewRow]},
        )),
    )  # fmt: skip
