"""Order methods: place, list, get, replace, cancel one, cancel all.

Commands go to the venue through the gateway, questions to the ledger. Invariant: once a command may
have left, the client gets either what became of it or 503 "outcome unknown", never a status that
clients repeat by themselves.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeVar

import msgspec

from madang.core.ids import Kind, from_uuid, new_request_id, to_uuid
from madang.edge import ApiError, Request, Response
from madang.exchange.api.ledger_client import LedgerClient, OrderFilter
from madang.exchange.api.order_request import (
    NewOrder,
    OrderBody,
    ReplaceBody,
    read_order,
    read_replacement,
)
from madang.exchange.api.refusals import (
    Asked,
    forbidden,
    invalid,
    not_found,
    outcome_unknown,
    refusal,
    unprocessable,
    venue_unavailable,
)
from madang.exchange.api.render import order_json
from madang.exchange.api.schemas import ClientOrderIdQuery, OrderQuery, OrdersQuery
from madang.exchange.api.store_client import Configuration, Configurations
from madang.exchange.api.times import MICROSECOND_NS, parse_time
from madang.exchange.directory import Directory, DirectoryReplica
from madang.exchange.gateway import GatewayError, Outcome, VenueUnavailable
from madang.wire.codes import QUANTITY_SCALE, Reason, Side, TimeInForce
from madang.wire.commands import encode_cancel, encode_new_order, encode_replace
from madang.wire.events import Order, Result

ORDER_NUMBER_MAX: Final = 2**63 - 1  # what the ledger's columns hold
LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 500
CANCEL_ALL_MAX: Final = 100_000
_NANOSECONDS: Final = re.compile(r"\.\d{7,9}")
_NO_CONTENT: Final = Response(204)
Value = TypeVar("Value")


class Gateway(Protocol):
    """Takes a command to the venue."""

    async def submit(self, command: bytes) -> Result:
        """Return the outcome; raises VenueUnavailable (a definite no) or OutcomeUnknown."""
        ...

    def send(self, command: bytes, tell: Callable[[Outcome], None]) -> None:
        """Call `tell` with the outcome; raises VenueUnavailable."""
        ...


class OrderMethods:
    """Handlers of /v2/orders."""

    def __init__(
        self,
        gateway: Gateway,
        ledger: LedgerClient,
        replica: DirectoryReplica,
        self_trade: int,
        configurations: Configurations,
    ) -> None:
        """`self_trade` is the SelfTrade mode of orders that name none."""
        self._configurations = configurations
        self._gateway = gateway
        self._ledger = ledger
        self._replica = replica
        self._self_trade = self_trade

    @property
    def directory(self) -> Directory:
        """Return what orders are rendered with."""
        return self._replica.directory

    async def create(self, request: Request) -> Response:
        """POST /v2/orders."""
        return self._order_response(await self.place_body(caller(request), request.json(OrderBody)))

    async def place_body(self, account: int, body: OrderBody) -> Order:
        """Return the order that a client's body asks for, once accepted; raises ApiError."""
        order = read_order(body, self._replica.directory)
        return await self.place(account, order, bool(body.self_trade_prevention))

    async def place(self, account: int, order: NewOrder, names_mode: bool = False) -> Order:
        """Return an accepted order as it stands after the command; raises ApiError.

        An order that names no mode of self-trade prevention gets the venue's.
        """
        chosen = self._configurations.of(account) or await self._configurations.wait_for(account)
        result = await self._submit(self._placing(account, order, chosen, names_mode))
        return await self.placed(account, order, result)

    def _placing(
        self, account: int, order: NewOrder, chosen: Configuration, names_mode: bool
    ) -> bytes:
        """Return the command that places an order; raises ApiError."""
        terms = order.terms
        if not names_mode:
            terms.self_trade = self._self_trade
        check_choice(chosen, bool(terms.notional or terms.quantity % QUANTITY_SCALE))
        return encode_new_order(account, new_request_id(), terms, order.client_order_id)

    async def placed(self, account: int, order: NewOrder, outcome: Outcome) -> Order:
        """Return what became of an order that was sent; raises ApiError."""
        if isinstance(outcome, GatewayError):
            raise _failed(outcome)
        if outcome.reason != Reason.OK:
            raise refusal(outcome, order.asked)
        return await self._order_of(account, outcome)

    def place_at_once(
        self, account: int, body: OrderBody, tell: Callable[[NewOrder, Outcome], None]
    ) -> bool:
        """Send an order and call `tell` with its outcome: `place_body` without a task for each.

        Raises ApiError while certainly nothing was done. False where something must be waited for
        first: use `place_body` then.
        """
        chosen = self._configurations.of(account)
        if chosen is None:
            return False
        order = read_order(body, self._replica.directory)
        command = self._placing(account, order, chosen, bool(body.self_trade_prevention))
        try:
            self._gateway.send(command, lambda outcome: tell(order, outcome))
        except GatewayError as error:
            raise _failed(error) from None
        return True

    async def list_all(self, request: Request) -> Response:
        """GET /v2/orders."""
        query = request.query_as(OrdersQuery)
        wanted = self._filter(query)
        if wanted.instruments == []:
            return _array([])
        orders = await self._ledger.orders(caller(request), wanted)
        directory = self._replica.directory
        return _array([order_json(order, directory) for order in orders])

    async def get(self, request: Request) -> Response:
        """GET /v2/orders/{order_id}."""
        request.query_as(OrderQuery)
        order = await self._find(caller(request), order_number(request.parameters["order_id"]))
        return self._order_response(order)

    async def get_by_client_order_id(self, request: Request) -> Response:
        """GET /v2/orders:by_client_order_id."""
        query = request.query_as(ClientOrderIdQuery)
        order = await self._ledger.order_by_client_id(caller(request), query.client_order_id)
        if order is None:
            raise not_found("order not found")
        return self._order_response(order)

    async def replace(self, request: Request) -> Response:
        """PATCH /v2/orders/{order_id}."""
        order = await self.replace_body(
            caller(request), request.parameters["order_id"], request.json(ReplaceBody)
        )
        return self._order_response(order)

    async def replace_body(self, account: int, order_id: str, body: ReplaceBody) -> Order:
        """Return the order that takes the place of another; raises ApiError."""
        replacement = read_replacement(order_number(order_id), body)
        terms = replacement.terms
        chosen = self._configurations.of(account) or await self._configurations.wait_for(account)
        check_choice(chosen, bool(terms.quantity % QUANTITY_SCALE))
        if terms.quantity % QUANTITY_SCALE or terms.time_in_force == TimeInForce.GTC:
            _check_fractional(
                await self._find(account, terms.order_id), terms.quantity, terms.time_in_force
            )
        command = encode_replace(account, new_request_id(), terms, replacement.client_order_id)
        result = await self._submit(command)
        if result.reason == Reason.UNKNOWN_ORDER:
            await self._find(account, terms.order_id)
            raise unprocessable("order is not replaceable")
        if result.reason != Reason.OK:
            raise refusal(
                result, await self._asked(account, terms.order_id, replacement.asked, result)
            )
        return await self._order_of(account, result)

    async def cancel(self, request: Request) -> Response:
        """DELETE /v2/orders/{order_id}."""
        await self.cancel_order(caller(request), request.parameters["order_id"])
        return _NO_CONTENT

    async def cancel_order(self, account: int, order_id: str) -> Order:
        """Return an order that was live and is canceled; raises ApiError."""
        number = order_number(order_id)
        result = await self._submit(encode_cancel(account, new_request_id(), number))
        if result.reason == Reason.UNKNOWN_ORDER:
            await self._find(account, number)
            raise unprocessable("order is not cancelable")
        if result.reason != Reason.OK:
            raise refusal(result, Asked())
        return await self._order_of(account, result)

    async def cancel_all(self, request: Request) -> Response:
        """DELETE /v2/orders: 207 with the outcome of each open order."""
        account = caller(request)
        outcomes: list[bytes] = []
        asked: set[int] = set()
        while len(asked) < CANCEL_ALL_MAX:
            wanted = OrderFilter("open", LIMIT_MAX, "asc")
            orders = [
                o for o in await self._ledger.orders(account, wanted) if o.order_id not in asked
            ]
            if not orders:
                break
            asked.update(order.order_id for order in orders)
            outcomes += await self._cancel_each(account, orders)
        return Response(207, b"[" + b",".join(outcomes) + b"]")

    async def _cancel_each(self, account: int, orders: Iterable[Order]) -> list[bytes]:
        directory = self._replica.directory
        orders = list(orders)
        results = await asyncio.gather(
            *(
                self._submit(encode_cancel(account, new_request_id(), order.order_id))
                for order in orders
            ),
            return_exceptions=True,
        )
        outcomes: list[bytes] = []
        for order, result in zip(orders, results, strict=True):
            if isinstance(result, BaseException):
                if not isinstance(result, ApiError):
                    raise result
                outcome = 500, _refusal_json(result)
            elif result.reason == Reason.OK and result.order is not None:
                outcome = 200, order_json(result.order, directory)
            else:
                outcome = 500, _refusal_json(unprocessable("order is not cancelable"))
            status, body = outcome
            order_id = to_uuid(Kind.ORDER, order.order_id)
            outcomes.append(
                b'{"id":"%b","status":%d,"body":%b}' % (order_id.encode(), status, body)
            )
        return outcomes

    async def _submit(self, command: bytes) -> Result:
        try:
            return await self._gateway.submit(command)
        except GatewayError as error:
            raise _failed(error) from None

    async def _order_of(self, account: int, result: Result) -> Order:
        """Return the order of a result; one repeated after the order's end does not carry it."""
        if result.order is not None:
            return result.order
        return await self._find(account, result.number)

    async def _find(self, account: int, number: int) -> Order:
        order = await self._ledger.order(account, number)
        if order is None:
            raise not_found("order not found")
        return order

    async def _asked(self, account: int, number: int, asked: Asked, result: Result) -> Asked:
        """Return what a refused replacement asked for, with the symbol its order names."""
        if result.reason != Reason.INSUFFICIENT_SHARES:
            return asked
        order = await self._find(account, number)
        return asked._replace(symbol=self._replica.directory.instruments[order.instrument].symbol)

    def _filter(self, query: OrdersQuery) -> OrderFilter:
        instruments: list[int] | None = None
        if query.symbols is not msgspec.UNSET and query.symbols:
            found = map(self._replica.directory.instrument, query.symbols.split(","))
            instruments = [instrument.number for instrument in found if instrument is not None]
        classes = _or(query.asset_class, "") or "us_equity"
        if not {"us_equity", "all"} & set(classes.split(",")):
            instruments = []  # of a class that is not traded here
        after, before = _or(query.after_order_id, ""), _or(query.before_order_id, "")
        if (after and before) or ((after or before) and (query.after or query.until)):
            raise invalid(
                "only one of after_order_id and before_order_id is accepted, without after or until"
            )
        return OrderFilter(
            _or(query.status, "open"),
            _or(query.limit, LIMIT_DEFAULT),
            _or(query.direction, "desc"),
            {"buy": int(Side.BUY), "sell": int(Side.SELL)}.get(_or(query.side, ""), 0),
            _after(_or(query.after, "")),
            _time("until", _or(query.until, "")),
            instruments,
            order_number(after) if after else None,
            order_number(before) if before else None,
        )

    def _order_response(self, order: Order) -> Response:
        return Response(200, order_json(order, self._replica.directory))


def _failed(error: GatewayError) -> ApiError:
    """Return what a client is told where there is no result."""
    return venue_unavailable() if isinstance(error, VenueUnavailable) else outcome_unknown()


def check_choice(chosen: Configuration, fractional: bool) -> None:
    """Refuse an order that the account's owner has chosen not to place."""
    if chosen.suspend_trade:
        raise forbidden("new orders are rejected by user request")
    if fractional and not chosen.fractional_trading:
        raise forbidden("fractional trading is disabled by user request")


def caller(request: Request) -> int:
    """Return the account that calls."""
    assert request.principal is not None
    return request.principal.account


def order_number(order_id: str) -> int:
    """Return the number behind an order's id; 404 where it is none of ours."""
    number = from_uuid(Kind.ORDER, order_id)
    if number is None or number > ORDER_NUMBER_MAX:
        raise not_found("order not found")
    return number


def _or(value: Value | msgspec.UnsetType, default: Value) -> Value:
    return default if isinstance(value, msgspec.UnsetType) else value


def _time(name: str, text: str) -> int | None:
    if not text:
        return None
    found = parse_time(text)
    if found is None:
        raise invalid(f"invalid {name}: use RFC 3339, for example 2026-11-22T09:30:00Z")
    return found


def _after(text: str) -> int | None:
    """Return the last moment that is not asked for.

    A bound that is written to the microsecond excludes all of it: clients that keep no nanoseconds
    give back an order's own time cut short, and would otherwise be told of that order for ever.
    """
    found = _time("after", text)
    if found is None or _NANOSECONDS.search(text):
        return found
    return min(found + MICROSECOND_NS - 1, ORDER_NUMBER_MAX)


def _array(items: list[bytes]) -> Response:
    return Response(200, b"[" + b",".join(items) + b"]")


def _refusal_json(error: ApiError) -> bytes:
    return msgspec.json.encode({"code": error.code, "message": error.message})


def _check_fractional(order: Order, quantity: int, tif: int) -> None:
    fractional = (quantity or order.quantity) % QUANTITY_SCALE != 0
    if fractional and (tif or order.time_in_force) != TimeInForce.DAY:
        raise unprocessable("fractional orders must be DAY orders")
