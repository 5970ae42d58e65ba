"""OpenAPI 3.1 from the table of routes and msgspec's schemas. Pure.

What every route can answer because of the edge itself (limits, roles, errors) is added to what its
operation declares, so a client generated from this document meets no surprise.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from madang.edge.request import Role
from madang.edge.route import Application, Operation, Route

_COMMON: Final = {
    400: "The request cannot be read",
    408: "The request did not arrive in time",
    413: "The body is too large",
    431: "The head of the request is too large",
    500: "Internal error",
    503: "Overloaded, not ready, or no answer in time",
}
_DESCRIPTIONS: Final = {
    401: "Nobody, or the wrong key",
    403: "Not allowed",
    404: "Not found",
    405: "This method is not allowed here",
    415: "The body is not application/json",
    422: "A value does not fit",
    429: "Too many requests",
}
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_SECURITY: Final[list[dict[str, list[str]]]] = [{"key_id": [], "secret_key": []}]
_ERROR_SCHEMA: Final[dict[str, Any]] = {
    "title": "Error",
    "type": "object",
    "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
    "required": ["code", "message"],
}


def build_openapi(application: Application, own: tuple[Route, ...]) -> dict[str, Any]:
    """Return the document for an application's routes and the edge's own."""
    routes = application.routes + own
    kinds = [kind for route in routes for kind in _kinds(route.operation)]
    schemas, components = msgspec.json.schema_components(
        kinds, ref_template="#/components/schemas/{name}"
    )
    by_kind = {repr(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        item = paths.setdefault(route.path, {})
        item[route.method.lower()] = _operation(route, by_kind, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": application.title,
            "version": application.version,
            "description": application.description or application.title,
        },
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR_SCHEMA},
            "securitySchemes": {
                "key_id": {"type": "apiKey", "in": "header", "name": "APCA-API-KEY-ID"},
                "secret_key": {"type": "apiKey", "in": "header", "name": "APCA-API-SECRET-KEY"},
            },
        },
    }


def _kinds(operation: Operation) -> list[Any]:
    kinds = [operation.request, operation.query, operation.path, *operation.responses.values()]
    return [kind for kind in kinds if kind is not None]


def _operation(route: Route, by_kind: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation = route.operation
    described: dict[str, Any] = {
        "operationId": _identifier(route),
        "summary": operation.summary,
        "tags": list(operation.tags),
        "x-role": route.role.value,
        "responses": _responses(route, by_kind),
    }
    if operation.description:
        described["description"] = operation.description
    parameters = _path_parameters(route, components) + _query_parameters(operation, components)
    if parameters:
        described["parameters"] = parameters
    if operation.request is not None:
        schema = by_kind[repr(operation.request)]
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    if route.role is not Role.PUBLIC:
        described["security"] = _SECURITY
    return described


def _identifier(route: Route) -> str:
    words = re.sub(r"\W+", "_", route.path).strip("_")
    return f"{route.method.lower()}_{words or 'root'}"


def _responses(route: Route, by_kind: dict[str, Any]) -> dict[str, Any]:
    operation = route.operation
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    statuses = dict(_COMMON)
    extra = [404, 405]
    if route.role is not Role.PUBLIC:
        extra += [401, 403, 429]
    if operation.request is not None:
        extra += [415, 422]
    if operation.query is not None or operation.path is not None or "{" in route.path:
        extra += [422]
    for status in extra:
        statuses[status] = _DESCRIPTIONS[status]
    responses: dict[str, Any] = {
        str(status): {"description": text, "content": error} for status, text in statuses.items()
    }
    for status, kind in operation.responses.items():
        described: dict[str, Any] = {
            "description": _DESCRIPTIONS.get(status) or _COMMON.get(status) or operation.summary
        }
        if kind is not None:
            media_type = operation.content_type if status < 400 else "application/json"
            described["content"] = {media_type: {"schema": by_kind[repr(kind)]}}
        elif status >= 400:
            described["content"] = error
        responses[str(status)] = described
    return dict(sorted(responses.items()))


def _path_parameters(route: Route, components: dict[str, Any]) -> list[dict[str, Any]]:
    known = {p["name"]: p["schema"] for p in _fields(route.operation.path, components)}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": known.get(name, {"type": "string", "minLength": 1}),
        }
        for name in _PARAMETER.findall(route.path)
    ]


def _query_parameters(operation: Operation, components: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"in": "query", **field} for field in _fields(operation.query, components)]


def _fields(kind: object, components: dict[str, Any]) -> list[dict[str, Any]]:
    """Return name, required, schema and description of each field of a parameter struct."""
    if kind is None:
        return []
    (reference,), own = msgspec.json.schema_components(
        [kind], ref_template="#/components/schemas/{name}"
    )
    name = reference["$ref"].rpartition("/")[2]
    schema = own[name]
    required = set(schema.get("required", ()))
    fields: list[dict[str, Any]] = []
    for field, described in schema.get("properties", {}).items():
        cleaned = {k: v for k, v in described.items() if k != "default"}
        text = cleaned.pop("description", None)
        parameter = {"name": field, "required": field in required, "schema": _without_null(cleaned)}
        if text:
            parameter["description"] = text
        fields.append(parameter)
    return fields


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter's schema without null, which a query string cannot say."""
    choices = schema.get("anyOf")
    if choices is None:
        return schema
    kept = [choice for choice in choices if choice.get("type") != "null"]
    rest = {k: v for k, v in schema.items() if k != "anyOf"}
    return {**rest, **kept[0]} if len(kept) == 1 else {**rest, "anyOf": kept}
