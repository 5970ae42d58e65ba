"""What an account's owner may choose, and what it does to orders.

Invariant: whatever places an order asks `Configurations` first, so a suspended account enters
nothing by any way once the change was answered, on whichever worker.
"""

from __future__ import annotations

from typing import Final

import msgspec

from madang.edge import Request, Response, json_response
from madang.exchange.api.orders import caller
from madang.exchange.api.refusals import invalid
from madang.exchange.api.schemas_account import AccountConfiguration, ConfigurationChange
from madang.exchange.api.store_client import Configuration, Configurations

_CHOICES: Final = ("suspend_trade", "fractional_trading", "ptp_no_exception_entry")


class ConfigurationMethods:
    """Handlers of /v2/account/configurations."""

    def __init__(self, configurations: Configurations) -> None:
        self._configurations = configurations

    async def get(self, request: Request) -> Response:
        """GET /v2/account/configurations."""
        account = caller(request)
        found = self._configurations.of(account) or await self._configurations.wait_for(account)
        return json_response(entity(found))

    async def change(self, request: Request) -> Response:
        """PATCH /v2/account/configurations."""
        asked = request.json(ConfigurationChange)
        changes = {
            name: getattr(asked, name) for name in _CHOICES if getattr(asked, name) is not None
        }
        if not any(value not in (None, "") for value in msgspec.structs.astuple(asked)):
            raise invalid("at least one field is required")
        return json_response(entity(await self._configurations.change(caller(request), changes)))


def entity(configuration: Configuration) -> AccountConfiguration:
    """Return the AccountConfiguration entity of a cash account."""
    return AccountConfiguration(
        suspend_trade=configuration.suspend_trade,
        fractional_trading=configuration.fractional_trading,
        no_shorting=True,
        max_margin_multiplier="1",
        trade_confirm_email="none",
        ptp_no_exception_entry=configuration.ptp_no_exception_entry,
        max_options_trading_level=0,
    )
