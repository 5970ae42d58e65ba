"""The table of what a worker offers over HTTP: path, role, types, handler."""

from __future__ import annotations

from dataclasses import dataclass

from madang.edge import Operation, Role, Route
from madang.exchange.api import schemas, schemas_account
from madang.exchange.api.account import AccountMethods
from madang.exchange.api.activities import ActivityMethods
from madang.exchange.api.assets import AssetMethods
from madang.exchange.api.calendar import CalendarMethods
from madang.exchange.api.clock import ClockMethods
from madang.exchange.api.closing import ClosingMethods
from madang.exchange.api.configurations import ConfigurationMethods
from madang.exchange.api.orders import OrderMethods
from madang.exchange.api.portfolio import PortfolioMethods
from madang.exchange.api.watchlists import WatchlistMethods
from madang.exchange.api.web import WebSession, WebSymbols

ORDERS = "/v2/orders"
ORDER = "/v2/orders/{order_id}"


@dataclass(frozen=True, slots=True)
class Methods:
    """The handlers of one worker."""

    orders: OrderMethods
    account: AccountMethods
    closing: ClosingMethods
    assets: AssetMethods
    clock: ClockMethods
    calendar: CalendarMethods
    activities: ActivityMethods
    portfolio: PortfolioMethods
    configurations: ConfigurationMethods
    watchlists: WatchlistMethods
    symbols: WebSymbols


def exchange_routes(methods: Methods, session: WebSession) -> tuple[Route, ...]:
    """Return every route of the market."""
    return (
        *_order_routes(methods.orders),
        *_account_routes(methods.account, methods.closing),
        *_history_routes(methods.activities, methods.portfolio),
        *_configuration_routes(methods.configurations),
        *_watchlist_routes(methods.watchlists),
        *_market_routes(methods.assets, methods.clock, methods.calendar),
        *_web_routes(session, methods.symbols),
    )


def _order_routes(orders: OrderMethods) -> tuple[Route, ...]:
    tags = ("orders",)
    one = schemas.Order
    return (
        Route("POST", ORDERS, orders.create, Role.TRADER, Operation(
            "Place an order", tags, request=schemas.OrderRequest,
            responses={200: one, 403: None, 422: None},
        )),
        Route("GET", ORDERS, orders.list_all, Role.VIEWER, Operation(
            "List orders", tags, query=schemas.OrdersQuery, responses={200: list[schemas.Order]},
        )),
        Route("DELETE", ORDERS, orders.cancel_all, Role.TRADER, Operation(
            "Cancel every open order", tags, responses={207: list[schemas.CanceledOrder]},
        )),
        Route("GET", "/v2/orders:by_client_order_id", orders.get_by_client_order_id, Role.VIEWER,
            Operation(
                "Find an order by the client's own id", tags, query=schemas.ClientOrderIdQuery,
                responses={200: one, 404: None},
            )),
        Route("GET", ORDER, orders.get, Role.VIEWER, Operation(
            "Return an order", tags, query=schemas.OrderQuery, responses={200: one, 404: None},
        )),
        Route("PATCH", ORDER, orders.replace, Role.TRADER, Operation(
            "Replace an order by a new one", tags, request=schemas.ReplaceRequest,
            responses={200: one, 403: None, 404: None, 422: None},
        )),
        Route("DELETE", ORDER, orders.cancel, Role.TRADER, Operation(
            "Cancel an order", tags, responses={204: None, 404: None, 422: None},
        )),
    )  # fmt: skip


def _account_routes(account: AccountMethods, closing: ClosingMethods) -> tuple[Route, ...]:
    tags = ("account",)
    return (
        Route("GET", "/v2/account", account.get, Role.VIEWER, Operation(
            "Return the account", tags, responses={200: schemas.TradeAccount},
        )),
        Route("GET", "/v2/positions", account.positions, Role.VIEWER, Operation(
            "List positions", tags, responses={200: list[schemas.Position]},
        )),
        Route("GET", "/v2/positions/{symbol_or_asset_id}", account.position, Role.VIEWER, Operation(
            "Return the position in one symbol", tags,
            responses={200: schemas.Position, 404: None},
        )),
        Route("DELETE", "/v2/positions", closing.close_all, Role.TRADER, Operation(
            "Close every position at market", tags, query=schemas.CloseAllQuery,
            responses={207: list[schemas.ClosedPosition]},
        )),
        Route("DELETE", "/v2/positions/{symbol_or_asset_id}", closing.close, Role.TRADER, Operation(
            "Close a position at market", tags, query=schemas.CloseQuery,
            responses={200: schemas.Order, 403: None, 404: None, 422: None},
        )),
    )  # fmt: skip


def _history_routes(activities: ActivityMethods, portfolio: PortfolioMethods) -> tuple[Route, ...]:
    path, tags = "/v2/account/activities", ("account",)
    rows = list[schemas_account.Activity]
    return (
        Route("GET", path, activities.list_all, Role.VIEWER, Operation(
            "List fills, deposits and withdrawals", tags,
            query=schemas_account.AllActivitiesQuery, responses={200: rows},
        )),
        Route("GET", path + "/{activity_type}", activities.list_kind, Role.VIEWER, Operation(
            "List activities of one type", tags,
            query=schemas_account.ActivitiesQuery, responses={200: rows},
        )),
        Route("GET", "/v2/account/portfolio/history", portfolio.get, Role.VIEWER, Operation(
            "Return what the account was worth over time", tags,
            query=schemas_account.PortfolioQuery,
            responses={200: schemas_account.PortfolioHistory},
        )),
    )  # fmt: skip


def _configuration_routes(configurations: ConfigurationMethods) -> tuple[Route, ...]:
    path, tags = "/v2/account/configurations", ("account",)
    one = schemas_account.AccountConfiguration
    return (
        Route("GET", path, configurations.get, Role.VIEWER, Operation(
            "Return what the account's owner has chosen", tags, responses={200: one},
        )),
        Route("PATCH", path, configurations.change, Role.TRADER, Operation(
            "Change it", tags, request=schemas_account.ConfigurationChange,
            responses={200: one, 422: None},
        )),
    )  # fmt: skip


def _watchlist_routes(watchlists: WatchlistMethods) -> tuple[Route, ...]:
    every, tags = "/v2/watchlists", ("watchlists",)
    by_id, by_name = every + "/{watchlist_id}", every + ":by_name"
    found = schemas_account.Watchlist
    return (
        Route("GET", every, watchlists.list_all, Role.VIEWER, Operation(
            "List watchlists without their assets", tags,
            responses={200: list[schemas_account.Watchlist]},
        )),
        Route("POST", every, watchlists.create, Role.TRADER, Operation(
            "Make a watchlist", tags, request=schemas_account.NewWatchlist,
            responses={200: found, 422: None},
        )),
        *_one_watchlist_routes(watchlists, by_id, "by id", None),
        *_one_watchlist_routes(watchlists, by_name, "by name", schemas_account.WatchlistQuery),
        Route("DELETE", by_id + "/{symbol}", watchlists.remove, Role.TRADER, Operation(
            "Take a symbol out of a watchlist", tags, responses={200: found, 404: None},
        )),
    )  # fmt: skip


def _one_watchlist_routes(
    watchlists: WatchlistMethods, path: str, how: str, query: type | None
) -> tuple[Route, ...]:
    tags, found = ("watchlists",), schemas_account.Watchlist
    return (
        Route("GET", path, watchlists.get, Role.VIEWER, Operation(
            f"Return a watchlist {how}", tags, query=query, responses={200: found, 404: None},
        )),
        Route("PUT", path, watchlists.update, Role.TRADER, Operation(
            f"Change a watchlist {how}", tags, query=query,
            request=schemas_account.WatchlistChange,
            responses={200: found, 404: None, 422: None},
        )),
        Route("POST", path, watchlists.add, Role.TRADER, Operation(
            f"Add a symbol to a watchlist {how}", tags, query=query,
            request=schemas_account.WatchlistSymbol,
            responses={200: found, 404: None, 422: None},
        )),
        Route("DELETE", path, watchlists.delete, Role.TRADER, Operation(
            f"Delete a watchlist {how}", tags, query=query, responses={204: None, 404: None},
        )),
    )  # fmt: skip


def _market_routes(
    assets: AssetMethods, clock: ClockMethods, calendar: CalendarMethods
) -> tuple[Route, ...]:
    tags = ("market",)
    return (
        Route("GET", "/v2/assets", assets.list_all, Role.VIEWER, Operation(
            "List assets", tags, query=schemas.AssetsQuery, responses={200: list[schemas.Asset]},
        )),
        Route("GET", "/v2/assets/{symbol_or_asset_id}", assets.get, Role.VIEWER, Operation(
            "Return an asset", tags, responses={200: schemas.Asset, 404: None},
        )),
        Route("GET", "/v2/clock", clock.get, Role.VIEWER, Operation(
            "Return the market clock", tags, responses={200: schemas.MarketClock},
        )),
        Route("GET", "/v2/calendar", calendar.get, Role.VIEWER, Operation(
            "List trading days", tags, query=schemas_account.CalendarQuery,
            responses={200: list[schemas_account.CalendarDay]},
        )),
    )  # fmt: skip


def _web_routes(session: WebSession, symbols: WebSymbols) -> tuple[Route, ...]:
    tags = ("pages",)
    return (
        Route("POST", "/web/session", session.create, Role.PUBLIC, Operation(
            "Sign in", tags, request=schemas.SignIn,
            responses={204: None, 401: None, 403: None, 429: None},
        )),
        Route("GET", "/web/session", session.get, Role.VIEWER, Operation(
            "Tell who is signed in", tags, responses={200: schemas.SignedIn},
        )),
        Route("DELETE", "/web/session", session.delete, Role.PUBLIC, Operation(
            "Sign out", tags, responses={204: None, 403: None},
        )),
        Route("GET", "/web/symbols", symbols.list_all, Role.PUBLIC, Operation(
            "List symbols with their last prices", tags,
            responses={200: list[schemas.SymbolRow]},
        )),
    )  # fmt: skip
