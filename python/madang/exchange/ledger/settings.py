"""The ledger's part of the settings."""

from typing import Annotated

import msgspec

from madang.exchange.venue.settings import HoursSettings


class LedgerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[ledger]`: databases are SQLAlchemy URLs, empty for files in the state folder."""

    database: str = ""
    store_database: str = ""
    snapshot_every: Annotated[int, msgspec.Meta(ge=1)] = 200_000
    """Commands between two snapshots."""
    trade_days: Annotated[int, msgspec.Meta(ge=0)] = 90
    """How long trades are kept in SQL; 0: for ever, here and below. Days' bars always are."""
    quote_hours: Annotated[int, msgspec.Meta(ge=0)] = 24
    minute_bar_days: Annotated[int, msgspec.Meta(ge=0)] = 730


class LedgerOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the ledger's process is told; its replica runs the venue's engine."""

    engine: str
    timezone: str = "UTC"
    """Where the days of the market begin."""
    hours: tuple[HoursSettings, ...] = ()
    """When the market is open; empty: always."""
    ledger: LedgerSettings = LedgerSettings()
