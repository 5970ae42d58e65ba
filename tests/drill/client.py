"""A raw keep-alive HTTP client for load: one request at a time on one connection, reconnecting."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

REQUEST_TIMEOUT_S = 10.0


class Answer(NamedTuple):
    """What a client was told; status 0 means that no answer came."""

    status: int
    body: Any


NO_ANSWER = Answer(0, None)


class Client:
    """One connection with one API key."""

    def __init__(self, host: str, port: int, key_id: str, secret: str) -> None:
        self._address = (host, port)
        self._head = (
            f"Host: {host}\r\nAPCA-API-KEY-ID: {key_id}\r\nAPCA-API-SECRET-KEY: {secret}\r\n"
        )
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def call(self, method: str, path: str, body: dict[str, str] | None = None) -> Answer:
        """Send one request; NO_ANSWER where the connection failed before an answer was complete."""
        try:
            return await asyncio.wait_for(self._call(method, path, body), REQUEST_TIMEOUT_S)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError):
            self.drop()
            return NO_ANSWER

    async def _call(self, method: str, path: str, body: dict[str, str] | None) -> Answer:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(*self._address)
        payload = b"" if body is None else json.dumps(body).encode()
        extra = "" if body is None else "Content-Type: application/json\r\n"
        self._writer.write(
            f"{method} {path} HTTP/1.1\r\n{self._head}{extra}"
            f"Content-Length: {len(payload)}\r\n\r\n".encode()
            + payload
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        status = int(lines[0].split(" ")[1])
        fields = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        data = await self._reader.readexactly(int(fields.get("content-length", "0")))
        if fields.get("connection", "").lower() == "close":
            self.drop()
        return Answer(status, json.loads(data) if data else None)

    def drop(self) -> None:
        """Close the connection; the next call opens another."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None
