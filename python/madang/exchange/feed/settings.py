"""What the feed's process is told."""

import msgspec


class FeedOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The feed's replica runs the venue's engine."""

    engine: str
    timezone: str = "UTC"
    """Where the days of the market begin."""
