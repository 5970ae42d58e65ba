"""A request as handlers see it; nothing is decoded before somebody asks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec

from madang.edge.errors import MALFORMED, ApiError

Body = TypeVar("Body")


class Role(StrEnum):
    """Who may call; each includes those before it."""

    PUBLIC = "public"
    VIEWER = "viewer"
    TRADER = "trader"
    ADMIN = "admin"

    def includes(self, needed: Role) -> bool:
        """Tell whether somebody of this role may do what `needed` may do."""
        return _RANK[self] >= _RANK[needed]


_RANK = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls; `csrf` is the token that unsafe methods by cookie must bring, if it is known."""

    account: int
    role: Role
    key_id: str
    by_cookie: bool
    data: object = None
    csrf: str = ""


class Headers:
    """Request headers; names in lower case."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[bytes, bytes]) -> None:
        self._values = values

    def get(self, name: str) -> str | None:
        """Return the value of a header given in lower case; repeated ones joined by a comma."""
        value = self._values.get(name.encode("latin-1"))
        return None if value is None else value.decode("latin-1")

    def items(self) -> list[tuple[str, str]]:
        """Return every header."""
        return [(k.decode("latin-1"), v.decode("latin-1")) for k, v in self._values.items()]


class Request:
    """One HTTP request, its body complete."""

    __slots__ = (
        "body",
        "headers",
        "id",
        "method",
        "parameters",
        "path",
        "peer",
        "principal",
        "query_fields_max",
        "query_string",
    )

    def __init__(self, method: str, path: str, query_string: bytes, headers: Headers) -> None:
        self.method = method
        self.path = path
        self.query_string = query_string
        self.headers = headers
        self.body = b""
        self.parameters: dict[str, str] = {}
        self.peer = ""
        self.principal: Principal | None = None
        self.id = ""
        self.query_fields_max = 100

    def query(self) -> dict[str, str]:
        """Return the query parameters, the last of a name; 400 where they cannot be read."""
        return dict(self._query_pairs())

    def _query_pairs(self) -> list[tuple[str, str]]:
        if not self.query_string:
            return []
        try:
            return parse_qsl(
                self.query_string.decode("ascii"),
                keep_blank_values=True,
                max_num_fields=self.query_fields_max,
                errors="strict",
            )
        except ValueError:
            raise ApiError(400, "the query string cannot be read") from None

    def query_as(self, kind: type[Body], *, keep_empty: bool = False) -> Body:
        """Return the query parameters as a msgspec struct; 422 names what does not fit.

        The values of a repeated name are a list with commas, and an empty value is as good as none:
        clients write lists, and what they were not told, in these ways. With `keep_empty` it stays,
        for questions where leaving something out is a wish of its own.
        """
        texts: dict[str, str] = {}
        for name, value in self._query_pairs():
            if value or keep_empty:
                texts[name] = f"{texts[name]},{value}" if name in texts else value
        try:
            query = msgspec.convert(texts, kind, strict=False)
        except msgspec.ValidationError as error:
            raise ApiError(422, f"query: {error}", MALFORMED) from None
        for name, value in texts.items():
            # Leaving a parameter out says "none"; its text does not.
            if value.lower() == "null" and getattr(query, name, value) is None:
                raise ApiError(422, f"query: {name} cannot be null", MALFORMED)
        return query

    def json(self, kind: type[Body]) -> Body:
        """Return the body as `kind`: 415 by its type, 400 not JSON, 422 not of this shape."""
        content_type = self.headers.get("content-type")
        if content_type is not None:
            media_type = content_type.partition(";")[0].strip().lower()
            if media_type != "application/json" and not media_type.endswith("+json"):
                raise ApiError(415, "the body must be application/json")
        try:
            return msgspec.json.decode(self.body, type=kind)
        except msgspec.ValidationError as error:
            raise ApiError(422, str(error), MALFORMED) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ApiError(400, "the body is not valid JSON") from None

    def cookie(self, name: str) -> str | None:
        """Return a cookie's value."""
        for part in (self.headers.get("cookie") or "").split(";"):
            key, _, value = part.strip().partition("=")
            if key == name:
                return value
        return None
