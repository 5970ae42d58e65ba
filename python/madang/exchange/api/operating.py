"""Commands that a person's own request gives as the operator does, answered as the API answers."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from madang.edge import ApiError
from madang.exchange.api.refusals import OUTCOME_UNKNOWN, venue_unavailable
from madang.exchange.gateway import OutcomeUnknown, VenueUnavailable

Value = TypeVar("Value")


async def submitted(command: Awaitable[Value]) -> Value:
    """Return what the command gave; raises RefusedError as it comes, and ApiError 503."""
    try:
        return await command
    except VenueUnavailable:
        raise venue_unavailable() from None
    except OutcomeUnknown:
        raise ApiError(503, "outcome unknown, look again", OUTCOME_UNKNOWN) from None
