"""Entities and parameters of what stands beside orders, account and positions.

As in `schemas`: names and order are Alpaca's, all amounts that Alpaca gives as text are text.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType


class CalendarDay(msgspec.Struct):
    """A day on which the market opens, in the venue's time zone."""

    date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    open: Annotated[str, Meta(pattern=r"^\d{2}:\d{2}$")]
    close: Annotated[str, Meta(pattern=r"^\d{2}:\d{2}$")]


class CalendarQuery(msgspec.Struct):
    """Parameters of GET /v2/calendar: dates, both included."""

    start: str | UnsetType = UNSET
    end: str | UnsetType = UNSET
