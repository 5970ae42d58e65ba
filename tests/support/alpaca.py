"""alpaca-py as it is, imported without the warning that its WebSocket library gives on import."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from alpaca.common.exceptions import APIError
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
    "MarketOrderRequest",
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
    "ReplaceOrderRequest",
    "StopLimitOrderRequest",
    "StopLossRequest",
    "StopOrderRequest",
    "TakeProfitRequest",
    "TimeInForce",
    "TradeAccount",
    "TradeActivity",
    "TradeUpdate",
    "TradingClient",
    "TradingStream",
    "TrailingStopOrderRequest",
    "UpdateWatchlistRequest",
    "Watchlist",
]
