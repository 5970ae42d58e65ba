"""The feed's part of the settings."""

import msgspec


class FeedSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[feed]`."""

    engine: str = "auto"
