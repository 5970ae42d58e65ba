"""The HTTP and WebSocket front of a worker: routes, roles, limits, errors, pages."""

from madang.edge.errors import ApiError, default_code
from madang.edge.pages import Pages
from madang.edge.request import Headers, Principal, Request, Role
from madang.edge.response import Response, json_response
from madang.edge.route import (
    Application,
    Authenticator,
    Handler,
    Metric,
    Operation,
    Route,
    WebSocketRoute,
)
from madang.edge.server import Server
from madang.edge.settings import EdgeSettings

__all__ = [
    "ApiError",
    "Application",
    "Authenticator",
    "EdgeSettings",
    "Handler",
    "Headers",
    "Metric",
    "Operation",
    "Pages",
    "Principal",
    "Request",
    "Response",
    "Role",
    "Route",
    "Server",
    "WebSocketRoute",
    "default_code",
    "json_response",
]
