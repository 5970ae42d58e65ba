"""From a request to a response: route, role, handler, and every failure to JSON."""

from __future__ import annotations

from collections.abc import Awaitable

from madang.core import log
from madang.edge.errors import ApiError
from madang.edge.guard import authorize, check_cross_site
from madang.edge.pages import INDEX, Pages
from madang.edge.request import Request
from madang.edge.response import Response, error_response
from madang.edge.route import Authenticator, Route, WebSocketRoute
from madang.edge.router import Match, Router
from madang.edge.settings import EdgeSettings


class Dispatcher:
    """The routes of one application, ready to be called."""

    def __init__(
        self,
        routes: tuple[Route, ...],
        websocket_routes: tuple[WebSocketRoute, ...],
        authenticator: Authenticator | None,
        pages: Pages | None,
        settings: EdgeSettings,
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._pages = pages
        self._log = log.get("edge")
        self._routes: Router[Route] = Router()
        self._websockets: Router[WebSocketRoute] = Router()
        self._page_paths: Router[str] = Router()
        for route in routes:
            self._routes.add(route.method, route.path, route)
        for websocket_route in websocket_routes:
            self._websockets.add("GET", websocket_route.path, websocket_route)
        for path in pages.page_paths if pages is not None else ():
            self._page_paths.add("GET", path, INDEX)

    def find_websocket(self, request: Request) -> WebSocketRoute | None:
        """Return the WebSocket route of a request's path and set its parameters."""
        match = self._websockets.match(request.path)
        if match is None:
            return None
        request.parameters = match.parameters
        return match.methods["GET"]

    def authorize(self, request: Request, route: Route | WebSocketRoute) -> None:
        """Check who calls; raises ApiError."""
        authorize(request, route.role, self._authenticator)

    def call(self, request: Request) -> Response | Awaitable[Response]:
        """Return the response, or what must be awaited for it; raises what the handler raises."""
        try:
            match = self._routes.match(request.path)
            if match is None:
                return self._answer_page(request)
        except ApiError as error:
            page = self._missing_page(request, error)
            if page is None:
                raise
            return page
        route = self._choose(match, request)
        request.parameters = match.parameters
        authorize(request, route.role, self._authenticator)
        check_cross_site(request, self._settings)
        return route.handler(request)

    def _choose(self, match: Match[Route], request: Request) -> Route:
        method = request.method
        route = match.methods.get(method)
        if route is None and method == "HEAD":
            route = match.methods.get("GET")
        if route is None:
            allowed = set(match.methods) | ({"HEAD"} if "GET" in match.methods else set())
            raise ApiError(405, f"{method} is not allowed here").with_headers(
                ("allow", ", ".join(sorted(allowed)))
            )
        return route

    def _answer_page(self, request: Request) -> Response:
        pages = self._pages
        if pages is not None:
            name = pages.find(request.path)
            if name is None and self._page_paths.match(request.path) is not None:
                name = INDEX
            if name is not None:
                if request.method not in ("GET", "HEAD"):
                    raise ApiError(405, f"{request.method} is not allowed here").with_headers(
                        ("allow", "GET, HEAD")
                    )
                response = pages.answer(name, request)
                if response is not None:
                    return response
        if self.find_websocket(request) is not None:
            raise ApiError(426, "this path speaks WebSocket: send an upgrade request").with_headers(
                ("upgrade", "websocket"), ("sec-websocket-version", "13")
            )
        raise ApiError(404, f"{request.method} {request.path} is not offered")

    def _missing_page(self, request: Request, error: ApiError) -> Response | None:
        """Return the page that says there is none, where a browser asked for what is no path."""
        if self._pages is None or error.status not in (400, 404) or request.method != "GET":
            return None
        return self._pages.missing(request)

    def failed(self, request: Request, error: BaseException) -> Response:
        """Return what the client gets for an exception; an unknown one is logged, never told."""
        if isinstance(error, ApiError):
            return error_response(error)
        self._log.error(
            "request failed",
            request_id=request.id,
            method=request.method,
            path=request.path,
            exc_info=(type(error), error, error.__traceback__),
        )
        return error_response(ApiError(500, "internal error"))
