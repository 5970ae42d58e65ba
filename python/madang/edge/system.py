"""The routes every worker has: health, readiness, metrics, OpenAPI, documentation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from madang.cluster.node import NodeState
from madang.edge.docs import DOCS_POLICY, render_docs
from madang.edge.errors import ApiError
from madang.edge.openapi import build_openapi
from madang.edge.request import Request, Role
from madang.edge.response import JSON, Response, json_response
from madang.edge.route import Application, Handler, Metric, Operation, Route

if TYPE_CHECKING:
    from madang.edge.state import ServerState

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health(msgspec.Struct, frozen=True):
    """State of this worker."""

    status: str


def system_routes(
    application: Application, state_of: Callable[[], ServerState]
) -> tuple[Route, ...]:
    """Return the edge's own routes for an application."""

    def healthz(_: Request) -> Response:
        node = application.node()
        if state_of().draining or node is NodeState.DRAIN:
            raise ApiError(404, "draining")
        if not application.ready() or node is NodeState.MAINTENANCE:
            raise ApiError(503, "not ready")
        return json_response(Health("ok"))

    async def gathered(gather: Callable[[], Awaitable[bytes]]) -> Response:
        return Response(200, await gather(), _METRICS_TYPE)

    def metrics(_: Request) -> Response | Awaitable[Response]:
        if application.gather is not None:
            return gathered(application.gather)
        families = list(edge_metrics(state_of()))
        if application.metrics is not None:
            families.extend(application.metrics())
        return Response(200, render_metrics(families), _METRICS_TYPE)

    documents = _Documents(application)
    own = (
        _route("/healthz", healthz, "Is this worker taking requests?", Health, JSON),
        _route("/readyz", healthz, "Is this worker ready?", Health, JSON),
        _route(
            "/metrics",
            metrics,
            "Metrics of all processes of this machine",
            str,
            _METRICS_TYPE,
        ),
        _route("/openapi.json", documents.answer_openapi, "This document", dict, JSON),
        _route(
            "/docs",
            documents.answer_docs,
            "This document for people",
            str,
            "text/html; charset=utf-8",
        ),
    )
    documents.own_routes = own
    return own


def _route(path: str, handler: Handler, summary: str, answer: object, kind: str) -> Route:
    operation = Operation(summary, ("system",), responses={200: answer}, content_type=kind)
    return Route("GET", path, handler, Role.PUBLIC, operation)


class _Documents:
    """OpenAPI and its page, built when first asked for: a worker's start does not pay for them."""

    def __init__(self, application: Application) -> None:
        self.own_routes: tuple[Route, ...] = ()
        self._application = application
        self._openapi = b""
        self._docs = b""

    def _build(self) -> None:
        described = build_openapi(self._application, self.own_routes)
        self._openapi = msgspec.json.encode(described)
        self._docs = render_docs(described)

    def answer_openapi(self, _: Request) -> Response:
        """Return the document."""
        if not self._openapi:
            self._build()
        return Response(200, self._openapi, JSON)

    def answer_docs(self, _: Request) -> Response:
        """Return the page."""
        if not self._docs:
            self._build()
        headers = (("content-security-policy", DOCS_POLICY), ("x-frame-options", "DENY"))
        return Response(200, self._docs, "text/html; charset=utf-8", headers)


def edge_metrics(state: ServerState) -> Iterable[Metric]:
    """Return the edge's and the hub's own families."""
    responses = tuple(({"status": str(s)}, float(n)) for s, n in sorted(state.responses.items()))
    yield Metric("madang_http_responses_total", "counter", "Responses by status.", responses)
    counts = tuple(({"what": name}, float(n)) for name, n in sorted(state.counts.items()))
    yield Metric("madang_edge_events_total", "counter", "What happened to connections.", counts)
    hub = state.hub.statistics()
    gauges = {
        "madang_http_connections": (len(state.protocols), "Open connections."),
        "madang_http_requests_in_flight": (state.in_flight, "Requests that wait."),
        "madang_websockets": (state.websockets, "Open WebSockets."),
        "madang_hub_channels": (hub["channels"], "Channels."),
        "madang_hub_outbox_bytes": (hub["outbox_bytes"], "Bytes waiting in outboxes."),
        "madang_hub_history_bytes": (hub["history_bytes"], "Bytes of channel history."),
    }
    for name, (value, text) in gauges.items():
        yield Metric(name, "gauge", text, (({}, float(value)),))
    totals = {
        "madang_hub_publications_total": ("publications", "Messages published to channels."),
        "madang_hub_deliveries_total": ("deliveries", "Messages queued for subscribers."),
        "madang_hub_slow_consumers_total": ("slow_consumers", "Connections cut as too slow."),
        "madang_hub_flushes_total": ("flushes", "Outbox writes."),
    }
    for name, (key, text) in totals.items():
        yield Metric(name, "counter", text, (({}, float(hub[key])),))


def render_metrics(families: Iterable[Metric]) -> bytes:
    """Return families in Prometheus' text format 0.0.4."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {_escape(family.help)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for labels, value in family.samples:
            text = ",".join(f'{k}="{_escape(v)}"' for k, v in labels.items())
            number = str(int(value)) if float(value).is_integer() else repr(float(value))
            lines.append(f"{family.name}{'{' + text + '}' if text else ''} {number}")
    return ("\n".join(lines) + "\n").encode()


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
