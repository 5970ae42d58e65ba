"""Who may pass: roles, cross-site requests, origins, trusted proxies. Pure."""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from madang.edge.errors import ApiError
from madang.edge.request import Principal, Request, Role
from madang.edge.route import Authenticator
from madang.edge.settings import EdgeSettings

_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))


def authorize(request: Request, role: Role, authenticator: Authenticator | None) -> None:
    """Set `request.principal`, or raise ApiError: 401 nobody, 403 not this role."""
    if role is Role.PUBLIC:
        return
    principal: Principal | None = None
    if authenticator is not None:
        principal = authenticator.authenticate(request)
    if principal is None:
        raise ApiError(401, "unauthorized", 40_110_000)
    if not principal.role.includes(role):
        raise ApiError(403, f"this needs the role {role.value}")
    request.principal = principal


def check_cross_site(request: Request, settings: EdgeSettings) -> None:
    """Refuse an unsafe method by cookie without the token that only our pages can read."""
    principal = request.principal
    if principal is None or not principal.by_cookie or request.method in _SAFE_METHODS:
        return
    expected = principal.csrf or request.cookie(settings.csrf_cookie) or ""
    given = request.headers.get("x-csrf-token") or ""
    if not expected or not hmac.compare_digest(expected.encode(), given.encode()):
        raise ApiError(403, "X-CSRF-Token does not match the cookie")


def is_own_origin(request: Request) -> bool:
    """Tell whether the page that sent a request is of the host that it was sent to."""
    try:
        site = urlsplit(request.headers.get("origin") or "").netloc.lower()
    except ValueError:
        return False
    return bool(site) and site == (request.headers.get("host") or "").lower()


def check_origin(request: Request, settings: EdgeSettings) -> None:
    """Refuse a WebSocket that brings cookies from a page of another site."""
    by_cookie = request.principal is not None and request.principal.by_cookie
    if not by_cookie and request.headers.get("cookie") is None:
        return
    origin = request.headers.get("origin")
    if origin is None and not by_cookie:
        return  # not a browser: nobody else's page is behind it
    if origin is not None:
        if origin in settings.allowed_origins:
            return
        if is_own_origin(request):
            return
    raise ApiError(403, "this origin may not open a WebSocket here")


class Proxies:
    """The networks whose X-Forwarded-For is believed."""

    def __init__(self, networks: tuple[str, ...]) -> None:
        self._networks = [ipaddress.ip_network(text, strict=False) for text in networks]

    def trusts(self, address: str) -> bool:
        """Tell whether `address` is a proxy of ours."""
        if not self._networks:
            return False
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)

    def client(self, address: str, forwarded_for: str | None) -> str:
        """Return the nearest address that is no proxy of ours; `address` is the socket's peer."""
        if forwarded_for is None or not self.trusts(address):
            return address
        for hop in reversed(forwarded_for.split(",")):
            candidate = hop.strip()
            try:
                ipaddress.ip_address(candidate)
            except ValueError:
                return address
            if not self.trusts(candidate):
                return candidate
            address = candidate
        return address
