"""One account's way to the venue: its desks' orders out, answers and fills in, and nothing lost.

After every break, and after every answer that leaves an outcome open, the account is read anew:
what rests in the book and what is held. Only then is it `ready` again. Traders may share an
account; each order belongs to the desk that sent it, and what is found at a new beginning to the
first of them.
"""

from __future__ import annotations

import asyncio
import secrets
from decimal import Decimal
from typing import Any

import msgspec
from websockets.exceptions import WebSocketException

from madang.core.errors import MadangError
from madang.exchange.sim.desk import MARKET, Desk, Order, Resting
from madang.exchange.sim.rest import Address, Key, RestClient, Unavailable
from madang.exchange.sim.socket import (
    OPEN_TIMEOUT_S,
    Connection,
    SignInRefused,
    keep_connected,
)
from madang.wire.codes import PRICE_SCALE, Side

UNDER_WAY_MAX = 500
ORDERS_PER_S_MAX = 400
"""Of one account; a venue closes a connection that sends more than some hundreds."""
ANSWER_LIMIT_S = 15.0
PAGE = 500
RETRY_S = 0.3
OK, NOT_FOUND, TOO_MANY, UNAVAILABLE = 200, 404, 429, 503
_SIDES = {"buy": Side.BUY, "sell": Side.SELL}
_FINAL = frozenset(("fill", "canceled", "expired", "replaced", "rejected"))


def price_text(price: int) -> str:
    """Return a price with four decimals."""
    return f"{price // PRICE_SCALE}.{price % PRICE_SCALE:04d}"


def price_units(text: str) -> int:
    """Return a price in units."""
    return int(Decimal(text) * PRICE_SCALE)


class Tally:
    """What became of all orders of a run."""

    def __init__(self) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.refused: dict[str, int] = {}
        self.fills = 0
        self.shares = 0
        self.breaks = 0

    def refuse(self, why: str) -> None:
        """Count a no."""
        self.refused[why] = self.refused.get(why, 0) + 1


class Account:
    """An account with its desks."""

    def __init__(
        self, address: Address, key: Key, desks: list[Desk], symbols: list[str], tally: Tally
    ) -> None:
        self._address = address
        self._key = key
        self._rest = RestClient(address, key)
        self._desks = desks
        self._symbols = symbols
        self._tally = tally
        self._run = secrets.token_hex(4)
        self._connection: Connection | None = None
        self._sent: dict[str, tuple[Desk, int]] = {}
        self._under_way: dict[str, float] = {}
        self._by_order: dict[str, tuple[Desk, int]] = {}
        self._number = 0
        self._second = (0, 0)
        self._doubt = asyncio.Event()
        self._known = False
        self.ready = False

    @property
    def able(self) -> bool:
        """Tell whether an order may be sent."""
        second, sent = self._second
        full = sent >= ORDERS_PER_S_MAX and second == int(asyncio.get_running_loop().time())
        return self.ready and not full and len(self._under_way) < UNDER_WAY_MAX

    async def run(self) -> None:
        """Stay connected for ever; raises SignInRefused."""
        await keep_connected(self._address.stream("/stream"), self._serve, self._lost)

    def _lost(self) -> None:
        if self._connection is not None:
            self._tally.breaks += 1
        self._connection = None
        self.ready = False

    async def _serve(self, connection: Connection) -> None:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await _say(connection, "authenticate", {**_names(self._key)})
            answer = msgspec.json.decode(await connection.recv())
            if answer["data"]["status"] != "authorized":
                if self._known:  # a worker that has just begun may not know everybody yet
                    return
                raise SignInRefused(f"the venue refuses the key {self._key.key_id}")
            await _say(connection, "listen", {"streams": ["trade_updates"]})
            await connection.recv()
        self._connection = connection
        self._known = True
        self._doubt.set()
        keeper = asyncio.create_task(self._keep_known())
        try:
            async for message in connection:
                self._hear(msgspec.json.decode(message))
        finally:
            keeper.cancel()

    async def _keep_known(self) -> None:
        """Read the account whenever it is in doubt, and notice answers that do not come."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await asyncio.wait_for(self._doubt.wait(), 1.0)
            except TimeoutError:
                oldest = next(iter(self._under_way.values()), loop.time())
                if loop.time() - oldest < ANSWER_LIMIT_S:
                    continue
            self.ready = False
            try:
                held, rows = await asyncio.to_thread(self._read)
            except (Unavailable, msgspec.MsgspecError, ValueError):
                self._doubt.set()
                await asyncio.sleep(RETRY_S)
                continue
            self._doubt.clear()
            self._restart(held, rows)
            self.ready = True

    def _read(self) -> tuple[dict[str, int], list[dict[str, Any]]]:
        held = {row["symbol"]: int(Decimal(row["qty"])) for row in self._rest.get("/v2/positions")}
        rows: list[dict[str, Any]] = []
        for symbol in self._symbols:
            rows += self._rest.get(f"/v2/orders?status=open&limit={PAGE}&symbols={symbol}")
        return held, rows

    def _restart(self, held: dict[str, int], rows: list[dict[str, Any]]) -> None:
        self._sent.clear()
        self._under_way.clear()
        self._by_order.clear()
        for desk in self._desks:
            desk.restart({symbol: held.get(symbol, 0) for symbol in self._symbols})
        desk = self._desks[0]
        for row in rows:
            if row["type"] != "limit" or row["qty"] is None:
                continue
            filled = int(Decimal(row["filled_qty"]))
            left = int(Decimal(row["qty"])) - filled
            resting = Resting(
                0, row["symbol"], _SIDES[row["side"]], price_units(row["limit_price"]), left,
                filled=filled, order_id=row["id"],
            )  # fmt: skip
            desk.adopt(resting)
            self._by_order[row["id"]] = (desk, resting.tag)

    async def send(self, desk: Desk, order: Order) -> None:
        """Send an order of a desk; what becomes of it is heard later."""
        connection = self._connection
        if connection is None:
            return
        old = desk.orders.get(order.replaces)
        resting = desk.send(order)
        self._number += 1
        name = f"{self._run}-{self._number}"
        data: dict[str, str] = {"id": name, "client_order_id": name}
        data["qty"] = str(order.shares + resting.filled)
        if old is not None:
            data |= {"op": "replace", "order_id": str(old.order_id)}
        else:
            kind = "market" if order.price == MARKET else "limit"
            lasts = "gtc" if order.long else "day" if order.rests or kind == "market" else "ioc"
            side = "buy" if order.side == Side.BUY else "sell"
            data |= {"op": "place", "symbol": order.symbol, "side": side, "type": kind}
            data["time_in_force"] = lasts
        if order.price != MARKET:
            data["limit_price"] = price_text(order.price)
        now = asyncio.get_running_loop().time()
        self._sent[name] = (desk, resting.tag)
        self._under_way[name] = now
        second, sent = self._second
        self._second = (int(now), sent + 1 if second == int(now) else 1)
        self._tally.sent += 1
        try:
            await _say(connection, "order", data)
        except WebSocketException:
            self._doubt.set()

    def _hear(self, message: dict[str, Any]) -> None:
        data = message["data"]
        if message["stream"] == "orders":
            self._hear_answer(data)
        elif message["stream"] == "trade_updates":
            self._hear_update(data)

    def _hear_answer(self, data: dict[str, Any]) -> None:
        self._under_way.pop(data["id"], None)
        found = self._sent.pop(data["id"], None)
        status = data["status"]
        if status != OK:
            self._tally.refuse(_reason(status, data["message"]))
        else:
            self._tally.acknowledged += 1
        if found is None:
            return
        desk, tag = found
        if status == OK:
            order = data["order"]
            left = _left(order)
            if left and tag in desk.orders:
                self._by_order[order["id"]] = (desk, tag)
            desk.accepted(tag, order["id"], left)
            return
        desk.refused(tag, unknown=status == NOT_FOUND)
        if status >= UNAVAILABLE or status == TOO_MANY:
            self.ready = False
            self._doubt.set()

    def _hear_update(self, data: dict[str, Any]) -> None:
        order = data["order"]
        event = data["event"]
        if event in ("fill", "partial_fill"):
            self._tally.fills += 1
            self._tally.shares += int(Decimal(data["qty"]))
            for desk in self._desks:
                desk.held[order["symbol"]] = int(Decimal(data["position_qty"]))
        found = self._by_order.get(order["id"]) or self._sent.get(order["client_order_id"])
        if found is None:
            return
        desk, tag = found
        desk.left(tag, 0 if event in _FINAL else _left(order))
        if event in _FINAL:
            self._by_order.pop(order["id"], None)

    async def leave(self, limit_s: float) -> bool:
        """Cancel every order of the account; False where that was not possible in time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + limit_s
        while True:
            try:
                await asyncio.to_thread(self._rest.call, "DELETE", "/v2/orders")
                return True
            except MadangError:
                if loop.time() > end:
                    return False
            await asyncio.sleep(RETRY_S)


def _reason(status: int, message: str) -> str:
    """Return a refusal without its numbers, so that its like are counted together."""
    words = [word for word in message.split() if not any(c.isdigit() for c in word)]
    return f"{status} {' '.join(words)[:60]}"


def _left(order: dict[str, Any]) -> int:
    if order["status"] not in ("new", "accepted", "partially_filled"):
        return 0
    return int(Decimal(order["qty"])) - int(Decimal(order["filled_qty"]))


def _names(key: Key) -> dict[str, str]:
    return {"key_id": key.key_id, "secret_key": key.secret}


async def _say(connection: Connection, action: str, data: dict[str, Any]) -> None:
    await connection.send(msgspec.json.encode({"action": action, "data": data}), text=True)
