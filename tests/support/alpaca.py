"""alpaca-py as it is, imported without the warning that its WebSocket library gives on import."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from alpaca.common.enums import Sort
    from alpaca.common.exceptions import APIError
    from alpaca.data.enums import MostActivesBy
    from alpaca.data.historical.screener import ScreenerClient
    from alpaca.data.historical.stock import StockHistoricalDataClient
    from alpaca.data.live.stock import StockDataStream
    from alpaca.data.models import Bar, BarSet, Quote, QuoteSet, Snapshot, Trade, TradeSet
    from alpaca.data.models.screener import MostActives, Movers
    from alpaca.data.requests import (
        MarketMoversRequest,
        MostActivesRequest,
        StockBarsRequest,
        StockLatestBarRequest,
        StockLatestQuoteRequest,
        StockLatestTradeRequest,
        StockQuotesRequest,
        StockSnapshotRequest,
        StockTradesRequest,
    )
    from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import (
        AssetExchange,
        OrderClass,
        OrderSide,
        OrderStatus,
        OrderType,
        QueryOrderStatus,
        TimeInForce,
    )
    from alpaca.trading.models import (
        AccountConfiguration,
        Asset,
        Calendar,
        Clock,
        ClosePositionResponse,
        NonTradeActivity,
        Order,
        PortfolioHistory,
        Position,
        TradeAccount,
        TradeActivity,
        TradeUpdate,
        Watchlist,
    )
    from alpaca.trading.requests import (
        CancelOrderResponse,
        ClosePositionRequest,
        CreateWatchlistRequest,
        GetAssetsRequest,
        GetCalendarRequest,
        GetOrdersRequest,
        GetPortfolioHistoryRequest,
        LimitOrderRequest,
        MarketOrderRequest,
        OrderRequest,
        ReplaceOrderRequest,
        StopLimitOrderRequest,
        StopLossRequest,
        StopOrderRequest,
        TakeProfitRequest,
        TrailingStopOrderRequest,
        UpdateWatchlistRequest,
    )
    from alpaca.trading.stream import TradingStream

__all__ = [
    "APIError",
    "AccountConfiguration",
    "Asset",
    "AssetExchange",
    "Bar",
    "BarSet",
    "Calendar",
    "CancelOrderResponse",
    "Clock",
    "ClosePositionRequest",
    "ClosePositionResponse",
    "CreateWatchlistRequest",
    "GetAssetsRequest",
    "GetCalendarRequest",
    "GetOrdersRequest",
    "GetPortfolioHistoryRequest",
    "LimitOrderRequest",
    "MarketMoversRequest",
    "MarketOrderRequest",
    "MostActives",
    "MostActivesBy",
    "MostActivesRequest",
    "Movers",
    "NonTradeActivity",
    "Order",
    "OrderClass",
    "OrderRequest",
    "OrderSide",
    "OrderStatus",
    "OrderType",
    "PortfolioHistory",
    "Position",
    "QueryOrderStatus",
    "Quote",
    "QuoteSet",
    "ReplaceOrderRequest",
    "ScreenerClient",
    "Snapshot",
    "Sort",
    "StockBarsRequest",
    "StockDataStream",
    "StockHistoricalDataClient",
    "StockLatestBarRequest",
    "StockLatestQuoteRequest",
    "StockLatestTradeRequest",
    "StockQuotesRequest",
    "StockSnapshotRequest",
    "StockTradesRequest",
    "StopLimitOrderRequest",
    "StopLossRequest",
    "StopOrderRequest",
    "TakeProfitRequest",
    "TimeFrame",
    "TimeFrameUnit",
    "TimeInForce",
    "Trade",
    "TradeAccount",
    "TradeActivity",
    "TradeSet",
    "TradeUpdate",
    "TradingClient",
    "TradingStream",
    "TrailingStopOrderRequest",
    "UpdateWatchlistRequest",
    "Watchlist",
]
