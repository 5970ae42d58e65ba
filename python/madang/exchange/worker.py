"""A worker: the edge, the trading API and the streams of one process.

Composition only. A worker owns no state of the market: it can be killed at any moment, and its
successor knows everything once the directory is loaded.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec

import madang
from madang.bus import Bus, BusError, BusSettings, open_unix_bus
from madang.cluster.node import NodeWatch
from madang.cluster.process import Process
from madang.core.clock import Clock, SystemClock
from madang.core.settings import decode_section
from madang.edge import (
    Application,
    EdgeSettings,
    Metric,
    Pages,
    Role,
    Route,
    Server,
    WebSocketRoute,
)
from madang.edge.console.routes import Administrators, Console
from madang.edge.following import follow
from madang.edge.gathering import Gatherer, telling
from madang.edge.handover.mobile import Mover
from madang.edge.handover.process import enable_hand_over
from madang.edge.system import edge_metrics
from madang.exchange.api.account import AccountMethods
from madang.exchange.api.activities import ActivityMethods
from madang.exchange.api.assets import AssetMethods
from madang.exchange.api.authenticator import ExchangeAuthenticator
from madang.exchange.api.calendar import CalendarMethods
from madang.exchange.api.clock import ClockMethods, MarketHours
from madang.exchange.api.closing import ClosingMethods
from madang.exchange.api.configurations import ConfigurationMethods
from madang.exchange.api.cookies import load_secret
from madang.exchange.api.feed_client import FeedClient, FeedUnavailable
from madang.exchange.api.hashing import Hashing
from madang.exchange.api.ledger_client import LedgerClient
from madang.exchange.api.login import Login, LoginSettings
from madang.exchange.api.market import MarketDataMethods
from madang.exchange.api.market_overview import Overview
from madang.exchange.api.market_routes import market_routes
from madang.exchange.api.market_screener import ScreenerMethods
from madang.exchange.api.operating import Operating
from madang.exchange.api.orders import OrderMethods
from madang.exchange.api.portfolio import PortfolioMethods
from madang.exchange.api.routes import Methods, exchange_routes
from madang.exchange.api.sign_up import SignUpParts
from madang.exchange.api.store_client import Configurations, StoreClient
from madang.exchange.api.watchlists import WatchlistMethods
from madang.exchange.api.web import SessionCookies, WebSession, WebSymbols
from madang.exchange.api.web_bars import BarsMethods, web_bars_route
from madang.exchange.api.web_routes import web_methods, web_routes
from madang.exchange.directory import DirectoryReplica
from madang.exchange.feed.days import Days
from madang.exchange.gateway import GatewaySettings, OrderGateway
from madang.exchange.operator import Operator
from madang.exchange.registration import AccountsSettings
from madang.exchange.stream.account_events import AccountEventsHub
from madang.exchange.stream.market_stream import PATHS as MARKET_PATHS
from madang.exchange.stream.market_stream import MarketStream
from madang.exchange.stream.market_topics import MarketTopics
from madang.exchange.stream.moving import by_kind
from madang.exchange.stream.page import PageStream
from madang.exchange.stream.page_health import PageHealth
from madang.exchange.stream.page_market import PageMarket
from madang.exchange.stream.page_overview import PageOverview
from madang.exchange.stream.settings import StreamSettings
from madang.exchange.stream.topic import Sources
from madang.exchange.stream.trading import TradingStream
from madang.exchange.subjects import COMMITTED, COMMITTED_TIMEOUT_MS
from madang.exchange.venue.settings import VenueSettings
from madang.hub import Hub, HubSettings, RollCall
from madang.wire.codes import SelfTrade

PORT: Final = "http"
GROUP: Final = "market"
"""Whose listeners are counted together over all workers."""
TRADING_PATHS: Final = ("/stream", "/stream/")
"""Alpaca's older client calls the second."""
PAGE_PATHS: Final = (
    "/",
    "/trade",
    "/trade/{symbol}",
    "/account",
    "/account/{section}",
    "/signin",
    "/signup",
    "/cluster",
)
SESSION_CHECK_S: Final = 30.0
"""How often sessions are looked through for those whose time is over."""


class WorkerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A worker's part of the settings; of `venue` it uses hours, time zone and self-trade mode."""

    edge: EdgeSettings = EdgeSettings()
    hub: HubSettings = HubSettings()
    gateway: GatewaySettings = GatewaySettings()
    login: LoginSettings = LoginSettings()
    accounts: AccountsSettings = AccountsSettings()
    venue: VenueSettings = VenueSettings()
    stream: StreamSettings = StreamSettings()
    drain_timeout_ms: int = 5_000


class Worker:
    """The parts of one worker, put together."""

    def __init__(self, bus: Bus, process: Process, settings: WorkerSettings, clock: Clock) -> None:
        self.hub = Hub(settings.hub)
        self.presence = RollCall(bus, self.hub, GROUP)
        self.replica = DirectoryReplica(bus)
        self.gateway = OrderGateway(bus, settings.gateway, clock)
        store = StoreClient(bus, clock)
        self.configurations = Configurations(bus, store)
        self._settings = settings
        self._bus = bus
        self._clock = clock
        self._node = NodeWatch(process.state_dir)
        self._gatherer = Gatherer(bus, process, self.families)
        secret = load_secret(process.state_dir)
        ledger = LedgerClient(bus, clock)
        feed = self._feed = FeedClient(bus)
        authenticator = ExchangeAuthenticator(self.replica, secret, clock)
        people = Administrators(lambda who: authenticator.name(who.account), authenticator.holds)
        self._console = Console(process.state_dir, process.runtime_dir, people)
        self._hashing = Hashing(settings.login.waiting_max)
        login = Login(self.replica, settings.login, clock, self._hashing)
        cookies = SessionCookies(secret, clock, tls=bool(settings.edge.tls_cert))
        self._events = AccountEventsHub(bus, self.hub, ledger, self.replica)
        days = Days(settings.venue.timezone)
        self._market = PageMarket(bus, self.hub, ledger, self.replica, days)
        self._health = PageHealth(bus, self.hub)
        self._topics = MarketTopics(Sources(bus, self.hub, ledger, self.replica, clock))
        self._data = MarketStream(authenticator, self._topics, settings.stream)
        overview = Overview(ledger, feed, self.replica, days, clock)
        self._overview = PageOverview(self.hub, overview)
        self._page = PageStream(
            authenticator, self._events, self._market, self._health, self._overview
        )
        self.replica.on_change(self.check_sessions)
        self_trade = SelfTrade[settings.venue.self_trade_prevention.upper()]
        orders = OrderMethods(self.gateway, ledger, self.replica, self_trade, self.configurations)
        self._trading = TradingStream(authenticator, self._events, orders)
        methods = self._methods(orders, ledger, feed, store)
        session = WebSession(login, authenticator, cookies)
        operating = Operating(Operator(self.gateway), bus)
        parts = SignUpParts(operating, store, self.replica, self._hashing, cookies, clock)
        routes = (
            *exchange_routes(methods, session),
            *self._market_routes(ledger, days, clock),
            *self._console.routes(),
            *web_routes(web_methods(settings.accounts, parts, login, overview)),
        )
        self.application = self._application(routes, authenticator)
        self.server = Server(self.application, settings.edge, self.hub, process.scores)

    def _methods(
        self, orders: OrderMethods, ledger: LedgerClient, feed: FeedClient, store: StoreClient
    ) -> Methods:
        venue, clock = self._settings.venue, self._clock
        hours = MarketHours(venue.timezone, venue.open_hours())
        return Methods(
            orders,
            AccountMethods(ledger, self.replica, self.configurations),
            ClosingMethods(orders, ledger, self.replica),
            AssetMethods(self.replica),
            ClockMethods(feed, hours, clock),
            CalendarMethods(hours),
            ActivityMethods(ledger, self.replica, hours),
            PortfolioMethods(ledger, hours, clock),
            ConfigurationMethods(self.configurations),
            WatchlistMethods(store, self.replica),
            WebSymbols(self.replica, feed),
        )

    def _market_routes(self, ledger: LedgerClient, days: Days, clock: Clock) -> tuple[Route, ...]:
        """Return the routes that ask the ledger about the market."""
        data = MarketDataMethods(ledger, self.replica, days, clock)
        bars = web_bars_route(BarsMethods(ledger, self.replica, days))
        return (*market_routes(data, ScreenerMethods(ledger, self.replica, clock)), bars)

    def _application(
        self, routes: tuple[Route, ...], authenticator: ExchangeAuthenticator
    ) -> Application:
        return Application(
            routes=routes,
            websocket_routes=(
                *(
                    WebSocketRoute(
                        path,
                        Role.PUBLIC,
                        self._trading.open,
                        thaw=self._trading.thaw,
                        messages_per_s_max=self._settings.stream.trading_messages_per_s_max,
                    )
                    for path in TRADING_PATHS
                ),
                WebSocketRoute("/web/stream", Role.PUBLIC, self._page.open, thaw=self._page.thaw),
                *(
                    WebSocketRoute(path, Role.PUBLIC, self._data.open, thaw=self._data.thaw)
                    for path in MARKET_PATHS
                ),
                *self._console.websocket_routes(),
            ),
            authenticator=authenticator,
            pages=Pages(Path(str(files("madang.edge").joinpath("static"))), PAGE_PATHS),
            title="Madang",
            version=madang.__version__,
            description="A stock market that speaks the Alpaca Trading API v2.",
            gather=self._gatherer.page,
            node=lambda: self._node.wish().state,
        )

    def mover(self) -> Mover:
        """Return how connections move from and to this worker."""
        return Mover(
            name=self._bus.name,
            mobiles=self.server.mobiles,
            thaws=self.server.thaws,
            channels=lambda: [*self._events.keep(), *self._topics.keep()],
            warm=self._warm,
            settle=self._settle,
            ended=self._moving_ended,
        )

    async def _warm(self, _giver: str, channels: list[str]) -> None:
        kinds = by_kind(channels)
        accounts = [int(account) for account in kinds.get("orders", ())]
        await asyncio.gather(self._events.warm(accounts), self._topics.warm(kinds.get("data", [])))

    async def _settle(self) -> None:
        """Return when what venue and feed had published before has arrived."""
        with suppress(BusError, FeedUnavailable):
            await self._feed.sync()
            await self._bus.request(COMMITTED, b"", COMMITTED_TIMEOUT_MS)

    def _moving_ended(self) -> None:
        self._events.let_go()
        self._topics.let_go()

    def begin(self) -> None:
        """Do what a worker does by itself once it serves."""
        self._console.start()

    def check_sessions(self) -> None:
        """Close the streams of keys and sessions that do not hold any more."""
        self._trading.check()
        self._data.check()
        self._page.check()
        self._console.check()

    async def close(self) -> None:
        """Finish what is under way, then let everything go."""
        await self.server.drain(self._settings.drain_timeout_ms)
        await self.server.close()
        self._console.close()
        await self.gateway.close()
        self._events.close()
        self._market.close()
        self._health.close()
        self._topics.close()
        self.presence.close()
        self._overview.close()
        self._hashing.close()
        await self.configurations.close()
        await self.replica.close()

    def families(self) -> Iterable[Metric]:
        """Return the metrics that only this worker knows."""
        yield from edge_metrics(self.server.state)
        directory = self.replica.directory
        gauges = {
            "madang_orders_under_way": (self.gateway.under_way, "Commands without an answer yet."),
            "madang_directory_accounts": (len(directory.accounts), "Accounts known here."),
            "madang_directory_loads": (self.replica.loads, "Complete loads of the directory."),
        }
        for name, (value, text) in gauges.items():
            yield Metric(name, "gauge", text, (({}, float(value)),))
        listeners: Counter[str] = Counter()
        for channel, count in self.presence.totals.totals().items():
            listeners[channel.rpartition(".")[0]] += count
        text = "Subscriptions of all workers to streams, by kind."
        samples = tuple(({"kind": kind}, float(count)) for kind, count in listeners.items())
        yield Metric("madang_stream_listeners", "gauge", text, samples, shared=True)


async def main(process: Process) -> None:
    """Run a worker until the cluster stops it."""
    settings = decode_section(WorkerSettings, process.options, "options", "worker")
    bus = await open_unix_bus(BusSettings(process.bus_name, process.runtime_dir / "bus"))
    worker = Worker(bus, process, settings, SystemClock())
    process.status("waiting for the venue")
    with telling(bus, process, worker.families):
        if await _started(worker, process):
            await worker.server.start([])
            follow(process, worker.server)
            enable_hand_over(process, worker.mover())
            process.ready()
            worker.begin()
            process.status("serving")
            checker = asyncio.create_task(_check_for_ever(worker))
            await process.wait_stop()
            checker.cancel()
        await worker.close()
    await bus.close()


async def _started(worker: Worker, process: Process) -> bool:
    """Load the directory; False where the worker is stopped before it could."""
    worker.configurations.start()
    loading = asyncio.create_task(worker.replica.start())
    stopping = asyncio.create_task(process.wait_stop())
    await asyncio.wait((loading, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    loading.cancel()
    return loading.done() and not loading.cancelled()


async def _check_for_ever(worker: Worker) -> None:
    while True:
        await asyncio.sleep(SESSION_CHECK_S)
        worker.check_sessions()
