"""The ledger's part of the settings."""

from typing import Annotated

import msgspec


class LedgerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[ledger]`: databases are SQLAlchemy URLs, empty for files in the state folder."""

    database: str = ""
    store_database: str = ""
    snapshot_every: Annotated[int, msgspec.Meta(ge=1)] = 200_000
    """Commands between two snapshots."""


class LedgerOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the ledger's process is told; its replica runs the venue's engine."""

    engine: str
    ledger: LedgerSettings = LedgerSettings()
