"""A crowd of simulated traders whose orders go straight into an engine."""

from __future__ import annotations

from typing import NamedTuple

from madang.exchange.demo.pen import Pen
from madang.exchange.demo.people import TRADER_SHARES
from madang.exchange.sim.crowd import Crowd, Kind, Turn
from madang.exchange.sim.desk import MARKET
from madang.wire.codes import QUANTITY_SCALE, OrderType, Reason, Side, Status, TimeInForce
from madang.wire.commands import (
    NO_REQUEST,
    OrderTerms,
    ReplaceTerms,
    encode_new_order,
    encode_replace,
)
from madang.wire.events import (
    RECORD_HEADER_BYTES,
    EventKind,
    Result,
    parse_order_update,
    parse_result,
    parse_trade,
    split_records,
)
from madang.wire.records import parse_level


class _Sent(NamedTuple):
    trader: int
    tag: int


class TradersInEngine:
    """A crowd whose orders go into an engine, and which hears what became of them."""

    def __init__(
        self, crowd: Crowd, pen: Pen, accounts: list[int], symbols: dict[str, int]
    ) -> None:
        self._crowd = crowd
        self._pen = pen
        self._accounts = accounts
        self._traders = {account: number for number, account in enumerate(accounts)}
        self._numbers = symbols
        self._symbols = {number: symbol for symbol, number in symbols.items()}
        self._resting: dict[int, _Sent] = {}
        self._orders = 0
        for desk in crowd.desks:
            desk.restart(dict.fromkeys(symbols, TRADER_SHARES // QUANTITY_SCALE))

    def grow(self, scale: int) -> None:
        """Have orders of another size from here on; what is held is what is wanted, then."""
        self._crowd.scale = scale
        for desk in self._crowd.desks:
            desk.target = dict(desk.held)

    def trade(self, turns: list[tuple[Kind, str]], now_ns: int) -> None:
        """Give some traders their turns, about a symbol each, in one batch."""
        sent: list[_Sent] = []
        commands: list[bytes] = []
        for kind, symbol in turns:
            turn = self._crowd.turn_of(kind, symbol)
            if turn is not None:
                commands.append(self._command(turn))
                sent.append(_Sent(turn.trader, self._crowd.desks[turn.trader].last_tag))
        if commands:
            self.hear(self._pen.write(commands, now_ns), sent)
            self._look()

    def _command(self, turn: Turn) -> bytes:
        desk, order = self._crowd.desks[turn.trader], turn.order
        old = desk.orders.get(order.replaces)
        resting = desk.send(order)
        account = self._accounts[turn.trader]
        self._orders += 1
        name = b"history-%d" % self._orders
        quantity = (order.shares + resting.filled) * QUANTITY_SCALE
        if old is not None:
            assert isinstance(old.order_id, int)
            changes = ReplaceTerms(old.order_id, quantity=quantity, limit_price=order.price)
            return encode_replace(account, NO_REQUEST, changes, name)
        tif = TimeInForce.GTC if order.long else TimeInForce.DAY
        terms = OrderTerms(
            instrument=self._numbers[order.symbol],
            side=order.side,
            type=OrderType.LIMIT if order.price else OrderType.MARKET,
            time_in_force=tif if order.rests or order.price == MARKET else TimeInForce.IOC,
            quantity=quantity,
            limit_price=order.price,
        )
        return encode_new_order(account, NO_REQUEST, terms, name)

    def hear(self, events: bytes, sent: list[_Sent]) -> None:
        """Tell every trader what the events say of its orders and holdings."""
        answers = iter(sent)
        for kind, offset, _ in split_records(events):
            if kind == EventKind.TRADE:
                self._hear_trade(events, offset)
            elif kind == EventKind.RESULT and sent:
                self._hear_result(parse_result(events, offset), next(answers))
            elif kind == EventKind.ORDER and not sent:
                update = parse_order_update(events, offset)
                if update.order.status > Status.PARTIALLY_FILLED:
                    self._left(update.order.order_id, 0)

    def _hear_trade(self, events: bytes, offset: int) -> None:
        trade = parse_trade(events, offset)
        symbol = self._symbols[trade.instrument]
        shares = trade.quantity // QUANTITY_SCALE
        self._crowd.shares[symbol].last = trade.price
        for account, moved in ((trade.buy_account, shares), (trade.sell_account, -shares)):
            self._crowd.desks[self._traders[account]].held[symbol] += moved
        for order in (trade.buy_order, trade.sell_order):
            known = self._resting.get(order)
            if known is not None:
                resting = self._crowd.desks[known.trader].orders.get(known.tag)
                self._left(order, resting.left - shares if resting else 0)

    def _left(self, order_id: int, left: int) -> None:
        known = self._resting.get(order_id)
        if known is not None:
            self._crowd.desks[known.trader].left(known.tag, left)
            if left <= 0:
                del self._resting[order_id]

    def _hear_result(self, result: Result, sent: _Sent) -> None:
        desk = self._crowd.desks[sent.trader]
        order = result.order
        if result.reason != Reason.OK or order is None:
            desk.refused(sent.tag, unknown=result.reason == Reason.UNKNOWN_ORDER)
            return
        final = order.status > Status.PARTIALLY_FILLED
        left = 0 if final else (order.quantity - order.filled_quantity) // QUANTITY_SCALE
        self._resting.pop(order.replaces, None)
        if left:
            self._resting[order.order_id] = sent
        desk.accepted(sent.tag, order.order_id, left)

    def _look(self) -> None:
        """See the best prices."""
        for symbol, share in self._crowd.shares.items():
            data = self._pen.engine.depth(self._numbers[symbol], 1)
            share.bid = share.ask = 0
            for _, offset, _ in split_records(data):
                level = parse_level(data, offset + RECORD_HEADER_BYTES)
                if level.side == Side.BUY:
                    share.bid = level.price
                else:
                    share.ask = level.price
