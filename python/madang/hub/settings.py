"""Limits of the hub, and what happens when they are reached."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class ChannelKind(StrEnum):
    """EVENT: every message counts and has a position. STATE: only the latest of each key."""

    EVENT = "event"
    STATE = "state"


class SlowPolicy(StrEnum):
    """What happens to a subscriber that does not keep up.

    DISCONNECT: closed with SLOW_CONSUMER when its outbox is full. DROP_TO_KEYFRAME (event): what no
    longer fits is left out until a publication that is a keyframe fits. CONFLATE (state): while
    it is behind only the newest of each key waits for it.
    """

    DISCONNECT = "disconnect"
    DROP_TO_KEYFRAME = "drop_to_keyframe"
    CONFLATE = "conflate"


FLUSH_WINDOW_MS_MAX = 10


class ChannelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one channel behaves; `greets` (state): who joins gets the latest of every key."""

    kind: ChannelKind = ChannelKind.EVENT
    policy: SlowPolicy = SlowPolicy.DISCONNECT
    history_count_max: int = 1_000
    history_bytes_max: int = 1_048_576
    flush_window_ms: int = 0
    keys_max: int = 10_000
    greets: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.flush_window_ms <= FLUSH_WINDOW_MS_MAX:
            raise ValueError(f"flush_window_ms must be 0 to {FLUSH_WINDOW_MS_MAX}")
        if self.history_count_max < 0 or self.history_bytes_max < 0:
            raise ValueError("history limits must not be negative")
        if self.keys_max <= 0:
            raise ValueError("keys_max must be positive")
        if self.policy is SlowPolicy.CONFLATE and self.kind is not ChannelKind.STATE:
            raise ValueError("policy conflate is for channels of kind state")
        if self.policy is SlowPolicy.DROP_TO_KEYFRAME and self.kind is not ChannelKind.EVENT:
            raise ValueError("policy drop_to_keyframe is for channels of kind event")


class HubSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of the connections of one worker."""

    outbox_bytes_max: int = 1_048_576
    channels_max: int = 100_000
    channels_per_connection_max: int = 1_024

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")
