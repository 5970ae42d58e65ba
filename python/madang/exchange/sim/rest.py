"""A small blocking client of the venue's own HTTP interface, as any trader could write it."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from madang.core.errors import MadangError

TIMEOUT_S = 10.0
HTTP_OK = 200


class Unavailable(MadangError):
    """The venue could not be reached, or did not answer 200; it may be asked again."""


class Key(NamedTuple):
    """An API key."""

    key_id: str
    secret: str


class Address:
    """Where a Madang is: its URL, and what follows from it."""

    def __init__(self, url: str) -> None:
        """Raises ValueError where this is no http or https URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an http or https URL")
        self.secure = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.secure else 80)

    def stream(self, path: str) -> str:
        """Return the URL of a WebSocket."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'wss' if self.secure else 'ws'}://{host}:{self.port}{path}"


class RestClient:
    """Calls with one account's key, each on a connection of its own."""

    def __init__(self, address: Address, key: Key) -> None:
        self._address = address
        self._headers = {
            "APCA-API-KEY-ID": key.key_id,
            "APCA-API-SECRET-KEY": key.secret,
            "Content-Type": "application/json",
        }

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Return what a path holds; raises Unavailable."""
        return self.call("GET", path)

    def call(self, method: str, path: str) -> Any:  # noqa: ANN401 - JSON
        """Return the decoded answer; raises Unavailable."""
        kind = http.client.HTTPSConnection if self._address.secure else http.client.HTTPConnection
        connection = kind(self._address.host, self._address.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, headers=self._headers)
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{method} {path}: {error}") from error
        finally:
            connection.close()
        if response.status // 100 != HTTP_OK // 100:
            text = data[:200].decode(errors="replace")
            raise Unavailable(f"{method} {path}: {response.status} {text}", status=response.status)
        return json.loads(data) if data else None
