"""Closing positions: a market order for the shares held, one symbol or all of them."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from msgspec import UNSET

from madang.core.ids import Kind, to_uuid
from madang.edge import ApiError, Request, Response
from madang.exchange.api import schemas
from madang.exchange.api.decimals import (
    QUANTITY_DECIMALS,
    DecimalRefused,
    parse_units,
    quantity_text,
)
from madang.exchange.api.ledger_client import LedgerClient
from madang.exchange.api.order_request import NewOrder, read_client_order_id
from madang.exchange.api.orders import OrderMethods, caller
from madang.exchange.api.refusals import Asked, invalid, not_found
from madang.exchange.api.render import order_json
from madang.exchange.directory import DirectoryReplica, Instrument
from madang.wire.codes import QUANTITY_MAX, QUANTITY_SCALE, OrderType, Side, TimeInForce
from madang.wire.commands import OrderTerms
from madang.wire.events import Order
from madang.wire.records import Position

WHOLE: Final = 100 * QUANTITY_SCALE
"""All of a position, in the units in which percentages are read."""


class ClosingMethods:
    """Handlers of DELETE /v2/positions."""

    def __init__(
        self, orders: OrderMethods, ledger: LedgerClient, replica: DirectoryReplica
    ) -> None:
        self._orders = orders
        self._ledger = ledger
        self._replica = replica

    async def close(self, request: Request) -> Response:
        """DELETE /v2/positions/{symbol_or_asset_id}: the market order that closes it."""
        query = request.query_as(schemas.CloseQuery, keep_empty=True)  # without a size: all of it
        instrument = self._replica.directory.instrument(request.parameters["symbol_or_asset_id"])
        account = caller(request)
        for position in await self._positions(account):
            if instrument is not None and position.instrument == instrument.number:
                quantity = closing_quantity(position, instrument, query)
                order = await self._sell(account, instrument, quantity)
                return Response(200, order_json(order, self._replica.directory))
        raise not_found("position does not exist")

    async def close_all(self, request: Request) -> Response:
        """DELETE /v2/positions: 207 with the outcome of each position."""
        query = request.query_as(schemas.CloseAllQuery)
        account = caller(request)
        if query.cancel_orders in ("true", "True"):
            await self._orders.cancel_all(request)
        positions = await self._positions(account)
        outcomes = await asyncio.gather(*(self._outcome(account, each) for each in positions))
        return Response(207, b"[" + b",".join(outcomes) + b"]")

    async def _positions(self, account: int) -> list[Position]:
        view = await self._ledger.account(account)
        return [] if view is None else view.positions

    async def _outcome(self, account: int, position: Position) -> bytes:
        instrument = self._replica.directory.instruments[position.instrument]
        outcome: dict[str, Any] = {"symbol": instrument.symbol}
        try:
            order = await self._sell(account, instrument, position.quantity)
        except ApiError as error:
            body = {**error.data, "code": error.code, "message": error.message}
            outcome.update(status=error.status, body=body)
        else:
            outcome["order_id"] = to_uuid(Kind.ORDER, order.order_id)
            body_json = msgspec.Raw(order_json(order, self._replica.directory))
            outcome.update(status=200, body=body_json)
        return msgspec.json.encode(outcome)

    async def _sell(self, account: int, instrument: Instrument, quantity: int) -> Order:
        terms = OrderTerms(
            instrument=instrument.number,
            side=Side.SELL,
            type=OrderType.MARKET,
            time_in_force=TimeInForce.DAY,
            quantity=quantity,
        )
        asked = Asked(instrument.symbol, quantity_text(quantity))
        return await self._orders.place(account, NewOrder(terms, read_client_order_id(None), asked))


def closing_quantity(position: Position, instrument: Instrument, query: schemas.CloseQuery) -> int:
    """Return how much to sell: `qty`, or `percentage` of the position down to the lot, or all."""
    if query.qty is not UNSET and query.percentage is not UNSET:
        raise invalid("only one of qty or percentage is accepted")
    try:
        if query.qty is not UNSET:
            return parse_units(query.qty, QUANTITY_DECIMALS, QUANTITY_MAX)
        if query.percentage is not UNSET:
            share = parse_units(query.percentage, QUANTITY_DECIMALS, WHOLE)
            quantity = position.quantity * share // WHOLE
            quantity -= quantity % instrument.lot
            if not quantity:
                raise invalid("percentage is less than one lot")
            return quantity
    except DecimalRefused as refused:
        raise invalid(f"qty or percentage {refused.fault.value}") from None
    return position.quantity
