"""Account and positions, as of what the ledger's replica holds when it answers."""

from __future__ import annotations

from typing import Final

from madang.core.ids import Kind, to_uuid
from madang.edge import Request, Response, json_response
from madang.exchange.api import schemas
from madang.exchange.api.decimals import cash_text, price_text, quantity_text, ratio_text
from madang.exchange.api.ledger_client import AccountView, LedgerClient
from madang.exchange.api.orders import caller
from madang.exchange.api.refusals import not_found
from madang.exchange.api.store_client import Configurations
from madang.exchange.api.times import time_text
from madang.exchange.directory import DirectoryReplica, Instrument
from madang.wire.codes import QUANTITY_SCALE, VALUE_PER_CASH, AccountState
from madang.wire.records import Position

PRICE_DECIMALS_SHOWN: Final = 6
RATIO_DECIMALS: Final = 10


class AccountMethods:
    """Handlers of /v2/account and /v2/positions."""

    def __init__(
        self, ledger: LedgerClient, replica: DirectoryReplica, configurations: Configurations
    ) -> None:
        self._ledger = ledger
        self._replica = replica
        self._configurations = configurations

    async def get(self, request: Request) -> Response:
        """GET /v2/account."""
        entity = account_entity(await self._view(request))
        chosen = self._configurations.of(caller(request))
        entity.trade_suspended_by_user = chosen is not None and chosen.suspend_trade
        return json_response(entity)

    async def positions(self, request: Request) -> Response:
        """GET /v2/positions."""
        view = await self._view(request)
        return json_response([self._entity(position, view) for position in view.positions])

    async def position(self, request: Request) -> Response:
        """GET /v2/positions/{symbol_or_asset_id}."""
        instrument = self._replica.directory.instrument(request.parameters["symbol_or_asset_id"])
        if instrument is not None:
            view = await self._view(request)
            for position in view.positions:
                if position.instrument == instrument.number:
                    return json_response(self._entity(position, view))
        raise not_found("position does not exist")

    async def _view(self, request: Request) -> AccountView:
        view = await self._ledger.account(caller(request))
        if view is None:
            raise not_found("account not found")
        return view

    def _entity(self, position: Position, view: AccountView) -> schemas.Position:
        instrument = self._replica.directory.instruments[position.instrument]
        return position_entity(position, instrument, view)


def market_value(view: AccountView) -> int:
    """Return the worth of all positions in cash units; one without a price counts at its cost."""
    return sum(
        position.quantity * price // VALUE_PER_CASH if price else position.cost_basis
        for position in view.positions
        for price in (view.prices.get(position.instrument, 0),)
    )


def account_entity(view: AccountView) -> schemas.TradeAccount:
    """Return the TradeAccount entity of a cash account: nothing is borrowed, margins are zero."""
    account = view.account
    shares = market_value(view)
    equity = cash_text(account.cash + shares)
    buying_power = cash_text(account.cash - account.held)
    disabled = account.state != AccountState.ACTIVE
    return schemas.TradeAccount(
        id=to_uuid(Kind.ACCOUNT, account.number),
        account_number=f"MD{account.number:08d}",
        status="DISABLED" if disabled else "ACTIVE",
        crypto_status="INACTIVE",
        currency="USD",
        cash=cash_text(account.cash),
        buying_power=buying_power,
        regt_buying_power=buying_power,
        non_marginable_buying_power=buying_power,
        options_buying_power="0",
        equity=equity,
        last_equity=cash_text(view.last_equity),
        portfolio_value=equity,
        long_market_value=cash_text(shares),
        short_market_value="0",
        initial_margin="0",
        maintenance_margin="0",
        last_maintenance_margin="0",
        sma="0",
        accrued_fees="0",
        pending_transfer_in="0",
        pending_transfer_out="0",
        multiplier="1",
        shorting_enabled=False,
        trading_blocked=disabled,
        transfers_blocked=False,
        account_blocked=disabled,
        trade_suspended_by_user=False,
        options_approved_level=0,
        options_trading_level=0,
        created_at=time_text(account.created_ns),
    )


def position_entity(
    position: Position, instrument: Instrument, view: AccountView
) -> schemas.Position:
    """Return the Position entity; what needs a price is null while there is none."""
    quantity, cost = position.quantity, position.cost_basis
    entity = schemas.Position(
        asset_id=instrument.asset_id,
        symbol=instrument.symbol,
        exchange=instrument.exchange,
        asset_class="us_equity",
        asset_marginable=False,
        avg_entry_price=ratio_text(
            cost * QUANTITY_SCALE, quantity * 10**PRICE_DECIMALS_SHOWN, PRICE_DECIMALS_SHOWN
        ),
        qty=quantity_text(quantity),
        qty_available=quantity_text(quantity - position.held),
        side="long",
        cost_basis=cash_text(cost),
        market_value=None,
        current_price=None,
        unrealized_pl=None,
        unrealized_plpc=None,
        unrealized_intraday_pl=None,
        unrealized_intraday_plpc=None,
        lastday_price=None,
        change_today=None,
    )
    price = view.prices.get(position.instrument, 0)
    if price:
        _add_price(entity, position, price)
        _add_day(entity, position, price, view)
    return entity


def _add_price(entity: schemas.Position, position: Position, price: int) -> None:
    value = position.quantity * price // VALUE_PER_CASH
    gain = value - position.cost_basis
    entity.current_price = price_text(price)
    entity.market_value = cash_text(value)
    entity.unrealized_pl = cash_text(gain)
    entity.unrealized_plpc = (
        ratio_text(gain, position.cost_basis, RATIO_DECIMALS) if position.cost_basis else "0"
    )


def _add_day(entity: schemas.Position, position: Position, price: int, view: AccountView) -> None:
    """Add what the day did: since the last close, or since shares were bought today."""
    close = view.closes.get(position.instrument, 0)
    if close:
        entity.lastday_price = price_text(close)
        entity.change_today = ratio_text(price - close, close, RATIO_DECIMALS)
    basis = view.day_bases.get(position.instrument, 0)
    if basis:
        gain = position.quantity * price // VALUE_PER_CASH - basis
        entity.unrealized_intraday_pl = cash_text(gain)
        entity.unrealized_intraday_plpc = ratio_text(gain, basis, RATIO_DECIMALS)
