"""Trading-stream clients that reconnect for ever and note every execution they are told."""

from __future__ import annotations

import asyncio
import json

import websockets

from madang.core.ids import Kind, from_uuid
from tests.drill.product import Trader

RECONNECT_PAUSE_S = 0.05


class StreamClient:
    """One account's stream."""

    def __init__(self, port: int, trader: Trader) -> None:
        self._url = f"ws://127.0.0.1:{port}/stream"
        self._trader = trader
        self.executions: list[int] = []

    async def run(self) -> None:
        """Listen until canceled."""
        while True:
            try:
                await self._listen()
            except (OSError, websockets.WebSocketException, TimeoutError):
                await asyncio.sleep(RECONNECT_PAUSE_S)

    async def _listen(self) -> None:
        async with websockets.connect(self._url) as socket:
            key = {"key_id": self._trader.key_id, "secret_key": self._trader.secret}
            await socket.send(json.dumps({"action": "authenticate", "data": key}))
            await socket.recv()
            listen = {"action": "listen", "data": {"streams": ["trade_updates"]}}
            await socket.send(json.dumps(listen))
            async for frame in socket:
                message = json.loads(frame)
                if message["stream"] == "trade_updates":
                    self._note(message["data"])

    def _note(self, update: dict[str, str]) -> None:
        if update["event"] in ("fill", "partial_fill"):
            number = from_uuid(Kind.EXECUTION, update["execution_id"])
            assert number is not None
            self.executions.append(number)
