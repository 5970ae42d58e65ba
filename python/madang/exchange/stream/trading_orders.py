"""Orders on the trading stream: place, replace and cancel, by the same code as over HTTP.

A client may send many without waiting. They go to the venue in the order in which they came (save
a replacement that must first be looked up) and each gets exactly one answer with the client's own
`id`, once what it says is durable; answers come in the order in which outcomes are known.
Invariant: at most UNDER_WAY_MAX wait at a time on one connection; what comes beyond that is
answered 429 at once and certainly not done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import msgspec

from madang.core import log
from madang.edge import ApiError, Principal, Role
from madang.edge.eager import start
from madang.exchange.api.authenticator import unauthorized
from madang.exchange.api.order_request import NewOrder, OrderBody, ReplaceBody
from madang.exchange.api.orders import OrderMethods
from madang.exchange.api.refusals import echo, forbidden, invalid
from madang.exchange.api.render import order_json
from madang.exchange.gateway import Outcome
from madang.exchange.stream.dialects import control
from madang.hub import Connection
from madang.wire.codes import Reason
from madang.wire.events import Order, Result

UNDER_WAY_MAX: Final = 1_000
ID_CHARACTERS_MAX: Final = 128


class OrderData(OrderBody):
    """The `data` of an order message: what to do, and for `place` the order's own fields."""

    id: str = ""
    op: str = ""
    order_id: str = ""


class _Named(msgspec.Struct):
    """As much of an order message as an answer needs."""

    id: str = ""


_DATA: Final = msgspec.json.Decoder(OrderData)
_CHANGES: Final = msgspec.json.Decoder(ReplaceBody)
_NAMED: Final = msgspec.json.Decoder(_Named)


class TradingOrders:
    """The orders of one connection."""

    def __init__(self, connection: Connection, orders: OrderMethods) -> None:
        self._connection = connection
        self._orders = orders
        self._tasks: set[asyncio.Task[None]] = set()
        self._sent = 0

    @property
    def under_way(self) -> int:
        """How many orders have no answer yet."""
        return self._sent + len(self._tasks)

    def take(self, principal: Principal | None, raw: msgspec.Raw) -> None:
        """Take the `data` of one message and see to it that it is answered."""
        try:
            data = _DATA.decode(raw)
        except msgspec.ValidationError as error:
            self._say_error(_name(raw), invalid(str(error)))
            return
        try:
            account = self._check(principal, data)
            if data.op != "place" or not self._place(account, data):
                self._start(data.id, self._work(account, data, raw))
        except ApiError as error:
            self._say_error(data.id[:ID_CHARACTERS_MAX], error)

    def _start(self, name: str, work: Coroutine[Any, Any, Order]) -> None:
        _, task = start(asyncio.get_running_loop(), self._answer(name, work))
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _go_on(self, name: str, work: Coroutine[Any, Any, Order]) -> None:
        self._sent -= 1
        self._start(name, work)

    def _check(self, principal: Principal | None, data: OrderData) -> int:
        """Return the account that asks; raises ApiError where it may not."""
        if principal is None:
            raise unauthorized()
        if not principal.role.includes(Role.TRADER):
            raise forbidden("this key may only read")
        if not 0 < len(data.id) <= ID_CHARACTERS_MAX:
            raise invalid(f"id must have 1 to {ID_CHARACTERS_MAX} characters")
        if self.under_way >= UNDER_WAY_MAX:
            raise ApiError(429, f"{UNDER_WAY_MAX} orders are under way on this connection")
        return principal.account

    def _place(self, account: int, data: OrderData) -> bool:
        """Send a new order, the one thing that is done often; False where it needs a task."""
        name = data.id

        def tell(order: NewOrder, outcome: Outcome) -> None:
            self._sent -= 1
            try:
                if (
                    isinstance(outcome, Result)
                    and outcome.reason == Reason.OK
                    and outcome.order is not None
                ):
                    self._say_order(name, outcome.order)
                else:
                    work = self._orders.placed(account, order, outcome)
                    self._sent += 1
                    asyncio.get_running_loop().call_soon(self._go_on, name, work)
            except Exception:  # noqa: BLE001 - the outermost frame of one order
                log.get("trading").exception("order failed", connection=self._connection.id)

        sent = self._orders.place_at_once(account, data, tell)
        self._sent += sent
        return sent

    def _work(self, account: int, data: OrderData, raw: msgspec.Raw) -> Coroutine[Any, Any, Order]:
        """Return what does it; raises ApiError while certainly nothing was done."""
        if data.op == "place":
            return self._orders.place_body(account, data)
        if data.op == "cancel":
            return self._orders.cancel_order(account, data.order_id)
        if data.op == "replace":
            return self._orders.replace_body(account, data.order_id, _CHANGES.decode(raw))
        raise invalid(f"invalid op {echo(data.op)}: use place, replace or cancel")

    async def _answer(self, name: str, work: Coroutine[Any, Any, Order]) -> None:
        try:
            order = await work
        except ApiError as error:
            self._say_error(name, error)
        except Exception:  # noqa: BLE001 - the outermost frame of one order
            log.get("trading").exception("order failed", connection=self._connection.id)
            self._say_error(name, ApiError(500, "internal error"))
        else:
            self._say_order(name, order)

    def _say_order(self, name: str, order: Order) -> None:
        body = order_json(order, self._orders.directory)
        self._say(b'{"id":%b,"status":200,"order":%b}' % (msgspec.json.encode(name), body))

    def _say_error(self, name: str, error: ApiError) -> None:
        self._say(
            msgspec.json.encode(
                {
                    "id": name,
                    "status": error.status,
                    **error.data,
                    "code": error.code,
                    "message": error.message,
                }
            )
        )

    def _say(self, data: bytes) -> None:
        message = b'{"stream":"orders","data":%b}' % data
        self._connection.send(*control(self._connection.dialect, message))


def _name(raw: msgspec.Raw) -> str:
    """Return the id of a message whose other fields cannot be read, empty where that cannot be."""
    try:
        return _NAMED.decode(raw).id[:ID_CHARACTERS_MAX]
    except msgspec.ValidationError:
        return ""
