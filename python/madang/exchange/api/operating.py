"""Commands that a person's own request gives as the operator does, answered as the API answers."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from madang.bus import Bus
from madang.edge import ApiError
from madang.edge.errors import OUTCOME_UNKNOWN
from madang.exchange import directory
from madang.exchange.api.refusals import venue_unavailable
from madang.exchange.gateway import OutcomeUnknown, VenueUnavailable
from madang.exchange.operator import Operator
from madang.exchange.settling import settle_everywhere

Value = TypeVar("Value")


class Operating:
    """The operator's commands; what they change holds on every worker when they are done."""

    def __init__(self, operator: Operator, bus: Bus) -> None:
        self.operator = operator
        self._bus = bus

    async def done(self, command: Awaitable[Value]) -> Value:
        """Return what the command gave; raises RefusedError as it comes, and ApiError 503."""
        try:
            value = await command
        except VenueUnavailable:
            raise venue_unavailable() from None
        except OutcomeUnknown:
            raise ApiError(503, "outcome unknown, look again", OUTCOME_UNKNOWN) from None
        await settle_everywhere(self._bus, directory.COPY)
        return value
