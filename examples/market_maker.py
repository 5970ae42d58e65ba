"""A market maker in sixty lines: it quotes both sides of one symbol and leans against its stock.

    python examples/market_maker.py AAPL --url http://127.0.0.1:8000 --key KEY --secret SECRET

It is an ordinary client of the Alpaca API: `alpaca-py`, unmodified. Each round it looks at what it
holds and at the last price, cancels its quotes and places new ones around that. The more it holds
beyond what it began with, the lower it quotes, so that the market takes it off its hands.
"""

from __future__ import annotations

import argparse
import time
from decimal import ROUND_HALF_UP, Decimal

from alpaca.common.exceptions import APIError
from alpaca.data.historical import StockHistoricalDataClient as DataClient
from alpaca.data.requests import StockLatestTradeRequest
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import LimitOrderRequest

SPREAD = Decimal("0.002")  # of the price, between bid and ask
LEAN = Decimal("0.0001")  # of the price, for each QTY held beyond the target
QTY = 10
TICK = Decimal("0.01")


class MarketMaker:
    """Quotes one symbol."""

    def __init__(self, client: TradingClient, data: DataClient, symbol: str) -> None:
        self._client, self._data, self._symbol = client, data, symbol
        self._target, self.fair = self._look()

    def _look(self) -> tuple[Decimal, Decimal]:
        """Return how much is held, and the last price."""
        held = [p for p in self._client.get_all_positions() if p.symbol == self._symbol]
        if held:
            return Decimal(held[0].qty), Decimal(held[0].current_price)
        asked = StockLatestTradeRequest(symbol_or_symbols=self._symbol)
        return Decimal(0), Decimal(
            str(self._data.get_stock_latest_trade(asked)[self._symbol].price)
        )

    def round(self) -> tuple[Decimal, Decimal]:
        """Quote anew; returns bid and ask."""
        held, self.fair = self._look()
        middle = self.fair * (1 - LEAN * (held - self._target) / QTY)
        bid = (middle * (1 - SPREAD / 2)).quantize(TICK, ROUND_HALF_UP)
        ask = max((middle * (1 + SPREAD / 2)).quantize(TICK, ROUND_HALF_UP), bid + TICK)
        self._client.cancel_orders()
        for side, price in ((OrderSide.BUY, bid), (OrderSide.SELL, ask)):
            order = LimitOrderRequest(
                symbol=self._symbol, side=side, qty=QTY, limit_price=float(price),
                time_in_force=TimeInForce.DAY,
            )  # fmt: skip
            try:
                self._client.submit_order(order)
            except APIError as refused:  # no cash or no shares left on this side
                print(f"{side.value} {price}: {refused.message}")
        return bid, ask


def main() -> None:
    """Quote until interrupted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("symbol")
    for name in ("--url", "--key", "--secret"):
        parser.add_argument(name, required=True)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between rounds")
    chosen = parser.parse_args()
    who = {"api_key": chosen.key, "secret_key": chosen.secret, "url_override": chosen.url}
    maker = MarketMaker(TradingClient(**who), DataClient(**who), chosen.symbol)
    while True:
        print("bid {}, ask {}".format(*maker.round()), flush=True)
        time.sleep(chosen.pause)


if __name__ == "__main__":
    main()
