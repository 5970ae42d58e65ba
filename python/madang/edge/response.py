"""A response and its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

import msgspec

from madang.edge.errors import ApiError

Pairs = tuple[tuple[str, str], ...]
JSON = "application/json"
_REASONS = {int(status): status.phrase for status in HTTPStatus}
_PREFIXES_MAX = 1_024
_prefixes: dict[tuple[int, str], str] = {}


@dataclass(frozen=True, slots=True)
class Response:
    """Status, body and headers; length, date and the security headers are added by the edge."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: Pairs = ()


def json_response(value: object, status: int = 200, headers: Pairs = ()) -> Response:
    """Return `value` as JSON."""
    return Response(status, msgspec.json.encode(value), JSON, headers)


def error_response(error: ApiError) -> Response:
    """Return the JSON a client gets for an error."""
    body = {**error.data, "code": error.code, "message": error.message}
    return json_response(body, error.status, error.headers)


def http_date(now_s: float) -> str:
    """Return the Date header's text."""
    return formatdate(now_s, usegmt=True)


def encode_head(response: Response, date: str, request_id: str, close: bool) -> bytes:
    """Return status line and headers; raises ValueError where a header holds a line break."""
    key = (response.status, response.content_type)
    prefix = _prefixes.get(key)
    if prefix is None:
        prefix = _prefix(*key)
        if len(_prefixes) < _PREFIXES_MAX:
            _prefixes[key] = prefix
    head = f"{prefix}date: {date}\r\nx-request-id: {request_id}\r\n"
    if response.headers:
        head += _custom(response.headers)
    if close:
        head += "connection: close\r\n"
    if response.status >= 200 and response.status not in (204, 304):
        head += f"content-length: {len(response.body)}\r\n"
    return f"{head}\r\n".encode("latin-1")


def _prefix(status: int, content_type: str) -> str:
    prefix = (
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\n"
        "server: madang\r\nx-content-type-options: nosniff\r\nreferrer-policy: same-origin\r\n"
    )
    if status not in (204, 304):
        prefix += _custom((("content-type", content_type),))
    if content_type == JSON:
        prefix += "cache-control: no-store\r\n"
    return prefix


def _custom(headers: Pairs) -> str:
    lines = ""
    for name, value in headers:
        if "\r" in value or "\n" in value or "\0" in value or not name.replace("-", "").isalnum():
            raise ValueError(f"header {name!r} cannot be sent")
        lines += f"{name}: {value}\r\n"
    return lines
