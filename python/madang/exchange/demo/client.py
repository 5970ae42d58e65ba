"""A small blocking client of the venue's own HTTP interface, as any trader could write it."""

from __future__ import annotations

import http.client
import json
from typing import Any

TIMEOUT_S = 10.0


class UnavailableError(Exception):
    """The venue could not be reached; the next call makes a new connection."""


class TradingClient:
    """One keep-alive connection with one account's key."""

    def __init__(self, host: str, port: int, key_id: str, secret: str) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        self._headers = {
            "APCA-API-KEY-ID": key_id,
            "APCA-API-SECRET-KEY": secret,
            "Content-Type": "application/json",
        }

    def call(self, method: str, path: str, body: dict[str, str] | None = None) -> tuple[int, Any]:
        """Return (status, decoded JSON or None); UnavailableError where there is no answer."""
        payload = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, path, payload, self._headers)
            response = self._connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise UnavailableError(str(error)) from error
        return response.status, json.loads(data) if data else None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
