"""The WebSocket endpoints of an application's hub, served by the edge.

`hub_routes` are ordinary routes, for a `Server` of one's own. `HubFront` serves them to connections
that another server (that of an ASGI application) has accepted and read the request of. Invariant:
a page of another site connects only where the endpoint says so, with or without cookies.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import msgspec

from madang import bus, hub
from madang.bus import Bus
from madang.bus.application import Member
from madang.core.errors import MadangError
from madang.edge.errors import ApiError
from madang.edge.request import Headers, Request, Role
from madang.edge.route import Application, Metric, WebSocketRoute
from madang.edge.server import Server
from madang.edge.settings import EdgeSettings
from madang.edge.system import edge_metrics
from madang.edge.websocket_protocol import open_websocket
from madang.hub import Connection, Session
from madang.hub.application import HubSession, endpoints
from madang.hub.endpoint import ClientSession, Endpoint

ANY_ORIGIN = "*"


def hub_routes(session: HubSession) -> tuple[WebSocketRoute, ...]:
    """Return a route for every declared endpoint."""
    return tuple(_route(session, endpoint) for endpoint in endpoints())


def allowed_origins() -> tuple[str, ...]:
    """Return the sites that endpoints name, for `EdgeSettings.allowed_origins`."""
    return tuple({origin for endpoint in endpoints() for origin in endpoint.origins})


def _route(session: HubSession, endpoint: Endpoint) -> WebSocketRoute:
    def open_session(request: Request, connection: Connection) -> Session:
        _check_origin(request, endpoint)
        request.query()  # 400 where it cannot be read
        return session.connect(endpoint, connection, request)

    async def thaw(connection: Connection, frozen: bytes) -> ClientSession:
        return await session.thaw(endpoint, connection, frozen)

    return WebSocketRoute(endpoint.path, Role.PUBLIC, open_session, thaw=thaw)


def _check_origin(request: Request, endpoint: Endpoint) -> None:
    origin = request.headers.get("origin")
    if origin is None or ANY_ORIGIN in endpoint.origins or origin in endpoint.origins:
        return
    host = (request.headers.get("host") or "").lower()
    if not host or urlsplit(origin).netloc.lower() != host:
        raise ApiError(403, "this origin may not open a WebSocket here")


class HubFront:
    """Takes the connections of a hub's endpoints over from a server of another kind."""

    def __init__(self, session: HubSession, bus: Bus, settings: EdgeSettings) -> None:
        self.bus = bus
        self._paths = frozenset(endpoint.path for endpoint in endpoints())
        routes = hub_routes(session)
        self._routes = {route.path: route for route in routes}
        settings = msgspec.structs.replace(settings, allowed_origins=allowed_origins())
        self.session = session
        self.server = Server(Application((), routes), settings, session.hub)

    async def start(self) -> None:
        """Begin to watch deadlines."""
        await self.server.start(())

    def serves(self, path: str) -> bool:
        """Tell whether a path is an endpoint."""
        return path in self._paths

    @property
    def websockets(self) -> int:
        """How many clients are connected."""
        return self.server.state.websockets

    def families(self) -> Iterable[Metric]:
        """Return the metrics of the hub and of who listens to it."""
        return edge_metrics(self.server.state)

    def statistics(self) -> Mapping[str, int]:
        """Return counts since the start and present sizes of the hub."""
        return self.server.hub.statistics()

    def take(self, transport: asyncio.Transport, request: Request, rest: bytes) -> ApiError | None:
        """Take a connection that asked for a WebSocket; return the refusal where there is one.

        `rest` came behind the request. The transport has a new protocol afterwards; a refusal is
        the caller's to write.
        """
        state = self.server.state
        if state.draining or not state.admit(request.peer):
            return ApiError(503, "no more connections are taken")
        try:
            protocol = open_websocket(state, request, self._routes[request.path])
        except ApiError as error:
            state.leave(request.peer)
            return error
        except MadangError as error:
            state.leave(request.peer)
            return ApiError(503, error.message)
        transport.set_protocol(protocol)
        protocol.start(transport, request.peer, rest)
        return None

    async def drain(self, timeout_ms: int) -> bool:
        """Send clients elsewhere at a set pace; tell whether all went in time."""
        return await self.server.drain(timeout_ms)

    async def close(self) -> None:
        """Cut every connection."""
        await self.server.close()


@asynccontextmanager
async def talking(process: Member, settings: EdgeSettings) -> AsyncIterator[HubFront]:
    """Join the bus and serve the hub's endpoints, for as long as an application runs."""
    async with bus.session(process) as opened, hub.session() as session:
        front = HubFront(session, opened, settings)
        await front.start()
        try:
            yield front
        finally:
            await front.close()


def upgrade_request(
    path: str, query_string: bytes, headers: list[tuple[bytes, bytes]], peer: str
) -> Request:
    """Return the request of an upgrade as the edge knows it; names of headers in lower case."""
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        values[name] = values[name] + b", " + value if name in values else value
    request = Request("GET", path, query_string, Headers(values))
    request.peer = peer
    return request
