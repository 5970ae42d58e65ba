"""Routes: what is offered, to whom, what it takes and answers (the source of OpenAPI)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from madang.cluster.node import NodeState
from madang.edge.pages import Pages
from madang.edge.request import Principal, Request, Role
from madang.edge.response import Response
from madang.hub import Connection, MobileSession, Session

Handler = Callable[[Request], Response | Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operation means; types are msgspec-compatible, None means no body.

    `query` and `path` are msgspec structs whose fields are the parameters. `responses` names the
    successful statuses; those every route may answer are added by the edge.
    """

    summary: str
    tags: tuple[str, ...] = ()
    request: object = None
    query: object = None
    path: object = None
    responses: Mapping[int, object] = field(default_factory=dict)
    description: str = ""
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: method and path template, e.g. `/v2/orders/{order_id}`."""

    method: str
    path: str
    handler: Handler
    role: Role
    operation: Operation


@dataclass(frozen=True, slots=True)
class WebSocketRoute:
    """One WebSocket path; PUBLIC means that the session authenticates inside.

    `open` may raise ApiError, which is answered in place of the upgrade. `messages_per_s_max` is
    how many messages a second a client may send here, None for the edge's own limit. `thaw` goes on
    with a session of another process; without it clients of this path do not move at a reload.
    """

    path: str
    role: Role
    open: Callable[[Request, Connection], Session]
    subprotocols: tuple[str, ...] = ()
    messages_per_s_max: int | None = None
    thaw: Callable[[Connection, bytes], Awaitable[MobileSession]] | None = None


class Authenticator(Protocol):
    """Finds out who calls; synchronous, so it works on what this worker already knows."""

    def authenticate(self, request: Request) -> Principal | None:
        """Return who calls, None where nobody says; raises ApiError."""
        ...


class Metric(NamedTuple):
    """One family of the metrics page; samples are (labels, value).

    `shared`: every process of the machine knows the same, so that it is not summed.
    """

    name: str
    kind: str
    help: str
    samples: tuple[tuple[Mapping[str, str], float], ...]
    shared: bool = False


def always_ready() -> bool:
    """Tell that nothing is waited for."""
    return True


def always_wanted() -> NodeState:
    """Tell that balancers may send everything."""
    return NodeState.READY


@dataclass(slots=True)
class Application:
    """What one worker serves."""

    routes: tuple[Route, ...]
    websocket_routes: tuple[WebSocketRoute, ...] = ()
    authenticator: Authenticator | None = None
    pages: Pages | None = None
    title: str = "Madang"
    version: str = "0"
    description: str = ""
    metrics: Callable[[], Iterable[Metric]] | None = None
    gather: Callable[[], Awaitable[bytes]] | None = None
    """Makes the metrics page of the whole machine, in place of this worker's."""
    ready: Callable[[], bool] = always_ready
    node: Callable[[], NodeState] = always_wanted
