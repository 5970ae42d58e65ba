"""Limits of the hub, and what happens when they are reached."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class ChannelKind(StrEnum):
    """EVENT: every message counts and has a position."""

    EVENT = "event"


class SlowPolicy(StrEnum):
    """What happens to a subscriber whose outbox is full."""

    DISCONNECT = "disconnect"


FLUSH_WINDOW_MS_MAX = 10


class ChannelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one channel behaves."""

    kind: ChannelKind = ChannelKind.EVENT
    policy: SlowPolicy = SlowPolicy.DISCONNECT
    history_count_max: int = 1_000
    history_bytes_max: int = 1_048_576
    flush_window_ms: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.flush_window_ms <= FLUSH_WINDOW_MS_MAX:
            raise ValueError(f"flush_window_ms must be 0 to {FLUSH_WINDOW_MS_MAX}")
        if self.history_count_max < 0 or self.history_bytes_max < 0:
            raise ValueError("history limits must not be negative")


class HubSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of the connections of one worker."""

    outbox_bytes_max: int = 1_048_576
    channels_max: int = 100_000
    channels_per_connection_max: int = 1_024
